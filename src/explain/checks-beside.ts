/**
 * What the kernel and the API server know beside netfilter, put to what netfilter shows: the route and the neighbour of the
 * address a packet was last seen to go to, and whether the endpoint the rules lead to is one the Service has now.
 */
import { familyOf, hostPort } from '../ip.ts';
import type { NodeFacts } from '../model.ts';
import type { ConnectionCase } from './cases.ts';
import type { ExplainContext } from './context.ts';
import {
  type CheckInput,
  type Draft,
  draftOf,
  endpointText,
  hopEvidence,
  isForeign,
  sentToText,
  translatingHop,
} from './draft.ts';

/** Findings of a packet that was sent on and of which nothing more is known. */
const OPEN_ENDS = new Set(['EndpointSilent', 'DroppedByKernel', 'ReplyLost']);

/** The node itself turned the packet away, and no line tells what made it do so. */
function isUnseen({ kind, facts }: Draft): boolean {
  return kind === 'RejectedByRule' && facts.unseen === true && /^(host|network) unreachable/.test(String(facts.what));
}

/** Adds what the node said of the way to the address; the facts are the same for all packets to it. */
export function besideNetfilter(draft: Draft, { connection, context }: CheckInput): Draft {
  if (!OPEN_ENDS.has(draft.kind) && !isUnseen(draft)) return draft;
  const way = wayOf(connection, context);
  const route = context.routes.ways.get(wayKey(way)) ?? context.routes.to.get(way.dst);
  const link = context.routes.unanswered.get(way.dst);
  const facts = { ...draft.facts };
  const evidence = [...draft.evidence];
  if (route) {
    evidence.push({ what: `ip route get ${way.dst} from ${way.src} iif ${way.in}: ${route.text}` });
    if (route.error !== undefined) Object.assign(facts, noRouteFacts(route.error, way, context));
    else if (route.via !== undefined) facts.via = route.via;
  }
  if (link !== undefined) {
    facts.unanswered = link;
    evidence.push({ what: `ip neigh: ${way.dst} dev ${link} FAILED` });
  }
  if (!isUnseen(draft)) return { ...draft, facts: { ...facts, ...conntrackFacts(context.kernel) }, evidence };
  if (route?.error === undefined) return draft;
  // Routing has no line of its own; its answer to the same question is as good.
  const to = connection.endpoint ? sentToText(connection) : way.dst;
  return {
    ...draft,
    kind: 'DroppedByKernel',
    facts: { ...facts, to, address: way.dst, packets: connection.requests.length },
    evidence,
  };
}

interface Way {
  in: string;
  src: string;
  dst: string;
}

/** How the packet stood before routing: of a reply that was lost, the reply. */
function wayOf(asked: ConnectionCase, context: ExplainContext): Way {
  const { connection, fate, first, endpoint } = asked;
  const { src, dst } = connection.original;
  const at = fate.kind === 'reply-lost' ? fate.at : first;
  const hop = at?.journey.hops.find(one => one.in !== undefined);
  if (fate.kind === 'reply-lost' && hop) return { in: hop.in ?? '', src: hop.tuple.src, dst: hop.tuple.dst };
  const way = { in: hop?.in ?? '', src, dst: endpoint?.address ?? dst };
  return endpoint || !asked.dnat ? way : (lostAmong(asked, way, context) ?? way);
}

/** It was translated, and no line tells to which endpoint: to one there is no way to, if there is one. */
function lostAmong({ service }: ConnectionCase, way: Way, { objects, routes }: ExplainContext): Way | undefined {
  const own = objects.endpoints.filter(
    one => one.service === service?.service.name && one.namespace === service.service.namespace,
  );
  const ways = own.map(({ address }) => ({ ...way, dst: address }));
  return ways.find(one => routes.ways.get(wayKey(one))?.error !== undefined);
}

function wayKey({ in: link, src, dst }: Way): string {
  return `${link} ${src} ${dst}`;
}

/** Why the kernel has no way for it: net/ipv4/fib_frontend.c fib_validate_source(), net/ipv4/route.c ip_route_input_slow(). */
function noRouteFacts(error: string, way: Way, { kernel, routes }: ExplainContext): Draft['facts'] {
  const facts: Draft['facts'] = { noRoute: error, in: way.in, source: way.src };
  const back = routes.to.get(way.src)?.dev;
  const checked = Math.max(kernel.rpFilters.get(way.in) ?? 0, kernel.rpFilters.get('all') ?? 0) > 0;
  // Before Linux 6.13 it was EXDEV, which nothing else is; since then EINVAL.
  if (checked && /cross-device|invalid argument/i.test(error) && back !== way.in) return { ...facts, rpFilter: true };
  const [family, set] = way.src.includes(':')
    ? (['ipv6', kernel.notForwarding.ip6] as const)
    : (['ipv4', kernel.notForwarding.ip] as const);
  return set.has(way.in) ? { ...facts, notForwarding: family } : facts;
}

/** net/netfilter/nf_conntrack_core.c __nf_conntrack_alloc(): a new connection that finds no room is dropped. */
function conntrackFacts({ conntrack: { dropped, count, max } }: NodeFacts): Draft['facts'] {
  if (dropped === 0) return {};
  return {
    conntrackDropped: dropped,
    conntrackFull:
      max === undefined ? 'nobody told how large it is' : `${count ?? '?'} of ${max} connections at the beginning`,
  };
}

/**
 * The rules of the node lead to an endpoint that the Service does not have now. Only where the API server, or whoever gave the
 * objects, told the Service's endpoints at all.
 */
export function checkBehind(input: CheckInput): Draft[] {
  const { connection, context, numberOf } = input;
  const { endpoint, service, dnat, fate } = connection;
  if (!endpoint || !service || !dnat || endpoint.object || !context.slicesKnown) return [];
  // Somebody else's translation says nothing of kube-proxy.
  if (isForeign(dnat)) return [];
  const own = context.objects.endpoints.filter(
    e => e.service === service.service.name && e.namespace === service.service.namespace,
  );
  if (own.some(e => e.address === endpoint.address)) return [];
  const ofFamily = own.filter(e => familyOf(e.address) === familyOf(endpoint.address));
  const now = ofFamily.slice(0, 3).map(e => hostPort(e.address, e.port));
  const facts: Draft['facts'] = {
    endpoint: endpointText(connection),
    now: `${now.join(', ')}${ofFamily.length > 3 ? ', …' : ''}`,
    count: ofFamily.length,
  };
  if (context.kernel.syncedSecondsAgo !== undefined) facts.synced = context.kernel.syncedSecondsAgo;
  const by = translatingHop(connection, dnat);
  const evidence = connection.first ? hopEvidence(connection.first, by, numberOf) : [];
  const draft = draftOf(input, 'KubeProxyBehind', facts, evidence);
  return [fate.kind === 'answered' ? { ...draft, severity: 'warning' } : draft];
}
