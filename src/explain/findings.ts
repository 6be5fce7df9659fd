/**
 * The prose of findings, in one place and last: every kind has a severity, a sentence and, where something is wrong, a way
 * out. The compiler demands a row for every kind, and a test a page in docs/findings/ for every row.
 */
import type { FindingKind, Severity } from '../model.ts';
import type { Facts } from './draft.ts';
import {
  by,
  connections,
  droppedByKernel,
  endpointSilent,
  endpointSilentRemedy,
  kernelRemedy,
  marked,
  noEndpointsRemedy,
  ofPolicy,
  ownersRemedy,
  pingNotTranslated,
  portNotExposed,
  quoted,
  rejectedByRule,
  rejectedRemedy,
  replyLost,
  traceIncomplete,
} from './sentences.ts';

export interface FindingInfo {
  severity: Severity;
  /** Order among findings of one severity: the cause before what follows from it. */
  rank: number;
  sentence(facts: Facts): string;
  remedy?(facts: Facts): string | undefined;
}

export const FINDINGS: Record<FindingKind, FindingInfo> = {
  ServiceAnswered: {
    severity: 'info',
    rank: 0,
    sentence: f =>
      `${f.target} answered${f.status === undefined ? '' : ` with HTTP ${f.status}`}${f.endpoint ? ` from ${f.endpoint}` : ''}${connections(f)}${f.said ? `, but not as HTTP: ${f.said}` : ''}`,
    remedy: f =>
      f.said
        ? 'The network delivered the request; does that port speak what it was asked? --scheme http or https chooses.'
        : typeof f.status === 'number' && f.status >= 500
          ? 'The network delivered the request; look into the logs of the pod that answered.'
          : undefined,
  },
  NoEndpoints: {
    severity: 'error',
    rank: 0,
    sentence: f =>
      `${f.target} was rejected on this node, for ${f.ready ? 'kube-proxy here knows no endpoint of the Service' : 'the Service has no endpoints'}: ${f.rule}${quoted(f)}${f.ready ? `; the API server has ${f.ready} ready` : ''}`,
    remedy: noEndpointsRemedy,
  },
  NoLocalEndpoints: {
    severity: 'error',
    rank: 0,
    sentence: f =>
      `${f.target} was dropped on this node: its traffic policy is Local and no endpoint runs here: ${f.rule}${quoted(f)}${marked(f)}`,
    remedy: () =>
      'Run a pod of the Service on this node, or set internalTrafficPolicy (externalTrafficPolicy for node ports and load balancers) to Cluster.',
  },
  PortNotExposed: {
    severity: 'error',
    rank: 0,
    sentence: portNotExposed,
    remedy: f =>
      f.exposed
        ? `Use a port the Service has (${f.exposed}), or add the port to the Service.`
        : 'Use a port the Service has, or add the port to the Service.',
  },
  NotTranslated: {
    severity: 'error',
    rank: 1,
    sentence: f =>
      f.notrack
        ? `no rule on this node translated ${f.target}: ${f.notrack}${quoted(f)}${by(f)} takes its packets out of conntrack, and only connections it knows are translated`
        : `no rule on this node translated ${f.target}, though the Service has that port${f.out ? `: the packet left by ${f.out} for an address no host has` : ''}`,
    remedy: f =>
      f.notrack
        ? 'Find out who wrote that rule, and have it leave out the addresses of Services.'
        : 'kube-proxy on this node does not know the Service: look at its log and at its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds.',
  },
  RejectedByRule: {
    severity: 'error',
    rank: 1,
    sentence: rejectedByRule,
    remedy: rejectedRemedy,
  },
  DroppedByRule: {
    severity: 'error',
    rank: 1,
    sentence: f =>
      `${f.atFirst ? `a ${f.atFirst} of the connection to ` : ''}${f.target} was dropped by ${ofPolicy(f) ? "a chain's policy" : 'a rule'} on this node: ${f.rule}${quoted(f)}${by(f)}${marked(f)}${f.atFirst ? '; a later one came through' : ''}`,
    remedy: ownersRemedy,
  },
  KubeProxyBehind: {
    severity: 'error',
    rank: 0,
    sentence: f =>
      `kube-proxy on this node is behind: its rules sent ${f.target} to ${f.endpoint}, which is no endpoint of the Service now (${f.count ? `it has ${f.now}` : 'it has none'})${f.synced === undefined ? '' : `; it last wrote rules ${f.synced} s before`}`,
    remedy: () =>
      'Look at kube-proxy on this node: does it run, what does its log say, can it reach the API server? Its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds tells when it last wrote rules.',
  },
  DroppedByKernel: {
    severity: 'error',
    rank: 1,
    sentence: droppedByKernel,
    remedy: kernelRemedy,
  },
  ReplyLost: {
    severity: 'error',
    rank: 2,
    sentence: replyLost,
    remedy: f =>
      f.how === 'unmasqueraded'
        ? `Either give that host a route to the pods, or have pods' packets to hosts outside the pod network masqueraded on this node (the CNI's ipMasq, or ip-masq-agent).`
        : f.rpFilter || f.noRoute
          ? kernelRemedy(f)
          : 'Look at what the reply met: its last hop is in the evidence.',
  },
  EndpointRefused: {
    severity: 'error',
    rank: 2,
    sentence: f =>
      f.left
        ? `${f.target} was sent on to ${f.endpoint}, and the connection was refused${f.byProbe ? '' : ` (${f.how})`}: by that endpoint, or by a rule on its node, which this node cannot tell apart`
        : `${f.target} reached ${f.endpoint}, and ${f.byProbe ? 'the connection was refused there' : `that endpoint itself refused (${f.how})`}`,
    remedy: f =>
      `${f.left ? 'Most often nothing' : 'Nothing'} listens on that port in the pod${f.targetPort === undefined ? '' : `: the Service's targetPort is ${f.targetPort}`}. Compare it with the port the container listens on.${f.left ? " If it does listen, trace on the endpoint's node with --node: a NetworkPolicy or a firewall there may refuse." : ''}`,
  },
  EndpointSilent: {
    severity: 'error',
    rank: 3,
    sentence: endpointSilent,
    remedy: endpointSilentRemedy,
  },
  PingNotTranslated: {
    severity: 'info',
    rank: 1,
    sentence: pingNotTranslated,
  },
  PingRejected: {
    severity: 'info',
    rank: 1,
    sentence: f =>
      `ping ${f.address} was rejected, as expected here: ${f.rule}${quoted(f)} rejects whatever is not a port of a Service${f.from ? `; the pod was told "port unreachable" by ${f.from}` : ''}`,
  },
  PingAnsweredByNode: {
    severity: 'info',
    rank: 1,
    sentence: f =>
      `ping ${f.address} was answered by the node itself: the reply says nothing about the pods behind ${f.target}`,
  },
  PingAnswered: {
    severity: 'info',
    rank: 1,
    sentence: f => `ping ${f.address} was answered${f.endpoint ? ` by ${f.endpoint}` : ''}`,
  },
  TranslatedBeforeNetfilter: {
    severity: 'info',
    rank: 2,
    sentence: f =>
      `${f.target} was translated before this node's netfilter saw a packet: the first one already went to ${f.endpoint}`,
    remedy: () => 'An eBPF dataplane does that (Cilium, Calico eBPF). Ask its agent on this node how it translated.',
  },
  NetfilterSawNothing: {
    severity: 'warning',
    rank: 2,
    sentence: f =>
      f.endpoint
        ? `the trace has no packet of ${f.probe} ${f.target}, only later ones of a connection to its endpoint ${f.endpoint}: how that was chosen is not among the lines`
        : `this node's netfilter saw no packet of ${f.probe} ${f.target}${f.answered ? ', though it was answered' : ''}`,
    remedy: () =>
      'Either an eBPF dataplane carries the packets past netfilter, or the trace was taken elsewhere: on another node, of another pod, or at another time.',
  },
  Hairpin: {
    severity: 'info',
    rank: 3,
    sentence: f => `${f.target} led back to the pod that asked: ${f.endpoint}`,
  },
  Masqueraded: {
    severity: 'info',
    rank: 4,
    sentence: f =>
      `the source ${f.from} was ${f.fixed ? 'changed' : 'masqueraded'}${f.to ? ` ${f.fixed ? 'to' : 'as'} ${f.to}` : ''}: ${f.why}`,
  },
  EndpointsPicked: {
    severity: 'info',
    rank: 5,
    sentence: f =>
      `${f.picks} connections to ${f.target} were sent by chance to ${f.endpoints} endpoints${f.even ? ` (each 1 of ${f.endpoints})` : ', with the odds in brackets'}: ${f.counts}${f.never ? `; chance alone would leave out ${f.never} less than once in a thousand times` : ''}`,
  },
  SessionAffinity: {
    severity: 'info',
    rank: 5,
    sentence: f =>
      `session affinity ${f.kept ? (f.noted ? 'noted the first choice and kept to' : 'chose') : 'noted'} ${f.endpoint}${f.timeout ? `; it lasts ${f.timeout} from the last connection on` : ''}`,
  },
  OnlyFirstPacketHitsNat: {
    severity: 'info',
    rank: 6,
    sentence: f =>
      `only the first packet (${f.label}) asked the nat rules; the connection's later ones followed its translation`,
  },
  RulesChanged: {
    severity: 'warning',
    rank: 5,
    sentence: f =>
      `the rules given are not all those the packets met: ${f.reason}${Number(f.count) > 1 ? `, and ${Number(f.count) - 1} more` : ''}`,
    remedy: () =>
      "Rule texts marked with ? may be another rule's. Take the rules and the trace at the same moment, on the same node.",
  },
  TraceIncomplete: {
    severity: 'warning',
    rank: 6,
    sentence: traceIncomplete,
    remedy: f =>
      Number(f.notKept) > 0
        ? 'Narrow it to one pod with --pod-ip, or cut the log.'
        : f.checked === 'structure'
          ? 'Give the rules of that moment with --rules (iptables-save, nft -a list ruleset).'
          : 'Trace again; a quieter node or fewer packets lose fewer lines.',
  },
};
