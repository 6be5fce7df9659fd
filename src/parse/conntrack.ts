/** `conntrack -L` and `conntrack -E`, with or without `-o extended,id,timestamp`. Format: conntrack(8), libnetfilter_conntrack snprintf. */
import type { ConntrackEntry, Tuple } from '../model.ts';
import { addressOf, own, uint } from './strings.ts';

const PROTOCOLS = new Set(['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'udplite', 'dccp', 'gre', 'unknown']);

/** Entries in the order of the text; lines that are none are left out. */
export function parseConntrack(text: string): ConntrackEntry[] {
  return text.split('\n').flatMap(line => parseConntrackLine(line) ?? []);
}

export function parseConntrackLine(line: string): ConntrackEntry | undefined {
  const words = line.trim().split(/\s+/);
  const first = words.findIndex(word => word.startsWith('src='));
  const protocol = words.slice(0, first < 0 ? 0 : first).find(word => PROTOCOLS.has(word));
  if (first < 0 || !protocol) return undefined;
  const second = words.findIndex((word, i) => i > first && word.startsWith('src='));
  if (second < 0) return undefined;
  const original = tupleOf(words.slice(first, second));
  const reply = tupleOf(words.slice(second));
  if (!original || !reply) return undefined;
  const head = words.slice(0, first);
  const entry: ConntrackEntry = { protocol, original, reply, flags: flagsOf(words), raw: own(line.trim()) };
  const state = head.findLast(word => /^[A-Z][A-Z_0-9]+$/.test(word));
  if (state) entry.state = own(state);
  const event = /\[(NEW|UPDATE|DESTROY)\]/.exec(line)?.[1];
  if (event) entry.event = event as 'NEW' | 'UPDATE' | 'DESTROY';
  const mark = uint(fieldOf(words, 'mark'));
  if (mark !== undefined) entry.mark = mark;
  const id = fieldOf(words, 'id', second);
  if (id !== undefined && protocol !== 'icmp' && protocol !== 'icmpv6') entry.id = own(id);
  return entry;
}

function flagsOf(words: string[]): string[] {
  return words.flatMap(word => (/^\[(UNREPLIED|ASSURED|OFFLOAD|HW_OFFLOAD)\]$/.test(word) ? [word.slice(1, -1)] : []));
}

function fieldOf(words: string[], key: string, from = 0): string | undefined {
  return words.find((word, i) => i >= from && word.startsWith(`${key}=`))?.slice(key.length + 1);
}

function tupleOf(words: string[]): ConntrackEntry['original'] | undefined {
  const src = addressOf(fieldOf(words, 'src') ?? '');
  const dst = addressOf(fieldOf(words, 'dst') ?? '');
  if (src === '' || dst === '') return undefined;
  const tuple: Tuple & { icmpId?: number; icmpType?: number } = { src, dst };
  const sport = uint(fieldOf(words, 'sport'));
  const dport = uint(fieldOf(words, 'dport'));
  if (sport !== undefined) tuple.sport = sport;
  if (dport !== undefined) tuple.dport = dport;
  const type = uint(fieldOf(words, 'type'));
  const id = uint(fieldOf(words, 'id'));
  if (type !== undefined) tuple.icmpType = type;
  if (type !== undefined && id !== undefined) tuple.icmpId = id;
  return tuple;
}
