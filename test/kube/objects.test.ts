import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { emptyObjects, readObjects } from '../../src/kube/objects.ts';
import type { KubeObjects } from '../../src/model.ts';
import { capture } from '../support/captures.ts';
import { check } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

const meta = (name: string, labels = {}) => ({ namespace: 'shop', name, labels });
const SLICE_OF = { 'kubernetes.io/service-name': 'web' };

function read(...items: unknown[]): KubeObjects {
  const objects = readObjects({ kind: 'List', items });
  expect(objects).toBeDefined();
  return objects as KubeObjects;
}

describe('Services', () => {
  it.each([
    {
      name: 'an ordinary one',
      spec: {
        type: 'ClusterIP',
        clusterIP: '10.96.0.9',
        clusterIPs: ['10.96.0.9'],
        selector: { app: 'web' },
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
        ipFamilies: ['IPv4'],
      },
      want: {
        namespace: 'shop',
        name: 'web',
        type: 'ClusterIP',
        clusterIPs: ['10.96.0.9'],
        ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080, nodePort: undefined }],
        hasSelector: true,
        sessionAffinity: false,
        internalTrafficPolicy: 'Cluster',
        externalTrafficPolicy: 'Cluster',
        ipFamilies: ['IPv4'],
        externalName: undefined,
      },
    },
    {
      name: 'dual-stack; IPv6 in one spelling',
      spec: { clusterIPs: ['10.96.0.9', 'FD00:96:0::9'] },
      want: { clusterIPs: ['10.96.0.9', 'fd00:96::9'], hasSelector: false, ports: [] },
    },
    {
      name: 'of an old API server, with one clusterIP',
      spec: { clusterIP: '10.96.0.9' },
      want: { clusterIPs: ['10.96.0.9'] },
    },
    {
      name: 'headless',
      spec: { clusterIP: 'None', clusterIPs: ['None'] },
      want: { clusterIPs: [], type: 'ClusterIP' },
    },
    {
      name: 'ExternalName',
      spec: { type: 'ExternalName', externalName: 'example.org' },
      want: { type: 'ExternalName', externalName: 'example.org', clusterIPs: [] },
    },
    {
      name: 'NodePort with local policy',
      spec: {
        type: 'NodePort',
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 31000,
        ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }],
      },
      want: {
        externalTrafficPolicy: 'Local',
        healthCheckNodePort: 31000,
        ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 'http', nodePort: 30080 }],
      },
    },
    { name: 'internal policy', spec: { internalTrafficPolicy: 'Local' }, want: { internalTrafficPolicy: 'Local' } },
    {
      name: 'session affinity',
      spec: { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 10800 } } },
      want: { sessionAffinity: true, affinitySeconds: 10800 },
    },
    {
      name: 'external addresses',
      spec: { externalIPs: ['192.0.2.1', 'nonsense'] },
      want: { externalIPs: ['192.0.2.1'] },
    },
  ])('$name', ({ spec, want }) => expectLike(read({ kind: 'Service', metadata: meta('web'), spec }).services, [want]));

  it('addresses of load balancers come from the status', () =>
    expect(
      read({
        kind: 'Service',
        metadata: meta('web'),
        spec: {},
        status: { loadBalancer: { ingress: [{ ip: '192.0.2.7' }, { hostname: 'lb.example.org' }] } },
      }).services[0]?.loadBalancerIPs,
    ).toEqual(['192.0.2.7']));

  it('without a namespace is in `default`', () =>
    expect(read({ kind: 'Service', metadata: { name: 'x' } }).services[0]?.namespace).toBe('default'));
});

describe('EndpointSlices', () => {
  const slice = (endpoints: unknown[], ports: unknown[] = [{ name: 'http', port: 8080, protocol: 'TCP' }]) =>
    read({ kind: 'EndpointSlice', metadata: meta('web-abc', SLICE_OF), endpoints, ports }).endpoints;

  it.each([
    {
      name: 'ready',
      endpoint: {
        addresses: ['10.244.1.6'],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: 'nodea',
        targetRef: { kind: 'Pod', name: 'web-1' },
      },
      want: {
        address: '10.244.1.6',
        port: 8080,
        protocol: 'TCP',
        portName: 'http',
        ready: true,
        serving: true,
        terminating: false,
        pod: 'web-1',
        node: 'nodea',
        namespace: 'shop',
        service: 'web',
      },
    },
    {
      name: 'not ready',
      endpoint: { addresses: ['10.244.1.6'], conditions: { ready: false } },
      want: { ready: false, serving: true, terminating: false },
    },
    {
      name: 'terminating but serving',
      endpoint: { addresses: ['10.244.1.6'], conditions: { ready: false, serving: true, terminating: true } },
      want: { ready: false, serving: true, terminating: true },
    },
    {
      name: 'unset conditions count as ready',
      endpoint: { addresses: ['10.244.1.6'] },
      want: { ready: true, serving: true, terminating: false, pod: undefined, node: undefined },
    },
    {
      name: 'conditions that are null count as ready',
      endpoint: { addresses: ['10.244.1.6'], conditions: { ready: null } },
      want: { ready: true },
    },
    { name: 'IPv6 in one spelling', endpoint: { addresses: ['FD00:0:0::6'] }, want: { address: 'fd00::6' } },
    {
      name: 'a node is not a pod',
      endpoint: { addresses: ['10.244.1.6'], targetRef: { kind: 'Node', name: 'nodea' } },
      want: { pod: undefined },
    },
  ])('$name', ({ endpoint, want }) => expectLike(slice([endpoint]), [want]));

  it('every address with every port', () =>
    expect(
      slice(
        [{ addresses: ['10.0.0.1', '10.0.0.2'] }, { addresses: ['10.0.0.3'] }],
        [
          { name: 'a', port: 1 },
          { name: 'b', port: 2, protocol: 'UDP' },
        ],
      ).map(e => `${e.address}:${e.port}/${e.protocol}/${e.portName}`),
    ).toEqual([
      '10.0.0.1:1/TCP/a',
      '10.0.0.2:1/TCP/a',
      '10.0.0.1:2/UDP/b',
      '10.0.0.2:2/UDP/b',
      '10.0.0.3:1/TCP/a',
      '10.0.0.3:2/UDP/b',
    ]));

  it.each([
    { name: 'no ports', endpoints: [{ addresses: ['10.0.0.1'] }], ports: [] },
    { name: 'a port that says nothing', endpoints: [{ addresses: ['10.0.0.1'] }], ports: [{}] },
    { name: 'a name instead of an address', endpoints: [{ addresses: ['example.org'] }], ports: [{ port: 1 }] },
    { name: 'null endpoints', endpoints: null as unknown as unknown[], ports: [{ port: 1 }] },
  ])('none: $name', ({ endpoints, ports }) => expect(slice(endpoints, ports)).toEqual([]));
});

describe('old Endpoints', () => {
  const OLD = {
    kind: 'Endpoints',
    metadata: meta('web'),
    subsets: [
      {
        addresses: [{ ip: '10.0.0.5', nodeName: 'nodea', targetRef: { kind: 'Pod', name: 'web-5' } }],
        ports: [{ name: 'http', port: 8080 }],
      },
    ],
  };
  const NEW = {
    kind: 'EndpointSlice',
    metadata: meta('web-abc', SLICE_OF),
    endpoints: [{ addresses: ['10.0.0.6'] }],
    ports: [{ name: 'http', port: 8080 }],
  };

  it('are read where there is nothing newer', () =>
    expectLike(read(OLD).endpoints, [
      { address: '10.0.0.5', pod: 'web-5', node: 'nodea', ready: true, service: 'web' },
    ]));
  it('are passed over where a slice was given', () =>
    expect(read(NEW, OLD).endpoints.map(e => e.address)).toEqual(['10.0.0.6']));
});

describe('pods and nodes', () => {
  it.each([
    {
      name: 'a pod',
      item: {
        kind: 'Pod',
        metadata: meta('p'),
        spec: { nodeName: 'nodea' },
        status: { podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }, { ip: 'FD00::1' }] },
      },
      want: {
        pods: [{ namespace: 'shop', name: 'p', ips: ['10.0.0.1', 'fd00::1'], node: 'nodea', hostNetwork: false }],
      },
    },
    {
      name: 'a pod with one address',
      item: { kind: 'Pod', metadata: meta('p'), spec: { hostNetwork: true }, status: { podIP: '10.0.0.1' } },
      want: { pods: [{ ips: ['10.0.0.1'], hostNetwork: true, node: undefined }] },
    },
    { name: 'a pod that has not started', item: { kind: 'Pod', metadata: meta('p') }, want: { pods: [{ ips: [] }] } },
    {
      name: 'a node',
      item: {
        kind: 'Node',
        metadata: { name: 'nodea' },
        spec: { podCIDR: '10.244.1.0/24', podCIDRs: ['10.244.1.0/24', 'fd00:1::/64'] },
        status: {
          addresses: [
            { type: 'InternalIP', address: '172.30.0.11' },
            { type: 'Hostname', address: 'nodea' },
          ],
        },
      },
      want: { nodes: [{ name: 'nodea', addresses: ['172.30.0.11'], podCIDRs: ['10.244.1.0/24', 'fd00:1::/64'] }] },
    },
    {
      name: 'a node with one prefix',
      item: { kind: 'Node', metadata: { name: 'n' }, spec: { podCIDR: '10.244.1.0/24' } },
      want: { nodes: [{ podCIDRs: ['10.244.1.0/24'], addresses: [] }] },
    },
  ])('$name', ({ item, want }) => expectLike(read(item), want));
});

describe('the shape of the text', () => {
  const POD = { kind: 'Pod', metadata: { name: 'p' } };
  it.each([
    { name: 'a List', value: { kind: 'List', items: [POD] }, pods: 1 },
    {
      name: 'a PodList, whose items have no kind',
      value: { kind: 'PodList', items: [{ metadata: { name: 'p' } }, { metadata: { name: 'q' } }] },
      pods: 2,
    },
    { name: 'one object', value: POD, pods: 1 },
    { name: 'an array', value: [POD, 7, null, POD], pods: 2 },
    { name: 'other kinds among them', value: [POD, { kind: 'Deployment' }, {}], pods: 1 },
    { name: 'an empty list', value: { kind: 'List', items: [] }, pods: 0 },
  ])('$name', ({ value, pods }) => expect(readObjects(value)?.pods).toHaveLength(pods));

  it.each([undefined, null, 7, 'text', {}, { items: [] }, { kind: 7 }])('%j is none', value =>
    expect(readObjects(value)).toBeUndefined(),
  );

  it('of nothing', () => expect(emptyObjects()).toEqual({ services: [], endpoints: [], pods: [], nodes: [] }));

  it.each(['legacy', 'nft', 'nftables'])('of the real cluster (%s)', mode => {
    const objects = readObjects(JSON.parse(capture(`${mode}/objects.json`))) as KubeObjects;
    expect(objects.services.find(s => s.name === 'web')).toMatchObject({
      namespace: 'default',
      clusterIPs: ['10.96.164.231'],
    });
    expect(objects.pods.find(p => p.name === 'probe')?.ips).toEqual(['10.244.1.72']);
    expect(objects.endpoints.filter(e => e.service === 'web').every(e => e.port === 8080 && e.pod && e.node)).toBe(
      true,
    );
  });
});

describe('survives anything', () => {
  const KEYS = [
    'kind',
    'metadata',
    'spec',
    'status',
    'items',
    'namespace',
    'name',
    'labels',
    'ports',
    'endpoints',
    'addresses',
    'conditions',
    'subsets',
    'clusterIPs',
    'podIPs',
    'port',
  ];
  const KINDS = ['Service', 'EndpointSlice', 'Endpoints', 'Pod', 'Node', 'List', 'PodList'];
  const { tree } = fc.letrec<{ tree: unknown }>(tie => ({
    tree: fc.oneof(
      { maxDepth: 6 },
      fc.constantFrom<unknown>(null, true, 0, -1, 1e99, '', '10.0.0.1', 'fd00::1', 'x', ...KINDS),
      fc.array(tie('tree'), { maxLength: 4 }),
      fc.dictionary(fc.constantFrom(...KEYS), tie('tree'), { maxKeys: 6 }),
    ),
  }));

  it('JSON of the right words in the wrong places', () =>
    check(
      fc.property(
        fc.constantFrom(...KINDS),
        fc.array(fc.dictionary(fc.constantFrom(...KEYS), tree), { maxLength: 4 }),
        (kind, items) => {
          const objects = readObjects({ kind: 'List', items: items.map(item => ({ ...item, kind })) });
          expect(objects).toBeDefined();
          for (const { address } of objects?.endpoints ?? []) expect(address).not.toBe('');
          for (const { ips } of objects?.pods ?? []) expect(ips).not.toContain('');
        },
      ),
    ));

  it('any JSON value', () =>
    check(
      fc.property(fc.jsonValue(), value => {
        readObjects(value);
      }),
    ));
});
