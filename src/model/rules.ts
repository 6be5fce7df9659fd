/** Rules as iptables-save and `nft -a list ruleset` print them, read. */
import type { Backend, Hook, TableFamily } from './trace.ts';

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
  family: TableFamily;
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
