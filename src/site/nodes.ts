/** Which node a run takes place on: the one that is named, or the first that takes ordinary pods. */
import { TraceError } from '../errors.ts';

export interface NodeState {
  name: string;
  ready: boolean;
  /** Why the node is not ready, in the kubelet's or the controller's words. */
  why: string;
  unschedulable: boolean;
  /** `KEY=VALUE:EFFECT` of those that keep ordinary pods away. */
  taints: string[];
  os: string;
}

interface NodeJson {
  metadata?: { name?: string; labels?: Record<string, string> };
  spec?: { unschedulable?: boolean; taints?: { key?: string; value?: string; effect?: string }[] };
  status?: { conditions?: { type?: string; status?: string; reason?: string; message?: string }[] };
}

export function readNodes(list: unknown): NodeState[] {
  const items = (list as { items?: NodeJson[] } | null)?.items ?? [];
  return items.map(readNode).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readNode({ metadata, spec, status }: NodeJson): NodeState {
  const ready = status?.conditions?.find(condition => condition.type === 'Ready');
  return {
    name: metadata?.name ?? '',
    ready: ready?.status === 'True',
    why: ready?.message ?? ready?.reason ?? 'it has not reported yet',
    unschedulable: spec?.unschedulable === true,
    taints: (spec?.taints ?? [])
      .filter(taint => taint.effect !== 'PreferNoSchedule')
      .map(({ key, value, effect }) => `${key}${value ? `=${value}` : ''}:${effect}`),
    os: metadata?.labels?.['kubernetes.io/os'] ?? 'linux',
  };
}

/** Names of those an agent can be started on. */
export function nodesToAsk(nodes: NodeState[]): string[] {
  return nodes.filter(node => node.ready && node.os === 'linux').map(node => node.name);
}

/**
 * @param named the node the user wants, taints or not
 * @returns undefined where nobody told us which nodes there are: then the scheduler decides
 * @throws TraceError where no node will do
 */
export function chooseNode(nodes: NodeState[] | undefined, named: string | undefined): string | undefined {
  if (!nodes) return named;
  if (named !== undefined) return checkNamed(nodes, named);
  const fit = nodes.find(node => node.ready && !node.unschedulable && node.taints.length === 0 && node.os === 'linux');
  if (fit) return fit.name;
  throw new TraceError(
    'refused',
    `no node takes an ordinary pod: ${nodes.map(refusal).slice(0, 5).join('; ') || 'there is none'}`,
    'Name the node to trace on with --node: taints do not matter then.',
  );
}

function checkNamed(nodes: NodeState[], name: string): string {
  const node = nodes.find(one => one.name === name);
  if (!node)
    throw new TraceError(
      'usage',
      `there is no node ${name}`,
      `There are: ${nodes
        .map(one => one.name)
        .slice(0, 20)
        .join(', ')}`,
    );
  if (!node.ready)
    throw new TraceError(
      'refused',
      `node ${name} is not ready: ${node.why}`,
      'Nothing can be started on it. Choose another with --node.',
    );
  if (node.os !== 'linux') throw new TraceError('refused', `node ${name} runs ${node.os}, which has no netfilter`);
  return name;
}

function refusal(node: NodeState): string {
  if (!node.ready) return `${node.name} is not ready`;
  if (node.unschedulable) return `${node.name} is cordoned`;
  return node.taints.length > 0 ? `${node.name} is tainted ${node.taints.join(', ')}` : `${node.name} runs ${node.os}`;
}
