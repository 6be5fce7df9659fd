/** The archives of all platforms: what is in them, what kind of programs, and that anybody can make the same bytes. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, utimesSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { parse } from 'yaml';
// @ts-expect-error a script without types
import { PLATFORMS, pairOf } from '../../.ci/release/platforms.mjs';
import { VERSION } from '../../src/version.ts';
import { type Manifest, refusals } from '../krew/rules.ts';
import { pairOfProgram, peSignature } from './programs.ts';
import { archiveOf, type Entry, entriesOf, makeRelease, namesIn, ROOT, sumsIn } from './release.ts';

const PAIRS: string[] = PLATFORMS.map(pairOf);
const AGAIN = ['linux-amd64', 'windows-amd64'];
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');

let folder: string;
let out: string;
const archives = new Map<string, Entry[]>();

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  out = inject('release');
  for (const pair of PAIRS) archives.set(pair, entriesOf(join(out, archiveOf(pair))));
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

const archive = (pair: string): Entry[] => archives.get(pair) as Entry[];
const fileIn = (pair: string, path: string): Buffer | undefined => archive(pair).find(one => one.path === path)?.data;

/** The files git knows, in another place, with other dates; the packages are the same. */
function otherCopy(): string {
  const copy = join(folder, 'another place', 'copy');
  const files = execFileSync('git', ['ls-files'], { cwd: ROOT, encoding: 'utf8' }).trimEnd().split('\n');
  for (const file of files.filter(name => !name.startsWith('test/'))) {
    mkdirSync(join(copy, file, '..'), { recursive: true });
    cpSync(join(ROOT, file), join(copy, file));
    utimesSync(join(copy, file), 1, 1);
  }
  cpSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'), { recursive: true, verbatimSymlinks: true });
  return copy;
}

test('all of it is there, and listed with its sum', () => {
  const expected = PAIRS.flatMap(pair => [archiveOf(pair), archiveOf(pair).replace('.tar.gz', '.cdx.json')]);
  const npm = [`kubectl-trace-svc-${VERSION}.tgz`, `kubectl-trace-svc-${VERSION}.cdx.json`];
  const rest = ['SHA256SUMS', 'krew-release-bot.yaml', 'trace-svc.yaml'];
  expect(namesIn(out)).toEqual([...expected, ...npm, ...rest].sort());
  const sums = sumsIn(out);
  for (const name of namesIn(out).filter(one => one !== 'SHA256SUMS'))
    expect(sums[name], name).toBe(sha256(readFileSync(join(out, name))));
});

test('the same bytes come of another folder, on another day', () => {
  const second = join(folder, 'second');
  makeRelease(second, otherCopy(), '--only', AGAIN.join(','));
  const [first, again] = [sumsIn(out), sumsIn(second)];
  expect(Object.keys(again)).toHaveLength(2 * AGAIN.length + 2);
  for (const [name, sum] of Object.entries(again)) expect(sum, name).toBe(first[name]);
});

test("krew's manifest is obeyed, and has the sums of these archives", () => {
  const manifest: Manifest = parse(readFileSync(join(out, 'trace-svc.yaml'), 'utf8'));
  expect(refusals(manifest, 'trace-svc.yaml')).toEqual([]);
  const sums = sumsIn(out);
  for (const { uri = '', sha256: sum, bin, selector } of manifest.spec?.platforms ?? []) {
    expect(sums[uri.split('/').at(-1) as string]).toBe(sum);
    const pair = Object.values(selector?.matchLabels ?? {}).join('-');
    expect(archive(pair).find(one => one.path === bin)?.mode).toBe(0o755);
  }
});

describe.each(PAIRS)('%s', pair => {
  const windows = pair.startsWith('windows');
  const program = windows ? 'kubectl-trace_svc.exe' : 'bin/node';

  test('holds files alone, which krew unpacks, with plain paths and modes', () => {
    for (const { path, type, mode } of archive(pair)) {
      expect(type, path).toBe('0');
      expect(path).not.toMatch(/^\/|(^|\/)\.\.(\/|$)|[^\w./-]/);
      expect([0o644, 0o755], path).toContain(mode);
    }
  });
  test('has what it needs, and nothing to run but that', () => {
    const paths = archive(pair).map(one => one.path);
    const needed = [
      'LICENSE',
      'THIRD-PARTY-NOTICES',
      'README.md',
      'package.json',
      'dist/cli.cjs',
      'dist/client-node.cjs',
    ];
    expect(paths).toEqual(expect.arrayContaining([...needed, 'plugin/rbac.yaml', 'plugin/recorded/healthy.json.gz']));
    const run = archive(pair)
      .filter(({ mode }) => mode === 0o755)
      .map(one => one.path);
    const plugin = ['plugin/kubectl-trace_svc', 'plugin/kubectl_complete-trace_svc'];
    const starters = windows ? [program] : [program, 'kubectl-trace_svc', 'kubectl_complete-trace_svc'];
    expect(run.sort()).toEqual([...plugin, ...starters].sort());
    expect(paths.some(path => /test|node_modules|\.ts$/.test(path))).toBe(false);
  });
  test('is a program for that machine', () => expect(pairOfProgram(fileIn(pair, program) as Buffer)).toBe(pair));
  test('is of a size one can download', () => {
    const { size } = statSync(join(out, archiveOf(pair)));
    expect(size).toBeGreaterThan(20e6);
    expect(size).toBeLessThan(60e6);
  });
  test(
    windows ? 'carries the script, and no signature that no longer holds' : 'has Node as its project signed it',
    () => {
      const data = fileIn(pair, program) as Buffer;
      const pinned = PLATFORMS.find((one: object) => pairOf(one) === pair).sha256;
      if (!windows) return expect(sha256(data)).toBe(pinned);
      expect(data.includes('NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:1')).toBe(true);
      expect(data.includes("'./plugin/kubectl-trace_svc'")).toBe(true);
      expect(peSignature(data)).toEqual({ at: 0, size: 0 });
    },
  );
  test('says what it is made of, and under which licences', () => {
    const name = archiveOf(pair).replace('.tar.gz', '.cdx.json');
    const bom = JSON.parse(readFileSync(join(out, name), 'utf8'));
    const notices = String(fileIn(pair, 'THIRD-PARTY-NOTICES'));
    expect(bom).toMatchObject({ bomFormat: 'CycloneDX', specVersion: '1.5', version: 1 });
    expect(bom.metadata.component).toMatchObject({ name: 'kubectl-trace-svc', version: VERSION, type: 'application' });
    expect(bom.components.length).toBeGreaterThan(20);
    for (const { name: part, version, licenses, purl, hashes } of bom.components) {
      expect(notices).toContain(part === 'node' ? `Node.js ${version}` : `\n${part} ${version} (`);
      expect(licenses[0].license.id ?? licenses[0].license.name).toBeTypeOf('string');
      expect(purl).toMatch(/^pkg:(npm|generic)\//);
      expect(hashes).toHaveLength(1);
    }
    const refs = new Set([bom.metadata.component, ...bom.components].map(one => one['bom-ref']));
    const named = bom.dependencies.flatMap((one: { ref: string; dependsOn: string[] }) => [one.ref, ...one.dependsOn]);
    expect(named.filter((ref: string) => !refs.has(ref))).toEqual([]);
  });
});

test('the bundles hold nothing the notices do not name', () => {
  const bom = JSON.parse(readFileSync(join(out, archiveOf('linux-amd64').replace('.tar.gz', '.cdx.json')), 'utf8'));
  const names = bom.components.map(({ name }: { name: string }) => name);
  const bundles = ['dist/cli.cjs', 'dist/client-node.cjs'].map(path => String(fileIn('linux-amd64', path)));
  const found = bundles.flatMap(text => [...text.matchAll(/node_modules\/((?:@[\w.-]+\/)?[\w.-]+)\//g)]);
  const packages = [...new Set(found.map(([, name]) => name))];
  expect(packages.length).toBeGreaterThan(10);
  expect(packages.filter(name => !names.includes(name))).toEqual([]);
});
