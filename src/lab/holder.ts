/**
 * The namespaces of one lab, and the process that holds them. Everything the lab makes lives in mount, network and process
 * namespaces of its own: when the holder goes, and it goes when we do, the kernel removes all of it, after kill -9 too.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { TraceError } from '../errors.ts';
import { runProcess, startProcess } from '../live/process.ts';
import type { Completed, Running, RunOptions, Shell } from '../ports.ts';

export interface Holder {
  /** Process id, in this machine's numbering, of the first process inside. */
  pid: number;
  /** Commands in one of the lab's network namespaces, or in the one they are made in. */
  shell(namespace?: string): Shell;
  /** Ends everything inside and waits until it is gone. */
  stop(): Promise<void>;
}

/** How the holder is found again, among all processes of the machine. */
export const LAB_MARK = 'trace-svc-lab';
/** A lab that is kept ends by itself after a day. */
const KEPT_SECONDS = 86_400;
/** What a kept lab's first process does, by which it is told from one that goes with its maker. */
export const KEEPS = `exec sleep ${KEPT_SECONDS}`;

/**
 * @param root false: as root of a user namespace of our own
 * @param keep true: it outlives us, until `cleanup`
 * @throws TraceError(refused) where this kernel or user may not make namespaces
 */
export async function startHolder(run: string, root: boolean, keep: boolean): Promise<Holder> {
  const flags = [
    '--mount',
    '--net',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    ...(root ? [] : ['--user', '--map-root-user']),
  ];
  // Held by our end of the pipe: when we are gone, by whatever end, `read` returns.
  const hold = keep ? KEEPS : 'read -r _';
  const inside = `mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns && echo ready && ${hold}`;
  const child = spawn('unshare', [...flags, 'sh', '-c', inside, `${LAB_MARK}-${run}`], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
  });
  const gone = new Promise<void>(resolve => child.once('close', () => resolve()));
  try {
    await untilReady(child);
  } catch (error) {
    child.kill('SIGKILL');
    throw error;
  }
  const pid = firstChild(child.pid as number);
  if (keep) letGo(child);
  return {
    pid,
    shell: namespace => createShell(enter(pid, root, namespace)),
    async stop() {
      child.stdin.end();
      const late = setTimeout(() => child.kill('SIGKILL'), keep ? 0 : 2000);
      await gone;
      clearTimeout(late);
    },
  };
}

/** Nothing of it keeps our own process from ending. */
function letGo(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stdout, child.stderr]) (stream as unknown as { unref?(): void })?.unref?.();
}

function untilReady(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    child.stderr?.on('data', chunk => {
      said += String(chunk);
    });
    child.stdout?.on('data', chunk => {
      if (String(chunk).includes('ready')) resolve();
    });
    child.once('error', error => reject(refusal(error.message)));
    child.once('close', () => reject(refusal(said.trim().split('\n').at(-1) ?? '')));
  });
}

function refusal(why: string): TraceError {
  return new TraceError(
    'refused',
    `this machine does not let us make network namespaces: ${why || 'no reason given'}`,
    'Run it as root, or where user namespaces are allowed.',
  );
}

/** The process unshare forked: number one of the new process namespace. */
function firstChild(pid: number): number {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
  return Number(children[0]);
}

function enter(pid: number, root: boolean, namespace: string | undefined): string[] {
  const join = [
    'nsenter',
    '--target',
    String(pid),
    '--mount',
    '--pid',
    ...(root ? [] : ['--user', '--preserve-credentials']),
  ];
  return namespace === undefined
    ? [...join, '--net', '--']
    : [...join, '--', 'nsenter', `--net=/run/netns/${namespace}`, '--'];
}

function createShell(prefix: string[]): Shell {
  const env = { XTABLES_LOCKFILE: '/run/xtables.lock', TMPDIR: '/run' };
  return {
    run: (argv: string[], options: RunOptions = {}): Promise<Completed> =>
      runProcess([...prefix, ...argv], { ...options, env: { ...env, ...options.env } }),
    start: (argv: string[], line: (text: string) => void, options: RunOptions = {}): Running =>
      startProcess([...prefix, ...argv], line, { ...options, env: { ...env, ...options.env } }),
  };
}
