/** A pod that is probed (`--from`) may ask the same Service of its own: which connection is the probe's, its source port tells. */
import { describe, expect, test } from 'vitest';
import type { Report } from '../../src/model.ts';
import { type Fields, kernelLine } from '../reconstruct/packets.ts';
import {
  ACK,
  answers,
  arrives,
  CLUSTER_IP,
  curl,
  later,
  leaves,
  PING,
  POD,
  reportOfWorld,
  rules,
  TIMED_OUT,
} from './world.ts';

const answered = (port: number, id: number): string[] => [
  ...arrives({ spt: port, id }),
  ...leaves({ spt: port, id }),
  ...answers({ dpt: port, id: id + 500 }),
  ...later({ ...ACK, spt: port, id: id + 1 }),
];
const refused = (port: number, id: number): string[] => {
  const reset: Fields = { dpt: port, id: id + 500, flags: 'ACK RST' };
  return [...arrives({ spt: port, id }), ...leaves({ spt: port, id }), ...answers(reset)];
};

/** A SYN that asks for explicit congestion notification. */
const withEcn = (line: string): string => line.replace('RES=0x00 SYN ', 'RES=0x00 CWR ECE SYN ');

const PROBE = curl({ stderr: `200 ${CLUSTER_IP}:80 40000\n` });
const REFUSED = curl({ stderr: '000 :0 0\ncurl: (7) Failed to connect\n', code: 7 });

const said = ({ findings }: Report) =>
  findings.filter(({ severity, kind }) => severity !== 'info' || kind === 'ServiceAnswered').map(({ kind }) => kind);

describe('beside a probe', () => {
  test.each([
    {
      what: 'answered as well: nothing',
      lines: [...answered(39999, 1), ...answered(40000, 100)],
      want: ['ServiceAnswered'],
    },
    {
      what: 'refused, which the probe was not: that',
      lines: [...refused(39999, 1), ...answered(40000, 100)],
      want: ['EndpointRefused', 'ServiceAnswered'],
    },
    {
      what: 'refused, and knew congestion notification: that',
      lines: [...refused(39999, 1).map(withEcn), ...answered(40000, 100)],
      want: ['EndpointRefused', 'ServiceAnswered'],
    },
    {
      what: 'going on from before, and refused: nothing',
      lines: [...answers({ dpt: 39999, id: 1, flags: 'ACK RST' }), ...answered(40000, 100)],
      want: ['ServiceAnswered'],
    },
  ])('a connection of the pod is told of, where it was $what', ({ lines, want }) => {
    const report = reportOfWorld(lines, { probes: [PROBE] });
    expect(said(report)).toEqual(want);
    expect(report.probes[0]).toMatchObject({ kind: 'curl', sourcePort: 40000 });
    expect(report.probes[0]?.connections).toBeUndefined();
    expect(report.findings.filter(({ severity }) => severity === 'error')).toEqual([]);
    expect(report.journeys.find(journey => journey.probe === 0)?.packet.sport).toBe(40000);
  });

  test('that met the same, it is said once', () => {
    const report = reportOfWorld([...refused(39999, 1), ...refused(40000, 100)], { probes: [REFUSED] });
    expect(said(report)).toEqual(['EndpointRefused']);
  });
});

test.each([
  ['that never connected has no port', curl(TIMED_OUT)],
  ['whose port was not traced', curl({ stderr: `200 ${CLUSTER_IP}:80 5\n` })],
])('a probe %s: all that asked the same are its own', (_, probe) => {
  const report = reportOfWorld([...answered(39999, 1), ...answered(40000, 100)], { probes: [probe] });
  expect(report.probes).toHaveLength(1);
  expect(report.probes[0]?.connections?.total).toBe(2);
});

test('a connection whose SYN is lost is one that was opened, where its answer was not', () => {
  const back: Fields = { src: CLUSTER_IP, spt: 80, dpt: 40001, id: 700 };
  const lost = [...answers(back), ...later({ ...ACK, spt: 40001, id: 201 })];
  const timedOut = curl(TIMED_OUT);
  const report = reportOfWorld([...answered(39999, 1), ...lost, ...answered(40002, 300)], {
    probes: [curl(), timedOut, curl()],
  });
  const ports = [0, 1, 2].map(probe => report.journeys.find(journey => journey.probe === probe)?.packet);
  expect(ports.map(packet => (packet?.src === POD ? packet.sport : packet?.dport))).toEqual([39999, 40001, 40002]);
});

test('of several probes each has the connection it was asked from', () => {
  const from = (port: number) => curl({ stderr: `200 ${CLUSTER_IP}:80 ${port}\n` });
  const report = reportOfWorld([...answered(39999, 1), ...answered(40000, 100), ...answered(40001, 200)], {
    probes: [from(40001), from(39999)],
  });
  const first = (probe: number) => report.journeys.find(journey => journey.probe === probe)?.packet.sport;
  expect([first(0), first(1), first(2)]).toEqual([40001, 39999, 40000]);
});

test('another pod that asks the same is told of in full', () => {
  const other = refused(39999, 1).map(line =>
    line.replaceAll('SRC=10.244.1.5 ', 'SRC=10.244.1.6 ').replaceAll('DST=10.244.1.5 ', 'DST=10.244.1.6 '),
  );
  const report = reportOfWorld([...other, ...answered(40000, 100)], { probes: [PROBE] });
  expect(report.findings[0]).toMatchObject({ kind: 'EndpointRefused', severity: 'error' });
});

describe('what the pod asks of somebody else', () => {
  const dns: Fields = { proto: 'UDP', dst: '10.96.0.53', dpt: 53, spt: 40053, len: 60 };
  const kinds = ({ findings }: Report) => findings.map(({ kind, probe }) => `${kind} ${probe}`);
  const drop = [
    ...arrives(dns, false),
    kernelLine('mangle:FORWARD:policy:1', { ...dns, in: 'veth1', out: 'eth0' }),
    kernelLine('filter:FORWARD:rule:1', { ...dns, in: 'veth1', out: 'eth0' }),
  ];
  const rulesDropping = [{ name: 'rules', text: rules({ filter: ['FORWARD -p udp -j DROP'] }) }];
  const ping: Fields = { ...PING, id: 900 };

  test('is nothing of a run, unless there is trouble with it', () => {
    const quiet = reportOfWorld(
      [...arrives(ping, false), ...leaves({ ...ping, dst: CLUSTER_IP }), ...answered(40000, 100)],
      { origin: 'live', probes: [PROBE] },
    );
    expect(kinds(quiet).filter(kind => kind.endsWith('1'))).toEqual([]);
    const trouble = reportOfWorld([...drop, ...answered(40000, 100)], {
      origin: 'live',
      probes: [PROBE],
      rules: rulesDropping,
    });
    expect(trouble.findings[0]).toMatchObject({ kind: 'DroppedByRule', severity: 'warning', probe: 1 });
  });

  test('in files is a question as good as the other', () => {
    const report = reportOfWorld(
      [...arrives(ping, false), ...leaves({ ...ping, dst: CLUSTER_IP }), ...answered(40000, 100)],
      { probes: [PROBE] },
    );
    expect(kinds(report)).toContain('PingNotTranslated 1');
    const trouble = reportOfWorld([...drop, ...answered(40000, 100)], { probes: [PROBE], rules: rulesDropping });
    expect(trouble.findings[0]).toMatchObject({ kind: 'DroppedByRule', severity: 'error', probe: 1 });
  });
});
