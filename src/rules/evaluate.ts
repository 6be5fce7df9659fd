/**
 * Does a rule's condition hold for a packet? Three answers: true, false, and undefined where the packet's trace does not
 * tell (statistic, recent, limit, sets whose elements were not given, …). Never a guess: an undefined stays undefined.
 * Meanings: iptables-extensions(8), nft(8).
 */
import { inCidr } from '../ip.ts';
import type { Match, Rule, SetElement } from '../model.ts';
import { protocolName } from '../protocols.ts';
import { concatenation, ipset, isElement, lookUp } from './elements.ts';
import type { PacketFacts, SetLookup } from './facts.ts';
import { exactMark, markEquals } from './mark.ts';

export type { PacketFacts, SetLookup };

export interface Evaluation {
  /** True only if every condition holds, false if one surely does not. */
  result: boolean | undefined;
  conditions: { text: string; kind: string; result: boolean | undefined }[];
  /** For a verdict map: the element the packet's key has. */
  element?: SetElement;
}

export function evaluateRule(rule: Rule, packet: PacketFacts, sets: SetLookup): Evaluation {
  const conditions = rule.matches.map(match => ({
    text: match.text,
    kind: match.kind,
    result: evaluateMatch(match, packet, sets),
  }));
  const mapped = rule.vmap ? lookUp(rule.vmap, packet, sets) : undefined;
  if (rule.vmap) {
    const text = `${rule.vmap.key.join(' . ')} vmap ${rule.vmap.map ? `@${rule.vmap.map}` : '{ … }'}`;
    conditions.push({ text, kind: 'vmap', result: mapped?.result });
  }
  const some = conditions.some(c => c.result === false);
  const unknown = conditions.some(c => c.result === undefined);
  const result = some ? false : unknown ? undefined : true;
  return mapped?.element ? { result, conditions, element: mapped.element } : { result, conditions };
}

export function evaluateMatch(match: Match, packet: PacketFacts, sets: SetLookup): boolean | undefined {
  const holds = HOLDS[match.kind] ?? (match.kind.includes(' . ') ? concatenation : undefined);
  const result = holds?.(match, packet, sets);
  return result === undefined ? undefined : result !== match.negated;
}

type Holds = (match: Match, packet: PacketFacts, sets: SetLookup) => boolean | undefined;

const first = (match: Match): string => match.args[0] ?? '';

const HOLDS: Record<string, Holds> = {
  // iptables
  src: (m, p) => inCidr(p.tuple.src, first(m)),
  dst: (m, p) => inCidr(p.tuple.dst, first(m)),
  in: (m, p) => interfaceIs(first(m), p.in ?? ''),
  out: (m, p) => interfaceIs(first(m), p.out ?? ''),
  proto: (m, p) => protocolIs(first(m), p),
  'tcp dport': (m, p) => both(is(p, 'tcp'), portIn(listOf(m), p.tuple.dport)),
  'tcp sport': (m, p) => both(is(p, 'tcp'), portIn(listOf(m), p.tuple.sport)),
  'udp dport': (m, p) => both(is(p, 'udp'), portIn(listOf(m), p.tuple.dport)),
  'udp sport': (m, p) => both(is(p, 'udp'), portIn(listOf(m), p.tuple.sport)),
  'sctp dport': (m, p) => both(is(p, 'sctp'), portIn(listOf(m), p.tuple.dport)),
  'multiport dports': (m, p) => portIn(listOf(m), p.tuple.dport),
  'multiport sports': (m, p) => portIn(listOf(m), p.tuple.sport),
  'multiport ports': (m, p) => either(portIn(listOf(m), p.tuple.dport), portIn(listOf(m), p.tuple.sport)),
  'tcp tcp-flags': (m, p) => both(is(p, 'tcp'), flagsAre(p, m.args)),
  'tcp syn': (_, p) => both(is(p, 'tcp'), flagsAre(p, ['FIN,SYN,RST,ACK', 'SYN'])),
  'mark mark': (m, p) => markIs(first(m), p.mark),
  'conntrack ctstate': (m, p) => stateIn(first(m), p.state),
  'state state': (m, p) => stateIn(first(m), p.state),
  'icmp icmp-type': (m, p) => both(is(p, 'icmp'), icmpIs(first(m), p)),
  'icmp6 icmpv6-type': (m, p) => both(is(p, 'icmpv6'), icmpIs(first(m), p)),
  'set match-set': ipset,
  'physdev physdev-in': (m, p) => interfaceIs(first(m), p.physIn ?? ''),
  'physdev physdev-out': (m, p) => interfaceIs(first(m), p.physOut ?? ''),
  // nft
  'ip saddr': (m, p, s) => both(p.family === 'ip', addressIn(m, p.tuple.src, s)),
  'ip daddr': (m, p, s) => both(p.family === 'ip', addressIn(m, p.tuple.dst, s)),
  'ip6 saddr': (m, p, s) => both(p.family === 'ip6', addressIn(m, p.tuple.src, s)),
  'ip6 daddr': (m, p, s) => both(p.family === 'ip6', addressIn(m, p.tuple.dst, s)),
  'meta l4proto': (m, p) => anyOf(m, value => protocolIs(value, p)),
  'ip protocol': (m, p) => anyOf(m, value => protocolIs(value, p)),
  'ip6 nexthdr': (m, p) => anyOf(m, value => protocolIs(value, p)),
  'th dport': (m, p) => portIn(listOf(m), p.tuple.dport),
  'th sport': (m, p) => portIn(listOf(m), p.tuple.sport),
  iifname: (m, p) => anyOf(m, value => interfaceIs(unquoted(value), p.in ?? '')),
  oifname: (m, p) => anyOf(m, value => interfaceIs(unquoted(value), p.out ?? '')),
  iif: (m, p) => anyOf(m, value => interfaceIs(unquoted(value), p.in ?? '')),
  oif: (m, p) => anyOf(m, value => interfaceIs(unquoted(value), p.out ?? '')),
  'meta mark': nftMark,
  mark: nftMark,
  'ct state': (m, p) => stateIn(stateNames(listOf(m).join(',')), p.state),
  'icmp type': (m, p) =>
    both(
      is(p, 'icmp'),
      anyOf(m, value => icmpIs(value, p)),
    ),
  'icmpv6 type': (m, p) =>
    both(
      is(p, 'icmpv6'),
      anyOf(m, value => icmpIs(value, p)),
    ),
  'ct original ip saddr': (m, p) =>
    p.state === 'UNTRACKED' ? false : p.original ? inCidr(p.original.src, first(m)) : undefined,
  'ct original ip daddr': (m, p) =>
    p.state === 'UNTRACKED' ? false : p.original ? inCidr(p.original.dst, first(m)) : undefined,
  'meta nfproto': (m, p) => first(m).replace('ipv4', 'ip').replace('ipv6', 'ip6') === p.family,
};

function both(a: boolean | undefined, b: boolean | undefined): boolean | undefined {
  return a === false || b === false ? false : a === undefined || b === undefined ? undefined : true;
}

function either(a: boolean | undefined, b: boolean | undefined): boolean | undefined {
  return a === true || b === true ? true : a === undefined || b === undefined ? undefined : false;
}

function is(packet: PacketFacts, protocol: string): boolean | undefined {
  return packet.protocol === 'unknown' ? undefined : packet.protocol === protocol;
}

/** The values of a condition: a list in braces, one behind commas, or a single one. Sets by name are not here. */
function listOf(match: Match): string[] {
  const text = match.args.join(' ');
  const inner = text.startsWith('{') ? text.slice(1, -1) : text;
  return inner.split(',').map(part => part.trim());
}

function anyOf(match: Match, test: (value: string) => boolean | undefined): boolean | undefined {
  return listOf(match).reduce<boolean | undefined>((found, value) => either(found, test(value)), false);
}

function unquoted(text: string): string {
  return text.replace(/^"|"$/g, '');
}

/** `eth+` of iptables and `"eth*"` of nft are prefixes. */
function interfaceIs(pattern: string, name: string): boolean {
  return /[+*]$/.test(pattern) ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function protocolIs(wanted: string, packet: PacketFacts): boolean | undefined {
  return wanted === 'all' ? true : is(packet, protocolName(wanted));
}

/** Single ports and ranges; iptables writes `a:b`, nft `a-b`. A packet without ports matches none. */
function portIn(ports: string[], port: number | undefined): boolean | undefined {
  if (ports.some(text => text.startsWith('@'))) return undefined;
  if (port === undefined) return false;
  let known = true;
  for (const text of ports) {
    const [low = '', high] = text.split(/[:-]/);
    const from = low === '' ? 0 : Number(low);
    const to = high === undefined ? from : high === '' ? 65535 : Number(high);
    if (Number.isNaN(from) || Number.isNaN(to)) known = false;
    else if (port >= from && port <= to) return true;
  }
  return known ? false : undefined;
}

function flagsAre(packet: PacketFacts, args: string[]): boolean | undefined {
  if (packet.tcpFlags === undefined) return undefined;
  const [mask = '', wanted = ''] = args;
  const set = new Set(packet.tcpFlags.split(' '));
  const all = mask === 'ALL' ? ['SYN', 'ACK', 'FIN', 'RST', 'URG', 'PSH'] : mask.split(',');
  const need = new Set(wanted.split(','));
  return all.every(flag => set.has(flag) === need.has(flag));
}

/** `value/mask`. */
function markIs(text: string, mark = exactMark(0)): boolean | undefined {
  const [value, mask] = text.split('/').map(Number);
  if (value === undefined || Number.isNaN(value) || Number.isNaN(mask ?? 0)) return undefined;
  return markEquals(mark, value, mask ?? 0xffffffff);
}

function nftMark(match: Match, packet: PacketFacts): boolean | undefined {
  const value = Number(first(match));
  const mask = match.mask === undefined ? 0xffffffff : Number(match.mask);
  if (Number.isNaN(value) || Number.isNaN(mask)) return undefined;
  return markEquals(packet.mark ?? exactMark(0), value, mask);
}

function stateIn(list: string, state: string | undefined): boolean | undefined {
  if (state === undefined) return undefined;
  const wanted = list.toUpperCase().split(',');
  if (wanted.includes(state)) return true;
  // DNAT and SNAT are asked of the connection, not of its state: the trace does not tell.
  return wanted.some(word => word === 'DNAT' || word === 'SNAT') ? undefined : false;
}

/** With -nn nft prints conntrack states as bits (include/uapi/linux/netfilter/nf_conntrack_common.h). */
const STATE_BITS: [number, string][] = [
  [1, 'INVALID'],
  [2, 'ESTABLISHED'],
  [4, 'RELATED'],
  [8, 'NEW'],
  [64, 'UNTRACKED'],
];

export function stateNames(text: string): string {
  if (!/^(0x[0-9a-f]+|\d+)$/.test(text)) return text.toUpperCase();
  return STATE_BITS.filter(([bit]) => (Number(text) & bit) !== 0)
    .map(([, name]) => name)
    .join(',');
}

const ICMP_NAMES: Record<string, number> = {
  'echo-request': 8,
  'echo-reply': 0,
  'destination-unreachable': 3,
  'time-exceeded': 11,
  redirect: 5,
};
const ICMP6_NAMES: Record<string, number> = {
  'echo-request': 128,
  'echo-reply': 129,
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
};

function icmpIs(text: string, packet: PacketFacts): boolean | undefined {
  if (packet.icmpType === undefined) return undefined;
  const [type = '', code] = text.split('/');
  const names = packet.family === 'ip' ? ICMP_NAMES : ICMP6_NAMES;
  const number = names[type] ?? Number(type);
  if (type === 'any' || type === '255') return true;
  if (Number.isNaN(number)) return undefined;
  return number === packet.icmpType && (code === undefined || Number(code) === packet.icmpCode);
}

function addressIn(match: Match, address: string, sets: SetLookup): boolean | undefined {
  const text = match.args.join(' ');
  if (text.startsWith('@')) {
    return isElement(sets(text.slice(1)), [address]);
  }
  return anyOf(match, value => addressIs(value, address));
}

/** One value: an address, a prefix, or a range `a-b` (which only an exact end decides here). */
function addressIs(value: string, address: string): boolean | undefined {
  if (!value.includes('-')) return inCidr(address, value);
  return value.split('-').includes(address) ? true : undefined;
}
