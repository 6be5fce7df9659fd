/** `ipvsadm -Ln` (services and destinations) and `ipset save`. */

import { parseHostPort } from '../ip.ts';
import type { IpvsService, NamedSet } from '../model.ts';
import { own } from './strings.ts';

export function parseIpvs(text: string): IpvsService[] {
  const services: IpvsService[] = [];
  for (const line of text.split('\n')) {
    const service = /^(TCP|UDP|SCTP) +(\S+) +(\w+)?/.exec(line);
    const at = parseHostPort(service?.[2] ?? '');
    if (service && at?.port !== undefined) {
      const read: IpvsService = {
        protocol: (service[1] ?? '').toLowerCase(),
        address: own(at.address),
        port: at.port,
        destinations: [],
      };
      if (service[3]) read.scheduler = own(service[3]);
      services.push(read);
      continue;
    }
    const to = /^ +-> (\S+) +(\w+) +(\d+)/.exec(line);
    const destination = parseHostPort(to?.[1] ?? '');
    if (to && destination?.port !== undefined)
      services.at(-1)?.destinations.push({
        address: own(destination.address),
        port: destination.port,
        forward: own(to[2] ?? ''),
        weight: Number(to[3]),
      });
  }
  return services;
}

/** `add KUBE-CLUSTER-IP 10.96.0.1,tcp:443`; a set that is created and gets no element is empty, not unknown. */
export function parseIpset(text: string): NamedSet[] {
  const sets = new Map<string, NamedSet>();
  for (const line of text.split('\n')) {
    const [, verb, name = '', rest = ''] = /^(create|add) (\S+) (\S+)/.exec(line.trim()) ?? [];
    if (!verb) continue;
    const set = sets.get(name) ?? { name: own(name), elements: [] };
    sets.set(set.name, set);
    if (verb === 'create' && /(^| )timeout [1-9]/.test(line)) set.changing = true;
    if (verb === 'add') set.elements.push({ key: rest.split(',').map(own) });
  }
  return [...sets.values()];
}
