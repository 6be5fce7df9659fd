/** Journeys -> probes, findings and divergences: the whole of this folder. */

import { hostPort } from '../ip.ts';
import type { Divergence, Finding, Journey, Probe, Report } from '../model.ts';
import type { Connection } from '../reconstruct/connections.ts';
import type { Reconstruction } from '../reconstruct/journeys.ts';
import type { Traced } from '../reconstruct/traced.ts';
import { buildCases, type Case } from './cases.ts';
import { besideNetfilter, checkBehind } from './checks-beside.ts';
import { checkLessons } from './checks-lessons.ts';
import { checkPing } from './checks-ping.ts';
import { checkService } from './checks-service.ts';
import { checkCompleteness, checkRules, checkUnseen } from './checks-trace.ts';
import type { ExplainContext } from './context.ts';
import { findDivergences } from './divergence.ts';
import type { Draft, NumberOf } from './draft.ts';
import { withoutOthers } from './others.ts';
import { checkPicks } from './picks.ts';
import { toFindings } from './to-findings.ts';

export interface Explanation {
  probes: Probe[];
  journeys: Journey[];
  findings: Finding[];
  divergences: Divergence[];
  cases: Case[];
  /** Packets that are counted in connections and findings, but not listed among the journeys. */
  omitted: number;
  /** Questions that are counted in findings, but not listed among the probes. */
  counted: number;
  /** As it was given, and with what the explanation itself left out. */
  completeness: Report['completeness'];
}

export function explain(
  reconstruction: Reconstruction,
  given: Probe[],
  read: Report['completeness'],
  context: ExplainContext,
): Explanation {
  const { cases, counted, unlooked } = buildCases(reconstruction, given, context);
  const completeness = unlooked > 0 ? withUnlooked(read, unlooked) : read;
  const relevant = reconstruction.traced.filter(one => one.connection.probe >= 0);
  const traced = shownPackets(relevant, shownConnections(cases));
  const numbers = new Map<Traced, number>(traced.map((one, index) => [one, index]));
  const numberOf: NumberOf = one => numbers.get(one) ?? -1;
  const checked = cases.map(one => ({
    one,
    drafts: representatives(one).flatMap(connection => checkConnection(one, connection, cases, context, numberOf)),
  }));
  const drafts = [
    ...withoutOthers(checked, context.live),
    ...checkPicks(cases, context, numberOf),
    // Where lines were lost, or packets not traced, that nothing was seen says nothing of them.
    ...(isLost(completeness) ? [] : checkUnseen(cases, context, numberOf)),
    ...checkRules(reconstruction.traced, context, numberOf),
    ...checkCompleteness(completeness),
  ];
  const omitted = relevant.length - traced.length;
  return {
    omitted,
    counted,
    completeness,
    probes: cases.map(one => one.probe),
    journeys: traced.map(one => one.journey),
    findings: toFindings(drafts, cases),
    divergences: findDivergences(cases, context),
    cases,
  };
}

function withUnlooked(completeness: Report['completeness'], unlooked: number): Report['completeness'] {
  const reason = `the trace asks too many different questions: ${unlooked} of them were not looked at; narrow it with --pod-ip`;
  return { ...completeness, complete: false, reasons: [...completeness.reasons, reason] };
}

function isLost({ events, lost, reasons }: Report['completeness']): boolean {
  return lost > 0 || (events === 0 && reasons.length > 0);
}

/** Of connections that went the same way to the same end, one is looked at: the others would only say it again. */
function representatives(one: Case): Case['connections'] {
  const seen = new Map<unknown, Set<string>>();
  return one.connections.filter(({ first, fate }) => {
    const ends = seen.get(first?.summary) ?? new Set<string>();
    seen.set(first?.summary, ends);
    if (ends.has(fate.kind)) return false;
    ends.add(fate.kind);
    return true;
  });
}

/** Connections shown in full for each question; of a thousand that went the same way a few say it all. */
const SHOWN = 20;

/** The first of each probe, and those that ended otherwise than the first did. Probes are told how many there were. */
function shownConnections(cases: Case[]): Set<Connection> {
  const shown = new Set<Connection>();
  for (const { probe, connections } of cases) {
    const usual = connections[0]?.fate.kind;
    const unusual = connections.filter(
      connection => connection.fate.kind !== usual || connection.requests.some(one => one.summary.gaps > 0),
    );
    for (const { connection } of [...connections.slice(0, SHOWN), ...unusual.slice(0, SHOWN)]) shown.add(connection);
    if (connections.length > 1) probe.connections = countEndpoints(connections);
  }
  return shown;
}

/** Packets listed of one connection; a download's ten thousand all say what the first said. */
const LISTED = 100;

/** The first of each connection, and those that ended otherwise or are not whole. */
function shownPackets(relevant: Traced[], shown: Set<Connection>): Traced[] {
  const counts = new Map<Connection, { usual: number; unusual: number; ends: Set<string> }>();
  return relevant.filter(one => {
    if (!shown.has(one.connection)) return false;
    const count = counts.get(one.connection) ?? { usual: 0, unusual: 0, ends: new Set() };
    counts.set(one.connection, count);
    const usual = one.summary.gaps === 0 && (count.ends.has(one.outcome) || count.usual === 0);
    count.ends.add(one.outcome);
    return usual ? count.usual++ < LISTED : count.unusual++ < LISTED;
  });
}

function countEndpoints(connections: Case['connections']): NonNullable<Probe['connections']> {
  const counts = new Map<string, NonNullable<Probe['connections']>['endpoints'][number]>();
  for (const { connection, fate } of connections) {
    const { endpoint } = connection;
    const to = endpoint ? hostPort(endpoint.address, endpoint.port) : fate.kind;
    const known = counts.get(to);
    if (known) known.count++;
    else counts.set(to, { to, count: 1, ...(endpoint?.pod === undefined ? {} : { pod: endpoint.pod }) });
  }
  return { total: connections.length, endpoints: [...counts.values()] };
}

function checkConnection(
  one: Case,
  connection: Case['connections'][number],
  all: Case[],
  context: ExplainContext,
  numberOf: NumberOf,
): Draft[] {
  const input = { one, connection, all, context, numberOf };
  return [
    ...checkBehind(input),
    ...checkService(input).map(draft => besideNetfilter(draft, input)),
    ...checkPing(input),
    ...checkLessons(input),
  ];
}
