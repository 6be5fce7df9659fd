/**
 * Text of others on real ground: rules whose comments try to steer, in chains the packets meet, and a server that answers with
 * the worst it can. The trace must be told whole, no shell may run any of it, and no terminal may obey it.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { type Capture, emptyCapture } from '../../src/capture.ts';
import { collect } from '../../src/collect.ts';
import { LAB_CERTIFICATE, LAB_KEY } from '../../src/lab/certificate.ts';
import { type Holder, startHolder } from '../../src/lab/holder.ts';
import { type Mode, objectsOf, SCENARIOS, type Scenario, senderOf } from '../../src/lab/scenarios.ts';
import { buildScript } from '../../src/lab/topology.ts';
import { setEnvironment } from '../../src/live/process.ts';
import { curlProbe, pingProbe } from '../../src/plan/probes.ts';
import { FORMATS } from '../../src/render/formats.ts';
import { render } from '../../src/render/render.ts';
import { createStyle } from '../../src/render/style.ts';
import { createUndo } from '../../src/undo.ts';
import { MODES_HERE } from '../support/lab.ts';

setEnvironment(process.env);

const AGENT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');
const HEALTHY = SCENARIOS.find(one => one.name === 'healthy') as Scenario;
const ADDRESS = '10.96.100.1';

let dir: string;
let canary: string;
let holder: Holder;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  canary = join(dir, 'canary');
  holder = await startHolder('hostile1', process.getuid?.() === 0, false);
});
afterEach(async () => {
  await holder.stop();
  rmSync(dir, { recursive: true, force: true });
});

/** At most 255 bytes, and of nft's 128 at most: what iptables takes as a comment. */
const comments = (): string[] => [
  `$(touch ${canary})`,
  `\`touch ${canary}\``,
  `"; touch ${canary}; "`,
  `'; touch ${canary}; '`,
  '\u001b[2J\u001b]0;owned\u0007',
  '\u009b31m\u202egnihtyna',
  '<script>alert(1)</script> [x](javascript:y)',
  'two\nlines\n@removed everything\n*nat\nCOMMIT',
  '@ready',
  'back\\slash \\" \\x1b \\',
  '%s %n %d',
  'default/web:http -> 6.6.6.6:66',
  'trace-svc:other',
];

/** Answers every request with headers and a body that are no good; written as the lab's own server is. */
const SERVER = `
const [name, address, port] = process.argv.slice(1);
const steer = '\\x1b]0;owned\\x07\\x1b[2J\\u009b31m\\u202e<script>alert(1)</script>$(touch ' + process.env.TS_CANARY + ')';
const body = steer + '\\n@removed everything\\n200 6.6.6.6:66\\nHTTP/1.1 500 x\\n' + 'x'.repeat(65536 - 400) + '\\n';
require('node:net').createServer(socket => socket.once('data', () => socket.end(Buffer.from(
  'HTTP/1.1 200 ' + steer + '\\r\\nX-' + 'y'.repeat(60000) + ': ' + steer + '\\r\\nServer: ' + steer + '\\r\\n\\r\\n' + body))).on('error', () => {}))
  .listen(Number(port), address, () => require('node:fs').writeFileSync('/run/ready-' + name, ''));
`;

async function build(mode: Mode): Promise<void> {
  const env = {
    TS_NODE: process.execPath,
    TS_SERVER: SERVER,
    TS_KEY: LAB_KEY,
    TS_CERT: LAB_CERTIFICATE,
    TS_CANARY: canary,
  };
  const built = await holder.shell().run(['sh', '-c', buildScript(HEALTHY, mode)], { env, timeoutMs: 30_000 });
  expect([built.code, built.stderr]).toEqual([0, built.code === 0 ? built.stderr : '']);
}

/** Rules without a target: they match, are traced, and change nothing. No two are alike, for nft's trace shows no comments of iptables. */
async function addRules(mode: Mode): Promise<number> {
  const program = mode === 'nft' ? 'iptables-nft' : 'iptables-legacy';
  let added = 0;
  for (const [index, comment] of comments().entries()) {
    const longest = 65_000 + index;
    const argv =
      mode === 'nftables'
        ? [
            'nft',
            `insert rule ip kube-proxy nat-prerouting ip length < ${longest} counter comment "${comment.replaceAll('"', "'").replace(/\\$/, '')}"`,
          ]
        : [
            program,
            '-t',
            'nat',
            '-I',
            'PREROUTING',
            '-m',
            'length',
            '--length',
            `0:${longest}`,
            '-m',
            'comment',
            '--comment',
            comment,
          ];
    const { code } = await holder.shell('n1').run(argv, { timeoutMs: 5000 });
    if (code === 0) added++;
  }
  return added;
}

async function trace(mode: Mode): Promise<Capture> {
  const capture = emptyCapture('lab', objectsOf(HEALTHY));
  const sender = senderOf(HEALTHY);
  capture.target = { namespace: 'default', service: 'web', port: 80 };
  capture.source = { namespace: 'default', pod: sender.name, ips: [sender.address], node: sender.node };
  const order = {
    scope: { run: 'hostile1', podIps: [sender.address], ports: [{ protocol: 'tcp' as const, port: 80 }] },
    seconds: 40,
    method: mode === 'legacy' ? ('raw' as const) : ('nft' as const),
    log: mode === 'legacy' || mode === 'mixed' ? ('nflog' as const) : ('none' as const),
    probes: [[curlProbe(ADDRESS, 80, { scheme: 'http', path: '/', seconds: 3 }), pingProbe(ADDRESS)]],
    agent: ['sh', '-c', AGENT],
    targets: [ADDRESS],
  };
  const site = { node: holder.shell('n1'), pod: holder.shell(sender.name) };
  await collect(order, site, capture, createUndo(), { result() {}, say() {}, step() {} }, new AbortController().signal);
  return capture;
}

/** All that steers a terminal but the newline; our own colours are off. */
const STEERING = /[\0-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/;

describe.each(MODES_HERE as Mode[])('mode %s', mode => {
  it('tells the whole trace, runs nothing and steers nothing', async () => {
    await build(mode);
    const added = await addRules(mode);
    const capture = await trace(mode);
    const report = analyse(capture);

    expect(added).toBeGreaterThanOrEqual(8);
    expect(existsSync(canary)).toBe(false);
    expect(report.completeness).toMatchObject({ complete: true, gaps: 0, lost: 0, unrecognised: { count: 0 } });
    expect(report.findings[0]).toMatchObject({ kind: 'ServiceAnswered', facts: { status: 200 } });
    expect(capture.cleanup).toMatchObject({ complete: true });
    expect(capture.cleanup.removed.join()).not.toContain('everything');
    const met = report.journeys[0]?.hops.filter(hop => hop.hook === 'prerouting' && hop.event === 'rule') ?? [];
    expect(met.filter(hop => hop.comment !== undefined).length).toBeGreaterThanOrEqual(added);
    for (const format of FORMATS) {
      const found = STEERING.exec(render(report, format, createStyle(false, 80)));
      expect([format, found?.[0]]).toEqual([format, undefined]);
    }
    expect(JSON.parse(render(report, 'json', createStyle(false, 80)))).toEqual(JSON.parse(JSON.stringify(report)));
  });
});
