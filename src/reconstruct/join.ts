/**
 * One packet may have been seen by several sources: the kernel log and a copy of it, nft monitor and xtables-monitor, or the
 * legacy and the nft tables of a mixed node. What is one packet becomes one, here.
 */
import type { TraceEvent } from '../model.ts';
import { isBesideIp, place } from '../rules/hooks.ts';
import { packetKey, samePacket, sameTuple } from './identity.ts';
import { eventsOf, type Pass, type Segment, segmentsOf, setSegments } from './pass.ts';

/** A packet with what each backend saw of it; at least one is there. */
export interface Packet {
  legacy?: Pass;
  nft?: Pass;
  order: number;
  duplicates: number;
}

/** @param mayRepeat false where every packet surely stands in the list once */
export function joinPasses(passes: Pass[], mayRepeat: boolean): Packet[] {
  const ordered = [...passes].sort((a, b) => a.order - b.order);
  const unique = mayRepeat ? withoutCopies : (all: Pass[]) => all;
  const legacy = unique(ordered.filter(pass => pass.backend === 'legacy'));
  const nft = unique(ordered.filter(pass => pass.backend === 'nft'));
  if (nft.length === 0) return legacy.map(pass => ({ legacy: pass, order: pass.order, duplicates: pass.duplicates }));
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

/** xtables-monitor names no protocol, so nft's passes are looked up by what both programs print. A copy may begin behind a rewrite. */
function copyKey(pass: Pass): string {
  const header = pass.headers[0];
  if (!header) return `? ${pass.traceId}`;
  if (pass.backend === 'legacy') return `${packetKey(header)} ${header.tcp?.seq ?? ''}`;
  return `${(header.id ?? 0) === 0 ? pass.traceId : ''} ${header.id ?? ''} ${header.length ?? ''}`;
}

function isCopy(original: Pass, pass: Pass): boolean {
  const a = original.headers[0];
  const b = pass.headers[0];
  if (!a || !b) return original.source !== pass.source;
  if (!samePacket(a, b) || !wereSeenAlike(original, pass)) return false;
  if (pass.backend === 'nft' && !shareTraceId(original, pass)) return false;
  if (pass.backend === 'legacy' && original.first !== undefined && pass.first !== undefined)
    return overlaps(original, pass);
  // Without a clock only the IP id tells a copy from another packet like it.
  return original.source !== pass.source || (a.id ?? 0) !== 0;
}

/** Somewhere both saw the packet with the same addresses and the same number of hops left. */
function wereSeenAlike(a: Pass, b: Pass): boolean {
  return a.headers.some(x => b.headers.some(y => x.ttl === y.ttl && sameTuple(x.tuple, y.tuple)));
}

function shareTraceId(a: Pass, b: Pass): boolean {
  if (a.traceId === b.traceId) return true;
  const ids = new Set(eventsOf(a).map(event => event.traceId));
  return eventsOf(b).some(event => ids.has(event.traceId));
}

/** The two saw the same moments; a copy that begins later has lost its first lines. */
function overlaps(a: Pass, b: Pass): boolean {
  if (a.first === b.first) return true;
  if ((a.newest ?? 0) < (b.first ?? 0) || (b.newest ?? 0) < (a.first ?? 0)) return false;
  const stamps = new Set(eventsOf(a).map(event => event.at));
  return eventsOf(b).some(event => event.at !== undefined && stamps.has(event.at));
}

/** Adds what the copy saw and the original lost; of what both saw, the original's events learn what only the copy's say. */
function absorb(original: Pass, copy: Pass): void {
  original.duplicates += copy.duplicates;
  if (original.shape && original.shape === copy.shape && original.backend === 'legacy') {
    original.duplicates += copy.count;
    return;
  }
  const segments = segmentsOf(original);
  for (const segment of segmentsOf(copy)) {
    const same = segments.find(
      s =>
        s.family === segment.family &&
        s.table === segment.table &&
        s.hook === segment.hook &&
        (s.base === segment.base || !s.base || !segment.base),
    );
    if (same) mergeSegment(original, same, segment);
    else insertSegment(segments, segment);
  }
  setSegments(original, segments);
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
  if (a.point.chain !== b.point.chain || a.point.number !== b.point.number || a.at !== b.at) return false;
  if (a.point.backend === 'legacy') return a.point.kind === b.point.kind;
  // nft monitor's header line is xtables-monitor's first rule line.
  if (a.point.kind === 'packet' || b.point.kind === 'packet') return a.point.kind === b.point.kind;
  return a.point.kind === b.point.kind && sameVerdict(a.point.verdict, b.point.verdict);
}

function sameVerdict(a: string | undefined, b: string | undefined): boolean {
  return a === b || a === undefined || b === undefined;
}

/** xtables-monitor knows handle and comment, nft monitor the interfaces and the whole header. */
function learn(event: TraceEvent, other: TraceEvent): TraceEvent {
  const { point } = event;
  const handle = point.handle ?? other.point.handle;
  const comment = point.rule?.comment ?? other.point.rule?.comment;
  const learned = { ...point };
  if (handle !== undefined) learned.handle = handle;
  const rule = point.rule ?? other.point.rule;
  if (rule) learned.rule = comment === undefined ? rule : { ...rule, comment };
  return { ...event, point: learned };
}

function insertSegment(segments: Segment[], segment: Segment): void {
  const rank = (s: Segment) => (isBesideIp(s.family) ? Number.POSITIVE_INFINITY : place(s.hook, s.priority ?? 0));
  const before = segments.findIndex(s => rank(s) > rank(segment));
  segments.splice(before < 0 ? segments.length : before, 0, segment);
}

/** Legacy and nft tables of a mixed node see the same packet one after the other: paired in order, each at most once. */
function pairBackends(legacy: Pass[], nft: Pass[]): Packet[] {
  const waiting = new Map<number, Pass[]>();
  for (const pass of nft) {
    const key = keyOf(pass);
    const list = waiting.get(key) ?? [];
    list.push(pass);
    waiting.set(key, list);
  }
  const packets: Packet[] = [];
  for (const pass of legacy) {
    const list = waiting.get(keyOf(pass)) ?? [];
    const index = list.findIndex(other => looksAlike(pass, other) && onOneWay(pass, other));
    const partner = index < 0 ? undefined : list.splice(index, 1)[0];
    const packet: Packet = {
      legacy: pass,
      order: pass.order,
      duplicates: pass.duplicates + (partner?.duplicates ?? 0),
    };
    if (partner) packet.nft = partner;
    packets.push(packet);
  }
  for (const pass of [...waiting.values()].flat())
    packets.push({ nft: pass, order: pass.order, duplicates: pass.duplicates });
  return interleave(packets);
}

/** What every program prints; what only some print, `samePacket` compares. */
function keyOf({ headers: [header] }: Pass): number {
  return header ? (header.id ?? 0) * 65_536 + (header.length ?? 0) : -1;
}

function looksAlike(a: Pass, b: Pass): boolean {
  const [one, other] = [a.headers[0], b.headers[0]];
  return one !== undefined && other !== undefined && samePacket(one, other);
}

/** Some hook saw the packet with the same addresses, or (its replies are traced only behind NAT) one end is the same throughout. */
function onOneWay(a: Pass, b: Pass): boolean {
  if (a.headers.some(x => b.headers.some(y => sameTuple(x.tuple, y.tuple)))) return true;
  const last = a.headers.at(-1)?.tuple;
  const first = b.headers[0]?.tuple;
  if (!last || !first) return false;
  return (
    (last.dst === first.dst && last.dport === first.dport) || (last.src === first.src && last.sport === first.sport)
  );
}

/**
 * Sources have no common clock: legacy packets carry their order in one file, nft packets in another. Packets seen by both
 * tie the two orders together; what stands between two ties in one file is put between them.
 */
function interleave(packets: Packet[]): Packet[] {
  const legacy = packets
    .filter(packet => packet.legacy)
    .sort((a, b) => (a.legacy as Pass).order - (b.legacy as Pass).order);
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
