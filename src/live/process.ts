/** Commands on this machine: node:child_process behind the Shell port's words. Arguments are never given to a shell. */
import { type ChildProcess, spawn } from 'node:child_process';
import process from 'node:process';
import { TraceError } from '../errors.ts';
import { createLineSplitter } from '../parse/lines.ts';
import type { Completed, Running, RunOptions } from '../ports.ts';

const MOST_OUTPUT = 16 * 1024 * 1024;

/** Runs to the end. A command that takes too long is ended and has code 124, one that a signal ended 128 + its number. */
export function runProcess(argv: string[], options: RunOptions = {}): Promise<Completed> {
  const parts: string[] = [];
  let length = 0;
  const running = startProcess(
    argv,
    line => {
      length += line.length;
      if (length < MOST_OUTPUT) parts.push(line);
    },
    options,
  );
  if (options.stdin !== undefined) running.write(options.stdin);
  running.end();
  return running.done.then(result => ({ ...result, stdout: parts.length > 0 ? `${parts.join('\n')}\n` : '' }));
}

export function startProcess(
  argv: string[],
  line: (text: string) => void,
  options: RunOptions = {},
): Running & { end(): void } {
  const [command = '', ...args] = argv;
  const began = performance.now();
  // A session of its own: Ctrl-C is for us to handle, and we end the command in our own order.
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...environment, ...options.env },
    detached: true,
  });
  const lines = createLineSplitter(line);
  let stderr = '';
  let timedOut = false;
  child.stdout.setEncoding('utf8').on('data', chunk => lines.push(chunk));
  child.stderr.setEncoding('utf8').on('data', chunk => {
    if (stderr.length < MOST_OUTPUT) stderr += chunk;
  });
  // A command may end without reading all of its input: that is its right.
  child.stdin.on('error', () => {});
  const end = () => killGroup(child, 'SIGKILL');
  options.signal?.addEventListener('abort', end, { once: true });
  const timer =
    options.timeoutMs === undefined
      ? undefined
      : setTimeout(() => {
          timedOut = true;
          end();
        }, options.timeoutMs);
  const done = new Promise<Completed>((resolve, reject) => {
    child.once('error', error =>
      reject(
        new TraceError(
          'internal',
          `cannot run ${command}: ${error.message}`,
          'Is it installed, and on the PATH?',
          error,
        ),
      ),
    );
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', end);
      lines.end();
      resolve({
        code: timedOut ? 124 : (code ?? 128 + signalNumber(signal)),
        stdout: '',
        stderr,
        durationMs: performance.now() - began,
      });
    });
  });
  done.catch(() => {});
  return {
    done,
    write: text => void child.stdin.write(text),
    end: () => void child.stdin.end(),
    async stop() {
      child.stdin.end();
      const late = setTimeout(() => killGroup(child, 'SIGTERM'), 1500);
      const last = setTimeout(() => killGroup(child, 'SIGKILL'), 6000);
      await done.catch(() => {});
      clearTimeout(late);
      clearTimeout(last);
    },
  };
}

/** The command and what it started: nsenter forks when it enters a process namespace, and would leave its child behind. */
function killGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // It ended in this very moment.
  }
}

function signalNumber(signal: NodeJS.Signals | null): number {
  return { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 }[signal as string] ?? 1;
}

/** The environment commands run with: found once, handed in by the edge. */
let environment: Record<string, string> = {};

export function setEnvironment(env: Record<string, string | undefined>): void {
  const path = env.PATH ?? '';
  environment = { PATH: `${path}:/usr/local/sbin:/usr/sbin:/sbin`, LC_ALL: 'C' };
}
