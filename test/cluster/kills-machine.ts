/** Parts of the cluster that are stopped, killed, started again or cut off, and put back as they were. Our own cluster only. */
import { spawn } from 'node:child_process';
import { openSync, writeFileSync } from 'node:fs';
import { kubectl, poll, readyNodes, run, STATE } from './cluster.ts';
import { contents } from './kills-look.ts';

export type Part = 'n1-kubelet' | 'n2-kubelet' | 'cp-kube-apiserver';

/** The one that enters the machine's namespaces is noted; what it started there is the program. */
function programOf(part: Part): { outer: number; inner: number } {
  const outer = Number(contents(`${STATE}/pids/${part}`).split(' ')[0]);
  const inner = Number(contents(`/proc/${outer}/task/${outer}/children`).trim().split(' ')[0]);
  if (!outer || !inner) throw new Error(`${part} does not run`);
  return { outer, inner };
}

/** @returns what lets it go on */
export function stopPart(part: Part): () => void {
  const { inner } = programOf(part);
  process.kill(inner, 'SIGSTOP');
  return () => void process.kill(inner, 'SIGCONT');
}

/** @returns what starts it again, with the same words, as `start` in common.sh does */
export function killPart(part: Part): () => void {
  const { outer, inner } = programOf(part);
  const [command = '', ...args] = contents(`/proc/${outer}/cmdline`).split('\0').slice(0, -1);
  process.kill(inner, 'SIGKILL');
  return () => {
    const log = openSync(`${STATE}/log/${part}`, 'a');
    const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log] });
    child.unref();
    const start = contents(`/proc/${child.pid}/stat`)
      .replace(/^.*\) /s, '')
      .split(' ')[19];
    writeFileSync(`${STATE}/pids/${part}`, `${child.pid} ${start}\n`);
  };
}

/** The other end of the node's cable: its own addresses and routes stay. */
export async function cutNode(node: 'n1' | 'n2'): Promise<() => Promise<void>> {
  await run('ip', ['-n', 'ts-cp', 'link', 'set', node, 'down']);
  return async () => void (await run('ip', ['-n', 'ts-cp', 'link', 'set', node, 'up']));
}

/** Everybody is back, and the nodes take pods again. */
export async function untilWell(): Promise<void> {
  await poll('the API server', async () => ((await kubectl('get', '--raw', '/readyz')) === 'ok' ? true : undefined));
  await poll('two nodes ready', async () => ((await readyNodes()).length === 2 ? true : undefined));
}
