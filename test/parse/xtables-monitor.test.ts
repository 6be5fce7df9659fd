/** `xtables-monitor --trace`, whose shape changed with nearly every version from 1.8.2 to 1.8.11. */
import { describe, expect, it } from 'vitest';
import { captureLines, captures, some } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { eventOf, expectWellFormed, readChunks, readTrace, reasonOf } from '../support/read-trace.ts';

const PACKET =
  'PACKET: 2 569367cf IN=cni0 MACSRC=36:4:b4:d3:e0:80 MACDST=4a:b6:be:bc:69:8a MACPROTO=0800 SRC=10.244.1.72 ' +
  'DST=10.96.164.231 LEN=60 TOS=0x0 TTL=64 ID=59037 DF SPORT=33956 DPORT=80 SYN ';
const RULE =
  ' TRACE: 2 569367cf nat:PREROUTING:rule:0x130:JUMP:KUBE-SERVICES  -4 -t nat -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES';
const POLICY = ' TRACE: 2 569367cf nat:PREROUTING:policy:ACCEPT ';
const header = {
  family: 'ip',
  protocol: 'tcp',
  length: 60,
  ttl: 64,
  id: 59037,
  tuple: { src: '10.244.1.72', sport: 33956, dst: '10.96.164.231', dport: 80 },
  tcp: { flags: 'SYN' },
};

describe('TRACE lines', () => {
  it.each([
    {
      name: 'a rule with its handle and text (1.8.7 to 1.8.10)',
      line: RULE,
      want: {
        traceId: '569367cf',
        header: undefined,
        point: {
          backend: 'nft',
          family: 'ip',
          table: 'nat',
          chain: 'PREROUTING',
          kind: 'rule',
          handle: 0x130,
          verdict: 'jump KUBE-SERVICES',
          rule: { text: '-j KUBE-SERVICES', comment: 'kubernetes service portals', target: 'KUBE-SERVICES' },
        },
      },
    },
    {
      name: 'the whole command (1.8.11)',
      line: ' TRACE: 2 569367cf nat:X:rule:0x1:ACCEPT  iptables -t nat -A X -p tcp -j ACCEPT',
      want: { point: { verdict: 'accept', rule: { text: '-p tcp -j ACCEPT', matches: [{ kind: 'proto' }] } } },
    },
    {
      name: 'the whole command for IPv6 (1.8.11)',
      line: ' TRACE: 10 569367cf filter:INPUT:rule:0x1:DROP  ip6tables -t filter -A INPUT -s fd00::1/128 -j DROP',
      want: { point: { family: 'ip6', verdict: 'drop', rule: { text: '-s fd00::1/128 -j DROP' } } },
    },
    {
      name: 'IPv6 with the short command',
      line: ' TRACE: 10 569367cf filter:INPUT:rule:0xd:DROP  -6 -t filter -A INPUT -s fd00::1/128 -j DROP',
      want: { point: { family: 'ip6', handle: 13, rule: { text: '-s fd00::1/128 -j DROP' } } },
    },
    {
      name: 'without the leading space and with one before the rule (manual page)',
      line: 'TRACE: 2 fc475095 raw:PREROUTING:rule:0x3:CONTINUE -4 -t raw -A PREROUTING -p icmp -j TRACE',
      want: {
        point: { table: 'raw', handle: 3, verdict: 'continue', rule: { text: '-p icmp -j TRACE', target: 'TRACE' } },
      },
    },
    {
      name: 'RETURN, which it has no word for',
      line: ' TRACE: 2 245eb3b4 nat:KUBE-POSTROUTING:rule:0x154:0xfffffffb  -4 -t nat -A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
      want: {
        point: {
          verdict: 'return',
          rule: { target: 'RETURN', matches: [{ kind: 'mark mark', negated: true, args: ['0x4000/0x4000'] }] },
        },
      },
    },
    {
      name: 'a goto',
      line: ' TRACE: 2 1 nat:A:rule:0x2:GOTO:KUBE-SVC-X  -4 -t nat -A A -g KUBE-SVC-X',
      want: { point: { verdict: 'goto KUBE-SVC-X', rule: { goto: true } } },
    },
    {
      name: 'a jump to a chain with a colon',
      line: ' TRACE: 2 1 nat:A:rule:0x2:JUMP:a:b',
      want: { point: { verdict: 'jump a:b' } },
    },
    { name: 'BREAK as a number', line: ' TRACE: 2 1 nat:A:rule:0x2:0xfffffffe', want: { point: { verdict: 'break' } } },
    {
      name: 'CONTINUE as a number',
      line: ' TRACE: 2 1 nat:A:rule:0x2:0xffffffff',
      want: { point: { verdict: 'continue' } },
    },
    {
      name: 'a rule without its text',
      line: ' TRACE: 2 1 nat:A:rule:0xff:ACCEPT ',
      want: { point: { handle: 255, verdict: 'accept', rule: undefined } },
    },
    { name: 'a policy', line: POLICY, want: { point: { kind: 'policy', verdict: 'accept' } } },
    {
      name: 'a policy that drops',
      line: ' TRACE: 2 1 filter:INPUT:policy:DROP',
      want: { point: { kind: 'policy', verdict: 'drop' } },
    },
    {
      name: 'the end of a chain',
      line: ' TRACE: 2 1 raw:X:return:',
      want: { point: { kind: 'return', verdict: 'continue' } },
    },
    {
      name: 'the end of a chain, and where it goes',
      line: ' TRACE: 2 1 raw:X:return:PREROUTING',
      want: { point: { kind: 'return', chain: 'X' } },
    },
  ])('$name', ({ line, want }) => expectLike(eventOf(line), want));
});

describe('PACKET lines', () => {
  const read = (packet: string) => readTrace(packet, RULE.replace('569367cf', packet.split(' ')[2] ?? '')).events[0];
  it.each([
    { name: 'TCP', packet: PACKET, want: { header, via: { in: 'cni0' }, mark: undefined } },
    {
      name: 'no space behind the identification (up to 1.8.8)',
      packet:
        'PACKET: 2 1 IN=lo LL=0x304 0000000000000000000000000800 SRC=127.0.0.1 DST=127.0.0.1 LEN=84 TOS=0x0 TTL=64 ID=38349DF',
      want: {
        header: { id: 38349, length: 84, protocol: 'unknown', tuple: { src: '127.0.0.1', dst: '127.0.0.1' } },
        via: { in: 'lo' },
      },
    },
    {
      name: 'the same with a fragment',
      packet: 'PACKET: 2 1 IN=eth0 SRC=10.0.0.1 DST=10.0.0.2 LEN=84 TOS=0x0 TTL=64 ID=38349MF SPORT=1 DPORT=2 ',
      want: { header: { id: 38349, tuple: { sport: 1, dport: 2 } } },
    },
    {
      name: 'the local interface',
      packet:
        'PACKET: 2 1 IN=lo LOOPBACK SRC=127.0.0.1 DST=127.0.0.1 LEN=40 TOS=0x0 TTL=64 ID=0 DF SPORT=1 DPORT=2 ACK RST ',
      want: { header: { id: 0, tcp: { flags: 'RST ACK' } } },
    },
    {
      name: 'UDP: ports and no flags',
      packet: 'PACKET: 2 1 IN=cni0 OUT=eth0 SRC=10.0.0.1 DST=10.0.0.2 LEN=31 TOS=0x0 TTL=63 ID=7 SPORT=43318 DPORT=53 ',
      want: {
        header: { protocol: 'udp', tcp: undefined, tuple: { sport: 43318, dport: 53 } },
        via: { in: 'cni0', out: 'eth0' },
      },
    },
    {
      name: 'no ports: it does not say what it is',
      packet: 'PACKET: 2 1 OUT=eth0 SRC=10.0.0.1 DST=10.0.0.2 LEN=84 TOS=0x0 TTL=64 ID=7 DF ',
      want: {
        header: {
          protocol: 'unknown',
          tuple: { src: '10.0.0.1', sport: undefined, dst: '10.0.0.2', dport: undefined },
        },
        via: { in: undefined, out: 'eth0' },
      },
    },
    {
      name: 'IPv6',
      packet:
        'PACKET: 10 1 IN=eth0 MACSRC=36:4:b4:d3:e0:80 MACDST=4a:b6:be:bc:69:8a MACPROTO=86dd SRC=fd00:0:0:0:0:0:0:1 DST=fd00::2 LEN=64 TC=0 HOPLIMIT=63 FLOWLBL=1 SPORT=1 DPORT=80 SYN ACK ',
      want: {
        header: {
          family: 'ip6',
          ttl: 63,
          length: 64,
          id: undefined,
          tcp: { flags: 'SYN ACK' },
          tuple: { src: 'fd00::1', dst: 'fd00::2' },
        },
      },
    },
    {
      name: 'a mark',
      packet: 'PACKET: 2 1 IN=eth0 NFPROTO=2 SRC=10.0.0.1 DST=10.0.0.2 LEN=84 TOS=0x0 TTL=64 ID=7 MARK=0x4000 ',
      want: { mark: 0x4000 },
    },
  ])('$name', ({ packet, want }) => expectLike(read(packet), want));
});

describe('which packet a TRACE line belongs to', () => {
  const ids = (...lines: string[]) => readTrace(...lines).events.map(event => [event.line, event.header?.id]);

  it('to the PACKET line before it (since 1.8.7)', () =>
    expect(ids(PACKET, RULE, POLICY)).toEqual([
      [2, 59037],
      [3, undefined],
    ]));

  it('to the PACKET line behind it, which names no family (up to 1.8.6)', () =>
    expect(ids(RULE, PACKET.replace('PACKET: 2', 'PACKET: 0'), POLICY)).toEqual([
      [1, 59037],
      [3, undefined],
    ]));

  it('not to another packet’s', () => expect(ids(PACKET.replace('569367cf', '1'), RULE)).toEqual([[2, undefined]]));

  it('not to another packet’s behind it', () =>
    expect(ids(RULE, PACKET.replace('2 569367cf', '0 1'))).toEqual([[1, undefined]]));

  it('each to its own', () =>
    expect(ids(PACKET, RULE, PACKET.replace('ID=59037', 'ID=5'), RULE, POLICY)).toEqual([
      [2, 59037],
      [4, 5],
      [5, undefined],
    ]));

  it('keeps the order of the lines when other traces stand between', () =>
    expect(readTrace(RULE, POLICY, RULE).events.map(event => event.line)).toEqual([1, 2, 3]));
});

describe('what is not understood, and why', () => {
  it.each([
    { line: 'PACKET: 2', reason: /not `PACKET/ },
    { line: 'PACKET: x 1 IN=lo', reason: /not `PACKET/ },
    { line: 'PACKET: 2 1 IN=lo SRC=10.0.0.1', reason: /no addresses/ },
    { line: ' TRACE: 2 1 nat', reason: /table:chain/ },
    { line: ' TRACE: 2 1 nat:A:rule', reason: /without a handle/ },
    { line: ' TRACE: 2 1 nat:A:rule:7:ACCEPT', reason: /without a handle/ },
    { line: ' TRACE: 2 1 nat:A:stolen:x', reason: /`stolen` is not a known kind/ },
  ])('$line', ({ line, reason }) => expect(reasonOf(line)).toMatch(reason));

  it('the monitor’s end at a rule it cannot read is a loss: it sees nothing more', () =>
    expectLike(readTrace('Error: cmp sreg undef', 'xtables-monitor v1.8.9 (nf_tables): Parsing nftables rule failed'), {
      losses: [{ reason: 'xtables-monitor stopped at a rule it could not read', count: undefined, line: 2 }],
      unrecognised: [],
      events: [],
    }));
});

describe('real traces', () => {
  for (const { name, text } of captures('xtables-monitor.txt'))
    it(name, () => {
      const { events, unrecognised, losses } = readChunks([text]);
      expect(unrecognised).toEqual([]);
      expect(events.length).toBe(text.match(/^ TRACE: /gm)?.length);
      expect(events.filter(event => event.header).length).toBe(text.match(/^PACKET: .*\n TRACE: /gm)?.length);
      expect(losses.length).toBe(text.match(/Parsing nftables rule failed/g)?.length ?? 0);
      for (const { point } of events) expect(point.kind === 'rule').toBe(point.handle !== undefined);
    });
});

survivesAnything(
  line => readTrace(...line.split('\n')),
  [
    ...some(captureLines('xtables-monitor.txt'), 80),
    `${PACKET}\n${RULE}\n${POLICY}`,
    `${RULE}\n${PACKET.replace(': 2', ': 0')}`,
  ],
  ({ events, unrecognised }) => {
    for (const event of events) expectWellFormed(event);
    for (const { reason } of unrecognised) expect(reason).not.toBe('');
  },
);
