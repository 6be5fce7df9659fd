/** plugin/rbac.yaml grants what runs ask for, and nothing else: compared with what the API server wrote down about a user who has only that. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { openCluster } from '../../src/live/cluster.ts';
import { runPlugin } from '../support/live.ts';
import { AUDIT_LOG, applyObjects, kubeconfig, kubectl, nodes, OURS, poll } from './cluster.ts';

const RBAC = fileURLToPath(new URL('../../plugin/rbac.yaml', import.meta.url));
const DOCS = new URL('../../docs/rbac.md', import.meta.url);
const HOME = 'trace-svc-rbac';
const USER = `rbac-${process.pid}-${Date.now()}`;
const AS = ['-n', HOME, '--as', USER, '--as-group', 'trace-svc-users'];

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

function granted(): string[] {
  const documents = parseAllDocuments(readFileSync(RBAC, 'utf8')).map(one => one.toJSON());
  const rules: { where: string; rule: Rule }[] = documents.flatMap(({ kind, rules = [] }) =>
    rules.map((rule: Rule) => ({ where: kind === 'Role' ? 'in a namespace' : 'everywhere', rule })),
  );
  return rules
    .flatMap(({ where, rule: { verbs, resources } }) =>
      resources.flatMap(resource => verbs.map(verb => `${verb} ${resource} ${where}`)),
    )
    .sort();
}

interface Event {
  verb: string;
  objectRef?: { resource?: string; subresource?: string; namespace?: string };
  impersonatedUser?: { username?: string };
  annotations?: Record<string, string>;
}

function asked(): { text: string; allowed: boolean }[] {
  return readFileSync(AUDIT_LOG, 'utf8')
    .split('\n')
    .filter(line => line.includes(`"${USER}"`))
    .map(line => JSON.parse(line) as Event)
    .filter(({ objectRef }) => objectRef !== undefined && objectRef.resource !== 'selfsubjectaccessreviews')
    .map(({ verb, objectRef: { resource, subresource, namespace } = {}, annotations }) => ({
      text: `${verb} ${resource}${subresource ? `/${subresource}` : ''} ${namespace && resource !== 'namespaces' ? 'in a namespace' : 'everywhere'}`,
      allowed: annotations?.['authorization.k8s.io/decision'] === 'allow',
    }));
}

const distinct = (rows: { text: string }[]): string[] => [...new Set(rows.map(({ text }) => text))].sort();

async function removeAll(): Promise<void> {
  await kubectl('-n', HOME, 'delete', '-f', RBAC, '--ignore-not-found').catch(() => {});
  await kubectl('delete', 'namespace', HOME, '--ignore-not-found', '--timeout=60s');
}

/** Checked while a websocket is opened (Kubernetes 1.35 and newer), which the audit log has as the `get` it came with. */
const UNSEEN = 'create pods/exec in a namespace';

describe.runIf(OURS)('a user with these rights alone', () => {
  beforeAll(async () => {
    await applyObjects();
    await removeAll();
    await kubectl('create', 'namespace', HOME);
    await poll('the namespace has its account', () => kubectl('-n', HOME, 'get', 'serviceaccount', 'default'));
    await kubectl('-n', HOME, 'apply', '-f', RBAC);
    const image = '--image=registry.k8s.io/e2e-test-images/agnhost:2.63.0';
    await kubectl('-n', HOME, 'run', 'web', image, '--port=8080', '--expose', '--', 'netexec', '--http-port=8080');
    await kubectl('-n', HOME, 'wait', '--for=condition=Ready', 'pod', 'web', '--timeout=60s');
    await poll('the Service has an endpoint', async () => {
      const path = '-o=jsonpath={.items[*].endpoints[*].addresses}';
      return (await kubectl('-n', HOME, 'get', 'endpointslices', path)) || undefined;
    });
  });
  afterAll(removeAll);

  const plugin = (...words: string[]) => runPlugin([...words, ...AS], kubeconfig());

  it.each([
    ['traces', ['web'], 0],
    ['traces from a pod', ['web', '--from', 'pod/web'], 0],
    ['looks for what ended runs left', ['cleanup'], 0],
    ['asks the doctor', ['doctor'], 0],
    ['is told why a pod does not start', ['web', '--image', 'registry.local/not/there:1', '--start-timeout', '1'], 1],
  ])('%s', async (_, words, code) => {
    const ended = await plugin(...words);
    expect(`${ended.code} ${ended.stdout}${ended.stderr}`).toMatch(new RegExp(`^${code} `));
  });

  it('has no right that was not needed, and needed none that was not granted', async () => {
    await plugin('web', '--node', (await nodes()).n1);
    const all = asked();
    expect(distinct(all.filter(one => one.allowed))).toEqual(granted().filter(right => right !== UNSEEN));
    // What is asked for, and done without: cleanup looks in the whole cluster first, and doctor at who else translates.
    expect(distinct(all.filter(one => !one.allowed))).toEqual([
      'list daemonsets in a namespace',
      'list pods everywhere',
    ]);
  });
});

describe.runIf(OURS)('the right that no log tells of', () => {
  const user = `${USER}-get`;
  const inHome = ['-n', HOME];
  beforeAll(async () => {
    await removeAll();
    await kubectl('create', 'namespace', HOME);
    await kubectl(...inHome, 'create', 'role', user, '--verb=get', '--resource=pods,pods/exec');
    await kubectl(...inHome, 'create', 'rolebinding', user, `--role=${user}`, `--user=${user}`);
    await poll('the right is known', () => kubectl(...inHome, 'auth', 'can-i', 'get', 'pods', `--as=${user}`));
  });
  afterAll(removeAll);

  it(`${UNSEEN}: without it the server opens no websocket, though get is granted`, async () => {
    const deps = { env: { ...process.env, KUBECONFIG: kubeconfig() }, interactive: false };
    const cluster = openCluster({ as: user }, 10_000, deps);
    const shell = cluster.shell({ namespace: HOME, pod: 'nobody', container: 'x' });
    try {
      // The server gives no reason; with the right it would say that there is no such pod.
      await expect(shell.run(['true'])).rejects.toThrow(/\(Forbidden\): pods "nobody" is forbidden/);
    } finally {
      cluster.close();
    }
  });
});

describe('docs/rbac.md', () => {
  it('names every right', () => {
    const text = readFileSync(DOCS, 'utf8');
    const rows = [...text.matchAll(/^\| `([a-z, ]+)` \| `([a-z/]+)` \| (in a namespace|everywhere) \|/gm)];
    const named = rows.flatMap(([, verbs = '', resource, where]) =>
      verbs.split(', ').map(verb => `${verb} ${resource} ${where}`),
    );
    expect(named.sort()).toEqual(granted());
  });
});
