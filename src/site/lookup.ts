/** What the API knows before anything is made: the Service, its endpoints, the nodes, and the namespaces' Pod Security level. */
import { hasStatus, TraceError } from '../errors.ts';
import { emptyObjects, readObjects } from '../kube/objects.ts';
import type { KubeObjects } from '../model.ts';
import type { Cluster } from '../ports.ts';
import { refuseWithout, rights, unless } from './access.ts';
import { type NodeState, readNodes } from './nodes.ts';
import { paths } from './paths.ts';
import { together } from './together.ts';

export interface Lookup {
  objects: KubeObjects;
  /** Undefined where we may not list them. */
  nodes: NodeState[] | undefined;
  /** Pod Security's enforced level by namespace; left out where we may not know. */
  security: Map<string, string>;
}

export async function lookUp(
  cluster: Cluster,
  namespace: string,
  service: string,
  namespaces: string[],
  signal: AbortSignal,
): Promise<Lookup> {
  const get = (path: string) => cluster.send('GET', path, { signal });
  const [found, slices, nodes, security] = await together([
    get(paths.service(namespace, service)).catch(error => notFound(error, cluster, namespace, service)),
    get(paths.slices(namespace, service)).catch(unless(403)),
    get(paths.nodes()).catch(unless(403)),
    together([...new Set(namespaces)].map(async name => [name, await levelOf(get, name)] as const)),
  ]);
  refuseWithout([
    ...(found === undefined ? [rights.service(namespace)] : []),
    ...(slices === undefined ? [rights.slices(namespace)] : []),
  ]);
  const objects = emptyObjects();
  for (const value of [withKind(found, 'Service'), withKind(slices, 'EndpointSliceList'), withKind(nodes, 'NodeList')])
    merge(objects, readObjects(value));
  return {
    objects,
    nodes: nodes === undefined ? undefined : readNodes(nodes),
    security: new Map(security.flatMap(([name, level]) => (level === undefined ? [] : [[name, level] as const]))),
  };
}

/** @returns undefined where we may not list them */
export async function lookUpNodes(cluster: Cluster, signal: AbortSignal): Promise<NodeState[] | undefined> {
  const nodes = await cluster.send('GET', paths.nodes(), { signal }).catch(unless(403));
  return nodes === undefined ? undefined : readNodes(nodes);
}

/** Without the kind, an answer of the API is as one in a list. */
function withKind(value: unknown, kind: string): unknown {
  return typeof value === 'object' && value !== null ? { kind, ...value } : undefined;
}

export function merge(into: KubeObjects, more: KubeObjects | undefined): void {
  if (!more) return;
  into.services.push(...more.services);
  into.endpoints.push(...more.endpoints);
  into.pods.push(...more.pods);
  into.nodes.push(...more.nodes);
}

/** A Service in a namespace that is not there is worth another word than one that is missing. */
async function notFound(error: unknown, cluster: Cluster, namespace: string, service: string): Promise<undefined> {
  if (!hasStatus(error, 404)) return unless(403)(error);
  const there = await cluster.send('GET', paths.namespace(namespace)).then(
    () => true,
    reason => !hasStatus(reason, 404),
  );
  if (!there)
    throw new TraceError(
      'usage',
      `there is no namespace ${namespace} in context ${cluster.context}`,
      'kubectl get namespaces lists those there are; choose one with -n.',
    );
  throw new TraceError(
    'usage',
    `there is no Service ${service} in namespace ${namespace}`,
    `kubectl get services -n ${namespace} lists those there are; another namespace is chosen with -n.`,
  );
}

/** https://kubernetes.io/docs/concepts/security/pod-security-admission/ */
export async function levelOf(get: (path: string) => Promise<unknown>, namespace: string): Promise<string | undefined> {
  const found = (await get(paths.namespace(namespace)).catch(unless(403, 404))) as
    | { metadata?: { labels?: Record<string, string> } }
    | undefined;
  return found?.metadata?.labels?.['pod-security.kubernetes.io/enforce'];
}
