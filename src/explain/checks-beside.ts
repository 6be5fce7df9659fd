/**
 * What the kernel and the API server know beside netfilter, put to what netfilter shows: the route and the neighbour of the
 * address a packet was last seen to go to, and whether the endpoint the rules lead to is one the Service has now.
 */
import { hostPort } from '../ip.ts';
import type { Evidence } from '../model.ts';
import type { ConnectionCase } from './cases.ts';
import { type CheckInput, type Draft, draftOf, endpointText, hopEvidence, type NumberOf } from './draft.ts';

/** Findings of a packet that was sent on and of which nothing more is known. */
const OPEN_ENDS = new Set(['EndpointSilent', 'DroppedByKernel', 'ReplyLost']);

/** Adds what the node said of the way to the address; the facts are the same for all packets to it. */
export function besideNetfilter(draft: Draft, { connection, context }: CheckInput): Draft {
  const address = connection.endpoint?.address ?? connection.connection.original.dst;
  if (!OPEN_ENDS.has(draft.kind)) return draft;
  const route = context.routes.to.get(address);
  const link = context.routes.unanswered.get(address);
  const facts = { ...draft.facts };
  const evidence = [...draft.evidence];
  if (route) {
    evidence.push({ what: `ip route get ${address}: ${route.text}` });
    if (route.error !== undefined) facts.noRoute = route.error;
    else if (route.via !== undefined) facts.via = route.via;
  }
  if (link !== undefined) {
    facts.unanswered = link;
    evidence.push({ what: `ip neigh: ${address} dev ${link} FAILED` });
  }
  return { ...draft, facts, evidence };
}

/**
 * The rules of the node lead to an endpoint that the Service does not have now. Only where the API server, or whoever gave the
 * objects, told the Service's endpoints at all.
 */
export function checkBehind(input: CheckInput): Draft[] {
  const { connection, context, numberOf } = input;
  const { endpoint, service, dnat, fate } = connection;
  if (!endpoint || !service || !dnat || endpoint.object || !context.slicesKnown) return [];
  const own = context.objects.endpoints.filter(
    e => e.service === service.service.name && e.namespace === service.service.namespace,
  );
  if (own.some(e => e.address === endpoint.address)) return [];
  const now = own.slice(0, 3).map(e => hostPort(e.address, e.port));
  const facts: Draft['facts'] = {
    endpoint: endpointText(connection),
    now: `${now.join(', ')}${own.length > 3 ? ', …' : ''}`,
    count: own.length,
  };
  if (context.syncedSecondsAgo !== undefined) facts.synced = context.syncedSecondsAgo;
  const draft = draftOf(input, 'KubeProxyBehind', facts, dnatEvidence(connection, numberOf));
  return [fate.kind === 'answered' ? { ...draft, severity: 'warning' } : draft];
}

function dnatEvidence({ first, dnat }: ConnectionCase, numberOf: NumberOf): Evidence[] {
  return first ? hopEvidence(first, first.journey.hops[(dnat?.beforeHop ?? 1) - 1], numberOf) : [];
}
