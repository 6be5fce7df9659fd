/**
 * The program as it is shipped. CommonJS, for Node starts that twice as fast; so there are no chunks, and what a file imports by
 * `import()` is run when it is asked for. The cluster client is larger than all the rest, and lies apart.
 */
import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bundle } from './bundle.mjs';

const APART = { 'client-node': 'src/live/client-node.ts' };

/** @returns paths of all files that are in it */
export async function buildProgram(folder) {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) if (/\.c?js$/.test(name)) rmSync(join(folder, name));
  const common = {
    outdir: folder,
    splitting: false,
    format: 'cjs',
    outExtension: { '.js': '.cjs' },
    metafile: true,
  };
  const main = { ...common, entryPoints: { cli: 'src/cli.ts' }, plugins: [leftOut(APART), withoutNeedless] };
  const client = { ...common, entryPoints: APART, plugins: [withoutNeedless] };
  const results = [await bundle(main), await bundle(client)];
  return [...new Set(results.flatMap(({ metafile }) => Object.keys(metafile.inputs)))].sort();
}

/** Their modules become files beside the bundle, loaded by their new names. */
function leftOut(modules) {
  return {
    name: 'left-out',
    setup(build) {
      for (const [name, path] of Object.entries(modules)) {
        const filter = new RegExp(`/${path.split('/').at(-1).replace('.', '\\.')}$`);
        build.onResolve({ filter }, () => ({ path: `./${name}.cjs`, external: true }));
      }
    },
  };
}

/**
 * What is asked for and never used, by package. commander wants Node's child_process, which takes long to load, for subcommands that are
 * programs; there are none here. node-fetch wants whatwg-url where Node has no URL; of that, Node would say that it is out of date.
 */
const NEEDLESS = { commander: /^node:child_process$/, 'node-fetch': /^whatwg-url$/ };

const withoutNeedless = {
  name: 'without-needless',
  setup(build) {
    for (const [name, filter] of Object.entries(NEEDLESS))
      build.onResolve({ filter }, ({ importer }) =>
        importer.split(/[/\\]/).includes(name) ? { path: 'nothing', namespace: 'nothing' } : undefined,
      );
    build.onLoad({ filter: /.*/, namespace: 'nothing' }, () => ({ contents: 'module.exports = {};' }));
  },
};
