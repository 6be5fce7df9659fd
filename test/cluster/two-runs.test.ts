/** Two users trace on one node at the same time: neither sees or disturbs the other, and neither cleans up for the other. */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type LiveRun, runCleanup, runLive, runPlugin } from '../support/live.ts';
import {
  applyObjects,
  fingerprint,
  kubeconfig,
  kubectl,
  MODES,
  NAMESPACE,
  OURS,
  setMode,
  waitReady,
} from './cluster.ts';
import { look } from './kills-look.ts';

const RIGHTS = fileURLToPath(new URL('../../plugin/rbac.yaml', import.meta.url));
const PAIRS = [
  ['nft', 'nft'],
  ['raw', 'raw'],
  ['nft', 'raw'],
] as const;

const as = (user: string) => ['--as', user, '--as-group', 'trace-svc-users'];
const words = (user: string, ...more: string[]) => ['-n', NAMESPACE, 'web', '--node', 'n1', ...as(user), ...more];

beforeAll(async () => {
  if (!OURS) return;
  await applyObjects();
  await kubectl('apply', '-n', NAMESPACE, '-f', RIGHTS);
});
afterAll(async () => {
  if (OURS) await kubectl('delete', '-n', NAMESPACE, '-f', RIGHTS);
});

describe.runIf(OURS).each(MODES)('in mode %s', mode => {
  let before: unknown;
  beforeAll(async () => {
    await setMode(mode);
    await waitReady();
    await runPlugin(words('alice', '--method', 'raw'), kubeconfig());
    before = await fingerprint('n1');
  });
  afterAll(async () => {
    expect(await fingerprint('n1')).toEqual(before);
    const { objects, rules } = await look();
    expect([...objects, ...rules]).toEqual([]);
  });

  describe.each(PAIRS)('methods %s and %s', (first, second) => {
    let runs: LiveRun[];
    beforeAll(async () => {
      runs = await Promise.all([
        runLive(words('alice', '--count', '8', '--method', first), kubeconfig()),
        runLive(words('bob', '--count', '8', '--method', second), kubeconfig()),
      ]);
    });

    it('both are answered, and complete', () => {
      for (const { report, code, stderr } of runs) {
        expect(report.completeness).toMatchObject({ complete: true, lost: 0 });
        expect(`${code} ${stderr}`).toMatch(/^0 /);
        expect(report.cleanup).toMatchObject({ complete: true });
      }
      expect(runs.map(({ report }) => report.node.method)).toEqual([first, second]);
    });
    it('each report has its own packets, and all of them', () => {
      for (const { report, capture } of runs) {
        const own = capture.source?.ips ?? [];
        const strangers = report.journeys.filter(
          ({ packet }) => !own.includes(packet.src) && !own.includes(packet.dst),
        );
        expect(strangers.map(({ packet }) => packet)).toEqual([]);
        const asked = report.probes.filter(({ kind }) => kind !== 'ping').map((_, probe) => probe);
        const traced = new Set(report.journeys.map(({ probe }) => probe));
        expect(asked.filter(probe => !traced.has(probe))).toEqual([]);
      }
    });
  });

  it.each(['nft', 'raw'])('cleanup by one leaves the other, with method %s', async method => {
    let cleaned = '';
    const act = async () => {
      const swept = await runCleanup(['-n', NAMESPACE, ...as('bob')], kubeconfig());
      cleaned = `${swept.code} ${swept.stdout}`;
    };
    const run = await runPlugin(words('alice', '--count', '60', '--method', method), kubeconfig(), {
      at: 'tracing$',
      act,
    });
    expect(cleaned).toMatch(/^0 [\s\S]*stays: run [0-9a-f]{8} is within its time/);
    expect(cleaned).not.toMatch(/removed/);
    expect(`${run.code} ${run.stderr}`).toMatch(/^0 /);
  });
});
