/** What the explanation draws on, and the names it has for chains and addresses. */

import { parseHostPort } from '../ip.ts';
import { type NamedChain, nameChains, readComment, readNftName } from '../kube/names.ts';
import type {
  ConntrackEntry,
  Endpoint,
  IpvsService,
  KubeObjects,
  NodeFacts,
  Pod,
  Routes,
  Rule,
  Service,
  ServicePort,
} from '../model.ts';
import type { RuleBook } from '../rules/book.ts';

export interface ExplainContext {
  book: RuleBook;
  objects: KubeObjects;
  conntrack: ConntrackEntry[];
  ipvs: IpvsService[];
  /** Addresses of the traced pod, where known. */
  podIps: string[];
  names: Names;
  /** The node's way to the addresses that were asked, where it was told. */
  routes: Routes;
  /** The objects hold every endpoint of the Services they hold. */
  slicesKnown: boolean;
  /** What is known of the node's kernel beside netfilter. */
  kernel: NodeFacts;
  /** A run asked what it was told to ask, and nothing else is in question. */
  live: boolean;
}

export interface ServiceMatch {
  service: Service;
  /** Undefined: the address is the Service's, the port is not. */
  port?: ServicePort;
  via: 'cluster IP' | 'external IP' | 'load balancer IP' | 'node port';
}

export interface Names {
  chain(name: string): NamedChain | undefined;
  /** Which Service listens at this address, and port. */
  service(address: string, port: number | undefined, protocol: string): ServiceMatch | undefined;
  /** Is it an address only a Service has, by the objects or the rules? */
  isServiceAddress(address: string): boolean;
  pod(address: string): Pod | undefined;
  endpoint(address: string, port: number | undefined): Endpoint | undefined;
}

export function createNames(objects: KubeObjects, book: RuleBook): Names {
  const computed = nameChains(objects);
  const commented = readComments(book);
  const addresses = serviceAddresses(objects, book);
  const pods = new Map(
    objects.pods.filter(pod => !pod.hostNetwork).flatMap(pod => pod.ips.map(ip => [ip, pod] as const)),
  );
  return {
    chain: name => computed.get(name) ?? readNftName(name) ?? commented.get(name),
    service: (address, port, protocol) => findService(objects, address, port, protocol),
    isServiceAddress: address => addresses.has(address),
    pod: address => pods.get(address) ?? podOfEndpoint(objects, address),
    endpoint: (address, port) =>
      objects.endpoints.find(e => e.address === address && (port === undefined || e.port === port)),
  };
}

/** Pods need not be among the objects: a slice names them too. */
function podOfEndpoint(objects: KubeObjects, address: string): Pod | undefined {
  const endpoint = objects.endpoints.find(e => e.address === address && e.pod !== undefined);
  if (!endpoint || endpoint.pod === undefined) return undefined;
  const pod: Pod = { namespace: endpoint.namespace, name: endpoint.pod, ips: [address], hostNetwork: false };
  if (endpoint.node !== undefined) pod.node = endpoint.node;
  return pod;
}

/** Chains of iptables mode by the comments of the rules that lead to them, and endpoints by their DNAT rule. */
function readComments(book: RuleBook): Map<string, NamedChain> {
  const named = new Map<string, NamedChain>();
  for (const { table, chain, rule } of allRules(book)) {
    if (table !== 'nat' || rule.comment === undefined) continue;
    const target = rule.target ?? '';
    const read = readComment(
      rule.comment,
      target.startsWith('KUBE-') && !target.startsWith('KUBE-MARK') ? target : chain,
    );
    if (!read) continue;
    const name = target.startsWith('KUBE-') && !target.startsWith('KUBE-MARK') ? target : chain;
    const known = named.get(name);
    if (!known) named.set(name, read);
    const to = rule.target === 'DNAT' ? parseHostPort(rule.targetArgs.at(-1) ?? '') : undefined;
    if (to?.port !== undefined) (named.get(name) as NamedChain).endpoint = { address: to.address, port: to.port };
  }
  return named;
}

function* allRules(book: RuleBook): Generator<{ table: string; chain: string; rule: Rule }> {
  for (const ruleset of book.rulesets)
    for (const table of ruleset.tables)
      for (const chain of table.chains.values())
        for (const rule of chain.rules) yield { table: table.name, chain: chain.name, rule };
}

function serviceAddresses(objects: KubeObjects, book: RuleBook): Set<string> {
  const addresses = new Set(objects.services.flatMap(s => [...s.clusterIPs, ...s.externalIPs, ...s.loadBalancerIPs]));
  for (const { chain, rule } of allRules(book)) {
    if (chain !== 'KUBE-SERVICES') continue;
    const dst = rule.matches.find(match => match.kind === 'dst' && !match.negated)?.args[0];
    if (dst && /\/(32|128)$/.test(dst)) addresses.add(dst.replace(/\/\d+$/, ''));
  }
  for (const ruleset of book.rulesets)
    for (const table of ruleset.tables)
      if (table.name === 'kube-proxy')
        for (const element of table.sets.get('cluster-ips')?.elements ?? []) addresses.add(element.key[0] ?? '');
  return addresses;
}

function findService(
  objects: KubeObjects,
  address: string,
  port: number | undefined,
  protocol: string,
): ServiceMatch | undefined {
  for (const service of objects.services) {
    const via = addressKind(service, address);
    if (!via) continue;
    const found = service.ports.find(p => p.port === port && p.protocol.toLowerCase() === protocol);
    return found ? { service, port: found, via } : { service, via };
  }
  return port === undefined ? undefined : findNodePort(objects, address, port, protocol);
}

function addressKind(service: Service, address: string): ServiceMatch['via'] | undefined {
  if (service.clusterIPs.includes(address)) return 'cluster IP';
  if (service.externalIPs.includes(address)) return 'external IP';
  return service.loadBalancerIPs.includes(address) ? 'load balancer IP' : undefined;
}

/** A node port is reached at a node's address; where no nodes are given, at any address that is no Service's and no pod's. */
function findNodePort(objects: KubeObjects, address: string, port: number, protocol: string): ServiceMatch | undefined {
  const nodes = objects.nodes.flatMap(node => node.addresses);
  const foreign =
    nodes.length > 0
      ? !nodes.includes(address)
      : objects.endpoints.some(e => e.address === address && e.pod !== undefined);
  if (foreign) return undefined;
  for (const service of objects.services) {
    const found = service.ports.find(p => p.nodePort === port && p.protocol.toLowerCase() === protocol);
    if (found) return { service, port: found, via: 'node port' };
  }
  return undefined;
}
