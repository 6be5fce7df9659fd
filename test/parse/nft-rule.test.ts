import { describe, expect, it } from 'vitest';
import type { Rule } from '../../src/model.ts';
import { parseNftRule } from '../../src/parse/nft-rule.ts';
import { parseElements, splitNftWords } from '../../src/parse/nft-words.ts';
import { captureLines, some } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

const rule = (text: string): Rule => parseNftRule(text, 7);

describe('words', () => {
  it.each([
    { text: '', want: [] },
    { text: '  a   b ', want: ['a', 'b'] },
    { text: 'comment "a b" x', want: ['comment', '"a b"', 'x'] },
    { text: 'comment "a \\" b" x', want: ['comment', '"a \\" b"', 'x'] },
    { text: 'tcp dport { 80, 443 } accept', want: ['tcp', 'dport', '{ 80, 443 }', 'accept'] },
    { text: '{ a : { b }, "}" } c', want: ['{ a : { b }, "}" }', 'c'] },
    { text: '"never closed', want: ['"never closed'] },
    { text: '{ never, closed', want: ['{ never, closed'] },
  ])('$text', ({ text, want }) => expect(splitNftWords(text)).toEqual(want));
});

describe('elements of sets and maps', () => {
  it.each([
    { name: 'nothing', text: '', want: [] },
    { name: 'addresses', text: ' 10.0.0.1, 10.0.0.2 ', want: [{ key: ['10.0.0.1'] }, { key: ['10.0.0.2'] }] },
    {
      name: 'a concatenation and a verdict',
      text: '10.96.0.1 . tcp . 80 : goto service-ULMVA6XW-ns1/svc1/tcp/p80',
      want: [{ key: ['10.96.0.1', 'tcp', '80'], verdict: 'goto service-ULMVA6XW-ns1/svc1/tcp/p80' }],
    },
    {
      name: 'a comment, then a verdict',
      text: '10.96.0.1 . tcp . 80 comment "ns6/svc6:p80, x : y" : goto reject-chain',
      want: [{ key: ['10.96.0.1', 'tcp', '80'], comment: 'ns6/svc6:p80, x : y', verdict: 'goto reject-chain' }],
    },
    { name: 'timeouts', text: '10.0.0.1 timeout 3h expires 2h59m', want: [{ key: ['10.0.0.1'] }] },
    {
      name: 'counters',
      text: '10.0.0.1 counter packets 3 bytes 180, 10.0.0.2',
      want: [{ key: ['10.0.0.1'] }, { key: ['10.0.0.2'] }],
    },
    { name: 'interfaces in quotes', text: '"eth0", "eth1"', want: [{ key: ['eth0'] }, { key: ['eth1'] }] },
    {
      name: 'ranges and prefixes',
      text: '10.0.0.0/8, 30000-32767',
      want: [{ key: ['10.0.0.0/8'] }, { key: ['30000-32767'] }],
    },
    { name: 'IPv6', text: 'fd00::1 . udp . 53 : drop', want: [{ key: ['fd00::1', 'udp', '53'], verdict: 'drop' }] },
    { name: 'a map of values', text: '0 : 10.180.0.1 . 80', want: [{ key: ['0'], verdict: '10.180.0.1 . 80' }] },
  ])('$name', ({ text, want }) => expect(parseElements(text)).toEqual(want));
});

describe('conditions', () => {
  it.each([
    { text: 'ip saddr 10.244.1.72', kind: 'ip saddr', args: ['10.244.1.72'] },
    { text: 'ip saddr != 127.0.0.0/8', kind: 'ip saddr', args: ['127.0.0.0/8'], negated: true },
    { text: 'ip6 daddr fd00::/8', kind: 'ip6 daddr', args: ['fd00::/8'] },
    { text: 'ip daddr @cluster-ips', kind: 'ip daddr', args: ['@cluster-ips'] },
    { text: 'ip daddr { 10.0.0.1, 10.0.0.2 }', kind: 'ip daddr', args: ['{ 10.0.0.1, 10.0.0.2 }'] },
    { text: 'meta l4proto 17', kind: 'meta l4proto', args: ['17'] },
    { text: 'meta l4proto { tcp, udp }', kind: 'meta l4proto', args: ['{ tcp, udp }'] },
    { text: 'tcp dport 80', kind: 'tcp dport', args: ['80'] },
    { text: 'tcp dport != 80', kind: 'tcp dport', args: ['80'], negated: true },
    { text: 'udp dport 30000-32767', kind: 'udp dport', args: ['30000-32767'] },
    { text: 'th dport 53', kind: 'th dport', args: ['53'] },
    { text: 'iifname "cni0"', kind: 'iifname', args: ['"cni0"'] },
    { text: 'iifname "cali*"', kind: 'iifname', args: ['"cali*"'] },
    { text: 'oif "lo"', kind: 'oif', args: ['"lo"'] },
    { text: 'ct state new', kind: 'ct state', args: ['new'] },
    { text: 'ct state 0x8', kind: 'ct state', args: ['0x8'] },
    { text: 'ct state established,related', kind: 'ct state', args: ['established,related'] },
    { text: 'ct state { established, related }', kind: 'ct state', args: ['{ established, related }'] },
    { text: 'ct status dnat', kind: 'ct status', args: ['dnat'] },
    { text: 'ct original ip saddr 10.244.1.72', kind: 'ct original ip saddr', args: ['10.244.1.72'] },
    { text: 'ct original proto-dst 80', kind: 'ct original proto-dst', args: ['80'] },
    { text: 'ct direction original', kind: 'ct direction', args: ['original'] },
    { text: 'meta mark 0x4000', kind: 'meta mark', args: ['0x4000'] },
    { text: 'meta mark & 0x00004000 == 0x00004000', kind: 'meta mark', args: ['0x00004000'], mask: '0x00004000' },
    {
      text: 'meta mark & 0x00004000 != 0x00004000',
      kind: 'meta mark',
      args: ['0x00004000'],
      mask: '0x00004000',
      negated: true,
    },
    { text: 'mark and 0x4000 != 0', kind: 'mark', args: ['0'], mask: '0x4000', negated: true },
    { text: 'fib daddr type local', kind: 'fib daddr type', args: ['local'] },
    { text: 'icmp type echo-request', kind: 'icmp type', args: ['echo-request'] },
    { text: 'icmp type { echo-reply, echo-request }', kind: 'icmp type', args: ['{ echo-reply, echo-request }'] },
    { text: 'meta nfproto ipv6', kind: 'meta nfproto', args: ['ipv6'] },
    { text: 'ip ttl > 1', kind: 'ip ttl >', args: ['1'] },
    {
      text: 'ip saddr . ip daddr . meta l4proto . th dport @hairpin-connections',
      kind: 'ip saddr . ip daddr . meta l4proto . th dport',
      args: ['@hairpin-connections'],
    },
    { text: 'ip daddr . tcp dport 10.0.0.1 . 80', kind: 'ip daddr . tcp dport', args: ['10.0.0.1', '80'] },
  ])('$text', ({ text, kind, args, negated = false, mask }) => {
    expectLike(rule(`${text} accept`), { matches: [{ kind, args, negated, mask, text }], target: 'ACCEPT', number: 7 });
  });

  it('stand in their order', () =>
    expect(
      rule('meta l4proto 6 ip daddr 10.96.0.1  tcp dport 443 counter packets 3 bytes 180 jump X').matches.map(
        m => m.text,
      ),
    ).toEqual(['meta l4proto 6', 'ip daddr 10.96.0.1', 'tcp dport 443']));

  it.each([
    { name: 'rates', text: 'limit rate 5/second burst 5 packets accept', kind: 'limit' },
    {
      name: 'extensions nft cannot translate',
      text: 'xt match "statistic" counter packets 0 bytes 0 accept',
      kind: 'xt',
    },
    { name: 'what we do not know', text: 'frobnicate accept', kind: 'unknown' },
  ])('$name: a condition that nobody may claim to have evaluated', ({ text, kind }) =>
    expectLike(rule(text), { matches: [{ kind, args: [] }], target: 'ACCEPT' }),
  );
});

describe('what is done', () => {
  it.each([
    { text: 'accept', want: { target: 'ACCEPT', targetArgs: [] } },
    { text: 'drop', want: { target: 'DROP' } },
    { text: 'return', want: { target: 'RETURN' } },
    { text: 'continue', want: { target: 'CONTINUE' } },
    { text: 'reject', want: { target: 'REJECT', targetArgs: [] } },
    {
      text: 'reject with icmp port-unreachable',
      want: { target: 'REJECT', targetArgs: ['with', 'icmp', 'port-unreachable'] },
    },
    { text: 'jump KUBE-SERVICES', want: { target: 'KUBE-SERVICES', goto: false } },
    { text: 'goto mark-for-masquerade', want: { target: 'mark-for-masquerade', goto: true } },
    { text: 'dnat to 10.244.2.26:8080', want: { target: 'DNAT', targetArgs: ['to', '10.244.2.26:8080'] } },
    {
      text: 'dnat ip addr . port to numgen random mod 1 map { 0 : 10.180.0.1 . 80 }',
      want: {
        target: 'DNAT',
        matches: [],
        targetArgs: ['ip', 'addr', '.', 'port', 'to', 'numgen', 'random', 'mod', '1', 'map', '{ 0 : 10.180.0.1 . 80 }'],
      },
    },
    { text: 'snat to 10.0.0.1', want: { target: 'SNAT', targetArgs: ['to', '10.0.0.1'] } },
    { text: 'masquerade', want: { target: 'MASQUERADE' } },
    { text: 'masquerade fully-random', want: { target: 'MASQUERADE', targetArgs: ['fully-random'] } },
    { text: 'redirect to :8080', want: { target: 'REDIRECT', targetArgs: ['to', ':8080'] } },
    { text: 'queue num 0', want: { target: 'QUEUE' } },
    { text: 'notrack', want: { target: 'NOTRACK' } },
    { text: 'meta nftrace set 1', want: { target: 'TRACE', matches: [] } },
    { text: 'meta mark set 0x4000', want: { target: 'MARK', matches: [] } },
    { text: 'meta mark set meta mark | 0x00004000', want: { target: 'MARK', matches: [] } },
    { text: 'meta mark set mark or 0x4000', want: { target: 'MARK', matches: [] } },
    { text: 'meta mark set meta mark ^ 0x4000 masquerade fully-random', want: { target: 'MASQUERADE', matches: [] } },
    { text: 'mark set mark xor 0x4000 masquerade', want: { target: 'MASQUERADE', matches: [] } },
    { text: 'ct mark set meta mark', want: { target: 'CONNMARK', matches: [] } },
    { text: 'log prefix "drop it: " drop', want: { target: 'DROP' } },
    { text: 'log prefix "accept" flags all', want: { target: 'LOG' } },
    { text: 'update @affinity-X { ip saddr } counter dnat to 10.0.0.1:80', want: { target: 'DNAT', matches: [] } },
    { text: 'counter packets 5 bytes 300', want: { target: undefined, packets: 5, text: '' } },
    { text: 'counter name "drops" drop', want: { target: 'DROP', text: 'drop' } },
    { text: 'counter accept', want: { target: 'ACCEPT', text: 'accept', packets: undefined } },
    { text: 'xt target "TRACE"', want: { target: 'TRACE', matches: [] } },
    { text: '', want: { target: undefined, matches: [], text: '' } },
  ])('$text', ({ text, want }) => expectLike(rule(text), want));
});

describe('verdict maps', () => {
  it.each([
    {
      text: 'ip daddr . meta l4proto . th dport vmap @service-ips',
      want: {
        vmap: { key: ['ip daddr', 'meta l4proto', 'th dport'], map: 'service-ips' },
        matches: [],
        target: undefined,
      },
    },
    {
      text: 'ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports',
      want: { vmap: { key: ['meta l4proto', 'th dport'], map: 'service-nodeports' }, matches: [{ kind: 'ip daddr' }] },
    },
    {
      text: 'ct state vmap { invalid : drop, established : accept, related : accept }',
      want: {
        vmap: {
          key: ['ct state'],
          elements: [
            { key: ['invalid'], verdict: 'drop' },
            { key: ['established'], verdict: 'accept' },
            { key: ['related'], verdict: 'accept' },
          ],
        },
      },
    },
    {
      text: 'numgen random mod 2 vmap { 0 : goto endpoint-A-ns/svc/tcp/p__10.0.0.1/80, 1 : goto endpoint-B-ns/svc/tcp/p__10.0.0.2/80 }',
      want: {
        vmap: {
          key: ['numgen random mod 2'],
          elements: [
            { key: ['0'], verdict: 'goto endpoint-A-ns/svc/tcp/p__10.0.0.1/80' },
            { key: ['1'], verdict: 'goto endpoint-B-ns/svc/tcp/p__10.0.0.2/80' },
          ],
        },
      },
    },
  ])('$text', ({ text, want }) => expectLike(rule(text), want));
});

describe('what is shown', () => {
  it.each([
    {
      name: 'counters are left out, odd spaces too',
      text: 'meta l4proto 6   counter packets 7 bytes 420 dnat to 10.0.0.1:80',
      want: { text: 'meta l4proto 6 dnat to 10.0.0.1:80', packets: 7 },
    },
    {
      name: 'the comment is apart',
      text: 'ip daddr @x reject comment "Reject traffic to \\"invalid\\" ports"',
      want: { text: 'ip daddr @x reject', comment: 'Reject traffic to "invalid" ports' },
    },
    {
      name: 'a comment in the middle',
      text: 'ip protocol tcp comment "c" counter accept',
      want: { text: 'ip protocol tcp accept', comment: 'c' },
    },
    {
      name: 'the handle is apart',
      text: 'ip daddr 10.0.0.1 accept # handle 42',
      want: { text: 'ip daddr 10.0.0.1 accept', handle: 42 },
    },
    {
      name: 'a handle within a comment is none',
      text: 'accept comment "x # handle 1"',
      want: { handle: undefined, comment: 'x # handle 1' },
    },
    {
      name: 'a verdict within a comment is none',
      text: 'ip ttl 1 comment "drop"',
      want: { target: undefined, comment: 'drop' },
    },
  ])('$name', ({ text, want }) => expectLike(rule(text), want));
});

const RULES = captureLines('nft-monitor.txt').flatMap(line => / rule (.*) \(verdict /.exec(line)?.[1] ?? []);

survivesAnything(rule, some([...new Set(RULES)], 150), ({ matches, text, target }) => {
  expect(typeof text).toBe('string');
  expect(target === undefined || typeof target === 'string').toBe(true);
  for (const match of matches) expect(typeof match.kind).toBe('string');
});
