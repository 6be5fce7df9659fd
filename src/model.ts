/**
 * The vocabulary every other file speaks. Types only: no imports, no code.
 * Names are the field's own: hook, chain, verdict, conntrack tuple, DNAT, EndpointSlice.
 */

export type Family = 'ip' | 'ip6';
export type TableFamily = Family | 'inet';
export type Backend = 'legacy' | 'nft';
/** The five netfilter hooks of an IP packet, in the spelling of nft(8). */
export type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

/** Addresses in canonical text (IPv6 as RFC 5952), ports in host order; no ports where the protocol has none. */
export interface Tuple {
  src: string;
  sport?: number;
  dst: string;
  dport?: number;
}

export interface TcpHeader {
  /** Upper-case names, in the order SYN FIN RST PSH ACK URG ECE CWR AE, joined by a space: `SYN ACK`. */
  flags: string;
  window?: number;
  /** Only legacy lines carry these two; nft monitor does not print them. */
  seq?: number;
  ack?: number;
}

export interface IcmpHeader {
  type: number;
  code: number;
  id?: number;
  seq?: number;
  mtu?: number;
  gateway?: string;
  /** The packet an ICMP error answers, as far as the error quotes it. */
  inner?: PacketHeader;
  /** What nft's raw dump shows of the quoted packet's header: enough to know which packet is meant, not its addresses. */
  quoted?: { protocol: string; length: number; id: number };
}

/** What a packet looked like at one point of its way. Everything but `ttl` and `tuple` survives netfilter's rewrites. */
export interface PacketHeader {
  family: Family;
  /** Lower case: tcp, udp, udplite, sctp, icmp, icmpv6, or the protocol number as text. */
  protocol: string;
  tuple: Tuple;
  /** Whole IP packet in bytes (for IPv6: the payload length as the kernel prints it). */
  length?: number;
  ttl?: number;
  /** IPv4 identification, or that of an IPv6 fragment header. */
  id?: number;
  /** Fragment offset in bytes; a packet with one > 0 has no ports. */
  fragment?: number;
  tcp?: TcpHeader;
  icmp?: IcmpHeader;
  /** IPsec security parameter index of AH or ESP. */
  spi?: string;
}

export type EventKind = 'packet' | 'rule' | 'return' | 'policy' | 'conntrack';

/** Where in the rules a line was written. Lines that say the same share one, so that `id` stands for all of it. */
export interface TracePoint {
  id: number;
  backend: Backend;
  /** The table's family; an `inet` table sees packets of both. */
  family: TableFamily;
  table: string;
  chain: string;
  /**
   * `rule`: a rule matched. `return`: the end of a user chain, or an unconditional standard verdict in it.
   * `policy`: the end of a base chain, or an unconditional ACCEPT/DROP in it. `packet`: nft's header dump.
   * (kernel: net/ipv4/netfilter/ip_tables.c get_chainname_rulenum; net/netfilter/nf_tables_trace.c)
   */
  kind: EventKind;
  /** Legacy: the rule's number in its chain, from 1. */
  number?: number;
  /** nft: the rule's handle, where the line names it. */
  handle?: number;
  /** nft: the rule as the line printed it, read; its own number in the chain is not known from there (0). */
  rule?: Rule;
  /** nft: lower-case verdict with its chain: `accept`, `drop`, `jump KUBE-SERVICES`. */
  verdict?: string;
}

/** The interfaces a packet had at a hook. Shared like TracePoint. */
export interface Via {
  id: number;
  in?: string;
  out?: string;
  physIn?: string;
  physOut?: string;
}

/** One line of a trace, whichever kernel interface it came through. */
export interface TraceEvent {
  point: TracePoint;
  via: Via;
  /** Legacy: on every line. nft: on the line that dumps it. One text has one header object where lines follow each other. */
  header?: PacketHeader;
  mark?: number;
  /** nft's id of the skb. A hint only: one packet may have several, and several packets one. */
  traceId?: string;
  /** nft's conntrack line (nft 1.1.4 with kernel 6.16): the text after `conntrack:`. */
  conntrack?: string;
  /** Kernel clock in microseconds, where the line carries it exactly. */
  at?: number;
  /** Which input, and which line of it, from 1. */
  source: number;
  line: number;
}

/** Something that looks like ours and was not understood. Never dropped: counted, shown, and makes a result incomplete. */
export interface Unrecognised {
  raw: string;
  reason: string;
  source: number;
  line: number;
}

/** A sign that the kernel or a reader lost lines: `count` is undefined where only the fact is known. */
export interface Loss {
  reason: string;
  count?: number;
  source: number;
  line: number;
}

// ---- rules ---------------------------------------------------------------------------------------------------------

/**
 * One condition of a rule.
 * iptables: `kind` is `src`, `dst`, `in`, `out`, `proto`, or module and option (`tcp dport`, `mark mark`, `statistic mode`).
 * nft: `kind` is the left-hand side (`ip daddr`, `ct state`, `ip daddr . meta l4proto . th dport`), `args` the values;
 * a bit operation is in `mask`. `text` is the condition as written, for the reader.
 */
export interface Match {
  kind: string;
  args: string[];
  negated: boolean;
  mask?: string;
  text: string;
}

export interface Rule {
  /** Position in its chain, from 1, as `iptables -L --line-numbers` counts. */
  number: number;
  handle?: number;
  /** As the source printed it, without counters, handle and comment. */
  text: string;
  comment?: string;
  matches: Match[];
  /**
   * Where the rule sends the packet: an iptables target or chain. nft's statements have the iptables name where there is
   * one (ACCEPT, DROP, REJECT, RETURN, DNAT, SNAT, MASQUERADE, REDIRECT, MARK, LOG); undefined where the rule only counts.
   */
  target?: string;
  targetArgs: string[];
  goto: boolean;
  packets?: number;
  /** nft: a verdict map decides; `key` are the left-hand sides, in order, and the elements are inline or in a named map. */
  vmap?: { key: string[]; map?: string; elements?: SetElement[] };
}

export interface Chain {
  name: string;
  /** iptables: ACCEPT or DROP for builtin chains; nft: base chains. Undefined for user chains. */
  policy?: string;
  hook?: Hook;
  priority?: number;
  type?: string;
  packets?: number;
  rules: Rule[];
}

export interface SetElement {
  key: string[];
  verdict?: string;
  comment?: string;
}

export interface NamedSet {
  name: string;
  elements: SetElement[];
  timeout?: string;
  /** What it held when a packet came by is not what it held when it was listed: packets add to it, time takes from it. */
  changing?: boolean;
}

export interface Table {
  backend: Backend;
  family: Family | 'inet' | 'bridge' | 'arp' | 'netdev';
  name: string;
  chains: Map<string, Chain>;
  sets: Map<string, NamedSet>;
}

/** One snapshot: what iptables-save, ip6tables-save or `nft -a list ruleset` printed. */
export interface Ruleset {
  source: string;
  backend: Backend;
  /** True where the text itself says its flavour; false where it was taken to be legacy for want of a sign. */
  backendKnown: boolean;
  tables: Table[];
  unrecognised: { raw: string; reason: string }[];
}

// ---- other evidence ------------------------------------------------------------------------------------------------

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

export type ProbeKind = 'curl' | 'ping' | 'udp' | 'tcp';
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
  /** Who answered or complained, where the program names it (ping's `From …`). */
  from?: string;
  /** Where the question was asked more than once: how often, and where each ended. Not all need be among the journeys. */
  connections?: { total: number; endpoints: { to: string; count: number; pod?: string }[] };
}

// ---- Kubernetes objects, only what we read --------------------------------------------------------------------------

export interface ServicePort {
  name: string;
  port: number;
  protocol: string;
  targetPort?: number | string;
  nodePort?: number;
}

export interface Service {
  namespace: string;
  name: string;
  type: string;
  clusterIPs: string[];
  externalIPs: string[];
  loadBalancerIPs: string[];
  externalName?: string;
  ports: ServicePort[];
  hasSelector: boolean;
  sessionAffinity: boolean;
  affinitySeconds?: number;
  internalTrafficPolicy: string;
  externalTrafficPolicy: string;
  ipFamilies: string[];
  healthCheckNodePort?: number;
}

export interface Endpoint {
  address: string;
  port: number;
  protocol: string;
  portName: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  pod?: string;
  node?: string;
  namespace: string;
  service: string;
}

export interface Pod {
  namespace: string;
  name: string;
  ips: string[];
  node?: string;
  hostNetwork: boolean;
}

export interface KubeNode {
  name: string;
  addresses: string[];
  podCIDRs: string[];
}

export interface KubeObjects {
  services: Service[];
  endpoints: Endpoint[];
  pods: Pod[];
  nodes: KubeNode[];
}

// ---- what is reconstructed ------------------------------------------------------------------------------------------

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
  | 'SessionAffinity'
  | 'RejectedByRule'
  | 'DroppedByRule'
  | 'DroppedByKernel'
  | 'NotTranslated'
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
