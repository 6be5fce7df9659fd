/** Sentences and remedies of findings that need more than a line: facts in, prose out. */
import type { Facts } from './draft.ts';

export const by = (facts: Facts): string => (facts.owner ? ` (${facts.owner})` : '');
export const quoted = (facts: Facts): string => (facts.text ? ` "${facts.text}"` : '');

/** Others of the same question may have gone elsewhere, or have had no answer. */
export function connections(f: Facts): string {
  if (!f.connections) return '';
  return f.answered === f.connections
    ? ` (${f.connections} connections)`
    : ` (${f.answered} of ${f.connections} connections)`;
}

export function rejectedByRule(f: Facts): string {
  if (f.unseen)
    return `${f.target} was turned away by this node itself (${f.what} from ${f.from}), and the line that tells by which rule, or whether routing did it, is missing: the last one is ${f.rule}`;
  if (f.portCheck)
    return `${f.target} was rejected on this node by kube-proxy, in whose sets that is no port of a Service: ${f.rule}${quoted(f)}`;
  if (f.last)
    return `${f.target} was rejected by a rule on this node, and the last line before that is of ${f.rule}${quoted(f)}${by(f)}`;
  return `${f.target} was rejected by a rule on this node: ${f.rule}${quoted(f)}${by(f)}${f.stale ? `, though the Service has that port` : ''}`;
}

export function rejectedRemedy(f: Facts): string {
  if (f.unseen) return 'Trace again: the line of the rule, which was lost, tells whose it is.';
  if (f.portCheck)
    return `Either the Service has no port ${f.port}, or kube-proxy's sets on this node lack it: compare kubectl get services -A with the rules (--objects and --rules tell which).`;
  if (!f.stale) return ownersRemedy(f);
  return `kube-proxy's own rules disagree: ${f.stale} does not hold this address and port. Look at kube-proxy's log on this node, and restart it there.`;
}

export function droppedByKernel(f: Facts): string {
  const many = Number(f.packets) > 1;
  const to = f.to ? ` to ${f.to}` : ', translated to what no line tells,';
  if (f.rpFilter)
    return `${f.target}: netfilter let ${many ? `all ${f.packets} packets` : 'the packet'}${to} pass, and the kernel took ${many ? 'them' : 'it'} for forged: the way back to the sender ${f.source} is not by ${f.in}, where ${many ? 'they' : 'it'} came in, and rp_filter is on there`;
  if (f.notForwarding)
    return `${f.target}: this node does not pass on what comes in by ${f.in}: net.${f.notForwarding}.conf.${f.in}.forwarding is 0`;
  if (f.noRoute)
    return `${f.target}: this node has no route${to} for what comes in by ${f.in}: ${f.noRoute}${f.unseen ? ', as it told the sender' : ''}`;
  if (f.conntrackFull)
    return `${f.target}: this node's connection table was full (${f.conntrackFull}), and conntrack dropped ${f.conntrackDropped} packets while this was traced`;
  return `${f.target}: netfilter let ${many ? `all ${f.packets} packets` : 'the packet'}${to} pass, and routing did not hand ${many ? 'them' : 'it'} on${many ? '' : '; or the lines behind it are lost'}`;
}

export function kernelRemedy(f: Facts): string {
  if (f.rpFilter)
    return `Mend the route to ${f.source} (ip route get ${f.source}), or set net.ipv4.conf.${f.in}.rp_filter to 2, which accepts any way back. The larger of that and of conf.all counts.`;
  if (f.notForwarding)
    return `sysctl -w net.${f.notForwarding}.conf.all.forwarding=1, and find who turned it off: a node has to forward, or no pod is reached.`;
  if (f.conntrackFull)
    return 'Raise net.netfilter.nf_conntrack_max on this node, or find who opens so many connections: conntrack -L, conntrack -S.';
  if (f.noRoute)
    return `Look at the node's routes: ip route get ${f.address} from ${f.source} iif ${f.in}; the CNI plugin is what makes those to pods.`;
  return `Look at what the kernel checks beside netfilter: ip route get ${f.address ?? 'the address it was translated to'}, net.ipv4.ip_forward, and rp_filter of ${f.in || 'the interface'}.`;
}

function nameOf(facts: Facts): string {
  const [namespace, name] = String(facts.target).replace(/:\d+$/, '').split('/');
  return name === undefined ? '' : `-n ${namespace} ${name}`;
}

export function noEndpointsRemedy(f: Facts): string {
  if (f.ready)
    return 'kube-proxy on this node is behind, or was when the trace was taken: look at its log and at its metric kubeproxy_sync_proxy_rules_last_timestamp_seconds.';
  const name = nameOf(f);
  if (f.selector === false)
    return 'The Service has no selector, so nobody makes endpoints for it: make an EndpointSlice by hand, or give it a selector.';
  return `No ready pod stands behind the Service. Compare its selector with the pods' labels and look at their readiness: kubectl get pods,endpointslices${name === '' ? '' : ` ${name.replace(/^(-n \S+) .*/, '$1')}; kubectl describe service ${name}`}`;
}

/** The rule that was met does not drop by itself. */
export function marked(f: Facts): string {
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

export function ofPolicy(f: Facts): boolean {
  return / policy$/.test(String(f.rule));
}

export function ownersRemedy(f: Facts): string {
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

export function portNotExposed(f: Facts): string {
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

export function replyLost(f: Facts): string {
  if (f.how === 'ended')
    return `${f.target}: ${f.endpoint} answered, and the answer was lost on this node at ${f.rule}${quoted(f)}${by(f)}`;
  if (f.rpFilter)
    return `${f.target}: ${f.endpoint} answered, and the kernel took the answer for forged: the way back to ${f.source} is not by ${f.in}, where it came in, and rp_filter is on there`;
  if (f.noRoute)
    return `${f.target}: ${f.endpoint} answered, and this node has no route for the answer, which came in by ${f.in}: ${f.noRoute}`;
  if (f.how === 'seen')
    return `${f.target}: ${f.endpoint} answered, and the answer did not reach the sender, who asked again`;
  return `${f.target} was sent to ${f.endpoint} by ${f.out} with the pod's own address ${f.source} as its source and no reply came back: a host outside the pod network has no way back to that address, unless it has a route to the pods`;
}

export function endpointSilent(f: Facts): string {
  const repeated = Number(f.repeats) > 1 ? `, ${f.repeats} times` : '';
  if (f.alternative) return `or ${f.endpoint} itself never answered: the trace of this node fits that as well`;
  if (f.what && f.endpoint === f.target) return `${f.target} was not reached: ${f.from} answered: ${f.what}`;
  if (f.what) return `${f.target} was sent to ${f.endpoint}, and ${f.from} answered: ${f.what}`;
  if (f.accepted)
    return `${f.target}: ${f.endpoint} accepted the connection, and what was asked in it was not answered: ${f.accepted}`;
  if (f.unanswered)
    return `${f.target} was sent on to ${f.endpoint}${repeated}, and nobody on ${f.unanswered} answers for that address (neighbour FAILED)`;
  const how = `${f.sentBy ? ` (by ${f.sentBy}, no rule of kube-proxy)` : ''}${f.sourceBy ? `, from ${f.source} (by ${f.sourceBy})` : ''}`;
  return f.left
    ? `${f.target} was sent on to ${f.endpoint} by ${f.out}${f.via ? ` via ${f.via}` : ''}${how}${repeated}, and no reply came back`
    : `${f.target} was delivered to ${f.endpoint}${how}${repeated}, and no reply came back`;
}

export function endpointSilentRemedy(f: Facts): string {
  if (f.accepted)
    return 'The packets went through. Look into the pod: is it overloaded, and does it speak what it was asked (--scheme)? Where only long packets get lost, look at the MTU on the way.';
  if (f.unanswered)
    return 'The pod with that address is gone or has lost its network: compare kubectl get pods -o wide with kubectl get endpointslices.';
  if (f.sourceBy)
    return `Replies go to ${f.source}: is that an address of this node? If not, it is ${f.sourceBy} that loses them. Else see it from the endpoint's node.`;
  if (f.sentBy)
    return `It is ${f.sentBy} that sent it there, and not kube-proxy: find out who wrote that rule, and whether ${f.endpoint} is alive.`;
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

export function pingNotTranslated(f: Facts): string {
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

export function traceIncomplete(f: Facts): string {
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
