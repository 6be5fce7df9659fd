/** One release of all platforms for the whole suite: it takes a minute. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestProject } from 'vitest/node';
import { makeRelease } from './release.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The folder the release was made in. */
    release: string;
  }
}

export default function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-release-'));
  makeRelease(folder);
  project.provide('release', folder);
  return () => rmSync(folder, { recursive: true });
}
