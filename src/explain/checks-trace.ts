/** Checks on the trace as a whole: what netfilter did not see, rules that are not the ones the packets met, lines that are missing. */
import { hostPort, parseHostPort } from '../ip.ts';
import type { Report } from '../model.ts';
import { isSyn } from '../reconstruct/identity.ts';
import type { Traced } from '../reconstruct/traced.ts';
import type { Case } from './cases.ts';
import type { ExplainContext } from './context.ts';
import { type Draft, hopEvidence, type NumberOf, packetEvidence } from './draft.ts';

/** A probe that ran and has no connection in the trace. */
export function checkUnseen(cases: Case[], context: ExplainContext, numberOf: NumberOf): Draft[] {
  return cases.flatMap((one): Draft[] => {
    if (one.probe.inferred || one.connections.length > 0 || one.probe.target === '') return [];
    // A ping that could not be sent (no such program, no right to) left nothing to be seen.
    if (one.probe.kind === 'ping' && one.probe.outcome === 'error') return [];
    const direct = translatedBefore(one, cases, context);
    const facts = { target: one.probe.target, probe: one.probe.kind, answered: one.probe.outcome === 'answered' };
    if (!direct)
      return [
        {
          kind: 'NetfilterSawNothing',
          facts,
          evidence: [{ what: `${one.probe.kind} ${one.probe.target}: ${one.probe.detail || one.probe.outcome}` }],
          probe: one.index,
        },
      ];
    const { original } = direct.connection;
    return [
      {
        kind: startedThere(direct) ? 'TranslatedBeforeNetfilter' : 'NetfilterSawNothing',
        facts: { ...facts, endpoint: hostPort(original.dst, original.dport) },
        evidence: packetEvidence(direct.first, numberOf),
        probe: one.index,
      },
    ];
  });
}

/** Its first packet came into netfilter with the endpoint's address: no line of its beginning, where it might have had another, is lost. */
function startedThere({ first, connection }: Case['connections'][number]): boolean {
  const hop = first?.trail.hops.find(one => one.event !== 'gap');
  if (!first || !hop || (first.header.tcp && !isSyn(first.header))) return false;
  return (hop.hook === 'prerouting' || hop.hook === 'output') && hop.tuple.dst === connection.original.dst;
}

/** A connection from the traced pod straight to an endpoint of the Service that was asked for. */
function translatedBefore(one: Case, cases: Case[], context: ExplainContext): Case['connections'][number] | undefined {
  const target = parseHostPort(one.probe.target);
  const service =
    target && context.names.service(target.address, target.port, one.probe.kind === 'udp' ? 'udp' : 'tcp')?.service;
  if (!service || one.probe.kind === 'ping') return undefined;
  const endpoints = context.objects.endpoints.filter(
    e => e.namespace === service.namespace && e.service === service.name,
  );
  return cases
    .flatMap(other => (other.probe.inferred ? other.connections : []))
    .find(({ connection }) =>
      endpoints.some(e => e.address === connection.original.dst && e.port === connection.original.dport),
    );
}

export function checkRules(traced: Traced[], context: ExplainContext, numberOf: NumberOf): Draft[] {
  const reasons = new Map<string, Draft['evidence']>();
  for (const one of traced) {
    for (const reason of one.summary.mismatches)
      if (!reasons.has(reason))
        reasons.set(
          reason,
          hopEvidence(
            one,
            one.journey.hops.find(hop => hop.uncertain),
            numberOf,
          ),
        );
    if (context.book.anyChanged && one.connection.probe >= 0) markChanged(one, context, numberOf, reasons);
  }
  if (reasons.size === 0) return [];
  const [first] = reasons.keys();
  return [
    {
      kind: 'RulesChanged',
      facts: { reason: first ?? '', count: reasons.size },
      evidence: [...reasons.values()].flat().slice(0, 5),
    },
  ];
}

/** Two snapshots differ in a chain the packet met: which of them it met, nobody knows. */
function markChanged(
  one: Traced,
  context: ExplainContext,
  numberOf: NumberOf,
  reasons: Map<string, Draft['evidence']>,
): void {
  for (const hop of one.journey.hops) {
    if (hop.event === 'gap' || !context.book.changed(hop.backend, hop.family, hop.table, hop.chain)) continue;
    hop.uncertain = true;
    const reason = `chain ${hop.chain} of ${hop.table} differs between the snapshots`;
    if (!reasons.has(reason)) reasons.set(reason, hopEvidence(one, hop, numberOf));
  }
}

/** Signs of loss make it a warning; that nobody could check, for want of rules, is only said. */
export function checkCompleteness(completeness: Report['completeness']): Draft[] {
  if (completeness.complete) return [];
  const signs =
    completeness.lost > 0 ||
    completeness.gaps > 0 ||
    completeness.unrecognised.count > 0 ||
    completeness.packetsNotKept > 0 ||
    completeness.reasons.length > 0;
  const evidence = completeness.reasons.slice(0, 5).map(what => ({ what }));
  const facts = {
    lost: completeness.lost,
    gaps: completeness.gaps,
    unrecognised: completeness.unrecognised.count,
    checked: completeness.checkedAgainst,
    notKept: completeness.packetsNotKept,
  };
  return [{ kind: 'TraceIncomplete', facts, evidence, severity: signs ? 'warning' : 'info' }];
}
