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

/** Sends as many packets as it is told to, at the pace it is told, or as fast as it can; says `began` and how many were sent. */
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
    console.log(sent + ' in ' + Math.round(performance.now() - began) + ' ms');
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

/** Most memory, in MB, of every process on the node that is nft's, tcpdump's or the agent's shell. */
function memoryOfAgent(): Record<string, number> {
  const lab = readlinkSync(`/proc/${holder.pid}/ns/pid`);
  const peaks: Record<string, number> = {};
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      if (readlinkSync(`/proc/${pid}/ns/pid`) !== lab) continue;
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const name = /^Name:\s*(\S+)/m.exec(status)?.[1] ?? '';
      const peak = Number(/^VmHWM:\s*(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
      if (/^(nft|tcpdump|sh|dash|cat)$/.test(name)) peaks[name] = Math.max(peaks[name] ?? 0, peak);
    } catch {
      // Gone while we looked.
    }
  }
  return peaks;
}

interface Busy {
  capture: Capture;
  peaks: Record<string, number>;
  flood: string;
}

/** The probe is sent in the middle of the flood, and the evidence gathered behind it. */
async function traceBusyPod(mode: Mode): Promise<Busy> {
  const capture = emptyCapture('live', objectsOf(HEALTHY));
  capture.source = { namespace: 'default', pod: SENDER.name, ips: [SENDER.address], node: SENDER.node };
  const shell = holder.shell(SENDER.name);
  let peaks: Busy['peaks'] = {};
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
      peaks = memoryOfAgent();
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
  return { capture, peaks, flood };
}

/** Lines of one source at most (src/plan/agent.ts); a packet of NFLOG is printed on twelve at most. */
const BUDGET = 20_000;

describe.each(MODES_HERE as Mode[])('mode %s', mode => {
  it('stays in bounds, and says what was not traced', { timeout: 180_000 }, async () => {
    await build(mode);
    const { capture, peaks, flood } = await traceBusyPod(mode);
    const report = analyse(capture);

    expect(flood).toMatch(new RegExp(`^${PACKETS} in `));
    for (const { name, text } of capture.traces)
      expect([name, text.split('\n').length <= BUDGET * (name === 'nflog' ? 13 : 1) + 1]).toEqual([name, true]);
    for (const [name, peak] of Object.entries(peaks)) expect([name, peak < 100]).toEqual([name, true]);
    expect(capture.losses.join('\n')).toMatch(
      /more packets (may have )?came? than|line budget was used up|We lost|dropped by the kernel/,
    );
    expect(report.completeness.complete).toBe(false);
    expect(capture.cleanup).toMatchObject({ complete: true });
  });
});
