/** Where a legacy line stands: which base chain's invocation it belongs to, as its chain and interfaces tell. */
import type { Hook, TableFamily, TraceEvent, TracePoint, Via } from '../model.ts';
import { builtinHook, place, tablePriority } from '../rules/hooks.ts';

/** What a segment is of; shared by all segments of one base chain. */
export interface Place {
  hook: Hook;
  table: string;
  family: TableFamily;
  /** The base chain, or undefined where its own lines are missing. */
  base: string | undefined;
  priority: number | undefined;
}

/** The newest line of a packet: what the next one is compared with. */
export interface Newest {
  point: TracePoint;
  via: Via;
}

const byPoint = new Map<TracePoint, Place>();

/** The place a line opens. A user chain's line, whose base chain's lines are lost, is put behind `after`. */
export function placeFor(event: TraceEvent, after: number): Place {
  const shared = byPoint.get(event.point);
  if (shared) return shared;
  const { point } = event;
  const known = builtinHook(point.chain);
  const hook = known ?? guessHook(event, after) ?? 'prerouting';
  const made: Place = {
    hook,
    table: point.table,
    family: point.family,
    base: known ? point.chain : undefined,
    priority: tablePriority(point.table, hook),
  };
  if (known && byPoint.size < 4096) byPoint.set(point, made);
  return made;
}

export type Relation = 'inside' | 'after' | 'before' | 'again';

export function relate(
  current: Place,
  newest: Newest,
  at: number | undefined,
  baseNumber: number,
  event: TraceEvent,
): Relation {
  const { point } = event;
  const hook = builtinHook(point.chain);
  if (point.table !== current.table || (hook !== undefined && hook !== current.hook))
    return later(current, event, hook);
  // A chain can be called twice, but not without its caller's line between: that one is lost, or this is no second call.
  if (samePoint(newest.point, point)) return hook === undefined && event.at !== at ? 'inside' : 'again';
  if (newest.via !== event.via && !sameInterfaces(newest.via, event.via)) return later(current, event, hook);
  if (hook === undefined) return 'inside';
  return (point.number ?? 0) > baseNumber ? 'inside' : 'before';
}

/** A base chain's line opens the place of its own; a user chain's line whose base chain's lines are lost, a later one. */
function later(current: Place, event: TraceEvent, hook: Hook | undefined): Relation {
  const target = hook ?? guessHook(event, rankOf(current));
  return target !== undefined && rankIn(event.point.table, target) > rankOf(current) ? 'after' : 'before';
}

/** The hooks a line with these interfaces can come from: no OUT before routing, no IN for what the node sends itself. */
function guessHook(event: TraceEvent, after: number): Hook | undefined {
  const { via } = event;
  const possible: Hook[] =
    via.out === undefined
      ? ['prerouting', 'input']
      : via.in === undefined
        ? ['output', 'postrouting']
        : ['forward', 'postrouting'];
  return possible.find(hook => rankIn(event.point.table, hook) > after);
}

export function rankOf(at: Place): number {
  return rankIn(at.table, at.hook);
}

function rankIn(table: string, hook: Hook): number {
  return place(hook, tablePriority(table, hook) ?? 0);
}

function sameInterfaces(a: Via, b: Via): boolean {
  return a.in === b.in && a.out === b.out;
}

export function samePoint(a: TracePoint, b: TracePoint): boolean {
  return a === b || (a.table === b.table && a.chain === b.chain && a.number === b.number && a.kind === b.kind);
}

/** Cuts a packet's lines, in their order, at base chains. */
export function cutAtPlaces(events: TraceEvent[]): { places: Place[]; starts: number[] } {
  const places: Place[] = [];
  const starts: number[] = [];
  let newest: TraceEvent | undefined;
  for (const [i, event] of events.entries()) {
    const current = places.at(-1);
    const opens = !current || !newest || relate(current, newest, newest.at, -1, event) === 'after';
    if (opens) {
      places.push(placeFor(event, current ? rankOf(current) : 0));
      starts.push(i);
    }
    newest = event;
  }
  return { places, starts };
}
