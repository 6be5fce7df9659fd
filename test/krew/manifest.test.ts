/** krew-manifest.yaml obeys what krew checks and what its reviewers ask for, and so does what a release makes of it. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, test } from 'vitest';
import { parse } from 'yaml';
// @ts-expect-error a script without types
import { botTemplate, krewManifest } from '../../.ci/release/krew.mjs';
// @ts-expect-error a script without types
import { PLATFORMS, pairOf } from '../../.ci/release/platforms.mjs';
import { NAME, VERSION } from '../../src/version.ts';
import { type Manifest, objections, type Platform, refusals } from './rules.ts';

const path = (name: string) => fileURLToPath(new URL(`../../${name}`, import.meta.url));
const text = readFileSync(path('krew-manifest.yaml'), 'utf8');
const manifest: Manifest = parse(text);
const FILE = 'trace-svc.yaml';
const sum = (i: number) => i.toString(16).repeat(64).slice(0, 64);
const sums = Object.fromEntries((PLATFORMS as object[]).map((platform, i) => [pairOf(platform), sum(i + 1)]));
const released: string = krewManifest(text, { version: '1.2.3-rc.1', repository: 'jane/tracing', sums });
const pairs = (of: Manifest) =>
  of.spec?.platforms?.map(({ selector }) => Object.values(selector?.matchLabels ?? {}).join('-'));

describe('the manifest', () => {
  it('is not refused by krew', () => expect(refusals(manifest, FILE)).toEqual([]));
  it('is not sent back by reviewers', () => expect(objections(manifest)).toEqual([]));
  it('has the name that kubectl runs it by', () => expect(NAME).toBe(`kubectl ${manifest.metadata?.name}`));
  it('has the version of the package', () => expect(manifest.spec?.version).toBe(`v${VERSION}`));
  it('is for every platform there is an archive for', () => expect(pairs(manifest)).toEqual(PLATFORMS.map(pairOf)));
  it('leaves files out: the archives hold exactly what is wanted', () =>
    expect(manifest.spec?.platforms?.filter(({ files }) => files !== undefined)).toEqual([]));
  it('has no sums, for there is no archive yet', () =>
    expect(manifest.spec?.platforms?.every(({ sha256 }) => /^0{64}$/.test(sha256 ?? ''))).toBe(true));

  const caveats = manifest.spec?.caveats ?? '';
  test.each([
    ...['NET_ADMIN', 'NET_RAW', 'SETUID', 'SETGID', 'SYSLOG', 'Pod Security', 'nftables table', 'raw table'],
    ...['net.netfilter.nf_log.2', 'cleanup', '--dry-run', '--agent-namespace', '60'],
  ])('its caveats tell of %s', word => expect(caveats).toContain(word));
  it('its caveats name the capabilities the agent has, and no other', () => {
    const source =
      /function capabilities\([\s\S]*?\n\}/.exec(readFileSync(path('src/plan/pods.ts'), 'utf8'))?.[0] ?? '';
    const always = [...source.matchAll(/^ {4}'([A-Z_]+)',/gm)].map(([, name]) => name);
    expect(
      caveats
        .match(/\b[A-Z]+(?:_[A-Z]+)?\b/g)
        ?.filter(word => always.includes(word))
        .sort(),
    ).toEqual(always.sort());
  });
});

describe('the manifest of a release', () => {
  const made: Manifest = parse(released);
  it('is not refused by krew', () => expect(refusals(made, FILE)).toEqual([]));
  it('has version, repository and sums', () => {
    expect(released).not.toMatch(/OWNER|0{64}|0\.1\.0/);
    expect(made.spec?.version).toBe('v1.2.3-rc.1');
    expect(made.spec?.homepage).toBe('https://github.com/jane/tracing');
    expect(made.spec?.platforms?.map(({ sha256 }) => sha256)).toEqual(Object.values(sums));
  });
  it('leads to an archive of its own for each platform', () => {
    const uris = made.spec?.platforms?.map(({ uri }) => uri);
    expect(uris).toEqual(
      PLATFORMS.map((platform: object) => {
        const file = `kubectl-trace_svc-v1.2.3-rc.1-${pairOf(platform)}.tar.gz`;
        return `https://github.com/jane/tracing/releases/download/v1.2.3-rc.1/${file}`;
      }),
    );
  });
  it('is refused where an archive is missing', () =>
    expect(() => krewManifest(text, { version: '1.2.3', repository: 'a/b', sums: {} })).toThrow(/linux-amd64/));

  test("the bot's template is the same one, once the bot has filled it in", () => {
    // What the bot does (pkg/source): it puts in uri and sum, the second line four spaces deep.
    const filled = botTemplate(text, 'jane/tracing')
      .replace(/\{\{\s*addURIAndSha "(.*?)" \.TagName \}\}/g, (_: string, uri: string) => {
        const [pair = ''] = /[a-z]+-[a-z0-9]+(?=\.tar\.gz)/.exec(uri) ?? [];
        return `uri: ${uri}\n    sha256: "${sums[pair]}"`;
      })
      .replaceAll('{{ .TagName }}', 'v1.2.3-rc.1');
    expect(filled).toBe(released);
  });
});

describe('the rules refuse', () => {
  const first = (manifest: Manifest) => manifest.spec?.platforms?.[0] as Platform;
  test.each<[string, (changed: Manifest) => object, string[]]>([
    ['a version without v', of => Object.assign(of.spec!, { version: '0.1.0' }), ['version']],
    ['a name of Windows', of => Object.assign(of.metadata!, { name: 'con' }), ['name', 'file name']],
    ['two lines', of => Object.assign(of.spec!, { shortDescription: 'a\nb' }), ['short description']],
    ['no platforms', of => Object.assign(of.spec!, { platforms: [] }), ['platforms']],
    ['upper case', of => Object.assign(first(of), { sha256: 'A'.repeat(64) }), ['platform 0: sha256']],
    ['plain http', of => Object.assign(first(of), { uri: 'http://x/y.tar.gz' }), ['platform 0: uri']],
    ['no bin', of => Object.assign(first(of), { bin: '' }), ['platform 0: bin']],
    ['empty files', of => Object.assign(first(of), { files: [] }), ['platform 0: files']],
    ['files without to', of => Object.assign(first(of), { files: [{ from: '*' }] }), ['platform 0: files']],
    [
      'two for one machine',
      of => Object.assign(first(of), { selector: { matchLabels: { os: 'linux' } } }),
      ['linux/arm64 is chosen twice'],
    ],
    [
      'one for no machine',
      of => Object.assign(first(of), { selector: { matchLabels: { os: 'plan9' } } }),
      ['platform 0: selector chooses nothing'],
    ],
  ])('%s', (_, act, found) => {
    const changed = structuredClone(manifest);
    act(changed);
    expect(refusals(changed, FILE)).toEqual(found);
  });
});

it('a licence is there to be put into the archives', () => {
  expect(existsSync(path('LICENSE'))).toBe(true);
  expect(readFileSync(path('LICENSE'), 'utf8')).toContain('Version 2.0, January 2004');
});
