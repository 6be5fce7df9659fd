/**
 * Captures of two runs on one node at the same time, one by each method. Tables of the other run were there for some of the packets
 * and in the rules, and are no hole in the trace where they were not met.
 */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import type { Capture } from '../../src/capture.ts';

function capture(method: 'nft' | 'raw'): Capture {
  const file = new URL(`../captures/two-runs/${method}.json.gz`, import.meta.url);
  return JSON.parse(gunzipSync(readFileSync(file)).toString('utf8'));
}

test.each(['nft', 'raw'] as const)('method %s: nothing is missing', method => {
  const run = capture(method);
  expect(JSON.stringify(run.rules)).toMatch(method === 'nft' ? /made by kubectl-trace_svc/ : /table ip trace_svc_/);
  expect(analyse(run).completeness).toMatchObject({ complete: true, gaps: 0, checkedAgainst: 'rules' });
});
test('a line of the own table that is lost is still one that is missing', () => {
  const run = capture('nft');
  const trace = run.traces.find(({ name }) => name === 'nft-monitor') ?? { name: '', text: '' };
  const marked = [...trace.text.matchAll(/^trace id (\w+) ip (trace_svc_\w+) pre rule/gm)];
  const went = marked.find(([, id]) => trace.text.includes(`trace id ${id} ip kube-proxy nat-postrouting`));
  const [, id = '', own = ''] = went ?? [];
  expect(own).not.toBe('');
  const kept = trace.text.split('\n').filter(line => !line.startsWith(`trace id ${id} ip ${own} post `));
  trace.text = kept.join('\n');
  expect(analyse(run).completeness).toMatchObject({ complete: false });
});
