/**
 * The names kube-proxy gives its chains, computed from the objects, so that a chain can be called by its Service without
 * trusting a comment. Sources: pkg/proxy/iptables/proxier.go portProtoHash(), servicePortEndpointChainName(); and
 * pkg/proxy/nftables/proxier.go servicePortChainNameBase(), hashAndTruncate() (Kubernetes 1.36).
 */
import { createHash } from 'node:crypto';
import { hostPort } from '../ip.ts';
import type { Endpoint, KubeObjects, Service, ServicePort } from '../model.ts';

export type ChainRole = 'service' | 'local' | 'external' | 'firewall' | 'endpoint';

export interface NamedChain {
  role: ChainRole;
  namespace: string;
  service: string;
  /** Empty where the Service's only port has no name. */
  portName: string;
  protocol: string;
  endpoint?: { address: string; port: number; pod?: string; node?: string };
  /** How we know: computed from the objects, read in a rule's comment, or read in the chain's own name. */
  known: 'objects' | 'comment' | 'name';
}

/** `base32(sha256(text))[:length]`, RFC 4648 alphabet. */
export function base32Hash(text: string, length: number): string {
  const digest = createHash('sha256').update(text).digest();
  let bits = 0;
  let value = 0;
  let out = '';
  for (const byte of digest) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5 && out.length < length) {
      bits -= 5;
      out += 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[(value >>> bits) & 31];
      value &= (1 << bits) - 1;
    }
  }
  return out;
}

/** `ns/name:port`; releases up to 1.17 wrote `ns/name:` for a port without a name, newer ones `ns/name`. */
export function servicePortNames(namespace: string, service: string, portName: string): string[] {
  const full = `${namespace}/${service}:${portName}`;
  return portName === '' ? [`${namespace}/${service}`, full] : [full];
}

const IPTABLES_PREFIXES: [string, ChainRole][] = [
  ['KUBE-SVC-', 'service'],
  ['KUBE-SVL-', 'local'],
  ['KUBE-FW-', 'firewall'],
  ['KUBE-EXT-', 'external'],
  // Until 1.23.
  ['KUBE-XLB-', 'external'],
];

export function iptablesChain(prefix: string, servicePortName: string, protocol: string, endpoint = ''): string {
  return prefix + base32Hash(servicePortName + protocol.toLowerCase() + endpoint, 16);
}

const NFT_PREFIXES: ChainRole[] = ['service', 'local', 'external', 'firewall'];

/** Names longer than 240 characters are cut and end in `...`. */
export function nftablesChain(prefix: string, base: string): string {
  const name = `${base32Hash(base, 8)}-${base}`;
  return prefix + (name.length > 240 ? `${name.slice(0, 237)}...` : name);
}

function nftBase(service: Service, port: ServicePort): string {
  return `${service.namespace}/${service.name}/${port.protocol.toLowerCase()}/${port.name}`;
}

function nftEndpointBase(base: string, endpoint: Endpoint): string {
  return `${base}__${endpoint.address.replaceAll(':', '.')}/${endpoint.port}`;
}

/** Every chain name kube-proxy may have for these objects, in iptables and nftables mode. */
export function nameChains(objects: KubeObjects): Map<string, NamedChain> {
  const chains = new Map<string, NamedChain>();
  for (const service of objects.services)
    for (const port of service.ports) {
      nameServiceChains(chains, service, port);
      for (const endpoint of objects.endpoints)
        if (serves(endpoint, service, port)) nameEndpointChains(chains, service, port, endpoint);
    }
  return chains;
}

function serves(endpoint: Endpoint, service: Service, port: ServicePort): boolean {
  return (
    endpoint.namespace === service.namespace &&
    endpoint.service === service.name &&
    endpoint.portName === port.name &&
    endpoint.protocol.toLowerCase() === port.protocol.toLowerCase()
  );
}

function nameServiceChains(chains: Map<string, NamedChain>, service: Service, port: ServicePort): void {
  const named = (role: ChainRole): NamedChain => ({
    role,
    namespace: service.namespace,
    service: service.name,
    portName: port.name,
    protocol: port.protocol.toLowerCase(),
    known: 'objects',
  });
  for (const name of servicePortNames(service.namespace, service.name, port.name))
    for (const [prefix, role] of IPTABLES_PREFIXES) chains.set(iptablesChain(prefix, name, port.protocol), named(role));
  for (const role of NFT_PREFIXES) chains.set(nftablesChain(`${role}-`, nftBase(service, port)), named(role));
}

function nameEndpointChains(
  chains: Map<string, NamedChain>,
  service: Service,
  port: ServicePort,
  endpoint: Endpoint,
): void {
  const named: NamedChain = {
    role: 'endpoint',
    namespace: service.namespace,
    service: service.name,
    portName: port.name,
    protocol: port.protocol.toLowerCase(),
    endpoint: { address: endpoint.address, port: endpoint.port },
    known: 'objects',
  };
  if (endpoint.pod !== undefined && named.endpoint) named.endpoint.pod = endpoint.pod;
  if (endpoint.node !== undefined && named.endpoint) named.endpoint.node = endpoint.node;
  for (const name of servicePortNames(service.namespace, service.name, port.name))
    chains.set(iptablesChain('KUBE-SEP-', name, port.protocol, hostPort(endpoint.address, endpoint.port)), named);
  chains.set(nftablesChain('endpoint-', nftEndpointBase(nftBase(service, port), endpoint)), named);
}

const NFT_NAME =
  /^(service|local|external|firewall|endpoint)-[A-Z2-7]{8}-([^/]+)\/([^/]+)\/(tcp|udp|sctp)\/([^/]*?)(?:__(.+)\/(\d+))?$/;

/** An nftables-mode chain's name says in plain text whose it is. */
export function readNftName(chain: string): NamedChain | undefined {
  const parts = NFT_NAME.exec(chain);
  if (!parts) return undefined;
  const [, role, namespace = '', service = '', protocol = '', portName = '', address, port] = parts;
  const named: NamedChain = { role: role as ChainRole, namespace, service, protocol, portName, known: 'name' };
  // An IPv6 address has its colons written as dots: eight or fewer groups, not four of decimal digits.
  if (address !== undefined)
    named.endpoint = {
      address: /^\d+\.\d+\.\d+\.\d+$/.test(address) ? address : address.replaceAll('.', ':'),
      port: Number(port),
    };
  return named;
}

/** `default/web:http cluster IP`, `default/web:http -> 10.0.0.1:80`: kube-proxy's comments, where it still writes them. */
export function readComment(comment: string, target: string): NamedChain | undefined {
  const parts = /^(?:masquerade traffic for )?([^/\s]+)\/([^:\s]+)(?::(\S*))?(?: |$)/.exec(comment);
  const prefix = /^KUBE-(SVC|SVL|FW|EXT|XLB|SEP)-/.exec(target)?.[1];
  if (!parts || !prefix) return undefined;
  const [, namespace = '', service = '', portName = ''] = parts;
  const role: ChainRole =
    prefix === 'SEP'
      ? 'endpoint'
      : prefix === 'SVC'
        ? 'service'
        : prefix === 'SVL'
          ? 'local'
          : prefix === 'FW'
            ? 'firewall'
            : 'external';
  return { role, namespace, service, portName, protocol: '', known: 'comment' };
}

/** How a Service's port is called: `default/web:http`, or `default/web` where the port has no name. */
export function servicePortText(named: { namespace: string; service: string; portName: string }): string {
  return servicePortNames(named.namespace, named.service, named.portName)[0] ?? '';
}
