/**
 * The table kube-proxy writes in nftables mode, as input for `nft -f -`. Source: pkg/proxy/nftables/proxier.go of
 * Kubernetes 1.36; the cluster suite compares it with the real one's.
 */
import { nftablesChain } from '../kube/names.ts';
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

export function nftablesRules(objects: KubeObjects, node: ProxyNode, family: Family): string {
  const ports = proxyPorts(objects, node, family);
  const ip = family === 'ip' ? 'ip' : 'ip6';
  const type = family === 'ip' ? 'ipv4_addr' : 'ipv6_addr';
  const addresses = node.addresses.filter(address => address.includes(':') === (family === 'ip6'));
  return [
    `table ${ip} kube-proxy {`,
    '  comment "rules for kube-proxy"',
    ...set('hairpin-connections', `${type} . ${type} . inet_proto . inet_service`, hairpins(ports)),
    ...set('cluster-ips', type, [...new Set(ports.map(port => port.clusterIP))]),
    ...set('nodeport-ips', type, addresses),
    ...map('no-endpoint-services', `${type} . inet_proto . inet_service`, ports.flatMap(noEndpointServices)),
    ...map('no-endpoint-nodeports', 'inet_proto . inet_service', ports.flatMap(noEndpointNodePorts)),
    ...map('firewall-ips', `${type} . inet_proto . inet_service`, []),
    ...map('service-ips', `${type} . inet_proto . inet_service`, ports.flatMap(serviceIps)),
    ...map('service-nodeports', 'inet_proto . inet_service', ports.flatMap(serviceNodePorts)),
    ...ports.flatMap(port => affinitySets(port, type)),
    ...baseChains(ip, node),
    ...ports.flatMap(port => serviceChains(port, node, ip)),
    '}',
    '',
  ].join('\n');
}

function set(name: string, type: string, elements: string[]): string[] {
  return [
    `  set ${name} {`,
    `    type ${type}`,
    ...(elements.length > 0 ? [`    elements = { ${elements.join(', ')} }`] : []),
    '  }',
  ];
}

function map(name: string, type: string, elements: string[]): string[] {
  return set(name, `${type} : verdict`, elements).map(line => line.replace('  set ', '  map '));
}

function chain(name: string, lines: string[]): string[] {
  return [`  chain ${name} {`, ...lines.map(line => `    ${line}`), '  }'];
}

function base(name: string, type: string, hook: string, priority: number, lines: string[]): string[] {
  return chain(name, [`type ${type} hook ${hook} priority ${priority}; policy accept;`, ...lines]);
}

function baseChains(ip: string, node: ProxyNode): string[] {
  const lookUp = (name: string) => `${ip} daddr . meta l4proto . th dport vmap @${name}`;
  return [
    ...chain('reject-chain', ['reject']),
    ...chain('nodeport-endpoints-check', [
      `${ip} daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports`,
    ]),
    ...chain('service-endpoints-check', [lookUp('no-endpoint-services')]),
    ...chain('firewall-check', [lookUp('firewall-ips')]),
    ...chain('cluster-ips-check', [
      `${ip} daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"`,
      `${ip} daddr ${node.serviceCidr} drop comment "Drop traffic to unallocated ClusterIPs"`,
    ]),
    ...base('filter-prerouting-pre-dnat', 'filter', 'prerouting', -110, ['ct state new jump firewall-check']),
    ...base('filter-output-pre-dnat', 'filter', 'output', -110, ['ct state new jump firewall-check']),
    ...base('filter-input', 'filter', 'input', 0, [
      'ct state new jump nodeport-endpoints-check',
      'ct state new jump service-endpoints-check',
    ]),
    ...base('filter-forward', 'filter', 'forward', 0, [
      'ct state new jump service-endpoints-check',
      'ct state new jump cluster-ips-check',
    ]),
    ...base('filter-output', 'filter', 'output', 0, [
      'ct state new jump service-endpoints-check',
      'ct state new jump cluster-ips-check',
    ]),
    ...chain('masquerading', [
      'meta mark & 0x00004000 != 0x00000000 meta mark set meta mark ^ 0x00004000 masquerade fully-random',
      `ct status dnat ${ip} saddr . ${ip} daddr . meta l4proto . th dport @hairpin-connections masquerade fully-random`,
    ]),
    // Chains are declared before they are jumped to; the services' own stand behind these.
    ...base('nat-postrouting', 'nat', 'postrouting', 100, ['jump masquerading']),
  ];
}

const nftBase = (port: ProxyPort) =>
  `${port.service.namespace}/${port.service.name}/${port.protocol}/${port.port.name}`;
const nameOf = (prefix: string, port: ProxyPort) => nftablesChain(`${prefix}-`, nftBase(port));
const endpointName = (prefix: string, port: ProxyPort, endpoint: Endpoint) =>
  nftablesChain(`${prefix}-`, `${nftBase(port)}__${endpoint.address.replaceAll(':', '.')}/${endpoint.port}`);

function internalName(port: ProxyPort): string {
  return nameOf(port.service.internalTrafficPolicy === 'Local' ? 'local' : 'service', port);
}

function hairpins(ports: ProxyPort[]): string[] {
  return [
    ...new Set(
      ports.flatMap(port => port.local.map(e => `${e.address} . ${e.address} . ${port.protocol} . ${e.port}`)),
    ),
  ];
}

function refusal(port: ProxyPort): string {
  return port.cluster.length === 0 ? 'goto reject-chain' : 'drop';
}

function noEndpointServices(port: ProxyPort): string[] {
  const key = (ip: string) => `${ip} . ${port.protocol} . ${port.port.port} comment "${port.name}" : ${refusal(port)}`;
  const internal = internalEndpoints(port).length === 0 ? [key(port.clusterIP)] : [];
  const external = externalEndpoints(port).length === 0 ? port.externalIPs.map(key) : [];
  return [...internal, ...external];
}

function noEndpointNodePorts(port: ProxyPort): string[] {
  if (port.port.nodePort === undefined || externalEndpoints(port).length > 0) return [];
  return [`${port.protocol} . ${port.port.nodePort} comment "${port.name}" : ${refusal(port)}`];
}

function serviceIps(port: ProxyPort): string[] {
  const internal =
    internalEndpoints(port).length > 0
      ? [`${port.clusterIP} . ${port.protocol} . ${port.port.port} : goto ${internalName(port)}`]
      : [];
  const external =
    port.cluster.length > 0
      ? port.externalIPs.map(ip => `${ip} . ${port.protocol} . ${port.port.port} : goto ${nameOf('external', port)}`)
      : [];
  return [...internal, ...external];
}

function serviceNodePorts(port: ProxyPort): string[] {
  if (port.port.nodePort === undefined || port.cluster.length === 0) return [];
  return [`${port.protocol} . ${port.port.nodePort} : goto ${nameOf('external', port)}`];
}

function affinitySets(port: ProxyPort, type: string): string[] {
  if (port.affinitySeconds === undefined) return [];
  return port.cluster.flatMap(endpoint => [
    `  set ${endpointName('affinity', port, endpoint)} {`,
    `    type ${type}`,
    '    size 65535',
    '    flags dynamic,timeout',
    `    timeout ${port.affinitySeconds}s`,
    '  }',
  ]);
}

function serviceChains(port: ProxyPort, node: ProxyNode, ip: string): string[] {
  const all = port.cluster.length > 0 && (port.service.internalTrafficPolicy !== 'Local' || isExternal(port));
  const local =
    port.local.length > 0 &&
    (port.service.internalTrafficPolicy === 'Local' ||
      (isExternal(port) && port.service.externalTrafficPolicy === 'Local'));
  const endpoints = port.affinitySeconds === undefined ? [] : all ? port.cluster : internalEndpoints(port);
  return [
    ...endpoints.flatMap(endpoint => endpointChain(port, endpoint, ip)),
    ...(all ? chain(nameOf('service', port), picks(port, port.cluster, ip)) : []),
    ...(local ? chain(nameOf('local', port), picks(port, port.local, ip)) : []),
    ...(isExternal(port) && port.cluster.length > 0
      ? chain(nameOf('external', port), externalRules(port, node, ip))
      : []),
  ];
}

function endpointChain(port: ProxyPort, endpoint: Endpoint, ip: string): string[] {
  return chain(endpointName('endpoint', port, endpoint), [
    `update @${endpointName('affinity', port, endpoint)} { ${ip} saddr }`,
    `meta l4proto ${port.protocol} dnat to ${endpointText(endpoint)}`,
  ]);
}

/** Without affinity one rule picks and translates; with it, endpoints have chains of their own. */
function picks(port: ProxyPort, endpoints: Endpoint[], ip: string): string[] {
  const dice = `numgen random mod ${endpoints.length}`;
  if (port.affinitySeconds === undefined) {
    const targets = endpoints.map((e, i) => `${i} : ${e.address} . ${e.port}`).join(', ');
    return [`meta l4proto ${port.protocol} dnat ${ip} addr . port to ${dice} map { ${targets} }`];
  }
  return [
    ...endpoints.map(
      e => `${ip} saddr @${endpointName('affinity', port, e)} goto ${endpointName('endpoint', port, e)}`,
    ),
    `${dice} vmap { ${endpoints.map((e, i) => `${i} : goto ${endpointName('endpoint', port, e)}`).join(', ')} }`,
  ];
}

function externalRules(port: ProxyPort, node: ProxyNode, ip: string): string[] {
  const service = nameOf('service', port);
  if (port.service.externalTrafficPolicy !== 'Local')
    return ['meta mark set meta mark | 0x00004000 comment "masquerade"', `goto ${service}`];
  const rules = [
    `${ip} saddr ${node.clusterCidr} goto ${service} comment "short-circuit pod traffic"`,
    'fib saddr type local meta mark set meta mark | 0x00004000 comment "masquerade local traffic"',
    `fib saddr type local goto ${service} comment "short-circuit local traffic"`,
  ];
  return port.local.length > 0 ? [...rules, `goto ${nameOf('local', port)}`] : rules;
}

/** The chains that lead to the Services: written last, for they name all the others. */
export function nftablesEntry(node: ProxyNode, family: Family): string {
  const ip = family === 'ip' ? 'ip' : 'ip6';
  return [
    `table ${ip} kube-proxy {`,
    ...chain('services', [
      `${ip} daddr @cluster-ips ${ip} saddr != ${node.clusterCidr} meta mark set meta mark | 0x00004000 comment "masquerade clusterIP traffic from outside cluster"`,
      `${ip} daddr . meta l4proto . th dport vmap @service-ips`,
      `${ip} daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports`,
    ]),
    ...base('nat-prerouting', 'nat', 'prerouting', -100, ['jump services']),
    ...base('nat-output', 'nat', 'output', -100, ['jump services']),
    '}',
    '',
  ].join('\n');
}
