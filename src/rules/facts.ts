/** What is known of a packet when a rule is asked, and where sets are looked up. */
import type { NamedSet, Tuple } from '../model.ts';
import type { Mark } from './mark.ts';

/** What is known of a packet at one hop. */
export interface PacketFacts {
  family: 'ip' | 'ip6';
  protocol: string;
  tuple: Tuple;
  in?: string | undefined;
  out?: string | undefined;
  physIn?: string | undefined;
  physOut?: string | undefined;
  /** Left out: all that is known of a packet whose line shows no mark, that it has none. */
  mark?: Mark | undefined;
  tcpFlags?: string | undefined;
  icmpType?: number | undefined;
  icmpCode?: number | undefined;
  /** Conntrack's view, upper case (NEW, ESTABLISHED, RELATED, …), where evidence tells it. */
  state?: string | undefined;
  /** The connection's original direction, where known. */
  original?: Tuple | undefined;
}

export type SetLookup = (name: string) => NamedSet | undefined;
