/** Two probes' packets side by side: the first place where they met different rules, and the match that made the difference. */
import { servicePortText } from '../kube/names.ts';
import type { Divergence, Hop } from '../model.ts';
import type { Traced } from '../reconstruct/traced.ts';
import { evaluateRule } from '../rules/evaluate.ts';
import { HOOKS } from '../rules/hooks.ts';
import type { Case } from './cases.ts';
import type { ExplainContext } from './context.ts';
import { factsAt, nearestServiceRule } from './nearest.ts';

export function findDivergences(cases: Case[], context: ExplainContext): Divergence[] {
  const one = cases.find(c => c.probe.kind !== 'ping' && c.connections[0]?.first);
  if (!one) return [];
  const target = one.connections[0]?.connection.original.dst;
  const other = cases.find(
    c => c.probe.kind === 'ping' && c.connections[0]?.first && c.connections[0].connection.original.dst === target,
  );
  const a = one.connections[0]?.first;
  const b = other?.connections[0]?.first;
  if (!a || !b || !other) return [];
  const found = firstDifference(a, b, context);
  return found ? [{ probes: [one.index, other.index], ...found }] : [];
}

type Place = Omit<Divergence, 'probes'>;

/** Only rules that matched tell where a packet went; that an empty chain was asked depends on who asked the nat rules first. */
function matched(traced: Traced): Hop[] {
  return traced.journey.hops.filter(hop => hop.event === 'rule' && hop.owner !== 'trace-svc');
}

function same(a: Hop, b: Hop): boolean {
  return (
    a.backend === b.backend &&
    a.hook === b.hook &&
    a.table === b.table &&
    a.chain === b.chain &&
    a.rule === b.rule &&
    a.verdict === b.verdict
  );
}

function firstDifference(a: Traced, b: Traced, context: ExplainContext): Place | undefined {
  const left = matched(a);
  const right = matched(b);
  let at = 0;
  while (left[at] && right[at] && same(left[at] as Hop, right[at] as Hop)) at++;
  const first = left[at];
  const second = right[at];
  const common = left[at - 1];
  const candidates = [first && { met: first, passed: b, own: true }, second && { met: second, passed: a, own: false }]
    .filter(c => c !== undefined)
    .filter(c => wasAsked(c.met, c.passed, common));
  candidates.sort((x, y) => rank(x.met, common) - rank(y.met, common));
  const [parted] = candidates;
  if (!parted) return undefined;
  const { met, passed, own } = parted;
  const other = own ? second : first;
  const words = [
    matchedText(met, context),
    other?.chain === met.chain ? `rule ${other.rule ?? '?'} matched` : 'no rule of it matched',
  ];
  const rule = ruleThatParted(met, passed, context);
  return {
    table: met.table,
    chain: met.chain,
    hook: met.hook,
    first: words[own ? 0 : 1] ?? '',
    second: words[own ? 1 : 0] ?? '',
    ...(rule ? { rule } : {}),
  };
}

/** Did the other packet come by this chain? It did if the rule both met called it, or if it met the base chain itself. */
function wasAsked(met: Hop, passed: Traced, common: Hop | undefined): boolean {
  if (common?.verdict?.endsWith(` ${met.chain}`)) return true;
  return passed.journey.hops.some(
    hop => hop.hook === met.hook && hop.table === met.table && hop.backend === met.backend && hop.chain === met.chain,
  );
}

/** The chain that was called last comes first; then the hooks in their order, then the rules in theirs. */
function rank(met: Hop, common: Hop | undefined): number {
  if (common?.verdict?.endsWith(` ${met.chain}`)) return met.rule ?? 0;
  return (HOOKS.indexOf(met.hook) + 1) * 1e6 + (met.rule ?? 0);
}

function matchedText(hop: Hop, context: ExplainContext): string {
  const chain = /^(?:jump|goto) (\S+)/.exec(hop.verdict ?? '')?.[1];
  const named = chain ? context.names.chain(chain) : undefined;
  const number = hop.rule === undefined ? 'a rule' : `rule ${hop.rule}`;
  return `${number} matched${named ? ` (Service ${servicePortText(named)})` : hop.target ? ` (${hop.target})` : ''}`;
}

/** The matched rule, evaluated for the packet it did not match. For a map it is the element, which only nearness can name. */
function ruleThatParted(met: Hop, passed: Traced, context: ExplainContext): Divergence['rule'] {
  const facts = { ...factsAt(met, passed.header), tuple: passed.journey.hops[0]?.tuple ?? met.tuple };
  for (const { chain, table } of context.book.chain(met.backend, met.family, met.table, met.chain)) {
    const rule = chain.rules[(met.rule ?? 0) - 1];
    if (!rule) continue;
    if (rule.vmap) {
      const near = nearestServiceRule({ ...met, tuple: facts.tuple }, passed.header, context);
      return (
        near && {
          ...(near.number === undefined ? {} : { number: near.number }),
          text: near.text,
          failed: near.failed,
          held: near.held,
        }
      );
    }
    const { conditions } = evaluateRule(rule, facts, context.book.sets(table));
    const failed = conditions.filter(c => c.result === false).map(c => c.text);
    if (failed.length > 0)
      return {
        number: rule.number,
        text: rule.text,
        failed,
        held: conditions.filter(c => c.result === true).map(c => c.text),
      };
  }
  return undefined;
}
