/** What is gathered beside the trace: conntrack, IPVS, and what the probes' own programs saw. */
import type { NamedSet } from './rules.ts';
import type { Tuple } from './trace.ts';

export interface ConntrackEntry {
  event?: 'NEW' | 'UPDATE' | 'DESTROY';
  protocol: string;
  state?: string;
  original: Tuple & { icmpId?: number; icmpType?: number };
  reply: Tuple & { icmpId?: number; icmpType?: number };
  flags: string[];
  mark?: number;
  id?: string;
  raw: string;
}

export interface IpvsService {
  protocol: string;
  address: string;
  port: number;
  scheduler?: string;
  destinations: { address: string; port: number; forward: string; weight: number }[];
}

/** conntrack -L/-E, ipset save and ipvsadm output, read. */
export interface SideEvidence {
  conntrack: ConntrackEntry[];
  ipvs: IpvsService[];
  ipsets: NamedSet[];
}

/** `packet`: read off the trace, of another protocol, or of one the trace does not print (xtables-monitor). */
export type ProbeKind = 'curl' | 'ping' | 'udp' | 'tcp' | 'packet';
export type ProbeOutcome = 'answered' | 'refused' | 'timeout' | 'unreachable' | 'error' | 'unknown';

/** What the probe's own program saw. */
export interface Probe {
  kind: ProbeKind;
  /** `address:port` or an address. */
  target: string;
  outcome: ProbeOutcome;
  detail: string;
  durationMs?: number;
  /** True where no program reported and the outcome was read off the trace. */
  inferred?: boolean;
  httpStatus?: number;
  /** The port it was asked from, where the program tells: of all connections there, that one is the probe's. */
  sourcePort?: number;
  /** Who answered or complained, where the program names it (ping's `From …`). */
  from?: string;
  /** Where the question was asked more than once: how often, and where each ended. Not all need be among the journeys. */
  connections?: { total: number; endpoints: { to: string; count: number; pod?: string }[] };
}

/** What the node's agent told of the kernel beside netfilter. */
export interface NodeFacts {
  /** Interfaces, `all` among them, that do not pass packets on. */
  notForwarding: { ip: Set<string>; ip6: Set<string> };
  /** Interfaces, `all` among them, where the way back to a sender is checked: 1 strictly, 2 loosely. */
  rpFilters: Map<string, number>;
  conntrack: {
    count: number | undefined;
    max: number | undefined;
    /** Packets it dropped between the first rule of the trace and the last. */
    dropped: number;
  };
  /** When kube-proxy last wrote its rules, by its own metric, counted back from the trace. */
  syncedSecondsAgo: number | undefined;
}

/** A route as `ip route get` tells it. */
export interface RouteText {
  /** As `ip route get` printed it, without the address it was asked for. */
  text: string;
  dev?: string;
  via?: string;
  /** There is none: the kernel's own words. */
  error?: string;
}

/** What the node says of its way to the addresses that were asked. */
export interface Routes {
  to: Map<string, RouteText>;
  /** The same of a packet as it was seen: by `IN SRC DST`. */
  ways: Map<string, RouteText>;
  /** The port of a bridge behind which an address is. */
  ports: Map<string, { port: string; bridge: string }>;
  /** Neighbours that do not answer, with the link they were asked on. */
  unanswered: Map<string, string>;
}
