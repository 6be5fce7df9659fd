/**
 * The rule that came nearest to matching, and what of it failed: for a packet that left a chain without a match. Only
 * conditions that can be evaluated count; a rule with an unknown condition is never called near for what is unknown.
 */
import type { Hop, PacketHeader, Rule } from '../model.ts';
import { protocolName } from '../protocols.ts';
import type { ChainRef } from '../rules/book.ts';
import { evaluateRule, type PacketFacts } from '../rules/evaluate.ts';
import { exactMark, UNKNOWN_MARK } from '../rules/mark.ts';
import type { ExplainContext } from './context.ts';

export interface Nearest {
  chain: string;
  table: string;
  number?: number;
  text: string;
  held: string[];
  failed: string[];
  comment?: string;
}

export function factsAt(hop: Hop, header: PacketHeader): PacketFacts {
  return {
    family: hop.family,
    protocol: header.protocol,
    tuple: hop.tuple,
    in: hop.in,
    out: hop.out,
    mark: hop.mark === undefined && hop.backend === 'nft' ? UNKNOWN_MARK : exactMark(hop.mark ?? 0),
    tcpFlags: header.tcp?.flags,
    icmpType: header.icmp?.type,
    icmpCode: header.icmp?.code,
    state: 'NEW',
  };
}

/** Among the rules of kube-proxy's Service chains that name the packet's destination. */
export function nearestServiceRule(hop: Hop, header: PacketHeader, context: ExplainContext): Nearest | undefined {
  const facts = factsAt(hop, header);
  const refs = [
    ...context.book.chain(hop.backend, hop.family, 'nat', 'KUBE-SERVICES'),
    ...context.book.chain('nft', hop.family, 'kube-proxy', 'services'),
    ...context.book.chain('nft', hop.family, 'nat', 'KUBE-SERVICES'),
    ...context.book.chain('legacy', hop.family, 'nat', 'KUBE-SERVICES'),
  ];
  for (const ref of refs) {
    const found = nearestIn(ref, facts, context);
    if (found) return found;
  }
  return undefined;
}

function nearestIn(ref: ChainRef, facts: PacketFacts, context: ExplainContext): Nearest | undefined {
  let best: Nearest | undefined;
  for (const rule of ref.chain.rules) {
    const near = rule.vmap ? nearElement(ref, rule, facts, context) : nearRule(ref, rule, facts, context);
    if (near && (!best || near.failed.length < best.failed.length)) best = near;
  }
  return best;
}

/** A rule that leads to a Service. Others in the same chain only mark, and would not have translated the packet. */
const TO_SERVICE = /^KUBE-(SVC|SVL|EXT|XLB|FW)-/;

/** A rule for the packet's destination address that something else kept from matching. */
function nearRule(ref: ChainRef, rule: Rule, facts: PacketFacts, context: ExplainContext): Nearest | undefined {
  if (!TO_SERVICE.test(rule.target ?? '')) return undefined;
  const { conditions } = evaluateRule(rule, facts, context.book.sets(ref.table));
  const address = conditions.find(c => c.kind === 'dst' || c.kind === 'ip daddr' || c.kind === 'ip6 daddr');
  const failed = conditions.filter(c => c.result === false);
  if (address?.result !== true || failed.length === 0) return undefined;
  const near: Nearest = {
    chain: ref.chain.name,
    table: ref.table.name,
    number: rule.number,
    text: rule.text,
    held: conditions.filter(c => c.result === true).map(c => c.text),
    failed: failed.map(c => c.text),
  };
  if (rule.comment !== undefined) near.comment = rule.comment;
  return near;
}

/** An element of kube-proxy's service-ips map with the packet's address and another protocol or port. */
function nearElement(ref: ChainRef, rule: Rule, facts: PacketFacts, context: ExplainContext): Nearest | undefined {
  const key = rule.vmap?.key ?? [];
  const address = key.findIndex(part => part === 'ip daddr' || part === 'ip6 daddr');
  const set = rule.vmap?.map === undefined ? undefined : context.book.sets(ref.table)(rule.vmap.map);
  const element = set?.elements.find(e => address >= 0 && e.key[address] === facts.tuple.dst);
  if (!element) return undefined;
  const parts = key.map((part, i) => ({
    text: `${part} ${element.key[i]}`,
    holds: partHolds(part, element.key[i] ?? '', facts),
  }));
  return {
    chain: ref.chain.name,
    table: ref.table.name,
    number: rule.number,
    text: `@${rule.vmap?.map}: ${element.key.join(' . ')} : ${element.verdict ?? ''}`,
    held: parts.filter(part => part.holds).map(part => part.text),
    failed: parts.filter(part => part.holds === false).map(part => part.text),
  };
}

function partHolds(part: string, value: string, facts: PacketFacts): boolean | undefined {
  if (part === 'meta l4proto') return facts.protocol === 'unknown' ? undefined : protocolName(value) === facts.protocol;
  if (part === 'th dport') return Number(value) === facts.tuple.dport;
  return value === facts.tuple.dst;
}
