/**
 * What a hop means in Kubernetes' terms: an ordered list of what is recognised. A hop nobody recognises keeps its rule's
 * text and gets no meaning; that is the honest answer.
 */
import { hostPort } from '../ip.ts';
import { type NamedChain, servicePortText } from '../kube/names.ts';
import { ownerOf } from '../kube/owners.ts';
import type { Hop, Journey } from '../model.ts';
import type { ExplainContext } from './context.ts';
import { affinitySeconds, durationText, isAffinity, isAffinityText, oddsOf, outOf } from './odds.ts';

export function addMeanings(journey: Journey, context: ExplainContext): void {
  const last = journey.hops.findLast(hop => hop.event !== 'gap');
  const behind = context.routes.ports.get(last?.tuple.dst ?? '');
  if (behind && behind.bridge === last?.out) journey.bridgePort = behind.port;
  for (const [index, hop] of journey.hops.entries()) {
    const owner = hop.owner ?? (isOfMethodRaw(hop) ? 'trace-svc' : ownerOf(hop.table, hop.chain));
    if (owner !== undefined) hop.owner = owner;
    const meaning = askedInVain(hop, journey.hops[index + 1]) ?? meaningOf(hop, context);
    if (meaning !== undefined && !cameBack(hop, journey.hops.slice(0, index))) hop.meaning = meaning;
  }
}

/** A rule of this program's, by what it carries; other tracers' are not ours. */
function isOfMethodRaw({ target, comment }: Hop): boolean {
  return target === 'TRACE' && /^trace-svc:[a-z0-9]+$/.test(comment ?? '');
}

/** A Service's chain was asked and sent the packet back: the end of KUBE-SERVICES does not say that none was. */
function cameBack(hop: Hop, before: Hop[]): boolean {
  if (hop.event !== 'return' || hop.chain !== 'KUBE-SERVICES') return false;
  return before.some(({ hook, table, chain }) => hook === hop.hook && table === 'nat' && OF_SERVICE.test(chain));
}

const OF_SERVICE = /^KUBE-(SVC|SVL|EXT|XLB|FW)-/;

/** nft writes nothing at the end of a chain it was sent to: that no Service's rule matched shows in the line that is not there. */
function askedInVain(hop: Hop, next: Hop | undefined): string | undefined {
  const called = /^jump (KUBE-SERVICES|services)$/.exec(hop.verdict ?? '')?.[1];
  if (called === undefined || hop.backend !== 'nft' || hop.hook === 'forward' || next?.event === 'gap')
    return undefined;
  return next?.chain === called ? undefined : `${called}: no rule of any Service matched`;
}

type Recognise = (hop: Hop, context: ExplainContext) => string | undefined;

function meaningOf(hop: Hop, context: ExplainContext): string | undefined {
  if (hop.event === 'gap' || hop.event === 'packet') return undefined;
  for (const recognise of RECOGNISERS) {
    const meaning = recognise(hop, context);
    if (meaning !== undefined) return meaning;
  }
  return undefined;
}

const RECOGNISERS: Recognise[] = [
  ownRule,
  chainEnd,
  translation,
  toMasquerade,
  toNamedChain,
  noEndpoints,
  mark,
  postrouting,
  forwarding,
  nodePorts,
  ipvsFilter,
  nftChecks,
];

function ownRule(hop: Hop): string | undefined {
  if (hop.owner === 'trace-svc')
    return hop.event === 'rule' ? "this program's own rule: the packet is traced" : "this program's own chain";
  return hop.target === 'TRACE' ? 'a tracing rule' : undefined;
}

function chainEnd(hop: Hop): string | undefined {
  if (hop.event === 'policy') return undefined;
  if (hop.event !== 'return' || hop.text !== undefined) return undefined;
  return hop.chain === 'KUBE-SERVICES' && hop.table === 'nat' ? 'no rule of any Service matched' : undefined;
}

function translation(hop: Hop, context: ExplainContext): string | undefined {
  if (hop.target === 'MASQUERADE')
    return `${/@hairpin-connections/.test(hop.text ?? '') ? 'the pod talks to itself: ' : ''}the source becomes the node's own address`;
  if (hop.target === 'SNAT') return 'the source is rewritten';
  if (hop.target !== 'DNAT') return undefined;
  // kube-proxy 1.34 and newer pick the endpoint in the rule that translates.
  const dice = /numgen (?:random|inc) mod (\d+) map/.exec(hop.text ?? '')?.[1];
  if (dice !== undefined) return `the destination becomes an endpoint, ${outOf(Number(dice))}`;
  const to = /(?:--to-destination|dnat to) (\S+)$/.exec(hop.text ?? '')?.[1];
  const named = context.names.chain(hop.chain)?.endpoint;
  const target = to ?? (named ? hostPort(named.address, named.port) : undefined);
  return target === undefined ? 'the destination is rewritten' : `the destination becomes ${target}`;
}

function toMasquerade(hop: Hop, context: ExplainContext): string | undefined {
  if (!/(jump|goto) (KUBE-MARK-MASQ|mark-for-masquerade)$/.test(hop.verdict ?? '')) return undefined;
  const named = context.names.chain(hop.chain);
  if (named?.role === 'endpoint') return 'the pod talks to itself: will be masqueraded';
  if (named?.role === 'external') return 'not asked at its cluster IP: will be masqueraded';
  return named ? 'not from a pod of the cluster: will be masqueraded' : 'will be masqueraded';
}

function toNamedChain(hop: Hop, context: ExplainContext): string | undefined {
  const [word, chain = ''] = (hop.verdict ?? '').split(' ');
  if (word !== 'jump' && word !== 'goto') return undefined;
  const named = context.names.chain(chain);
  if (!named) return undefined;
  return named.role === 'endpoint' ? endpointText(hop, named, context) : serviceText(named);
}

function serviceText(named: NamedChain): string {
  const name = servicePortText(named);
  if (named.role === 'local') return `Service ${name}, endpoints of this node only`;
  if (named.role === 'external') return `Service ${name}, asked at another address than its cluster IP`;
  if (named.role === 'firewall') return `Service ${name}, source ranges checked`;
  return `Service ${name}`;
}

function endpointText(hop: Hop, named: NamedChain, context: ExplainContext): string {
  const at = named.endpoint ? hostPort(named.endpoint.address, named.endpoint.port) : 'of this Service';
  const pod = named.endpoint?.pod ?? (named.endpoint ? context.names.pod(named.endpoint.address)?.name : undefined);
  const chosen = pickText(hop, context);
  return `endpoint ${at}${pod ? ` (pod ${pod})` : ''}${chosen ? `, ${chosen}` : ''}`;
}

function pickText(hop: Hop, context: ExplainContext): string | undefined {
  for (const { chain } of context.book.chain(hop.backend, hop.family, hop.table, hop.chain)) {
    const rule = chain.rules[(hop.rule ?? 0) - 1];
    if (!rule) continue;
    const seconds = affinitySeconds(rule);
    if (seconds !== undefined) return `kept by session affinity for ${durationText(seconds)}`;
    if (isAffinity(rule)) return 'kept by session affinity';
    const odds = oddsOf(chain, rule);
    if (odds !== undefined) return odds;
  }
  if (isAffinityText(hop.text)) return 'kept by session affinity';
  const modulus = /numgen (?:random|inc) mod (\d+)/.exec(hop.text ?? '')?.[1];
  return modulus === undefined ? undefined : outOf(Number(modulus));
}

function noEndpoints(hop: Hop): string | undefined {
  const said = /^(\S+) has no (local )?endpoints/.exec(hop.comment ?? '');
  if (said) return `Service ${said[1]} has no ${said[2] ?? ''}endpoints${said[2] ? ' on this node' : ''}`;
  if (!/no-endpoint-(services|nodeports)/.test(hop.text ?? '')) return undefined;
  return hop.verdict === 'DROP' ? 'the Service has no endpoints on this node' : 'the Service has no endpoints';
}

function mark(hop: Hop, context: ExplainContext): string | undefined {
  if (hop.target !== 'MARK') return undefined;
  if (hop.chain === 'KUBE-MARK-MASQ' || hop.chain === 'mark-for-masquerade')
    return 'marked: will be masqueraded on its way out';
  // kube-proxy's nftables mode of 1.33 and newer sets the mark where it finds the reason.
  if (hop.table === 'kube-proxy' && hop.chain !== 'masquerading') {
    const why = context.names.chain(hop.chain)?.role === 'external' ? 'not asked at its cluster IP' : undefined;
    return `${hop.comment?.replace(/^masquerade$/, '') || why || 'marked'}: will be masqueraded`;
  }
  return hop.chain === 'KUBE-POSTROUTING' || hop.chain === 'masquerading' ? 'the mark is taken off again' : undefined;
}

function postrouting(hop: Hop): string | undefined {
  const last = hop.chain === 'KUBE-POSTROUTING' || hop.chain === 'masquerading';
  return last && hop.verdict === 'RETURN' && hop.event === 'rule'
    ? 'not marked: kube-proxy leaves the source'
    : undefined;
}

function forwarding(hop: Hop): string | undefined {
  if (hop.chain !== 'KUBE-FORWARD' || hop.event !== 'rule') return undefined;
  if (hop.verdict === 'DROP') return 'conntrack knows no connection for this packet';
  if (/mark/.test(hop.text ?? '')) return 'marked for masquerading: let through';
  return /ESTABLISHED|established/.test(hop.text ?? '') ? 'belongs to a known connection: let through' : undefined;
}

function nodePorts(hop: Hop): string | undefined {
  // In filter, that chain lets health checks in.
  return hop.table === 'nat' && / KUBE-NODEPORTS$/.test(hop.verdict ?? '')
    ? 'an address of the node itself: look among the node ports'
    : undefined;
}

function ipvsFilter(hop: Hop): string | undefined {
  if (hop.chain !== 'KUBE-IPVS-FILTER' || hop.event !== 'rule') return undefined;
  if (hop.verdict === 'RETURN') return 'a port of a Service: IPVS may have it';
  return hop.verdict === 'REJECT'
    ? "a Service's address, but by kube-proxy's ipsets not one of its ports: rejected"
    : undefined;
}

function nftChecks(hop: Hop): string | undefined {
  if (hop.table !== 'kube-proxy') return undefined;
  if (hop.chain === 'cluster-ips-check' && hop.verdict === 'REJECT')
    return 'a cluster IP, but no Service port: rejected';
  if (hop.chain === 'cluster-ips-check' && hop.verdict === 'DROP') return 'no Service has this cluster IP: dropped';
  if (hop.chain === 'reject-chain') return 'the Service has no endpoints: rejected';
  return hop.verdict === 'goto reject-chain' ? 'the Service has no endpoints' : undefined;
}
