/**
 * A packet (what each backend saw of it) -> its hops in the order they happened, with the gaps, and how the trail ends.
 */
import type { Backend, Hook, Hop, PacketHeader } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { place } from '../rules/hooks.ts';
import { OWN_TABLE } from '../rules/locate.ts';
import { UNKNOWN_MARK } from '../rules/mark.ts';
import { type Connection, isRedirect, isTranslated } from './connections.ts';
import type { Expectations, ExpectedChain } from './expect.ts';
import { type SegmentWalk, walkSegment } from './hops.ts';
import type { Packet } from './join.ts';
import { isNat, type Pass, type Segment, segmentsOf } from './pass.ts';
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

interface Placed {
  segment: Segment;
  backend: Backend;
  at: number;
}

export function followPacket(
  packet: Packet,
  header: PacketHeader,
  connection: Connection,
  context: TrailContext,
): Trail {
  const segments = inOrder(packet);
  const state = connectionState(
    segments.map(placed => placed.segment),
    context.book,
  );
  const trail: Trail = {
    hops: [],
    gaps: 0,
    mismatches: [],
    end: 'open',
    lastHook: 'prerouting',
    first: segments.some(s => isNat(s.segment)),
    conntrack: [],
  };
  let mark = UNKNOWN_MARK;
  let last = header;
  const before: Partial<Record<Backend, Placed>> = {};
  const start = startsAt(packet, segments);
  if (!start) missingBeforeStart(trail, packet, segments, header, context);
  const headerExpected = segments.some(
    ({ segment, backend }) => backend === 'nft' && segment.events[0]?.point.kind === 'packet',
  );
  for (const placed of segments) {
    const { segment, backend } = placed;
    missingBetween(trail, before[backend] ?? start, placed, segments, last, context);
    const walk = walkSegment(segment, {
      book: context.book,
      state,
      mark,
      original: connection.original,
      header: segment.header ?? last,
      sourceNames: context.sourceNames,
      headerExpected: headerExpected && backend === 'nft',
    });
    collect(trail, walk, segment);
    mark = walk.mark;
    last = segment.events.findLast(e => e.header)?.header ?? segment.header ?? last;
    before[backend] = placed;
  }
  if (dropsRedirect(header, connection, segments.at(-1), trail)) trail.end = 'drop';
  missingAtEnd(trail, before, segments, last, context);
  if (trail.first) missingNat(trail, segments, header, context);
  return trail;
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

/**
 * A new connection's first packet is shown to the nat chains of a hook until one of them translates it (nf_nat_core.c
 * nf_nat_inet_fn()): to one of them at least, and to every one of them if none did.
 */
function missingNat(trail: Trail, segments: Placed[], header: PacketHeader, context: TrailContext): void {
  for (const hook of ['prerouting', 'postrouting'] as const) {
    if (!segments.some(placed => placed.segment.hook === hook)) continue;
    const known = context.expectations
      .nat(hook)
      .filter(chain => chain.family === header.family || chain.family === 'inet');
    const seen = segments.filter(placed => placed.segment.hook === hook && isNat(placed.segment));
    const translated = trail.hops.some(
      hop => hop.hook === hook && /^(DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP)$/.test(hop.target ?? ''),
    );
    const unseen = known.filter(
      chain => !seen.some(placed => placed.backend === chain.backend && placed.segment.table === chain.table),
    );
    if (seen.length > 0 ? !translated && endsKnown(trail, hook) : true)
      for (const chain of seen.length > 0 ? unseen : unseen.slice(0, 1))
        gap(
          trail,
          chain,
          header,
          `chain ${chain.chain} of ${chain.table} sees the first packet of every connection, but its lines are missing`,
        );
  }
}

/** Without the rules, a nat chain that ended with a rule may have translated. */
function endsKnown(trail: Trail, hook: Hook): boolean {
  const nat = trail.hops.filter(hop => hop.hook === hook && (hop.table === 'nat' || /^nat-/.test(hop.chain)));
  return nat.every(hop => hop.event !== 'gap') && nat.some(hop => hop.event === 'policy');
}

function collect(trail: Trail, walk: SegmentWalk, segment: Segment): void {
  trail.hops.push(...walk.hops);
  trail.gaps += walk.gaps;
  trail.mismatches.push(...walk.mismatches);
  trail.end = walk.end;
  trail.lastHook = segment.hook;
  if (segment.conntrack !== undefined) trail.conntrack.push(segment.conntrack);
}

/** Segments of both backends by hook and priority; each backend's own order is kept where a priority is unknown. */
function inOrder(packet: Packet): Placed[] {
  const legacy = withPlaces(packet.legacy);
  const nft = withPlaces(packet.nft);
  const merged: Placed[] = [];
  while (legacy.length > 0 || nft.length > 0) {
    const a = legacy[0];
    const b = nft[0];
    merged.push((!b || (a && a.at <= b.at) ? legacy : nft).shift() as Placed);
  }
  return merged;
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

/** The mark that makes the kernel trace a packet is one for both backends: where one's lines begin, the other's must too. */
function startsAt(packet: Packet, segments: Placed[]): Placed | undefined {
  return packet.legacy && packet.nft ? segments[0] : undefined;
}

function missingBeforeStart(
  trail: Trail,
  packet: Packet,
  segments: Placed[],
  header: PacketHeader,
  context: TrailContext,
): void {
  const first = segments[0];
  const from = packet.legacy && first ? context.expectations.startOf(header, first.segment) : Number.POSITIVE_INFINITY;
  if (!first || first.at <= from) return;
  const early = first.segment.events[0]?.via.in === undefined ? 'output' : 'prerouting';
  for (const chain of context.expectations.of('legacy', header.family))
    if (chain.place >= from && chain.place < first.at && (chain.hook === early || onTheWay(chain.hook, segments)))
      gap(
        trail,
        chain,
        header,
        `the trail begins behind chain ${chain.chain} of ${chain.table}, whose lines are missing`,
      );
}

/** A chain that must have been met between two of a backend's segments, and was not, is a gap. */
function missingBetween(
  trail: Trail,
  from: Placed | undefined,
  to: Placed,
  all: Placed[],
  header: PacketHeader,
  context: TrailContext,
): void {
  if (!from || from === to) return;
  for (const chain of context.expectations.of(to.backend, header.family))
    if (chain.place > from.at && chain.place < to.at && onTheWay(chain.hook, all))
      gap(trail, chain, header, `chain ${chain.chain} of ${chain.table} was on the way, but its lines are missing`);
}

/** A packet goes through input or forward, as its other lines tell; output is the way of packets the node sends itself. */
function onTheWay(hook: Hook, all: Placed[]): boolean {
  return (
    all.some(placed => placed.segment.hook === hook) ||
    (hook === 'postrouting' && all.some(placed => placed.segment.hook === 'forward'))
  );
}

/** After the verdict that let it pass, a packet goes on to the next hook; there its first line must be. */
function missingAtEnd(
  trail: Trail,
  last: Partial<Record<Backend, Placed>>,
  all: Placed[],
  header: PacketHeader,
  context: TrailContext,
): void {
  const newest = all.at(-1);
  if (!newest) return;
  for (const backend of ['legacy', 'nft'] as const) {
    const from = last[backend];
    if (from && from !== newest) missingBetween(trail, from, { ...newest, backend }, all, header, context);
  }
  if (trail.end === 'drop' || trail.end === 'reject') return;
  if (trail.end === 'open') return;
  if (trail.end === 'unknown' && !endsByPolicy(newest.segment)) return;
  for (const backend of ['legacy', 'nft'] as const) {
    const from = last[backend] ?? (all[0] as Placed);
    if (!all.some(placed => placed.backend === backend)) continue;
    for (const chain of context.expectations.of(backend, header.family)) {
      const sure =
        chain.hook === newest.segment.hook ||
        (chain.hook === 'postrouting' && (newest.segment.hook === 'forward' || newest.segment.hook === 'output'));
      if (sure && chain.place > from.at)
        gap(trail, chain, header, `chain ${chain.chain} of ${chain.table} comes next, but its lines are missing`);
    }
  }
}

function endsByPolicy(segment: Segment): boolean {
  return segment.events.at(-1)?.point.kind === 'policy';
}

function gap(trail: Trail, chain: ExpectedChain, header: PacketHeader, text: string): void {
  trail.gaps++;
  trail.hops.push(gapHop(chain.hook, chain.table, chain.chain, chain.backend, header, text));
}

function gapHop(hook: Hook, table: string, chain: string, backend: Backend, header: PacketHeader, text: string): Hop {
  const hop: Hop = {
    hook,
    table,
    chain,
    event: 'gap',
    backend,
    family: header.family,
    tuple: header.tuple,
    depth: 0,
    evidence: [],
    text,
  };
  if (OWN_TABLE.test(table)) hop.owner = 'trace-svc';
  return hop;
}
