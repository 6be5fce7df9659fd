/** One packet's way through one backend's chains, as one source saw it: the events of a packet, cut at base chains. */
import type { Backend, Hook, PacketHeader, TableFamily, TraceEvent } from '../model.ts';

/** One base chain's invocation with the chains it called. */
export interface Segment {
  hook: Hook;
  table: string;
  family: TableFamily;
  /** The base chain, or undefined where its own lines are missing. */
  base: string | undefined;
  priority: number | undefined;
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
  header: PacketHeader | undefined;
  /** The newest header, after the rewrites seen so far. */
  last: PacketHeader | undefined;
  segments: Segment[];
  traceId?: string;
  /** Kernel clock of the first and the newest line. */
  first: number | undefined;
  newest: number | undefined;
  duplicates: number;
  /** Order of appearance over all sources. */
  order: number;
}

export interface PassSink {
  pass(pass: Pass): void;
}

/** Packets whose lines are still awaited. A packet's lines stand close together; what is older than this many packets is whole. */
export const OPEN_PASSES = 1024;

export function eventCount(pass: Pass): number {
  return pass.segments.reduce((sum, segment) => sum + segment.events.length, 0);
}

/** nat chains are asked for a connection's first packet only. */
export function isNat(segment: Segment): boolean {
  return segment.table === 'nat' || (segment.base !== undefined && /^nat-/.test(segment.base));
}
