/**
 * Programs of other versions on one node: whoever lists, saves and restores rules while ours are there can go on doing so, and
 * the agent may bring an nft and an iptables that are older or newer than those that made the rules.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { collect } from '../../src/collect.ts';
import { LAB_CERTIFICATE, LAB_KEY } from '../../src/lab/certificate.ts';
import { type Holder, startHolder } from '../../src/lab/holder.ts';
import { type Mode, objectsOf, SCENARIOS, type Scenario, senderOf } from '../../src/lab/scenarios.ts';
import { SERVER } from '../../src/lab/server.ts';
import { buildScript } from '../../src/lab/topology.ts';
import { setEnvironment } from '../../src/live/process.ts';
import type { Report } from '../../src/model.ts';
import { agentEnvironment } from '../../src/plan/agent.ts';
import { curlProbe, pingProbe } from '../../src/plan/probes.ts';
import { createUndo } from '../../src/undo.ts';
import { MODES_HERE } from '../support/lab.ts';

setEnvironment(process.env);

const AGENT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');
const HEALTHY = SCENARIOS.find(one => one.name === 'healthy') as Scenario;
const SENDER = senderOf(HEALTHY);
const ADDRESS = '10.96.100.1';
const RUN = 'skew1234';

const PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`;
const NEWER = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'trace-svc-newer-tools');
/** This machine's programs, and those of Debian 13 before them. */
const PATHS = { own: PATH, newer: `${NEWER}/bin:${PATH}` };
type Version = keyof typeof PATHS;

/** Without them half of this file would say nothing: then it fails, and says what this machine lacks. */
beforeAll(() => {
  mkdirSync(NEWER, { recursive: true });
  const got = spawnSync('sh', [fileURLToPath(new URL('../support/newer-tools.sh', import.meta.url)), NEWER], {
    encoding: 'utf8',
    env: { ...process.env, PATH },
  });
  if (got.status !== 0)
    throw new Error(`nftables and iptables of Debian 13 cannot be had on this machine: ${got.stderr}`);
}, 300_000);

let holder: Holder;
beforeEach(async () => {
  holder = await startHolder(RUN, process.getuid?.() === 0, false);
});
afterEach(() => holder.stop());

async function build(mode: Mode, version: Version): Promise<void> {
  const env = {
    PATH: PATHS[version],
    TS_NODE: process.execPath,
    TS_SERVER: SERVER,
    TS_KEY: LAB_KEY,
    TS_CERT: LAB_CERTIFICATE,
  };
  const built = await holder.shell().run(['sh', '-c', buildScript(HEALTHY, mode)], { env, timeoutMs: 60_000 });
  expect([built.code, built.code === 0 ? '' : built.stderr]).toEqual([0, '']);
}

function orderOf(mode: Mode) {
  return {
    scope: { run: RUN, podIps: [SENDER.address], ports: [{ protocol: 'tcp' as const, port: 80 }] },
    seconds: 60,
    method: mode === 'legacy' ? ('raw' as const) : ('nft' as const),
    log: mode === 'legacy' || mode === 'mixed' ? ('nflog' as const) : ('none' as const),
    probes: [[curlProbe(ADDRESS, 80, { scheme: 'http', path: '/', seconds: 3 }), pingProbe(ADDRESS)]],
    agent: ['sh', '-c', AGENT],
    targets: [ADDRESS],
  };
}

/** Our rules are in while `look` looks. */
async function whileTraced(mode: Mode, version: Version, look: () => Promise<void>): Promise<void> {
  let ready = () => {};
  const isReady = new Promise<void>(resolve => {
    ready = resolve;
  });
  const said: string[] = [];
  const agent = holder.shell('n1').start(
    ['sh', '-c', AGENT],
    line => {
      said.push(line);
      if (line === '@ready' || line.startsWith('@fail')) ready();
    },
    { env: { ...agentEnvironment(orderOf(mode)), PATH: PATHS[version] } },
  );
  await isReady;
  expect(said.filter(line => line.startsWith('@fail'))).toEqual([]);
  try {
    await look();
  } finally {
    agent.write('leave\n');
    await agent.stop();
  }
  expect(said.filter(line => /^@(left|removed)/.test(line))).toEqual([
    expect.stringMatching(/^@removed/),
    ...(mode === 'mixed' || mode === 'legacy' ? [expect.stringMatching(/nf_log/)] : []),
  ]);
}

async function onNode(script: string, version: Version): Promise<string> {
  const ran = await holder.shell('n1').run(['sh', '-c', script], { env: { PATH: PATHS[version] }, timeoutMs: 30_000 });
  expect([script, ran.code, ran.stderr.replace(/^# Warning: .*\n/gm, '')]).toEqual([script, 0, '']);
  return ran.stdout;
}

const withoutCounters = (text: string) => text.replace(/^#.*\n/gm, '').replace(/\[\d+:\d+\]/g, '');

async function saveAndRestore(flavour: 'legacy' | 'nft', version: Version): Promise<void> {
  for (const family of ['ip', 'ip6']) {
    const save = `${family}tables-${flavour}-save`;
    const before = withoutCounters(await onNode(save, version));
    await onNode(`${save} -c >/run/saved && ${family}tables-${flavour}-restore -w 5 -c </run/saved`, version);
    expect(withoutCounters(await onNode(save, version))).toEqual(before);
  }
}

describe.each(MODES_HERE as Mode[])('while we trace in mode %s', mode => {
  it.each([
    ['own', 'own'],
    ['newer', 'own'],
    ['own', 'newer'],
  ] as [Version, Version][])('with the %s programs, the %s ones list, save and restore', async (agent, version) => {
    await build(mode, 'own');
    await whileTraced(mode, agent, async () => {
      const listed = await onNode('nft -a list ruleset', version);
      if (mode !== 'legacy') expect(listed).toContain(`trace_svc_${RUN}`);
      await onNode('nft list tables', version);
      const { nftables } = JSON.parse(await onNode('nft -j list ruleset', version));
      expect(Array.isArray(nftables)).toBe(true);
      if (mode !== 'nftables') await saveAndRestore(mode === 'nft' ? 'nft' : 'legacy', version);
      if (mode === 'mixed') await saveAndRestore('nft', version);
      // What another program restored is still traced by us, and still ours to remove.
      if (mode !== 'legacy') expect(await onNode('nft list ruleset', version)).toContain(`trace_svc_${RUN}`);
      else expect(await onNode('iptables-legacy-save -t raw', version)).toContain(`trace-svc:${RUN}`);
    });
  });
});

async function traced(mode: Mode, version: Version): Promise<Report> {
  const capture = emptyCapture('lab', objectsOf(HEALTHY));
  capture.target = { namespace: 'default', service: 'web', port: 80 };
  capture.source = { namespace: 'default', pod: SENDER.name, ips: [SENDER.address], node: SENDER.node };
  const node = holder.shell('n1');
  const site = {
    pod: holder.shell(SENDER.name),
    node: {
      ...node,
      start: (argv: string[], line: (text: string) => void, options = {}) =>
        node.start(['env', `PATH=${PATHS[version]}`, ...argv], line, options),
    },
  };
  const out = { result() {}, say() {}, step() {} };
  await collect(orderOf(mode), site, capture, createUndo(), out, new AbortController().signal);
  return analyse(capture);
}

/** What a report says of the probes' own packets, without what differs from run to run. */
function toldBy({ findings, journeys, completeness }: Report) {
  const hops = journeys
    .filter(({ packet }) => /^(SYN$|echo request)/.test(packet.label))
    .map(({ packet, hops: all }) => [
      packet.label,
      ...all
        .filter(({ chain }) => !/^KUBE-SEP|^endpoint/.test(chain))
        .map(({ hook, table, chain, event }) => `${hook} ${table} ${chain} ${event}`),
    ])
    .sort();
  return { findings: findings.map(({ kind }) => kind), hops, completeness: { ...completeness, events: 0 } };
}

const PAIRS: [Version, Version][] = [
  ['newer', 'own'],
  ['own', 'newer'],
  ['newer', 'newer'],
];
/** nft 1.0.6 crashes on kube-proxy's maps as nft 1.1.3 writes them, whoever asks it to read them. */
const CRASHES = (mode: Mode, agent: Version, maker: Version) =>
  mode === 'nftables' && agent === 'own' && maker === 'newer';

describe.each(MODES_HERE as Mode[])('in mode %s', mode => {
  it.each(PAIRS.filter(pair => !CRASHES(mode, ...pair)))(
    'an agent with the %s programs tells of rules that the %s ones made what it tells with one version of all',
    async (agent, maker) => {
      await build(mode, maker);
      const other = await traced(mode, agent);
      const same = await traced(mode, maker);
      expect(toldBy(other)).toEqual(toldBy(same));
      expect(other.completeness).toMatchObject({ complete: true, gaps: 0, lost: 0, unrecognised: { count: 0 } });
      expect(other.cleanup.complete).toBe(true);
    },
  );
});

it("rules of a newer nft are read, or the agent's nft is said to crash on them, with the way out", async () => {
  await build('nftables', 'newer');
  const listed = await holder.shell('n1').run(['nft', 'list', 'ruleset'], { timeoutMs: 30_000 });
  const run = traced('nftables', 'own');
  if (listed.code === 0) expect((await run).completeness).toMatchObject({ complete: true, gaps: 0 });
  else await expect(run).rejects.toThrow(/nftables v\S+ .* crashed \(signal 11\) .* newer nft \(--agent-image\)/);
});
