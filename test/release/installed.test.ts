/** The archive for this machine, the starter for Windows as far as it runs here, and the npm package: each installed where nothing else is, and run. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
// @ts-expect-error a script without types
import { nodeBinary } from '../../.ci/release/node-binary.mjs';
// @ts-expect-error a script without types
import { ownPlatform, pairOf } from '../../.ci/release/platforms.mjs';
// @ts-expect-error a script without types
import { withScript } from '../../.ci/release/windows.mjs';
import { VERSION } from '../../src/version.ts';
import { archiveOf, entriesOf, ROOT } from './release.ts';

const PAIR: string = pairOf(ownPlatform());
const OUT = inject('release');
const CAPTURE = join(ROOT, 'test/captures/legacy/web-curl');

let folder: string;
let root: string;
const STORE = 'krew/store/trace-svc/v1';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  root = join(folder, 'root');
  for (const { path, data, mode } of entriesOf(join(OUT, archiveOf(PAIR)))) put(join(root, STORE, path), data, mode);
  // As krew links it: by a path from there, with the name kubectl looks for.
  mkdirSync(join(root, 'krew/bin'));
  symlinkSync('../store/trace-svc/v1/kubectl-trace_svc', join(root, 'krew/bin/kubectl-trace_svc'));
  for (const tool of ['sh', 'readlink'])
    withLibraries(execFileSync('which', [tool], { encoding: 'utf8' }).trim(), `/bin/${tool}`);
  withLibraries(join(root, STORE, 'bin/node'));
  cpSync(CAPTURE, join(root, 'capture'), { recursive: true });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function put(path: string, data: Buffer, mode: number): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, data);
  chmodSync(path, mode);
}

/** The program, where it is to lie, and the libraries it says it loads. */
function withLibraries(program: string, to?: string): void {
  if (to !== undefined) put(join(root, to), readFileSync(program), 0o755);
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' });
  for (const [library] of listed.matchAll(/\/\S+(?= \(0x)/g)) put(join(root, library), readFileSync(library), 0o755);
}

/** In a root of its own, with no network but an unconnected loopback, and no program on the path but a shell and readlink. */
function inside(words: string[], more: { env?: string[]; input?: string } = {}) {
  const chroot = ['chroot', root, '/krew/bin/kubectl-trace_svc', ...words];
  const env = ['-i', 'PATH=/bin', 'HOME=/', ...(more.env ?? [])];
  const args = [
    '--user',
    '--map-root-user',
    '--net',
    execFileSync('which', ['env'], { encoding: 'utf8' }).trim(),
    ...env,
  ];
  const path = ['/usr/sbin', '/sbin'].map(one => `${one}/chroot`).find(one => spawnSync(one, ['--help']).status === 0);
  const done = spawnSync('unshare', [...args, path ?? 'chroot', ...chroot.slice(1)], {
    encoding: 'utf8',
    input: more.input ?? '',
  });
  return { code: done.status, stdout: done.stdout, stderr: done.stderr };
}

describe('installed into a root where nothing else is', () => {
  test('says its version', () =>
    expect(inside(['--version'])).toEqual({ code: 0, stdout: `${VERSION}\n`, stderr: '' }));
  test('says how it is used', () => {
    const { code, stdout, stderr } = inside(['--help']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('Usage: kubectl trace-svc [svc/NAME[:PORT]');
  });
  test('explains a capture', () => {
    const words = ['explain', '/capture/kmsg.txt', '--rules', '/capture/iptables-save.txt'];
    const { code, stdout, stderr } = inside(words);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/dst 10\.96\.\d+\.\d+:80 ━▶ 10\.244\./);
  });
  test('has the recorded runs with it', () => {
    const { code, stdout } = inside(['lab', 'no-endpoints', '--recorded']);
    expect({ code, first: stdout.split('\n')[0] }).toMatchObject({
      code: 3,
      first: expect.stringContaining('was rejected'),
    });
  });
  test("another Node's options do not hinder it", () =>
    expect(inside(['--version'], { env: ['NODE_OPTIONS=--no-such-flag'] }).stdout).toBe(`${VERSION}\n`));
  test('says so where there is no cluster', () => {
    const { code, stderr } = inside(['web']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: there is no kubeconfig/m);
  });
  test('completes', () =>
    expect(inside(['__complete', 'lab', 'no-e'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^no-endpoints\t.*\n:4\n$/),
    }));
});

test('the starter for Windows finds the program beside it, through a link', async () => {
  const starter = join(root, STORE, 'starter');
  writeFileSync(
    starter,
    await withScript(nodeBinary(ownPlatform()), readFileSync(join(ROOT, '.ci/release/exe.cjs'), 'utf8')),
    { mode: 0o755 },
  );
  const link = join(folder, 'linked');
  symlinkSync(starter, link);
  const run = (...words: string[]) => spawnSync(link, words, { encoding: 'utf8', env: {} });
  expect(run('--version')).toMatchObject({ status: 0, stdout: `${VERSION}\n`, stderr: '' });
  expect(run('lab', 'no-endpoints', '--recorded', '-q')).toMatchObject({ status: 3, stderr: '' });
});

describe('the npm package', () => {
  const npm = (args: string[], cwd: string) => {
    const env = { PATH: process.env.PATH, HOME: cwd, npm_config_cache: join(cwd, 'cache'), npm_config_offline: 'true' };
    return spawnSync('npm', args, { cwd, encoding: 'utf8', env });
  };
  const file = () => join(OUT, `kubectl-trace-svc-${VERSION}.tgz`);

  test('holds the program, and no more', () => {
    const paths = entriesOf(file()).map(({ path }) => path.replace('package/', ''));
    const needed = ['LICENSE', 'README.md', 'CHANGELOG.md', 'THIRD-PARTY-NOTICES', 'package.json', 'dist/cli.cjs'];
    expect(paths).toEqual(expect.arrayContaining([...needed, 'dist/client-node.cjs', 'plugin/kubectl-trace_svc']));
    expect(paths.filter(path => !/^(dist|plugin)\//.test(path)).sort()).toEqual(needed.slice(0, 5).sort());
  });
  test('can be published with its provenance, and needs no other package', () => {
    const data = entriesOf(file()).find(({ path }) => path === 'package/package.json')?.data;
    const manifest = JSON.parse(String(data));
    expect(manifest).toMatchObject({
      name: 'kubectl-trace-svc',
      version: VERSION,
      license: 'Apache-2.0',
      bin: { 'kubectl-trace_svc': 'plugin/kubectl-trace_svc' },
      engines: { node: '>=20' },
      repository: { type: 'git', url: 'git+https://github.com/jane/tracing.git' },
      publishConfig: { access: 'public', provenance: true },
    });
    for (const key of ['private', 'dependencies', 'devDependencies', 'scripts'])
      expect(manifest).not.toHaveProperty(key);
  });
  test('runs by npx in an empty folder, without a network', () => {
    const empty = mkdtempSync(join(folder, 'npx-'));
    const run = (...words: string[]) =>
      npm(['exec', '--yes', '--package', file(), '--', 'kubectl-trace_svc', ...words], empty);
    expect(run('--version')).toMatchObject({ status: 0, stdout: `${VERSION}\n` });
    expect(run('lab', 'no-endpoints', '--recorded').stdout).toContain('was rejected');
  });
  test('installed, its program has the name kubectl looks for', () => {
    const empty = mkdtempSync(join(folder, 'install-'));
    expect(npm(['install', '--no-audit', '--no-fund', file()], empty).status).toBe(0);
    const { stdout } = spawnSync('sh', ['-c', 'ls node_modules/.bin node_modules'], { cwd: empty, encoding: 'utf8' });
    expect(stdout.split('\n').filter(Boolean)).toEqual(
      ['node_modules:', 'kubectl-trace-svc', '', 'node_modules/.bin:', 'kubectl-trace_svc'].filter(Boolean),
    );
  });
});
