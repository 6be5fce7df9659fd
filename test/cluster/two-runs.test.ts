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
  const alone = {} as Record<'nft' | 'raw', { seen: object; code: number | null }>;
  beforeAll(async () => {
    await setMode(mode);
    await waitReady();
    for (const method of ['nft', 'raw'] as const) {
      const { report, code } = await runLive(words('alice', '--method', method), kubeconfig());
      const { lost, reasons, complete } = report.completeness;
      alone[method] = { seen: { lost, reasons, complete }, code };
    }
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
        runLive(words('alice', '--count', '5', '--method', first), kubeconfig()),
        runLive(words('bob', '--count', '5', '--method', second), kubeconfig()),
      ]);
    });

    it('both are answered, and see as much as a run that is alone', () => {
      for (const { report, code, stderr } of runs) {
        const { lost, reasons, complete } = report.completeness;
        const one = alone[report.node.method as 'nft' | 'raw'];
        expect({ lost, reasons, complete, code, stderr }).toMatchObject({ ...one.seen, code: one.code });
        expect(report.findings[0]?.kind).toBe('ServiceAnswered');
        expect(report.cleanup).toMatchObject({ complete: true });
      }
      expect(runs.map(({ report }) => report.node.method)).toEqual([first, second]);
    });
    it('each report has its own packets, and all of them', () => {
      for (const [i, { report }] of runs.entries()) {
        const others = runs[1 - i]?.capture.source?.ips ?? [];
        expect(others.length).toBeGreaterThan(0);
        const strangers = report.journeys.filter(journey =>
          others.some(ip => JSON.stringify(journey).includes(`"${ip}"`)),
        );
        expect(strangers.map(({ packet }) => packet)).toEqual([]);
        const asked = report.probes.flatMap(({ kind }, probe) => (kind === 'ping' ? [] : [probe]));
        const traced = new Set(report.journeys.map(({ probe }) => probe));
        expect(asked.filter(probe => !traced.has(probe))).toEqual([]);
      }
    });
  });

  it.each(['nft', 'raw'] as const)('cleanup by one leaves the other, with method %s', async method => {
    let cleaned = '';
    const act = async () => {
      const swept = await runCleanup(['-n', NAMESPACE, ...as('bob')], kubeconfig());
      cleaned = `${swept.code} ${swept.stdout}`;
    };
    const run = await runPlugin(words('alice', '--count', '25', '--method', method), kubeconfig(), {
      at: 'tracing$',
      act,
    });
    expect(cleaned).toMatch(/^0 [\s\S]*stays: run [0-9a-f]{8} is within its time/);
    expect(cleaned).not.toMatch(/removed/);
    expect(run.code, run.stderr).toBe(alone[method].code);
  });
});
