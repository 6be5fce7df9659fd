/** The program kubectl runs for completion, against an API server that answers, is silent, or is not there: quick, quiet, and well ended. */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { type Answer, fakeApi, json, silence, status, text } from '../support/fake-api.ts';

const COMPLETE = fileURLToPath(new URL('../../plugin/kubectl_complete-trace_svc', import.meta.url));

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

function complete(words: string[], config: string): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  closers.push(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'config');
  writeFileSync(file, config);
  return new Promise((resolve, reject) => {
    const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: file };
    const child = spawn(process.execPath, [COMPLETE, ...words], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    const said = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr'] as const)
      child[name].setEncoding('utf8').on('data', chunk => {
        said[name] += chunk;
      });
    child.once('error', reject);
    child.once('close', code => resolve({ code, ...said }));
  });
}

const config = (server: string, user: object = { token: 'secret' }) =>
  JSON.stringify({
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
    clusters: [{ name: 'c', cluster: { server } }],
    users: [{ name: 'u', user }],
  });

async function apiThat(answer: Answer): Promise<string> {
  const api = await fakeApi({ answer });
  closers.push(api.close);
  return api.url;
}

test('nodes of the cluster, asked with the credentials of the kubeconfig', async () => {
  const answer: Answer = (response, seen) =>
    (seen.headers.authorization === 'Bearer secret'
      ? json(200, { items: [{ metadata: { name: 'n1' } }] })
      : text(401, ''))(response, seen);
  const ended = await complete(['--node', ''], config(await apiThat(answer)));
  expect(ended).toEqual({ code: 0, stdout: 'n1\n:4\n', stderr: '' });
});

const CHATTY = {
  command: 'sh',
  args: ['-c', 'echo log in please >&2; exec sleep 60'],
  apiVersion: 'client.authentication.k8s.io/v1',
};

test.each<[string, () => Promise<string>]>([
  ['is silent', async () => config(await apiThat(silence))],
  ['refuses', async () => config(await apiThat(json(403, status(403, 'Forbidden', 'nodes is forbidden'))))],
  ['fails', async () => config(await apiThat(text(500, 'oops')))],
  ['answers with something else', async () => config(await apiThat(text(200, '<html>')))],
  ['is not there', async () => config('http://127.0.0.1:1')],
  ['needs a plugin that asks and waits', async () => config('http://127.0.0.1:1', { exec: CHATTY })],
  ['is behind a kubeconfig that is none', async () => '{{{'],
  ['is behind an empty kubeconfig', async () => ''],
])('nothing, and no word, where the cluster %s', async (_, made) => {
  expect(await complete(['--node', ''], await made())).toEqual({ code: 0, stdout: ':4\n', stderr: '' });
});
