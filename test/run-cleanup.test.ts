/** What `cleanup` removes it also sees gone. */
import { expect, test } from 'vitest';
import { ApiError } from '../src/errors.ts';
import { runCleanup } from '../src/run-cleanup.ts';
import { fakeCluster, type Reply } from './support/fake-cluster.ts';

const POD = '/api/v1/namespaces/shop/pods/trace-svc-abcd1234';
const STRAY = {
  metadata: { namespace: 'shop', name: 'trace-svc-abcd1234', labels: { 'trace-svc/run': 'abcd1234' } },
  status: { phase: 'Succeeded' },
};
const LIST = 'GET /api/v1/pods?labelSelector=app.kubernetes.io%2Fmanaged-by%3Dkubectl-trace-svc';

async function cleanup(looks: Reply[]) {
  const cluster = fakeCluster({
    [LIST]: [{ items: [STRAY] }],
    [`DELETE ${POD}`]: [{}],
    [`GET ${POD}`]: looks,
    'GET /api/v1/nodes': [{ items: [] }],
  });
  const said: string[] = [];
  const out = { result: (text: string) => void said.push(text), say() {}, step() {} };
  const request = { agentImage: 'i', pullPolicy: 'Never', pullSecrets: [], startTimeoutMs: 1 } as const;
  const code = await runCleanup(
    { ...request, pullSecrets: [] },
    { cluster, out, signal: new AbortController().signal, agentScript: '', newRunId: () => 'x', now: () => 0 },
  );
  return { code, said: said.join(''), looked: cluster.asked.filter(what => what === `GET ${POD}`).length };
}

test('a pod that takes a moment to end is waited for', async () => {
  const { code, said, looked } = await cleanup([STRAY, STRAY, undefined]);
  expect({ code, looked }).toEqual({ code: 0, looked: 3 });
  expect(said).toBe('removed pod shop/trace-svc-abcd1234: it has ended (Succeeded)\n');
});
test('one of which nobody can tell is no success', async () => {
  const { code, said } = await cleanup([new ApiError(0, 'NoAnswer', 'the API server did not answer')]);
  expect(code).toBe(5);
  expect(said).toContain('pod shop/trace-svc-abcd1234: the API server did not answer\n');
});
