/** Bundles src/cli.ts into dist/: one small entry, and what only some commands need in chunks that load when asked for. */
import { rm } from 'node:fs/promises';
import { bundle } from './bundle.mjs';

await rm('dist', { recursive: true, force: true });
await bundle({ entryPoints: { cli: 'src/cli.ts' }, outdir: 'dist' });
