/** What kube-proxy would write rules from, for one node and address family: the same for all its modes. */
import { familyOf, hostPort } from '../ip.ts';
import { servicePortNames } from '../kube/names.ts';
import type { Endpoint, Family, KubeObjects, Service, ServicePort } from '../model.ts';

export interface ProxyNode {
  name: string;
  addresses: string[];
  clusterCidr: string;
  serviceCidr: string;
}

export interface ProxyPort {
  service: Service;
  port: ServicePort;
  /** `ns/name:port`, as current releases write it. */
  name: string;
  protocol: string;
  clusterIP: string;
  externalIPs: string[];
  /** All ready endpoints, and those of this node; sorted as kube-proxy sorts them. */
  cluster: Endpoint[];
  local: Endpoint[];
  affinitySeconds: number | undefined;
}

export function proxyPorts(objects: KubeObjects, node: ProxyNode, family: Family): ProxyPort[] {
  return objects.services.flatMap(service => {
    const clusterIP = service.clusterIPs.find(ip => familyOf(ip) === family);
    if (clusterIP === undefined) return [];
    return service.ports.map(port => proxyPort(objects, node, service, port, clusterIP, family));
  });
}

function proxyPort(
  objects: KubeObjects,
  node: ProxyNode,
  service: Service,
  port: ServicePort,
  clusterIP: string,
  family: Family,
): ProxyPort {
  const cluster = objects.endpoints
    .filter(e => e.namespace === service.namespace && e.service === service.name && e.portName === port.name && e.ready)
    .filter(e => familyOf(e.address) === family && e.protocol === port.protocol)
    .sort((a, b) => (endpointText(a) < endpointText(b) ? -1 : 1));
  return {
    service,
    port,
    name: servicePortNames(service.namespace, service.name, port.name)[0] ?? '',
    protocol: port.protocol.toLowerCase(),
    clusterIP,
    externalIPs: [...service.externalIPs, ...service.loadBalancerIPs].filter(ip => familyOf(ip) === family),
    cluster,
    local: cluster.filter(e => e.node === node.name),
    affinitySeconds: service.sessionAffinity ? (service.affinitySeconds ?? 10_800) : undefined,
  };
}

export function endpointText(endpoint: Endpoint): string {
  return hostPort(endpoint.address, endpoint.port);
}

/** Endpoints that traffic inside the cluster may use. */
export function internalEndpoints(port: ProxyPort): Endpoint[] {
  return port.service.internalTrafficPolicy === 'Local' ? port.local : port.cluster;
}

export function externalEndpoints(port: ProxyPort): Endpoint[] {
  return port.service.externalTrafficPolicy === 'Local' ? port.local : port.cluster;
}

export function isExternal(port: ProxyPort): boolean {
  return port.externalIPs.length > 0 || port.port.nodePort !== undefined;
}
