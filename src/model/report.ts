/** What is reconstructed and said: hops, journeys, findings, and the report that programs get. */
import type { Probe } from './evidence.ts';
import type { Backend, Family, Hook, Tuple } from './trace.ts';

/** One step of a packet's way. `gap`: something happened here whose line is missing. */
export interface Hop {
  hook: Hook;
  table: string;
  chain: string;
  event: 'rule' | 'return' | 'policy' | 'packet' | 'gap';
  rule?: number;
  handle?: number;
  backend: Backend;
  family: Family;
  /** The rule as its owner wrote it; for a gap, what is missing and how we know. */
  text?: string;
  comment?: string;
  /** ACCEPT, DROP, REJECT, RETURN, CONTINUE, `jump CHAIN`, `goto CHAIN`; undefined where no evidence tells. */
  verdict?: string;
  /** The rule's target as its text has it (DNAT, MARK, LOG, …): not a verdict, but what was done. */
  target?: string;
  /** For people: what this step means in Kubernetes' terms. */
  meaning?: string;
  tuple: Tuple;
  in?: string;
  out?: string;
  physIn?: string;
  physOut?: string;
  mark?: number;
  /** True where the rule text may be another rule's by now. */
  uncertain?: boolean;
  /** Depth in the jump stack; base chains have 0. */
  depth: number;
  /** Whose chain this is: kube-proxy, kubelet, CNI, Calico, trace-svc, … */
  owner?: string;
  /** `source:line` of the evidence; several where several sources saw it. */
  evidence: string[];
}

export type RewriteKind = 'DNAT' | 'SNAT' | 'MASQUERADE' | 'REDIRECT' | 'IPVS' | 'eBPF';

export interface Rewrite {
  field: 'dst' | 'src';
  from: string;
  /** Undefined where a rule is known to have rewritten, but no evidence says to what. */
  to?: string;
  kind: RewriteKind;
  table?: string;
  chain?: string;
  rule?: number;
  /** True where netfilter undid the connection's translation for a reply, or repeated it for a later packet: no rule is asked then. */
  fromConnection?: boolean;
  evidence: 'trace' | 'conntrack' | 'ipvs' | 'rule';
  /** Index of the first hop after it. */
  beforeHop: number;
}

export type JourneyOutcome = 'delivered' | 'left-node' | 'rejected' | 'dropped' | 'unknown';

export interface Journey {
  /** Index into the report's probes. */
  probe: number;
  direction: 'request' | 'reply';
  packet: {
    protocol: string;
    family: Family;
    src: string;
    sport?: number;
    dst: string;
    dport?: number;
    id?: number;
    length?: number;
    /** `SYN`, `SYN ACK`, `echo request 1`, `port unreachable`: what a person calls it. */
    label: string;
  };
  hops: Hop[];
  rewrites: Rewrite[];
  outcome: JourneyOutcome;
  endpoint?: { address: string; port?: number; pod?: string; node?: string };
  /** The port of the bridge it left by, behind which that bridge has the destination. */
  bridgePort?: string;
  /** Lines missing from this journey, as far as can be known. */
  gaps: number;
  /** Kernel clock in microseconds of the first line, where known. */
  at?: number;
  /** False for the packets the kernel gave to the nat chains: only a connection's first. */
  later: boolean;
  connection: number;
}

export type Severity = 'info' | 'warning' | 'error';

/** A pointer into the evidence: a hop of a journey, a line of a source, a conntrack tuple, an object. */
export interface Evidence {
  what: string;
  journey?: number;
  hop?: number;
  line?: string;
}

export interface Finding {
  kind: FindingKind;
  severity: Severity;
  sentence: string;
  evidence: Evidence[];
  remedy?: string;
  probe?: number;
  /** Facts the sentence was made from, for programs. */
  facts?: Record<string, string | number | boolean>;
}

export type FindingKind =
  | 'ServiceAnswered'
  | 'PingNotTranslated'
  | 'PingRejected'
  | 'PingAnsweredByNode'
  | 'PingAnswered'
  | 'NoEndpoints'
  | 'NoLocalEndpoints'
  | 'PortNotExposed'
  | 'EndpointRefused'
  | 'EndpointSilent'
  | 'ReplyLost'
  | 'Masqueraded'
  | 'Hairpin'
  | 'EndpointsPicked'
  | 'SessionAffinity'
  | 'RejectedByRule'
  | 'DroppedByRule'
  | 'DroppedByKernel'
  | 'NotTranslated'
  | 'KubeProxyBehind'
  | 'TranslatedBeforeNetfilter'
  | 'NetfilterSawNothing'
  | 'OnlyFirstPacketHitsNat'
  | 'RulesChanged'
  | 'TraceIncomplete';

/** Where two probes' packets first met different rules, and why. */
export interface Divergence {
  probes: [number, number];
  table: string;
  chain: string;
  hook: Hook;
  /** What each met there, in words. */
  first: string;
  second: string;
  /** The rule one matched and the other did not, and which of its matches failed. */
  rule?: { number?: number; text: string; failed: string[]; held: string[] };
}

export interface Report {
  apiVersion: 'trace-svc/v1alpha1';
  kind: 'ServiceTrace';
  target?: {
    namespace: string;
    service: string;
    type: string;
    port?: { name: string; number: number; protocol: string };
    clusterIPs: string[];
    endpoints: { address: string; port: number; pod?: string; node?: string; ready: boolean }[];
  };
  source: { pod?: string; namespace?: string; ip?: string; node?: string };
  node: { name?: string; kernel?: string; proxyMode?: string; backends: Backend[]; method?: string; sources: string[] };
  probes: Probe[];
  journeys: Journey[];
  divergences: Divergence[];
  findings: Finding[];
  completeness: {
    complete: boolean;
    /** Lines known to be lost; gaps that could not be counted add nothing here but make `complete` false. */
    lost: number;
    gaps: number;
    duplicates: number;
    unrecognised: { count: number; samples: { line: string; raw: string; reason: string }[] };
    reasons: string[];
    /** `rules`: every step was checked against the rules. `structure`: no rules were there to check against. */
    checkedAgainst: 'rules' | 'structure';
    events: number;
    /** Packets counted but not shown in full, because the trace is longer than what is kept. */
    packetsNotKept: number;
  };
  cleanup: { complete: boolean; removed: string[]; left?: string[] };
  notes: string[];
}
