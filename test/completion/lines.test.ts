/** What each unfinished line is completed with, from a cluster that answers, and from one that does not. */
import { describe, expect, test } from 'vitest';
import { createProgram, type Handlers, shapeOf } from '../../src/commands.ts';
import { ApiError } from '../../src/errors.ts';
import { runComplete } from '../../src/run-complete.ts';
import { fakeCluster, type Reply } from '../support/fake-cluster.ts';

const ROOT = shapeOf(createProgram({} as Handlers));
const items = (...list: unknown[]) => [{ items: list }];
const service = (name: string, ports: object[]) => ({ metadata: { name }, spec: { clusterIP: '10.96.0.7', ports } });
const WEB = service('web', [
  { port: 80, name: 'http', protocol: 'TCP' },
  { port: 53, name: 'dns', protocol: 'TCP' },
  { port: 53, name: 'dns-udp', protocol: 'UDP' },
]);
const pod = (name: string, phase: string) => ({ metadata: { name }, spec: { nodeName: 'n1' }, status: { phase } });

const ANSWERS: Record<string, Reply[]> = {
  'GET /api/v1/namespaces/shop/services?limit=500': items(
    WEB,
    service('web-admin', [{ port: 9000 }]),
    service('db', []),
  ),
  'GET /api/v1/namespaces/shop/services/web': [WEB],
  'GET /api/v1/namespaces/shop/pods?limit=500': items(pod('client-0', 'Running'), pod('job-1', 'Succeeded')),
  'GET /api/v1/nodes?limit=500': items({ metadata: { name: 'n1' } }, { metadata: { name: 'n2' } }),
  'GET /api/v1/namespaces?limit=500': items({ metadata: { name: 'default' } }, { metadata: { name: 'shop' } }),
};

async function complete(words: string[], answers = ANSWERS): Promise<{ lines: string[]; opened: unknown[] }> {
  const opened: unknown[] = [];
  const text = await runComplete(words, ROOT, {
    signal: new AbortController().signal,
    open: async flags => {
      opened.push(flags);
      return fakeCluster(structuredClone(answers));
    },
    names: async (flags, kind) => [`${kind}-a`, `b${flags.kubeconfig ?? ''}`],
  });
  return { lines: text.trimEnd().split('\n'), opened };
}

const wordsOf = (lines: string[]) => lines.map(line => line.split('\t')[0]);

describe('a line is completed with', () => {
  test.each<[string, string, string[]]>([
    ['Services', 'web', ['web', 'web-admin', ':4']],
    ['Services, in the form that was begun', 'svc/web-', ['svc/web-admin', ':4']],
    ['Services, in its long form', 'service/d', ['service/db', ':4']],
    ['Services and commands', 'd', ['db', 'doctor', ':4']],
    [
      'ports, by number and by name',
      'svc/web:',
      ['80', 'http', '53', 'dns', '53/udp', 'dns-udp'].map(p => `svc/web:${p}`).concat(':4'),
    ],
    ['ports, as a word of their own', 'web d', ['dns', 'dns-udp', ':4']],
    ['nothing behind both', 'web 80 ', [':4']],
    ['nothing behind a port of its own', 'web:80 ', [':4']],
    ['nodes', '--node ', ['n1', 'n2', ':4']],
    ['nodes, behind a sign', '--node=n2', ['--node=n2', ':4']],
    ['pods that run', 'web --from ', ['client-0', ':4']],
    ['pods, in the form that was begun', 'web --from pod/c', ['pod/client-0', ':4']],
    ['namespaces', '-n s', ['shop', ':4']],
    ['contexts', '--context c', ['contexts-a', ':4']],
    ['users of the kubeconfig that was named', '--kubeconfig=x --user b', ['bx', ':4']],
    ['flags', '--from --no', [':4']],
    ['flags that are not hidden', '--ser', [':4']],
    ['values of a flag', 'web --via node', ['node-port', ':4']],
    ['values of a flag of a command', 'doctor -o ', ['text', 'json', ':4']],
    ['scenarios', 'lab no-', ['no-endpoints', ':4']],
    ['nothing behind a scenario', 'lab healthy ', [':4']],
    ['files', 'explain kern', [':0']],
    ['files, for a flag', 'web --save ', [':0']],
    ['operands alone behind --', '-- --web', [':4']],
  ])('%s: %s', async (_, line, words) => expect(wordsOf((await complete(line.split(' '))).lines)).toEqual(words));

  test('every visible flag of the command, with what it means', async () => {
    const { lines } = await complete(['lab', '--']);
    expect(lines).toContain('--keep\tleave the namespaces there afterwards, to look around');
    expect(wordsOf(lines)).not.toContain('--node');
  });
  test('what a Service is', async () => {
    expect((await complete(['web'])).lines[0]).toBe('web\tClusterIP 10.96.0.7 80/TCP,53/TCP,53/UDP');
  });
  test('every flag with a value that has one of few is known', async () => {
    const closed = ROOT.flags.filter(({ about }) => /^\S+(, \S+)* or \S+/.test(about)).map(({ long }) => long);
    expect(closed).toEqual(expect.arrayContaining(['--ip-family', '--output', '--color', '--image-pull-policy']));
    for (const flag of closed) expect((await complete([flag, ''])).lines.length, flag).toBeGreaterThan(1);
  });
});

test('the cluster is the one of the flags so far', async () => {
  const line = '--context prod -n shop --as=jane -v --kubeconfig k web --node ';
  const { opened } = await complete(line.split(' '));
  expect(opened).toEqual([{ context: 'prod', namespace: 'shop', as: 'jane', kubeconfig: 'k' }]);
});

test('no cluster is asked for what is known without', async () => {
  for (const line of ['--', 'lab ', 'web --via ', 'explain ', '--context ', 'doctor --', 'help '])
    expect((await complete(line.split(' '))).opened, line).toEqual([]);
});

describe('what fails, fails without a word', () => {
  test('no right to list', async () => {
    const refused = [new ApiError(403, 'Forbidden', 'no')];
    const { lines } = await complete(['web', ''], { GET: refused });
    expect(lines).toEqual([':4']);
  });
  test('commands are there without a cluster', async () =>
    expect(wordsOf((await complete(['d'], {})).lines)).toEqual(['doctor', ':4']));
  test('names that would do something to a terminal are left out', async () => {
    const bad = items(
      { metadata: { name: 'n\u001b[2J' } },
      { metadata: { name: 'n:\n:0' } },
      { metadata: { name: 'n1' } },
    );
    expect((await complete(['--node', ''], { GET: bad })).lines).toEqual(['n1', ':4']);
  });
});
