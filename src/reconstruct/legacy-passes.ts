/**
 * Kernel log lines -> passes. Every line carries the whole packet, so a line finds its packet by what survives rewriting,
 * and its place by the order of hooks and tables; lines of several CPUs and several packets may be mixed in any way.
 */
import type { PacketHeader, TraceEvent } from '../model.ts';
import { mayBecome, packetKey } from './identity.ts';
import { closePass, eventsOf, keepEvent, newPass, OPEN_PASSES, type Pass, type PassSink } from './pass.ts';
import { cutAtPlaces, NOWHERE, type Place, placeFor, rankOf, relate, samePoint } from './places.ts';
import type { Shapes } from './shape.ts';

export interface PassBuilder {
  push(event: TraceEvent): void;
  end(): void;
}

/** From so many packets on, those that go the same way are not kept line by line. */
const WELL_KNOWN = 64;

export function createLegacyPasses(sink: PassSink, nextOrder: () => number, shapes: Shapes): PassBuilder {
  let open = new Map<number, Pass[]>();
  /** The line before belonged to this pass: the next one mostly does, too. */
  let current: Pass | undefined;
  let clock = 0;
  const start = (event: TraceEvent, key: number, list: Pass[] | undefined): void => {
    const place = placeFor(event, NOWHERE);
    const pass = newPass('legacy', event, place, nextOrder());
    add(pass, event, place, false, shapes.root, shapes);
    current = pass;
    if (list) {
      list.push(pass);
      if (list.length > 8) closePass(list.shift() as Pass, sink);
      return;
    }
    open.set(key, [pass]);
    if (open.size > OPEN_PASSES) closeOldest(OPEN_PASSES / 2);
  };
  /**
   * What stays open moves to a new map. V8 chains the tables a map has outgrown, so one that is filled and emptied for long
   * keeps alive, until the next full collection, everything it ever held.
   */
  const closeOldest = (count: number): void => {
    const old = open;
    open = new Map();
    for (const [key, list] of old) {
      if (count-- <= 0) open.set(key, list);
      else for (const pass of list) closePass(pass, sink);
    }
    old.clear();
  };
  return {
    push(event) {
      const header = event.header;
      if (!header) return;
      if (event.at === undefined || event.at < clock) sink.rewound?.(event.source);
      else clock = event.at;
      if (
        current &&
        !current.closed &&
        header === current.headers[current.headers.length - 1] &&
        extend(current, event, header, shapes)
      )
        return;
      const key = packetKey(header);
      const list = open.get(key);
      const home = list && extendNewest(list, event, header, shapes);
      if (home) current = home;
      else start(event, key, list);
    },
    end() {
      closeOldest(Number.POSITIVE_INFINITY);
      current = undefined;
    },
  };
}

/** Of several packets that look alike the newest is asked first: an older one may have ended where nothing says so. */
function extendNewest(list: Pass[], event: TraceEvent, header: PacketHeader, shapes: Shapes): Pass | undefined {
  for (let i = list.length - 1; i >= 0; i--) if (extend(list[i] as Pass, event, header, shapes)) return list[i];
  return undefined;
}

/** Adds the event to the pass if it is its next line or one it has already; false if it belongs to another packet. */
function extend(pass: Pass, event: TraceEvent, header: PacketHeader, shapes: Shapes): boolean {
  const last = pass.headers[pass.headers.length - 1] as PacketHeader;
  if (last !== header && !mayBecome(last, header)) return false;
  const relation = relate(pass.place, pass, pass.newest, pass.baseNumber, event);
  const known = relation === 'before' || relation === 'again';
  if ((known || isOlder(event, pass)) && alreadySeen(pass, event)) {
    pass.duplicates++;
    return true;
  }
  if (known) return false;
  if (relation === 'base') nameBase(pass, event);
  add(
    pass,
    event,
    relation === 'after' ? placeFor(event, rankOf(pass.place)) : undefined,
    header !== last,
    pass.shape,
    shapes,
  );
  if (header !== last) pass.headers.push(header);
  return true;
}

/** The place that was opened by a user chain's line has its base chain now. */
function nameBase(pass: Pass, event: TraceEvent): void {
  pass.place = placeFor(event, NOWHERE);
  if (pass.places) pass.places[pass.places.length - 1] = pass.place;
}

/** The clock stands before the packet's newest line: a copy of the log begins, or another CPU's lines come late. */
function isOlder({ at }: TraceEvent, { newest }: Pass): boolean {
  return at !== undefined && newest !== undefined && at < newest;
}

function add(
  pass: Pass,
  event: TraceEvent,
  place: Place | undefined,
  headerChanged: boolean,
  from: Pass['shape'],
  shapes: Shapes,
): void {
  const shape = shapes.extend(from, event, headerChanged);
  const told =
    pass.events === undefined &&
    shape !== undefined &&
    shape.count > WELL_KNOWN &&
    event.line === pass.line + pass.count;
  if (!told) {
    if (pass.events === undefined && pass.count > 0) untell(pass);
    keepEvent(pass, event, place);
  }
  pass.shape = shape;
  pass.count++;
  if (place) {
    pass.place = place;
    pass.baseNumber = 0;
  }
  if (event.point.chain === pass.place.base) pass.baseNumber = event.point.number ?? 0;
  pass.point = event.point;
  pass.via = event.via;
  pass.newest = event.at;
}

/** The packet leaves the well-known way, or its lines do not follow each other: from here on they are kept, and those before. */
function untell(pass: Pass): void {
  const events = eventsOf(pass);
  const { places, starts } = cutAtPlaces(events);
  Object.assign(pass, { events, places, starts });
}

/**
 * The same line a second time: the same clock reading where the log has one, else the same packet to the last field. A
 * retransmission has another IP id, or, where it has none, is taken for a copy.
 */
function alreadySeen(pass: Pass, event: TraceEvent): boolean {
  const stamped = event.at !== undefined;
  if (stamped && pass.newest !== undefined && (event.at as number) > pass.newest) return false;
  return eventsOf(pass).some(
    known =>
      samePoint(known.point, event.point) &&
      (stamped && known.at !== undefined ? known.at === event.at : sameText(known.header, event.header)),
  );
}

/** Everything a line says of a packet, as far as it was read. */
function sameText(a: PacketHeader | undefined, b: PacketHeader | undefined): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
