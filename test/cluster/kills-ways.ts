/** The ways a run is ended in. Each says how many things it hit: at some points there is nothing yet to kill. */
import type { ChildProcess } from 'node:child_process';
import type { Road } from '../support/tcp-proxy.ts';
import { kubectl, NAMESPACE } from './cluster.ts';
import { type Process, processesOf } from './kills-look.ts';
import { cutNode, killPart, type Part, stopPart } from './kills-machine.ts';

export interface Victim {
  child: ChildProcess;
  run: string | undefined;
  node: 'n1' | 'n2';
  road: Road;
}

/** One run is hit, and everything around it goes on. */
export interface Strike {
  name: string;
  /** Where its victim is: the plugin is there from the beginning, the node's processes only while the agent's script runs. */
  on: 'plugin' | 'pods' | 'agent';
  /** The run is asked to end, so nothing at all may be there when it has. */
  orderly?: { code: number };
  /** Nobody is left who could clean up. */
  fatal?: boolean;
  strike(victim: Victim): number | Promise<number>;
}

const signal = (name: NodeJS.Signals, more: Partial<Strike>): Strike => ({
  name: `${name} of the plugin`,
  on: 'plugin',
  strike: ({ child }) => (child.kill(name) ? 1 : 0),
  ...more,
});

const onNode = (name: string, which: (all: Process[]) => Process[]): Strike => ({
  name: `kill -9 of ${name} on the node`,
  on: 'agent',
  strike({ run }) {
    const found = run === undefined ? [] : which(processesOf(run));
    return found.filter(({ pid }) => killed(pid)).length;
  },
});

/** One that has ended by itself in the meantime is not hit. */
function killed(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}

const ofTrace = (all: Process[]) => all.filter(one => one.role === 'trace');
const isInside = (one: Process, all: Process[]) => all.some(other => other.pid === one.parent);
/** The script's own shell is the one that nothing of the trace started; its guard is the shell that has a nap. */
const script = (all: Process[]) => ofTrace(all).filter(one => !isInside(one, ofTrace(all)));
const guard = (all: Process[]) =>
  ofTrace(all).filter(
    one =>
      one.name === 'sh' &&
      ofTrace(all).some(nap => nap.parent === one.pid && nap.name === 'sleep') &&
      isInside(one, ofTrace(all)),
  );
const container = (all: Process[]) => {
  const own = all.filter(one => one.role === 'guard');
  return own.filter(one => !isInside(one, own));
};

const deletion = (component: 'probe' | 'agent', force: boolean): Strike => ({
  name: `${force ? 'forced ' : ''}deletion of the ${component}'s pod`,
  on: 'pods',
  async strike({ run }) {
    if (run === undefined) return 0;
    const which = `trace-svc/run=${run},app.kubernetes.io/component=${component}`;
    const said = await kubectl(
      '-n',
      NAMESPACE,
      'delete',
      'pod',
      '-l',
      which,
      '--wait=false',
      ...(force ? ['--grace-period=0', '--force'] : []),
    );
    return /deleted/.test(said) ? 1 : 0;
  },
});

const onRoad = (name: string, act: (road: Road) => void): Strike => ({
  name,
  on: 'plugin',
  strike({ road }) {
    act(road);
    return 1;
  },
});

export const STRIKES: Strike[] = [
  signal('SIGINT', { orderly: { code: 130 } }),
  signal('SIGTERM', { orderly: { code: 143 } }),
  signal('SIGHUP', { orderly: { code: 129 } }),
  signal('SIGKILL', { fatal: true }),
  onNode('the script', script),
  onNode('nft', all => all.filter(one => one.name === 'nft')),
  onNode('tcpdump', all => all.filter(one => one.name === 'tcpdump')),
  onNode('the guard', guard),
  onNode('all of the trace', ofTrace),
  onNode('the container', container),
  deletion('probe', false),
  deletion('probe', true),
  deletion('agent', false),
  deletion('agent', true),
  onRoad('every connection cut', road => road.cut()),
  onRoad('every connection cut for good', road => road.close()),
];

/** Something all runs stand on is taken away for a while. */
export interface Quake {
  name: string;
  /** @returns what brings it back */
  strike(node: 'n1' | 'n2'): Promise<() => unknown>;
}

const parts = (node: 'n1' | 'n2') =>
  ({ kubelet: `${node}-kubelet`, server: 'cp-kube-apiserver' }) as Record<string, Part>;

export const QUAKES: Quake[] = [
  { name: 'kubelet stopped', strike: async node => stopPart(parts(node).kubelet as Part) },
  { name: 'kubelet killed and started again', strike: async node => killPart(parts(node).kubelet as Part) },
  { name: 'API server stopped', strike: async node => stopPart(parts(node).server as Part) },
  { name: 'API server killed and started again', strike: async node => killPart(parts(node).server as Part) },
  { name: "the node's network cut", strike: cutNode },
];
