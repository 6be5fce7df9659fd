/** One run that is ended at one point in one way, and what was there afterwards. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PLUGIN } from '../support/live.ts';
import { openRoad, type Road } from '../support/tcp-proxy.ts';
import { kubeconfig, NAMESPACE } from './cluster.ts';
import { pointOf, runOf } from './kills-points.ts';

/** Seconds after which nothing of a run may be active. */
export const DEADLINE = 12;

export interface Plan {
  way: string;
  point: string;
  method: 'nft' | 'raw';
  log: 'nflog' | 'kmsg';
  node: 'n1' | 'n2';
  /** Between the point and the blow: where in a step it falls is left to chance. */
  delayMs: number;
}

export interface Started {
  child: ChildProcess;
  road: Road;
  node: 'n1' | 'n2';
  readonly run: string | undefined;
  readonly stderr: string;
  /** The points it has come to, in their order. */
  points: Set<string>;
  /** Settles when it comes to the point; false: it ended before. */
  reached: Promise<boolean>;
  /** The exit code; null after a signal that kills. */
  ended: Promise<number | null>;
}

export async function startRun(plan: Omit<Plan, 'way'>): Promise<Started> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  const { road, file } = await ownRoad(folder);
  const words = [
    '-n',
    NAMESPACE,
    'web',
    '--node',
    plan.node,
    '-v',
    '-o',
    'json',
    '--timeout',
    '1',
    '--request-timeout',
    '3s',
  ];
  const more = ['--method', plan.method, '--log-source', plan.log, '--deadline', String(DEADLINE)];
  const env = { ...process.env, KUBECONFIG: file };
  const child = spawn(process.execPath, [PLUGIN, ...words, ...more], { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  let come = (_: boolean) => {};
  const points = new Set<string>();
  const reached = new Promise<boolean>(resolve => {
    come = resolve;
  });
  child.stderr.setEncoding('utf8').on('data', chunk => {
    const whole = stderr.lastIndexOf('\n') + 1;
    stderr += chunk;
    for (const line of stderr.slice(whole, stderr.lastIndexOf('\n') + 1).split('\n')) {
      const point = pointOf(line);
      if (point === undefined) continue;
      points.add(point);
      if (point === plan.point) come(true);
    }
  });
  const ended = new Promise<number | null>(resolve => {
    child.once('close', code => {
      come(false);
      road.close();
      rmSync(folder, { recursive: true });
      resolve(code);
    });
  });
  return {
    child,
    road,
    node: plan.node,
    get run() {
      return runOf(stderr);
    },
    get stderr() {
      return stderr;
    },
    points,
    reached,
    ended,
  };
}

async function ownRoad(folder: string): Promise<{ road: Road; file: string }> {
  const text = readFileSync(kubeconfig(), 'utf8');
  const [, host = '', port = ''] = /https:\/\/([\d.]+):(\d+)/.exec(text) ?? [];
  const road = await openRoad(host, Number(port));
  const file = join(folder, 'kubeconfig');
  writeFileSync(file, text.replace(`https://${host}:${port}`, `https://127.0.0.1:${road.port}`), { mode: 0o600 });
  return { road, file };
}
