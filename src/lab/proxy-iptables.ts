/**
 * The rules kube-proxy writes in iptables mode, as input for iptables-restore. Source: pkg/proxy/iptables/proxier.go of
 * Kubernetes 1.36; the cluster suite compares them with those of the real one.
 */
import { iptablesChain } from '../kube/names.ts';
import type { Endpoint, Family, KubeObjects } from '../model.ts';
import {
  endpointText,
  externalEndpoints,
  internalEndpoints,
  isExternal,
  type ProxyNode,
  type ProxyPort,
  proxyPorts,
} from './proxy-model.ts';

export function iptablesRules(objects: KubeObjects, node: ProxyNode, family: Family): string {
  const ports = proxyPorts(objects, node, family);
  return [...mangle(), ...filter(ports), ...nat(ports, node), ''].join('\n');
}

function mangle(): string[] {
  return ['*mangle', ':KUBE-PROXY-CANARY - [0:0]', 'COMMIT'];
}

function comment(text: string): string {
  return `-m comment --comment "${text}"`;
}

const NEW = '-m conntrack --ctstate NEW';

/** In the order they end up in: each is put in front of those before it. */
const FILTER_JUMPS = [
  `-A INPUT ${NEW} ${comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL`,
  `-A INPUT ${comment('kubernetes health check service ports')} -j KUBE-NODEPORTS`,
  `-A INPUT ${NEW} ${comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES`,
  `-A FORWARD ${NEW} ${comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL`,
  `-A FORWARD ${comment('kubernetes forwarding rules')} -j KUBE-FORWARD`,
  `-A FORWARD ${NEW} ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
  `-A FORWARD ${NEW} ${comment('kubernetes externally-visible service portals')} -j KUBE-EXTERNAL-SERVICES`,
  `-A OUTPUT ${NEW} ${comment('kubernetes load balancer firewall')} -j KUBE-PROXY-FIREWALL`,
  `-A OUTPUT ${NEW} ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
];

const FORWARDING = [
  '-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
  `-A KUBE-FORWARD ${comment('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
  `-A KUBE-FORWARD ${comment('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
];

function filter(ports: ProxyPort[]): string[] {
  const chains = [
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-FORWARD',
    'KUBE-NODEPORTS',
    'KUBE-PROXY-CANARY',
    'KUBE-PROXY-FIREWALL',
    'KUBE-SERVICES',
  ];
  return [
    '*filter',
    ...chains.map(chain => `:${chain} - [0:0]`),
    ...FILTER_JUMPS,
    ...ports.flatMap(withoutExternalEndpoints),
    ...FORWARDING,
    ...ports.flatMap(withoutEndpoints),
    'COMMIT',
  ];
}

/** Rejected if nobody serves at all, dropped if only nobody of this node does. */
function refusal(port: ProxyPort): { words: string; target: string } {
  if (port.cluster.length === 0)
    return { words: 'has no endpoints', target: '-j REJECT --reject-with icmp-port-unreachable' };
  return { words: 'has no local endpoints', target: '-j DROP' };
}

function withoutEndpoints(port: ProxyPort): string[] {
  if (internalEndpoints(port).length > 0) return [];
  const { words, target } = refusal(port);
  return [`-A KUBE-SERVICES ${to(port, port.clusterIP, port.port.port, `${port.name} ${words}`)} ${target}`];
}

function withoutExternalEndpoints(port: ProxyPort): string[] {
  if (!isExternal(port) || externalEndpoints(port).length > 0) return [];
  const { words, target } = refusal(port);
  const text = `${port.name} ${words}`;
  const rules = port.externalIPs.map(ip => `-A KUBE-EXTERNAL-SERVICES ${to(port, ip, port.port.port, text)} ${target}`);
  const { nodePort } = port.port;
  if (nodePort === undefined) return rules;
  const match = `-p ${port.protocol} ${comment(text)} -m addrtype --dst-type LOCAL -m ${port.protocol} --dport ${nodePort}`;
  return [...rules, `-A KUBE-EXTERNAL-SERVICES ${match} ${target}`];
}

function to(port: ProxyPort, ip: string, number: number, text: string): string {
  const bits = ip.includes(':') ? 128 : 32;
  return `-d ${ip}/${bits} -p ${port.protocol} ${comment(text)} -m ${port.protocol} --dport ${number}`;
}

const chainOf = (prefix: string, port: ProxyPort, endpoint?: Endpoint) =>
  iptablesChain(prefix, port.name, port.protocol, endpoint ? endpointText(endpoint) : '');

/** The chain that traffic inside the cluster goes to. */
function internalChain(port: ProxyPort): string {
  return chainOf(port.service.internalTrafficPolicy === 'Local' ? 'KUBE-SVL-' : 'KUBE-SVC-', port);
}

function nat(ports: ProxyPort[], node: ProxyNode): string[] {
  const parts = ports.map(port => natOf(port, node));
  const names = new Set(parts.flatMap(part => part.own.map(rule => rule.split(' ')[1] ?? '')));
  const fixed = ['KUBE-MARK-MASQ', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-PROXY-CANARY', 'KUBE-SERVICES'];
  const nodePorts = `${comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain')} -m addrtype --dst-type LOCAL`;
  return [
    '*nat',
    ...[...fixed, ...names].map(chain => `:${chain} - [0:0]`),
    `-A PREROUTING ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A OUTPUT ${comment('kubernetes service portals')} -j KUBE-SERVICES`,
    `-A POSTROUTING ${comment('kubernetes postrouting rules')} -j KUBE-POSTROUTING`,
    '-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000',
    '-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN',
    '-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000',
    `-A KUBE-POSTROUTING ${comment('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
    ...parts.flatMap(part => part.nodePorts),
    ...parts.flatMap(part => part.services),
    `-A KUBE-SERVICES ${nodePorts} -j KUBE-NODEPORTS`,
    ...parts.flatMap(part => part.own),
    'COMMIT',
  ];
}

interface NatPart {
  services: string[];
  nodePorts: string[];
  own: string[];
}

function natOf(port: ProxyPort, node: ProxyNode): NatPart {
  const part: NatPart = { services: [], nodePorts: [], own: [] };
  const { nodePort } = port.port;
  if (internalEndpoints(port).length > 0)
    part.services.push(
      `-A KUBE-SERVICES ${to(port, port.clusterIP, port.port.port, `${port.name} cluster IP`)} -j ${internalChain(port)}`,
    );
  if (isExternal(port) && port.cluster.length > 0) {
    const external = chainOf('KUBE-EXT-', port);
    for (const ip of port.externalIPs)
      part.services.push(`-A KUBE-SERVICES ${to(port, ip, port.port.port, `${port.name} external IP`)} -j ${external}`);
    if (nodePort !== undefined)
      part.nodePorts.push(
        `-A KUBE-NODEPORTS -p ${port.protocol} ${comment(port.name)} -m ${port.protocol} --dport ${nodePort} -j ${external}`,
      );
    part.own.push(...externalChain(port, node, external));
  }
  part.own.push(...serviceChains(port, node), ...endpointsOf(port).flatMap(endpoint => endpointChain(port, endpoint)));
  return part;
}

function endpointsOf(port: ProxyPort): Endpoint[] {
  return needsClusterChain(port) ? port.cluster : internalEndpoints(port);
}

/** The chain over all endpoints is there for whoever may use them all: inside, from outside, or pods by the short cut. */
function needsClusterChain(port: ProxyPort): boolean {
  return port.cluster.length > 0 && (port.service.internalTrafficPolicy !== 'Local' || isExternal(port));
}

function externalChain(port: ProxyPort, node: ProxyNode, chain: string): string[] {
  const all = chainOf('KUBE-SVC-', port);
  if (port.service.externalTrafficPolicy !== 'Local')
    return [
      `-A ${chain} ${comment(`masquerade traffic for ${port.name} external destinations`)} -j KUBE-MARK-MASQ`,
      `-A ${chain} -j ${all}`,
    ];
  const local = '-m addrtype --src-type LOCAL';
  const rules = [
    `-A ${chain} -s ${node.clusterCidr} ${comment(`pod traffic for ${port.name} external destinations`)} -j ${all}`,
    `-A ${chain} ${comment(`masquerade LOCAL traffic for ${port.name} external destinations`)} ${local} -j KUBE-MARK-MASQ`,
    `-A ${chain} ${comment(`route LOCAL traffic for ${port.name} external destinations`)} ${local} -j ${all}`,
  ];
  return port.local.length > 0 ? [...rules, `-A ${chain} -j ${chainOf('KUBE-SVL-', port)}`] : rules;
}

function serviceChains(port: ProxyPort, node: ProxyNode): string[] {
  const local =
    port.service.internalTrafficPolicy === 'Local' ||
    (isExternal(port) && port.service.externalTrafficPolicy === 'Local');
  return [
    ...(needsClusterChain(port) ? serviceChain(port, chainOf('KUBE-SVC-', port), port.cluster, node) : []),
    ...(local && port.local.length > 0 ? serviceChain(port, chainOf('KUBE-SVL-', port), port.local, node) : []),
  ];
}

/** Masquerade mark for senders outside the pod network, affinity first, then chance. Only the internal chain marks. */
function serviceChain(port: ProxyPort, chain: string, endpoints: Endpoint[], node: ProxyNode): string[] {
  const marks =
    chain === internalChain(port)
      ? [
          `-A ${chain} ! -s ${node.clusterCidr} ${to(port, port.clusterIP, port.port.port, `${port.name} cluster IP`)} -j KUBE-MARK-MASQ`,
        ]
      : [];
  return [
    ...marks,
    ...endpoints.flatMap(endpoint => affinityRule(port, chain, endpoint)),
    ...endpoints.map((endpoint, i) => chanceRule(port, chain, endpoint, endpoints.length - i)),
  ];
}

function affinityRule(port: ProxyPort, chain: string, endpoint: Endpoint): string[] {
  if (port.affinitySeconds === undefined) return [];
  const sep = chainOf('KUBE-SEP-', port, endpoint);
  return [
    `-A ${chain} ${comment(`${port.name} -> ${endpointText(endpoint)}`)} -m recent --name ${sep} --rcheck --seconds ${port.affinitySeconds} --reap -j ${sep}`,
  ];
}

/** @param left how many endpoints are still to choose from, this one included */
function chanceRule(port: ProxyPort, chain: string, endpoint: Endpoint, left: number): string {
  const chance = left > 1 ? ` -m statistic --mode random --probability ${(1 / left).toFixed(10)}` : '';
  return `-A ${chain} ${comment(`${port.name} -> ${endpointText(endpoint)}`)}${chance} -j ${chainOf('KUBE-SEP-', port, endpoint)}`;
}

function endpointChain(port: ProxyPort, endpoint: Endpoint): string[] {
  const sep = chainOf('KUBE-SEP-', port, endpoint);
  const bits = endpoint.address.includes(':') ? 128 : 32;
  const recent = port.affinitySeconds === undefined ? '' : ` -m recent --name ${sep} --set`;
  return [
    `-A ${sep} -s ${endpoint.address}/${bits} ${comment(port.name)} -j KUBE-MARK-MASQ`,
    `-A ${sep} -p ${port.protocol} ${comment(port.name)}${recent} -m ${port.protocol} -j DNAT --to-destination ${endpointText(endpoint)}`,
  ];
}
