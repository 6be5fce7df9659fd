/**
 * nft monitor and xtables-monitor events -> passes. A base chain's events stand under one trace id and open with the packet's
 * header (in xtables-monitor's output the header is on the first rule); base chains are joined to a packet by what survives
 * rewriting, as the trace id may change between two hooks and come back for the next packet of the connection.
 */
import type { PacketHeader, TraceEvent } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { place } from '../rules/hooks.ts';
import { locate } from '../rules/locate.ts';
import { packetKey, tupleMayBecome } from './identity.ts';
import type { PassBuilder } from './legacy-passes.ts';
import { OPEN_PASSES, type Pass, type PassSink, type Segment } from './pass.ts';

export function createNftPasses(sink: PassSink, nextOrder: () => number, book: RuleBook): PassBuilder {
  const passes = createOpenPasses(sink, nextOrder);
  const byId = new Map<string, Pass>();
  /** conntrack's line stands before the packet's. */
  const conntrack = new Map<string, string>();

  const enter = (event: TraceEvent, header: PacketHeader): void => {
    const segment = newSegment(event, header, book);
    const key = packetKey(header);
    const same = byId.get(event.traceId ?? '');
    const pass = (same && mayFollow(same, segment, header, key) ? same : undefined) ?? passes.find(key, p => mayFollow(p, segment, header, key));
    const home = pass ?? passes.open(event, header, key);
    if (pass) home.last = header;
    home.segments.push(segment);
    remember(event, home);
    const line = conntrack.get(event.traceId ?? '');
    if (line !== undefined) segment.conntrack = line;
    conntrack.delete(event.traceId ?? '');
  };
  const remember = (event: TraceEvent, pass: Pass): void => {
    if (event.traceId === undefined) return;
    byId.delete(event.traceId);
    byId.set(event.traceId, pass);
    if (byId.size > 4 * OPEN_PASSES) byId.delete(byId.keys().next().value as string);
  };
  /** A base chain whose header line is lost, or was never printed (xtables-monitor prints none before a bare policy). */
  const enterWithoutHeader = (event: TraceEvent): void => {
    const home = byId.get(event.traceId ?? '') ?? passes.open(event, undefined, `? ${event.traceId}`);
    home.segments.push(newSegment(event, undefined, book));
    remember(event, home);
  };
  return {
    push(event) {
      if (event.kind === 'conntrack') {
        if (conntrack.size > OPEN_PASSES) conntrack.clear();
        conntrack.set(event.traceId ?? '', event.conntrack ?? '');
        return;
      }
      const pass = byId.get(event.traceId ?? '');
      if (pass && repeatsNewest(pass, event)) {
        pass.duplicates++;
        return;
      }
      if (event.header) return enter(event, event.header);
      const segment = currentSegment(pass, event);
      if (segment) segment.events.push(event);
      else enterWithoutHeader(event);
    },
    end: passes.end,
  };
}

/** The same line twice in a row: no rule matches twice without its caller's line between, and no header is dumped twice. */
function repeatsNewest(pass: Pass, event: TraceEvent): boolean {
  const newest = pass.segments[pass.segments.length - 1]?.events.at(-1);
  return (
    newest !== undefined &&
    newest.kind === event.kind &&
    newest.chain === event.chain &&
    newest.table === event.table &&
    newest.verdict === event.verdict &&
    newest.handle === event.handle &&
    newest.rule === event.rule &&
    newest.header === event.header
  );
}

/** The segment the event belongs to: the packet's newest, if it is the same table's and has not ended. */
function currentSegment(pass: Pass | undefined, event: TraceEvent): Segment | undefined {
  const segment = pass?.segments[pass.segments.length - 1];
  if (!segment || segment.table !== event.table || segment.family !== event.family || ended(segment)) return undefined;
  if (event.kind === 'policy' && segment.base !== undefined && segment.base !== event.chain) return undefined;
  return segment;
}

function ended(segment: Segment): boolean {
  const newest = segment.events[segment.events.length - 1];
  return newest?.kind === 'policy' || /^(accept|drop|queue|stolen)/.test(newest?.kind === 'rule' ? (newest.verdict ?? '') : '');
}

function newSegment(event: TraceEvent, header: PacketHeader | undefined, book: RuleBook): Segment {
  const base = { family: event.family, table: event.table, chain: event.chain, in: event.in, out: event.out };
  const { hook, priority } = locate(book, base);
  return { hook, table: event.table, family: event.family, base: event.chain, priority, events: [event], header };
}

function mayFollow(pass: Pass, segment: Segment, header: PacketHeader, key: string): boolean {
  const last = pass.last;
  if (!last || pass.header === undefined || packetKey(pass.header) !== key || !tupleMayBecome(last, header)) return false;
  const newest = pass.segments[pass.segments.length - 1] as Segment;
  return isLater(newest, segment);
}

/** Later on the packet's way. Where a priority is not known, another chain of the same hook is taken to be later. */
function isLater(before: Segment, now: Segment): boolean {
  const known = before.priority !== undefined && now.priority !== undefined;
  const from = place(before.hook, known ? (before.priority ?? 0) : 0);
  const to = place(now.hook, known ? (now.priority ?? 0) : 0);
  if (to !== from) return to > from;
  return before.table !== now.table || before.base !== now.base || before.family !== now.family;
}

/** Open packets by key; the oldest are handed on when there are too many. */
function createOpenPasses(sink: PassSink, nextOrder: () => number) {
  const byKey = new Map<string, Pass[]>();
  const closeOldest = (): void => {
    const oldest = byKey.entries().next().value;
    if (!oldest) return;
    byKey.delete(oldest[0]);
    for (const pass of oldest[1]) sink.pass(pass);
  };
  return {
    find: (key: string, fits: (pass: Pass) => boolean): Pass | undefined => byKey.get(key)?.findLast(fits),
    open(event: TraceEvent, header: PacketHeader | undefined, key: string): Pass {
      const pass: Pass = {
        backend: 'nft',
        source: event.source,
        header,
        last: header,
        segments: [],
        first: event.at,
        newest: event.at,
        duplicates: 0,
        order: nextOrder(),
      };
      if (event.traceId !== undefined) pass.traceId = event.traceId;
      const list = byKey.get(key);
      if (!list) byKey.set(key, [pass]);
      else if (list.push(pass) > 8) sink.pass(list.shift() as Pass);
      if (byKey.size > OPEN_PASSES) closeOldest();
      return pass;
    },
    end(): void {
      while (byKey.size > 0) closeOldest();
    },
  };
}
