/** Checks that tell how the connection was treated on the way, whatever became of it: masquerade, hairpin, affinity, later packets. */
import { hostPort } from '../ip.ts';
import type { Hop } from '../model.ts';
import { type CheckInput, type Draft, draftOf, endpointText, hopEvidence } from './draft.ts';
import { affinitySeconds, durationText, isAffinity, isAffinityText } from './odds.ts';

export function checkLessons(input: CheckInput): Draft[] {
  return [hairpin, masqueraded, affinity, onlyFirst].flatMap(check => check(input) ?? []);
}

function hairpin(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  const { endpoint, first } = connection;
  if (!endpoint || !first || endpoint.address !== connection.connection.original.src) return undefined;
  const hop = first.journey.hops.find(h => h.event === 'rule' && h.target === 'DNAT');
  return draftOf(input, 'Hairpin', { endpoint: endpointText(connection) }, hopEvidence(first, hop, numberOf));
}

function masqueraded(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  const { first, snat } = connection;
  const rule = first?.journey.hops.findLast(
    hop => hop.event === 'rule' && /^(MASQUERADE|SNAT)$/.test(hop.target ?? ''),
  );
  if (!first || (!snat && !rule)) return undefined;
  // The source of a packet for an address nobody has matters to nobody; its lines are in the trace.
  if (!connection.dnat && connection.fate.kind !== 'answered') return undefined;
  const marked = first.journey.hops.find(
    hop => hop.event === 'rule' && / will be masqueraded$/.test(hop.meaning ?? ''),
  );
  const { original } = connection.connection;
  const facts: Draft['facts'] = { from: hostPort(original.src, original.sport), why: whyMarked(marked, rule) };
  if (snat?.to !== undefined) facts.to = snat.to;
  if (rule?.owner !== undefined) facts.owner = rule.owner;
  // MASQUERADE takes the address of the interface the packet leaves by, SNAT the one it was given.
  if (rule?.target === 'SNAT') facts.fixed = true;
  return draftOf(input, 'Masqueraded', facts, [
    ...hopEvidence(first, marked, numberOf),
    ...hopEvidence(first, rule, numberOf),
  ]);
}

function whyMarked(marked: Hop | undefined, rule: Hop | undefined): string {
  if (marked?.meaning) return marked.meaning.replace(/: will be masqueraded$/, '');
  const said = /^(.*): the source becomes/.exec(rule?.meaning ?? '')?.[1];
  if (said !== undefined) return said;
  if (!rule) return 'no line tells by which rule';
  const name = `${rule.table} ${rule.chain}${rule.rule === undefined ? '' : ` rule ${rule.rule}`}`;
  const text = rule.comment ?? conditionsText(rule);
  return `${name}${text === '' ? '' : ` "${text}"`}${rule.owner ? ` of ${rule.owner}` : ', not one of kube-proxy'}`;
}

/** What the rule asks, without what it does. */
function conditionsText(rule: Hop): string {
  return (rule.text ?? '').replace(/(^| )(-j |-g |masquerade|snat|counter ).*$/, '').trim();
}

function affinity(input: CheckInput): Draft | undefined {
  const { connection, context, numberOf } = input;
  const first = connection.first;
  for (const hop of first?.journey.hops ?? []) {
    if (hop.event !== 'rule') continue;
    const rules = context.book
      .chain(hop.backend, hop.family, hop.table, hop.chain)
      .flatMap(ref => ref.chain.rules[(hop.rule ?? 0) - 1] ?? []);
    const kept = rules.find(isAffinity);
    const isKept = kept !== undefined || isAffinityText(hop.text);
    const noted =
      rules.some(rule => rule.matches.some(m => m.kind === 'recent set')) || /^update @affinity-/.test(hop.text ?? '');
    if (!first || (!isKept && !noted)) continue;
    const seconds = (kept && affinitySeconds(kept)) ?? connection.service?.service.affinitySeconds;
    const facts: Draft['facts'] = { endpoint: endpointText(connection), kept: isKept };
    if (seconds !== undefined) facts.timeout = durationText(seconds);
    return draftOf(input, 'SessionAffinity', facts, hopEvidence(first, hop, numberOf));
  }
  return undefined;
}

/** The nat chains were asked once; every later packet was translated without them. */
function onlyFirst(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  const { first, requests, fate } = connection;
  if (fate.kind !== 'answered' || !first?.summary.first || !connection.dnat) return undefined;
  const later = requests.filter(
    traced =>
      traced !== first && !traced.summary.first && traced.journey.rewrites.some(rewrite => rewrite.field === 'dst'),
  );
  if (later.length === 0) return undefined;
  const nat =
    first.journey.hops.find(hop => hop.target === 'DNAT') ?? first.journey.hops.find(hop => hop.table === 'nat');
  return draftOf(
    input,
    'OnlyFirstPacketHitsNat',
    { later: later.length, label: first.label },
    hopEvidence(first, nat, numberOf),
  );
}
