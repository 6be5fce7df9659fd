/**
 * Which rule is meant by a line of the trace? Legacy lines give a number, nft monitor a text, xtables-monitor a handle.
 * A snapshot answers for the moment it was taken; where it cannot be the rule the packet met, the answer says so.
 */
import type { Chain, Rule, Table, TraceEvent } from '../model.ts';
import { type ChainRef, isNftText, type RuleBook } from './book.ts';
import { type Effect, effectOf, effectOfVerdict, policyEffect } from './effect.ts';
import { evaluateRule, type PacketFacts } from './evaluate.ts';
import { likeNftRule, sameAcrossSyntax, sameNftRule } from './same.ts';

export interface Resolved {
  effect: Effect;
  /** The snapshot's chain, where there is one. */
  chain?: Chain;
  table?: Table;
  /** The rule, from the snapshot or else from the line itself. */
  rule?: Rule;
  /** Position in the chain; for the end of a chain one more than its rules. */
  number?: number;
  /** The snapshot does not fit what the trace says: the rules changed, or the snapshot is another node's. */
  mismatch?: string;
}

/** @param after the number of the rule last met in this chain, 0 at its start. */
export function resolve(event: TraceEvent, book: RuleBook, facts: PacketFacts, after: number): Resolved {
  const refs = book.chain(event.point.backend, event.point.family, event.point.table, event.point.chain);
  return event.point.backend === 'legacy' ? resolveNumber(event, refs, book, facts) : resolveText(event, refs, after);
}

function resolveNumber(event: TraceEvent, refs: ChainRef[], book: RuleBook, facts: PacketFacts): Resolved {
  const number = event.point.number ?? 0;
  const answers = refs.map(ref => numberIn(ref, event, number, facts, book));
  const fitting = answers.find(answer => answer.mismatch === undefined) ?? answers[0];
  return fitting ?? { effect: effectByKind(event), number };
}

/** Without rules, the kind of line is all there is: a rule that matched may have done anything. */
function effectByKind(event: TraceEvent): Effect {
  return event.point.kind === 'return' ? { kind: 'return' } : { kind: 'unknown' };
}

function numberIn(ref: ChainRef, event: TraceEvent, number: number, facts: PacketFacts, book: RuleBook): Resolved {
  const { chain, table } = ref;
  const base: Resolved = { effect: effectByKind(event), chain, table, number };
  const rule = chain.rules[number - 1];
  if (event.point.kind === 'rule') {
    if (!rule) return { ...base, mismatch: `chain ${chain.name} has no rule ${number} in the rules given` };
    const surelyNot = evaluateRule(rule, facts, book.sets(table)).result === false;
    if (!surelyNot) return { ...base, rule, effect: effectOf(rule, table) };
    return { ...base, ...notThis(rule, chain, number) };
  }
  return { ...base, ...endOfChain(event, chain, table, number) };
}

/** Another rule had that number when the packet came by: what this one does, and for whom it was made, is not what happened. */
function notThis({ target: _, comment: __, ...rule }: Rule, chain: Chain, number: number): Partial<Resolved> {
  return { rule, mismatch: `rule ${number} of ${chain.name} in the rules given cannot match this packet` };
}

/** `return:N` and `policy:N`: the chain's end if N is behind its last rule, else an unconditional rule (ip_tables.c). */
function endOfChain(event: TraceEvent, chain: Chain, table: Table, number: number): Partial<Resolved> {
  const length = chain.rules.length;
  const effect: Effect = event.point.kind === 'return' ? { kind: 'return' } : policyEffect(chain);
  if (number === length + 1) return { effect };
  const rule = chain.rules[number - 1];
  if (rule && rule.matches.length === 0 && /^(ACCEPT|DROP|RETURN)$/.test(rule.target ?? ''))
    return { effect: effectOf(rule, table), rule };
  return {
    effect,
    mismatch: `chain ${chain.name} ends at ${number} in the trace and at ${length + 1} in the rules given`,
  };
}

function resolveText(event: TraceEvent, refs: ChainRef[], after: number): Resolved {
  const nft = refs.filter(ref => isNftText(ref.table));
  const save = refs.filter(ref => !isNftText(ref.table));
  if (event.point.kind !== 'rule') return resolveEnd(event, nft[0] ?? save[0]);
  const found = firstOf(nft, ref => ruleInNft(ref.chain, event, after));
  const named = firstOf(save, ref => ruleInSave(ref.chain, event, found?.rule.number, after));
  const best = named ?? found;
  const effect = effectOfVerdict(event.point.verdict ?? '', event.point.rule ?? best?.rule);
  const line = event.point.rule;
  if (!best) {
    const answer: Resolved = line ? { effect, rule: line } : { effect };
    const ref = nft[0] ?? save[0];
    return ref
      ? {
          ...answer,
          chain: ref.chain,
          table: ref.table,
          mismatch: `chain ${event.point.chain} has no such rule in the rules given`,
        }
      : answer;
  }
  const home = found ?? best;
  const rule = { ...best.rule, comment: best.rule.comment ?? line?.comment };
  return {
    effect,
    rule: rule.comment === undefined ? best.rule : (rule as Rule),
    number: best.rule.number,
    chain: home.ref.chain,
    table: home.ref.table,
  };
}

function resolveEnd(event: TraceEvent, ref: ChainRef | undefined): Resolved {
  const effect: Effect =
    event.point.kind === 'policy'
      ? { kind: event.point.verdict === 'drop' ? 'drop' : 'accept' }
      : { kind: event.point.kind === 'return' ? 'return' : 'continue' };
  return ref ? { effect, chain: ref.chain, table: ref.table, number: ref.chain.rules.length + 1 } : { effect };
}

function firstOf(
  refs: ChainRef[],
  find: (ref: ChainRef) => Rule | undefined,
): { ref: ChainRef; rule: Rule } | undefined {
  for (const ref of refs) {
    const rule = find(ref);
    if (rule) return { ref, rule };
  }
  return undefined;
}

/** By handle where the line has one; else the same text, behind the rule last met if it stands more than once. */
function ruleInNft(chain: Chain, event: TraceEvent, after: number): Rule | undefined {
  if (event.point.handle !== undefined) {
    const byHandle = chain.rules.find(rule => rule.handle === event.point.handle);
    if (byHandle) return byHandle;
  }
  const line = event.point.rule;
  if (!line) return undefined;
  // xtables-monitor prints nft's rules in iptables' syntax.
  const ways = isIptablesText(line) ? [sameAcrossSyntax] : [sameNftRule, likeNftRule];
  for (const same of ways) {
    const found = chain.rules.filter(rule => same(rule, line));
    if (found.length > 0) return found.find(rule => rule.number > after) ?? found[0];
  }
  return undefined;
}

function isIptablesText(rule: Rule): boolean {
  return /^(! )?-/.test(rule.text);
}

function ruleInSave(chain: Chain, event: TraceEvent, number: number | undefined, after: number): Rule | undefined {
  const line = event.point.rule;
  const fits = (rule: Rule | undefined): boolean =>
    rule !== undefined && (line === undefined || rule.text === line.text || sameAcrossSyntax(line, rule));
  if (number !== undefined && fits(chain.rules[number - 1])) return chain.rules[number - 1];
  if (!line) return undefined;
  const same = chain.rules.filter(fits);
  return same.find(rule => rule.number > after) ?? same[0];
}
