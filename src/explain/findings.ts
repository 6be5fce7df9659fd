/**
 * The prose of findings, in one place and last: every kind has a severity, a sentence and, where something is wrong, a way
 * out. The compiler demands a row for every kind, and a test a page in docs/findings/ for every row.
 */
import type { FindingKind, Severity } from '../model.ts';
import type { Facts } from './draft.ts';

export interface FindingInfo {
  severity: Severity;
  /** Order among findings of one severity: the cause before what follows from it. */
  rank: number;
  sentence(facts: Facts): string;
  remedy?(facts: Facts): string | undefined;
}

const by = (facts: Facts): string => (facts.owner ? ` (${facts.owner})` : '');
const quoted = (facts: Facts): string => (facts.text ? ` "${facts.text}"` : '');

export const FINDINGS: Record<FindingKind, FindingInfo> = {
  ServiceAnswered: {
    severity: 'info',
    rank: 0,
    sentence: f =>
      `${f.target} answered${f.status === undefined ? '' : ` with HTTP ${f.status}`}${f.endpoint ? ` from ${f.endpoint}` : ''}${connections(f)}`,
    remedy: f =>
      typeof f.status === 'number' && f.status >= 500
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
      `no rule on this node translated ${f.target}, though the Service has that port${f.out ? `: the packet left by ${f.out} for an address no host has` : ''}`,
    remedy: () =>
      'kube-proxy on this node does not know the Service: look at its log and at its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds.',
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
      `${f.target} was dropped by ${ofPolicy(f) ? "a chain's policy" : 'a rule'} on this node: ${f.rule}${quoted(f)}${by(f)}${marked(f)}`,
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
    remedy: f =>
      `Look at what the kernel checks beside netfilter: ip route get ${f.address ?? 'the address it was translated to'}, net.ipv4.ip_forward, and rp_filter of ${f.in || 'the interface'}.`,
  },
  ReplyLost: {
    severity: 'error',
    rank: 2,
    sentence: replyLost,
    remedy: f =>
      f.how === 'unmasqueraded'
        ? `Either give that host a route to the pods, or have pods' packets to hosts outside the pod network masqueraded on this node (the CNI's ipMasq, or ip-masq-agent).`
        : 'Look at what the reply met: its last hop is in the evidence.',
  },
  EndpointRefused: {
    severity: 'error',
    rank: 2,
    sentence: f =>
      `${f.target} reached ${f.endpoint}, and ${f.byProbe ? 'the connection was refused there' : `that endpoint itself refused (${f.how})`}`,
    remedy: f =>
      `Nothing listens on that port in the pod${f.targetPort === undefined ? '' : `: the Service's targetPort is ${f.targetPort}`}. Compare it with the port the container listens on.`,
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
    sentence: f => `the source ${f.from} was masqueraded${f.to ? ` as ${f.to}` : ''}: ${f.why}`,
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

/** Others of the same question may have gone elsewhere, or have had no answer. */
function connections(f: Facts): string {
  if (!f.connections) return '';
  return f.answered === f.connections
    ? ` (${f.connections} connections)`
    : ` (${f.answered} of ${f.connections} connections)`;
}

function rejectedByRule(f: Facts): string {
  if (f.unseen)
    return `${f.target} was turned away by this node itself (${f.what} from ${f.from}), and the line that tells by which rule, or whether routing did it, is missing: the last one is ${f.rule}`;
  if (f.portCheck)
    return `${f.target} was rejected on this node by kube-proxy, in whose sets that is no port of a Service: ${f.rule}${quoted(f)}`;
  if (f.last)
    return `${f.target} was rejected by a rule on this node, and the last line before that is of ${f.rule}${quoted(f)}${by(f)}`;
  return `${f.target} was rejected by a rule on this node: ${f.rule}${quoted(f)}${by(f)}${f.stale ? `, though the Service has that port` : ''}`;
}

function rejectedRemedy(f: Facts): string {
  if (f.unseen) return 'Trace again: the line of the rule, which was lost, tells whose it is.';
  if (f.portCheck)
    return `Either the Service has no port ${f.port}, or kube-proxy's sets on this node lack it: compare kubectl get services -A with the rules (--objects and --rules tell which).`;
  if (!f.stale) return ownersRemedy(f);
  return `kube-proxy's own rules disagree: ${f.stale} does not hold this address and port. Look at kube-proxy's log on this node, and restart it there.`;
}

function droppedByKernel(f: Facts): string {
  const many = Number(f.packets) > 1;
  const to = f.to ? ` to ${f.to}` : ', translated to what no line tells,';
  if (f.noRoute) return `${f.target}: this node has no route${to}: ${f.noRoute}`;
  return `${f.target}: netfilter let ${many ? `all ${f.packets} packets` : 'the packet'}${to} pass, and routing did not hand ${many ? 'them' : 'it'} on${many ? '' : '; or the lines behind it are lost'}`;
}

function nameOf(facts: Facts): string {
  const [namespace, name] = String(facts.target).replace(/:\d+$/, '').split('/');
  return name === undefined ? '' : `-n ${namespace} ${name}`;
}

function noEndpointsRemedy(f: Facts): string {
  if (f.ready)
    return 'kube-proxy on this node is behind, or was when the trace was taken: look at its log and at its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds.';
  const name = nameOf(f);
  if (f.selector === false)
    return 'The Service has no selector, so nobody makes endpoints for it: make an EndpointSlice by hand, or give it a selector.';
  return `No ready pod stands behind the Service. Compare its selector with the pods' labels and look at their readiness: kubectl get pods,endpointslices${name === '' ? '' : `; kubectl describe service ${name}`}`;
}

/** The rule that was met does not drop by itself. */
function marked(f: Facts): string {
  return f.marked ? ', which had it marked for KUBE-FIREWALL to drop' : '';
}

/** Why kube-proxy's and kubelet's own chains drop, where it is not for want of endpoints. */
const OWN_DROPS: [RegExp, string, says?: RegExp][] = [
  [
    /KUBE-PROXY-FIREWALL|KUBE-FW-|firewall-check|firewall-/,
    "The Service's loadBalancerSourceRanges do not hold the sender's address: look at them, and at the address it came from.",
  ],
  [
    /KUBE-FORWARD/,
    'conntrack took the packet for invalid: look for a full conntrack table, and for replies that come another way than their requests went.',
  ],
  [/KUBE-FIREWALL/, "The node's own protection of loopback addresses (route_localnet) dropped it.", /localnet|\b127\./],
];

function ofPolicy(f: Facts): boolean {
  return / policy$/.test(String(f.rule));
}

function ownersRemedy(f: Facts): string {
  if (ofPolicy(f))
    return 'No rule of the chain let it pass. Docker and firewalls set such a policy; find the rule that was to let the traffic of pods pass.';
  const own = f.owner === 'kube-proxy' || f.owner === 'kubelet';
  if (own)
    return (
      OWN_DROPS.find(([chain, , says]) => chain.test(String(f.rule)) && (says?.test(String(f.text)) ?? true))?.[1] ??
      `The rule is ${f.owner}'s own: look at the Service it is for, and at the log of ${f.owner} on this node.`
    );
  return f.owner
    ? `The rule belongs to ${f.owner}: look for the policy it was made from.`
    : "Find out who wrote the rule; it is not one of kube-proxy's.";
}

function portNotExposed(f: Facts): string {
  const service = String(f.target).replace(/(:\d+)(\/UDP)?$/, '');
  const what = f.rejected ? `so ${f.rule}${quoted(f)} rejected it` : `so no rule translated it${untranslatedEnd(f)}`;
  const has = f.byRules
    ? `kube-proxy on this node knows no port ${f.port} of ${service}${f.exposed ? ` (it knows ${f.exposed})` : ''}`
    : `${service} has no port ${f.port}${f.exposed ? ` (it has ${f.exposed})` : ''}`;
  return `${has}, ${what}`;
}

function untranslatedEnd(f: Facts): string {
  if (f.from) return `, and ${f.from} answered: ${f.what}`;
  if (f.what === 'refused') return ', and the connection was refused';
  return ` and it left by ${f.out || 'the default route'} for an address no host has`;
}

function replyLost(f: Facts): string {
  if (f.how === 'ended')
    return `${f.target}: ${f.endpoint} answered, and the answer was lost on this node at ${f.rule}${quoted(f)}${by(f)}`;
  if (f.how === 'seen')
    return `${f.target}: ${f.endpoint} answered, and the answer did not reach the sender, who asked again`;
  return `${f.target} was sent to ${f.endpoint} by ${f.out} with the pod's own address ${f.source} as its source and no reply came back: a host outside the pod network has no way back to that address, unless it has a route to the pods`;
}

function endpointSilent(f: Facts): string {
  const repeated = Number(f.repeats) > 1 ? `, ${f.repeats} times` : '';
  if (f.alternative) return `or ${f.endpoint} itself never answered: the trace of this node fits that as well`;
  if (f.what && f.endpoint === f.target) return `${f.target} was not reached: ${f.from} answered: ${f.what}`;
  if (f.what) return `${f.target} was sent to ${f.endpoint}, and ${f.from} answered: ${f.what}`;
  if (f.unanswered)
    return `${f.target} was sent on to ${f.endpoint}${repeated}, and nobody on ${f.unanswered} answers for that address (neighbour FAILED)`;
  return f.left
    ? `${f.target} was sent on to ${f.endpoint} by ${f.out}${f.via ? ` via ${f.via}` : ''}${repeated}, and no reply came back`
    : `${f.target} was delivered to ${f.endpoint}${repeated}, and no reply came back`;
}

function endpointSilentRemedy(f: Facts): string {
  if (f.unanswered)
    return 'The pod with that address is gone or has lost its network: compare kubectl get pods -o wide with kubectl get endpointslices.';
  if (!f.left) return silentRemedy(f);
  const next = f.node
    ? `See it from there: kubectl trace-svc ${nameOf(f).replace(/^-n (\S+) (\S+)$/, 'svc/$2 -n $1')} --node ${f.node}; then`
    : "Trace on the endpoint's node next, and";
  return `This node's evidence ends where the packet left it. ${next} look at NetworkPolicies that select the endpoint.`;
}

/** Who says that there is no host or no network speaks of routes and of machines that are gone, not of what a pod accepts. */
function silentRemedy(f: Facts): string {
  if (/^(host|network|address) unreachable|^no route/.test(String(f.what)))
    return `The address may be that of a pod that is gone, or the way to it is missing: compare kubectl get pods -A -o wide with the endpoints, and the routes of ${f.from} and of this node.`;
  return 'Look into the pod: does it accept connections, and does a NetworkPolicy select it?';
}

function pingNotTranslated(f: Facts): string {
  const why = `no rule translates ICMP${f.failed ? ` (the one for this Service, ${f.nearest}, wants ${f.failed})` : ''}`;
  const end = f.error
    ? `${f.from} answered: ${f.error}`
    : f.left
      ? `the packet left by ${f.out} unchanged, for an address no host has`
      : f.out
        ? `it was sent to ${f.out} unchanged`
        : 'it stayed as it was';
  return `ping ${f.address} ${f.timeout ? 'got no reply' : 'was not translated'}, as expected here: ${why}; ${end}`;
}

function traceIncomplete(f: Facts): string {
  const parts = [
    Number(f.lost) > 0 ? `${f.lost} ${Number(f.lost) === 1 ? 'line' : 'lines'} lost` : '',
    Number(f.gaps) > 0 ? `${f.gaps} ${Number(f.gaps) === 1 ? 'gap' : 'gaps'} in what the packets met` : '',
    Number(f.unrecognised) > 0
      ? `${f.unrecognised} ${Number(f.unrecognised) === 1 ? 'line' : 'lines'} not understood`
      : '',
  ].filter(part => part !== '');
  if (parts.length > 0) return `the trace is incomplete: ${parts.join(', ')}`;
  if (Number(f.notKept) > 0) return `the trace is long: ${f.notKept} packets at its end were counted, but not followed`;
  return f.checked === 'structure'
    ? 'no rules were given: a line missing inside a chain could go unnoticed'
    : 'the trace is incomplete';
}
