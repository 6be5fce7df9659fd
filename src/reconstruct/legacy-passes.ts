/**
 * Kernel log lines -> passes. Every line carries the whole packet, so a line finds its packet by what survives rewriting,
 * and its place by the order of hooks and tables; lines of several CPUs and several packets may be mixed in any way.
 */
import type { Hook, PacketHeader, TraceEvent } from '../model.ts';
import { builtinHook, place, tablePriority } from '../rules/hooks.ts';
import { packetKey, sameSequence, tupleMayBecome } from './identity.ts';
import { OPEN_PASSES, type Pass, type PassSink, type Segment } from './pass.ts';

export interface PassBuilder {
  push(event: TraceEvent): void;
  end(): void;
}

export function createLegacyPasses(sink: PassSink, nextOrder: () => number): PassBuilder {
  const open = new Map<string, Pass[]>();
  const start = (event: TraceEvent, header: PacketHeader, key: string, list: Pass[] | undefined): void => {
    const pass: Pass = {
      backend: 'legacy',
      source: event.source,
      header,
      last: header,
      segments: [newSegment(event, 0)],
      first: event.at,
      newest: event.at,
      duplicates: 0,
      order: nextOrder(),
    };
    if (list) {
      list.push(pass);
      if (list.length > 8) sink.pass(list.shift() as Pass);
      return;
    }
    open.set(key, [pass]);
    if (open.size > OPEN_PASSES) closeOldest();
  };
  const closeOldest = (): void => {
    const oldest = open.entries().next().value;
    if (!oldest) return;
    open.delete(oldest[0]);
    for (const pass of oldest[1]) sink.pass(pass);
  };
  return {
    push(event) {
      const header = event.header;
      if (!header) return;
      const key = packetKey(header);
      const list = open.get(key);
      if (!list || !extendNewest(list, event, header)) start(event, header, key, list);
    },
    end() {
      while (open.size > 0) closeOldest();
    },
  };
}

/** Of several packets that look alike the newest is asked first: an older one may have ended where nothing says so. */
function extendNewest(list: Pass[], event: TraceEvent, header: PacketHeader): boolean {
  for (let i = list.length - 1; i >= 0; i--) if (extend(list[i] as Pass, event, header)) return true;
  return false;
}

/** Adds the event to the pass if it is its next line or one it has already; false if it belongs to another packet. */
function extend(pass: Pass, event: TraceEvent, header: PacketHeader): boolean {
  const last = pass.last as PacketHeader;
  if (last !== header && !(sameSequence(last, header) && tupleMayBecome(last, header))) return false;
  const segment = pass.segments[pass.segments.length - 1] as Segment;
  const relation = relate(segment, event);
  if (relation === 'before' || relation === 'again') {
    if (!alreadySeen(pass, event)) return false;
    pass.duplicates++;
    return true;
  }
  if (relation === 'inside') segment.events.push(event);
  else pass.segments.push(newSegment(event, placeOf(segment)));
  pass.last = header;
  pass.newest = event.at;
  return true;
}

type Relation = 'inside' | 'after' | 'before' | 'again';

function relate(segment: Segment, event: TraceEvent): Relation {
  const newest = segment.events[segment.events.length - 1] as TraceEvent;
  const hook = builtinHook(event.chain);
  if (event.table !== segment.table || (hook !== undefined && hook !== segment.hook)) return later(segment, event, hook);
  // A chain can be called twice, but not without its caller's line between: that one is lost, or this is no second call.
  if (samePosition(newest, event)) return hook === undefined && event.at !== newest.at ? 'inside' : 'again';
  if (!sameInterfaces(newest, event)) return later(segment, event, hook);
  if (hook === undefined) return 'inside';
  return (event.number ?? 0) > lastBaseNumber(segment) ? 'inside' : 'before';
}

/** A base chain's line opens the segment of its own place; a user chain's line whose base chain's lines are lost, a later one. */
function later(segment: Segment, event: TraceEvent, hook: Hook | undefined): Relation {
  const target = hook ?? guessHook(event, placeOf(segment));
  return target !== undefined && placeIn(event.table, target) > placeOf(segment) ? 'after' : 'before';
}

function newSegment(event: TraceEvent, after: number): Segment {
  const known = builtinHook(event.chain);
  const hook = known ?? guessHook(event, after) ?? 'prerouting';
  return {
    hook,
    table: event.table,
    family: event.family,
    base: known ? event.chain : undefined,
    priority: tablePriority(event.table, hook),
    events: [event],
    header: event.header,
  };
}

/** The hooks a line with these interfaces can come from: no OUT before routing, no IN for what the node sends itself. */
function guessHook(event: TraceEvent, after: number): Hook | undefined {
  const possible: Hook[] = event.out === undefined ? ['prerouting', 'input'] : event.in === undefined ? ['output', 'postrouting'] : ['forward', 'postrouting'];
  return possible.find(hook => placeIn(event.table, hook) > after);
}

function placeOf(segment: Segment): number {
  return placeIn(segment.table, segment.hook);
}

function placeIn(table: string, hook: Hook): number {
  return place(hook, tablePriority(table, hook) ?? 0);
}

function lastBaseNumber(segment: Segment): number {
  for (let i = segment.events.length - 1; i >= 0; i--) {
    const event = segment.events[i] as TraceEvent;
    if (event.chain === segment.base) return event.number ?? 0;
  }
  return 0;
}

function sameInterfaces(a: TraceEvent, b: TraceEvent): boolean {
  return a.in === b.in && a.out === b.out;
}

function samePosition(a: TraceEvent, b: TraceEvent): boolean {
  return a.table === b.table && a.chain === b.chain && a.number === b.number && a.kind === b.kind;
}

/**
 * The same line a second time: the same clock reading where the log has one; else the same text to the last option, for
 * which the parser has one and the same header. A retransmission differs in its IP id or TCP timestamp.
 */
function alreadySeen(pass: Pass, event: TraceEvent): boolean {
  const stamped = event.at !== undefined;
  if (stamped && pass.newest !== undefined && (event.at as number) > pass.newest) return false;
  return pass.segments.some(segment =>
    segment.events.some(known => samePosition(known, event) && (stamped ? known.at === event.at : known.header === event.header)),
  );
}
