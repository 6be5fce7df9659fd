import { defineConfig } from 'vitest/config';

/** Scripts are bundled as text (.ci/build.mjs); here they are loaded the same way. */
const scripts = {
  name: 'scripts-as-text',
  transform: (code: string, id: string) => (id.endsWith('.sh') ? `export default ${JSON.stringify(code)}` : undefined),
};

/**
 * `unit` needs nothing but Node; `kernel` needs root (or user namespaces) and netfilter's tools; `cluster` needs a Kubernetes
 * cluster, and makes one if there is none (test/cluster/README.md); `release` makes all archives, with Node from npm's registry.
 */
export default defineConfig({
  plugins: [scripts],
  test: {
    globalSetup: 'test/support/build.ts',
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/kernel/**', 'test/cluster/**', 'test/release/**'],
          setupFiles: ['test/support/count-cases.ts'],
          testTimeout: 120_000,
        },
      },
      {
        test: {
          name: 'kernel',
          include: ['test/kernel/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
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
