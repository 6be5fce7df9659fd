/** Runs the built `lab` command as a user does, and reads what it printed and saved. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Capture } from '../../src/capture.ts';
import type { Report } from '../../src/model.ts';

export const PLUGIN = fileURLToPath(new URL('../../plugin/kubectl-trace_svc', import.meta.url));

/** The legacy modes read NFLOG with tcpdump, which needs to give up root: only root can. */
export const MODES_HERE = process.getuid?.() === 0 ? ['legacy', 'nft', 'mixed', 'nftables'] : ['nft', 'nftables'];

export interface Ran {
  code: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

export interface Started {
  child: ChildProcess;
  /** Resolves when standard error has shown the text. */
  until(text: string): Promise<void>;
  done: Promise<Ran>;
}

export function startPlugin(
  args: string[],
  options: { uid?: number; plugin?: string; env?: NodeJS.ProcessEnv } = {},
): Started {
  const child = spawn(process.execPath, [options.plugin ?? PLUGIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: options.env ?? process.env,
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  });
  const ran: Ran = { code: null, signal: null, stdout: '', stderr: '' };
  const waiting: { text: string; resolve: () => void }[] = [];
  const look = () => {
    for (const one of waiting) if (ran.stderr.includes(one.text)) one.resolve();
  };
  child.stdout.setEncoding('utf8').on('data', chunk => {
    ran.stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', chunk => {
    ran.stderr += chunk;
    look();
  });
  const done = new Promise<Ran>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ ...ran, code, signal }));
  });
  const until = (text: string) =>
    Promise.race([
      new Promise<void>(resolve => {
        waiting.push({ text, resolve });
        look();
      }),
      done.then(({ stderr }) => {
        if (!stderr.includes(text)) throw new Error(`the run ended without saying "${text}": ${stderr}`);
      }),
    ]);
  return { child, until, done };
}

export interface LabRun extends Ran {
  report: Report;
  capture: Capture;
}

/** The report as JSON, and the capture it was made from. */
export async function runLab(scenario: string, mode: string): Promise<LabRun> {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  try {
    const file = join(folder, 'capture.json');
    const ran = await startPlugin(['lab', scenario, '--mode', mode, '-o', 'json', '--save', file]).done;
    if (ran.stdout === '') throw new Error(`the lab printed nothing: ${ran.stderr}`);
    return { ...ran, report: JSON.parse(ran.stdout), capture: JSON.parse(readFileSync(file, 'utf8')) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
