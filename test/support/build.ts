/** Builds the plugin before any test runs, if what is there is older than what it is made of. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));

export default function build(): void {
  const built = join(ROOT, 'dist/cli.cjs');
  const parts = ['src', 'plugin', 'package.json'].map(part => newest(join(ROOT, part)));
  if (existsSync(built) && statSync(built).mtimeMs > Math.max(...parts)) return;
  execFileSync(process.execPath, [join(ROOT, '.ci/build.mjs')], { cwd: ROOT });
}

function newest(path: string): number {
  if (!statSync(path).isDirectory()) return statSync(path).mtimeMs;
  return Math.max(...readdirSync(path).map(name => newest(join(path, name))));
}
