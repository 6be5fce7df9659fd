/** Does a condition hold? true, false, or undefined where the trace does not tell; one table for each kind of condition. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Match, NamedSet, Rule, SetElement } from '../../src/model.ts';
import { parseRule } from '../../src/parse/iptables-save.ts';
import { parseNftRule } from '../../src/parse/nft-rule.ts';
import { protocolName } from '../../src/protocols.ts';
import { evaluateMatch, evaluateRule, type PacketFacts, stateNames } from '../../src/rules/evaluate.ts';
import { exactMark, UNKNOWN_MARK } from '../../src/rules/mark.ts';
import { captures } from '../support/captures.ts';
import { check } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

type Answer = boolean | undefined;

const PACKET: PacketFacts = {
  family: 'ip',
  protocol: 'tcp',
  tuple: { src: '10.244.1.72', sport: 38858, dst: '10.96.164.231', dport: 80 },
  in: 'cni0',
  physIn: 'veth657da331',
  mark: exactMark(0x4001),
  tcpFlags: 'SYN',
  state: 'NEW',
  original: { src: '10.244.1.72', sport: 38858, dst: '10.96.164.231', dport: 80 },
};
const PACKET6: PacketFacts = {
  family: 'ip6',
  protocol: 'udp',
  tuple: { src: 'fd00::1', sport: 40000, dst: 'fd00:96::a', dport: 53 },
  in: 'eth0',
};
const ECHO: PacketFacts = {
  family: 'ip',
  protocol: 'icmp',
  tuple: { src: '10.244.1.72', dst: '10.96.0.1' },
  in: 'cni0',
  icmpType: 8,
  icmpCode: 0,
};
const ECHO6: PacketFacts = {
  family: 'ip6',
  protocol: 'icmpv6',
  tuple: { src: 'fd00::1', dst: 'fd00::2' },
  icmpType: 128,
  icmpCode: 0,
};
/** xtables-monitor tells neither protocol nor flags of a packet without ports. */
const VAGUE: PacketFacts = { family: 'ip', protocol: 'unknown', tuple: { src: '10.0.0.1', dst: '10.0.0.2' } };
const UDP: PacketFacts = { ...PACKET, protocol: 'udp', tcpFlags: undefined };
const SCTP: PacketFacts = { ...PACKET, protocol: 'sctp', tcpFlags: undefined };

const element = (text: string): SetElement => ({ key: text.split(' ') });
const set = (name: string, ...elements: string[]): NamedSet => ({ name, elements: elements.map(element) });

const SETS: Record<string, NamedSet> = Object.fromEntries(
  [
    set('cluster-ips', '10.96.0.1', '10.96.164.231'),
    set('others', '10.96.0.1', '10.97.0.0/16'),
    set('networks', '10.96.0.0/12'),
    set('six', 'fd00:96::a'),
    set('empty'),
    set('services', '10.96.164.231 tcp 80', '10.96.0.10 udp 53'),
    set('numbered', '10.96.164.231 6 80'),
    set('ranges', '10.96.0.0/12 tcp 1-1024'),
    // As ipset save prints them.
    set('KUBE-CLUSTER-IP', '10.96.164.231 tcp:80', '10.96.0.10 udp:53'),
    set('KUBE-LOOP-BACK', '10.244.1.72 tcp:80 10.244.1.72'),
    set('KUBE-HAIRPIN', '10.96.164.231 tcp:80 10.244.1.72'),
    set('KUBE-NETS', '10.244.0.0/16'),
    set('KUBE-PORTS', '10.96.164.231 tcp:1-1024'),
    set('KUBE-NODE-PORT-TCP', '80'),
    set('KUBE-6', 'fd00:96::a udp:53'),
    { ...set('affinity', '10.244.1.72'), changing: true },
  ].map(each => [each.name, each]),
);
const lookUp = (name: string) => SETS[name];

/** The one condition a rule's text has, whichever program printed it. */
function matchOf(text: string): Match {
  const matches = /^(?:! )?-/.test(text) ? parseRule(text, 1).matches : parseNftRule(`${text} accept`, 1).matches;
  expect(matches).toHaveLength(1);
  return matches[0] as Match;
}

function table(name: string, rows: [text: string, packet: PacketFacts, want: Answer][]): void {
  describe(name, () => {
    for (const [text, packet, want] of rows)
      it(`${text} of ${describePacket(packet)}: ${want}`, () =>
        expect(evaluateMatch(matchOf(text), packet, lookUp)).toBe(want));
  });
}

function describePacket({ protocol, tuple, mark, state, tcpFlags, in: inward, out }: PacketFacts): string {
  return JSON.stringify({ protocol, ...tuple, mark, state, tcpFlags, in: inward, out });
}

table('addresses', [
  ['-s 10.244.1.72', PACKET, true],
  ['-s 10.244.1.72/32', PACKET, true],
  ['-s 10.244.0.0/16', PACKET, true],
  ['-s 10.244.0.0/255.255.0.0', PACKET, true],
  ['-s 10.245.0.0/16', PACKET, false],
  ['! -s 10.244.0.0/16', PACKET, false],
  ['! -s 10.0.0.0/32', PACKET, true],
  ['-d 10.96.164.231/32', PACKET, true],
  ['-d 10.96.0.1/32', PACKET, false],
  ['! -d 10.96.0.1/32', PACKET, true],
  ['-s 10.0.0.0/255.0.255.0', PACKET, undefined],
  ['-s nonsense', PACKET, undefined],
  ['-s fd00::/8', PACKET6, true],
  ['-d fd00:96::a/128', PACKET6, true],
  ['-d fd00:97::/32', PACKET6, false],
  ['ip saddr 10.244.1.72', PACKET, true],
  ['ip saddr 10.244.0.0/16', PACKET, true],
  ['ip saddr != 10.244.0.0/16', PACKET, false],
  ['ip daddr { 10.96.0.1, 10.96.164.231 }', PACKET, true],
  ['ip daddr { 10.96.0.1, 10.97.0.0/16 }', PACKET, false],
  ['ip daddr != { 10.96.0.1, 10.97.0.0/16 }', PACKET, true],
  ['ip daddr 10.96.164.231-10.96.164.240', PACKET, true],
  ['ip daddr 10.96.0.0-10.96.255.255', PACKET, undefined],
  ['ip daddr @cluster-ips', PACKET, true],
  ['ip daddr @others', PACKET, false],
  ['ip daddr != @others', PACKET, true],
  ['ip daddr @networks', PACKET, true],
  ['ip daddr @empty', PACKET, false],
  ['ip daddr @unheard-of', PACKET, undefined],
  ['ip daddr != @unheard-of', PACKET, undefined],
  ['ip saddr @affinity', PACKET, undefined],
  ['ip saddr != @affinity', PACKET, undefined],
  ['ip6 saddr fd00::/8', PACKET6, true],
  ['ip6 daddr @six', PACKET6, true],
  ['ip6 saddr fd00::1', PACKET, false],
  ['ip saddr 10.0.0.0/8', PACKET6, false],
]);

table('interfaces', [
  ['-i cni0', PACKET, true],
  ['-i cni', PACKET, false],
  ['-i cni+', PACKET, true],
  ['-i +', PACKET, true],
  ['-i eth+', PACKET, false],
  ['! -i cni0', PACKET, false],
  ['! -i lo', PACKET, true],
  ['-o eth0', PACKET, false],
  ['! -o eth0', PACKET, true],
  ['-o eth0', { ...PACKET, out: 'eth0' }, true],
  ['-m physdev --physdev-in veth657da331', PACKET, true],
  ['-m physdev --physdev-in veth+', PACKET, true],
  ['-m physdev --physdev-out veth1', PACKET, false],
  ['iifname "cni0"', PACKET, true],
  ['iifname "cni*"', PACKET, true],
  ['iifname "eth*"', PACKET, false],
  ['iifname != "cni0"', PACKET, false],
  ['iifname { "lo", "cni0" }', PACKET, true],
  ['oifname { "lo", "eth0" }', PACKET, false],
  ['iif "cni0"', PACKET, true],
  ['oif "lo"', PACKET, false],
]);

table('protocols', [
  ['-p tcp', PACKET, true],
  ['-p 6', PACKET, true],
  ['-p udp', PACKET, false],
  ['! -p udp', PACKET, true],
  ['-p all', ECHO, true],
  ['-p all', VAGUE, true],
  ['-p icmp', ECHO, true],
  ['-p 1', ECHO, true],
  ['-p ipv6-icmp', ECHO6, true],
  ['-p 58', ECHO6, true],
  ['-p tcp', VAGUE, undefined],
  ['! -p tcp', VAGUE, undefined],
  ['-p sctp', SCTP, true],
  ['meta l4proto tcp', PACKET, true],
  ['meta l4proto 6', PACKET, true],
  ['meta l4proto 17', PACKET, false],
  ['meta l4proto != 17', PACKET, true],
  ['meta l4proto { tcp, udp }', PACKET, true],
  ['meta l4proto { 6, 17 }', PACKET, true],
  ['meta l4proto { icmp, udp }', PACKET, false],
  ['meta l4proto tcp', VAGUE, undefined],
  ['meta l4proto { tcp, udp }', VAGUE, undefined],
  ['ip protocol tcp', PACKET, true],
  ['ip6 nexthdr udp', PACKET6, true],
  ['meta nfproto ipv4', PACKET, true],
  ['meta nfproto ipv6', PACKET, false],
  ['meta nfproto ipv6', PACKET6, true],
]);

table('ports', [
  ['-m tcp --dport 80', PACKET, true],
  ['-m tcp --dport 81', PACKET, false],
  ['-m tcp ! --dport 81', PACKET, true],
  ['-m tcp --dport 1:1024', PACKET, true],
  ['-m tcp --dport :79', PACKET, false],
  ['-m tcp --dport :80', PACKET, true],
  ['-m tcp --dport 80:', PACKET, true],
  ['-m tcp --dport 81:', PACKET, false],
  ['-m tcp --sport 38858', PACKET, true],
  ['-m tcp --sport 80', PACKET, false],
  ['-m tcp --dport http', PACKET, undefined],
  ['-m udp --dport 80', PACKET, false],
  ['-m udp --dport 53', PACKET6, true],
  ['-m udp --sport 53', PACKET6, false],
  ['-m sctp --dport 80', SCTP, true],
  ['-m sctp --dport 80', PACKET, false],
  ['-m multiport --dports 80,443', PACKET, true],
  ['-m multiport --dports 443,8000:9000', PACKET, false],
  ['-m multiport --dports 443,1:100', PACKET, true],
  ['-m multiport ! --dports 443,8443', PACKET, true],
  ['-m multiport --sports 80,443', PACKET, false],
  ['-m multiport --ports 443,38858', PACKET, true],
  ['-m multiport --ports 443,81', PACKET, false],
  ['-m multiport --dports 80', ECHO, false],
  ['tcp dport 80', PACKET, true],
  ['tcp dport 8080', PACKET, false],
  ['tcp dport != 8080', PACKET, true],
  ['tcp dport { 80, 443 }', PACKET, true],
  ['tcp dport { 8080, 443 }', PACKET, false],
  ['tcp dport 1-1024', PACKET, true],
  ['tcp dport { 8000-9000, 1-100 }', PACKET, true],
  ['tcp dport @unheard-of', PACKET, undefined],
  ['tcp dport 80', UDP, false],
  ['tcp sport 38858', PACKET, true],
  ['udp dport 53', PACKET6, true],
  ['th dport 53', PACKET6, true],
  ['th dport 80', PACKET, true],
  ['th sport 80', PACKET, false],
  ['th dport 80', ECHO, false],
]);

table('TCP flags', [
  ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN', PACKET, true],
  ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN', { ...PACKET, tcpFlags: 'SYN ACK' }, false],
  ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN', { ...PACKET, tcpFlags: 'SYN ECE CWR' }, true],
  ['-m tcp ! --tcp-flags FIN,SYN,RST,ACK SYN', PACKET, false],
  ['-m tcp --tcp-flags SYN,ACK SYN,ACK', { ...PACKET, tcpFlags: 'SYN ACK' }, true],
  ['-m tcp --tcp-flags RST RST', { ...PACKET, tcpFlags: 'RST ACK' }, true],
  ['-m tcp --tcp-flags ALL NONE', { ...PACKET, tcpFlags: '' }, true],
  ['-m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE', PACKET, false],
  ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN', { ...PACKET, tcpFlags: undefined }, undefined],
  ['-m tcp --tcp-flags FIN,SYN,RST,ACK SYN', UDP, false],
  ['-m tcp --syn', PACKET, true],
  ['-m tcp ! --syn', { ...PACKET, tcpFlags: 'ACK' }, true],
]);

table('marks', [
  ['-m mark --mark 0x4001', PACKET, true],
  ['-m mark --mark 0x4000', PACKET, false],
  ['-m mark --mark 0x4000/0x4000', PACKET, true],
  ['-m mark --mark 0x8000/0x8000', PACKET, false],
  ['-m mark ! --mark 0x4000/0x4000', PACKET, false],
  ['-m mark --mark 16385', PACKET, true],
  ['-m mark --mark 0x0/0x4000', { ...PACKET, mark: undefined }, true],
  ['-m mark ! --mark 0x4000/0x4000', { ...PACKET, mark: undefined }, true],
  ['-m mark --mark 0xffffffff', { ...PACKET, mark: exactMark(0xffffffff) }, true],
  ['-m mark --mark 0x80000000/0x80000000', { ...PACKET, mark: exactMark(0xf0000000) }, true],
  ['-m mark --mark x', PACKET, undefined],
  ['meta mark 0x00004001', PACKET, true],
  ['meta mark 16385', PACKET, true],
  ['meta mark != 0x4001', PACKET, false],
  ['meta mark & 0x00004000 == 0x00004000', PACKET, true],
  ['meta mark & 0x00004000 != 0x00004000', PACKET, false],
  ['meta mark & 0x00008000 == 0x00008000', PACKET, false],
  ['mark and 0x4000 != 0', PACKET, true],
  ['mark and 0x4000 != 0', { ...PACKET, mark: undefined }, false],
  ['meta mark & 0x80000000 == 0x80000000', { ...PACKET, mark: exactMark(0xffffffff) }, true],
  ['meta mark { 0x1, 0x2 }', PACKET, undefined],
  ['-m mark --mark 0x4000/0x4000', { ...PACKET, mark: UNKNOWN_MARK }, undefined],
  ['-m mark ! --mark 0x4000/0x4000', { ...PACKET, mark: UNKNOWN_MARK }, undefined],
  ['-m mark --mark 0x4000/0x4000', { ...PACKET, mark: { value: 0x4000, known: 0x4000 } }, true],
  ['-m mark --mark 0x4000', { ...PACKET, mark: { value: 0x4000, known: 0x4000 } }, undefined],
  ['-m mark --mark 0x1', { ...PACKET, mark: { value: 0x4000, known: 0x4000 } }, false],
  ['meta mark & 0x00004000 == 0x00004000', { ...PACKET, mark: UNKNOWN_MARK }, undefined],
  ['mark and 0x4000 != 0', { ...PACKET, mark: { value: 0, known: 0x4000 } }, false],
]);

table('conntrack states', [
  ['-m conntrack --ctstate NEW', PACKET, true],
  ['-m conntrack --ctstate RELATED,ESTABLISHED', PACKET, false],
  ['-m conntrack ! --ctstate NEW', PACKET, false],
  ['-m conntrack --ctstate NEW', { ...PACKET, state: undefined }, undefined],
  ['-m conntrack ! --ctstate NEW', { ...PACKET, state: undefined }, undefined],
  ['-m conntrack --ctstate DNAT', PACKET, undefined],
  ['-m conntrack --ctstate NEW,DNAT', PACKET, true],
  ['-m state --state NEW', PACKET, true],
  ['-m state --state RELATED,ESTABLISHED', { ...PACKET, state: 'ESTABLISHED' }, true],
  ['ct state new', PACKET, true],
  ['ct state established,related', PACKET, false],
  ['ct state { established, related }', { ...PACKET, state: 'RELATED' }, true],
  ['ct state != new', PACKET, false],
  ['ct state 0x8', PACKET, true],
  ['ct state 8', PACKET, true],
  ['ct state 0x6', PACKET, false],
  ['ct state 0x6', { ...PACKET, state: 'ESTABLISHED' }, true],
  ['ct state 0x1', { ...PACKET, state: 'INVALID' }, true],
  ['ct state new', { ...PACKET, state: undefined }, undefined],
]);

table('ICMP', [
  ['-m icmp --icmp-type 8', ECHO, true],
  ['-m icmp --icmp-type 8/0', ECHO, true],
  ['-m icmp --icmp-type 8/1', ECHO, false],
  ['-m icmp --icmp-type 3/3', ECHO, false],
  ['-m icmp --icmp-type echo-request', ECHO, true],
  ['-m icmp --icmp-type any', ECHO, true],
  ['-m icmp ! --icmp-type 8', ECHO, false],
  ['-m icmp --icmp-type 8', { ...ECHO, icmpType: undefined }, undefined],
  ['-m icmp --icmp-type 8', PACKET, false],
  ['-m icmp --icmp-type nonsense', ECHO, undefined],
  ['-m icmp6 --icmpv6-type 128', ECHO6, true],
  ['-m icmp6 --icmpv6-type 129', ECHO6, false],
  ['-m icmp6 --icmpv6-type echo-request', ECHO6, true],
  ['icmp type echo-request', ECHO, true],
  ['icmp type 8', ECHO, true],
  ['icmp type { echo-reply, echo-request }', ECHO, true],
  ['icmp type destination-unreachable', ECHO, false],
  ['icmpv6 type echo-request', ECHO6, true],
  ['icmpv6 type { 1, 2 }', ECHO6, false],
]);

table('ipsets', [
  ['-m set --match-set KUBE-CLUSTER-IP dst,dst', PACKET, true],
  ['-m set --match-set KUBE-CLUSTER-IP dst,dst', { ...PACKET, tuple: { ...PACKET.tuple, dport: 81 } }, false],
  ['-m set --match-set KUBE-CLUSTER-IP dst,dst', UDP, false],
  ['-m set ! --match-set KUBE-CLUSTER-IP dst,dst', PACKET, false],
  ['-m set --match-set KUBE-CLUSTER-IP src,src', PACKET, false],
  ['-m set --match-set KUBE-CLUSTER-IP dst,dst', ECHO, false],
  ['-m set --match-set KUBE-HAIRPIN dst,dst,src', PACKET, true],
  ['-m set --match-set KUBE-LOOP-BACK dst,dst,src', PACKET, false],
  ['-m set --match-set KUBE-NETS src', PACKET, true],
  ['-m set --match-set KUBE-NETS dst', PACKET, false],
  ['-m set --match-set KUBE-PORTS dst,dst', PACKET, true],
  ['-m set --match-set KUBE-NODE-PORT-TCP dst', PACKET, true],
  ['-m set --match-set KUBE-6 dst,dst', PACKET6, true],
  ['-m set --match-set KUBE-6 dst,dst', PACKET, false],
  ['-m set --match-set empty dst', PACKET, false],
  ['-m set --match-set affinity src', PACKET, undefined],
  ['-m set --match-set unheard-of dst', PACKET, undefined],
  ['-m set ! --match-set unheard-of dst', PACKET, undefined],
]);

table('concatenations', [
  ['ip daddr . meta l4proto . th dport @services', PACKET, true],
  ['ip daddr . meta l4proto . th dport @numbered', PACKET, true],
  ['ip daddr . meta l4proto . th dport @ranges', PACKET, true],
  ['ip daddr . meta l4proto . th dport @services', UDP, false],
  ['ip daddr . meta l4proto . th dport != @services', PACKET, false],
  ['ip daddr . meta l4proto . th dport @empty', PACKET, false],
  ['ip daddr . meta l4proto . th dport @unheard-of', PACKET, undefined],
  ['ip daddr . meta l4proto . th dport @services', VAGUE, undefined],
  ['ip daddr . ct mark @services', PACKET, undefined],
  ['ip daddr . tcp dport 10.96.164.231 . 80', PACKET, undefined],
]);

table('the connection’s original direction', [
  ['ct original ip saddr 10.244.1.72', PACKET, true],
  ['ct original ip saddr 10.245.0.0/16', PACKET, false],
  ['ct original ip daddr 10.96.164.231', PACKET, true],
  ['ct original ip saddr 10.244.1.72', { ...PACKET, original: undefined }, undefined],
]);

table('what no trace tells', [
  ['-m statistic --mode random', PACKET, undefined],
  ['-m recent --rcheck', PACKET, undefined],
  ['-m limit --limit 5/sec', PACKET, undefined],
  ['-m addrtype --dst-type LOCAL', PACKET, undefined],
  ['! -f', PACKET, undefined],
  ['-m owner --uid-owner 0', PACKET, undefined],
  ['-m u32 ! --u32 0x1', PACKET, undefined],
  ['fib daddr type local', PACKET, undefined],
  ['fib daddr type != local', PACKET, undefined],
  ['ct status dnat', PACKET, undefined],
  ['ip ttl > 1', PACKET, undefined],
  ['tcp flags syn', PACKET, undefined],
  ['limit rate 5/second', PACKET, undefined],
  ['xt match "statistic"', PACKET, undefined],
  ['frobnicate', PACKET, undefined],
]);

describe('a whole rule', () => {
  const verdict = (text: string, packet: PacketFacts) => evaluateRule(rule(text), packet, lookUp).result;
  const rule = (text: string): Rule => (text.startsWith('-') ? parseRule(text, 1) : parseNftRule(text, 1));
  it.each<[string, Answer]>([
    ['-j ACCEPT', true],
    ['-d 10.96.164.231/32 -p tcp -m tcp --dport 80 -j X', true],
    ['-d 10.96.164.231/32 -p tcp -m tcp --dport 81 -j X', false],
    ['-p tcp -m statistic --mode random --probability 0.5 -j X', undefined],
    ['-p udp -m statistic --mode random --probability 0.5 -j X', false],
    ['accept', true],
    ['ip daddr 10.96.164.231 tcp dport 80 accept', true],
    ['ip daddr 10.96.164.231 fib daddr type local accept', undefined],
    ['ip daddr 10.96.0.1 fib daddr type local accept', false],
  ])('%s: %s', (text, want) => expect(verdict(text, PACKET)).toBe(want));

  it('says of each condition what it is, in order', () =>
    expect(evaluateRule(rule('-d 10.96.0.1/32 -p tcp -m recent --rcheck -j X'), PACKET, lookUp).conditions).toEqual([
      { text: '-d 10.96.0.1/32', kind: 'dst', result: false },
      { text: '-p tcp', kind: 'proto', result: true },
      { text: '--rcheck', kind: 'recent rcheck', result: undefined },
    ]));
});

describe('verdict maps', () => {
  const MAP: NamedSet = {
    name: 'service-ips',
    elements: [
      { key: ['10.96.0.10', 'udp', '53'], verdict: 'goto dns' },
      { key: ['10.96.164.231', 'tcp', '80'], verdict: 'goto web', comment: 'default/web' },
    ],
  };
  const sets = (name: string) => (name === 'service-ips' ? MAP : undefined);
  const KEY = 'ip daddr . meta l4proto . th dport vmap';
  it.each([
    {
      name: 'the packet’s element in a named map',
      text: `${KEY} @service-ips`,
      packet: PACKET,
      want: { result: true, element: { verdict: 'goto web' } },
    },
    {
      name: 'no element in a named map',
      text: `${KEY} @service-ips`,
      packet: UDP,
      want: { result: false, element: undefined },
    },
    {
      name: 'a map that was not given',
      text: `${KEY} @unheard-of`,
      packet: PACKET,
      want: { result: undefined, element: undefined },
    },
    {
      name: 'elements in the rule',
      text: `${KEY} { 10.96.164.231 . tcp . 80 : drop, 10.96.0.1 . tcp . 80 : accept }`,
      packet: PACKET,
      want: { result: true, element: { verdict: 'drop' } },
    },
    {
      name: 'interfaces as keys',
      text: 'iifname vmap { "lo" : accept, "cni0" : jump pods }',
      packet: PACKET,
      want: { result: true, element: { verdict: 'jump pods' } },
    },
    {
      name: 'chance',
      text: 'numgen random mod 2 vmap { 0 : goto a, 1 : goto b }',
      packet: PACKET,
      want: { result: undefined, element: undefined },
    },
    {
      name: 'with a condition that fails before it',
      text: `ip saddr 10.245.0.1 ${KEY} @service-ips`,
      packet: PACKET,
      want: { result: false },
    },
  ])('$name', ({ text, packet, want }) => expectLike(evaluateRule(parseNftRule(text, 1), packet, sets), want));

  it('is a condition of its own in what is shown', () =>
    expect(evaluateRule(parseNftRule(`${KEY} @service-ips`, 1), PACKET, sets).conditions).toEqual([
      { text: 'ip daddr . meta l4proto . th dport vmap @service-ips', kind: 'vmap', result: true },
    ]));
});

describe('spellings', () => {
  it.each([
    ['0x8', 'NEW'],
    ['8', 'NEW'],
    ['0x6', 'ESTABLISHED,RELATED'],
    ['0x1', 'INVALID'],
    ['0x40', 'UNTRACKED'],
    ['0x4f', 'INVALID,ESTABLISHED,RELATED,NEW,UNTRACKED'],
    ['new', 'NEW'],
    ['established,related', 'ESTABLISHED,RELATED'],
  ])('conntrack state %s is %s', (text, want) => expect(stateNames(text)).toBe(want));

  it.each([
    ['6', 'tcp'],
    ['17', 'udp'],
    ['1', 'icmp'],
    ['58', 'icmpv6'],
    ['ipv6-icmp', 'icmpv6'],
    ['132', 'sctp'],
    ['tcp', 'tcp'],
    ['253', '253'],
  ])('protocol %s is %s', (text, want) => expect(protocolName(text)).toBe(want));
});

describe('properties', () => {
  const rules = [
    ...captures('iptables-save.txt').flatMap(({ text }) =>
      [...text.matchAll(/^-A \S+ (.*)$/gm)].map(found => parseRule(found[1] ?? '', 1)),
    ),
    ...captures('nft-ruleset.txt').flatMap(({ text }) =>
      [...text.matchAll(/^\t\t(.* # handle \d+)$/gm)].map(found => parseNftRule(found[1] ?? '', 1)),
    ),
  ];
  const packets = fc.record({
    family: fc.constant<'ip'>('ip'),
    protocol: fc.constantFrom('tcp', 'udp', 'icmp', 'sctp', 'unknown'),
    tuple: fc.record({
      src: fc.constantFrom('10.244.1.72', '127.0.0.1', '172.30.0.12'),
      sport: fc.constantFrom(undefined, 1024, 80),
      dst: fc.constantFrom('10.96.164.231', '10.96.0.1', '10.244.2.26'),
      dport: fc.constantFrom(undefined, 80, 443, 53, 30080),
    }),
    in: fc.constantFrom(undefined, 'cni0', 'eth0'),
    out: fc.constantFrom(undefined, 'cni0', 'eth0'),
    mark: fc.constantFrom(undefined, ...[0, 0x4000, 0xffffffff].map(exactMark)),
    state: fc.constantFrom(undefined, 'NEW', 'ESTABLISHED'),
    icmpType: fc.constantFrom(undefined, 8),
  }) as fc.Arbitrary<PacketFacts>;

  it('a negated condition of a real rule is the opposite, and stays unknown where it is', () =>
    check(
      fc.property(fc.constantFrom(...rules.filter(rule => rule.matches.length > 0)), packets, (rule, packet) => {
        for (const match of rule.matches) {
          const plain = evaluateMatch(match, packet, () => undefined);
          const opposite = evaluateMatch({ ...match, negated: !match.negated }, packet, () => undefined);
          expect(opposite).toBe(plain === undefined ? undefined : !plain);
        }
      }),
    ));

  it('knowing less of a packet never turns true into false or false into true', () =>
    check(
      fc.property(fc.constantFrom(...rules), packets, (rule, packet) => {
        const full = evaluateRule(rule, packet, () => undefined).result;
        const { value, known } = packet.mark ?? exactMark(0);
        const vaguer = { ...packet, state: undefined, mark: { value: value & 0xff00, known: known & 0xff00 } };
        const less = evaluateRule(rule, vaguer, () => undefined).result;
        if (less !== undefined) expect(less).toBe(full);
      }),
    ));
});
