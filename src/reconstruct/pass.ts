/**
 * One packet's way through one backend's chains, as one source saw it. A log of a million packets has few shapes: of the
 * packets of a well-known shape only the headers are kept, and their events are told from the shape when somebody looks.
 */
import type { Backend, PacketHeader, TraceEvent, TracePoint, Via } from '../model.ts';
import { isBesideIp } from '../rules/hooks.ts';
import { cutAtPlaces, type Place } from './places.ts';
import { type Shape, stepsTo } from './shape.ts';

/** One base chain's invocation with the chains it called. */
export interface Segment extends Place {
  events: TraceEvent[];
  /** The packet as it entered. */
  header: PacketHeader | undefined;
  /** nft 1.1.4 and kernel 6.16: conntrack's view, e.g. `ct direction original ct state new ct status dnat-done ct id 7`. */
  conntrack?: string;
}

export interface Pass {
  backend: Backend;
  /** Index of the input. */
  source: number;
  /** The headers the packet was seen with, in order; empty where no line had one. */
  headers: PacketHeader[];
  /** The newest line: where, and by which interfaces. */
  point: TracePoint;
  via: Via;
  /** The base chain it stands in, how many there were before it, and the number of the last rule met in it; legacy. */
  place: Place;
  baseNumber: number;
  /** Kernel clock of the first and the newest line. */
  first: number | undefined;
  newest: number | undefined;
  /** Number of the first line, and how many there are. */
  line: number;
  count: number;
  /** What all packets that went the same way have in common; absent where the pass was put together from several. */
  shape: Shape | undefined;
  /** The lines; undefined where they stand one behind the other and are those of a well-known shape. */
  events: TraceEvent[] | undefined;
  /** Cut at base chains: the place of each, and the index of its first event. Known whenever the events are. */
  places: Place[] | undefined;
  starts: number[] | undefined;
  traceId: string | undefined;
  /** nft's conntrack lines, by place. */
  conntrack: Map<number, string> | undefined;
  duplicates: number;
  /** Handed on: no line may be added any more. */
  closed: boolean;
  /** Order of appearance over all sources. */
  order: number;
}

export interface PassSink {
  pass(pass: Pass): void;
  /** The kernel's clock went back in this input: lines of one moment stand in it twice, or two logs behind each other. */
  rewound?(source: number): void;
}

/** Packets whose lines are still awaited. A packet's lines stand close together; what is older than this many packets is whole. */
export const OPEN_PASSES = 512;

export function newPass(backend: Backend, event: TraceEvent, place: Place, order: number): Pass {
  return {
    backend,
    source: event.source,
    headers: event.header ? [event.header] : [],
    point: event.point,
    via: event.via,
    place,
    baseNumber: 0,
    first: event.at,
    newest: event.at,
    line: event.line,
    count: 0,
    shape: undefined,
    events: undefined,
    places: undefined,
    starts: undefined,
    traceId: event.traceId,
    conntrack: undefined,
    duplicates: 0,
    closed: false,
    order,
  };
}

export function closePass(pass: Pass, sink: PassSink): void {
  pass.closed = true;
  sink.pass(pass);
}

/** Keeps a copy of the event, as the first of `place` if that is given. */
export function keepEvent(pass: Pass, event: TraceEvent, place: Place | undefined): void {
  pass.events ??= [];
  pass.places ??= [];
  pass.starts ??= [];
  if (place) {
    pass.places.push(place);
    pass.starts.push(pass.events.length);
  }
  pass.events.push({ ...event });
}

/** The events, or what the shape says they were, with this packet's headers in their places. */
export function eventsOf(pass: Pass): TraceEvent[] {
  return pass.events ?? (pass.shape ? tellEvents(pass, pass.shape) : []);
}

function tellEvents(pass: Pass, shape: Shape): TraceEvent[] {
  let header = 0;
  return stepsTo(shape).map((step, i): TraceEvent => {
    if (step.headerChanged) header++;
    const event: TraceEvent = { point: step.point, via: step.via, source: pass.source, line: pass.line + i };
    event.header = pass.headers[header] as PacketHeader;
    if (step.mark !== undefined) event.mark = step.mark;
    if (i === 0 && pass.first !== undefined) event.at = pass.first;
    return event;
  });
}

export function segmentsOf(pass: Pass): Segment[] {
  const events = eventsOf(pass);
  const { places, starts } =
    pass.places && pass.starts ? { places: pass.places, starts: pass.starts } : cutAtPlaces(events);
  return places.map((place, i) => {
    const own = events.slice(starts[i], starts[i + 1]);
    const segment: Segment = { ...place, events: own, header: own[0]?.header };
    const conntrack = pass.conntrack?.get(i);
    if (conntrack !== undefined) segment.conntrack = conntrack;
    return segment;
  });
}

/** Puts a pass together again from segments, after two were merged. */
export function setSegments(pass: Pass, segments: Segment[]): void {
  pass.places = segments.map(({ hook, table, family, base, priority }) => ({ hook, table, family, base, priority }));
  pass.place = pass.places.at(-1) ?? pass.place;
  pass.starts = [];
  let at = 0;
  for (const segment of segments) {
    pass.starts.push(at);
    at += segment.events.length;
  }
  pass.events = segments.flatMap(segment => segment.events);
  const headers = pass.events.flatMap(event => event.header ?? []);
  pass.headers = headers.filter((header, i) => header !== headers[i - 1]);
  pass.count = pass.events.length;
  pass.shape = undefined;
}

/** The base chains it came through, in order. */
export function placesOf(pass: Pass): Place[] {
  return pass.places ?? cutAtPlaces(eventsOf(pass)).places;
}

/** nat chains are asked for a connection's first packet only. */
export function isNat(place: Place): boolean {
  if (isBesideIp(place.family)) return false;
  return place.table === 'nat' || (place.base !== undefined && /^nat-/.test(place.base));
}
