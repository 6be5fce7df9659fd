/** What conntrack took a packet for, read off the rules that matched it: `ct state new` in a matched rule is the kernel's word. */
import type { Match, Rule, TraceEvent } from '../model.ts';
import type { RuleBook } from '../rules/book.ts';
import { isNotrack } from '../rules/effect.ts';
import { stateNames } from '../rules/evaluate.ts';
import { isNat, type Segment } from './pass.ts';

export function connectionState(segments: Segment[], book: RuleBook): string | undefined {
  for (const segment of segments) {
    const told = segment.conntrack ? /ct state (\w+)/.exec(segment.conntrack)?.[1] : undefined;
    if (told) return told.toUpperCase();
    for (const event of segment.events) {
      const rule = ruleOf(event, book);
      if (rule && isNotrack(rule)) return 'UNTRACKED';
      const state = rule && stateIn(rule);
      if (state) return state;
    }
  }
  // The nat chains are asked for new connections only (net/netfilter/nf_nat_core.c nf_nat_inet_fn()).
  return segments.some(isNat) ? 'NEW' : undefined;
}

function ruleOf({ point }: TraceEvent, book: RuleBook): Rule | undefined {
  if (point.kind !== 'rule') return undefined;
  const [listed] = book.chain(point.backend, point.family, point.table, point.chain);
  return point.rule ?? listed?.chain.rules[(point.number ?? 0) - 1];
}

function stateIn(rule: Rule): string | undefined {
  const match = rule.matches.find(m => (m.kind === 'ct state' || m.kind === 'conntrack ctstate') && !m.negated);
  return match && single(match);
}

function single(match: Match): string | undefined {
  const names = stateNames(match.args.join(',')).split(',');
  return names.length === 1 && /^(NEW|ESTABLISHED|RELATED|INVALID|UNTRACKED)$/.test(names[0] ?? '')
    ? names[0]
    : undefined;
}
