/** Which endpoints a Service's connections were sent to by chance, put beside the odds that the rules give each of them. */
import { hostPort } from '../ip.ts';
import type { Chain, Hop, Rule } from '../model.ts';
import type { TrailSummary } from '../reconstruct/traced.ts';
import type { Case, ConnectionCase } from './cases.ts';
import type { ExplainContext } from './context.ts';
import { type Draft, type Facts, hopEvidence, type NumberOf, targetText } from './draft.ts';
import { isAffinity, sharesOf } from './odds.ts';

/** An endpoint, `address:port`, and how likely it was to be picked: 0 to 1. */
type Odds = Map<string, number>;

interface Pick {
  connection: ConnectionCase;
  hop: Hop;
  odds: Odds;
  /** How many connections it stands for: of questions that went alike, a few are looked at. */
  times: number;
}

/** One finding for each question that was asked more than once and that chance decided. */
export function checkPicks(cases: Case[], context: ExplainContext, numberOf: NumberOf): Draft[] {
  const questions = new Map<string, Case[]>();
  for (const one of cases) {
    const question = `${one.probe.kind} ${one.probe.target}`;
    questions.set(question, [...(questions.get(question) ?? []), one]);
  }
  return [...questions.values()].flatMap(asked => picksFor(asked, context, numberOf) ?? []);
}

function picksFor(asked: Case[], context: ExplainContext, numberOf: NumberOf): Draft | undefined {
  const picks = asked.flatMap(one =>
    one.connections.flatMap(connection => pickOf(connection, one.alike + 1, context) ?? []),
  );
  const [first] = picks;
  // Of odds that changed in the middle nothing can be said.
  if (!first || timesOf(picks) < 2 || first.odds.size < 2 || picks.some(pick => !sameOdds(pick.odds, first.odds)))
    return undefined;
  const { connection, hop, odds } = first;
  const facts = { target: targetText(connection, context), ...pickFacts(picks, odds) };
  const evidence = connection.first ? hopEvidence(connection.first, hop, numberOf) : [];
  return { kind: 'EndpointsPicked', facts, evidence, probe: asked[0]?.index ?? 0 };
}

function pickFacts(picks: Pick[], odds: Odds): Facts {
  const counts = new Map([...odds.keys()].map(to => [to, 0]));
  for (const { connection, times } of picks)
    counts.set(endpointOf(connection), (counts.get(endpointOf(connection)) ?? 0) + times);
  const shares = [...odds.values()];
  const even = shares.every(share => Math.abs(share - 1 / odds.size) < 0.001);
  const texts = [...counts].map(([to, count]) => `${to} ${count}${even ? '' : ` (${percent(odds.get(to) ?? 0)})`}`);
  const facts: Facts = { picks: timesOf(picks), endpoints: odds.size, even, counts: texts.join(', ') };
  const never = [...odds].find(([to, share]) => counts.get(to) === 0 && (1 - share) ** timesOf(picks) < UNLIKELY);
  if (never) facts.never = never[0];
  return facts;
}

/** What chance alone does less often than this is worth a word. */
const UNLIKELY = 0.001;

function percent(share: number): string {
  return `${Math.round(share * 1000) / 10} %`;
}

function sameOdds(a: Odds, b: Odds): boolean {
  return a.size === b.size && [...a.keys()].every(to => b.has(to));
}

function endpointOf({ endpoint }: ConnectionCase): string {
  return endpoint ? hostPort(endpoint.address, endpoint.port) : '';
}

function timesOf(picks: Pick[]): number {
  return picks.reduce((sum, { times }) => sum + times, 0);
}

type Found = Omit<Pick, 'connection' | 'times'> | undefined;

/** Connections whose first packets went one way were picked by one rule: it is looked for once. */
const known = new WeakMap<TrailSummary, { found: Found }>();

/** @param times how often a question went just like this one */
function pickOf(connection: ConnectionCase, times: number, context: ExplainContext): Pick | undefined {
  const { first, dnat } = connection;
  if (!first) return undefined;
  const remembered = known.get(first.summary) ?? { found: findPick(connection, context) };
  // A rewrite that only conntrack tells of is one connection's own.
  if (dnat?.evidence === 'trace') known.set(first.summary, remembered);
  return remembered.found && { connection, times, ...remembered.found };
}

/** The rule of a Service's chain that chance led to, where the rules are known. */
function findPick(connection: ConnectionCase, context: ExplainContext): Found {
  for (const hop of connection.first?.journey.hops ?? []) {
    if (hop.event !== 'rule' || hop.hook !== 'prerouting') continue;
    const listings = context.book.chain(hop.backend, hop.family, hop.table, hop.chain);
    const rules = listings.flatMap(({ chain }) => ruleOf(chain, hop) ?? []);
    // nft lists iptables' rules without the part that tells of affinity; iptables-save tells of it.
    if (rules.some(isAffinity)) return undefined;
    for (const { chain } of listings) {
      const rule = ruleOf(chain, hop);
      const odds = rule && oddsIn(chain, rule, context);
      if (odds?.has(endpointOf(connection))) return { hop, odds };
    }
  }
  return undefined;
}

function ruleOf(chain: Chain, hop: Hop): Rule | undefined {
  return chain.rules[(hop.rule ?? 0) - 1];
}

function oddsIn(chain: Chain, rule: Rule, context: ExplainContext): Odds | undefined {
  const named = (name: string) => {
    const endpoint = context.names.chain(name)?.endpoint;
    return endpoint && hostPort(endpoint.address, endpoint.port);
  };
  const even = (endpoints: (string | undefined)[]) => oddsFrom(endpoints.map(to => [to, 1 / endpoints.length]));
  const inMap = /numgen (?:random|inc) mod \d+ map \{(.*)\}/.exec(rule.text)?.[1];
  if (inMap !== undefined)
    return even(
      [...inMap.matchAll(/\d+ : (\S+) \. (\d+)/g)].map(([, to, port]) => hostPort(to as string, Number(port))),
    );
  if (/^numgen (?:random|inc) mod/.test(rule.vmap?.key.join(' ') ?? ''))
    return even((rule.vmap?.elements ?? []).map(({ verdict }) => named(verdict?.replace(/^(goto|jump) /, '') ?? '')));
  const shares = sharesOf(chain);
  return shares.has(rule) ? oddsFrom([...shares].map(([pick, share]) => [named(pick.target ?? ''), share])) : undefined;
}

/** Undefined where an endpoint cannot be told by its chain's name or rule. */
function oddsFrom(pairs: [string | undefined, number][]): Odds | undefined {
  const odds: Odds = new Map();
  for (const [to, share] of pairs) {
    if (to === undefined) return undefined;
    odds.set(to, (odds.get(to) ?? 0) + share);
  }
  return odds;
}
