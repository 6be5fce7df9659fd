/**
 * A packet (what each backend saw of it) -> its hops in the order they happened, with the gaps, and how the trail ends.
 */
import type { Hook, Hop, PacketHeader } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { place } from '../rules/hooks.ts';
import { UNKNOWN_MARK } from '../rules/mark.ts';
import { type Connection, isRedirect, isTranslated } from './connections.ts';
import type { Expectations } from './expect.ts';
import { isOf, missingChains, type Piece, putGap } from './gaps.ts';
import { type SegmentWalk, walkSegment } from './hops.ts';
import type { Packet } from './join.ts';
import { inOrder, type Placed } from './order.ts';
import { isNat } from './pass.ts';
import { connectionState } from './state.ts';

export interface Trail {
  hops: Hop[];
  gaps: number;
  mismatches: string[];
  /** How the last base chain ended. */
  end: SegmentWalk['end'];
  lastHook: Hook;
  /** The nat chains were asked: this packet was its connection's first. */
  first: boolean;
  /** conntrack's own words, where nft prints them. */
  conntrack: string[];
}

export interface TrailContext {
  book: RuleBook;
  expectations: Expectations;
  sourceNames: string[];
}

export function followPacket(
  packet: Packet,
  header: PacketHeader,
  connection: Connection,
  context: TrailContext,
): Trail {
  const segments = inOrder(packet);
  const walks = walkAll(segments, header, connection, context);
  const trail = trailOf(segments, walks, context.expectations);
  if (dropsRedirect(header, connection, segments.at(-1), trail)) trail.end = 'drop';
  const pieces: Piece[] = walks.map((walk, i) => ({ at: (segments[i] as Placed).at, hops: walk.hops }));
  const { end, first, hops } = trail;
  const missing = missingChains({ packet, header, segments, end, first, hops, expectations: context.expectations });
  for (const one of missing) putGap(pieces, one, header);
  trail.gaps += missing.length;
  trail.hops = pieces.flatMap(piece => piece.hops);
  return trail;
}

function walkAll(
  segments: Placed[],
  header: PacketHeader,
  connection: Connection,
  context: TrailContext,
): SegmentWalk[] {
  const state = connectionState(
    segments.map(placed => placed.segment),
    context.book,
  );
  const headers = segments.some(
    ({ segment, backend }) => backend === 'nft' && segment.events[0]?.point.kind === 'packet',
  );
  let mark = UNKNOWN_MARK;
  let last = header;
  return segments.map(({ segment, backend }) => {
    const walk = walkSegment(segment, {
      book: context.book,
      state,
      mark,
      original: connection.original,
      header: segment.header ?? last,
      sourceNames: context.sourceNames,
      headerExpected: headers && backend === 'nft',
    });
    mark = walk.mark;
    last = segment.events.findLast(e => e.header)?.header ?? segment.header ?? last;
    return walk;
  });
}

function trailOf(segments: Placed[], walks: SegmentWalk[], expectations: Expectations): Trail {
  return {
    hops: walks.flatMap(walk => walk.hops),
    gaps: walks.reduce((sum, walk) => sum + walk.gaps, 0),
    mismatches: walks.flatMap((walk, i) => [...walk.mismatches, ...wentOnBehind(walk, segments, i)]),
    end: walks.at(-1)?.end ?? 'open',
    lastHook: segments.at(-1)?.segment.hook ?? 'prerouting',
    first: segments.some(placed => isNat(placed.segment) || isNatByType(placed, expectations)),
    conntrack: segments.flatMap(({ segment }) => segment.conntrack ?? []),
  };
}

/** nat chains and their tables may have any name; the rules tell. */
function isNatByType(placed: Placed, expectations: Expectations): boolean {
  const { base, hook } = placed.segment;
  return base !== undefined && expectations.nat(hook).some(chain => isOf(placed, chain));
}

/** By the rules given the packet was dropped here, and there are lines behind it: it met other rules. */
function wentOnBehind(walk: SegmentWalk, segments: Placed[], index: number): string[] {
  if (index === segments.length - 1 || (walk.end !== 'drop' && walk.end !== 'reject')) return [];
  const { table, base } = (segments[index] as Placed).segment;
  return [`the packet went on behind a rule that ends it in ${base ?? 'a chain'} of ${table}`];
}

/**
 * A redirect about a translated connection would tell the sender of an address it does not know: NAT drops it, without a
 * line, where its chains would be asked (net/netfilter/nf_nat_proto.c nf_nat_icmp_reply_translation()).
 */
function dropsRedirect(header: PacketHeader, connection: Connection, last: Placed | undefined, trail: Trail): boolean {
  if (!last || trail.end === 'open' || !isRedirect(header)) return false;
  const { hook } = last.segment;
  return (hook === 'output' || hook === 'prerouting') && last.at < place(hook, NAT_DST) && isTranslated(connection);
}

const NAT_DST = -100;
