/**
 * Bundles src/ into dist/. CommonJS, for Node starts that twice as fast; so there are no chunks, and what a file imports by `import()` is
 * run when it is asked for. The cluster client is larger than all the rest, and lies apart.
 */
import { rm } from 'node:fs/promises';
import { bundle } from './bundle.mjs';

const apart = { 'client-node': 'src/live/client-node.ts' };

/** commander asks for Node's child_process, which takes long to load, to start subcommands that are programs; there are none here. */
const withoutSubcommands = {
  name: 'without-subcommands',
  setup(build) {
    build.onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/commander/') ? { path: 'none', namespace: 'none' } : undefined,
    );
    build.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'module.exports = {};' }));
  },
};

/** Their modules become files beside the bundle, loaded by their new names. */
function leftOut(modules) {
  const files = Object.entries(modules).map(([name, path]) => [
    new RegExp(`/${path.split('/').at(-1)}$`),
    `./${name}.cjs`,
  ]);
  return {
    name: 'left-out',
    setup(build) {
      for (const [filter, path] of files) build.onResolve({ filter }, () => ({ path, external: true }));
    },
  };
}

await rm('dist', { recursive: true, force: true });
const common = { outdir: 'dist', splitting: false, format: 'cjs', outExtension: { '.js': '.cjs' } };
await bundle({ ...common, entryPoints: { cli: 'src/cli.ts' }, plugins: [leftOut(apart), withoutSubcommands] });
await bundle({ ...common, entryPoints: apart });
