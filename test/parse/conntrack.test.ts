import { describe, expect, it } from 'vitest';
import { parseConntrack, parseConntrackLine } from '../../src/parse/conntrack.ts';
import { captureLines, captures } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

const TUPLES =
  'src=10.244.1.72 dst=10.96.164.231 sport=33956 dport=80 src=10.244.2.26 dst=10.244.1.72 sport=8080 dport=33956';
const original = { src: '10.244.1.72', sport: 33956, dst: '10.96.164.231', dport: 80 };
const reply = { src: '10.244.2.26', sport: 8080, dst: '10.244.1.72', dport: 33956 };

const LINES = [
  {
    name: 'conntrack -L',
    line: `tcp      6 119 TIME_WAIT ${TUPLES} [ASSURED] mark=0 use=1`,
    want: {
      protocol: 'tcp',
      state: 'TIME_WAIT',
      original,
      reply,
      flags: ['ASSURED'],
      mark: 0,
      event: undefined,
      id: undefined,
    },
  },
  {
    name: 'conntrack -L -o extended',
    line: `ipv4     2 tcp      6 119 TIME_WAIT ${TUPLES} [ASSURED] mark=0 use=1`,
    want: { protocol: 'tcp', state: 'TIME_WAIT', original, reply },
  },
  {
    name: 'conntrack -L -o extended,id',
    line: `ipv4     2 tcp      6 119 ESTABLISHED ${TUPLES} [ASSURED] mark=0 use=1 id=2641368242`,
    want: { state: 'ESTABLISHED', id: '2641368242' },
  },
  {
    name: 'counters, a zone and a label',
    line: 'tcp 6 86399 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=3 bytes=180 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=1 bytes=60 [ASSURED] mark=16384 zone=1 use=1',
    want: {
      original: { src: '10.0.0.1', sport: 1, dst: '10.0.0.2', dport: 2 },
      reply: { src: '10.0.0.2', sport: 2 },
      mark: 0x4000,
    },
  },
  {
    name: 'no reply yet',
    line: 'udp      17 29 src=10.244.1.72 dst=10.96.38.205 sport=43318 dport=53 [UNREPLIED] src=10.244.2.26 dst=10.244.1.72 sport=5353 dport=43318 mark=0 use=1',
    want: {
      protocol: 'udp',
      state: undefined,
      flags: ['UNREPLIED'],
      original: { dport: 53 },
      reply: { src: '10.244.2.26', sport: 5353 },
    },
  },
  {
    name: 'ICMP: its id belongs to the tuple, not to the entry',
    line: 'ipv4     2 icmp     1 28 src=10.244.1.72 dst=10.96.0.1 type=8 code=0 id=388 [UNREPLIED] src=10.96.0.1 dst=10.244.1.72 type=0 code=0 id=388 mark=0 use=1',
    want: {
      protocol: 'icmp',
      original: { src: '10.244.1.72', dst: '10.96.0.1', icmpType: 8, icmpId: 388, sport: undefined },
      reply: { src: '10.96.0.1', icmpType: 0, icmpId: 388 },
      flags: ['UNREPLIED'],
      id: undefined,
    },
  },
  {
    name: 'ICMPv6',
    line: 'ipv6     10 icmpv6   58 29 src=fd00:0:0:0:0:0:0:1 dst=fd00::2 type=128 code=0 id=5 src=fd00::2 dst=fd00::1 type=129 code=0 id=5 mark=0 use=1',
    want: { protocol: 'icmpv6', original: { src: 'fd00::1', dst: 'fd00::2', icmpType: 128, icmpId: 5 } },
  },
  {
    name: 'TCP over IPv6',
    line: 'ipv6     10 tcp      6 86399 ESTABLISHED src=fd00::1 dst=fd00:96::1 sport=1 dport=80 src=fd00:244::9 dst=fd00::1 sport=8080 dport=1 [ASSURED] mark=0 use=1',
    want: { original: { src: 'fd00::1', dst: 'fd00:96::1' }, reply: { src: 'fd00:244::9', sport: 8080 } },
  },
  {
    name: 'SCTP',
    line: 'sctp     132 3 CLOSED src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 mark=0 use=1',
    want: { protocol: 'sctp', state: 'CLOSED' },
  },
  {
    name: 'offloaded',
    line: `tcp      6 ${TUPLES} [OFFLOAD] mark=0 use=2`,
    want: { flags: ['OFFLOAD'], state: undefined },
  },
  {
    name: 'conntrack -E: new',
    line: `    [NEW] tcp      6 120 SYN_SENT ${TUPLES.replace(' src=10.244.2', ' [UNREPLIED] src=10.244.2')}`,
    want: { event: 'NEW', state: 'SYN_SENT', flags: ['UNREPLIED'], original, reply },
  },
  {
    name: 'conntrack -E: update',
    line: ` [UPDATE] tcp      6 60 SYN_RECV ${TUPLES}`,
    want: { event: 'UPDATE', state: 'SYN_RECV' },
  },
  {
    name: 'conntrack -E: destroyed',
    line: `[DESTROY] tcp      6 ${TUPLES} [ASSURED]`,
    want: { event: 'DESTROY', state: undefined, flags: ['ASSURED'] },
  },
  {
    name: 'conntrack -E -o timestamp,extended,id',
    line: `[1700000000.123456]\t    [NEW] ipv4     2 tcp      6 120 SYN_SENT ${TUPLES} id=7`,
    want: { event: 'NEW', state: 'SYN_SENT', id: '7', original, reply },
  },
];

describe('an entry', () => {
  it.each(LINES)('$name', ({ line, want }) => expectLike(parseConntrackLine(line), { ...want, raw: line.trim() }));

  it.each([
    '',
    'conntrack v1.4.7 (conntrack-tools): 5 flow entries have been shown.',
    'tcp 6 119 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2',
    'tcp 6 119 TIME_WAIT src=10.0.0.1 dst=10.0.0 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1',
    'src=10.0.0.1 dst=10.0.0.2 src=10.0.0.2 dst=10.0.0.1',
    'hello src=1 dst=2',
  ])('none in %j', line => expect(parseConntrackLine(line)).toBeUndefined());
});

describe('a text', () => {
  it('gives its entries in order and passes over other lines', () => {
    const text = [
      'conntrack v1.4.7 (conntrack-tools): 2 flow entries have been shown.',
      LINES[0]?.line,
      '',
      LINES[4]?.line,
      'x',
    ].join('\r\n');
    expect(parseConntrack(text).map(entry => entry.protocol)).toEqual(['tcp', 'udp']);
  });

  it.each(captures('conntrack.txt'))('$name', ({ text }) => {
    const entries = parseConntrack(text);
    expect(entries).toHaveLength(text.trim().split('\n').length);
    for (const { original, protocol } of entries) {
      expect(original.src).toBe('10.244.1.72');
      expect(protocol === 'icmp' ? original.icmpId : original.dport).toBeGreaterThan(0);
    }
  });
});

survivesAnything(parseConntrack, [...captureLines('conntrack.txt'), ...LINES.map(({ line }) => line)], entries => {
  for (const { original, reply } of entries)
    expect([original.src, original.dst, reply.src, reply.dst]).not.toContain('');
});
