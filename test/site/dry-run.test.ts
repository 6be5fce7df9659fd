/** `--dry-run`: what it prints is YAML of the very pods, and commands that a shell takes for the very words that would be sent. */
import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import type { TraceOrder } from '../../src/collect.ts';
import { agentEnvironment } from '../../src/plan/agent.ts';
import { AGENT_COMMAND, agentPod, probePod } from '../../src/plan/pods.ts';
import { curlProbe, pingProbe, udpProbe } from '../../src/plan/probes.ts';
import type { Target } from '../../src/plan/target.ts';
import { describeRun } from '../../src/site/dry-run.ts';
import type { OpenOrder } from '../../src/site/open.ts';

const common = {
  run: 'abcd1234',
  namespace: 'shop',
  image: 'img:1',
  pullPolicy: 'Never',
  pullSecrets: [],
  forced: false,
  seconds: 60,
} as const;
const open = (more: Partial<OpenOrder> = {}): OpenOrder => ({
  run: 'abcd1234',
  probe: { ...common, pullSecrets: [], node: 'n1' },
  agent: { ...common, pullSecrets: [], node: 'n1', script: 'echo "$1"; # it\'s\n', log: 'auto', lock: false },
  startTimeoutMs: 1,
  ...more,
});
const target = { service: { namespace: 'shop', name: 'web' }, port: 80 } as Target;
const trace = (path = '/', data = 'x'): TraceOrder => ({
  scope: { run: 'abcd1234', podIps: ['POD_IP'], ports: [{ protocol: 'tcp', port: 80 }] },
  seconds: 60,
  method: 'auto',
  log: 'auto',
  targets: ['10.96.0.9'],
  probes: [
    [curlProbe('10.96.0.9', 80, { scheme: 'http', path, seconds: 3 }), pingProbe('10.96.0.9')],
    [udpProbe('10.96.0.9', 53, data, 3)],
  ],
  agent: [],
});

/** The commands as they stand behind the comment's mark and its two blanks. */
function commandsOf(text: string): { agent: string; probe: string } {
  const comment = text.slice(text.lastIndexOf('\n---\n') + 5);
  const lines = comment.split('\n').map(line => line.replace(/^# ?/, ''));
  const part = (from: string, to: string) =>
    lines
      .slice(
        lines.findIndex(line => line.startsWith(from)) + 1,
        lines.findIndex(line => line.startsWith(to)),
      )
      .map(line => line.replace(/^ {2}/, ''))
      .join('\n');
  return { agent: part('run in the agent', 'run in the probe'), probe: part('run in the probe', 'then both') };
}

/** The words a shell makes of a line, one after the other, each ended by a byte 0. */
function wordsOf(line: string): string[] {
  const out = execFileSync('sh', ['-c', `set -f; words() { printf '%s\\0' "$@"; }; ${line}`]);
  return out.toString().split('\0').slice(0, -1);
}

describe('the pods', () => {
  test('are the ones that would be made', () => {
    const order = open();
    const documents = parseAllDocuments(describeRun(order, target, trace())).map(one => one.toJSON());
    expect(documents.filter(Boolean)).toEqual(
      [probePod(order.probe), agentPod({ ...order.agent, node: 'n1' })].map(one => JSON.parse(JSON.stringify(one))),
    );
  });
  test('of which one is a container, where the pod is there', () => {
    const documents = parseAllDocuments(describeRun(open({ from: 'client' }), target, trace())).map(one =>
      one.toJSON(),
    );
    expect(documents.filter(Boolean)[0]).toMatchObject({ name: 'trace-svc-abcd1234', image: 'img:1' });
  });
  test('on a node that is not known yet', () => {
    const { node: _, ...agent } = open().agent;
    expect(describeRun(open({ agent }), target, trace())).toContain('nodeName: NODE');
  });
});

describe('what cannot be taken back', () => {
  test.each([
    ['raw', true],
    ['nft', false],
    ['auto', false],
  ] as const)('is told of method %s: %s', (method, told) => {
    expect(/leaves an empty one/.test(describeRun(open(), target, { ...trace(), method }))).toBe(told);
  });
});

describe('the commands', () => {
  test('of the agent, word by word', () => {
    const { agent } = commandsOf(describeRun(open(), target, trace()));
    const env = Object.entries(agentEnvironment(trace())).map(([key, value]) => `${key}=${value}`);
    expect(wordsOf(agent.replace(/^env /, 'words '))).toEqual([...env, ...AGENT_COMMAND]);
  });
  test('of the probes, whatever is asked', () => {
    const path = fc.stringMatching(/^\/[\x21-\x7e]{0,20}$/);
    const data = fc.string({ unit: 'binary', maxLength: 20 });
    fc.assert(
      fc.property(path, data, (asked, sent) => {
        const order = trace(asked, sent);
        const { probe } = commandsOf(describeRun(open(), target, order));
        // Those of one group stand beside each other with `&`: here one after the other.
        const line = probe
          .replace(/^/, 'words ')
          .replace(/ {2}& {2}ping /g, '; words ping ')
          .replace(/\nsh -c /g, '\nwords sh -c ');
        expect(wordsOf(line)).toEqual(order.probes.flat().flatMap(({ argv }) => argv));
      }),
      { numRuns: 40 },
    );
  });
});
