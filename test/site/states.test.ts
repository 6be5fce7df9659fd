/** What the API says of nodes and pods -> what a run makes of it. */
import { describe, expect, test } from 'vitest';
import { EXIT, exitCodeOf, TraceError } from '../../src/errors.ts';
import { chooseNode, readNodes } from '../../src/site/nodes.ts';
import { readPodState } from '../../src/site/pods.ts';
import { readStrays } from '../../src/site/strays.ts';

const READY = { conditions: [{ type: 'Ready', status: 'True' }] };
const node = (name: string, spec: object = {}, status: object = READY, os?: string) => ({
  metadata: { name, labels: os ? { 'kubernetes.io/os': os } : {} },
  spec,
  status,
});
const taint = (key: string, effect: string, value?: string) => ({ taints: [{ key, effect, ...(value && { value }) }] });
const GONE = {
  conditions: [
    { type: 'MemoryPressure', status: 'False' },
    { type: 'Ready', status: 'Unknown', reason: 'NodeStatusUnknown', message: 'Kubelet stopped posting node status.' },
  ],
};
const choose = (items: object[], named?: string) => chooseNode(readNodes({ items }), named);

function refusal(work: () => unknown): TraceError {
  try {
    work();
  } catch (error) {
    if (error instanceof TraceError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('a node', () => {
  test.each<[string, object[], string | undefined, string]>([
    ['the first by name', [node('b'), node('a')], undefined, 'a'],
    ['not one that is not ready', [node('a', {}, GONE), node('b')], undefined, 'b'],
    ['not one that has not reported', [node('a', {}, {}), node('b')], undefined, 'b'],
    ['not one that is cordoned', [node('a', { unschedulable: true }), node('b')], undefined, 'b'],
    ['not one that is tainted', [node('a', taint('x', 'NoSchedule')), node('b')], undefined, 'b'],
    ['not one nobody may stay on', [node('a', taint('x', 'NoExecute')), node('b')], undefined, 'b'],
    ['one that would rather not', [node('a', taint('x', 'PreferNoSchedule')), node('b')], undefined, 'a'],
    ['not one of Windows', [node('a', {}, READY, 'windows'), node('b', {}, READY, 'linux')], undefined, 'b'],
    ['the one that is named, though tainted', [node('a'), node('b', taint('x', 'NoSchedule'))], 'b', 'b'],
    ['the one that is named, though cordoned', [node('a'), node('b', { unschedulable: true })], 'b', 'b'],
  ])('%s', (_, items, named, chosen) => expect(choose(items, named)).toBe(chosen));
  test('nobody may look: the scheduler decides, or the name is taken', () => {
    expect([chooseNode(undefined, undefined), chooseNode(undefined, 'n')]).toEqual([undefined, 'n']);
  });

  test.each<[string, object[], string | undefined, number, RegExp]>([
    ['there is none', [], undefined, EXIT.refused, /no node takes an ordinary pod: there is none$/],
    [
      'none takes a pod',
      [
        node('a', {}, GONE),
        node('b', { unschedulable: true }),
        node('c', taint('k', 'NoSchedule', 'v')),
        node('d', {}, READY, 'windows'),
      ],
      undefined,
      EXIT.refused,
      /: a is not ready; b is cordoned; c is tainted k=v:NoSchedule; d runs windows$/,
    ],
    [
      'many that take none',
      Array.from({ length: 9 }, (_, i) => node(`n${i}`, { unschedulable: true })),
      undefined,
      EXIT.refused,
      /n4 is cordoned$/,
    ],
    ['a name nobody has', [node('a')], 'x', EXIT.usage, /there is no node x$/],
    [
      'not ready, in its words',
      [node('a', {}, GONE)],
      'a',
      EXIT.refused,
      /node a is not ready: Kubelet stopped posting node status\.$/,
    ],
    ['never heard of', [node('a', {}, {})], 'a', EXIT.refused, /a is not ready: it has not reported yet$/],
    [
      'of Windows',
      [node('a', {}, READY, 'windows')],
      'a',
      EXIT.refused,
      /node a runs windows, which has no netfilter$/,
    ],
  ])('refused: %s', (_, items, named, code, message) => {
    const error = refusal(() => choose(items, named));
    expect(error.message).toMatch(message);
    expect(exitCodeOf(error.kind)).toBe(code);
  });
  test.each([[null], [{}], [{ items: [{}] }]])('%j is no harm', value =>
    expect(readNodes(value).length).toBeLessThan(2),
  );
});

describe('a pod', () => {
  const running = { name: 'c', state: { running: {} } };
  const waiting = (reason: string, message?: string) => ({
    name: 'c',
    state: { waiting: { reason, ...(message && { message }) } },
  });
  const ended = (terminated: object) => ({ name: 'c', state: { terminated } });
  const ips = { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }], hostIP: '172.0.0.1' };

  test.each<[string, object, object]>([
    ['nothing is known', {}, { phase: 'Unknown', ips: [], hostIps: [], running: false, deleted: false }],
    [
      'runs',
      { spec: { nodeName: 'n' }, status: { phase: 'Running', ...ips, containerStatuses: [running] } },
      { running: true, node: 'n', ips: ['10.0.0.1', 'fd00::1'], hostIps: ['172.0.0.1'] },
    ],
    [
      'runs, on a node of two addresses',
      { status: { ...ips, hostIPs: [{ ip: '172.0.0.1' }, { ip: 'fd01::1' }], containerStatuses: [running] } },
      { hostIps: ['172.0.0.1', 'fd01::1'] },
    ],
    [
      'runs, without an address yet',
      { status: { phase: 'Running', containerStatuses: [running] } },
      { running: false },
    ],
    [
      'another container runs',
      { status: { ...ips, containerStatuses: [{ name: 'istio-proxy', state: { running: {} } }] } },
      { running: false },
    ],
    [
      'a container that was added runs',
      { status: { ...ips, ephemeralContainerStatuses: [running] } },
      { running: true },
    ],
    [
      'is being deleted',
      { metadata: { deletionTimestamp: 'x' }, status: { ...ips, containerStatuses: [running] } },
      { running: true, deleted: true },
    ],
    [
      'waits for a node',
      { status: { conditions: [{ type: 'PodScheduled', status: 'False', message: '0/2 nodes are available' }] } },
      { waiting: '0/2 nodes are available' },
    ],
    [
      'is being made',
      { status: { containerStatuses: [waiting('ContainerCreating')] } },
      { waiting: 'ContainerCreating' },
    ],
    ...[
      'ErrImagePull',
      'ImagePullBackOff',
      'ErrImageNeverPull',
      'InvalidImageName',
      'CreateContainerConfigError',
      'CreateContainerError',
      'RunContainerError',
      'CrashLoopBackOff',
    ].map((reason): [string, object, object] => [
      reason,
      { status: { containerStatuses: [waiting(reason, 'because')] } },
      { stuck: `${reason}: because`, running: false },
    ]),
    [
      'is stuck without a word',
      { status: { containerStatuses: [waiting('ErrImagePull')] } },
      { stuck: 'ErrImagePull: no more is said' },
    ],
    [
      'ended, and said why',
      { status: { containerStatuses: [ended({ message: 'no sh', exitCode: 128 })] } },
      { stuck: 'its container ended: no sh' },
    ],
    [
      'ended, for a reason',
      { status: { containerStatuses: [ended({ reason: 'OOMKilled', exitCode: 137 })] } },
      { stuck: 'its container ended: OOMKilled' },
    ],
    [
      'ended, with a code',
      { status: { containerStatuses: [ended({ exitCode: 3 })] } },
      { stuck: 'its container ended: exit code 3' },
    ],
    [
      'was put out',
      { status: { phase: 'Failed', reason: 'Evicted', message: 'low on memory' } },
      { stuck: 'Evicted: low on memory' },
    ],
    ['is over', { status: { phase: 'Succeeded' } }, { stuck: 'it is Succeeded' }],
  ])('%s', (_, value, wanted) => expect(readPodState(value, 'c')).toMatchObject(wanted));
});

describe('a stray', () => {
  const NOW = Date.parse('2026-01-01T12:00:00Z');
  const pod = (more: { run?: string; created?: string; seconds?: number; phase?: string } = {}) => ({
    metadata: {
      namespace: 'shop',
      name: 'p',
      creationTimestamp: more.created ?? '2026-01-01T11:59:30Z',
      labels: { 'trace-svc/run': more.run ?? 'aaaa' },
    },
    spec: { activeDeadlineSeconds: more.seconds ?? 90 },
    status: { phase: more.phase ?? 'Running' },
  });
  const why = (one: object, run?: string) => readStrays([one], run, NOW).map(stray => stray.why);

  test.each<[string, object, string | undefined, (string | undefined)[]]>([
    ['within its time', pod(), undefined, [undefined]],
    ['just over it: clocks differ', pod({ created: '2026-01-01T11:58:00Z' }), undefined, [undefined]],
    ['long over it', pod({ created: '2026-01-01T11:00:00Z' }), undefined, ['its time is over']],
    ['made in the future', pod({ created: '2026-01-01T13:00:00Z' }), undefined, [undefined]],
    ['ended', pod({ phase: 'Succeeded' }), undefined, ['it has ended (Succeeded)']],
    ['failed', pod({ phase: 'Failed' }), undefined, ['it has ended (Failed)']],
    ['of the run that is named', pod(), 'aaaa', ['of the run that was named']],
    ['of another run than the one that is named', pod({ phase: 'Failed' }), 'bbbb', []],
    ['nobody knows when it was made', { metadata: { name: 'p' } }, undefined, [undefined]],
  ])('%s', (_, one, run, wanted) => expect(why(one, run)).toEqual(wanted));
});
