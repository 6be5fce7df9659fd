/** The Service that was asked for -> address and port, or the one clear reason why there is none. */
import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeOf, TraceError } from '../../src/errors.ts';
import type { Endpoint, Service, ServicePort } from '../../src/model.ts';
import { type Asked, isOfFamily, resolveTarget } from '../../src/plan/target.ts';

const HTTP: ServicePort = { name: 'http', port: 80, protocol: 'TCP', nodePort: 30080 };
const DNS_TCP: ServicePort = { name: 'dns-tcp', port: 53, protocol: 'TCP' };
const DNS: ServicePort = { name: 'dns', port: 53, protocol: 'UDP' };
const SCTP: ServicePort = { name: 'sig', port: 3868, protocol: 'SCTP' };

const service = (more: Partial<Service> = {}): Service => ({
  namespace: 'shop',
  name: 'web',
  type: 'ClusterIP',
  clusterIPs: ['10.96.0.9', 'fd00:96::9'],
  externalIPs: [],
  loadBalancerIPs: [],
  ports: [HTTP],
  hasSelector: true,
  sessionAffinity: false,
  internalTrafficPolicy: 'Cluster',
  externalTrafficPolicy: 'Cluster',
  ipFamilies: ['IPv4', 'IPv6'],
  ...more,
});

const endpoint = (address: string): Endpoint => ({
  address,
  port: 8080,
  protocol: 'TCP',
  portName: 'http',
  ready: true,
  serving: true,
  terminating: false,
  namespace: 'shop',
  service: 'web',
});

const resolve = (asked: Partial<Asked>, one: Service | undefined = service(), endpoints: Endpoint[] = []) =>
  resolveTarget(
    { namespace: 'shop', service: 'web', via: 'cluster-ip', ...asked },
    { services: one ? [one] : [], endpoints, pods: [], nodes: [] },
  );

const TWO = service({ ports: [HTTP, DNS] });
const BOTH = service({ ports: [DNS, DNS_TCP] });

describe('what is asked', () => {
  test.each<[string, Partial<Asked>, Service, object]>([
    ['the first port', {}, service(), { address: '10.96.0.9', port: 80, protocol: 'tcp', family: 'ipv4', notes: [] }],
    ['by number', { port: '80' }, TWO, { port: 80, protocol: 'tcp', notes: [] }],
    ['by name', { port: 'dns' }, TWO, { port: 53, protocol: 'udp' }],
    ['TCP where both have the number', { port: '53' }, BOTH, { protocol: 'tcp', servicePort: DNS_TCP }],
    ['UDP where that is said', { port: '53/UDP' }, BOTH, { protocol: 'udp', servicePort: DNS }],
    ['by name and protocol', { port: 'dns/udp' }, BOTH, { servicePort: DNS }],
    ['UDP alone', {}, service({ ports: [DNS] }), { protocol: 'udp' }],
    ['not SCTP, if there is another', {}, service({ ports: [SCTP, HTTP] }), { port: 80 }],
    [
      'a port it does not have',
      { port: '81' },
      service(),
      { port: 81, protocol: 'tcp', notes: ['shop/web has no port 81/TCP; it has 80/TCP (http).'] },
    ],
    [
      'a port it has with another protocol',
      { port: '80/udp' },
      service(),
      { port: 80, protocol: 'udp', notes: ['shop/web has no port 80/UDP; it has 80/TCP (http).'] },
    ],
    ['IPv6', { family: 'ipv6' }, service(), { address: 'fd00:96::9', family: 'ipv6' }],
    [
      "the Service's first family",
      {},
      service({ clusterIPs: ['fd00:96::9', '10.96.0.9'], ipFamilies: ['IPv6', 'IPv4'] }),
      { address: 'fd00:96::9', family: 'ipv6' },
    ],
    ['an external address', { via: 'external-ip' }, service({ externalIPs: ['192.0.2.1'] }), { address: '192.0.2.1' }],
    [
      'an external address of the only family it has',
      { via: 'external-ip' },
      service({ externalIPs: ['2001:db8::1'] }),
      { address: '2001:db8::1', family: 'ipv6' },
    ],
    [
      'a load balancer',
      { via: 'load-balancer' },
      service({ loadBalancerIPs: ['192.0.2.2'] }),
      { address: '192.0.2.2', port: 80 },
    ],
    [
      'a node port',
      { via: 'node-port' },
      service({ type: 'NodePort' }),
      { port: 30080, family: 'ipv4', servicePort: HTTP },
    ],
    [
      'a node port, IPv6',
      { via: 'node-port', family: 'ipv6' },
      service({ type: 'NodePort' }),
      { port: 30080, family: 'ipv6' },
    ],
  ])('%s', (_, asked, one, wanted) => {
    const target = resolve(asked, one);
    expect(target).toMatchObject(wanted);
    if (asked.via === 'node-port') expect(target.address).toBeUndefined();
  });
});

describe('what is worth knowing', () => {
  test('several ports, of which one was asked', () => {
    expect(resolve({}, TWO).notes).toEqual([
      'shop/web has several ports (80/TCP (http), 53/UDP (dns)); 80 was asked. Another one: svc/web:PORT',
    ]);
  });
  test('neither selector nor endpoints', () => {
    const alone = service({ hasSelector: false });
    expect(resolve({}, alone).notes.join()).toMatch(/has no selector, so nobody makes endpoints for it/);
    expect(resolve({}, alone, [endpoint('10.244.0.1')]).notes).toEqual([]);
  });
});

describe('refused', () => {
  const headless = service({ clusterIPs: [] });
  const four = [1, 2, 3, 4].map(i => endpoint(`10.244.0.${i}`));
  test.each<[string, Partial<Asked>, Service | undefined, Endpoint[], number, RegExp, RegExp]>([
    [
      'a Service that is not there',
      { service: 'x' },
      service(),
      [],
      EXIT.usage,
      /no Service x in namespace shop/,
      /kubectl get services -n shop/,
    ],
    ['one of another namespace', { namespace: 'x' }, service(), [], EXIT.usage, /in namespace x/, /-n x/],
    [
      'an alias',
      {},
      service({ type: 'ExternalName', externalName: 'db.example.com', clusterIPs: [], ports: [] }),
      [],
      EXIT.refused,
      /ExternalName: DNS answers with the alias db\.example\.com/,
      /nslookup db\.example\.com/,
    ],
    [
      'an alias of nothing',
      {},
      service({ type: 'ExternalName', clusterIPs: [] }),
      [],
      EXIT.refused,
      /the alias \?/,
      /nslookup NAME/,
    ],
    [
      'headless',
      {},
      headless,
      [endpoint('10.244.0.1')],
      EXIT.refused,
      /is headless/,
      /10\.244\.0\.1:8080: packets go there directly/,
    ],
    ['headless, with many endpoints', {}, headless, four, EXIT.refused, /is headless/, /10\.244\.0\.3:8080, …/],
    ['headless, with none', {}, headless, [], EXIT.refused, /is headless/, /no endpoints either/],
    ['no ports at all', {}, service({ ports: [] }), [], EXIT.refused, /has no ports/, /svc\/NAME:PORT/],
    [
      'SCTP alone',
      {},
      service({ ports: [SCTP] }),
      [],
      EXIT.refused,
      /3868 of shop\/web is SCTP; only TCP and UDP/,
      /^$/,
    ],
    ['SCTP, by name', { port: 'sig' }, service({ ports: [HTTP, SCTP] }), [], EXIT.refused, /is SCTP/, /^$/],
    [
      'a name no port has',
      { port: 'grpc' },
      TWO,
      [],
      EXIT.usage,
      /no port named "grpc"/,
      /80\/TCP \(http\), 53\/UDP \(dns\)/,
    ],
    [
      'a family it does not have',
      { family: 'ipv6' },
      service({ clusterIPs: ['10.96.0.9'] }),
      [],
      EXIT.usage,
      /no IPv6 cluster IP address/,
      /It has 10\.96\.0\.9/,
    ],
    [
      'no external address',
      { via: 'external-ip' },
      service(),
      [],
      EXIT.usage,
      /has no external IP address/,
      /cluster IPs are 10\.96\.0\.9, fd00:96::9/,
    ],
    [
      'a load balancer that waits',
      { via: 'load-balancer' },
      service({ type: 'LoadBalancer' }),
      [],
      EXIT.usage,
      /has no load balancer address/,
      /cluster IPs/,
    ],
    [
      'no node port',
      { via: 'node-port' },
      service({ ports: [DNS] }),
      [],
      EXIT.usage,
      /no node port for 53\/UDP/,
      /of type ClusterIP/,
    ],
    [
      'no node port for a port it does not have',
      { via: 'node-port', port: '99' },
      service(),
      [],
      EXIT.usage,
      /no node port$/,
      /ClusterIP/,
    ],
  ])('%s', (_, asked, one, endpoints, code, message, remedy) => {
    try {
      resolve(asked, one, endpoints);
    } catch (error) {
      expect(error).toBeInstanceOf(TraceError);
      expect((error as TraceError).message).toMatch(message);
      expect((error as TraceError).remedy ?? '').toMatch(remedy);
      expect(exitCodeOf((error as TraceError).kind)).toBe(code);
      return;
    }
    throw new Error('was not refused');
  });
});

test.each([
  ['10.0.0.1', 'ipv4', true],
  ['10.0.0.1', 'ipv6', false],
  ['fd00::1', 'ipv6', true],
  ['fd00::1', 'ipv4', false],
] as const)('%s is of %s: %s', (address, family, is) => expect(isOfFamily(address, family)).toBe(is));
