/** The Service that was asked for -> the address and port to probe, or the one clear reason why there is none. */
import { TraceError } from '../errors.ts';
import { familyOf } from '../ip.ts';
import type { KubeObjects, Service, ServicePort } from '../model.ts';

export type IpFamily = 'ipv4' | 'ipv6';
/** Which of a Service's addresses is asked. */
export type Via = 'cluster-ip' | 'external-ip' | 'load-balancer' | 'node-port';
export const VIAS: readonly Via[] = ['cluster-ip', 'external-ip', 'load-balancer', 'node-port'];

/** Is it an address of this family? */
export function isOfFamily(address: string, family: IpFamily): boolean {
  return ipFamilyOf(address) === family;
}

function ipFamilyOf(address: string): IpFamily {
  return familyOf(address) === 'ip6' ? 'ipv6' : 'ipv4';
}

export interface Asked {
  namespace: string;
  service: string;
  /** Number or name, `/udp` or `/tcp` behind it; undefined: the Service's first. */
  port?: string;
  family?: IpFamily;
  via: Via;
}

export interface Target {
  service: Service;
  /** Undefined: the Service does not have the port that was asked for. */
  servicePort?: ServicePort;
  /** Undefined for a node port: the address is that of the node the probe lands on. */
  address?: string;
  family: IpFamily;
  port: number;
  protocol: 'tcp' | 'udp';
  /** What is worth knowing before the answer. */
  notes: string[];
}

/** @throws TraceError where there is nothing a packet could be sent to */
export function resolveTarget(asked: Asked, objects: KubeObjects): Target {
  const service = objects.services.find(s => s.namespace === asked.namespace && s.name === asked.service);
  if (!service)
    throw new TraceError(
      'usage',
      `there is no Service ${asked.service} in namespace ${asked.namespace}`,
      `kubectl get services -n ${asked.namespace} lists those there are.`,
    );
  refuseUntranslated(service, objects);
  const found = findPort(service, asked.port);
  const family = asked.family ?? (service.ipFamilies[0] === 'IPv6' ? 'ipv6' : 'ipv4');
  const address = addressOf(service, asked, family);
  const port = asked.via === 'node-port' ? nodePortOf(service, found.servicePort) : found.port;
  return {
    service,
    ...(found.servicePort ? { servicePort: found.servicePort } : {}),
    ...(address === undefined ? {} : { address }),
    family: address === undefined ? family : ipFamilyOf(address),
    port,
    protocol: found.protocol,
    notes: [...found.notes, ...notesOn(service, objects)],
  };
}

/** ExternalName and headless Services are DNS alone: no packet to them is ever rewritten, so there is nothing to trace. */
function refuseUntranslated(service: Service, objects: KubeObjects): void {
  const name = `${service.namespace}/${service.name}`;
  if (service.type === 'ExternalName')
    throw new TraceError(
      'refused',
      `${name} is of type ExternalName: DNS answers with the alias ${service.externalName ?? '?'}, and no rule on any node knows it`,
      `Look at the name instead: kubectl run -it --rm dns --image=busybox -- nslookup ${service.externalName ?? 'NAME'}`,
    );
  if (service.clusterIPs.length > 0) return;
  const pods = objects.endpoints.filter(e => e.namespace === service.namespace && e.service === service.name);
  const some = pods.slice(0, 3).map(e => `${e.address}:${e.port}`);
  throw new TraceError(
    'refused',
    `${name} is headless: it has no cluster IP, DNS answers with its pods' own addresses, and no rule translates them`,
    some.length > 0
      ? `Its endpoints are ${some.join(', ')}${pods.length > 3 ? ', …' : ''}: packets go there directly.`
      : 'It has no endpoints either, so DNS answers with nothing.',
  );
}

interface FoundPort {
  servicePort?: ServicePort;
  port: number;
  protocol: 'tcp' | 'udp';
  notes: string[];
}

function findPort(service: Service, wanted: string | undefined): FoundPort {
  const name = `${service.namespace}/${service.name}`;
  if (wanted === undefined) return firstPort(service, name);
  const [, word = '', protocol] = /^(.*?)(?:\/(tcp|udp))?$/i.exec(wanted) ?? [];
  const number = Number(word);
  const candidates = service.ports.filter(
    p => (p.name === word || p.port === number) && (!protocol || p.protocol === protocol.toUpperCase()),
  );
  const found = candidates.find(p => p.protocol === 'TCP') ?? candidates[0];
  if (found) return { servicePort: found, port: found.port, protocol: protocolOf(found, name), notes: [] };
  if (Number.isInteger(number)) {
    const asked = protocol?.toLowerCase() === 'udp' ? 'udp' : 'tcp';
    return {
      port: number,
      protocol: asked,
      notes: [`${name} has no port ${number}/${asked.toUpperCase()}; it has ${portList(service)}.`],
    };
  }
  throw new TraceError('usage', `${name} has no port named ${JSON.stringify(word)}`, `It has ${portList(service)}.`);
}

function firstPort(service: Service, name: string): FoundPort {
  const first = service.ports.find(p => p.protocol !== 'SCTP') ?? service.ports[0];
  if (!first) throw new TraceError('refused', `${name} has no ports`, 'Name one to ask anyway: svc/NAME:PORT');
  const others = service.ports.filter(p => p !== first);
  const notes =
    others.length > 0
      ? [
          `${name} has several ports (${portList(service)}); ${first.port} was asked. Another one: svc/${service.name}:PORT`,
        ]
      : [];
  return { servicePort: first, port: first.port, protocol: protocolOf(first, name), notes };
}

function protocolOf({ protocol, port }: ServicePort, name: string): 'tcp' | 'udp' {
  if (protocol === 'TCP') return 'tcp';
  if (protocol === 'UDP') return 'udp';
  throw new TraceError('refused', `port ${port} of ${name} is ${protocol}; only TCP and UDP can be probed`);
}

function portList(service: Service): string {
  return service.ports.map(p => `${p.port}/${p.protocol}${p.name === '' ? '' : ` (${p.name})`}`).join(', ') || 'none';
}

function addressOf(service: Service, { via, family: asked }: Asked, family: IpFamily): string | undefined {
  if (via === 'node-port') return undefined;
  const lists = {
    'cluster-ip': service.clusterIPs,
    'external-ip': service.externalIPs,
    'load-balancer': service.loadBalancerIPs,
  };
  const addresses = lists[via];
  const wanted = family === 'ipv4' ? 'ip' : 'ip6';
  // Nobody asked for a family: then any address is better than none.
  const found = addresses.find(address => familyOf(address) === wanted) ?? (asked ? undefined : addresses[0]);
  if (found !== undefined) return found;
  throw new TraceError(
    'usage',
    `${service.namespace}/${service.name} has no ${asked ? `${family === 'ipv4' ? 'IPv4' : 'IPv6'} ` : ''}${NAMES[via]} address`,
    addresses.length > 0 ? `It has ${addresses.join(', ')}.` : `Its cluster IPs are ${service.clusterIPs.join(', ')}.`,
  );
}

const NAMES = { 'cluster-ip': 'cluster IP', 'external-ip': 'external IP', 'load-balancer': 'load balancer' };

function nodePortOf(service: Service, port: ServicePort | undefined): number {
  if (port?.nodePort !== undefined) return port.nodePort;
  throw new TraceError(
    'usage',
    `${service.namespace}/${service.name} has no node port${port ? ` for ${port.port}/${port.protocol}` : ''}`,
    `It is of type ${service.type}.`,
  );
}

function notesOn(service: Service, objects: KubeObjects): string[] {
  const own = objects.endpoints.filter(e => e.namespace === service.namespace && e.service === service.name);
  if (service.hasSelector || own.length > 0) return [];
  return [
    `${service.namespace}/${service.name} has no selector, so nobody makes endpoints for it: an EndpointSlice must be made by hand.`,
  ];
}
