/**
 * Runs that are ended in every way at every point: an orderly end leaves nothing when the command returns; after any other,
 * nothing is active at the deadline, and cleanup removes what is left. KILLS=full takes every pair and writes docs/safety.md;
 * KILLS_SEED repeats an order.
 */
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Ended, runCleanup } from '../support/live.ts';
import {
  applyObjects,
  fingerprint,
  kubeconfig,
  MODES,
  type Mode,
  NAMESPACE,
  OURS,
  poll,
  setMode,
  waitReady,
} from './cluster.ts';
import { look, processesOf, rules, shared, watchRules } from './kills-look.ts';
import { untilWell } from './kills-machine.ts';
import { type Order, planKills } from './kills-plan.ts';
import { type Outcome, stayed, writeSafety } from './kills-report.ts';
import { DEADLINE, type Started, startRun } from './kills-run.ts';
import { QUAKES, STRIKES } from './kills-ways.ts';

const FULL = process.env.KILLS === 'full';
const SAMPLE = 60;
const SEED = Number(process.env.KILLS_SEED ?? Math.floor(Math.random() * 2 ** 31));
const AT_ONCE = Number(process.env.KILLS_AT_ONCE ?? 4);
const IN_ONE_QUAKE = 8;
/** What the guard may take beyond the deadline, and a busy machine. */
const SLACK_MS = 8000;
const HANGS_MS = 90_000;

const outcomes: Outcome[] = [];
let orders: Order[] = [];

const lookAgain = shared(look);
const rulesAgain = shared(rules);
const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Every point a run comes to, in its order, as a run that nobody ends tells it. */
async function allPoints(): Promise<string[]> {
  const run = await startRun({ point: '', method: 'nft', log: 'nflog', node: 'n1', delayMs: 0 });
  expect(await run.ended, run.stderr).toBe(0);
  return [...run.points];
}

describe.runIf(OURS)('however a run is ended', () => {
  beforeAll(async () => {
    await applyObjects();
    orders = planKills(await allPoints(), FULL, SAMPLE, SEED);
    process.stderr.write(`kills: ${orders.length} of them, KILLS_SEED=${SEED}\n`);
  });
  afterAll(() => {
    if (FULL && outcomes.length > 0) writeSafety(outcomes, SEED);
    if (process.env.KILLS_LOG) writeFileSync(process.env.KILLS_LOG, JSON.stringify(outcomes));
  });

  describe.each(MODES)('in mode %s', mode => {
    let before: unknown;
    const lost: Outcome[] = [];
    let watch: ReturnType<typeof watchRules>;
    beforeAll(async () => {
      await setMode(mode);
      await waitReady();
      // Method raw makes the kernel register an empty table; from then on it is there.
      for (const node of ['n1', 'n2'] as const)
        await (await startRun({ point: '', method: 'raw', log: 'nflog', node, delayMs: 0 })).ended;
      before = await fingerprints();
      watch = watchRules();
    });
    afterAll(() => watch.stop());

    it('one alone: nothing is left', { timeout: 3_600_000 }, async () => {
      const alone = orders.filter(order => order.mode === mode && !order.quake);
      const workers = Array.from({ length: AT_ONCE }, async () => {
        for (let order = alone.pop(); order; order = alone.pop()) await struck(order, lost);
      });
      await Promise.all(workers);
      expect(complaints(mode)).toEqual([]);
    });

    it('all of a node or a cluster: nothing is left', { timeout: 3_600_000 }, async () => {
      const shaken = orders.filter(order => order.mode === mode && order.quake);
      for (const { name } of QUAKES) {
        const own = shaken.filter(order => order.way === name);
        for (let i = 0; i < own.length; i += IN_ONE_QUAKE) await quaked(own.slice(i, i + IN_ONE_QUAKE), lost);
      }
      expect(complaints(mode)).toEqual([]);
    });

    it('no rule is there for longer than the deadline, whatever had happened', () => {
      const own = outcomes.filter(one => one.order.mode === mode);
      for (const one of own) one.stay = watch.stays.get(one.run ?? '');
      expect(own.filter(one => one.stay !== undefined).length).toBeGreaterThan(0);
      const longer = own.filter(one => stayed(one) > DEADLINE * 1000 + SLACK_MS);
      expect(longer.map(one => `${stayed(one)} ms: ${JSON.stringify(one.order)}`)).toEqual([]);
    });

    it('cleanup removes what is left, and the nodes are as before', { timeout: 600_000 }, async () => {
      await untilWell();
      const names = lost.filter(outcome => outcome.objectsBy === undefined).map(outcome => outcome.run ?? '');
      await poll('processes of ended runs to be gone', async () =>
        names.flatMap(processesOf).length === 0 ? true : undefined,
      );
      const { code, stdout } = await poll('every pod to have ended', async () => {
        const cleaned = await runCleanup(['-n', NAMESPACE], kubeconfig());
        return / stays: /.test(cleaned.stdout) ? undefined : cleaned;
      });
      expect(`${code} ${stdout}`).toMatch(/^0 /);
      const { objects, rules: left } = await look();
      for (const outcome of lost) outcome.objectsBy ??= 'cleanup after the deadline';
      expect({ objects: [...objects], rules: [...left] }).toEqual({ objects: [], rules: [] });
      await waitReady();
      expect(await fingerprints()).toEqual(before);
    });
  });
});

function complaints(mode: Mode): string[] {
  return outcomes
    .filter(one => one.order.mode === mode && one.complaint !== undefined)
    .map(one => `${one.complaint}: ${JSON.stringify(one.order)}\n${one.stderr}`);
}

async function struck(order: Order, lost: Outcome[]): Promise<void> {
  const strike = STRIKES.find(one => one.name === order.way)!;
  const run = await startRun(order);
  let hit = 0;
  let at = performance.now();
  if (await run.reached) {
    await pause(order.delayMs);
    at = performance.now();
    hit = await strike.strike({ child: run.child, run: run.run, node: order.node, road: run.road });
  }
  await judge(order, run, hit, at, lost);
}

/** Each is halted at its point; then the ground shakes, and they go on. */
async function quaked(all: Order[], lost: Outcome[]): Promise<void> {
  const quake = QUAKES.find(one => one.name === all[0]?.way)!;
  const { node } = all[0] as Order;
  const runs = await Promise.all(all.map(order => startRun({ ...order, node })));
  const hits = await Promise.all(
    runs.map(async (run, i) => {
      if (!(await run.reached)) return 0;
      await pause(all[i]!.delayMs);
      return run.child.kill('SIGSTOP') ? 1 : 0;
    }),
  );
  const at = performance.now();
  const back = await quake.strike(node);
  try {
    for (const run of runs) run.child.kill('SIGCONT');
    await pause(all[0]!.delayMs % 2 === 0 ? 2000 : 8000);
  } finally {
    await back();
  }
  await Promise.all(runs.map(run => run.ended));
  await untilWell();
  await Promise.all(runs.map((run, i) => judge({ ...all[i]!, node }, run, hits[i]!, at, lost)));
}

async function judge(order: Order, run: Started, hit: number, at: number, lost: Outcome[]): Promise<void> {
  const hangs = setTimeout(() => run.child.kill('SIGKILL'), HANGS_MS);
  const code = await run.ended;
  clearTimeout(hangs);
  const strike = STRIKES.find(one => one.name === order.way);
  const id = run.run;
  const outcome: Outcome = { order, run: id, hit, at, code, stderr: run.stderr };
  outcomes.push(outcome);
  const { objects, rules: left } = await lookAgain();
  const own = id === undefined ? [] : [...(objects.get(id) ?? []), ...(left.get(id) ?? [])];
  if (code === null && !strike?.fatal) outcome.complaint = 'it hung';
  else if (strike?.orderly && hit > 0 && ![strike.orderly.code, 0, 6].includes(code ?? -1))
    outcome.complaint = `it ended with ${code}, not ${strike.orderly.code}`;
  else if (!strike?.fatal && code !== 5) {
    outcome.objectsBy = 'the run itself';
    if (own.length > 0) outcome.complaint = `left behind: ${own.join(', ')}`;
  } else if (own.length > 0) {
    lost.push(outcome);
    await untilRulesGone(outcome);
  } else outcome.objectsBy = 'the run itself';
  if (outcome.complaint) process.stderr.write(`kills: ${outcome.complaint}: ${JSON.stringify(order)}\n`);
}

async function untilRulesGone(outcome: Outcome): Promise<void> {
  const { run = '' } = outcome;
  // Every fourth one is not waited for: cleanup is told its name at once.
  if (Number.parseInt(run, 16) % 4 === 0) {
    const { code, stdout } = await cleanupOf(run);
    const { objects, rules: left } = await lookAgain();
    const own = [...(objects.get(run) ?? []), ...(left.get(run) ?? [])];
    outcome.objectsBy = 'cleanup at once';
    if (code !== 0 || own.length > 0)
      outcome.complaint = `cleanup ended with ${code} and left ${own.join(', ')} (${stdout})`;
    return;
  }
  for (;;) {
    const left = (await rulesAgain()).get(run) ?? [];
    if (left.length === 0) return;
    if (performance.now() - outcome.at > DEADLINE * 1000 + SLACK_MS) {
      outcome.complaint = `still there after the deadline: ${left.join(', ')}`;
      return;
    }
    await pause(250);
  }
}

/** A kubelet that has lost its API server takes a while to come back: then nobody can look at its node, which is said, and it is asked again. */
function cleanupOf(run: string): Promise<Ended> {
  return poll(
    'a node that can be looked at',
    async () => {
      const ended = await runCleanup(['-n', NAMESPACE, '--run', run], kubeconfig());
      return /not looked at: .* did not start within/.test(ended.stdout) ? undefined : ended;
    },
    180,
  );
}

async function fingerprints(): Promise<unknown> {
  const both = [await fingerprint('n1'), await fingerprint('n2')];
  // An API server that was started again tells kube-proxy of Services and endpoints in another order.
  const sorted = (text: string) => text.split('\n').sort().join('\n');
  return both.map(one => Object.fromEntries(Object.entries(one).map(([key, text]) => [key, sorted(text)])));
}
