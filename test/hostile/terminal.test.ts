/** Text of others on its way to a terminal: kubeconfig values, what a node agent says, comments with newlines. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { collect } from '../../src/collect.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import { parseIptablesSave } from '../../src/parse/iptables-save.ts';
import { parseNftRuleset } from '../../src/parse/nft-ruleset.ts';
import type { Completed, Shell, Site } from '../../src/ports.ts';
import { FORMATS } from '../../src/render/formats.ts';
import { render } from '../../src/render/render.ts';
import { createStyle } from '../../src/render/style.ts';
import { createUndo } from '../../src/undo.ts';
import { HOSTILE } from '../render/arbitrary.ts';
import { PLUGIN } from '../support/lab.ts';

/** All that steers a terminal but the newline. */
const STEERING = /[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;
const STEER = '\u001b[2J\u001b]0;owned\u0007\u009b31m\u202e\r\b';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('a kubeconfig', () => {
  const config = (change: { name?: string; cluster?: object; user?: object; current?: string }) => {
    const name = change.name ?? 'x';
    return {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': change.current ?? name,
      clusters: [{ name, cluster: { server: 'https://127.0.0.1:1', ...change.cluster } }],
      users: [{ name, user: change.user ?? {} }],
      contexts: [{ name, context: { cluster: name, user: name, namespace: name } }],
    };
  };
  const exec = (script: string) => ({
    exec: {
      apiVersion: 'client.authentication.k8s.io/v1',
      command: 'sh',
      args: ['-c', script],
      interactiveMode: 'Never',
    },
  });

  it.each([
    ['a context by such a name', config({ name: STEER })],
    ['a current context that is not there', config({ current: STEER })],
    ['a server that is no address', config({ cluster: { server: `https://${STEER}/` } })],
    ['a certificate that is not there', config({ cluster: { 'certificate-authority': `/nowhere/${STEER}` } })],
    ['certificate data that is none', config({ cluster: { 'certificate-authority-data': STEER } })],
    ['a token file that is not there', config({ user: { tokenFile: `/nowhere/${STEER}` } })],
    ['a token', config({ user: { token: `${STEER}\nx` } })],
    ['a proxy', config({ cluster: { 'proxy-url': `http://${STEER}/` } })],
    ['a plugin that is not there', config({ user: { exec: { ...exec('').exec, command: `./${STEER}` } } })],
    ['a plugin that prints it', config({ user: exec(`printf '\\033[2J{"kind":"\\033[2J"}'`) })],
  ])('with %s', (_, value) => {
    const path = join(dir, 'config');
    writeFileSync(path, JSON.stringify(value));
    for (const format of ['tree', 'json']) {
      const args = [PLUGIN, 'svc/web', '--kubeconfig', path, '-o', format, '--request-timeout', '3s'];
      const ran = spawnSync(process.execPath, args, { encoding: 'utf8', env: { PATH: process.env.PATH, HOME: dir } });
      expect(STEERING.exec(ran.stderr + ran.stdout)?.[0]).toBeUndefined();
      expect([1, 2, 4]).toContain(ran.status);
    }
  });
});

const done: Completed = { code: 0, stdout: '', stderr: '', durationMs: 1 };

/** A node whose agent says these lines. */
function siteSaying(lines: string[]): Site {
  const node: Shell = {
    run: async () => done,
    start(_, line) {
      for (const text of lines) line(text);
      return { write() {}, stop: async () => {}, done: Promise.resolve(done) };
    },
  };
  return {
    node,
    pod: { ...node, run: async () => ({ ...done, stdout: STEER.repeat(20_000), stderr: `200 ${STEER}` }) },
  };
}

describe('a node agent', () => {
  const long = 'x'.repeat(65_536);
  const WORDS = [
    'fact kernel',
    'fact __proto__',
    'say',
    'lost',
    'over',
    'removed',
    'left',
    'begin rules',
    'n trace id 1',
    'k',
    'p',
    'fail',
    'constructor',
    '',
  ];

  it.each(WORDS)('may say "@%s" with anything behind it', async word => {
    const texts = [...HOSTILE, STEER, long, `$(reboot)${long}`];
    const lines = [
      '@ready',
      ...texts.flatMap(text => [`@${word} ${text}`, ` ${text}`, text]),
      '@removed x',
      '@finished',
    ];
    const capture = emptyCapture('live', emptyObjects());
    const order = {
      scope: { run: 'abc', podIps: ['10.244.1.7'], ports: [] },
      seconds: 5,
      method: 'nft' as const,
      log: 'none' as const,
      targets: [],
      agent: ['sh'],
      probes: [[{ kind: 'curl' as const, target: '10.96.0.1:80', argv: ['curl'], timeout: 1 }]],
    };
    const out = { result() {}, say() {}, step() {} };
    const told = await collect(order, siteSaying(lines), capture, createUndo(), out, new AbortController().signal).then(
      () => '',
      (error: Error) => error.message,
    );
    expect(told !== '').toBe(word === 'fail');
    const report = analyse(capture);
    for (const format of FORMATS)
      expect(STEERING.exec(render(report, format, createStyle(false, 80)))?.[0]).toBeUndefined();
    expect(({} as { kernel?: string }).kernel).toBeUndefined();
  });
});

describe('a comment with newlines is one comment', () => {
  const comment = 'two\nlines\n*nat\nCOMMIT\n}\n-A X -j DROP\n\t\tdrop';

  it('of iptables-save: nothing in it is a rule or a table', () => {
    const text = `*nat\n:X - [0:0]\n-A X -m comment --comment "${comment}" -j RETURN\n-A X -j ACCEPT\nCOMMIT\n`;
    const [{ tables, unrecognised } = { tables: [], unrecognised: [] }, ...more] = parseIptablesSave(text, 'save');
    expect([more, unrecognised, tables.length]).toEqual([[], [], 1]);
    expect(tables[0]?.chains.get('X')?.rules.map(rule => rule.target)).toEqual(['RETURN', 'ACCEPT']);
  });

  it('of nft: nothing in it is a rule or the end of its chain', () => {
    const text = `table ip x {\n\tchain y { # handle 1\n\t\tcounter comment "${comment}" # handle 2\n\t\taccept # handle 3\n\t}\n}\n`;
    const rules = parseNftRuleset(text, 'nft')?.tables[0]?.chains.get('y')?.rules;
    expect(rules?.map(rule => [rule.handle, rule.target])).toEqual([
      [2, undefined],
      [3, 'ACCEPT'],
    ]);
  });

  it('with quotes and braces, which nft does not escape', () => {
    const text =
      'table ip x {\n\tchain y { # handle 1\n\t\tcounter comment "a" { b" # handle 2\n\t\taccept # handle 3\n\t}\n}\n';
    const rules = parseNftRuleset(text, 'nft')?.tables[0]?.chains.get('y')?.rules;
    expect(rules?.map(rule => rule.handle)).toEqual([2, 3]);
  });

  it('a quote that nobody closes costs one line', () => {
    const text = `*nat\n:X - [0:0]\n-A X -m comment --comment "open\n${'-A X -s 10.244.1.72/32 -p tcp -j ACCEPT\n'.repeat(30)}COMMIT\n`;
    expect(parseIptablesSave(text, 'save')[0]?.tables[0]?.chains.get('X')?.rules).toHaveLength(31);
  });
});
