/**
 * Whatever a cluster refuses, or takes away in the middle: one clear line that says what to do, the exit code for it, and nodes
 * that are as they were before.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { type Ended, type Interruption, runCleanup, runPlugin } from '../support/live.ts';
import { openRoad, type Road } from '../support/tcp-proxy.ts';
import {
  applyObjects,
  fingerprint,
  kubeconfig,
  kubectl,
  kubectlPath,
  NAMESPACE,
  NODES_CAN_BE_SEEN,
  nodes,
  OURS,
  poll,
  run,
} from './cluster.ts';

const RESTRICTED = 'trace-svc-restricted';
const QUOTA = 'trace-svc-quota';
const POLICY = 'trace-svc-policy';
const OTHERS = 'trace-svc-others';
const GHOST = 'trace-svc-ghost';
const PROBE = 'probe-user';

let folder: string;
let node: { n1: string; n2: string };
let before: unknown;

async function apply(...objects: object[]): Promise<void> {
  const file = join(folder, 'objects.json');
  writeFileSync(file, JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }));
  await kubectl('apply', '-f', file);
}

const namespace = (name: string, labels: Record<string, string> = {}) => ({
  apiVersion: 'v1',
  kind: 'Namespace',
  metadata: { name, labels },
});

const POLICY_OBJECTS = [
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name: POLICY },
    spec: {
      failurePolicy: 'Fail',
      matchConstraints: {
        resourceRules: [{ apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] }],
      },
      validations: [{ expression: 'false', message: 'no pods of yours here' }],
    },
  },
  {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name: POLICY },
    spec: {
      policyName: POLICY,
      validationActions: ['Deny'],
      matchResources: { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': POLICY } } },
    },
  },
];

const SERVICE = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: RESTRICTED },
  spec: { ports: [{ port: 80 }] },
};

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  await applyObjects();
  node = await nodes();
  await removeOurObjects();
  await apply(
    namespace(RESTRICTED, { 'pod-security.kubernetes.io/enforce': 'restricted' }),
    namespace(QUOTA),
    namespace(POLICY),
    namespace(OTHERS),
    SERVICE,
    {
      apiVersion: 'v1',
      kind: 'ResourceQuota',
      metadata: { name: 'none', namespace: QUOTA },
      spec: { hard: { pods: '0' } },
    },
    { apiVersion: 'v1', kind: 'Node', metadata: { name: GHOST } },
    ...POLICY_OBJECTS,
  );
  await serviceAccounts(RESTRICTED, QUOTA, POLICY, OTHERS);
  if (NODES_CAN_BE_SEEN)
    await poll('both nodes have rules for the Service', async () =>
      JSON.stringify([await fingerprint('n1'), await fingerprint('n2')]).split(`${RESTRICTED}/web`).length > 2
        ? true
        : undefined,
    );
  await poll('the quota holds', async () => {
    const used = await kubectl('-n', QUOTA, 'get', 'quota', 'none', '-o', 'jsonpath={.status.hard.pods}');
    return used === '0' ? true : undefined;
  });
  await poll('the policy holds', async () => {
    const refused = await kubectl('-n', POLICY, 'run', 'x', '--image=x', '--dry-run=server').then(
      () => undefined,
      () => true,
    );
    return refused;
  });
});

afterAll(async () => {
  await removeOurObjects();
  rmSync(folder, { recursive: true });
});

/** Pods are refused before their namespace has its account. */
async function serviceAccounts(...names: string[]): Promise<void> {
  for (const name of names)
    await poll(`${name} has its account`, () => kubectl('-n', name, 'get', 'serviceaccount', 'default'));
}

async function removeOurObjects(): Promise<void> {
  const gone = ['--ignore-not-found', '--wait=false'];
  await kubectl('delete', 'validatingadmissionpolicybinding', POLICY, ...gone);
  await kubectl('delete', 'validatingadmissionpolicy', POLICY, ...gone);
  await kubectl('delete', 'node', GHOST, ...gone);
  await kubectl('delete', 'namespace', RESTRICTED, QUOTA, POLICY, OTHERS, '--ignore-not-found', '--timeout=60s');
  await removeRights();
}

beforeEach(async () => {
  before = await nodesAreLike();
});
afterEach(async () => {
  expect(await ourPods()).toEqual([]);
  expect(await nodesAreLike()).toEqual(before);
});

async function nodesAreLike(): Promise<unknown> {
  if (!NODES_CAN_BE_SEEN) return [];
  const both = await Promise.all([fingerprint('n1'), fingerprint('n2')]);
  return both.map(one => ({
    ...one,
    legacy: one.legacy?.replace(/^\*raw\n:PREROUTING ACCEPT \n:OUTPUT ACCEPT \nCOMMIT\n/gm, ''),
  }));
}

async function ourPods(): Promise<string[]> {
  const label = 'app.kubernetes.io/managed-by=kubectl-trace-svc';
  const names = await kubectl('get', 'pods', '-A', '-l', label, '-o', 'jsonpath={.items[*].metadata.name}');
  return names.split(' ').filter(Boolean);
}

const trace = (words: string, interruption?: Interruption) =>
  runPlugin(words.split(' ').filter(Boolean), kubeconfig(), interruption);

/** The line that says what failed, and the one that says what to do. */
function refusal({ stderr }: Ended): string {
  const lines = stderr.trim().split('\n');
  const at = lines.findIndex(line => line.startsWith('error: '));
  expect(lines.length - at, stderr).toBe(2);
  return lines.slice(at).join('\n');
}

interface Role {
  rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[];
}

/** plugin/rbac.yaml, for one user, in the shop. */
function granted(): Record<string, Role> {
  const text = readFileSync(new URL('../../plugin/rbac.yaml', import.meta.url), 'utf8');
  const all = parseAllDocuments(text).map(one => one.toJSON());
  return Object.fromEntries(all.filter(one => one.rules).map(one => [one.kind, one]));
}

function without(role: Role, resource: string, verb: string): Role['rules'] {
  return role.rules
    .map(({ apiGroups, resources, verbs }) => ({
      apiGroups,
      resources,
      verbs: resources.includes(resource) ? verbs.filter(one => one !== verb) : verbs,
    }))
    .filter(({ verbs }) => verbs.length > 0);
}

const rbac = (kind: string, more: object) => ({ apiVersion: 'rbac.authorization.k8s.io/v1', kind, ...more });

/** The user has every right but one. */
async function grantAllBut(resource: string, verb: string): Promise<void> {
  const roles = granted();
  const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: PROBE }];
  for (const [kind, metadata] of [
    ['ClusterRole', { name: PROBE }],
    ['Role', { name: PROBE, namespace: NAMESPACE }],
  ] as const) {
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind, name: PROBE };
    await apply(
      rbac(kind, { metadata, rules: without(roles[kind] as Role, resource, verb) }),
      rbac(`${kind}Binding`, { metadata, roleRef, subjects }),
    );
  }
}

async function removeRights(): Promise<void> {
  for (const kind of ['clusterrolebinding', 'clusterrole']) await kubectl('delete', kind, PROBE, '--ignore-not-found');
  for (const kind of ['rolebinding', 'role'])
    await kubectl('-n', NAMESPACE, 'delete', kind, PROBE, '--ignore-not-found');
}

async function can(verb: string, resource: string): Promise<boolean> {
  const asked = ['--kubeconfig', kubeconfig(), '-n', NAMESPACE, 'auth', 'can-i', verb, resource, `--as=${PROBE}`];
  return run(kubectlPath(), asked).then(
    () => true,
    () => false,
  );
}

describe('a right that is missing', () => {
  afterEach(removeRights);

  it.each([
    ['get', 'services', '', /you may not get services in namespace shop/],
    ['list', 'endpointslices', '', /you may not list endpointslices in namespace shop/],
    ['create', 'pods', '', /you may not create pods in namespace shop/],
    ['get', 'pods', '', /you may not get pods in namespace shop/],
    ['delete', 'pods', '', /you may not delete pods in namespace shop/],
    ['create', 'pods/exec', '', /you may not create pods\/exec in namespace shop/],
    ['get', 'pods/exec', '', /you may not get pods\/exec in namespace shop/],
    [
      'patch',
      'pods/ephemeralcontainers',
      '--from pod/client-n1',
      /you may not patch pods\/ephemeralcontainers in namespace shop/,
    ],
  ])('%s %s', async (verb, resource, flags, message) => {
    await grantAllBut(resource, verb);
    await poll('the rights are known', async () => ((await can('list', 'events')) ? true : undefined));
    const ended = await trace(`-n ${NAMESPACE} web --as ${PROBE} ${flags}`);
    expect(refusal(ended)).toMatch(message);
    expect(refusal(ended)).toMatch(/\n {2}Ask for the rights in docs\/rbac\.md/);
    expect(ended.code).toBe(4);
    expect(ended.stdout).toBe('');
  });

  it.each([
    ['list', 'nodes', ''],
    ['get', 'namespaces', ''],
    ['list', 'pods', ''],
    ['list', 'events', ''],
    ['patch', 'pods/ephemeralcontainers', ''],
  ])('%s %s is no hindrance', async (verb, resource, flags) => {
    await grantAllBut(resource, verb);
    await poll('the rights are known', async () => ((await can('create', 'pods')) ? true : undefined));
    const ended = await trace(`-n ${NAMESPACE} web --as ${PROBE} ${flags}`);
    expect(`${ended.code} ${ended.stderr}`).toMatch(/^0 /);
  });

  it('in the namespace of somebody else', async () => {
    await grantAllBut('', '');
    await poll('the rights are known', async () => ((await can('create', 'pods')) ? true : undefined));
    const ended = await trace(`-n ${OTHERS} web --as ${PROBE}`);
    expect(refusal(ended)).toMatch(new RegExp(`you may not get services in namespace ${OTHERS}`));
    expect(ended.code).toBe(4);
  });

  it('in the namespace of the agent', async () => {
    await grantAllBut('', '');
    await poll('the rights are known', async () => ((await can('create', 'pods')) ? true : undefined));
    const ended = await trace(`-n ${NAMESPACE} web --as ${PROBE} --agent-namespace ${OTHERS}`);
    expect(refusal(ended)).toMatch(new RegExp(`you may not create pods in namespace ${OTHERS}, nor get pods in`));
    expect(ended.code).toBe(4);
  });
});

describe('a namespace that does not want it', () => {
  it('Pod Security on the probe: the agent moves to kube-system', async () => {
    const ended = await trace(`-n ${RESTRICTED} -o json`);
    expect(`${ended.code} ${ended.stderr}`).toMatch(/^0 [\s\S]*an agent pod in kube-system/);
  });
  it.each([
    [
      'Pod Security on the agent',
      `-n ${NAMESPACE} web --agent-namespace ${RESTRICTED}`,
      /violates PodSecurity "restricted[\s\S]*--agent-namespace kube-system/,
    ],
    ['a quota', `-n ${QUOTA}`, /exceeded quota: none[\s\S]*Choose another namespace/],
    ['an admission policy', `-n ${POLICY}`, /no pods of yours here[\s\S]*An admission policy of this cluster/],
    [
      'an admission policy, for the agent',
      `-n ${NAMESPACE} web --agent-namespace ${POLICY}`,
      /no pods of yours here[\s\S]*An admission policy/,
    ],
  ])('%s', async (_, words, message) => {
    const ended = await trace(words);
    expect(refusal(ended)).toMatch(message);
    expect(ended.code).toBe(4);
  });
  it('as Pod Security has it, also where nobody may read its level', async () => {
    const as = `--as ${PROBE}`;
    const verbs = ['create', 'get', 'delete'];
    const metadata = { name: PROBE, namespace: RESTRICTED };
    const rules = [
      { apiGroups: [''], resources: ['pods', 'pods/exec'], verbs },
      { apiGroups: [''], resources: ['services'], verbs: ['get'] },
      { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list'] },
    ];
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: PROBE }];
    const roleRef = { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: PROBE };
    await apply(rbac('Role', { metadata, rules }), rbac('RoleBinding', { metadata, roleRef, subjects }));
    await poll('the rights are known', () =>
      kubectl('-n', RESTRICTED, 'auth', 'can-i', 'create', 'pods', as.replace(' ', '=')),
    );
    const ended = await trace(`-n ${RESTRICTED} web ${as}`);
    expect(refusal(ended)).toMatch(
      /pod \S+-node was refused: .*violates PodSecurity[\s\S]*--agent-namespace kube-system/,
    );
    expect(ended.code).toBe(4);
  });
});

describe('a node', () => {
  const cordon = (name: string) => kubectl('cordon', name);
  const taint = (name: string) => kubectl('taint', '--overwrite', 'node', name, 'trace-svc.test/keep=out:NoSchedule');
  afterEach(async () => {
    for (const name of Object.values(node)) {
      await kubectl('uncordon', name);
      await kubectl('taint', 'node', name, 'trace-svc.test/keep:NoSchedule-').catch(() => {});
    }
  });

  it('that is cordoned is passed over', async () => {
    await cordon(node.n1);
    const ended = await trace(`-n ${NAMESPACE} web`);
    expect(`${ended.code} ${ended.stderr}`).toMatch(new RegExp(`^0 [\\s\\S]*on node ${node.n2}`));
  });
  it.each([
    ['cordoned', cordon, 'is cordoned'],
    ['tainted', taint, 'is tainted trace-svc\\.test/keep=out:NoSchedule'],
  ] as const)(
    'where all are %s, each is named with its reason; one that is asked for is taken',
    async (_, act, why) => {
      for (const name of Object.values(node)) await act(name);
      const ended = await trace(`-n ${NAMESPACE} web`);
      expect(refusal(ended)).toMatch(new RegExp(`no node takes an ordinary pod: ${node.n1} ${why}; ${node.n2} ${why}`));
      expect(refusal(ended)).toMatch(/--node/);
      expect(ended.code).toBe(4);
      const forced = await trace(`-n ${NAMESPACE} web --node ${node.n1}`);
      expect(`${forced.code} ${forced.stderr}`).toMatch(/^0 /);
    },
  );
  it('that is not ready is refused', async () => {
    const ended = await trace(`-n ${NAMESPACE} web --node ${GHOST}`);
    expect(refusal(ended)).toMatch(new RegExp(`node ${GHOST} is not ready: `));
    expect(ended.code).toBe(4);
  });
  it('that is not ready, where nobody may look, is waited for in vain, and nothing stays', async () => {
    await grantAllBut('nodes', 'list');
    try {
      await poll('the rights are known', async () => ((await can('create', 'pods')) ? true : undefined));
      const ended = await trace(`-n ${NAMESPACE} web --as ${PROBE} --node ${GHOST} --start-timeout 1`);
      expect(refusal(ended)).toMatch(/did not start within 1 s/);
      expect(ended.code).toBe(1);
    } finally {
      await removeRights();
    }
  });
  it('that cannot get the image of the agent', async () => {
    const ended = await trace(`-n ${NAMESPACE} web --agent-image registry.local/not/there:1 --image-pull-policy Never`);
    expect(refusal(ended)).toMatch(/-node does not start: ErrImageNeverPull[\s\S]*--agent-image/);
    expect(ended.code).toBe(1);
  });
  it('that cannot find a shell in the image', async () => {
    const ended = await trace(`-n ${NAMESPACE} web --image registry.local/pause:1`);
    expect(refusal(ended)).toMatch(/does not start: .*sh/);
    expect(ended.code).toBe(1);
  });
});

/** Somebody takes something away while question follows question. */
describe('in the middle', () => {
  const words = () => `-n ${NAMESPACE} web --count 100 --node ${node.n1}`;
  const remove = (component: string) => () =>
    kubectl(
      '-n',
      NAMESPACE,
      'delete',
      'pod',
      '-l',
      `app.kubernetes.io/component=${component},trace-svc/run`,
      '--grace-period=0',
      '--force',
    );

  it('the probe is deleted', async () => {
    const ended = await trace(words(), { at: 'tracing$', act: remove('probe') });
    const ways = ['was deleted by somebody else', 'could not be run: .*'].map(way => `pod shop/trace-svc-\\w+ ${way}`);
    const cut = 'the connection to pod shop/trace-svc-\\w+ was cut before its command ended .*';
    expect(refusal(ended)).toMatch(new RegExp(`^error: .*(${[...ways, cut].join('|')})\\n.*Run it again`));
    expect(ended.code).toBe(1);
  });
  it('the agent is deleted: the node is looked at by another one, and the answer says what it lacks', async () => {
    const ended = await trace(`${words()} -o json`, { at: 'tracing$', act: remove('agent') });
    const report = JSON.parse(ended.stdout);
    expect(report.completeness.complete).toBe(false);
    expect(report.completeness.reasons.join()).toMatch(
      /the node agent did not finish|pod shop\/trace-svc-\w+-node was cut/,
    );
    expect(report.cleanup).toMatchObject({ complete: true });
    expect(report.cleanup.removed.join()).toMatch(/what run \w+ had put in/);
    expect(ended.code).toBe(6);
  });
  it('the run is deleted while its pods start', async () => {
    const ended = await trace(words(), { at: 'starting', act: removeSoon });
    expect(refusal(ended)).toMatch(/was deleted by somebody else\n {2}Run it again/);
    expect(ended.code).toBe(1);
  });

  async function removeSoon(): Promise<void> {
    await poll('there is a probe', async () => ((await ourPods()).length > 0 ? true : undefined));
    await remove('probe')();
  }
});

describe.runIf(OURS)('the API server', () => {
  let road: Road;
  let file: string;
  beforeEach(async () => {
    const text = readFileSync(kubeconfig(), 'utf8');
    const [, host = '', port = ''] = /https:\/\/([\d.]+):(\d+)/.exec(text) ?? [];
    road = await openRoad(host, Number(port));
    file = join(folder, 'road.conf');
    writeFileSync(file, text.replace(`https://${host}:${port}`, `https://127.0.0.1:${road.port}`), { mode: 0o600 });
  });
  afterEach(() => road.close());

  const words = () => ['-n', NAMESPACE, 'web', '--count', '100', '--node', node.n1];

  it('is not there', async () => {
    road.close();
    const ended = await runPlugin(words(), file);
    expect(refusal(ended)).toMatch(
      /the API server https:\/\/127\.0\.0\.1:\d+ cannot be reached: the connection was refused\n.*VPN/,
    );
    expect(ended.code).toBe(1);
  });
  it('is reached again after every connection was cut', async () => {
    const ended = await runPlugin(words(), file, { at: 'tracing$', act: () => road.cut() });
    expect(refusal(ended)).toMatch(/the connection (to pod shop\/trace-svc-\w+ )?was cut/);
    expect(ended.code).toBe(1);
  });
  it('is gone for good: what stays is named, and cleanup removes it', async () => {
    const ended = await runPlugin(words(), file, { at: 'tracing$', act: () => road.close() });
    expect(refusal(ended)).toMatch(/not cleaned up: .*delete pod shop\/trace-svc-\w+-node: .*cannot be reached/);
    expect(refusal(ended)).toMatch(/kubectl trace-svc cleanup/);
    expect(ended.code).toBe(5);
    const [, id = ''] = /pod shop\/trace-svc-(\w+)/.exec(ended.stderr) ?? [];
    const cleaned = await runCleanup(['-n', NAMESPACE, '--run', id], kubeconfig());
    expect(`${cleaned.code} ${cleaned.stdout}`).toMatch(/^0 [\s\S]*removed pod/);
    await poll('the pods are gone', async () => ((await ourPods()).length === 0 ? true : undefined));
  });
});
