/**
 * Where a packet's addresses changed, and which rule did it. A change is read off the tuples of two consecutive hops; the
 * rule is the last one of a nat chain before it. Later packets and replies are translated by the connection's entry.
 */
import { hostPort } from '../ip.ts';
import type { Hop, Rewrite, RewriteKind, Tuple } from '../model.ts';

export function findRewrites(hops: Hop[], direction: 'request' | 'reply', first: boolean): Rewrite[] {
  const rewrites: Rewrite[] = [];
  let from = 0;
  for (let at = 1; at < hops.length; at++) {
    const before = (hops[at - 1] as Hop).tuple;
    const after = (hops[at] as Hop).tuple;
    if (before === after) continue;
    for (const field of ['dst', 'src'] as const) {
      if (end(before, field) === end(after, field)) continue;
      rewrites.push(rewriteAt(hops, at, from, field, direction, first));
      from = at;
    }
  }
  return rewrites;
}

export function end(tuple: Tuple, field: 'dst' | 'src'): string {
  return field === 'dst' ? hostPort(tuple.dst, tuple.dport) : hostPort(tuple.src, tuple.sport);
}

function rewriteAt(
  hops: Hop[],
  at: number,
  since: number,
  field: 'dst' | 'src',
  direction: 'request' | 'reply',
  first: boolean,
): Rewrite {
  const before = hops[at - 1] as Hop;
  const after = hops[at] as Hop;
  const change = {
    field,
    from: end(before.tuple, field),
    to: end(after.tuple, field),
    evidence: 'trace',
    beforeHop: at,
  } as const;
  const rule = lastTranslation(hops.slice(0, at), field);
  if (rule)
    return {
      ...change,
      kind: kindOf(rule, field),
      table: rule.table,
      chain: rule.chain,
      ...(rule.rule === undefined ? {} : { rule: rule.rule }),
    };
  // IPVS takes the packet behind INPUT and sends it on from OUTPUT or POSTROUTING (net/netfilter/ipvs/ip_vs_core.c).
  const throughIpvs =
    field === 'dst' && hops.slice(since, at).some(hop => hop.hook === 'input') && after.hook !== 'input';
  if (throughIpvs) return { ...change, kind: 'IPVS' };
  return first && direction === 'request'
    ? { ...change, kind: field === 'dst' ? 'DNAT' : 'SNAT' }
    : { ...change, kind: undone(field, direction), fromConnection: true };
}

/** What the entry does to a reply undoes what was done to the request: a reply's new source is the request's old destination. */
function undone(field: 'dst' | 'src', direction: 'request' | 'reply'): RewriteKind {
  return (field === 'dst') === (direction === 'request') ? 'DNAT' : 'SNAT';
}

/** The rule that ended the nat chains of the hook where this field is translated. */
function lastTranslation(hops: Hop[], field: 'dst' | 'src'): Hop | undefined {
  return hops.findLast(hop => hop.event === 'rule' && translates(hop, field));
}

const TARGETS = { dst: /^(DNAT|REDIRECT|NETMAP)$/, src: /^(SNAT|MASQUERADE|NETMAP)$/ };

function translates(hop: Hop, field: 'dst' | 'src'): boolean {
  if (hop.target !== undefined) return TARGETS[field].test(hop.target);
  // Without rules: the last rule of a nat chain at the hook where this field can be translated.
  const place =
    field === 'dst'
      ? hop.hook === 'prerouting' || hop.hook === 'output'
      : hop.hook === 'postrouting' || hop.hook === 'input';
  return hop.text === undefined && hop.table === 'nat' && place;
}

function kindOf(hop: Hop, field: 'dst' | 'src'): RewriteKind {
  if (hop.target === 'REDIRECT' || hop.target === 'MASQUERADE' || hop.target === 'SNAT') return hop.target;
  return field === 'dst' ? 'DNAT' : 'SNAT';
}

/** A translating rule that was the last thing seen: what it did must be told by other evidence. */
export function unseenRewrite(
  hops: Hop[],
  found: Rewrite[],
): { hop: Hop; field: 'dst' | 'src'; beforeHop: number } | undefined {
  for (const field of ['dst', 'src'] as const) {
    const index = hops.findLastIndex(
      hop => hop.event === 'rule' && hop.target !== undefined && TARGETS[field].test(hop.target),
    );
    const hop = hops[index];
    if (hop && !found.some(rewrite => rewrite.field === field && rewrite.chain === hop.chain))
      return { hop, field, beforeHop: index + 1 };
  }
  return undefined;
}
