/** The commands that the fake API server is held to (test/live/exec.test.ts), against a real one. */
import { afterAll, beforeAll, describe, test } from 'vitest';
import { openCluster } from '../../src/live/cluster.ts';
import type { Cluster } from '../../src/ports.ts';
import { EXEC_CASES, holdToCase, holdToConversation } from '../support/exec-cases.ts';
import { applyObjects, kubeconfig, NAMESPACE } from './cluster.ts';

let cluster: Cluster;

beforeAll(async () => {
  await applyObjects();
  const deps = { env: { ...process.env, KUBECONFIG: kubeconfig() }, interactive: false };
  cluster = openCluster({}, 10_000, deps);
});
afterAll(() => cluster?.close());

describe('a command in a pod', () => {
  const shell = () => cluster.shell({ namespace: NAMESPACE, pod: 'client-n1', container: 'client' });
  test.each(EXEC_CASES)('$name', one => holdToCase(shell(), one));
  test('a conversation', () => holdToConversation(shell()));
});
