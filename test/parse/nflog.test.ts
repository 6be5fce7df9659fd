/** TRACE through nfnetlink_log, as tcpdump prints it. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { check, survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { byteHeader, nflogBytes, packetBytes, tcpdumpLines } from '../support/packet-bytes.ts';
import { expectWellFormed, readTrace } from '../support/read-trace.ts';

const HEADER = {
  family: 'ip' as const,
  protocol: 'tcp',
  tuple: { src: '10.244.1.72', sport: 38858, dst: '10.96.164.231', dport: 80 },
  length: 60,
  ttl: 64,
  id: 38682,
  tcp: { flags: 'SYN', seq: 2362888013, ack: 0, window: 64240 },
};
const PREFIX = 'TRACE: nat:KUBE-SERVICES:rule:2 ';
const dump = (parts: object = {}) =>
  tcpdumpLines('1700000000.123456', nflogBytes({ prefix: PREFIX, payload: packetBytes(HEADER), in: 5, ...parts }));

describe('a dump', () => {
  it('is one event, with the packet, its mark, its interfaces by name and the clock', () =>
    expectLike(readTrace('# ifindex 5 cni0', '# ifindex 7 veth657da331', ...dump({ physIn: 7, mark: 0x4000 })), {
      events: [
        {
          point: { backend: 'legacy', family: 'ip', table: 'nat', chain: 'KUBE-SERVICES', kind: 'rule', number: 2 },
          header: HEADER,
          mark: 0x4000,
          via: { in: 'cni0', out: undefined, physIn: 'veth657da331' },
          at: 1700000000123456,
          line: 4,
        },
      ],
      unrecognised: [],
    }));

  it('of an interface nobody named has its number', () =>
    expectLike(readTrace(...dump({ out: 9 })).events, [{ via: { in: 'if5', out: 'if9' }, mark: undefined }]));

  it.each([
    { name: 'another rule’s', parts: { prefix: 'DROPPED: ' }, want: { events: [], unrecognised: [] } },
    {
      name: 'with half an IP header',
      parts: { payload: packetBytes(HEADER).slice(0, 12) },
      want: { events: [], unrecognised: [{ reason: 'the dump holds no whole IP header' }] },
    },
    {
      name: 'with a prefix that is cut off',
      parts: { prefix: 'TRACE: nat:KUBE' },
      want: { events: [], unrecognised: [{ reason: 'not table:chain:kind:number' }] },
    },
  ])('$name', ({ parts, want }) => expectLike(readTrace(...dump(parts)), want));

  it('several, one after the other', () => {
    const { events } = readTrace(
      ...dump(),
      ...dump({ prefix: 'TRACE: filter:FORWARD:policy:1 ' }),
      'end of session',
      ...dump(),
    );
    expect(events.map(event => event.point.chain)).toEqual(['KUBE-SERVICES', 'FORWARD', 'KUBE-SERVICES']);
  });

  it('whatever packet it holds, the same fields come back', () =>
    check(
      fc.property(byteHeader, fc.nat({ max: 0xffffffff }), (header, mark) => {
        const { events } = readTrace(
          ...tcpdumpLines('1700000000.000001', nflogBytes({ prefix: PREFIX, payload: packetBytes(header), mark })),
        );
        expect(events).toHaveLength(1);
        expect(events[0]?.mark).toBe(mark);
        expect(events[0]?.header).toEqual(header);
        expect(events[0]?.point.family).toBe(header.family);
      }),
      0.3,
    ));
});

survivesAnything(
  text => readTrace(...text.split('\n')),
  [['# ifindex 5 cni0', ...dump(), ...dump({ mark: 1 })].join('\n')],
  ({ events, unrecognised }) => {
    for (const event of events) expectWellFormed(event);
    for (const { reason } of unrecognised) expect(reason).not.toBe('');
  },
);
