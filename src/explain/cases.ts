/** Connections -> cases: one per probe, each connection with its packets sorted, its Service found, and its fate decided. */
import { hostPort, parseHostPort } from '../ip.ts';
import type { ConntrackEntry, Endpoint, Hop, Probe, Rewrite } from '../model.ts';
import { type Connection, isError } from '../reconstruct/connections.ts';
import { isSyn, isSynAck } from '../reconstruct/identity.ts';
import type { Reconstruction } from '../reconstruct/journeys.ts';
import { entryOf, type Traced, type TrailSummary } from '../reconstruct/traced.ts';
import type { ExplainContext, ServiceMatch } from './context.ts';
import { decideFate, type Fate } from './fate.ts';
import { chooseQuestions, type Questions } from './questions.ts';

export interface ConnectionCase {
  connection: Connection;
  requests: Traced[];
  replies: Traced[];
  /** The request the nat chains were asked for; without one, the first that was seen. */
  first: Traced | undefined;
  service: ServiceMatch | undefined;
  /** The request's destination, rewritten, and its source, if they were. */
  dnat: Rewrite | undefined;
  snat: Rewrite | undefined;
  endpoint: { address: string; port?: number; object?: Endpoint } | undefined;
  conntrack: ConntrackEntry | undefined;
  fate: Fate;
}

export interface Case {
  index: number;
  probe: Probe;
  connections: ConnectionCase[];
  /** Other questions that went just like this one, and are only counted. */
  alike: number;
}

export interface Cases extends Omit<Questions, 'chosen'> {
  cases: Case[];
}

export function buildCases(reconstruction: Reconstruction, given: Probe[], context: ExplainContext): Cases {
  // Where the pod's addresses are known, only packets that had one of them on their way were kept at all.
  const relevant = reconstruction.connections;
  const taken = new Set<Connection>();
  const packets = byConnection(reconstruction);
  const cases = given.map((probe, index): Case => {
    const repeated = given.filter(other => sameProbe(other, probe)).length > 1;
    const own = connectionsOf(probe, relevant, taken, repeated, connection => isOpened(packets.get(connection)));
    for (const connection of own) taken.add(connection);
    return {
      index,
      probe,
      connections: own.map(connection => connectionCase(connection, packets.get(connection) ?? [], probe, context)),
      alike: 0,
    };
  });
  const groups = groupByQuestion(relevant.filter(connection => !taken.has(connection)));
  const { chosen, ...rest } = chooseQuestions(groups, packets, context);
  for (const { connections: group, alike } of chosen) {
    const probe = inferredProbe(group[0] as Connection);
    const connections = group.map(connection =>
      connectionCase(connection, packets.get(connection) ?? [], probe, context),
    );
    Object.assign(probe, inferOutcome(connections));
    cases.push({ index: cases.length, probe, connections, alike });
  }
  for (const one of cases) for (const { connection } of one.connections) connection.probe = one.index;
  return { cases, ...rest };
}

function byConnection(reconstruction: Reconstruction): Map<Connection, Traced[]> {
  const packets = new Map<Connection, Traced[]>();
  for (const traced of reconstruction.traced) {
    const list = packets.get(traced.connection);
    if (list) list.push(traced);
    else packets.set(traced.connection, [traced]);
  }
  return packets;
}

function sameProbe(a: Probe, b: Probe): boolean {
  return a.kind === b.kind && a.target === b.target;
}

const PROTOCOLS: Record<Probe['kind'], string[]> = {
  curl: ['tcp'],
  tcp: ['tcp'],
  udp: ['udp'],
  // xtables-monitor prints no protocol: what has no ports and goes where ping went is its echo request.
  ping: ['icmp', 'icmpv6', 'unknown'],
  packet: [],
};

/** Several runs of one probe take a connection each, in order; a probe that ran once takes all it may have opened. */
function connectionsOf(
  probe: Probe,
  all: Connection[],
  taken: Set<Connection>,
  repeated: boolean,
  opened: (connection: Connection) => boolean,
): Connection[] {
  const target = parseHostPort(probe.target);
  const fits = all.filter(
    connection =>
      !taken.has(connection) &&
      PROTOCOLS[probe.kind].includes(connection.protocol) &&
      (target === undefined ||
        (connection.original.dst === target.address &&
          (target.port === undefined || connection.original.dport === target.port))),
  );
  const { sourcePort } = probe;
  const known = sourcePort === undefined ? [] : fits.filter(({ original }) => original.sport === sourcePort);
  if (known.length > 0) return known;
  // What goes on from before is an earlier run's, or of whoever else is in the pod; unless the opening's lines are lost.
  const begun = fits.filter(opened);
  const own = begun.length > 0 ? begun : fits;
  return repeated || target === undefined ? own.slice(0, 1) : own;
}

/** It began within the trace: its SYN was seen, or the answer to that and that the client went on. Others may have begun before. */
export function isOpened(packets: Traced[] = []): boolean {
  const requests = packets.filter(({ direction, header }) => direction === 'request' && !isError(header));
  if (requests.some(({ header }) => header.tcp === undefined || isSyn(header))) return true;
  const went = requests.some(({ header }) => !/\bRST\b/.test(header.tcp?.flags ?? ''));
  return went && packets.some(({ direction, header }) => direction === 'reply' && isSynAck(header));
}

function groupByQuestion(connections: Connection[]): Connection[][] {
  const groups = new Map<string, Connection[]>();
  for (const connection of connections) {
    const { src, dst, dport } = connection.original;
    const key = `${connection.protocol} ${src} ${dst} ${dport ?? ''}`;
    const group = groups.get(key);
    if (group) group.push(connection);
    else groups.set(key, [connection]);
  }
  return [...groups.values()];
}

function inferredProbe(connection: Connection): Probe {
  const { protocol, original } = connection;
  return {
    kind: KINDS[protocol] ?? 'packet',
    target: hostPort(original.dst, original.dport),
    outcome: 'unknown',
    detail: 'read off the trace',
    inferred: true,
  };
}

const KINDS: Record<string, Probe['kind']> = { icmp: 'ping', icmpv6: 'ping', udp: 'udp', tcp: 'tcp' };

function inferOutcome(connections: ConnectionCase[]): Pick<Probe, 'outcome' | 'detail'> {
  const fates = new Set(connections.map(connection => connection.fate.kind));
  const detail =
    connections.length > 1 ? `${connections.length} connections, read off the trace` : 'read off the trace';
  if (fates.has('answered')) return { outcome: 'answered', detail };
  if (fates.has('refused') || fates.has('rejected')) return { outcome: 'refused', detail };
  if (fates.has('unreachable')) return { outcome: 'unreachable', detail };
  return { outcome: fates.has('unknown') ? 'unknown' : 'timeout', detail };
}

/** What follows from the way of a connection's first packet: the same for all that have one summary. */
type Way = Pick<ConnectionCase, 'service' | 'dnat' | 'snat' | 'endpoint'>;

const ways = new WeakMap<TrailSummary, Way>();

function wayOf(connection: Connection, requests: Traced[], first: Traced | undefined, context: ExplainContext): Way {
  const known = first && ways.get(first.summary);
  if (known) return known;
  const dnat = rewriteOf(requests, first, 'dst');
  const way: Way = {
    service: context.names.service(connection.original.dst, connection.original.dport, connection.protocol),
    dnat,
    snat: rewriteOf(requests, first, 'src'),
    endpoint: endpointOf(dnat, context),
  };
  // A rewrite that only conntrack tells of is one connection's own.
  if (first && (dnat === undefined || dnat.evidence === 'trace')) ways.set(first.summary, way);
  return way;
}

function connectionCase(connection: Connection, own: Traced[], probe: Probe, context: ExplainContext): ConnectionCase {
  const requests = own.filter(traced => traced.direction === 'request');
  const replies = own.filter(traced => traced.direction === 'reply');
  const first = requests.find(traced => traced.summary.first) ?? requests[0];
  const conntrack = entryOf(connection, context.conntrack);
  const base = { connection, requests, replies, first, conntrack, ...wayOf(connection, requests, first, context) };
  nameEndpoint(connection, base.endpoint, context);
  return { ...base, fate: decideFate(base, probe) };
}

/** The first few packets tell; a connection is translated the same way throughout. */
function rewriteOf(requests: Traced[], first: Traced | undefined, field: 'dst' | 'src'): Rewrite | undefined {
  for (const traced of first ? [first, ...requests.slice(0, 3)] : requests.slice(0, 3)) {
    const found = traced.journey.rewrites.findLast(rewrite => rewrite.field === field);
    if (found) return found;
  }
  return undefined;
}

function endpointOf(dnat: Rewrite | undefined, context: ExplainContext): ConnectionCase['endpoint'] {
  const to = parseHostPort(dnat?.to ?? '');
  if (!to) return undefined;
  const object = context.names.endpoint(to.address, to.port);
  return object ? { ...to, object } : to;
}

function nameEndpoint(connection: Connection, endpoint: ConnectionCase['endpoint'], context: ExplainContext): void {
  if (!endpoint) return;
  const pod = context.names.pod(endpoint.address);
  const named: NonNullable<Connection['endpoint']> = { address: endpoint.address };
  if (endpoint.port !== undefined) named.port = endpoint.port;
  const name = endpoint.object?.pod ?? pod?.name;
  const node = endpoint.object?.node ?? pod?.node;
  if (name !== undefined) named.pod = name;
  if (node !== undefined) named.node = node;
  connection.endpoint = named;
}

/** The last step a packet took that is more than a gap. */
export function lastHop(traced: Traced | undefined): Hop | undefined {
  return traced?.journey.hops.findLast(hop => hop.event !== 'gap');
}
