/** `kubectl trace-svc doctor`: what this cluster and its nodes would allow, and why. Makes nothing but a short-lived pod a node. */

import { dataplaneVerdicts } from './doctor/dataplane.ts';
import { renderVerdicts } from './doctor/render.ts';
import { nodeVerdicts, type Verdict } from './doctor/verdicts.ts';
import { EXIT, TraceError } from './errors.ts';
import type { Cluster, Out } from './ports.ts';
import { styleFor, type Terminal } from './render/style.ts';
import type { AgentRequest } from './request-live.ts';
import { fromRights, isAllowed, podRights, type Right, rights, rightText, unless } from './site/access.ts';
import { levelOf, lookUpNodes } from './site/lookup.ts';
import { chooseNode, type NodeState, nodesToAsk as namesToAsk } from './site/nodes.ts';
import { askNode, nodeQuestion } from './site/on-node.ts';
import { paths } from './site/paths.ts';
import { together } from './site/together.ts';

export interface DoctorRequest extends AgentRequest {
  node?: string;
  allNodes: boolean;
  format: 'text' | 'json';
  startTimeoutMs: number;
}

export interface DoctorDeps {
  cluster: Cluster;
  out: Out;
  terminal(): Terminal;
  signal: AbortSignal;
  agentScript: string;
  newRunId(): string;
}

export async function runDoctor(request: DoctorRequest, deps: DoctorDeps): Promise<number> {
  const { cluster, out, terminal } = deps;
  try {
    out.step(`asking ${cluster.server}`);
    const verdicts = await clusterVerdicts(request, deps);
    const mayMake = verdicts.every(verdict => verdict.state !== 'fail');
    const nodes = mayMake ? await nodesToAsk(request, deps) : [];
    for (const node of nodes) {
      out.step(`asking node ${node}`);
      verdicts.push(...(await askOne(node, request, deps)));
    }
    if (!mayMake) out.say('no node was asked: the rights for that are missing');
    out.result(renderVerdicts(verdicts, request.format, styleFor(terminal())));
    return verdicts.some(verdict => verdict.state === 'fail') ? EXIT.refused : EXIT.answered;
  } finally {
    cluster.close();
  }
}

async function clusterVerdicts(request: DoctorRequest, deps: DoctorDeps): Promise<Verdict[]> {
  const { cluster, signal } = deps;
  const agent = request.agentNamespace ?? cluster.namespace;
  const [version, rights, security, dataplane] = await together([
    serverVerdict(deps),
    rightVerdicts(deps, agent),
    securityVerdict(deps, agent),
    daemonSets(cluster, signal).then(dataplaneVerdicts),
  ]);
  return [version, ...clockVerdict(deps), ...rights, security, ...dataplane];
}

async function serverVerdict({ cluster, signal }: DoctorDeps): Promise<Verdict> {
  const { gitVersion } = (await cluster.send('GET', paths.version(), { signal })) as { gitVersion?: string };
  const text = `${cluster.server} (context ${cluster.context}), Kubernetes ${gitVersion ?? '?'}`;
  return { where: 'cluster', what: 'API server', state: 'ok', text };
}

/** A token or a certificate may be refused for it, and times in reports are this machine's. */
function clockVerdict({ cluster }: DoctorDeps): Verdict[] {
  const seconds = Math.round(cluster.clockAheadMs() / 1000);
  if (seconds === 0) return [];
  const text = `the API server's clock is ${Math.abs(seconds)} s ${seconds > 0 ? 'ahead of' : 'behind'} this machine's`;
  return [
    {
      where: 'cluster',
      what: 'clock',
      state: 'warn',
      text,
      remedy: 'Set the wrong one right; runs do not depend on it.',
    },
  ];
}

async function rightVerdicts({ cluster, signal }: DoctorDeps, agent: string): Promise<Verdict[]> {
  const home = cluster.namespace;
  const needed: Right[] = [
    rights.service(home),
    rights.slices(home),
    ...podRights(home),
    ...(agent === home ? [] : podRights(agent)),
  ];
  const wished: Right[] = [
    { verb: 'list', resource: 'nodes' },
    { verb: 'get', resource: 'namespaces', namespace: home },
    ...fromRights(home).filter(right => right.subresource === 'ephemeralcontainers'),
  ];
  const verdict = async (right: Right, state: 'fail' | 'warn', remedy: string): Promise<Verdict> => {
    const allowed = await isAllowed(cluster, right, signal);
    const what = { where: 'cluster', what: 'right' };
    if (allowed !== false)
      return { ...what, state: 'ok', text: `${rightText(right)}${allowed ? '' : ' (nobody would say)'}` };
    return { ...what, state, text: `you may not ${rightText(right)}`, remedy };
  };
  return together([
    ...needed.map(right => verdict(right, 'fail', 'plugin/rbac.yaml grants it.')),
    ...wished.map(right => verdict(right, 'warn', 'A run does without; --node, --agent-namespace and --from need it.')),
  ]);
}

async function securityVerdict({ cluster, signal }: DoctorDeps, agent: string): Promise<Verdict> {
  const level = await levelOf(path => cluster.send('GET', path, { signal }), agent);
  const where = { where: 'cluster', what: 'security' };
  if (level === undefined || level === 'privileged')
    return {
      ...where,
      state: 'ok',
      text: `namespace ${agent} ${level ? 'is of level privileged' : 'enforces no Pod Security level'}`,
    };
  return {
    ...where,
    state: 'warn',
    text: `namespace ${agent} enforces Pod Security level ${level}, which has no room for the agent`,
    remedy: 'A run puts the agent into kube-system then; --agent-namespace chooses another.',
  };
}

async function daemonSets(cluster: Cluster, signal: AbortSignal): Promise<string[] | undefined> {
  const list = await cluster.send('GET', paths.daemonSets('kube-system'), { signal }).catch(unless(403));
  return (list as { items?: { metadata?: { name?: string } }[] } | undefined)?.items?.map(
    item => item.metadata?.name ?? '',
  );
}

async function nodesToAsk({ node, allNodes }: DoctorRequest, { cluster, signal }: DoctorDeps): Promise<string[]> {
  const nodes: NodeState[] | undefined = await lookUpNodes(cluster, signal);
  if (!allNodes) return [chooseNode(nodes, node)].filter(one => one !== undefined);
  if (!nodes) throw new TraceError('refused', 'you may not list nodes', 'Name one with --node.');
  return namesToAsk(nodes);
}

async function askOne(node: string, request: DoctorRequest, deps: DoctorDeps): Promise<Verdict[]> {
  const { cluster, signal, agentScript, newRunId } = deps;
  const own = { node, run: newRunId(), script: agentScript, role: 'facts', about: 'facts' } as const;
  const where = { where: `node ${node}`, what: 'agent' };
  try {
    const { facts, failure, left } = await askNode(cluster, nodeQuestion(request, cluster, own), signal);
    const remedy = 'kubectl trace-svc cleanup removes it.';
    return [
      ...nodeVerdicts(node, facts, failure),
      ...left.map(text => ({ ...where, state: 'warn' as const, text: `not taken away again: ${text}`, remedy })),
    ];
  } catch (error) {
    if (signal.aborted || !(error instanceof TraceError)) throw error;
    const remedy = error.remedy === undefined ? {} : { remedy: error.remedy };
    return [{ ...where, state: 'fail', text: error.message, ...remedy }];
  }
}
