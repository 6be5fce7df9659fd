/** The built plugin against the cluster of test/cluster: one run, with its report, its capture and what it said. */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Capture } from '../../src/capture.ts';
import type { Report } from '../../src/model.ts';

export const PLUGIN = fileURLToPath(new URL('../../plugin/kubectl-trace_svc', import.meta.url));

export interface Ended {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** What happens to the program when its progress comes to a line that begins like this: a signal, or something around it. */
export interface Interruption {
  at: string;
  signal?: NodeJS.Signals;
  act?: () => unknown;
}

export function runPlugin(
  args: string[],
  kubeconfig: string,
  interruption?: Interruption,
  more: Record<string, string> = {},
  before: string[] = [],
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, KUBECONFIG: kubeconfig, ...more };
    const [command = '', ...words] = [...before, process.execPath, PLUGIN, ...args];
    const child = spawn(command, words, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let stderr = '';
    let acted: unknown;
    child.stdout.setEncoding('utf8').on('data', chunk => {
      stdout += chunk;
    });
    child.stderr.setEncoding('utf8').on('data', chunk => {
      stderr += chunk;
      if (!interruption || acted || !new RegExp(`^${interruption.at}`, 'm').test(stderr)) return;
      acted = interruption.act?.() ?? true;
      if (interruption.signal !== undefined) child.kill(interruption.signal);
    });
    child.once('error', reject);
    child.once('close', code => Promise.resolve(acted).then(() => resolve({ code, stdout, stderr }), reject));
  });
}

/** `cleanup`, with its own view of this machine's processes: labs that others keep here are none of ours. */
export function runCleanup(args: string[], kubeconfig: string): Promise<Ended> {
  const apart = process.getuid?.() === 0 ? ['unshare', '--pid', '--fork', '--kill-child', '--mount-proc'] : [];
  return runPlugin(['cleanup', ...args], kubeconfig, undefined, {}, apart);
}

export interface LiveRun extends Ended {
  report: Report;
  capture: Capture;
}

export async function runLive(args: string[], kubeconfig: string): Promise<LiveRun> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  const file = join(folder, 'capture.json');
  try {
    const ended = await runPlugin([...args, '-o', 'json', '--save', file], kubeconfig);
    if (ended.stdout === '') throw new Error(`no report (code ${ended.code}): ${ended.stderr}`);
    return { ...ended, report: JSON.parse(ended.stdout), capture: JSON.parse(readFileSync(file, 'utf8')) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
