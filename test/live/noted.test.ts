/** What `-v` tells of a cluster: every request and command once, before it is done and after. */
import { expect, test } from 'vitest';
import { ApiError } from '../../src/errors.ts';
import { notedCluster } from '../../src/live/noted.ts';
import { fakeCluster, saying } from '../support/fake-cluster.ts';

const PODS = '/api/v1/namespaces/shop/pods';

async function told(act: (cluster: ReturnType<typeof notedCluster>) => Promise<unknown>): Promise<string[]> {
  const lines: string[] = [];
  const replies = {
    'GET /a': ['x'],
    'GET /gone': [new ApiError(0, 'NoAnswer', 'silence')],
    [`POST ${PODS}`]: ['made'],
  };
  const cluster = notedCluster(fakeCluster(replies, saying(['@step rules in', '@ready', 'step by step'])), text =>
    lines.push(text),
  );
  await act(cluster).catch(() => {});
  return lines.map(line => line.trim());
}

test.each<[string, (cluster: ReturnType<typeof notedCluster>) => Promise<unknown>, string[]]>([
  ['a look', cluster => cluster.send('GET', '/a'), ['GET /a']],
  ['one that is not answered', cluster => cluster.send('GET', '/gone'), ['GET /gone', 'GET /gone: no answer']],
  ['one for what is not there', cluster => cluster.send('GET', '/b'), ['GET /b', 'GET /b: 404']],
  [
    'what is made, by its name',
    cluster => cluster.send('POST', PODS, { body: { metadata: { name: 'p' } } }),
    [`POST ${PODS}/p`, `POST ${PODS}/p: done`],
  ],
  [
    'a command, and how it ended',
    cluster => cluster.shell({ namespace: 'shop', pod: 'p', container: 'probe' }).run(['curl', 'x']),
    ['exec in probe: curl', 'exec in probe: curl ended with 0'],
  ],
  [
    "the node agent's own steps, and nothing else it says",
    cluster => cluster.shell({ namespace: 'shop', pod: 'p', container: 'agent' }).start(['sh'], () => {}).done,
    ['exec in agent: node-agent.sh', 'on the node: rules in', 'exec in agent: node-agent.sh ended'],
  ],
])('%s', async (_, act, lines) => expect(await told(act)).toEqual(lines));

test('looking again and again is told once, until something else is done', async () => {
  const lines = await told(async cluster => {
    for (let i = 0; i < 3; i++) await cluster.send('GET', '/a');
    await cluster.send('POST', PODS, {});
    await cluster.send('GET', '/a');
  });
  expect(lines).toEqual(['GET /a', `POST ${PODS}`, `POST ${PODS}: done`, 'GET /a']);
});
