/**
 * One packet may have been seen by several sources: the kernel log and a copy of it, nft monitor and xtables-monitor, or the
 * legacy and the nft tables of a mixed node. What is one packet becomes one, here.
 */
import type { TraceEvent } from '../model.ts';
import { packetKey, sameSequence, sameTuple } from './identity.ts';
import { eventCount, type Pass, type Segment } from './pass.ts';

/** A packet with what each backend saw of it; at least one is there. */
export interface Packet {
  legacy?: Pass;
  nft?: Pass;
  order: number;
  duplicates: number;
}

export function joinPasses(passes: Pass[]): Packet[] {
  const ordered = [...passes].sort((a, b) => a.order - b.order);
  const legacy = withoutCopies(ordered.filter(pass => pass.backend === 'legacy'));
  const nft = withoutCopies(ordered.filter(pass => pass.backend === 'nft'));
  return pairBackends(legacy, nft);
}

/** Passes that are the same packet in another file, or the same lines later in one file, are merged into the first. */
function withoutCopies(passes: Pass[]): Pass[] {
  const known = new Map<string, Pass[]>();
  const kept: Pass[] = [];
  for (const pass of passes) {
    const key = copyKey(pass);
    const list = known.get(key) ?? [];
    const original = list.find(other => isCopy(other, pass));
    if (original) absorb(original, pass);
    else {
      kept.push(pass);
      list.push(pass);
      known.set(key, list);
    }
  }
  return kept;
}

/** xtables-monitor names no protocol, so nft's passes are looked up by what both programs print. */
function copyKey(pass: Pass): string {
  const header = pass.header;
  if (!header) return `? ${pass.traceId}`;
  return pass.backend === 'legacy' ? packetKey(header) : `${pass.traceId} ${header.id ?? ''} ${header.length ?? ''}`;
}

function isCopy(original: Pass, pass: Pass): boolean {
  const a = original.header;
  const b = pass.header;
  if (!a || !b) return original.source !== pass.source;
  if (!sameTuple(a.tuple, b.tuple) || !sameSequence(a, b) || a.ttl !== b.ttl) return false;
  if (pass.backend === 'legacy' && original.first !== undefined && pass.first !== undefined) return overlaps(original, pass);
  // Without a clock only the IP id tells a copy from another packet like it.
  if (original.source !== pass.source) return true;
  return (a.id ?? 0) !== 0 && a.ttl === b.ttl;
}

/** The two saw the same moments; a copy that begins later has lost its first lines. */
function overlaps(a: Pass, b: Pass): boolean {
  const stamps = new Set(a.segments.flatMap(segment => segment.events.map(event => event.at)));
  return b.segments.some(segment => segment.events.some(event => stamps.has(event.at)));
}

/** Adds what the copy saw and the original lost; of what both saw, the original's events learn what only the copy's say. */
function absorb(original: Pass, copy: Pass): void {
  original.duplicates += copy.duplicates;
  for (const segment of copy.segments) {
    const same = original.segments.find(s => s.table === segment.table && s.hook === segment.hook && (s.base === segment.base || !s.base || !segment.base));
    if (same) mergeSegment(original, same, segment);
    else insertSegment(original.segments, segment);
  }
}

function mergeSegment(pass: Pass, into: Segment, copy: Segment): void {
  into.base ??= copy.base;
  into.header ??= copy.header;
  const merged: TraceEvent[] = [];
  let at = 0;
  for (const event of copy.events) {
    const found = into.events.findIndex((known, i) => i >= at && sameEvent(known, event));
    if (found < 0) {
      merged.push(event);
      continue;
    }
    merged.push(...into.events.slice(at, found), learn(into.events[found] as TraceEvent, event));
    at = found + 1;
    pass.duplicates++;
  }
  into.events = [...merged, ...into.events.slice(at)];
}

function sameEvent(a: TraceEvent, b: TraceEvent): boolean {
  if (a.chain !== b.chain || a.number !== b.number || a.at !== b.at) return false;
  if (a.backend === 'legacy') return a.kind === b.kind;
  // nft monitor's header line is xtables-monitor's first rule line.
  if (a.kind === 'packet' || b.kind === 'packet') return a.kind === b.kind;
  return a.kind === b.kind && sameVerdict(a.verdict, b.verdict);
}

function sameVerdict(a: string | undefined, b: string | undefined): boolean {
  return a === b || a === undefined || b === undefined;
}

/** xtables-monitor knows handle and comment, nft monitor the interfaces and the whole header. */
function learn(event: TraceEvent, other: TraceEvent): TraceEvent {
  const handle = event.handle ?? other.handle;
  const comment = event.rule?.comment ?? other.rule?.comment;
  const rule = event.rule ? { ...event.rule } : other.rule;
  if (rule && comment !== undefined) rule.comment = comment;
  const learned: TraceEvent = { ...event };
  if (handle !== undefined) learned.handle = handle;
  if (rule) learned.rule = rule;
  return learned;
}

function insertSegment(segments: Segment[], segment: Segment): void {
  const rank = (s: Segment) => ['prerouting', 'input', 'forward', 'output', 'postrouting'].indexOf(s.hook) * 10_000 + (s.priority ?? 0);
  const before = segments.findIndex(s => rank(s) > rank(segment));
  segments.splice(before < 0 ? segments.length : before, 0, segment);
}

/** Legacy and nft tables of a mixed node see the same packet one after the other: paired in order, each at most once. */
function pairBackends(legacy: Pass[], nft: Pass[]): Packet[] {
  const waiting = new Map<string, Pass[]>();
  for (const pass of nft) {
    const key = pass.header ? packetKey(pass.header) : '';
    const list = waiting.get(key) ?? [];
    list.push(pass);
    waiting.set(key, list);
  }
  const packets: Packet[] = [];
  for (const pass of legacy) {
    const list = pass.header ? (waiting.get(packetKey(pass.header)) ?? []) : [];
    const index = list.findIndex(other => onOneWay(pass, other));
    const partner = index < 0 ? undefined : list.splice(index, 1)[0];
    const packet: Packet = { legacy: pass, order: pass.order, duplicates: pass.duplicates + (partner?.duplicates ?? 0) };
    if (partner) packet.nft = partner;
    packets.push(packet);
  }
  for (const pass of [...waiting.values()].flat()) packets.push({ nft: pass, order: pass.order, duplicates: pass.duplicates });
  return interleave(packets);
}

/** Some hook saw the packet with the same addresses, or (its replies are traced only behind NAT) one end is the same throughout. */
function onOneWay(a: Pass, b: Pass): boolean {
  const ends = (pass: Pass) => pass.segments.flatMap(segment => (segment.header ? [segment.header] : []));
  const ours = ends(a);
  const theirs = ends(b);
  if (ours.some(x => theirs.some(y => sameTuple(x.tuple, y.tuple)))) return true;
  const last = ours.at(-1)?.tuple;
  const first = theirs[0]?.tuple;
  if (!last || !first) return false;
  return (last.dst === first.dst && last.dport === first.dport) || (last.src === first.src && last.sport === first.sport);
}

/**
 * Sources have no common clock: legacy packets carry their order in one file, nft packets in another. Packets seen by both
 * tie the two orders together; what stands between two ties in one file is put between them.
 */
function interleave(packets: Packet[]): Packet[] {
  const legacy = packets.filter(packet => packet.legacy).sort((a, b) => (a.legacy as Pass).order - (b.legacy as Pass).order);
  const nft = packets.filter(packet => packet.nft).sort((a, b) => (a.nft as Pass).order - (b.nft as Pass).order);
  const result: Packet[] = [];
  const taken = new Set<Packet>();
  let l = 0;
  for (const packet of nft) {
    if (packet.legacy) {
      const tie = legacy.indexOf(packet, l);
      for (; l < tie; l++) take(legacy[l] as Packet);
    }
    take(packet);
  }
  for (; l < legacy.length; l++) take(legacy[l] as Packet);
  return result;

  function take(packet: Packet): void {
    if (!taken.has(packet)) result.push(packet);
    taken.add(packet);
  }
}

export function packetEvents(packet: Packet): number {
  return (packet.legacy ? eventCount(packet.legacy) : 0) + (packet.nft ? eventCount(packet.nft) : 0);
}
