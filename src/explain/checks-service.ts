/** Checks on a TCP or UDP connection to a Service: what became of it and why. Each returns what the evidence carries, or nothing. */
import { hostPort, parseHostPort } from '../ip.ts';
import type { Hop } from '../model.ts';
import type { Traced } from '../reconstruct/traced.ts';
import { type ConnectionCase, lastHop } from './cases.ts';
import { acceptedOnly, answered } from './checks-answered.ts';
import {
  type CheckInput,
  type Draft,
  draftOf,
  endpointText,
  hopEvidence,
  hopText,
  isForeign,
  packetEvidence,
  ruleFacts,
  sentToText,
  translatingHop,
} from './draft.ts';
import { exposedPorts } from './exposed.ts';
import { nearestServiceRule } from './nearest.ts';

export function checkService(input: CheckInput): Draft[] {
  const { protocol } = input.connection.connection;
  if (protocol.startsWith('icmp') || protocol === 'unknown') return [];
  return CHECKS.flatMap(check => check(input) ?? []);
}

type Check = (input: CheckInput) => Draft | Draft[] | undefined;

const CHECKS: Check[] = [
  answered,
  droppedAtFirst,
  rejectedOrDropped,
  turnedAway,
  refused,
  unreachable,
  replyLost,
  acceptedOnly,
  silentAfterTranslation,
  silentUntranslated,
  stoppedAtRouting,
];

function rejectedOrDropped(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  const { fate } = connection;
  if (fate.kind !== 'rejected' && fate.kind !== 'dropped') return undefined;
  const hop = lastHop(fate.at);
  const evidence = [
    ...hopEvidence(fate.at, hop, numberOf),
    ...(fate.kind === 'rejected' ? packetEvidence(fate.answer, numberOf) : []),
  ];
  const marked = markedBy(fate.at, hop);
  if (marked) return markedForDropping(input, marked, evidence);
  const facts = ruleFacts(hop);
  if (saysNoEndpoints(connection, hop, 'local') && fate.kind === 'dropped')
    return draftOf(input, 'NoLocalEndpoints', facts, evidence);
  if (fate.kind === 'rejected' && saysNoEndpoints(connection, hop, 'any'))
    return draftOf(input, 'NoEndpoints', { ...facts, ...readyFacts(input), ...selectorFacts(input) }, evidence);
  if (fate.kind === 'rejected' && isPortCheck(hop)) return rejectedByPortCheck(input, hop, facts, evidence);
  return draftOf(input, fate.kind === 'rejected' ? 'RejectedByRule' : 'DroppedByRule', facts, evidence);
}

function selectorFacts({ connection }: CheckInput): Draft['facts'] {
  return connection.service?.service.hasSelector === false ? { selector: false } : {};
}

/** Answered in the end, but not at once: whoever asked waited a second or more, until the handshake was tried again. */
function droppedAtFirst(input: CheckInput): Draft | undefined {
  const { requests, replies, fate } = input.connection;
  if (fate.kind !== 'answered') return undefined;
  const lost = [...requests, ...replies].find(
    traced => traced.outcome === 'dropped' && /\bSYN\b/.test(traced.header.tcp?.flags ?? ''),
  );
  if (!lost) return undefined;
  const hop = lastHop(lost);
  const facts = { ...ruleFacts(hop), atFirst: lost.label };
  return { ...draftOf(input, 'DroppedByRule', facts, hopEvidence(lost, hop, input.numberOf)), severity: 'warning' };
}

/** kube-proxy before 1.26 had nat mark what kubelet's KUBE-FIREWALL then dropped: why, the rule says that had it marked. */
function markedBy(traced: Traced, hop: Hop | undefined): Hop | undefined {
  if (hop?.chain !== 'KUBE-FIREWALL' || hop.verdict !== 'DROP') return undefined;
  return traced.journey.hops.findLast(({ verdict }) => verdict === 'jump KUBE-MARK-DROP');
}

function markedForDropping(input: CheckInput, marked: Hop, evidence: Draft['evidence']): Draft {
  const { fate } = input.connection;
  const at = fate.kind === 'dropped' ? hopEvidence(fate.at, marked, input.numberOf) : [];
  const kind = saysNoEndpoints(input.connection, marked, 'local') ? 'NoLocalEndpoints' : 'DroppedByRule';
  return draftOf(input, kind, { ...ruleFacts(marked), marked: true }, [...at, ...evidence]);
}

function turnedAway(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'turned-away') return undefined;
  return draftOf(input, 'RejectedByRule', ...turnedAwayBy(connection.fate, numberOf));
}

/** What is known where the line of the rule is missing: the node's answer, and the last line before it. */
export function turnedAwayBy(
  { at, by }: Extract<ConnectionCase['fate'], { kind: 'turned-away' }>,
  numberOf: CheckInput['numberOf'],
): [Draft['facts'], Draft['evidence']] {
  const hop = lastHop(at);
  const facts = { ...ruleFacts(hop), unseen: true, what: by.label, from: by.trail.hops[0]?.tuple.src ?? '' };
  return [facts, [...packetEvidence(by, numberOf), ...hopEvidence(at, hop, numberOf)]];
}

/** Is the port missing, or do kube-proxy's own rules miss it? Without objects and rules, that cannot be told. */
function rejectedByPortCheck(
  input: CheckInput,
  hop: Hop | undefined,
  facts: Draft['facts'],
  evidence: Draft['evidence'],
): Draft {
  const exposed = exposedPorts(input.connection, input.context);
  const port = input.connection.connection.original.dport ?? '';
  if (!exposed) return draftOf(input, 'RejectedByRule', { ...facts, port, portCheck: true }, evidence);
  if (!exposed.asked)
    return draftOf(input, 'PortNotExposed', { ...facts, ...portFacts(input), rejected: true }, evidence);
  const stale = hop?.chain === 'KUBE-IPVS-FILTER' ? 'the ipset KUBE-CLUSTER-IP' : 'the map service-ips';
  return draftOf(input, 'RejectedByRule', { ...facts, stale }, evidence);
}

/** What the API server says of the endpoints that kube-proxy has none of. */
function readyFacts({ connection, context }: CheckInput): Draft['facts'] {
  const service = connection.service?.service;
  const ready = context.objects.endpoints.filter(
    e => e.ready && e.namespace === service?.namespace && e.service === service.name,
  );
  return ready.length > 0 ? { ready: new Set(ready.map(e => e.address)).size } : {};
}

/** kube-proxy's own words in the rule, its map of Services without endpoints, or the objects themselves. */
function saysNoEndpoints(connection: ConnectionCase, hop: Hop | undefined, which: 'any' | 'local'): boolean {
  const said = /has no (local )?endpoints/.exec(hop?.comment ?? '');
  if (said) return (said[1] !== undefined) === (which === 'local');
  const hops = connection.first?.journey.hops ?? [];
  const byMap = [...hops, ...(hop ? [hop] : [])].some(h => /no-endpoint-(services|nodeports)/.test(h.text ?? ''));
  if (byMap) return true;
  // Without comments: a reject in these chains of kube-proxy is of a Service without endpoints, there is no other (pkg/proxy/iptables/proxier.go).
  const chain = hop !== undefined && /^KUBE-(EXTERNAL-)?SERVICES$/.test(hop.chain) && hop.table === 'filter';
  return chain && hop.comment === undefined && which === 'any';
}

/** The rules that reject what goes to a cluster IP and no port of it: kube-proxy's in nftables mode, and in IPVS mode. */
export function isPortCheck(hop: Hop | undefined): boolean {
  return hop?.chain === 'cluster-ips-check' || hop?.chain === 'KUBE-IPVS-FILTER';
}

/** Of a packet that nobody translated: the ports there are, and the rule that kept it from nat, if one did. */
function portFacts({ connection, context }: CheckInput): Draft['facts'] {
  const facts: Draft['facts'] = { ...notrackFacts(connection), port: connection.connection.original.dport ?? '' };
  const exposed = exposedPorts(connection, context);
  if (exposed) facts.exposed = exposed.ports.join(', ');
  if (exposed?.by !== 'service') facts.byRules = true;
  return facts;
}

function notrackFacts({ first }: ConnectionCase): Draft['facts'] {
  const hop = first?.journey.hops.find(one => one.target === 'NOTRACK' || /\bCT --notrack\b/.test(one.text ?? ''));
  return hop ? { ...ruleFacts(hop), notrack: hopText(hop) } : {};
}

/** Whose is the address no rule of this node translated: a Service's, with that port or without, or nobody's that is known? */
function untranslated(input: CheckInput, what: string): Draft['kind'] | undefined {
  const { connection, context } = input;
  const { dst } = connection.connection.original;
  // Another node's port is translated there.
  if (what !== 'delivered' && connection.service?.via === 'node port') return undefined;
  if (!wasSeenUntranslated(connection)) return undefined;
  const exposed = exposedPorts(connection, context);
  if (exposed) return exposed.asked ? 'NotTranslated' : 'PortNotExposed';
  return context.names.isServiceAddress(dst) ? 'PortNotExposed' : undefined;
}

/** Behind the hooks that translate destinations it still had the one it was sent to. */
function wasSeenUntranslated({ connection, requests }: ConnectionCase): boolean {
  const { dst, dport } = connection.original;
  return requests.some(({ trail }) =>
    trail.hops.some(
      hop =>
        hop.event !== 'gap' &&
        /^(input|forward|postrouting)$/.test(hop.hook) &&
        hop.tuple.dst === dst &&
        hop.tuple.dport === dport,
    ),
  );
}

function refused(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'refused') return undefined;
  const { by } = connection.fate;
  const evidence = packetEvidence(by ?? connection.first, numberOf);
  const kind = connection.dnat ? undefined : untranslated(input, connection.first?.outcome ?? '');
  if (kind) return draftOf(input, kind, { what: 'refused', ...portFacts(input) }, evidence);
  const facts: Draft['facts'] = { endpoint: refusedBy(connection, by), how: by ? by.label : 'refused' };
  const target = connection.service?.port?.targetPort;
  if (target !== undefined) facts.targetPort = target;
  if (!by) facts.byProbe = true;
  // A rule that resets speaks with the endpoint's own address (xt_REJECT); one that sends ICMP does not.
  if (connection.first?.outcome === 'left-node' && connection.connection.protocol === 'tcp') facts.left = true;
  return draftOf(input, 'EndpointRefused', facts, evidence);
}

/** The endpoint, or where its translation was not seen, who the reset came from. */
function refusedBy(connection: ConnectionCase, by: Traced | undefined): string {
  const from = by?.header.tcp && by.trail.hops.find(hop => hop.event !== 'gap')?.tuple;
  return connection.endpoint || !from ? sentToText(connection) : hostPort(from.src, from.sport);
}

function unreachable(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'unreachable') return undefined;
  const { by } = connection.fate;
  const facts: Draft['facts'] = { from: by.trail.hops[0]?.tuple.src ?? '', what: by.label };
  // Routers say that there is no host or no net; other errors are a rule's, whose line is lost.
  const byRule = /^port unreachable|prohibited/.test(by.label);
  const kind = connection.dnat || byRule ? undefined : untranslated(input, connection.first?.outcome ?? '');
  if (kind) return draftOf(input, kind, { ...facts, ...portFacts(input) }, packetEvidence(by, numberOf));
  return draftOf(input, 'EndpointSilent', { ...facts, endpoint: sentToText(connection) }, packetEvidence(by, numberOf));
}

function replyLost(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'reply-lost') return undefined;
  const { at } = connection.fate;
  const hop = lastHop(at);
  const seen = at.outcome === 'dropped' || at.outcome === 'rejected';
  const facts: Draft['facts'] = { endpoint: endpointText(connection), how: seen ? 'ended' : 'seen', ...ruleFacts(hop) };
  return draftOf(input, 'ReplyLost', facts, hopEvidence(at, hop, numberOf));
}

/** Delivered or gone, and nothing came back. Whether nobody answered or the answer found no way, netfilter here cannot tell. */
function silentAfterTranslation(input: CheckInput): Draft[] | undefined {
  const { connection, numberOf, context } = input;
  const { fate, dnat, snat, endpoint } = connection;
  if (fate.kind !== 'silent' || fate.stopped || !dnat || !endpoint) return undefined;
  const hop = lastHop(fate.at);
  const out = hop?.out ?? 'its interface';
  const repeats = connection.requests.length;
  const facts: Draft['facts'] = {
    endpoint: endpointText(connection),
    out,
    repeats,
    left: fate.at.outcome === 'left-node',
  };
  const node = connection.connection.endpoint?.node;
  if (node !== undefined) facts.node = node;
  Object.assign(facts, foreignFacts(connection));
  const evidence = [...hopEvidence(fate.at, hop, numberOf), ...conntrackEvidence(connection)];
  const silent = draftOf(input, 'EndpointSilent', facts, evidence);
  const source = connection.connection.original.src;
  const outsideThePodNetwork =
    endpoint.object !== undefined && endpoint.object.pod === undefined && !context.names.pod(endpoint.address);
  if (!outsideThePodNetwork || snat || fate.at.outcome !== 'left-node') return [silent];
  // Two explanations that fit equally are both said; the one with something visibly amiss stands first.
  const noWayBack = draftOf(input, 'ReplyLost', { ...facts, how: 'unmasqueraded', source }, evidence);
  return [
    noWayBack,
    { ...silent, severity: 'warning', facts: { ...facts, target: silent.facts.target ?? '', alternative: true } },
  ];
}

/** What rules that are not kube-proxy's did to the packet: to another destination, or to a source that replies may not find. */
function foreignFacts(connection: ConnectionCase): Draft['facts'] {
  const { dnat, snat } = connection;
  const facts: Draft['facts'] = {};
  const sent = dnat && isForeign(dnat) ? translatingHop(connection, dnat) : undefined;
  if (sent) facts.sentBy = hopText(sent);
  const from = snat && isForeign(snat) ? translatingHop(connection, snat) : undefined;
  if (from?.target === 'SNAT' && snat?.to !== undefined) {
    facts.source = parseHostPort(snat.to)?.address ?? snat.to;
    facts.sourceBy = hopText(from);
  }
  return facts;
}

function conntrackEvidence(connection: ConnectionCase): Draft['evidence'] {
  return connection.conntrack ? [{ what: connection.conntrack.raw }] : [];
}

/** No rule took the packet for a Service's: the port is not one of it, or kube-proxy does not know it. */
function silentUntranslated(input: CheckInput): Draft | undefined {
  const { connection, numberOf, context } = input;
  const { fate, dnat, first } = connection;
  const { original } = connection.connection;
  if (fate.kind !== 'silent' || fate.stopped || dnat || !first) return undefined;
  const kind = untranslated(input, fate.at.outcome);
  if (!kind) return undefined;
  const hop = lastHop(fate.at);
  const evidence = [
    ...hopEvidence(first, natEnd(first.journey.hops), numberOf),
    ...hopEvidence(fate.at, hop, numberOf),
  ];
  const near =
    first.journey.hops[0] &&
    nearestServiceRule(natEnd(first.journey.hops) ?? first.journey.hops[0], first.header, context);
  const facts: Draft['facts'] = { ...portFacts(input), out: hop?.out ?? '', address: original.dst };
  if (near)
    Object.assign(facts, {
      nearest: `${near.chain}${near.number === undefined ? '' : ` rule ${near.number}`}`,
      failed: near.failed.join(', '),
      held: near.held.join(', '),
    });
  return draftOf(input, kind, kind === 'PortNotExposed' ? facts : { ...facts, what: 'silent' }, evidence);
}

/** The last line of the nat chains at prerouting: where the packet left them untranslated. */
export function natEnd(hops: Hop[]): Hop | undefined {
  return (
    hops.find(hop => hop.event === 'return' && hop.chain === 'KUBE-SERVICES' && hop.table === 'nat') ??
    hops.findLast(
      hop => hop.event !== 'gap' && hop.hook === 'prerouting' && (hop.table === 'nat' || /^nat-/.test(hop.chain)),
    )
  );
}

function stoppedAtRouting(input: CheckInput): Draft | undefined {
  const { connection, numberOf } = input;
  if (connection.fate.kind !== 'silent' || !connection.fate.stopped) return undefined;
  const hop = lastHop(connection.fate.at);
  const { dst, dport } = hop?.tuple ?? connection.connection.original;
  // Routing is asked behind prerouting's DNAT; what that chose may be told by no line.
  const to = connection.dnat ? connection.dnat.to : connection.first?.summary.first ? hostPort(dst, dport) : undefined;
  const facts: Draft['facts'] = { packets: connection.requests.length, in: hop?.in ?? '' };
  if (to !== undefined) Object.assign(facts, { to, address: parseHostPort(to)?.address ?? to });
  const found = draftOf(input, 'DroppedByKernel', facts, hopEvidence(connection.fate.at, hop, numberOf));
  // Of one packet the lines behind may as well be lost.
  return connection.requests.length > 1 ? found : { ...found, severity: 'warning' };
}
