/**
 * Which ports an address has, and who says so: the Service as the API server knows it, or kube-proxy's rules on this node.
 * Where neither was given, nobody can say that a port is missing.
 */
import type { Rule } from '../model.ts';
import { protocolName } from '../protocols.ts';
import type { ConnectionCase } from './cases.ts';
import type { ExplainContext } from './context.ts';

export interface Exposed {
  /** `80/TCP`. */
  ports: string[];
  /** The port that was asked for is among them. */
  asked: boolean;
  by: 'service' | 'rules';
}

export function exposedPorts({ connection, service }: ConnectionCase, context: ExplainContext): Exposed | undefined {
  const { original, protocol } = connection;
  if (service) {
    const ports = service.service.ports.map(port => `${port.port}/${port.protocol}`);
    return { ports, asked: service.port !== undefined, by: 'service' };
  }
  const ports = portsByRules(original.dst, context);
  const asked = ports.includes(`${original.dport}/${protocol.toUpperCase()}`);
  return ports.length > 0 ? { ports, asked, by: 'rules' } : undefined;
}

function portsByRules(address: string, context: ExplainContext): string[] {
  const tables = context.book.rulesets.flatMap(ruleset => ruleset.tables);
  const byRule = tables
    .flatMap(table => table.chains.get('KUBE-SERVICES')?.rules ?? [])
    .flatMap(rule => portOfRule(rule, address));
  const bySet = tables
    .filter(table => table.name === 'kube-proxy')
    .flatMap(table => ['service-ips', 'no-endpoint-services'].flatMap(name => table.sets.get(name)?.elements ?? []))
    .filter(element => element.key[0] === address && element.key.length === 3)
    .map(({ key }) => `${key[2]}/${protocolName(key[1] ?? '').toUpperCase()}`);
  const byIpvs = context.ipvs
    .filter(service => service.address === address)
    .map(({ port, protocol }) => `${port}/${protocol.toUpperCase()}`);
  return [...new Set([...byRule, ...bySet, ...byIpvs])];
}

function portOfRule({ matches }: Rule, address: string): string[] {
  const to = matches.find(match => ['dst', 'ip daddr', 'ip6 daddr'].includes(match.kind) && !match.negated)?.args[0];
  if (to?.replace(/\/(32|128)$/, '') !== address) return [];
  return matches.flatMap(({ kind, args, negated }) => {
    const protocol = /^(tcp|udp|sctp) dport$/.exec(kind)?.[1];
    return protocol === undefined || negated ? [] : [`${args[0]}/${protocol.toUpperCase()}`];
  });
}
