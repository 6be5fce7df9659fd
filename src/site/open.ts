/** A place to trace on a cluster: a probe pod (or a container in a pod that is there), a node agent beside it, both undone first. */
import { hasStatus, TraceError } from '../errors.ts';
import {
  AGENT_COMMAND,
  AGENT_CONTAINER,
  type AgentPodOrder,
  agentName,
  agentPod,
  ephemeralContainer,
  type ImageOrder,
  type PodOrder,
  PROBE_CONTAINER,
  probeName,
  probePod,
} from '../plan/pods.ts';
import type { Cluster, PodRef, Shell, Site } from '../ports.ts';
import type { Undo } from '../undo.ts';
import { askNode } from './on-node.ts';
import { paths } from './paths.ts';
import {
  createPod,
  deletePod,
  isGone,
  type PodState,
  pause,
  podState,
  waitUntilGone,
  waitUntilRunning,
} from './pods.ts';
import { together } from './together.ts';

export interface OpenOrder {
  run: string;
  probe: PodOrder;
  agent: Omit<AgentPodOrder, 'node'> & { node?: string };
  /** An existing pod to send from instead of a new one. */
  from?: string;
  /** Milliseconds a pod may take to start. */
  startTimeoutMs: number;
}

export interface OpenSite extends Site {
  node: Shell;
  pod: Shell;
  nodeName: string;
  podName: string;
  podIps: string[];
  hostIps: string[];
  agentCommand: string[];
  /** What was made, for the receipt. */
  made: string[];
}

/** @throws TraceError where a pod is refused, does not start, or is taken away */
export async function openSite(cluster: Cluster, order: OpenOrder, undo: Undo, signal: AbortSignal): Promise<OpenSite> {
  // Nothing of ours is on the node before the agent's script runs.
  const end = { settled: true };
  const [probe, agent] = await startBoth(cluster, order, end, undo, signal);
  const nodeName = probe.state.node ?? agent.node ?? '';
  return Object.assign(end, {
    node: watched(cluster.shell(agentRef(order)), end),
    pod: cluster.shell(probe.ref),
    nodeName,
    podName: probe.ref.pod,
    podIps: probe.state.ips,
    hostIps: probe.state.hostIps,
    agentCommand: AGENT_COMMAND,
    made: [...probe.made, `pod ${order.agent.namespace}/${agentName(order.run)}`],
    sweep: (_: string, line: (text: string) => void) => sweep(cluster, order, nodeName, line),
  });
}

const SWEEP_MS = 10_000;
const POLL_MS = 200;

/** The agent ended without a word: another look, by its container or, where that is gone, by a new pod. It is said how it ended. */
async function sweep(cluster: Cluster, order: OpenOrder, node: string, line: (text: string) => void): Promise<void> {
  const said: string[] = [];
  const hear = (text: string) => {
    said.push(text);
    line(text);
  };
  if ((await sweepInAgent(cluster, order, hear)) === false) await sweepAnew(cluster, order, node, hear).catch(() => {});
  if (said.some(text => /^@(removed|left) /.test(text))) return;
  line(
    said.includes('@finished')
      ? `@removed nothing more: ${node} was looked at, and what run ${order.run} had put in was gone`
      : `@left what run ${order.run} put in on ${node}, which nobody could look at: it ends by itself within ${order.agent.seconds} s`,
  );
}

/** So long the API may take a container for running that was killed: the kubelet looks every second, and tells in its own time. */
const STALE_MS = 5000;

/**
 * A container that was killed is started again, and then removes what it left before it can be asked. One that runs and cannot be
 * asked is not asked for ever.
 * @returns true where it answered, false where it will not come back, undefined where nobody can tell
 */
async function sweepInAgent(
  cluster: Cluster,
  order: OpenOrder,
  hear: (text: string) => void,
): Promise<boolean | undefined> {
  const env = { TS_ROLE: 'sweep', TS_RUN: order.run };
  const signal = AbortSignal.timeout(SWEEP_MS);
  let end = performance.now() + STALE_MS;
  while (performance.now() < end && !signal.aborted) {
    try {
      await cluster.shell(agentRef(order)).start(AGENT_COMMAND, hear, { env, timeoutMs: SWEEP_MS }).done;
      return true;
    } catch {
      const state = await agentState(cluster, order);
      if (state === 'gone') return false;
      if (state === 'starting') end = performance.now() + STALE_MS;
    }
    await pause(POLL_MS, signal).catch(() => {});
  }
  return signal.aborted ? false : undefined;
}

async function agentState(cluster: Cluster, order: OpenOrder): Promise<'gone' | 'starting' | 'there'> {
  try {
    const { deleted, phase, running } = await podState(cluster, agentRef(order), AbortSignal.timeout(SWEEP_MS));
    if (deleted || phase === 'Succeeded' || phase === 'Failed') return 'gone';
    return running ? 'there' : 'starting';
  } catch (error) {
    return isGone(error) ? 'gone' : 'there';
  }
}

async function sweepAnew(
  cluster: Cluster,
  { run, agent, startTimeoutMs }: OpenOrder,
  node: string,
  line: (text: string) => void,
): Promise<void> {
  // A name of its own, as the old one may still be taken; the same label, by which cleanup finds it.
  const question = {
    ...agent,
    run,
    name: `${agentName(run)}-2`,
    node,
    role: 'sweep',
    about: run,
    startTimeoutMs,
  } as const;
  await askNode(cluster, question, AbortSignal.timeout(startTimeoutMs + SWEEP_MS), line);
}

/** From the moment a script of ours runs on the node, there may be something to take out. */
function watched(shell: Shell, end: { settled: boolean }): Shell {
  return {
    ...shell,
    start(argv, line, options) {
      end.settled = false;
      return shell.start(argv, line, options);
    },
  };
}

function agentRef({ run, agent }: OpenOrder): PodRef {
  return { namespace: agent.namespace, pod: agentName(run), container: AGENT_CONTAINER };
}

interface Started {
  ref: PodRef;
  state: PodState;
  made: string[];
}

/** Where the node is known, both start at the same time; else the agent follows the probe. */
async function startBoth(
  cluster: Cluster,
  order: OpenOrder,
  end: { settled: boolean },
  undo: Undo,
  signal: AbortSignal,
): Promise<[Started, PodState]> {
  const { node } = order.agent;
  const startProbe = () =>
    order.from === undefined ? newProbe(cluster, order, undo, signal) : joinPod(cluster, order, undo, signal);
  if (node !== undefined) return together([startProbe(), newAgent(cluster, order, node, end, undo, signal)]);
  const probe = await startProbe();
  return [probe, await newAgent(cluster, order, probe.state.node ?? '', end, undo, signal)];
}

async function newProbe(cluster: Cluster, order: OpenOrder, undo: Undo, signal: AbortSignal): Promise<Started> {
  const manifest = probePod(order.probe);
  const { name, namespace } = manifest.metadata;
  undo.add(`delete pod ${namespace}/${name}`, () => deletePod(cluster, { namespace, name }, 0));
  await createPod(cluster, manifest, signal);
  const ref = { namespace, pod: name, container: PROBE_CONTAINER };
  const state = await waitUntilRunning(cluster, ref, order.startTimeoutMs, signal);
  return { ref, state, made: [`pod ${namespace}/${name}`] };
}

async function newAgent(
  cluster: Cluster,
  order: OpenOrder,
  node: string,
  end: { settled: boolean },
  undo: Undo,
  signal: AbortSignal,
): Promise<PodState> {
  const manifest = agentPod({ ...order.agent, node });
  const { name, namespace } = manifest.metadata;
  // Unless it is known to be done, its first process gets the time to take out what a cut connection may have left.
  undo.add(`delete pod ${namespace}/${name}`, async () => {
    await deletePod(cluster, { namespace, name }, end.settled ? 0 : 3);
    if (!end.settled) await waitUntilGone(cluster, { namespace, name });
  });
  await createPod(cluster, manifest, signal);
  return waitUntilRunning(cluster, agentRef(order), order.startTimeoutMs, signal);
}

/** `--from`: a container of ours in a pod that is there, so that the packet has that pod's address and policies. */
async function joinPod(cluster: Cluster, order: OpenOrder, undo: Undo, signal: AbortSignal): Promise<Started> {
  const { run, from = '', probe } = order;
  const ref: PodRef = { namespace: probe.namespace, pod: from, container: probeName(run) };
  undo.add(`end the container in pod ${probe.namespace}/${from}`, () => endContainer(cluster, ref));
  try {
    await addContainer(cluster, ref, run, probe, probe.seconds, false, signal);
  } catch (error) {
    // Pod Security's `restricted` does not give NET_RAW; then ping has to do with what the pod's sysctl allows.
    if (!hasStatus(error, 403) || !/PodSecurity/.test(String(error))) throw error;
    await addContainer(cluster, ref, run, probe, probe.seconds, true, signal);
  }
  const state = await waitUntilRunning(cluster, ref, order.startTimeoutMs, signal);
  return {
    ref,
    state,
    made: [
      `container ${ref.container} in pod ${ref.namespace}/${from} (its record stays: Kubernetes has no way to take it out)`,
    ],
  };
}

async function addContainer(
  cluster: Cluster,
  { namespace, pod }: PodRef,
  run: string,
  image: ImageOrder,
  seconds: number,
  restricted: boolean,
  signal: AbortSignal,
): Promise<void> {
  const body = { spec: { ephemeralContainers: [ephemeralContainer(run, image, seconds, restricted)] } };
  const contentType = 'application/strategic-merge-patch+json';
  await cluster.send('PATCH', paths.ephemeral(namespace, pod), { body, contentType, signal });
}

/** Its first process is told to end, by its own number: in a pod that shares process numbers it is not 1. */
async function endContainer(cluster: Cluster, ref: PodRef): Promise<void> {
  const signal = AbortSignal.timeout(10_000);
  const state = await podState(cluster, ref, signal).catch(() => undefined);
  if (!state?.running) return;
  await cluster.shell(ref).run(['sh', '-c', 'kill -TERM $(cat /tmp/.trace-svc-pid)'], { timeoutMs: 5000 });
  try {
    while ((await podState(cluster, ref, signal)).running) await pause(100, signal);
  } catch (error) {
    if (signal.aborted)
      throw new TraceError('cleanup', 'it was told to end and still runs; it ends by itself at its deadline');
    // With its pod it has ended as well.
    if (!isGone(error)) throw error;
  }
}

/** A pod to send from has to be there, to run, and to have a network of its own. */
export async function checkSource(
  cluster: Cluster,
  namespace: string,
  name: string,
  signal: AbortSignal,
): Promise<{ node: string; ips: string[] }> {
  let pod: {
    spec?: { hostNetwork?: boolean; nodeName?: string };
    status?: { phase?: string; podIPs?: { ip: string }[] };
  };
  try {
    pod = (await cluster.send('GET', paths.pod(namespace, name), { signal })) as typeof pod;
  } catch (error) {
    if (isGone(error))
      throw new TraceError(
        'usage',
        `there is no pod ${name} in namespace ${namespace}`,
        `kubectl get pods -n ${namespace} lists those there are.`,
      );
    throw error;
  }
  if (pod.status?.phase !== 'Running')
    throw new TraceError(
      'refused',
      `pod ${namespace}/${name} is ${pod.status?.phase ?? 'not running'}`,
      'Choose one that runs.',
    );
  if (pod.spec?.hostNetwork)
    throw new TraceError(
      'refused',
      `pod ${namespace}/${name} uses its node's own network: its packets cannot be told from the node's`,
      'Choose a pod with an address of its own.',
    );
  return { node: pod.spec?.nodeName ?? '', ips: (pod.status.podIPs ?? []).map(({ ip }) => ip) };
}
