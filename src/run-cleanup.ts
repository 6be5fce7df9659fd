/** `kubectl trace-svc cleanup`: find and remove what ended runs left. Safe at any time: what is within its time stays. */
import { EXIT, TraceError } from './errors.ts';
import type { Cluster, Out } from './ports.ts';
import type { AgentRequest } from './request-live.ts';
import { lookUpNodes } from './site/lookup.ts';
import { nodesToAsk } from './site/nodes.ts';
import { askNode, nodeQuestion } from './site/on-node.ts';
import { deletePod, waitUntilGone } from './site/pods.ts';
import { listPods, readStrays } from './site/strays.ts';

export interface CleanupRequest extends AgentRequest {
  /** Only this run, also before its deadline. */
  run?: string;
  node?: string;
  startTimeoutMs: number;
}

export interface CleanupDeps {
  cluster: Cluster;
  out: Out;
  signal: AbortSignal;
  agentScript: string;
  newRunId(): string;
  now(): number;
}

export async function runCleanup(request: CleanupRequest, deps: CleanupDeps): Promise<number> {
  const { cluster, out } = deps;
  try {
    out.step(`looking for pods of ours in ${cluster.context}`);
    const pods = await removePods(request, deps);
    const nodes = await nodesToSweep(request, deps);
    out.step(`looking at ${nodes.length === 1 ? nodes[0] : `${nodes.length} nodes`}`);
    const results = await inGroups(nodes, 8, node => sweepNode(node, request, deps));
    const still = (await Promise.all(pods.told.map(ref => stillThere(cluster, ref)))).flat();
    const said = [...pods.lines, ...still, ...results.flatMap(result => result.lines)];
    out.result(
      `${said.length > 0 ? said.join('\n') : `nothing of ${request.run === undefined ? 'ours' : `run ${request.run}`} is left on ${nodes.join(', ')}`}\n`,
    );
    return still.length > 0 || results.some(result => !result.clean) ? EXIT.cleanupIncomplete : EXIT.answered;
  } finally {
    cluster.close();
  }
}

interface Removal {
  lines: string[];
  /** Deleted, and given a moment to end in order. */
  told: { namespace: string; name: string }[];
}

async function removePods({ run }: CleanupRequest, { cluster, signal, now }: CleanupDeps): Promise<Removal> {
  const pods = await listPods(cluster, signal);
  const found = readStrays(pods, run, now() + cluster.clockAheadMs());
  const removal: Removal = { lines: [], told: [] };
  const { lines, told } = removal;
  for (const { namespace, name, why, run: own } of found) {
    if (why === undefined) {
      lines.push(`pod ${namespace}/${name} stays: run ${own} is within its time (--run ${own} removes it)`);
      continue;
    }
    await deletePod(cluster, { namespace, name }, 3);
    lines.push(`removed pod ${namespace}/${name}: ${why}`);
    told.push({ namespace, name });
  }
  return removal;
}

/** @returns a line about a pod that does not go */
async function stillThere(
  cluster: Cluster,
  { namespace, name }: { namespace: string; name: string },
): Promise<string[]> {
  return waitUntilGone(cluster, { namespace, name }).then(
    () => [],
    (error: Error) => [`pod ${namespace}/${name}: ${error.message}`],
  );
}

async function nodesToSweep({ node }: CleanupRequest, { cluster, signal }: CleanupDeps): Promise<string[]> {
  if (node !== undefined) return [node];
  const nodes = await lookUpNodes(cluster, signal);
  if (!nodes)
    throw new TraceError('refused', 'you may not list nodes, so nobody knows where to look', 'Name one with --node.');
  return nodesToAsk(nodes);
}

interface Swept {
  lines: string[];
  clean: boolean;
}

async function sweepNode(node: string, request: CleanupRequest, deps: CleanupDeps): Promise<Swept> {
  const { cluster, signal, agentScript, newRunId } = deps;
  const about = request.run ?? 'all';
  const question = nodeQuestion(request, cluster, { node, run: newRunId(), script: agentScript, role: 'sweep', about });
  try {
    const output = await askNode(cluster, question, signal);
    const lines = [
      ...output.removed.map(text => `${node}: removed ${text}`),
      ...output.left.map(text => `${node}: could not remove ${text}`),
      ...output.said.map(text => `${node}: ${text}`),
      ...(output.failure === undefined ? [] : [`${node}: ${output.failure}`]),
    ];
    return { lines, clean: output.left.length === 0 && output.ended };
  } catch (error) {
    if (signal.aborted || !(error instanceof TraceError)) throw error;
    return { lines: [`${node}: not looked at: ${error.message}`], clean: false };
  }
}

async function inGroups<T, R>(items: T[], size: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let i = 0; i < items.length; i += size) results.push(...(await Promise.all(items.slice(i, i + size).map(work))));
  return results;
}
