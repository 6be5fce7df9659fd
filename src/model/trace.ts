/** What a packet and a line of its trace are. Types only, as in all of model/: no code. */
import type { Rule } from './rules.ts';

export type Family = 'ip' | 'ip6';
/** Chains of the last three stand beside the hooks of IP, at the bridge or at one interface. */
export type TableFamily = Family | 'inet' | 'bridge' | 'arp' | 'netdev';
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
