/** `kubectl get services,endpointslices,pods,nodes -o json` -> the few fields we read. Anything else in the list is passed over. */
import { canonicalAddress } from '../ip.ts';
import { isJson, type Json, texts } from '../json.ts';
import type { Endpoint, KubeNode, KubeObjects, Pod, Service, ServicePort } from '../model.ts';

export function emptyObjects(): KubeObjects {
  return { services: [], endpoints: [], pods: [], nodes: [] };
}

/** A List, a single object, or an array of objects; undefined where the value is none of them. */
export function readObjects(value: unknown): KubeObjects | undefined {
  const items = itemsOf(value);
  if (!items) return undefined;
  const objects = emptyObjects();
  for (const item of items) readObject(item, objects);
  return objects;
}

function itemsOf(value: unknown): Json[] | undefined {
  if (Array.isArray(value)) return value.filter(isJson);
  if (!isJson(value) || typeof value.kind !== 'string') return undefined;
  return value.kind.endsWith('List')
    ? list(value.items).map(item => ({ kind: (value.kind as string).slice(0, -4), ...item }))
    : [value];
}

function readObject(item: Json, objects: KubeObjects): void {
  if (item.kind === 'Service') objects.services.push(readService(item));
  else if (item.kind === 'EndpointSlice') objects.endpoints.push(...readSlice(item));
  else if (item.kind === 'Endpoints') objects.endpoints.push(...readEndpoints(item, objects));
  else if (item.kind === 'Pod') objects.pods.push(readPod(item));
  else if (item.kind === 'Node') objects.nodes.push(readNode(item));
}

function map(value: unknown): Json {
  return isJson(value) ? value : {};
}

function list(value: unknown): Json[] {
  return Array.isArray(value) ? value.filter(isJson) : [];
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}

function addresses(value: unknown): string[] {
  return texts(value).flatMap(item => canonicalAddress(item) ?? []);
}

function readService(item: Json): Service {
  const metadata = map(item.metadata);
  const spec = map(item.spec);
  const ips = addresses(spec.clusterIPs);
  const affinity = map(map(spec.sessionAffinityConfig).clientIP).timeoutSeconds;
  const service: Service = {
    namespace: text(metadata.namespace) || 'default',
    name: text(metadata.name),
    type: text(spec.type) || 'ClusterIP',
    clusterIPs: ips.length > 0 ? ips : addresses([spec.clusterIP]),
    externalIPs: addresses(spec.externalIPs),
    loadBalancerIPs: list(map(map(item.status).loadBalancer).ingress).flatMap(ingress => addresses([ingress.ip])),
    ports: list(spec.ports).map(readPort),
    hasSelector: Object.keys(map(spec.selector)).length > 0,
    sessionAffinity: spec.sessionAffinity === 'ClientIP',
    internalTrafficPolicy: text(spec.internalTrafficPolicy) || 'Cluster',
    externalTrafficPolicy: text(spec.externalTrafficPolicy) || 'Cluster',
    ipFamilies: texts(spec.ipFamilies),
  };
  if (typeof spec.externalName === 'string') service.externalName = spec.externalName;
  if (typeof affinity === 'number') service.affinitySeconds = affinity;
  if (typeof spec.healthCheckNodePort === 'number') service.healthCheckNodePort = spec.healthCheckNodePort;
  return service;
}

function readPort(port: Json): ServicePort {
  const read: ServicePort = { name: text(port.name), port: Number(port.port), protocol: text(port.protocol) || 'TCP' };
  if (typeof port.targetPort === 'number' || typeof port.targetPort === 'string') read.targetPort = port.targetPort;
  if (typeof port.nodePort === 'number') read.nodePort = port.nodePort;
  return read;
}

function readSlice(slice: Json): Endpoint[] {
  const metadata = map(slice.metadata);
  const service = text(map(metadata.labels)['kubernetes.io/service-name']);
  // A selectorless Service's slice made by hand may lack `ports`; then it has no port to send to.
  return list(slice.endpoints).flatMap(endpoint =>
    list(slice.ports).flatMap(port =>
      typeof port.port !== 'number'
        ? []
        : addresses(endpoint.addresses).map(address =>
            endpointOf(endpoint, port, address, text(metadata.namespace) || 'default', service),
          ),
    ),
  );
}

function endpointOf(endpoint: Json, port: Json, address: string, namespace: string, service: string): Endpoint {
  const conditions = map(endpoint.conditions);
  const read: Endpoint = {
    address,
    port: Number(port.port),
    protocol: text(port.protocol) || 'TCP',
    portName: text(port.name),
    // An unset condition counts as true, terminating as false (discovery/v1 EndpointConditions).
    ready: conditions.ready !== false,
    serving: conditions.serving !== false,
    terminating: conditions.terminating === true,
    namespace,
    service,
  };
  const target = map(endpoint.targetRef);
  if (text(target.name) !== '' && target.kind !== 'Node') read.pod = text(target.name);
  if (text(endpoint.nodeName) !== '') read.node = text(endpoint.nodeName);
  return read;
}

/** The old Endpoints objects, only where no slice was given for the Service. */
function readEndpoints(item: Json, objects: KubeObjects): Endpoint[] {
  const metadata = map(item.metadata);
  const namespace = text(metadata.namespace) || 'default';
  const service = text(metadata.name);
  if (objects.endpoints.some(e => e.namespace === namespace && e.service === service)) return [];
  return list(item.subsets).flatMap(subset =>
    list(subset.ports).flatMap(port =>
      list(subset.addresses).flatMap(entry =>
        addresses([entry.ip]).map(address =>
          endpointOf({ ...entry, conditions: {} }, port, address, namespace, service),
        ),
      ),
    ),
  );
}

function readPod(item: Json): Pod {
  const metadata = map(item.metadata);
  const spec = map(item.spec);
  const status = map(item.status);
  const ips = list(status.podIPs).flatMap(entry => addresses([entry.ip]));
  const pod: Pod = {
    namespace: text(metadata.namespace) || 'default',
    name: text(metadata.name),
    ips: ips.length > 0 ? ips : addresses([status.podIP]),
    hostNetwork: spec.hostNetwork === true,
  };
  if (text(spec.nodeName) !== '') pod.node = text(spec.nodeName);
  return pod;
}

function readNode(item: Json): KubeNode {
  const metadata = map(item.metadata);
  const spec = map(item.spec);
  const cidrs = texts(spec.podCIDRs);
  return {
    name: text(metadata.name),
    addresses: list(map(item.status).addresses).flatMap(entry => addresses([entry.address])),
    podCIDRs: cidrs.length > 0 ? cidrs : texts([spec.podCIDR]),
  };
}
