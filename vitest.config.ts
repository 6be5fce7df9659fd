import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { defineConfig } from 'vitest/config';

/**
 * Scripts and styles are bundled as text (.ci/bundle.mjs); here they are loaded the same way, under a name that tells nobody
 * what they are: Vitest empties styles.
 */
const texts = {
  name: 'files-as-text',
  enforce: 'pre' as const,
  resolveId: (id: string, importer = '') =>
    /(\.sh|\.css|\.page\.js)$/.test(id) ? `\0text:${resolve(dirname(importer), id)}.txt` : undefined,
  load(id: string) {
    const path = /^\0text:(.*)\.txt$/.exec(id)?.[1];
    return path === undefined ? undefined : `export default ${JSON.stringify(readFileSync(path, 'utf8'))}`;
  },
};

/**
 * `unit` needs nothing but Node; `kernel` needs root (or user namespaces) and netfilter's tools; `browser` needs Chromium;
 * `cluster` needs a Kubernetes cluster, and makes one if there is none (test/cluster/README.md); `release` makes all archives,
 * with Node from npm's registry.
 */
export default defineConfig({
  test: {
    globalSetup: 'test/support/build.ts',
    projects: [
      {
        plugins: [texts],
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/kernel/**', 'test/browser/**', 'test/cluster/**', 'test/release/**'],
          setupFiles: ['test/support/count-cases.ts'],
          testTimeout: 120_000,
        },
      },
      {
        plugins: [texts],
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
      {
        plugins: [texts],
        test: {
          name: 'browser',
          include: ['test/browser/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'release',
          include: ['test/release/**/*.test.ts'],
          globalSetup: 'test/release/setup.ts',
          testTimeout: 400_000,
          hookTimeout: 400_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          globalSetup: 'test/cluster/setup.ts',
          testTimeout: 180_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
