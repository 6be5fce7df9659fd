/** Is a packet's value an element of a set or a map? Inline ones, nft's named ones, and ipset's. */
import { inCidr } from '../ip.ts';
import type { Match, NamedSet, Rule, SetElement } from '../model.ts';
import { protocolName } from '../protocols.ts';
import type { PacketFacts, SetLookup } from './facts.ts';

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

export function concatenation(match: Match, packet: PacketFacts, sets: SetLookup): boolean | undefined {
  const key = keyOf(match.kind.split(' . '), packet);
  const name = match.args[0] ?? '';
  const set = name.startsWith('@') ? sets(name.slice(1)) : undefined;
  return key ? isElement(set, key) : undefined;
}

export function lookUp(
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

export function isElement(set: NamedSet | undefined, key: string[]): boolean | undefined {
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
export function ipset(match: Match, packet: PacketFacts, sets: SetLookup): boolean | undefined {
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
