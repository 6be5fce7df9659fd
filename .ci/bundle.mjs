/** How TypeScript becomes JavaScript here: the same for the program, the benchmarks and the tests. */
import { build } from 'esbuild';

/** @param options what differs: entry points, and where to */
export function bundle(options) {
  return build({
    bundle: true,
    splitting: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minifySyntax: true,
    legalComments: 'none',
    loader: { '.sh': 'text', '.css': 'text', '.page.js': 'text' },
    logLevel: 'warning',
    // Some packages are CommonJS and ask for Node's modules by `require`.
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
    },
    ...options,
  });
}
