import { describe, expect, it } from 'vitest';
import type { TraceEvent } from '../../src/model.ts';
import { parseNftTrace } from '../../src/parse/nft-trace.ts';
import { createTraceReader } from '../../src/parse/trace.ts';
import { captureLines, captures, some } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { eventOf, expectWellFormed, readChunks, readTrace, reasonOf } from '../support/read-trace.ts';

const PACKET =
  'iif "eth0" ether saddr 36:04:b4:d3:e0:80 ether daddr 4a:b6:be:bc:69:8a ip saddr 10.23.42.2 ip daddr 10.23.42.1 ' +
  'ip dscp cs0 ip ecn not-ect ip ttl 64 ip id 9 ip protocol tcp ip length 60 tcp sport 49802 tcp dport 80 tcp flags == syn tcp window 64860 ';

describe('every kind of line', () => {
  it.each([
    {
      name: 'a packet',
      line: `trace id 79ee2632 ip nat PREROUTING packet: ${PACKET}`,
      want: {
        traceId: '79ee2632',
        point: { backend: 'nft', family: 'ip', table: 'nat', chain: 'PREROUTING', kind: 'packet' },
        header: {
          protocol: 'tcp',
          tuple: { src: '10.23.42.2', sport: 49802, dst: '10.23.42.1', dport: 80 },
          tcp: { flags: 'SYN', window: 64860 },
        },
        via: { in: 'eth0' },
      },
    },
    {
      name: 'a rule that goes on',
      line: 'trace id 79ee2632 ip t pre rule ip saddr 10.244.1.72 meta nftrace set 1 (verdict continue)',
      want: {
        point: {
          kind: 'rule',
          verdict: 'continue',
          handle: undefined,
          rule: { text: 'ip saddr 10.244.1.72 meta nftrace set 1', target: 'TRACE' },
        },
        header: undefined,
      },
    },
    {
      name: 'a jump',
      line: 'trace id 79ee2632 ip nat PREROUTING rule  counter packets 21 bytes 3873 jump KUBE-SERVICES (verdict jump KUBE-SERVICES)',
      want: {
        point: {
          kind: 'rule',
          verdict: 'jump KUBE-SERVICES',
          rule: { text: 'jump KUBE-SERVICES', target: 'KUBE-SERVICES', goto: false },
        },
      },
    },
    {
      name: 'a goto through a verdict map',
      line: 'trace id 6ddebc53 ip kube-proxy services rule ip daddr . meta l4proto . th dport vmap @service-ips (verdict goto service-ULMVA6XW-ns1/svc1/tcp/p80)',
      want: {
        point: {
          chain: 'services',
          verdict: 'goto service-ULMVA6XW-ns1/svc1/tcp/p80',
          rule: { vmap: { key: ['ip daddr', 'meta l4proto', 'th dport'], map: 'service-ips' } },
        },
      },
    },
    {
      name: 'accept of a DNAT',
      line: 'trace id 10812267 ip nat KUBE-SEP-X rule meta l4proto 17   counter packets 0 bytes 0 dnat to 10.244.2.26:5353 (verdict accept)',
      want: { point: { verdict: 'accept', rule: { target: 'DNAT', targetArgs: ['to', '10.244.2.26:5353'] } } },
    },
    {
      name: 'drop of a reject',
      line: 'trace id 10812267 ip kube-proxy cluster-ips-check rule ip daddr @cluster-ips reject comment "Reject traffic to invalid ports (of ClusterIPs)" (verdict drop)',
      want: {
        point: {
          verdict: 'drop',
          rule: { target: 'REJECT', comment: 'Reject traffic to invalid ports (of ClusterIPs)' },
        },
      },
    },
    {
      name: 'a return',
      line: 'trace id 0 inet t foo rule ct status != dying return (verdict return)',
      want: { traceId: '0', point: { family: 'inet', verdict: 'return', rule: { target: 'RETURN' } } },
    },
    {
      name: 'a rule that stole the packet',
      line: 'trace id 1 ip t c rule fwd to "eth1" (verdict stolen)',
      want: { point: { verdict: 'stolen' } },
    },
    {
      name: 'a rule the monitor does not know',
      line: 'trace id 1 ip nat PREROUTING unknown rule handle 304 (verdict jump KUBE-SERVICES)',
      want: { point: { kind: 'rule', handle: 304, verdict: 'jump KUBE-SERVICES', rule: undefined } },
    },
    {
      name: 'the end of a user chain',
      line: 'trace id 1 ip nat KUBE-SERVICES verdict continue ',
      want: { point: { kind: 'return', verdict: 'continue' }, mark: undefined },
    },
    {
      name: 'the end of a user chain, with a mark',
      line: 'trace id 1 ip nat KUBE-MARK-MASQ verdict continue meta mark 0x00004000 ',
      want: { point: { kind: 'return', verdict: 'continue' }, mark: 0x4000 },
    },
    {
      name: 'a policy',
      line: 'trace id 1 ip nat PREROUTING policy accept ',
      want: { point: { kind: 'policy', verdict: 'accept' }, mark: undefined },
    },
    {
      name: 'a policy that drops',
      line: 'trace id 1 inet t input policy drop',
      want: { point: { kind: 'policy', verdict: 'drop' } },
    },
    {
      name: 'a policy with a mark',
      line: 'trace id 1 inet t input policy accept meta mark 0x00000042 ',
      want: { point: { kind: 'policy', verdict: 'accept' }, mark: 0x42 },
    },
    {
      name: 'a policy with a decimal mark',
      line: 'trace id 1 ip t input policy accept meta mark 66',
      want: { mark: 66 },
    },
    {
      name: 'conntrack (nft 1.1.4)',
      line: 'trace id 32 ip t PRE conntrack: ct direction original ct state new ct status dnat-done ct id 2641368242',
      want: {
        point: { kind: 'conntrack', chain: 'PRE' },
        conntrack: 'ct direction original ct state new ct status dnat-done ct id 2641368242',
      },
    },
    {
      name: 'IPv6',
      line: 'trace id 1 ip6 kube-proxy nat-prerouting packet: iif "eth0" ip6 saddr fd00::2 ip6 daddr fd00:96::1 ip6 hoplimit 64 ip6 nexthdr udp ip6 length 20 udp sport 1 udp dport 53 udp length 20',
      want: {
        point: { family: 'ip6' },
        header: { family: 'ip6', tuple: { src: 'fd00::2', sport: 1, dst: 'fd00:96::1', dport: 53 }, length: 60 },
      },
    },
    {
      name: 'IPv6 in an inet table',
      line: 'trace id 1 inet t pre packet: iif "eth0" ip6 saddr fd00::2 ip6 daddr fd00:96::1 ip6 nexthdr udp udp sport 1 udp dport 53',
      want: { point: { family: 'inet' }, header: { family: 'ip6' } },
    },
    {
      name: 'behind a timestamp of whoever kept it',
      line: '2026-08-21T10:00:00.123456789Z trace id 1 ip nat PREROUTING policy accept',
      want: { point: { kind: 'policy' }, at: undefined },
    },
    {
      name: 'with the verdict’s words in the comment',
      line: 'trace id 1 ip t c rule accept comment "(verdict drop)" (verdict accept)',
      want: { point: { verdict: 'accept', rule: { comment: '(verdict drop)' } } },
    },
  ])('$name', ({ line, want }) => expectLike(eventOf(line), want));

  it('lines that say the same share a point, whatever their marks', () => {
    const { events } = readTrace(
      'trace id 1 ip nat PREROUTING policy accept meta mark 0x1',
      'trace id 2 ip nat PREROUTING policy accept meta mark 0x2',
      'trace id 3 ip nat PREROUTING policy accept',
      'trace id 3 ip nat OUTPUT policy accept',
    );
    expect(events.map(event => event.point.id === events[0]?.point.id)).toEqual([true, true, true, false]);
  });
});

describe('what is not understood, and why', () => {
  it.each([
    {
      name: "a bridge's rule that drops",
      line: 'trace id 1 bridge filter FORWARD rule drop (verdict drop)',
      reason:
        /^dropped in chain FORWARD of bridge table filter, beside the hooks of IP, and of which packet that was no line tells$/,
    },
    {
      name: "a bridge's policy that drops",
      line: 'trace id 1 bridge filter FORWARD policy drop ',
      reason: /^dropped in chain FORWARD of bridge/,
    },
    {
      name: 'netdev',
      line: 'trace id 1 netdev t egress rule drop (verdict drop)',
      reason: /^dropped in chain egress of netdev/,
    },
    { name: 'a policy of neither kind', line: 'trace id 1 ip t c policy queue', reason: /neither accept nor drop/ },
    { name: 'an unknown rule without its handle', line: 'trace id 1 ip t c unknown rule', reason: /without a handle/ },
    {
      name: 'a kind of a later nft',
      line: 'trace id 1 ip t c flowtable: x',
      reason: /`flowtable:` is not a known kind/,
    },
    { name: 'no addresses', line: 'trace id 1 ip t c packet: iif "eth0"', reason: /no addresses/ },
    { name: 'no id', line: 'trace id xyz ip t c policy accept', reason: /not `trace id/ },
    { name: 'cut in the chain', line: 'trace id 1 ip nat PREROU', reason: /not `trace id/ },
    { name: 'cut behind the chain', line: 'trace id 1 ip nat PREROUTING ', reason: /not `trace id/ },
    { name: 'cut in the kind', line: 'trace id 1 ip nat PREROUTING ru', reason: /not a known kind/ },
    {
      name: 'cut in the rule',
      line: 'trace id 1 ip nat X rule counter packets 2',
      reason: /cut off before the verdict/,
    },
    {
      name: 'cut in the verdict',
      line: 'trace id 1 ip nat X rule jump Y (verdict jum',
      reason: /cut off before the verdict/,
    },
    { name: 'cut in the policy', line: 'trace id 1 ip nat X policy acc', reason: /neither accept nor drop/ },
  ])('$name', ({ line, reason }) => expect(reasonOf(line)).toMatch(reason));
});

describe('what nft says about itself', () => {
  it('lost events are a loss that cannot be counted', () =>
    expectLike(readTrace('trace id 1 ip t c policy accept', '# ERROR: We lost some netlink events!').losses, [
      { count: undefined, line: 2, source: 0 },
    ]));

  it('warnings are other people’s lines', () =>
    expect(readTrace('# Warning: table ip nat is managed by iptables-nft, do not touch!')).toEqual({
      events: [],
      unrecognised: [],
      losses: [],
      others: 1,
    }));
});

describe("a frame's way beside the hooks of IP, where ebtables or a firewall has chains", () => {
  it.each([
    `trace id 1 bridge filter OUTPUT packet: oif "veth1" ether saddr 36:04:b4:d3:e0:80 ${PACKET}`,
    'trace id 1 bridge filter OUTPUT rule counter accept (verdict accept)',
    'trace id 1 arp filter INPUT policy accept',
    'trace id 1 netdev t egress verdict continue',
  ])('is nothing that is missing: %s', line =>
    expect(readTrace(line)).toEqual({ events: [], unrecognised: [], losses: [], others: 1 }),
  );

  /** Whoever puts packets together is told of the packets and of the ends. */
  const told = (line: string): TraceEvent | undefined => {
    let event: TraceEvent | undefined;
    const sink = { event() {}, unrecognised() {}, loss() {}, other() {} };
    const reader = createTraceReader(0, {
      ...sink,
      beside(one) {
        event = { ...one };
        return true;
      },
    });
    reader.line(line, 1);
    reader.end();
    return event;
  };
  const V4 = '0x4500003c4d7140003f06d55c0af401050af40202';
  const V6 = '0x6000000000280640fd0002440001000000000000000000050a0a0a0a0a0a0a0a0000000000000009';
  const TCP = '0xab081f908614310900000000a002faf0191d0000';
  const SYN = { protocol: 'tcp', tcp: { flags: 'SYN', window: 64240 } };
  it.each([
    {
      name: 'a packet',
      line: `trace id 1 bridge filter OUTPUT packet: oif "veth1" ether saddr 36:04:b4:d3:e0:80 ${PACKET}`,
      want: { point: { family: 'bridge', kind: 'packet' }, via: { out: 'veth1' } },
    },
    {
      name: 'an end by a rule',
      line: 'trace id 1 bridge filter OUTPUT rule counter drop (verdict drop)',
      want: { point: { kind: 'rule', verdict: 'drop' }, header: undefined },
    },
    { name: 'an end by a policy', line: 'trace id 1 netdev t out policy drop ', want: { point: { verdict: 'drop' } } },
    {
      name: 'bytes of IPv4',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,160 ${V4} @th,0,160 ${TCP} `,
      want: {
        via: { out: 'eth0' },
        header: {
          ...SYN,
          family: 'ip',
          id: 19825,
          length: 60,
          ttl: 63,
          tuple: { sport: 43784, dst: '10.244.2.2', dport: 8080 },
        },
      },
    },
    {
      name: 'bytes of IPv6',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,320 ${V6} @th,0,160 ${TCP} `,
      want: { header: { ...SYN, family: 'ip6', length: 80, tuple: { src: 'fd00:244:1::5', dport: 8080 } } },
    },
    {
      name: 'bytes of IPv4 with options',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,192 ${V4.replace('0x45', '0x46')}01010101 @th,0,160 ${TCP} `,
      want: { header: { ...SYN, tuple: { sport: 43784 } } },
    },
    {
      name: 'bytes of IPv4 with options that are cut off: where the ports are they do not say',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,160 ${V4.replace('0x45', '0x46')} @th,0,160 ${TCP} `,
      want: { header: { protocol: 'tcp', tcp: undefined, tuple: { sport: undefined } } },
    },
    {
      name: 'bytes of a low port, printed without the zeros a number begins with',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,160 ${V4} @th,0,160 0x509c4000000001000003e8a012fe8800000000 `,
      want: { header: { tuple: { sport: 80, dport: 40000 }, tcp: { flags: 'SYN ACK', window: 65160 } } },
    },
    {
      name: 'bytes of a short datagram',
      line: `trace id 1 netdev t out packet: oif "eth0" @nh,0,160 ${V4.replace('3f06', '3f11')} @th,0,104 0x359c40000d00006869686968 `,
      want: { header: { protocol: 'udp', tuple: { sport: 53, dport: 40000 } } },
    },
  ])('is told: $name', ({ line, want }) => expectLike(told(line), want));

  it.each(['@nh,0,160 0x45 @th,0,160 0x00', '@nh,0,160 0xzz', '@nh,0,96 0x000108000604000136', ''])(
    'a frame may hold no packet of IP: %s',
    bytes =>
      expectLike(told(`trace id 1 netdev t out packet: oif "eth0" ${bytes} `), {
        point: { kind: 'packet' },
        header: undefined,
      }),
  );
});

describe('real traces', () => {
  for (const { name, text } of captures('nft-monitor.txt'))
    it(name, () => {
      const { events, unrecognised, losses } = readChunks([text]);
      expect({ unrecognised, losses }).toEqual({ unrecognised: [], losses: [] });
      expect(events.length).toBe(text.match(/^trace id /gm)?.length);
      for (const event of events) expect(event.header === undefined).toBe(event.point.kind !== 'packet');
      const unknown = events.flatMap(
        event => event.point.rule?.matches.filter(match => match.kind === 'unknown') ?? [],
      );
      expect(unknown).toEqual([]);
    });

  it('a line cut inside a rule or a policy is a reason, never another event', () => {
    const lines = some(
      captureLines('nft-monitor.txt').filter(line => / (rule|policy) /.test(line)),
      200,
    );
    for (const line of lines)
      for (let end = line.trimEnd().length - 1; end > 'trace id '.length; end--)
        expect(
          parseNftTrace(line.slice('trace id '.length, end), { source: 0, line: 1 }),
          line.slice(0, end),
        ).toBeTypeOf('string');
  });
});

survivesAnything(
  line => readTrace(`trace id ${line}`),
  some(captureLines('nft-monitor.txt'), 150).map(line => line.replace(/^trace id /, '')),
  ({ events, unrecognised, others }) => {
    for (const event of events) expectWellFormed(event);
    // Text of no meaning may hold line ends, and be several lines.
    expect(events.length + unrecognised.length).toBeLessThanOrEqual(1);
    expect(events.length + unrecognised.length + others).toBeGreaterThan(0);
    for (const { reason } of unrecognised) expect(reason).not.toBe('');
  },
);
