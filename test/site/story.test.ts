/** The story of a place to trace on, told to a cluster that refuses, forgets and takes away. */
import { describe, expect, test } from 'vitest';
import { ApiError, EXIT, exitCodeOf, TraceError } from '../../src/errors.ts';
import { isAllowed, podRights, requireRights, rightText } from '../../src/site/access.ts';
import { lookUp } from '../../src/site/lookup.ts';
import { checkSource, type OpenOrder, openSite } from '../../src/site/open.ts';
import { createPod, deletePod, waitUntilRunning } from '../../src/site/pods.ts';
import { listPods } from '../../src/site/strays.ts';
import { createUndo } from '../../src/undo.ts';
import { fakeCluster, forbidden, type Reply, saying } from '../support/fake-cluster.ts';

const NEVER = new AbortController().signal;

async function failure(work: Promise<unknown>): Promise<TraceError> {
  return work.then(
    value => {
      throw new Error(`did not fail: ${JSON.stringify(value)}`);
    },
    error => error as TraceError,
  );
}

describe('rights', () => {
  const REVIEW = 'POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews';
  const answer = (allowed: boolean) => ({ status: { allowed } });
  interface Review {
    spec: { resourceAttributes: { verb: string; resource: string; subresource?: string } };
  }
  test('each is asked for once, and every one that is missing is named', async () => {
    const reply = (body: unknown) => answer((body as Review).spec.resourceAttributes.verb !== 'delete');
    const cluster = fakeCluster({ [REVIEW]: [reply] });
    const error = await failure(
      requireRights(cluster, [...podRights('a'), ...podRights('a'), ...podRights('b')], NEVER),
    );
    expect(error.message).toBe('you may not delete pods in namespace a, nor delete pods in namespace b');
    expect(error.remedy).toMatch(/docs\/rbac\.md/);
    expect(exitCodeOf(error.kind)).toBe(EXIT.refused);
    expect(cluster.asked).toHaveLength(10);
  });
  test('where nobody lets us ask, we go on', async () => {
    await requireRights(fakeCluster({ [REVIEW]: [forbidden('no reviews')] }), podRights('a'), NEVER);
  });
  test('any other failure is one', async () => {
    const cluster = fakeCluster({ [REVIEW]: [new ApiError(500, 'InternalError', 'etcd')] });
    expect((await failure(requireRights(cluster, podRights('a'), NEVER))).message).toBe('etcd');
  });
  test.each([
    [{ verb: 'get', resource: 'pods', subresource: 'exec', namespace: 'n' }, 'get pods/exec in namespace n'],
    [{ verb: 'list', resource: 'nodes' }, 'list nodes in the whole cluster'],
  ])('%j', async (right, text) => {
    expect(rightText(right)).toBe(text);
    const cluster = fakeCluster({ [REVIEW]: [answer(true)] });
    expect(await isAllowed(cluster, right, NEVER)).toBe(true);
    expect((cluster.bodies[0] as Review).spec.resourceAttributes).toEqual({ group: '', ...right });
  });
});

describe('looking up', () => {
  const SERVICE = 'GET /api/v1/namespaces/shop/services/web';
  const SLICES =
    'GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dweb';
  const NAMESPACE = 'GET /api/v1/namespaces/shop';
  const NODES = 'GET /api/v1/nodes';
  const there = {
    [SERVICE]: [
      { metadata: { name: 'web', namespace: 'shop' }, spec: { clusterIPs: ['10.96.0.1'], ports: [{ port: 80 }] } },
    ],
    [SLICES]: [{ items: [] }],
    [NODES]: [{ items: [] }],
    [NAMESPACE]: [{ metadata: { labels: { 'pod-security.kubernetes.io/enforce': 'baseline' } } }],
  };
  /** Answered when all that is asked at the same time has been. */
  const late = (reply: unknown) => () => new Promise(resolve => setImmediate(resolve, reply));
  const look = (replies: Record<string, Reply[]>) =>
    lookUp(fakeCluster(replies), 'shop', 'web', ['shop', 'shop'], NEVER);

  test('what there is', async () => {
    const found = await look(there);
    expect(found.objects.services.map(one => one.name)).toEqual(['web']);
    expect(found.nodes).toEqual([]);
    expect(found.security).toEqual(new Map([['shop', 'baseline']]));
  });
  test('without the right to list nodes, or to read namespaces', async () => {
    const found = await look({ ...there, [NODES]: [forbidden('nodes')], [NAMESPACE]: [forbidden('namespaces')] });
    expect(found.nodes).toBeUndefined();
    expect(found.security).toEqual(new Map());
  });
  test.each<[string, Record<string, Reply[]>, number, RegExp]>([
    ['no such Service', { ...there, [SERVICE]: [undefined] }, EXIT.usage, /there is no Service web in namespace shop/],
    [
      'no such namespace',
      { ...there, [SERVICE]: [undefined], [NAMESPACE]: [undefined] },
      EXIT.usage,
      /there is no namespace shop in context fake/,
    ],
    [
      'a namespace nobody may see',
      { ...there, [SERVICE]: [undefined], [NAMESPACE]: [forbidden('namespaces')] },
      EXIT.usage,
      /there is no Service web/,
    ],
    [
      'the Service may not be read',
      { ...there, [SERVICE]: [forbidden('services')] },
      EXIT.refused,
      /you may not get services in namespace shop/,
    ],
    [
      'its endpoints may not be read',
      { ...there, [SLICES]: [forbidden('slices')] },
      EXIT.refused,
      /you may not list endpointslices in namespace shop/,
    ],
    [
      'neither may be read, and the refusal of the Service comes last',
      { ...there, [SERVICE]: [late(forbidden('services'))], [SLICES]: [forbidden('slices')] },
      EXIT.refused,
      /^you may not get services in namespace shop, nor list endpointslices in namespace shop$/,
    ],
    [
      'there is no such Service, which is known only after its endpoints were refused',
      { ...there, [SERVICE]: [late(new ApiError(404, 'NotFound', 'no'))], [SLICES]: [forbidden('slices')] },
      EXIT.usage,
      /there is no Service web in namespace shop/,
    ],
    [
      "of two failures the Service's is told, also where it comes last",
      {
        ...there,
        [SERVICE]: [late(new ApiError(404, 'NotFound', 'no'))],
        [NODES]: [new ApiError(500, 'InternalError', 'etcd')],
      },
      EXIT.usage,
      /there is no Service web in namespace shop/,
    ],
    ['the server is ill', { ...there, [NODES]: [new ApiError(500, 'InternalError', 'etcd')] }, EXIT.error, /^etcd$/],
  ])('%s', async (_, replies, code, message) => {
    const error = await failure(look(replies));
    expect(error.message).toMatch(message);
    expect(exitCodeOf(error.kind)).toBe(code);
  });
});

describe('a pod that is refused', () => {
  const manifest = { metadata: { name: 'p', namespace: 'shop' } };
  const said = 'from the API server (Forbidden): ';
  test.each<[string, ApiError | undefined, number, RegExp, RegExp]>([
    [
      'Pod Security',
      forbidden('pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces'),
      EXIT.refused,
      /pod shop\/p was refused: pods "p" is forbidden: violates PodSecurity/,
      /--agent-namespace kube-system/,
    ],
    ['a quota', forbidden('pods "p" is forbidden: exceeded quota: q'), EXIT.refused, /exceeded quota: q/, /A quota/],
    [
      'a quota that wants limits',
      forbidden('pods "p" is forbidden: failed quota: q: must specify limits.cpu'),
      EXIT.refused,
      /limits\.cpu/,
      /A quota/,
    ],
    [
      'a limit range',
      forbidden('pods "p" is forbidden: minimum cpu usage per Container is 1'),
      EXIT.refused,
      /minimum cpu/,
      /A rule of that namespace/,
    ],
    [
      'a webhook',
      forbidden('admission webhook "x.example" denied the request: no'),
      EXIT.refused,
      /denied the request/,
      /webhook/,
    ],
    [
      'a webhook nobody answers',
      new ApiError(500, 'InternalError', 'from the API server (InternalError): failed calling webhook "x"'),
      EXIT.refused,
      /failed calling webhook/,
      /webhook/,
    ],
    [
      'a policy',
      new ApiError(422, 'Invalid', "from the API server (Invalid): ValidatingAdmissionPolicy 'x' denied request: no"),
      EXIT.refused,
      /denied request: no/,
      /admission policy/,
    ],
    [
      'a right',
      forbidden('pods is forbidden: User "u" cannot create resource "pods"'),
      EXIT.refused,
      /cannot create resource/,
      /docs\/rbac\.md/,
    ],
    ['no such namespace', undefined, EXIT.usage, /there is no namespace shop/, /kubectl get namespaces/],
    ['a busy server', new ApiError(429, 'TooManyRequests', 'busy', 'Try again'), EXIT.error, /^busy$/, /Try again/],
  ])('%s', async (_, reply, code, message, remedy) => {
    const error = await failure(createPod(fakeCluster({ POST: [reply] }), manifest, NEVER));
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain(said);
    expect(error.remedy).toMatch(remedy);
    expect(exitCodeOf(error.kind)).toBe(code);
  });
  test('is not even asked for by a run that was interrupted', async () => {
    const cluster = fakeCluster({ POST: [{}] });
    expect((await failure(createPod(cluster, manifest, AbortSignal.abort()))).kind).toBe('interrupted');
    expect(cluster.asked).toEqual([]);
  });
});

describe('waiting for a pod', () => {
  const REF = { namespace: 'shop', pod: 'p', container: 'c' };
  const running = {
    status: { podIPs: [{ ip: '10.0.0.1' }], containerStatuses: [{ name: 'c', state: { running: {} } }] },
  };
  const pending = { status: { phase: 'Pending' } };
  const EVENTS = 'GET /api/v1/namespaces/shop/events?fieldSelector=involvedObject.name%3Dp';
  const POD = 'GET /api/v1/namespaces/shop/pods/p';
  /** It does not start, and these are its events. */
  const told = (...items: object[]) => ({ [POD]: [pending], [EVENTS]: [{ items }] });
  const wait = (replies: Record<string, Reply[]>, ms = 5000, signal = NEVER) =>
    waitUntilRunning(fakeCluster(replies), REF, ms, signal);

  test('until it runs', async () =>
    expect((await wait({ [POD]: [pending, pending, running] })).ips).toEqual(['10.0.0.1']));
  test.each<[string, Record<string, Reply[]>, RegExp]>([
    ['it is gone', { [POD]: [undefined] }, /pod shop\/p was deleted by somebody else/],
    ['it is going', { [POD]: [{ metadata: { deletionTimestamp: 'x' } }] }, /was deleted by somebody else/],
    [
      'it is stuck',
      {
        [POD]: [
          {
            status: {
              containerStatuses: [{ name: 'c', state: { waiting: { reason: 'ErrImagePull', message: 'no' } } }],
            },
          },
        ],
      },
      /does not start: ErrImagePull: no/,
    ],
    [
      'the newest event tells',
      told({ message: 'new', lastTimestamp: '2' }, { message: 'old', lastTimestamp: '1' }),
      /did not start within 0 s: new$/,
    ],
    [
      'a warning that keeps nobody from starting tells nothing',
      told(
        { type: 'Normal', reason: 'Scheduled', message: 'assigned', lastTimestamp: '1' },
        { type: 'Warning', reason: 'MissingClusterDNS', message: 'no DNS', lastTimestamp: '2' },
      ),
      /did not start within 0 s: it is Pending$/,
    ],
    [
      'its image is still coming',
      told(
        { type: 'Normal', reason: 'Scheduled', message: 'assigned', lastTimestamp: '1' },
        { type: 'Normal', reason: 'Pulling', message: 'Pulling image "a"', lastTimestamp: '2' },
      ),
      /did not start within 0 s: Pulling image "a"$/,
    ],
    [
      'no event may be read',
      { [POD]: [pending], [EVENTS]: [forbidden('events')] },
      /did not start within 0 s: it is Pending$/,
    ],
  ])('%s', async (_, replies, message) => expect((await failure(wait(replies, 0))).message).toMatch(message));
  test('not any longer when the run is interrupted', async () => {
    const abort = new AbortController();
    const reply = () => {
      setImmediate(() => abort.abort());
      return pending;
    };
    expect((await failure(wait({ [POD]: [reply] }, 60_000, abort.signal))).kind).toBe('interrupted');
  });
  test('one that is gone already is as good as deleted', async () =>
    deletePod(fakeCluster({}), { namespace: 'a', name: 'b' }, 0));
});

describe('a pod to send from', () => {
  const POD = 'GET /api/v1/namespaces/shop/pods/client';
  test('is on a node, and has addresses', async () => {
    const pod = { spec: { nodeName: 'n' }, status: { phase: 'Running', podIPs: [{ ip: '10.0.0.1' }] } };
    expect(await checkSource(fakeCluster({ [POD]: [pod] }), 'shop', 'client', NEVER)).toEqual({
      node: 'n',
      ips: ['10.0.0.1'],
    });
  });
  test.each<[string, Reply, number, RegExp]>([
    ['is not there', undefined, EXIT.usage, /there is no pod client in namespace shop/],
    ['does not run', { status: { phase: 'Pending' } }, EXIT.refused, /pod shop\/client is Pending/],
    [
      "uses its node's network",
      { spec: { hostNetwork: true }, status: { phase: 'Running' } },
      EXIT.refused,
      /uses its node's own network/,
    ],
  ])('%s', async (_, reply, code, message) => {
    const error = await failure(checkSource(fakeCluster({ [POD]: [reply] }), 'shop', 'client', NEVER));
    expect(error.message).toMatch(message);
    expect(exitCodeOf(error.kind)).toBe(code);
  });
});

describe('a place', () => {
  const images = { image: 'i', pullPolicy: 'Never', pullSecrets: [] } as const;
  const common = { run: 'abcd1234', namespace: 'shop', forced: false, seconds: 60, ...images, pullSecrets: [] };
  const order: OpenOrder = {
    run: 'abcd1234',
    probe: common,
    agent: { ...common, node: 'n1', script: '', log: 'auto', lock: false },
    startTimeoutMs: 5000,
  };
  const pod = (container: string) => ({
    spec: { nodeName: 'n1' },
    status: { podIPs: [{ ip: '10.0.0.1' }], containerStatuses: [{ name: container, state: { running: {} } }] },
  });
  const PODS = '/api/v1/namespaces/shop/pods';
  const both = {
    POST: [{}],
    DELETE: [{}],
    [`GET ${PODS}/trace-svc-abcd1234`]: [pod('probe')],
    [`GET ${PODS}/trace-svc-abcd1234-node`]: [pod('agent')],
  };
  const deleted = (asked: string[]) => asked.filter(one => one.startsWith('DELETE')).sort();

  test('is two pods, and both go again', async () => {
    const cluster = fakeCluster(both);
    const undo = createUndo();
    const site = await openSite(cluster, order, undo, NEVER);
    expect(site).toMatchObject({ nodeName: 'n1', podName: 'trace-svc-abcd1234', podIps: ['10.0.0.1'], settled: true });
    expect(await undo.run()).toEqual([]);
    expect(deleted(cluster.asked)).toEqual([
      `DELETE ${PODS}/trace-svc-abcd1234`,
      `DELETE ${PODS}/trace-svc-abcd1234-node`,
    ]);
  });
  test('where one is refused, the other is waited for, and both are deleted', async () => {
    const replies = [{}, forbidden('violates PodSecurity')];
    const cluster = fakeCluster({ ...both, POST: replies });
    const undo = createUndo();
    expect((await failure(openSite(cluster, order, undo, NEVER))).message).toMatch(/-node was refused/);
    await undo.run();
    expect(deleted(cluster.asked)).toHaveLength(2);
  });
  test('what cannot be deleted is told', async () => {
    const cluster = fakeCluster({ ...both, DELETE: [forbidden('no')] });
    const undo = createUndo();
    await openSite(cluster, order, undo, NEVER);
    expect((await undo.run()).map(({ what }) => what)).toEqual([
      'delete pod shop/trace-svc-abcd1234-node',
      'delete pod shop/trace-svc-abcd1234',
    ]);
  });
  test('an interrupted run deletes its pods after they were made, not before', async () => {
    const abort = new AbortController();
    const cluster = fakeCluster({
      ...both,
      POST: [
        async () => {
          abort.abort();
          await new Promise(resolve => setImmediate(resolve));
          cluster.asked.push('made');
          return {};
        },
      ],
    });
    const undo = createUndo();
    expect((await failure(openSite(cluster, order, undo, abort.signal))).kind).toBe('interrupted');
    await undo.run();
    expect(cluster.asked.lastIndexOf('made')).toBeLessThan(cluster.asked.findIndex(one => one.startsWith('DELETE')));
  });

  describe('looked at again', () => {
    const AGENT = `GET ${PODS}/trace-svc-abcd1234-node`;
    const SECOND = `GET ${PODS}/trace-svc-abcd1234-node-2`;
    const cut = new TraceError('api', 'cut');
    const sweep = async (replies: Record<string, Reply[]>, lines: string[], broken?: Error) => {
      const cluster = fakeCluster({ ...both, ...replies }, saying(lines, broken));
      const site = await openSite(cluster, order, createUndo(), NEVER);
      const heard: string[] = [];
      await site.sweep?.('abcd1234', line => heard.push(line));
      return { heard, asked: cluster.asked };
    };
    test('it says what it removed', async () => {
      const { heard } = await sweep({}, ['@removed a rule', '@finished']);
      expect(heard).toEqual(['@removed a rule', '@finished']);
    });
    test('there was nothing any more', async () => {
      const { heard } = await sweep({}, ['@finished']);
      expect(heard.at(-1)).toMatch(/^@removed nothing more: n1 was looked at/);
    });
    test('nobody could look, and its pod is there: what may be left is said', async () => {
      const { heard, asked } = await sweep({}, [], cut);
      expect(heard).toEqual([
        expect.stringMatching(/^@left what run abcd1234 put in on n1, .* ends by itself within 60 s$/),
      ]);
      expect(asked.filter(one => one.includes('-node-2'))).toEqual([]);
    });
    test('its pod is gone: another one looks, and goes again', async () => {
      const { heard, asked } = await sweep(
        { [AGENT]: [pod('agent'), undefined], [SECOND]: [pod('agent')] },
        ['@finished'],
        cut,
      );
      expect(heard.at(-1)).toMatch(/^@removed nothing more/);
      expect(asked).toContain(`DELETE ${PODS}/trace-svc-abcd1234-node-2`);
    });
  });
});

describe('pods of ours', () => {
  const ALL = 'GET /api/v1/pods?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-trace-svc';
  const OWN = 'GET /api/v1/namespaces/shop/pods?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-trace-svc';
  test('in the whole cluster', async () =>
    expect(await listPods(fakeCluster({ [ALL]: [{ items: [1] }] }), NEVER)).toEqual([1]));
  test('in our own namespace, where we may not look further', async () => {
    expect(await listPods(fakeCluster({ [ALL]: [forbidden('pods')], [OWN]: [{}] }), NEVER)).toEqual([]);
  });
  test('nowhere', async () => {
    expect((await failure(listPods(fakeCluster({ GET: [forbidden('pods')] }), NEVER))).message).toMatch(/pods/);
  });
});
