/** A release made for these tests, and what is in its archives. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
// @ts-expect-error a script without types
import { readTarGz } from '../../.ci/release/tar.mjs';
import { VERSION } from '../../src/version.ts';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));
export const REPOSITORY = 'jane/tracing';

export interface Entry {
  path: string;
  mode: number;
  type: string;
  data: Buffer;
}

/** @param from a working copy, with its packages */
export function makeRelease(out: string, from = ROOT, ...more: string[]): void {
  const args = [join(from, '.ci/release.mjs'), '--out', out, '--repository', REPOSITORY, ...more];
  execFileSync(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

export const archiveOf = (pair: string): string => `kubectl-trace_svc-v${VERSION}-${pair}.tar.gz`;

export function entriesOf(path: string): Entry[] {
  return [...(readTarGz(readFileSync(path)) as Iterable<Entry>)];
}

export function sumsIn(folder: string): Record<string, string> {
  const lines = readFileSync(join(folder, 'SHA256SUMS'), 'utf8').trimEnd().split('\n');
  return Object.fromEntries(lines.map(line => line.split(/ {2}/).reverse() as [string, string]));
}

export const namesIn = (folder: string): string[] => readdirSync(folder).sort();
