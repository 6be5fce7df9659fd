/** krew-manifest.yaml obeys what krew checks (internal/index/validation/validate.go) and what its reviewers ask for. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { parse } from 'yaml';
import { NAME, VERSION } from '../src/version.ts';

const path = (name: string) => fileURLToPath(new URL(`../${name}`, import.meta.url));

interface Platform {
  uri: string;
  sha256: string;
  bin: string;
  selector: { matchLabels: Record<string, string> };
  files?: unknown;
}

const manifest = parse(readFileSync(path('krew-manifest.yaml'), 'utf8'));
const platforms = manifest.spec.platforms as Platform[];
const PAIRS = ['linux amd64', 'linux arm64', 'darwin amd64', 'darwin arm64', 'windows amd64', 'windows arm64'];

describe('the manifest', () => {
  it('is a plugin of the version krew reads', () => {
    expect(manifest.apiVersion).toBe('krew.googlecontainertools.github.com/v1alpha2');
    expect(manifest.kind).toBe('Plugin');
  });
  it('has the name that kubectl runs it by', () => {
    expect(manifest.metadata.name).toMatch(/^[\w-]+$/);
    expect(NAME).toBe(`kubectl ${manifest.metadata.name}`);
  });
  it('has the version of the package', () => expect(manifest.spec.version).toBe(`v${VERSION}`));
  it('has a short description of one line that does not call it a plugin', () => {
    expect(manifest.spec.shortDescription).toMatch(/^\S.{10,48}\S$/);
    expect(manifest.spec.shortDescription).not.toMatch(/plugin|kubectl/i);
  });
  it('describes without examples and flags, in short lines', () => {
    expect(manifest.spec.description).not.toMatch(/(^|\s)--\w|\$ |kubectl /);
    for (const line of manifest.spec.description.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
  });
  it('says what rights it needs', () => expect(manifest.spec.caveats).toMatch(/NET_ADMIN/));
  it('has its page', () => expect(manifest.spec.homepage).toMatch(/^https:\/\//));
});

describe('platforms', () => {
  test.each(platforms.map(platform => [Object.values(platform.selector.matchLabels).join(' '), platform] as const))(
    '%s',
    (pair, { uri, sha256, bin, selector, files }) => {
      expect(Object.keys(selector.matchLabels).sort()).toEqual(['arch', 'os']);
      expect(PAIRS).toContain(pair);
      expect(uri).toMatch(/^https:\/\/\S+\.(tar\.gz|zip)$/);
      expect(uri).toContain(`/v${VERSION}/`);
      expect(uri).toContain(pair.replace(' ', '-'));
      expect(sha256).toMatch(/^[0-9a-f]{64}$/);
      // krew makes the link itself; Windows takes programs only.
      expect(bin).toBe(pair.startsWith('windows') ? 'kubectl-trace_svc.exe' : 'kubectl-trace_svc');
      expect(files).toBeUndefined();
    },
  );

  it('are chosen by one selector each', () => {
    const pairs = platforms.map(({ selector }) => JSON.stringify(selector));
    expect(new Set(pairs).size).toBe(pairs.length);
  });
  it('have archives and sums of their own, once there are any', () => {
    const sums = platforms.map(({ sha256 }) => sha256).filter(sum => !/^0+$/.test(sum));
    expect(new Set(sums).size).toBe(sums.length);
    expect(new Set(platforms.map(({ uri }) => uri)).size).toBe(platforms.length);
  });
});

it('a licence is there to be put into the archives', () => {
  expect(existsSync(path('LICENSE'))).toBe(true);
  expect(readFileSync(path('LICENSE'), 'utf8')).toContain('Version 2.0, January 2004');
});
