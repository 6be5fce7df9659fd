/** Where a legacy line stands: which base chain's invocation it belongs to, as its chain and interfaces tell. */
import type { Hook, TableFamily, TraceEvent, TracePoint, Via } from '../model.ts';
import { mayCall } from '../rules/callers.ts';
import { builtinHook, place, tableHooks, tablePriority } from '../rules/hooks.ts';

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

/** Before all places. */
export const NOWHERE = Number.NEGATIVE_INFINITY;

/** The place a line opens. A user chain's line, whose base chain's lines are lost, is put behind `after`. */
export function placeFor(event: TraceEvent, after: number): Place {
  const shared = byPoint.get(event.point);
  if (shared) return shared;
  const { point } = event;
  const known = builtinHook(point.chain);
  const hook = known ?? firstHook(event, after) ?? possibleHooks(event)[0] ?? 'prerouting';
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

/** `base`: of the base chain that the user chains before it were called from, whose own lines are lost. */
export type Relation = 'inside' | 'after' | 'before' | 'again' | 'base';

export function relate(
  current: Place,
  newest: Newest,
  at: number | undefined,
  baseNumber: number,
  event: TraceEvent,
): Relation {
  const { point } = event;
  const hook = builtinHook(point.chain);
  if (isBaseOf(current, newest, event, hook)) return 'base';
  if (point.table !== current.table || (hook !== undefined && hook !== current.hook))
    return later(current, event, hook);
  // A chain can be called twice, but not without its caller's line between: that one is lost, or this is no second call.
  if (samePoint(newest.point, point)) return hook === undefined && event.at !== at ? 'inside' : 'again';
  if (newest.via !== event.via && !sameInterfaces(newest.via, event.via)) return later(current, event, hook);
  // Behind a base chain's policy nothing is asked in it any more.
  const ended = newest.point.kind === 'policy' && newest.point.chain === current.base;
  if (hook === undefined) return ended ? later(current, event, hook) : 'inside';
  return (point.number ?? 0) > baseNumber ? 'inside' : 'before';
}

/** A user chain's lines came first, and these may be its caller's: the same table, the same interfaces, and nothing between. */
function isBaseOf(current: Place, newest: Newest, event: TraceEvent, hook: Hook | undefined): boolean {
  if (current.base !== undefined || hook === undefined || event.point.table !== current.table) return false;
  return sameInterfaces(newest.via, event.via) && possibleHooks(newest).includes(hook);
}

/** A base chain's line opens the place of its own; a user chain's line whose base chain's lines are lost, a later one. */
function later(current: Place, event: TraceEvent, hook: Hook | undefined): Relation {
  const target = hook ?? firstHook(event, rankOf(current));
  return target !== undefined && rankIn(event.point.table, target) > rankOf(current) ? 'after' : 'before';
}

function firstHook(event: Newest, after: number): Hook | undefined {
  return possibleHooks(event).find(hook => rankIn(event.point.table, hook) > after);
}

/**
 * The hooks a user chain's line can come from: those its table has chains at and its interfaces allow (no OUT before
 * routing, no IN for what the node sends itself), and of kube-proxy's chains those it calls them from.
 */
export function possibleHooks({ point, via }: Newest): Hook[] {
  const byInterfaces: Hook[] =
    via.out === undefined
      ? ['prerouting', 'input']
      : via.in === undefined
        ? ['output', 'postrouting']
        : ['forward', 'postrouting'];
  const possible = byInterfaces.filter(hook => tableHooks(point.table).includes(hook));
  const called = possible.filter(hook => mayCall(point.table, point.chain, hook));
  return called.length > 0 ? called : possible;
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
    const relation = current && newest ? relate(current, newest, newest.at, -1, event) : 'after';
    if (relation === 'base') places[places.length - 1] = placeFor(event, NOWHERE);
    if (relation === 'after') {
      places.push(placeFor(event, current ? rankOf(current) : NOWHERE));
      starts.push(i);
    }
    newest = event;
  }
  return { places, starts };
}
