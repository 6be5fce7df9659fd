/** How TypeScript becomes JavaScript here: the same for the program, the benchmarks and the tests. */
import { build } from 'esbuild';

/** Some packages are CommonJS and ask for Node's modules by `require`. */
const REQUIRE =
  "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);";

/** @param options what differs: entry points, where to, and the format (ESM if not said) */
export function bundle(options) {
  const cjs = options.format === 'cjs';
  return build({
    bundle: true,
    splitting: !cjs,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    loader: { '.sh': 'text', '.css': 'text', '.page.js': 'text' },
    logLevel: 'warning',
    ...(cjs
      ? {
          banner: { js: "const __url = require('node:url').pathToFileURL(__filename).href;" },
          define: { 'import.meta.url': '__url' },
        }
      : { banner: { js: REQUIRE } }),
    ...options,
  });
}
