/** Passes of all sources -> traced packets: joined, put into connections, checked. The whole of this folder. */
import type { PacketHeader, Tuple } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import {
  type Assigned,
  type Connection,
  ConnectionTable,
  type Direction,
  type IsServer,
  isError,
} from './connections.ts';
import { createExpectations } from './expect.ts';
import { joinPasses, type Packet } from './join.ts';
import type { Pass } from './pass.ts';
import { summarise, Traced, type TracedContext, type TrailSummary } from './traced.ts';
import { followPacket, type TrailContext } from './trail.ts';

export interface ReconstructContext extends TracedContext {
  book: RuleBook;
  isServer: IsServer;
  sourceNames: string[];
}

export interface Reconstruction {
  traced: Traced[];
  connections: Connection[];
  gaps: number;
  duplicates: number;
  /** Packets of which only lines without a header were seen: nobody can say which packet they were. */
  headless: number;
}

/** @param mayRepeat false where every packet surely stands among the passes once */
export function reconstruct(passes: Pass[], mayRepeat: boolean, context: ReconstructContext): Reconstruction {
  const table = new ConnectionTable(context.isServer);
  const result: Reconstruction = { traced: [], connections: table.all, gaps: 0, duplicates: 0, headless: 0 };
  const trails: TrailContext = {
    book: context.book,
    expectations: createExpectations(passes, context.book),
    sourceNames: context.sourceNames,
  };
  const summaries = createSummaries(context, trails);
  for (const packet of joinPasses(passes, mayRepeat)) {
    result.duplicates += packet.duplicates;
    const header = packet.legacy?.headers[0] ?? packet.nft?.headers[0];
    if (!header) {
      result.headless++;
      continue;
    }
    const assigned = table.assign({ header, tuples: tuplesOf(packet) });
    const summary = summaries(packet, header, assigned);
    result.gaps += summary.gaps;
    result.traced.push(new Traced(packet, header, assigned, summary, trails, context));
  }
  markRejected(result.traced);
  return result;
}

/** Every tuple the packet was seen with, each backend's in order. */
function tuplesOf({ legacy, nft }: Packet): Tuple[] {
  const headers = legacy && nft ? [...legacy.headers, ...nft.headers] : ((legacy ?? nft)?.headers ?? []);
  return headers.map(header => header.tuple);
}

interface Remembered {
  protocol: string;
  kind: string | number;
  first: Tuple;
  last: Tuple;
  original: Tuple;
  direction: Direction;
  summary: TrailSummary;
}

const MOST_OF_A_SHAPE = 16;

/**
 * Packets of one shape with the same ends have the same summary. The client's port, which every connection has another of,
 * counts only where a rule looks at it.
 */
function createSummaries(context: ReconstructContext, trails: TrailContext) {
  const known = new Map<number, Remembered[]>();
  const withPort = context.book.asksSourcePorts;
  return (packet: Packet, header: PacketHeader, { connection, direction }: Assigned): TrailSummary => {
    const { legacy, nft } = packet;
    const shape = shapeOf(packet);
    const list = shape === undefined ? [] : (known.get(shape) ?? []);
    const kind = header.tcp?.flags ?? (header.icmp ? header.icmp.type * 256 + header.icmp.code : 0);
    const first = header.tuple;
    const last = (nft ?? legacy)?.headers.at(-1)?.tuple ?? first;
    const { original } = connection;
    const found = list.find(
      r =>
        r.kind === kind &&
        r.direction === direction &&
        r.protocol === header.protocol &&
        alike(r.first, first, direction, withPort) &&
        alike(r.last, last, direction, withPort) &&
        r.original.src === original.src &&
        r.original.dst === original.dst,
    );
    if (found) return found.summary;
    const summary = summarise(packet, header, followPacket(packet, header, connection, trails), context);
    if (shape !== undefined && list.length < MOST_OF_A_SHAPE) {
      list.push({ protocol: header.protocol, kind, first, last, original, direction, summary });
      known.set(shape, list);
    }
    return summary;
  };
}

/** Both backends' shapes as one number; undefined where a pass has none. */
function shapeOf({ legacy, nft }: Packet): number | undefined {
  if ((legacy && !legacy.shape) || (nft && !nft.shape)) return undefined;
  return ((legacy?.shape?.id ?? -1) + 1) * 65_536 + (nft?.shape?.id ?? -1) + 1;
}

function alike(a: Tuple, b: Tuple, direction: Direction, withPort: boolean): boolean {
  if (a.src !== b.src || a.dst !== b.dst) return false;
  if (withPort) return a.sport === b.sport && a.dport === b.dport;
  return direction === 'request' ? a.dport === b.dport : a.sport === b.sport;
}

/**
 * The node answered that very packet with an error, and the trail ends with a rule of which nothing else is known, or which
 * nft says dropped it: then that rule rejects. Where the last line is one that lets the packet go on, the rule's is missing.
 */
function markRejected(traced: Traced[]): void {
  for (const answer of traced) {
    if (answer.summary.firstHook !== 'output' || !isError(answer.header)) continue;
    const quoted = answer.header.icmp?.inner?.id ?? answer.header.icmp?.quoted?.id;
    if (quoted === undefined || quoted === 0) continue;
    const cause = traced.findLast(
      t => t.connection === answer.connection && t.header.id === quoted && mayHaveRejected(t),
    );
    if (cause) cause.outcome = 'rejected';
  }
}

function mayHaveRejected({ outcome, trail }: Traced): boolean {
  const last = trail.hops.findLast(hop => hop.event !== 'gap');
  if (last?.event !== 'rule') return false;
  return (outcome === 'unknown' && last.verdict === undefined) || (outcome === 'dropped' && last.text === undefined);
}
