/** What conntrack took a packet for, read off the rules that matched it: `ct state new` in a matched rule is the kernel's word. */
import type { Match, TraceEvent } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { stateNames } from '../rules/evaluate.ts';
import { isNat, type Segment } from './pass.ts';

export function connectionState(segments: Segment[], book: RuleBook): string | undefined {
  for (const segment of segments) {
    const told = segment.conntrack ? /ct state (\w+)/.exec(segment.conntrack)?.[1] : undefined;
    if (told) return told.toUpperCase();
    for (const event of segment.events) {
      const state = stateIn(event, book);
      if (state) return state;
    }
  }
  // The nat chains are asked for new connections only (net/netfilter/nf_nat_core.c nf_nat_inet_fn()).
  return segments.some(isNat) ? 'NEW' : undefined;
}

function stateIn(event: TraceEvent, book: RuleBook): string | undefined {
  if (event.point.kind !== 'rule') return undefined;
  const rule =
    event.point.rule ??
    book.chain(event.point.backend, event.point.family, event.point.table, event.point.chain)[0]?.chain.rules[
      (event.point.number ?? 0) - 1
    ];
  const match = rule?.matches.find(m => (m.kind === 'ct state' || m.kind === 'conntrack ctstate') && !m.negated);
  return match && single(match);
}

function single(match: Match): string | undefined {
  const names = stateNames(match.args.join(',')).split(',');
  return names.length === 1 && /^(NEW|ESTABLISHED|RELATED|INVALID|UNTRACKED)$/.test(names[0] ?? '')
    ? names[0]
    : undefined;
}
