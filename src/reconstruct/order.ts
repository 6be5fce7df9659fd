/**
 * What both backends saw of a packet, in the one order it happened in: by hook, then by priority. A chain that ended the
 * packet is the last one of its hook, whatever its priority: nothing is asked behind a drop.
 */
import type { Backend } from '../model.ts';
import { isBesideIp, place } from '../rules/hooks.ts';
import type { Packet } from './join.ts';
import { type Pass, type Segment, segmentsOf } from './pass.ts';

export interface Placed {
  segment: Segment;
  backend: Backend;
  /** Where it stands on the packet's way; where the priority is unknown, not before this. */
  at: number;
}

/** Each backend's own order is kept; it is the order its lines were written in. */
export function inOrder(packet: Packet): Placed[] {
  const legacy = withPlaces(packet.legacy);
  const nft = withPlaces(packet.nft);
  const merged: Placed[] = [];
  let highest = Number.NEGATIVE_INFINITY;
  while (legacy.length > 0 || nft.length > 0) {
    const next = (legacyIsNext(legacy, nft) ? legacy : nft).shift() as Placed;
    if (next.segment.priority === undefined) next.at = Math.max(next.at, highest);
    highest = Math.max(highest, next.at);
    merged.push(next);
  }
  return merged;
}

function legacyIsNext([a, ...moreLegacy]: Placed[], [b]: Placed[]): boolean {
  if (!a || !b) return a !== undefined;
  // It is there only where it ended the packet.
  if (isBesideIp(b.segment.family)) return true;
  const hooks = place(a.segment.hook, 0) - place(b.segment.hook, 0);
  if (hooks !== 0) return hooks < 0;
  if (drops(b.segment)) return true;
  // Of two chains with one priority, the one that let the packet pass cannot have come behind the one that ended it.
  if (a.at === b.at) return moreLegacy.length > 0 || !mayDrop(a.segment);
  return a.at < b.at;
}

/** nft's own word for it. */
function drops(segment: Segment): boolean {
  return segment.events.at(-1)?.point.verdict === 'drop';
}

/** A legacy line does not say what its rule did; only an end by policy or return surely is none. */
function mayDrop(segment: Segment): boolean {
  return segment.events.at(-1)?.point.kind === 'rule';
}

function withPlaces(pass: Pass | undefined): Placed[] {
  let highest = Number.NEGATIVE_INFINITY;
  return (pass ? segmentsOf(pass) : []).map(segment => {
    highest = Math.max(highest, place(segment.hook, segment.priority ?? -10_000));
    return {
      segment,
      backend: (pass as Pass).backend,
      at: segment.priority === undefined ? highest : place(segment.hook, segment.priority),
    };
  });
}
