/**
 * Does a rule's condition hold for a packet? Three answers: true, false, and undefined where the packet's trace does not
 * tell (statistic, recent, limit, sets whose elements were not given, …). Never a guess: an undefined stays undefined.
 * Meanings: iptables-extensions(8), nft(8).
 */
import { inCidr } from '../ip.ts';
import type { Match, NamedSet, Rule, SetElement, Tuple } from '../model.ts';
import { exactMark, type Mark, markEquals } from './mark.ts';

/** What is known of a packet at one hop. */
export interface PacketFacts {
  family: 'ip' | 'ip6';
  protocol: string;
  tuple: Tuple;
  in?: string | undefined;
  out?: string | undefined;
  physIn?: string | undefined;
  physOut?: string | undefined;
  /** Left out: all that is known of a packet whose line shows no mark, that it has none. */
  mark?: Mark | undefined;
  tcpFlags?: string | undefined;
  icmpType?: number | undefined;
  icmpCode?: number | undefined;
  /** Conntrack's view, upper case (NEW, ESTABLISHED, RELATED, …), where evidence tells it. */
  state?: string | undefined;
  /** The connection's original direction, where known. */
  original?: Tuple | undefined;
}

export type SetLookup = (name: string) => NamedSet | undefined;

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
  'ct original ip saddr': (m, p) => (p.original ? inCidr(p.original.src, first(m)) : undefined),
  'ct original ip daddr': (m, p) => (p.original ? inCidr(p.original.dst, first(m)) : undefined),
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

const PROTOCOLS: Record<string, string> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '50': 'esp',
  '51': 'ah',
  '58': 'icmpv6',
  '132': 'sctp',
  '136': 'udplite',
  'ipv6-icmp': 'icmpv6',
};

export function protocolName(text: string): string {
  return PROTOCOLS[text] ?? text;
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

/** The packet's value for a part of a concatenation. */
const FIELDS: Record<string, (packet: PacketFacts) => string | undefined> = {
  'ip saddr': p => p.tuple.src,
  'ip daddr': p => p.tuple.dst,
  'ip6 saddr': p => p.tuple.src,
  'ip6 daddr': p => p.tuple.dst,
  'meta l4proto': p => (p.protocol === 'unknown' ? undefined : p.protocol),
  'ip protocol': p => (p.protocol === 'unknown' ? undefined : p.protocol),
  'th dport': p => String(p.tuple.dport ?? ''),
  'th sport': p => String(p.tuple.sport ?? ''),
  'tcp dport': p => String(p.tuple.dport ?? ''),
  'udp dport': p => String(p.tuple.dport ?? ''),
  iifname: p => p.in ?? '',
  oifname: p => p.out ?? '',
};

function keyOf(parts: string[], packet: PacketFacts): string[] | undefined {
  const key = parts.map(part => FIELDS[part]?.(packet));
  return key.every(value => value !== undefined) ? (key as string[]) : undefined;
}

function concatenation(match: Match, packet: PacketFacts, sets: SetLookup): boolean | undefined {
  const key = keyOf(match.kind.split(' . '), packet);
  const name = first(match);
  const set = name.startsWith('@') ? sets(name.slice(1)) : undefined;
  return key ? isElement(set, key) : undefined;
}

function lookUp(
  vmap: NonNullable<Rule['vmap']>,
  packet: PacketFacts,
  sets: SetLookup,
): { result: boolean | undefined; element?: SetElement } {
  const set = vmap.map === undefined ? undefined : sets(vmap.map);
  const elements = vmap.map === undefined ? vmap.elements : set?.elements;
  const key = keyOf(vmap.key, packet);
  if (!elements || !key || set?.changing) return { result: undefined };
  const element = inElements(elements, key);
  return element ? { result: true, element } : { result: false };
}

function isElement(set: NamedSet | undefined, key: string[]): boolean | undefined {
  return !set || set.changing ? undefined : inElements(set.elements, key) !== undefined;
}

function inElements(elements: SetElement[], key: string[]): SetElement | undefined {
  return elements.find(
    element => element.key.length === key.length && element.key.every((part, i) => elementPart(part, key[i] ?? '')),
  );
}

function elementPart(part: string, value: string): boolean {
  if (part === value || protocolName(part) === value) return true;
  if (part.includes('/') || part.includes(':') || part.includes('.')) return inCidr(value, part) === true;
  const range = /^(\d+)-(\d+)$/.exec(part);
  return range !== null && Number(value) >= Number(range[1]) && Number(value) <= Number(range[2]);
}

/** `-m set --match-set NAME dst,dst`: elements as `ipset save` prints them (`10.96.0.1,tcp:80`). */
function ipset(match: Match, packet: PacketFacts, sets: SetLookup): boolean | undefined {
  const [name = '', directions = ''] = match.args;
  const set = sets(name);
  if (!set || set.changing) return undefined;
  const words = directions.split(',');
  return set.elements.some(element => ipsetHolds(element.key, words, packet));
}

function ipsetHolds(parts: string[], directions: string[], packet: PacketFacts): boolean {
  return parts.every((part, i) => {
    const destination = directions[i] === 'dst';
    const port = /^(?:(\w+):)?(\d+)(?:-(\d+))?$/.exec(part);
    if (port && !part.includes('.') && !/:.*:/.test(part)) {
      const own = destination ? packet.tuple.dport : packet.tuple.sport;
      const low = Number(port[2]);
      return (port[1] ?? 'tcp') === packet.protocol && own !== undefined && own >= low && own <= Number(port[3] ?? low);
    }
    return inCidr(destination ? packet.tuple.dst : packet.tuple.src, part) === true;
  });
}
