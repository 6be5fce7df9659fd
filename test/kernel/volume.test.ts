/**
 * A pod that sends fifty thousand packets a second while it is traced: lines, memory and the capture stay in bounds, the report
 * says what was not traced, and the probe to another port of the Service is told whole.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { type Capture, emptyCapture } from '../../src/capture.ts';
import { collect } from '../../src/collect.ts';
import { LAB_CERTIFICATE, LAB_KEY } from '../../src/lab/certificate.ts';
import { type Holder, startHolder } from '../../src/lab/holder.ts';
import { type Mode, objectsOf, SCENARIOS, type Scenario, senderOf } from '../../src/lab/scenarios.ts';
import { SERVER } from '../../src/lab/server.ts';
import { buildScript } from '../../src/lab/topology.ts';
import { setEnvironment } from '../../src/live/process.ts';
import { curlProbe } from '../../src/plan/probes.ts';
import type { Site } from '../../src/ports.ts';
import { createUndo } from '../../src/undo.ts';
import { MODES_HERE } from '../support/lab.ts';

setEnvironment(process.env);

const AGENT = readFileSync(new URL('../../plugin/node-agent.sh', import.meta.url), 'utf8');
const HEALTHY = SCENARIOS.find(one => one.name === 'healthy') as Scenario;
const SENDER = senderOf(HEALTHY);
const ADDRESS = '10.96.100.1';
/** A port of UDP that the pod sends to by itself. */
const BUSY = 5353;

/** Sends as many packets as it is told to, at the pace it is told, or as fast as it can; says `began`, how many were sent, and what it cost. */
const FLOOD = `
const [address, port, packets, rate] = process.argv.slice(1);
const socket = require('node:dgram').createSocket('udp4').on('error', () => {});
const payload = Buffer.alloc(64);
let sent = 0;
let left = 0;
socket.connect(Number(port), address, () => {
  const began = performance.now();
  console.log('began');
  const go = () => {
    const due = Math.min(Number(packets), sent + 500, (performance.now() - began) / 1000 * Number(rate));
    for (; sent < due; sent++) { left++; socket.send(payload, () => left--); }
    if (sent < packets || left > 0) return setImmediate(go);
    const { user, system } = process.cpuUsage();
    console.log(sent + ' in ' + Math.round(performance.now() - began) + ' ms for ' + Math.round((user + system) / 1000) + ' ms of processor time');
    socket.close();
  };
  go();
});
`;
const PACKETS = 150_000;

let holder: Holder;
beforeEach(async () => {
  holder = await startHolder('volume12', process.getuid?.() === 0, false);
});
afterEach(() => holder.stop());

async function build(mode: Mode): Promise<void> {
  const env = { TS_NODE: process.execPath, TS_SERVER: SERVER, TS_KEY: LAB_KEY, TS_CERT: LAB_CERTIFICATE };
  const built = await holder.shell().run(['sh', '-c', buildScript(HEALTHY, mode)], { env, timeoutMs: 30_000 });
  expect(built.code).toBe(0);
}

interface AgentCost {
  /** Most memory of any process, in MB, by program. */
  peaks: Record<string, number>;
  /** Processor time of all of them, and of those they waited for, in ms. */
  cpu: number;
}

/** What every process on the node cost that is nft's, tcpdump's or the agent's shell. */
function costOfAgent(): AgentCost {
  const lab = readlinkSync(`/proc/${holder.pid}/ns/pid`);
  const cost: AgentCost = { peaks: {}, cpu: 0 };
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) !== lab) continue;
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const name = /^Name:\s*(\S+)/m.exec(status)?.[1] ?? '';
      if (!/^(nft|tcpdump|sh|dash|cat)$/.test(name)) continue;
      const peak = Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
      cost.peaks[name] = Math.max(cost.peaks[name] ?? 0, peak);
      cost.cpu += ticksOf(readFileSync(`/proc/${pid}/stat`, 'utf8')) * 10;
    } catch {
      // Gone while we looked.
    }
  }
  return cost;
}

/** proc(5): utime, stime, cutime and cstime are fields 14 to 17, in hundredths of a second. */
function ticksOf(stat: string): number {
  const fields = stat.replace(/^.*\) /, '').split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0);
}

interface Busy {
  capture: Capture;
  cost: AgentCost;
  flood: string;
}

/** The probe is sent in the middle of the flood, and the evidence gathered behind it. */
async function traceBusyPod(mode: Mode): Promise<Busy> {
  const capture = emptyCapture('live', objectsOf(HEALTHY));
  capture.source = { namespace: 'default', pod: SENDER.name, ips: [SENDER.address], node: SENDER.node };
  const shell = holder.shell(SENDER.name);
  let cost: AgentCost = { peaks: {}, cpu: 0 };
  let flood = '';
  const pod: Site['pod'] = {
    ...shell,
    async run(argv, options) {
      let begin = () => {};
      const began = new Promise<void>(resolve => {
        begin = resolve;
      });
      const flooding = shell.start(
        [process.execPath, '-e', FLOOD, ADDRESS, String(BUSY), String(PACKETS), '50000'],
        line => {
          begin();
          flood = line;
        },
      );
      await began;
      const result = await shell.run(argv, options);
      await flooding.done;
      cost = costOfAgent();
      return result;
    },
  };
  const order = {
    scope: {
      run: 'volume12',
      podIps: [SENDER.address],
      ports: [
        { protocol: 'tcp' as const, port: 80 },
        { protocol: 'udp' as const, port: BUSY },
      ],
      busy: true,
    },
    seconds: 100,
    method: mode === 'legacy' ? ('raw' as const) : ('nft' as const),
    log: mode === 'legacy' || mode === 'mixed' ? ('nflog' as const) : ('none' as const),
    probes: [[curlProbe(ADDRESS, 80, { scheme: 'http', path: '/', seconds: 10 })]],
    agent: ['sh', '-c', AGENT],
    targets: [ADDRESS],
  };
  const out = { result() {}, say() {}, step() {} };
  await collect(order, { node: holder.shell('n1'), pod }, capture, createUndo(), out, new AbortController().signal);
  return { capture, cost, flood };
}

/** Lines of one source at most (src/plan/agent.ts); a packet of NFLOG is printed on twelve at most. */
const BUDGET = 20_000;

describe.each(MODES_HERE as Mode[])('mode %s', mode => {
  it('stays in bounds, and says what was not traced', { timeout: 180_000 }, async () => {
    await build(mode);
    const { capture, cost, flood } = await traceBusyPod(mode);
    const report = analyse(capture);

    expect(flood).toMatch(new RegExp(`^${PACKETS} in `));
    for (const { name, text } of capture.traces)
      expect([name, text.split('\n').length <= BUDGET * (name === 'nflog' ? 13 : 1) + 1]).toEqual([name, true]);
    // Whoever looks on takes less of the node than the one who floods it.
    const sender = Number(/for (\d+) ms of processor time/.exec(flood)?.[1]);
    expect(cost.cpu).toBeGreaterThan(0);
    expect(cost.cpu).toBeLessThan(sender);
    for (const [name, peak] of Object.entries(cost.peaks)) expect([name, peak < 100]).toEqual([name, true]);
    expect(capture.losses.join('\n')).toMatch(
      /more packets (may have )?came? than|line budget was used up|We lost|dropped by the kernel/,
    );
    expect(report.completeness.complete).toBe(false);
    expect(capture.cleanup).toMatchObject({ complete: true });
  });
});
