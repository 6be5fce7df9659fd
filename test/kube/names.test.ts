/** kube-proxy's chain names, against hashes taken from its own tests and from real clusters. */

import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  base32Hash,
  iptablesChain,
  nameChains,
  nftablesChain,
  readComment,
  readNftName,
  servicePortNames,
  servicePortText,
} from '../../src/kube/names.ts';
import { readObjects } from '../../src/kube/objects.ts';
import type { Endpoint, KubeObjects, Service } from '../../src/model.ts';
import { capture } from '../support/captures.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

describe('the hash', () => {
  // RFC 4648 alphabet, checked against the digest read as one big number.
  it('is the base 32 of the SHA-256 of the text', () =>
    check(
      fc.property(fc.string(), fc.integer({ min: 1, max: 51 }), (text, length) => {
        const digest = BigInt(`0x${createHash('sha256').update(text).digest('hex')}`);
        const want = Array.from(
          { length },
          (_, i) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'[Number((digest >> BigInt(251 - i * 5)) & 31n)],
        );
        expect(base32Hash(text, length)).toBe(want.join(''));
      }),
    ));
});

describe('iptables mode', () => {
  it.each([
    ['KUBE-SVC-', 'default/kubernetes:https', 'tcp', '', 'KUBE-SVC-NPX46M4PTMTKRN6Y'],
    ['KUBE-SVC-', 'kube-system/kube-dns:dns', 'udp', '', 'KUBE-SVC-TCOU7JCQXEZGVUNU'],
    ['KUBE-SVC-', 'ns1/svc1:p80', 'tcp', '', 'KUBE-SVC-XPGD46QRK7WJZT7O'],
    ['KUBE-SVC-', 'default/hostnames:', 'tcp', '', 'KUBE-SVC-NWV5X2332I4OT4T3'],
    ['KUBE-SEP-', 'ns1/svc1:p80', 'tcp', '10.180.0.1:80', 'KUBE-SEP-SXIVWICOYRO3J4NJ'],
    ['KUBE-FW-', 'ns5/svc5:p80', 'tcp', '', 'KUBE-FW-NUKIZ6OKUXPJNT4C'],
    ['KUBE-EXT-', 'ns4/svc4:p80', 'TCP', '', 'KUBE-EXT-4SW47YFZTEDKD3PK'],
    ['KUBE-EXT-', 'ns3/svc3:p80', 'tcp', '', 'KUBE-EXT-X27LE4BHSL4DOUIK'],
  ])('%s of %s %s %s', (prefix, name, protocol, endpoint, want) =>
    expect(iptablesChain(prefix, name, protocol, endpoint)).toBe(want),
  );

  it.each([
    { port: 'http', want: ['default/web:http'] },
    { port: '', want: ['default/web', 'default/web:'] },
  ])('a port named $port has the names $want', ({ port, want }) =>
    expect(servicePortNames('default', 'web', port)).toEqual(want),
  );
});

describe('nftables mode', () => {
  it.each([
    ['service-', 'ns1/svc1/tcp/p80', 'service-ULMVA6XW-ns1/svc1/tcp/p80'],
    ['endpoint-', 'ns1/svc1/tcp/p80__10.180.0.1/80', 'endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80'],
  ])('%s of %s', (prefix, base, want) => expect(nftablesChain(prefix, base)).toBe(want));

  it.each([230, 231, 232, 233, 400])('a name of %i characters is cut at 240 without its prefix', length => {
    const base = 'x'.repeat(length);
    const chain = nftablesChain('service-', base);
    const whole = `service-${base32Hash(base, 8)}-${base}`;
    expect(chain.length - 'service-'.length).toBe(Math.min(240, length + 9));
    expect(chain).toBe(length + 9 > 240 ? `${whole.slice(0, 'service-'.length + 237)}...` : whole);
  });

  it.each([
    {
      chain: 'service-ULMVA6XW-ns1/svc1/tcp/p80',
      want: {
        role: 'service',
        namespace: 'ns1',
        service: 'svc1',
        protocol: 'tcp',
        portName: 'p80',
        endpoint: undefined,
      },
    },
    { chain: 'service-ULMVA6XW-default/web/udp/', want: { role: 'service', protocol: 'udp', portName: '' } },
    { chain: 'local-ULMVA6XW-ns1/svc1/sctp/p80', want: { role: 'local', protocol: 'sctp' } },
    { chain: 'external-ULMVA6XW-ns1/svc1/tcp/p80', want: { role: 'external' } },
    { chain: 'firewall-ULMVA6XW-ns1/svc1/tcp/p80', want: { role: 'firewall' } },
    {
      chain: 'endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80',
      want: { role: 'endpoint', portName: 'p80', endpoint: { address: '10.180.0.1', port: 80 } },
    },
    {
      chain: 'endpoint-ABCDEFGH-ns1/svc1/tcp/p80__fd00.10.180..1/80',
      want: { role: 'endpoint', endpoint: { address: 'fd00:10:180::1', port: 80 } },
    },
    {
      chain: 'endpoint-ABCDEFGH-ns1/svc1/tcp/__2001.db8.1.2.3.4.5.6/8080',
      want: { portName: '', endpoint: { address: '2001:db8:1:2:3:4:5:6', port: 8080 } },
    },
  ])('$chain says whose it is', ({ chain, want }) => expectLike(readNftName(chain), { ...want, known: 'name' }));

  it.each([
    'services',
    'nat-prerouting',
    'KUBE-SVC-NPX46M4PTMTKRN6Y',
    'service-short-ns/svc/tcp/p',
    'service-ULMVA6XW-ns/svc/icmp/p',
    'service-ULMVA6XW-ns',
    '',
  ])('%j says nothing', chain => expect(readNftName(chain)).toBeUndefined());
});

const service: Service = {
  namespace: 'ns1',
  name: 'svc1',
  type: 'ClusterIP',
  clusterIPs: ['172.30.0.41'],
  externalIPs: [],
  loadBalancerIPs: [],
  ports: [
    { name: 'p80', port: 80, protocol: 'TCP' },
    { name: 'p81', port: 81, protocol: 'UDP' },
  ],
  hasSelector: true,
  sessionAffinity: false,
  internalTrafficPolicy: 'Cluster',
  externalTrafficPolicy: 'Cluster',
  ipFamilies: ['IPv4'],
};
const endpoint: Endpoint = {
  address: '10.180.0.1',
  port: 80,
  protocol: 'TCP',
  portName: 'p80',
  ready: true,
  serving: true,
  terminating: false,
  pod: 'web-1',
  node: 'nodea',
  namespace: 'ns1',
  service: 'svc1',
};
const objects = (...parts: Partial<Endpoint>[]): KubeObjects => ({
  services: [service],
  endpoints: parts.map(part => ({ ...endpoint, ...part })),
  pods: [],
  nodes: [],
});

describe('the chains of a cluster', () => {
  it.each([
    ['KUBE-SVC-XPGD46QRK7WJZT7O', { role: 'service', portName: 'p80', protocol: 'tcp' }],
    ['KUBE-SVL-XPGD46QRK7WJZT7O', { role: 'local' }],
    ['KUBE-FW-XPGD46QRK7WJZT7O', { role: 'firewall' }],
    ['KUBE-EXT-XPGD46QRK7WJZT7O', { role: 'external' }],
    ['KUBE-XLB-XPGD46QRK7WJZT7O', { role: 'external' }],
    [
      'KUBE-SEP-SXIVWICOYRO3J4NJ',
      { role: 'endpoint', endpoint: { address: '10.180.0.1', port: 80, pod: 'web-1', node: 'nodea' } },
    ],
    ['service-ULMVA6XW-ns1/svc1/tcp/p80', { role: 'service' }],
    [
      'endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80',
      { role: 'endpoint', endpoint: { address: '10.180.0.1', port: 80, pod: 'web-1', node: 'nodea' } },
    ],
    [iptablesChain('KUBE-SVC-', 'ns1/svc1:p81', 'udp'), { role: 'service', portName: 'p81', protocol: 'udp' }],
  ])('%s', (chain, want) =>
    expectLike(nameChains(objects({})).get(chain), { ...want, namespace: 'ns1', service: 'svc1', known: 'objects' }),
  );

  it('IPv6 endpoints', () => {
    const chains = nameChains(objects({ address: 'fd00:10:180::1' }));
    const text = 'ns1/svc1/tcp/p80__fd00.10.180..1/80';
    for (const chain of [
      iptablesChain('KUBE-SEP-', 'ns1/svc1:p80', 'tcp', '[fd00:10:180::1]:80'),
      nftablesChain('endpoint-', text),
    ])
      expectLike(chains.get(chain), { role: 'endpoint', endpoint: { address: 'fd00:10:180::1', port: 80 } });
  });

  it('a port without a name, in both historical spellings', () => {
    const chains = nameChains({
      services: [
        { ...service, namespace: 'default', name: 'hostnames', ports: [{ name: '', port: 80, protocol: 'TCP' }] },
      ],
      endpoints: [],
      pods: [],
      nodes: [],
    });
    for (const name of ['default/hostnames', 'default/hostnames:'])
      expectLike(chains.get(iptablesChain('KUBE-SVC-', name, 'tcp')), { service: 'hostnames', portName: '' });
    expect(chains.has('KUBE-SVC-NWV5X2332I4OT4T3')).toBe(true);
  });

  it.each([
    { name: 'another Service’s', part: { service: 'other' } },
    { name: 'another namespace’s', part: { namespace: 'other' } },
    { name: 'another port’s', part: { portName: 'p81' } },
    { name: 'another protocol’s', part: { protocol: 'UDP' } },
  ])('$name endpoint has no chain here', ({ part }) =>
    expect([...nameChains(objects(part)).values()].filter(named => named.role === 'endpoint')).toEqual([]),
  );

  it('of the real cluster: every kube-proxy chain of a Service has its owner', () => {
    const chains = nameChains(readObjects(JSON.parse(capture('legacy/objects.json'))) as KubeObjects);
    const rules = capture('legacy/web-curl/iptables-save.txt');
    const names = [...rules.matchAll(/^:(KUBE-(?:SVC|SVL|EXT|FW|SEP)-[A-Z2-7]{16}) /gm)].map(
      found => found[1] as string,
    );
    expect(names.length).toBeGreaterThan(10);
    expect(names.filter(name => !chains.has(name))).toEqual([]);
  });

  it('of the real cluster in nftables mode', () => {
    const chains = nameChains(readObjects(JSON.parse(capture('nftables/objects.json'))) as KubeObjects);
    const rules = capture('nftables/web-curl/nft-ruleset.txt');
    const names = [...rules.matchAll(/^\tchain ((?:service|local|external|endpoint)-[A-Z2-7]{8}-\S+) \{/gm)].map(
      found => found[1] as string,
    );
    expect(names.length).toBeGreaterThan(10);
    expect(names.filter(name => !chains.has(name))).toEqual([]);
    for (const name of names) {
      const { known: _, endpoint, ...computed } = chains.get(name) ?? {};
      expectLike(readNftName(name), {
        ...computed,
        ...(endpoint ? { endpoint: { address: endpoint.address, port: endpoint.port } } : {}),
      });
    }
  });
});

describe('comments', () => {
  it.each([
    {
      comment: 'default/web:http cluster IP',
      target: 'KUBE-SVC-X',
      want: { role: 'service', namespace: 'default', service: 'web', portName: 'http' },
    },
    { comment: 'default/web cluster IP', target: 'KUBE-SVC-X', want: { service: 'web', portName: '' } },
    { comment: 'default/web: cluster IP', target: 'KUBE-SVC-X', want: { service: 'web', portName: '' } },
    {
      comment: 'ns1/svc1:p80 -> 10.180.0.1:80',
      target: 'KUBE-SEP-X',
      want: { role: 'endpoint', service: 'svc1', portName: 'p80' },
    },
    { comment: 'ns3/svc3:p80', target: 'KUBE-EXT-X', want: { role: 'external', service: 'svc3', portName: 'p80' } },
    { comment: 'ns5/svc5:p80 loadbalancer IP', target: 'KUBE-FW-X', want: { role: 'firewall' } },
    { comment: 'ns5/svc5:p80 local', target: 'KUBE-SVL-X', want: { role: 'local' } },
    { comment: 'ns5/svc5:p80', target: 'KUBE-XLB-X', want: { role: 'external' } },
    {
      comment: 'masquerade traffic for ns4/svc4:p80 external destinations',
      target: 'KUBE-SVC-X',
      want: { namespace: 'ns4', service: 'svc4', portName: 'p80' },
    },
  ])('$comment', ({ comment, target, want }) =>
    expectLike(readComment(comment, target), { ...want, known: 'comment' }),
  );

  it.each([
    { comment: 'kubernetes service portals', target: 'KUBE-SERVICES' },
    { comment: 'default/web:http cluster IP', target: 'KUBE-MARK-MASQ' },
    { comment: 'ns6/svc6:p80 has no endpoints', target: 'REJECT' },
    { comment: 'no Service here', target: 'KUBE-SVC-X' },
    { comment: '', target: 'KUBE-SVC-X' },
  ])('nothing in `$comment` of a rule to $target', ({ comment, target }) =>
    expect(readComment(comment, target)).toBeUndefined(),
  );

  it.each([
    [{ namespace: 'default', service: 'web', portName: 'http' }, 'default/web:http'],
    [{ namespace: 'default', service: 'web', portName: '' }, 'default/web'],
  ])('a Service’s port is called %j', (named, want) => expect(servicePortText(named)).toBe(want));
});

survivesAnything(
  text => [readNftName(text), readComment(text, 'KUBE-SVC-X')],
  [
    'service-ULMVA6XW-ns1/svc1/tcp/p80',
    'endpoint-ABCDEFGH-ns1/svc1/tcp/p80__fd00.10.180..1/80',
    'ns1/svc1:p80 -> 10.180.0.1:80',
    'masquerade traffic for ns4/svc4:p80 external destinations',
  ],
  named => {
    for (const each of named) expect([each?.namespace, each?.service]).not.toContain('');
  },
);
