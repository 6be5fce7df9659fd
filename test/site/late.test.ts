/** A request that nobody answered may have been carried out, now or a moment later. */
import { expect, test } from 'vitest';
import { ApiError } from '../../src/errors.ts';
import { createPod } from '../../src/site/pods.ts';
import { fakeCluster, type Reply } from '../support/fake-cluster.ts';

const POD = '/api/v1/namespaces/shop/pods/p';
const MANIFEST = { metadata: { name: 'p', namespace: 'shop' } };
const SILENCE = new ApiError(0, 'NoAnswer', 'the API server did not answer within 10 s');
const NOT_YET: Reply = undefined;

async function create(post: Error, looks: Reply[]) {
  const cluster = fakeCluster({ 'POST /api/v1/namespaces/shop/pods': [post], [`GET ${POD}`]: looks });
  const error = await createPod(cluster, MANIFEST, new AbortController().signal).catch((reason: Error) => reason);
  return { error, looked: cluster.asked.filter(what => what.startsWith('GET')).length };
}

test('a pod that comes late is waited for, so that its deletion finds it', async () => {
  expect(await create(SILENCE, [NOT_YET, NOT_YET, MANIFEST])).toEqual({ error: SILENCE, looked: 3 });
});
test('one that never comes is not waited for for ever', async () => {
  const { error, looked } = await create(SILENCE, [NOT_YET]);
  expect(error).toBe(SILENCE);
  expect(looked).toBeGreaterThan(3);
});
test('where nobody answers, nobody is asked again', async () => {
  expect(await create(SILENCE, [SILENCE])).toEqual({ error: SILENCE, looked: 1 });
});
test('what was answered is known', async () => {
  const refused = new ApiError(500, 'Unknown', 'no');
  expect((await create(refused, [MANIFEST])).looked).toBe(0);
});
