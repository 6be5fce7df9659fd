/** A finding before its prose: what was found and the facts it rests on. */
import { hostPort } from '../ip.ts';
import type { Evidence, FindingKind, Hop, Rewrite, Severity } from '../model.ts';
import type { Traced } from '../reconstruct/traced.ts';
import type { Case, ConnectionCase } from './cases.ts';
import type { ExplainContext } from './context.ts';

export type Facts = Record<string, string | number | boolean>;

export interface Draft {
  kind: FindingKind;
  facts: Facts;
  evidence: Evidence[];
  probe?: number;
  /** Where it differs from what the kind usually has. */
  severity?: Severity;
}

/** The journeys' numbers in the report, so that evidence can point at them. */
export type NumberOf = (traced: Traced) => number;

export interface CheckInput {
  one: Case;
  connection: ConnectionCase;
  all: Case[];
  context: ExplainContext;
  numberOf: NumberOf;
}

/** A finding on a case: what is common to all of them is that they name the target. */
export function draftOf(input: CheckInput, kind: FindingKind, facts: Facts, evidence: Evidence[]): Draft {
  const { connection, context, one } = input;
  return { kind, facts: { target: targetText(connection, context), ...facts }, evidence, probe: one.index };
}

/** A hop in words: `filter KUBE-SERVICES rule 2`. */
export function hopText(hop: Hop): string {
  const what =
    hop.event === 'rule' || hop.event === 'return'
      ? `${hop.event}${hop.rule === undefined ? '' : ` ${hop.rule}`}`
      : hop.event;
  return `${hop.table} ${hop.chain} ${what}`;
}

export function hopEvidence(traced: Traced, hop: Hop | undefined, numberOf: NumberOf): Evidence[] {
  if (!hop) return [];
  const evidence: Evidence = { what: hopText(hop), journey: numberOf(traced), hop: traced.journey.hops.indexOf(hop) };
  const line = hop.evidence[0];
  if (line !== undefined) evidence.line = line;
  return [evidence];
}

export function packetEvidence(traced: Traced | undefined, numberOf: NumberOf): Evidence[] {
  if (!traced) return [];
  const { packet, hops } = traced.journey;
  const evidence: Evidence = {
    what: `${packet.label} ${hostPort(packet.src, packet.sport)} > ${hostPort(packet.dst, packet.dport)}`,
    journey: numberOf(traced),
  };
  const line = hops[0]?.evidence[0];
  if (line !== undefined) evidence.line = line;
  return [evidence];
}

/** The target as a person names it. */
export function targetText(connection: ConnectionCase, context: ExplainContext): string {
  const { original, protocol } = connection.connection;
  const { service } = connection;
  if (service)
    return `${service.service.namespace}/${service.service.name}${original.dport === undefined ? '' : `:${original.dport}`}`;
  const named = serviceByChains(connection, context);
  return named ?? `${hostPort(original.dst, original.dport)}${protocol === 'udp' ? '/UDP' : ''}`;
}

/** Without objects, the chains that were walked may say whose they are, or kube-proxy's comment on a Service without endpoints. */
function serviceByChains(connection: ConnectionCase, context: ExplainContext): string | undefined {
  for (const hop of connection.first?.journey.hops ?? []) {
    const named = context.names.chain(hop.chain);
    const [, namespace, service] = /^([^/\s]+)\/([^:\s]+)\S* has no (?:local )?endpoints/.exec(hop.comment ?? '') ?? [];
    const found = named ? `${named.namespace}/${named.service}` : service && `${namespace}/${service}`;
    const { dport } = connection.connection.original;
    if (found) return `${found}${dport === undefined ? '' : `:${dport}`}`;
  }
  return undefined;
}

export function endpointText(connection: ConnectionCase): string {
  const { endpoint } = connection;
  if (!endpoint) return 'the endpoint';
  const pod = connection.connection.endpoint?.pod;
  const node = connection.connection.endpoint?.node;
  return `${hostPort(endpoint.address, endpoint.port)}${pod ? ` (pod ${pod}${node ? ` on ${node}` : ''})` : ''}`;
}

/** Where the packet was sent in the end: to the endpoint, or where it was sent in the first place. */
export function sentToText(connection: ConnectionCase): string {
  const { dst, dport } = connection.connection.original;
  return connection.endpoint ? endpointText(connection) : hostPort(dst, dport);
}

/** The rule that decided, with its text and owner, as facts for a sentence. */
export function ruleFacts(hop: Hop | undefined): Facts {
  if (!hop) return { rule: 'a rule', text: '' };
  // A rule that cannot have matched is not quoted.
  const doubted = hop.uncertain === true && hop.verdict === undefined;
  const facts: Facts = { rule: hopText(hop), text: doubted ? '' : (hop.comment ?? hop.text ?? '') };
  if (hop.owner !== undefined) facts.owner = hop.owner;
  // Without the rules, that it decided follows from its line being the last.
  if (hop.event === 'rule' && hop.verdict === undefined) facts.last = true;
  return facts;
}

/** The rule of a rewrite. Behind it, other nat chains of the hook may still have written a line. */
export function translatingHop({ first }: ConnectionCase, rewrite: Rewrite | undefined): Hop | undefined {
  return first?.journey.hops
    .slice(0, rewrite?.beforeHop)
    .findLast(hop => hop.table === rewrite?.table && hop.chain === rewrite?.chain && hop.rule === rewrite?.rule);
}

/** By a rule that is known, and in no chain of kube-proxy. */
export function isForeign({ table, chain }: Rewrite): boolean {
  return chain !== undefined && table !== 'kube-proxy' && !chain.startsWith('KUBE-');
}
