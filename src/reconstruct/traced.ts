/**
 * A packet with its place in a connection. What is needed of every packet is kept; its hops are worked out when somebody
 * looks, for most packets of a long trace are only counted.
 */
import { hostPort } from '../ip.ts';
import type { ConntrackEntry, Hook, Hop, Journey, JourneyOutcome, PacketHeader, Rewrite, Tuple } from '../model.ts';
import { type Assigned, type Connection, type Direction, isError } from './connections.ts';
import type { Packet } from './join.ts';
import { packetLabel } from './label.ts';
import { eventsOf, type Pass } from './pass.ts';
import { end, findRewrites, unseenRewrite } from './rewrites.ts';
import { followPacket, type Trail, type TrailContext } from './trail.ts';

/** What follows from a trail without its hops. */
export interface TrailSummary {
  gaps: number;
  end: Trail['end'];
  firstHook: Hook;
  lastHook: Hook;
  /** The nat chains were asked: this packet was its connection's first. */
  first: boolean;
  mismatches: string[];
  outcome: JourneyOutcome;
}

export function summarise(packet: Packet, header: PacketHeader, trail: Trail, context: TracedContext): TrailSummary {
  const { gaps, end, lastHook, first, mismatches, hops } = trail;
  const summary = { gaps, end, firstHook: hops[0]?.hook ?? 'prerouting', lastHook, first, mismatches } as const;
  return { ...summary, outcome: outcomeOf(packet, header, summary, context) };
}

export interface TracedContext {
  conntrack: ConntrackEntry[];
  /** Does a packet that leaves by this interface reach a pod of this node? Undefined: cannot tell. */
  isPodInterface(name: string, destination: string): boolean | undefined;
  /** Called once for every journey that is looked at: adds what its hops mean. */
  annotate(journey: Journey): void;
}

export class Traced {
  outcome: JourneyOutcome;
  private made: Journey | undefined;
  private followed: Trail | undefined;
  readonly packet: Packet;
  readonly header: PacketHeader;
  readonly connection: Connection;
  readonly direction: Direction;
  readonly summary: TrailSummary;
  private readonly trails: TrailContext;
  private readonly context: TracedContext;

  constructor(
    packet: Packet,
    header: PacketHeader,
    { connection, direction }: Assigned,
    summary: TrailSummary,
    trails: TrailContext,
    context: TracedContext,
  ) {
    this.outcome = summary.outcome;
    this.made = undefined;
    this.followed = undefined;
    this.packet = packet;
    this.header = header;
    this.connection = connection;
    this.direction = direction;
    this.summary = summary;
    this.trails = trails;
    this.context = context;
  }

  get trail(): Trail {
    this.followed ??= followPacket(this.packet, this.header, this.connection, this.trails);
    return this.followed;
  }

  /** What a person calls the packet. */
  get label(): string {
    return packetLabel(this.header);
  }

  get journey(): Journey {
    if (!this.made) {
      this.made = this.build();
      this.context.annotate(this.made);
    }
    this.made.outcome = this.outcome;
    this.made.probe = this.connection.probe;
    if (this.connection.endpoint) this.made.endpoint = this.connection.endpoint;
    return this.made;
  }

  private build(): Journey {
    const { trail, header, direction, connection } = this;
    const tuple = trail.hops[0]?.tuple ?? header.tuple;
    const journey: Journey = {
      probe: connection.probe,
      direction,
      packet: { protocol: header.protocol, family: header.family, ...tuple, label: this.label },
      hops: trail.hops,
      rewrites: this.rewrites(trail),
      outcome: this.outcome,
      gaps: trail.gaps,
      later: !trail.first,
      connection: connection.index,
    };
    if (header.id !== undefined) journey.packet.id = header.id;
    if (header.length !== undefined) journey.packet.length = header.length;
    const at = this.packet.legacy?.first ?? this.packet.nft?.first;
    if (at !== undefined) journey.at = at;
    return journey;
  }

  private rewrites(trail: Trail): Rewrite[] {
    const { connection, direction, header } = this;
    const rewrites = findRewrites(trail.hops, direction, trail.first);
    const unseen = unseenRewrite(trail.hops, rewrites);
    const entry = entryOf(connection, this.context.conntrack);
    const told = unseen && completeFromEvidence(unseen, entry);
    if (told && told.to !== told.from && !rewrites.some(r => r.field === told.field && r.to === told.to))
      rewrites.push(told);
    if (direction === 'reply') rewrites.push(...replyFromConntrack(trail, rewrites, entry, header));
    return rewrites;
  }
}

const ORDER: Hook[] = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

/** The pass that was written last: the one that reached the later hook, nft's own chains being the last of a hook. */
function lastPass({ legacy, nft }: Packet): Pass | undefined {
  if (!legacy || !nft) return legacy ?? nft;
  const rank = (pass: Pass) => ORDER.indexOf(pass.place.hook);
  return rank(legacy) > rank(nft) ? legacy : nft;
}

function outcomeOf(
  packet: Packet,
  header: PacketHeader,
  summary: Omit<TrailSummary, 'outcome'>,
  context: TracedContext,
): JourneyOutcome {
  if (summary.end === 'drop') return 'dropped';
  if (summary.end === 'reject') return 'rejected';
  const pass = lastPass(packet);
  if (summary.end === 'open' || !pass) return 'unknown';
  // Without rules, the last line may be that of a rule that dropped the packet.
  if (summary.end === 'unknown' && pass.point.kind === 'rule') return 'unknown';
  if (summary.lastHook === 'input') return 'delivered';
  const out = eventsOf(pass).findLast(event => event.via.out !== undefined)?.via.out;
  if (summary.lastHook !== 'postrouting' || out === undefined) return 'unknown';
  const to = pass.headers.at(-1)?.tuple.dst ?? header.tuple.dst;
  return context.isPodInterface(out, to) === true ? 'delivered' : 'left-node';
}

/** A rule translated and nothing was written afterwards: conntrack knows to what, or the rule's own text does. */
function completeFromEvidence(
  unseen: { hop: Hop; field: 'dst' | 'src'; beforeHop: number },
  entry: ConntrackEntry | undefined,
): Rewrite {
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
  if (entry)
    return {
      ...rewrite,
      to: field === 'dst' ? hostPort(entry.reply.src, entry.reply.sport) : hostPort(entry.reply.dst, entry.reply.dport),
      evidence: 'conntrack',
    };
  const told = /(?:--to-destination|--to-source|dnat to|snat to) (\S+)$/.exec(hop.text ?? '')?.[1] ?? onlyChoice(hop);
  return told === undefined ? rewrite : { ...rewrite, to: told };
}

/** kube-proxy 1.34 and newer draw lots in the rule that translates; of one endpoint it is known which. */
function onlyChoice({ text = '' }: Hop): string | undefined {
  const [, address, port] = /numgen \w+ mod 1 map \{ 0 : (\S+) \. (\d{1,5}) \}/.exec(text) ?? [];
  return address === undefined ? undefined : hostPort(address, Number(port));
}

/** The reply's translation happens behind the last chain that legacy lines are written at (nf_nat at postrouting, 100). */
function replyFromConntrack(
  trail: Trail,
  seen: Rewrite[],
  entry: ConntrackEntry | undefined,
  header: PacketHeader,
): Rewrite[] {
  const last = trail.hops.findLast(hop => hop.event !== 'gap')?.tuple ?? header.tuple;
  if (!entry || isError(header) || trail.lastHook !== 'postrouting' || seen.some(rewrite => rewrite.field === 'src'))
    return [];
  const from = end(last, 'src');
  const to = hostPort(entry.original.dst, entry.original.dport);
  if (from === to || from !== hostPort(entry.reply.src, entry.reply.sport)) return [];
  return [
    { field: 'src', from, to, kind: 'DNAT', fromConnection: true, evidence: 'conntrack', beforeHop: trail.hops.length },
  ];
}

export function entryOf(connection: Connection, conntrack: ConntrackEntry[]): ConntrackEntry | undefined {
  const { original, protocol, icmpId } = connection;
  return indexOf(conntrack)
    .get(entryKey(protocol, original))
    ?.find(({ original: { icmpId: id } }) => id === undefined || icmpId === undefined || id === icmpId);
}

const indexes = new WeakMap<ConntrackEntry[], Map<string, ConntrackEntry[]>>();

/** A busy node has a hundred thousand entries, and every connection of a trace asks for its own. */
function indexOf(conntrack: ConntrackEntry[]): Map<string, ConntrackEntry[]> {
  const known = indexes.get(conntrack);
  if (known) return known;
  const index = new Map<string, ConntrackEntry[]>();
  for (const entry of conntrack) {
    const key = entryKey(entry.protocol, entry.original);
    const list = index.get(key);
    if (list) list.push(entry);
    else index.set(key, [entry]);
  }
  indexes.set(conntrack, index);
  return index;
}

function entryKey(protocol: string, { src, sport, dst, dport }: Tuple): string {
  return `${protocol} ${src} ${sport ?? ''} ${dst} ${dport ?? ''}`;
}
