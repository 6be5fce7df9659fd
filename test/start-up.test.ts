/** What is loaded by commands that need no cluster: never the cluster client, and nothing that speaks to a network. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('../', import.meta.url));
const PLUGIN = join(ROOT, 'plugin/kubectl-trace_svc');
const CAPTURE = join(ROOT, 'test/captures/legacy/web-curl');
const NETWORK = ['http', 'https', 'tls', 'http2', 'dns'];

/** At the end: files by require, and Node's own modules by the list it keeps of them. */
const SPY = `process.on('exit', () => require('node:fs').writeFileSync(process.env.SPY, JSON.stringify({
  files: Object.keys(require('node:module')._cache),
  builtins: process.moduleLoadList.filter(one => one.startsWith('NativeModule ')).map(one => one.slice(13)),
})));`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  writeFileSync(join(folder, 'spy.cjs'), SPY);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Loaded {
  files: string[];
  builtins: string[];
}

/** @param words of the command line; the plugin's own end is not looked at */
function loadedBy(words: string[], env: Record<string, string> = {}): Loaded {
  const spied = join(folder, 'spied.json');
  const args = ['--require', join(folder, 'spy.cjs'), PLUGIN, ...words];
  const done = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, HOME: folder, SPY: spied, ...env },
  });
  if (done.error) throw done.error;
  const { files, builtins } = JSON.parse(readFileSync(spied, 'utf8')) as Loaded;
  return { files: files.map(file => basename(file)).filter(file => file !== 'spy.cjs'), builtins };
}

describe('without a cluster', () => {
  test.each<[string, string[], string[]]>([
    ['--version', ['--version'], ['kubectl-trace_svc', 'package.json']],
    ['--help', ['--help'], ['kubectl-trace_svc', 'cli.cjs']],
    ['explain --help', ['explain', '--help'], ['kubectl-trace_svc', 'cli.cjs']],
    [
      'explain of a capture',
      ['explain', join(CAPTURE, 'kmsg.txt'), '--rules', join(CAPTURE, 'iptables-save.txt')],
      ['kubectl-trace_svc', 'cli.cjs'],
    ],
    ['a wrong flag', ['--wrong'], ['kubectl-trace_svc', 'cli.cjs']],
    ['completion of what is known', ['__complete', 'lab', ''], ['kubectl-trace_svc', 'cli.cjs']],
    ['the recorded lab', ['lab', '--recorded'], ['kubectl-trace_svc', 'cli.cjs']],
  ])('%s', (_, words, files) => {
    const loaded = loadedBy(words);
    expect(loaded.files).toEqual(files);
    expect(NETWORK.filter(name => loaded.builtins.includes(name))).toEqual([]);
  });
});

describe('with one', () => {
  const config = (cluster: object) =>
    JSON.stringify({
      'current-context': 'x',
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      clusters: [{ name: 'c', cluster }],
      users: [{ name: 'u', user: { token: 't' } }],
    });
  const withConfig = (cluster: object) => {
    const path = join(folder, 'config');
    writeFileSync(path, config(cluster));
    return { KUBECONFIG: path };
  };

  test('completion speaks to it without the client', () => {
    const { files, builtins } = loadedBy(['__complete', '--node', ''], withConfig({ server: 'http://127.0.0.1:1' }));
    expect(files).toEqual(['kubectl-trace_svc', 'cli.cjs']);
    expect(builtins).toContain('http');
  });
  test('a run loads the client for a proxy, and for that alone', () => {
    const direct = withConfig({ server: 'http://127.0.0.1:1' });
    expect(loadedBy(['web'], direct).files).not.toContain('client-node.cjs');
    const proxied = withConfig({ server: 'http://127.0.0.1:1', 'proxy-url': 'http://127.0.0.1:2' });
    expect(loadedBy(['web'], proxied).files).toContain('client-node.cjs');
  });
});

test('the bundle the commands share has no cluster client in it', () => {
  const bundled = readFileSync(join(ROOT, 'dist/cli.cjs'), 'utf8').matchAll(/"node_modules\/((?:@[^/"]+\/)?[^/"]+)\//g);
  const packages = new Set([...bundled].map(([, name]) => name));
  expect(packages.has('commander')).toBe(true);
  expect([...packages].filter(name => name?.startsWith('@kubernetes/'))).toEqual([]);
});
