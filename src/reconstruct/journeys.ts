/** Passes of all sources -> journeys: joined, followed, put into connections, with rewrites and outcomes. The whole of this folder. */
import { hostPort } from '../ip.ts';
import type { ConntrackEntry, Hop, Journey, PacketHeader, Rewrite, Tuple } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { type Connection, ConnectionTable, type Direction, type IsServer, isError } from './connections.ts';
import { createExpectations } from './expect.ts';
import { joinPasses, type Packet } from './join.ts';
import { packetLabel } from './label.ts';
import type { Pass } from './pass.ts';
import { end, findRewrites, unseenRewrite } from './rewrites.ts';
import { followPacket, type Trail } from './trail.ts';

export interface ReconstructContext {
  book: RuleBook;
  conntrack: ConntrackEntry[];
  isServer: IsServer;
  /** Does a packet that leaves by this interface reach a pod of this node? Undefined: cannot tell. */
  isPodInterface(name: string, destination: string): boolean | undefined;
  sourceNames: string[];
}

/** A journey with what only the explanation needs. */
export interface Traced {
  journey: Journey;
  header: PacketHeader;
  trail: Trail;
  connection: Connection;
  direction: Direction;
}

export interface Reconstruction {
  traced: Traced[];
  connections: Connection[];
  gaps: number;
  duplicates: number;
  /** Packets of which only lines without a header were seen: nobody can say which packet they were. */
  headless: number;
}

export function reconstruct(passes: Pass[], context: ReconstructContext): Reconstruction {
  const packets = joinPasses(passes);
  const expectations = createExpectations(passes, context.book);
  const table = new ConnectionTable(context.isServer);
  const result: Reconstruction = { traced: [], connections: table.all, gaps: 0, duplicates: 0, headless: 0 };
  for (const packet of packets) {
    result.duplicates += packet.duplicates;
    const header = packet.legacy?.header ?? packet.nft?.header;
    if (!header) {
      result.headless++;
      continue;
    }
    const { connection, direction } = table.assign({ header, tuples: tuplesOf(packet) });
    const trail = followPacket(packet, header, connection.original, { book: context.book, expectations, sourceNames: context.sourceNames });
    result.gaps += trail.gaps;
    result.traced.push(traced(packet, header, trail, connection, direction, context));
  }
  markRejected(result.traced);
  return result;
}

/** Every tuple the packet was seen with, each backend's in order. */
function tuplesOf(packet: Packet): Tuple[] {
  const tuples: Tuple[] = [];
  for (const pass of [packet.legacy, packet.nft])
    for (const segment of pass?.segments ?? [])
      for (const event of segment.events) if (event.header && tuples.at(-1) !== event.header.tuple) tuples.push(event.header.tuple);
  return tuples;
}

function traced(packet: Packet, header: PacketHeader, trail: Trail, connection: Connection, direction: Direction, context: ReconstructContext): Traced {
  const tuple = trail.hops[0]?.tuple ?? header.tuple;
  const rewrites = findRewrites(trail.hops, direction, trail.first);
  const unseen = unseenRewrite(trail.hops, rewrites);
  if (unseen) rewrites.push(completeFromEvidence(unseen, connection, context.conntrack));
  if (direction === 'reply') rewrites.push(...replyFromConntrack(trail, rewrites, connection, header, context.conntrack));
  const journey: Journey = {
    probe: -1,
    direction,
    packet: { protocol: header.protocol, family: header.family, ...tuple, label: packetLabel(header) },
    hops: trail.hops,
    rewrites,
    outcome: outcomeOf(trail, context),
    gaps: trail.gaps,
    later: !trail.first,
    connection: connection.index,
  };
  if (header.id !== undefined) journey.packet.id = header.id;
  if (header.length !== undefined) journey.packet.length = header.length;
  const at = packet.legacy?.first ?? packet.nft?.first;
  if (at !== undefined) journey.at = at;
  return { journey, header, trail, connection, direction };
}

/** A rule translated and nothing was written afterwards: conntrack knows to what, or the rule's own text does. */
function completeFromEvidence(unseen: { hop: Hop; field: 'dst' | 'src'; beforeHop: number }, connection: Connection, conntrack: ConntrackEntry[]): Rewrite {
  const { hop, field } = unseen;
  const rewrite: Rewrite = {
    field,
    from: end(hop.tuple, field),
    kind: (hop.target ?? (field === 'dst' ? 'DNAT' : 'SNAT')) as Rewrite['kind'],
    table: hop.table,
    chain: hop.chain,
    evidence: 'rule',
    beforeHop: unseen.beforeHop,
  };
  if (hop.rule !== undefined) rewrite.rule = hop.rule;
  const entry = entryOf(connection, conntrack);
  if (entry) return { ...rewrite, to: field === 'dst' ? hostPort(entry.reply.src, entry.reply.sport) : hostPort(entry.reply.dst, entry.reply.dport), evidence: 'conntrack' };
  const told = /(?:--to-destination|--to-source|dnat to|snat to) (\S+)$/.exec(hop.text ?? '')?.[1];
  return told === undefined ? rewrite : { ...rewrite, to: told };
}

/** The reply's translation happens behind the last chain that legacy lines are written at (nf_nat at postrouting, 100). */
function replyFromConntrack(trail: Trail, seen: Rewrite[], connection: Connection, header: PacketHeader, conntrack: ConntrackEntry[]): Rewrite[] {
  const entry = entryOf(connection, conntrack);
  const last = trail.hops.findLast(hop => hop.event !== 'gap')?.tuple ?? header.tuple;
  if (!entry || isError(header) || trail.lastHook !== 'postrouting' || seen.some(rewrite => rewrite.field === 'src')) return [];
  const from = end(last, 'src');
  const to = hostPort(entry.original.dst, entry.original.dport);
  if (from === to || from !== hostPort(entry.reply.src, entry.reply.sport)) return [];
  return [{ field: 'src', from, to, kind: 'DNAT', fromConnection: true, evidence: 'conntrack', beforeHop: trail.hops.length }];
}

export function entryOf(connection: Connection, conntrack: ConntrackEntry[]): ConntrackEntry | undefined {
  const { original, protocol } = connection;
  return conntrack.find(
    entry =>
      entry.protocol === protocol &&
      entry.original.src === original.src &&
      entry.original.dst === original.dst &&
      entry.original.sport === original.sport &&
      entry.original.dport === original.dport &&
      (entry.original.icmpId === undefined || connection.icmpId === undefined || entry.original.icmpId === connection.icmpId),
  );
}

function outcomeOf(trail: Trail, context: ReconstructContext): Journey['outcome'] {
  if (trail.end === 'drop') return 'dropped';
  if (trail.end === 'reject') return 'rejected';
  if (trail.end === 'open') return 'unknown';
  const last = trail.hops.findLast(hop => hop.event !== 'gap');
  if (!last || (trail.end === 'unknown' && last.event === 'rule')) return 'unknown';
  if (trail.lastHook === 'input') return 'delivered';
  if (trail.lastHook !== 'postrouting' || last.out === undefined) return 'unknown';
  return context.isPodInterface(last.out, last.tuple.dst) === true ? 'delivered' : 'left-node';
}

/** Without the rules, a line that the packet's trail ends with is a reject if the node answered that very packet with an error. */
function markRejected(traced: Traced[]): void {
  for (const answer of traced) {
    const quoted = answer.header.icmp?.inner?.id ?? answer.header.icmp?.quoted?.id;
    const fromNode = answer.trail.hops[0]?.hook === 'output';
    if (!isError(answer.header) || !fromNode || quoted === undefined || quoted === 0) continue;
    const cause = traced.find(t => t.connection === answer.connection && t.header.id === quoted && t.journey.outcome === 'unknown');
    if (cause) cause.journey.outcome = 'rejected';
  }
}
