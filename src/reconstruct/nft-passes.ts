/**
 * nft monitor and xtables-monitor events -> passes. A base chain's events stand under one trace id and open with the packet's
 * header (in xtables-monitor's output the header is on the first rule); base chains are joined to a packet by what survives
 * rewriting, as the trace id may change between two hooks and come back for the next packet of the connection.
 */
import type { PacketHeader, TraceEvent } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { type Caller, callersByName, callersByRules } from '../rules/callers.ts';
import { isIptablesTable, place } from '../rules/hooks.ts';
import { locate, locateKnown } from '../rules/locate.ts';
import { createFrames, headerBeside, hookBeside, mayEnd } from './frames.ts';
import { type IsTied, mayBecome, packetKey, sameTuple } from './identity.ts';
import type { PassBuilder } from './legacy-passes.ts';
import { closePass, keepEvent, newPass, OPEN_PASSES, type Pass, type PassSink } from './pass.ts';
import type { Place } from './places.ts';
import type { Shapes } from './shape.ts';

export interface NftPassBuilder extends PassBuilder {
  /** A frame's line beside the hooks of IP. True where it ended a packet. */
  beside(event: TraceEvent): boolean;
}

export function createNftPasses(
  sink: PassSink,
  nextOrder: () => number,
  book: RuleBook,
  shapes: Shapes,
): NftPassBuilder {
  const passes = createOpenPasses(sink, nextOrder);
  const translations = createTranslations();
  const byId = new Map<string, Pass>();
  const frames = createFrames();
  /** conntrack's line stands before the packet's. */
  const conntrack = new Map<string, string>();

  const openById = (event: TraceEvent): Pass | undefined => {
    const pass = byId.get(event.traceId ?? '');
    return pass?.closed ? undefined : pass;
  };
  const append = (pass: Pass, event: TraceEvent, place: Place | undefined, headerChanged: boolean): void => {
    pass.shape = shapes.extend(pass.count === 0 ? shapes.root : pass.shape, event, headerChanged);
    keepEvent(pass, event, place);
    if (place) pass.place = place;
    pass.point = event.point;
    pass.via = event.via;
    pass.count++;
  };
  const enter = (event: TraceEvent, header: PacketHeader): void => {
    const place = locatePlace(event, book);
    const key = packetKey(header);
    const same = openById(event);
    const pass =
      (same && mayFollow(same, place, header, () => true) ? same : undefined) ??
      passes.find(key, p => mayFollow(p, place, header, translations.has));
    const home = pass ?? passes.open(event, place, key);
    const changed = home.headers.at(-1) !== header;
    if (changed) {
      translations.learn(home.headers, header);
      home.headers.push(header);
    }
    append(home, event, place, pass !== undefined && changed);
    remember(event, home);
    takeConntrack(home, event);
  };
  const takeConntrack = (pass: Pass, event: TraceEvent): void => {
    const line = conntrack.get(event.traceId ?? '');
    if (line === undefined) return;
    pass.conntrack ??= new Map();
    pass.conntrack.set((pass.places?.length ?? 1) - 1, line);
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
    const same = openById(event);
    const places = placesWithoutHeader(event, book);
    const later = same && places.find(at => mayStillMeet(same, at));
    const place = later ?? (places[0] as Place);
    const home = same && later ? same : passes.open(event, place, -1);
    append(home, event, place, false);
    remember(event, home);
  };
  const endBeside = (event: TraceEvent): boolean => {
    const same = openById(event);
    if (same?.point === event.point) {
      same.duplicates++;
      return true;
    }
    const frame = frames.take(event);
    const header = frame?.header;
    // It holds no packet of IP.
    if (frame && !header) return false;
    const via = frame?.via ?? event.via;
    const hook = hookBeside(event.point, via, book);
    const fits = (pass: Pass) => mayEnd(pass, hook, header, translations.has);
    const pass = same && fits(same) ? same : header && passes.find(packetKey(header), fits);
    const last = headerBeside(header, pass?.headers.at(-1));
    if (!last) return false;
    const end: TraceEvent = { ...event, header: last, via };
    const { family, table, chain } = event.point;
    const at = hook ?? pass?.place.hook ?? 'postrouting';
    const place: Place = { hook: at, table, family, base: chain, priority: undefined };
    const home = pass ?? passes.open(end, place, packetKey(last));
    const changed = home.headers.at(-1) !== last;
    if (changed) home.headers.push(last);
    append(home, end, place, changed);
    remember(event, home);
    return true;
  };
  return {
    beside(event) {
      if (event.point.verdict === 'drop') return endBeside(event);
      frames.see(event);
      return false;
    },
    push(event) {
      if (event.header) frames.forget(event);
      if (event.point.kind === 'conntrack') {
        if (conntrack.size > OPEN_PASSES) conntrack.clear();
        conntrack.set(event.traceId ?? '', event.conntrack ?? '');
        return;
      }
      const pass = openById(event);
      if (pass && repeatsNewest(pass, event)) pass.duplicates++;
      else if (event.header) enter(event, event.header);
      else if (pass && continues(pass, event, book)) {
        nameBase(pass, event, book);
        append(pass, event, undefined, false);
      } else enterWithoutHeader(event);
    },
    end: passes.end,
  };
}

/**
 * The same line twice in a row: no rule matches twice without its caller's line between, and no header is dumped twice. Of
 * xtables-monitor's rule lines only the first one stands behind a packet's.
 */
function repeatsNewest(pass: Pass, event: TraceEvent): boolean {
  return pass.point === event.point && (event.header === undefined || pass.events?.at(-1)?.header === event.header);
}

/** Does the event belong to the packet's newest base chain? It must be the same table's, and that chain not ended. */
function continues(pass: Pass, event: TraceEvent, book: RuleBook): boolean {
  const { place } = pass;
  const { point } = event;
  if (place.table !== point.table || place.family !== point.family || ended(pass)) return false;
  if (place.base === undefined || place.base === point.chain) return true;
  // Nobody calls a base chain, and only base chains have a policy.
  return point.kind !== 'policy' && locateKnown(book, point) === undefined && mayBeCalledFrom(place.base, point, book);
}

/** By the rules given, where they know the chain: another one's call is lost where this base chain does not lead to it. */
function mayBeCalledFrom(base: string, { family, table, chain }: TraceEvent['point'], book: RuleBook): boolean {
  const callers = callersByRules(book, family, table, chain) ?? [];
  return callers.length === 0 || callers.some(caller => caller.base === base);
}

/** A place that was opened by a user chain's line, and now its base chain's line comes. */
function nameBase(pass: Pass, event: TraceEvent, book: RuleBook): void {
  if (pass.place.base !== undefined || (event.point.kind !== 'policy' && !locateKnown(book, event.point))) return;
  pass.place = locatePlace(event, book);
  if (pass.places) pass.places[pass.places.length - 1] = pass.place;
}

function ended({ point }: Pass): boolean {
  return point.kind === 'policy' || (point.kind === 'rule' && /^(accept|drop|queue|stolen)/.test(point.verdict ?? ''));
}

/** Packets of one connection may share a trace id: one that is past this place, or was dropped, is not the one. */
function mayStillMeet(pass: Pass, at: Place): boolean {
  return pass.point.verdict !== 'drop' && isLater(pass.place, at);
}

function locatePlace(event: TraceEvent, book: RuleBook): Place {
  const { family, table, chain } = event.point;
  const { hook, priority } = locate(book, { family, table, chain, in: event.via.in, out: event.via.out });
  return { hook, table, family, base: chain, priority };
}

/** Where a line without a header may stand: a user chain's was called by a base chain whose own lines are lost. */
function placesWithoutHeader(event: TraceEvent, book: RuleBook): Place[] {
  const { family, table } = event.point;
  const callers = callersOf(event, book);
  if (callers.length === 0) return [locatePlace(event, book)];
  const base = callers.length === 1 ? callers[0]?.base : undefined;
  return callers.map(({ hook, priority }) => ({ hook, table, family, base, priority }));
}

function callersOf({ point }: TraceEvent, book: RuleBook): Caller[] {
  const { family, table, chain, kind } = point;
  if (kind === 'policy' || locateKnown(book, point)) return [];
  return callersByRules(book, family, table, chain) ?? (isIptablesTable(table) ? callersByName(table, chain) : []);
}

/**
 * Where both ends were rewritten and no IP id ties the two (a RST has IP id 0, IPv6 has none), the trace id is a tie, and so is
 * a packet of the same connection that was rewritten alike.
 */
function mayFollow(pass: Pass, place: Place, header: PacketHeader, isTied: IsTied): boolean {
  const last = pass.headers.at(-1);
  if (pass.point.verdict === 'drop' || !last) return false;
  return isLater(pass.place, place) && mayBecome(last, header, isTied);
}

/** Which addresses became which, as packets seen throughout have shown. NAT does the same to all packets of a connection. */
function createTranslations() {
  const known = new Map<string, string>();
  const text = ({ protocol, tuple }: PacketHeader) =>
    `${protocol} ${tuple.src} ${tuple.sport ?? ''} ${tuple.dst} ${tuple.dport ?? ''}`;
  return {
    has: (from: PacketHeader, to: PacketHeader): boolean => known.size > 0 && known.get(text(from)) === text(to),
    learn(before: PacketHeader[], now: PacketHeader): void {
      const last = before.at(-1);
      if (!last || sameTuple(last.tuple, now.tuple)) return;
      if (known.size > OPEN_PASSES) known.clear();
      for (const header of before) known.set(text(header), text(now));
    },
  };
}

/** Later on the packet's way. Where a priority is not known, another chain of the same hook is taken to be later. */
function isLater(before: Place, now: Place): boolean {
  const known = before.priority !== undefined && now.priority !== undefined;
  const from = place(before.hook, known ? (before.priority ?? 0) : 0);
  const to = place(now.hook, known ? (now.priority ?? 0) : 0);
  if (to !== from) return to > from;
  return before.table !== now.table || before.base !== now.base || before.family !== now.family;
}

/** Open packets by key; the oldest are handed on when there are too many. */
function createOpenPasses(sink: PassSink, nextOrder: () => number) {
  const byKey = new Map<number, Pass[]>();
  const closeOldest = (count: number): void => {
    for (const [key, list] of byKey) {
      if (count-- <= 0) return;
      byKey.delete(key);
      for (const pass of list) closePass(pass, sink);
    }
  };
  return {
    find: (key: number, fits: (pass: Pass) => boolean): Pass | undefined => byKey.get(key)?.findLast(fits),
    open(event: TraceEvent, place: Place, key: number): Pass {
      const pass = newPass('nft', event, place, nextOrder());
      const list = byKey.get(key);
      if (!list) byKey.set(key, [pass]);
      else if (list.push(pass) > 8) closePass(list.shift() as Pass, sink);
      if (byKey.size > OPEN_PASSES) closeOldest(OPEN_PASSES / 2);
      return pass;
    },
    end: () => closeOldest(Number.POSITIVE_INFINITY),
  };
}
