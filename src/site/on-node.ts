/** One question to a node, without a trace: an agent pod, a role of its script, its answer, and the pod is gone again. */
import { type AgentOutput, newAgentOutput, readAgentLine } from '../parse/agent-output.ts';
import { KUBE_PROXY } from '../plan/agent.ts';
import { AGENT_COMMAND, AGENT_CONTAINER, agentName, agentPod, type ImageOrder } from '../plan/pods.ts';
import type { Cluster } from '../ports.ts';
import type { AgentRequest } from '../request-live.ts';
import { createUndo, notUndoneText, type Undo } from '../undo.ts';
import { createPod, deletePod, waitUntilRunning } from './pods.ts';

export interface NodeQuestion extends ImageOrder {
  namespace: string;
  node: string;
  /** Of this pod. */
  run: string;
  /** Where the run has an agent already. */
  name?: string;
  script: string;
  role: 'facts' | 'sweep';
  /** For `sweep`: the run to remove, or `all` that are past their time. */
  about: string;
  startTimeoutMs: number;
}

/** A question as a user's flags want it asked: from which image, in which namespace. */
export function nodeQuestion(
  request: AgentRequest & { startTimeoutMs: number },
  cluster: Cluster,
  own: Pick<NodeQuestion, 'node' | 'run' | 'script' | 'role' | 'about'>,
): NodeQuestion {
  const { agentImage: image, agentNamespace: namespace = cluster.namespace, startTimeoutMs } = request;
  const { pullPolicy, pullSecrets } = request;
  return { ...own, namespace, image, pullPolicy, pullSecrets, startTimeoutMs };
}

const SECONDS = 60;
const ANSWER_MS = 20_000;

/**
 * @param hear every line, as the agent says it
 * @returns what it said; what could not be taken away again is among `left`
 * @throws TraceError where the pod is refused or does not start, or the script does not answer
 */
export async function askNode(
  cluster: Cluster,
  question: NodeQuestion,
  signal: AbortSignal,
  hear: (line: string) => void = () => {},
): Promise<AgentOutput> {
  const output = newAgentOutput();
  const line = (text: string) => {
    readAgentLine(output, text);
    hear(text);
  };
  const undo = createUndo();
  try {
    await askPod(cluster, question, undo, line, signal);
  } finally {
    for (const left of await undo.run()) line(`@left ${notUndoneText(left)}`);
  }
  return output;
}

async function askPod(
  cluster: Cluster,
  question: NodeQuestion,
  undo: Undo,
  line: (text: string) => void,
  signal: AbortSignal,
): Promise<void> {
  const { run, namespace, node, image, pullPolicy, pullSecrets, script, role, about, startTimeoutMs } = question;
  const images = { image, pullPolicy, pullSecrets };
  const lock = role === 'sweep';
  const manifest = agentPod({
    ...images,
    run,
    namespace,
    node,
    forced: true,
    seconds: SECONDS,
    script,
    log: 'none',
    lock,
  });
  const name = question.name ?? agentName(run);
  manifest.metadata.name = name;
  undo.add(`delete pod ${namespace}/${name}`, () => deletePod(cluster, { namespace, name }, 0));
  await createPod(cluster, manifest, signal);
  const ref = { namespace, pod: name, container: AGENT_CONTAINER };
  await waitUntilRunning(cluster, ref, startTimeoutMs, signal);
  const env = { TS_ROLE: role, TS_RUN: about, TS_METHOD: 'auto', TS_NFT: 'yes', TS_LOG: 'auto', TS_PROXY: KUBE_PROXY };
  await cluster.shell(ref).start(AGENT_COMMAND, line, { env, timeoutMs: ANSWER_MS, signal }).done;
}
