/** One packet, seen by several sources, is one packet: two tables' sides of it, copies of a file, and two programs' words. */
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { type Fields, kernelLine, kernelLines, nftPacket, nftPolicy, nftRule } from './packets.ts';

function reportOf(...traces: string[][]): Report {
  const capture = emptyCapture('files', emptyObjects());
  capture.traces = traces.map((lines, i) => ({ name: `t${i}`, text: lines.join('\n') }));
  return analyse(capture);
}

const IN: Fields = { in: 'veth1' };
const THROUGH: Fields = { in: 'veth1', out: 'eth0', ttl: 63 };
const OUT: Fields = { out: 'eth0', ttl: 63 };

const LEGACY = [
  kernelLine('raw:PREROUTING:policy:1', IN),
  kernelLine('mangle:PREROUTING:policy:1', IN),
  kernelLine('filter:FORWARD:policy:1', THROUGH),
  kernelLine('mangle:POSTROUTING:policy:1', OUT),
];
const NFT = [
  nftPacket('a1', 'nat PREROUTING', IN),
  nftPolicy('a1', 'nat PREROUTING'),
  nftPacket('b2', 'filter FORWARD', THROUGH),
  nftPolicy('b2', 'filter FORWARD'),
  nftPacket('b2', 'nat POSTROUTING', OUT),
  nftPolicy('b2', 'nat POSTROUTING'),
];

function steps(report: Report): string[][] {
  return report.journeys.map(journey =>
    journey.hops
      .filter(hop => hop.event !== 'packet' && hop.event !== 'gap')
      .map(hop => `${hop.hook} ${hop.table} ${hop.backend}`),
  );
}

describe("legacy's and nft's side of one packet", () => {
  test.each([
    ['legacy first', [LEGACY, NFT]],
    ['nft first', [NFT, LEGACY]],
    ['in one file', [[...NFT, ...LEGACY]]],
  ])('%s: one journey, in the order of hooks and priorities', (_, traces) => {
    expect(steps(reportOf(...traces))).toEqual([
      [
        'prerouting raw legacy',
        'prerouting mangle legacy',
        'prerouting nat nft',
        'forward filter legacy',
        'forward filter nft',
        'postrouting mangle legacy',
        'postrouting nat nft',
      ],
    ]);
  });

  test('other packets are not mixed in', () => {
    const other = [kernelLine('raw:PREROUTING:policy:1', { ...IN, id: 555, seq: 9 })];
    expect(reportOf([...LEGACY, ...other], NFT).journeys).toHaveLength(2);
  });

  test('two packets that look alike to nft are put together in their order', () => {
    const twin: Fields = { ...IN, id: 0, flags: 'ACK', len: 52 };
    const legacy = [1, 2].flatMap(i => kernelLines({ ...twin, seq: i, ack: i }, ['raw:PREROUTING:policy:1']));
    const nft = ['a1', 'c3'].flatMap(id => [nftPacket(id, 'nat PREROUTING', twin), nftPolicy(id, 'nat PREROUTING')]);
    const report = reportOf(legacy, nft);
    expect(report.journeys.map(journey => journey.hops.flatMap(hop => hop.evidence))).toEqual([
      ['t0:1', 't1:1', 't1:2'],
      ['t0:2', 't1:3', 't1:4'],
    ]);
  });
});

describe('the same file twice', () => {
  test('gives the same journeys, and counts what stood twice', () => {
    const report = reportOf(LEGACY, LEGACY);
    expect(steps(report)).toEqual(steps(reportOf(LEGACY)));
    expect(report.completeness.duplicates).toBe(4);
  });

  test('what one file lost the other has', () => {
    const first = LEGACY.filter((_, i) => i !== 2);
    const second = LEGACY.filter((_, i) => i !== 3);
    expect(steps(reportOf(first, second))).toEqual(steps(reportOf(LEGACY)));
  });

  test('a copy that begins later is a copy all the same', () => {
    const report = reportOf(LEGACY, LEGACY.slice(1));
    expect(report.journeys).toHaveLength(1);
    expect(report.completeness.duplicates).toBe(3);
  });

  test.each([
    ['the TTL', 2],
    ['the address', 2],
  ])('a copy that begins behind %s changed', (what, from) => {
    const to: Fields = what === 'the address' ? { dst: '10.244.2.9', dpt: 8080 } : {};
    const whole = [
      ...LEGACY.slice(0, 2),
      kernelLine('filter:FORWARD:policy:1', { ...THROUGH, ...to }),
      kernelLine('mangle:POSTROUTING:policy:1', { ...OUT, ...to }),
    ];
    for (const files of [
      [whole, whole.slice(from)],
      [whole.slice(from), whole],
    ]) {
      const report = reportOf(...files);
      expect(steps(report)).toEqual(steps(reportOf(whole)));
      expect(report.completeness.duplicates).toBe(2);
    }
  });

  test("a copy of nft's lines that begins behind the change of the trace id", () => {
    const report = reportOf(NFT, NFT.slice(2));
    expect(steps(report)).toEqual(steps(reportOf(NFT)));
    expect(report.completeness.duplicates).toBe(4);
  });

  test('the same packet at another moment is another packet', () => {
    const later = kernelLines({ ...IN, at: 900_000_000 }, ['raw:PREROUTING:policy:1']);
    expect(reportOf(LEGACY, later).journeys).toHaveLength(2);
  });
});

describe('xtables-monitor beside nft monitor', () => {
  const BOTH = [
    nftPacket('a1', 'nat PREROUTING', IN),
    nftRule('a1', 'nat PREROUTING', 'counter packets 1 bytes 60 jump KUBE-SERVICES', 'jump KUBE-SERVICES'),
    nftPolicy('a1', 'nat PREROUTING'),
  ];
  const XTABLES = [
    'PACKET: 2 a1 IN=veth1 MACSRC=36:4:b4:d3:e0:80 MACDST=4a:b6:be:bc:69:8a MACPROTO=0800 SRC=10.244.1.5 DST=10.96.0.10 LEN=60 TOS=0x0 TTL=64 ID=100 DF SPORT=40000 DPORT=80 SYN ',
    ' TRACE: 2 a1 nat:PREROUTING:rule:0x130:JUMP:KUBE-SERVICES  -4 -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    ' TRACE: 2 a1 nat:PREROUTING:policy:ACCEPT ',
  ];

  test('is one packet, whose rule now has its handle and its comment', () => {
    const report = reportOf(BOTH, XTABLES);
    expect(report.journeys).toHaveLength(1);
    expect(report.completeness.duplicates).toBeGreaterThan(0);
    const [rule] = (report.journeys[0]?.hops ?? []).filter(hop => hop.event === 'rule');
    expect(rule).toMatchObject({ handle: 0x130, comment: 'kubernetes service portals', verdict: 'jump KUBE-SERVICES' });
  });

  test('alone it tells the same way', () => {
    const [journey] = reportOf(XTABLES).journeys;
    expect(journey?.hops.map(hop => `${hop.table} ${hop.chain} ${hop.event}`)).toEqual([
      'nat PREROUTING rule',
      'nat PREROUTING policy',
    ]);
    expect(journey?.packet).toMatchObject({ src: '10.244.1.5', dst: '10.96.0.10', sport: 40000, dport: 80 });
  });
});

describe('xtables-monitor prints neither protocol nor window', () => {
  const lines = (fields: string) => [
    `PACKET: 2 a1 IN=veth1 MACSRC=36:4:b4:d3:e0:80 MACDST=4a:b6:be:bc:69:8a MACPROTO=0800 SRC=10.244.1.5 DST=10.96.0.10 ${fields}`,
    ' TRACE: 2 a1 nat:PREROUTING:rule:0x130:JUMP:KUBE-SERVICES  -4 -t nat -A PREROUTING -j KUBE-SERVICES',
    ' TRACE: 2 a1 nat:PREROUTING:policy:ACCEPT ',
  ];

  test.each<[string, Fields, string, string]>([
    ['ping', { proto: 'ICMP', len: 84 }, 'LEN=84 TOS=0x0 TTL=64 ID=100 DF ', 'echo request 1'],
    ['TCP', {}, 'LEN=60 TOS=0x0 TTL=64 ID=100 DF SPORT=40000 DPORT=80 SYN ', 'SYN'],
  ])('beside the kernel log a packet is one packet, and called what that calls it: %s', (_, packet, fields, label) => {
    const legacy = kernelLines({ ...IN, ...packet }, ['raw:PREROUTING:policy:1', 'mangle:PREROUTING:policy:1']);
    for (const traces of [
      [legacy, lines(fields)],
      [lines(fields), legacy],
    ]) {
      const report = reportOf(...traces);
      expect(report.journeys.map(journey => journey.packet.label)).toEqual([label]);
      expect(report.journeys[0]?.hops.filter(hop => hop.event !== 'gap').map(hop => hop.backend)).toEqual([
        'legacy',
        'legacy',
        'nft',
        'nft',
      ]);
    }
  });

  test('alone, a packet without ports is of no protocol, asks no Service, and answers nothing', () => {
    const back = [
      'PACKET: 2 b2 OUT=veth1 SRC=10.96.0.10 DST=10.244.1.5 LEN=112 TOS=0xc0 TTL=64 ID=7 ',
      ' TRACE: 2 b2 filter:OUTPUT:rule:0x1c:JUMP:KUBE-FIREWALL  -4 -t filter -A OUTPUT -j KUBE-FIREWALL',
      ' TRACE: 2 b2 filter:OUTPUT:policy:ACCEPT ',
    ];
    const report = reportOf([...lines('LEN=84 TOS=0x0 TTL=64 ID=100 DF '), ...back]);
    expect(report.probes).toMatchObject([{ kind: 'packet', outcome: 'unknown' }]);
    expect(new Set(report.journeys.map(journey => journey.packet.label))).toEqual(new Set(['protocol not printed']));
    expect(report.findings.filter(finding => finding.kind !== 'TraceIncomplete')).toEqual([]);
  });
});

describe('packets nobody can name', () => {
  test('lines without any header are counted, and make the result incomplete', () => {
    const report = reportOf([nftRule('f9', 'nat PREROUTING', 'jump X', 'jump X'), nftPolicy('f9', 'nat PREROUTING')]);
    expect(report.journeys).toEqual([]);
    expect(report.completeness.complete).toBe(false);
    expect(report.completeness.reasons.join()).toMatch(/header/);
  });
});
