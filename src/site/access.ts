/** May we do what a run does? Asked before anything is made (SelfSubjectAccessReview), verb by verb, so that a refusal names the verb. */
import { hasStatus, TraceError } from '../errors.ts';
import type { Cluster } from '../ports.ts';
import { paths } from './paths.ts';
import { together } from './together.ts';

export interface Right {
  verb: string;
  resource: string;
  subresource?: string;
  group?: string;
  /** Undefined: in the whole cluster. */
  namespace?: string;
}

/** What a run needs in the namespace its pods are made in. Since Kubernetes 1.35 a websocket needs `create` as well as `get`. */
export function podRights(namespace: string): Right[] {
  return [
    ...['create', 'get', 'delete'].map(verb => ({ verb, resource: 'pods', namespace })),
    ...['create', 'get'].map(verb => ({ verb, resource: 'pods', subresource: 'exec', namespace })),
  ];
}

export function fromRights(namespace: string): Right[] {
  return [
    { verb: 'get', resource: 'pods', namespace },
    { verb: 'patch', resource: 'pods', subresource: 'ephemeralcontainers', namespace },
    ...['create', 'get'].map(verb => ({ verb, resource: 'pods', subresource: 'exec', namespace })),
  ];
}

/** What a run reads before it makes anything. */
export const rights = {
  service: (namespace: string): Right => ({ verb: 'get', resource: 'services', namespace }),
  slices: (namespace: string): Right => ({
    verb: 'list',
    resource: 'endpointslices',
    group: 'discovery.k8s.io',
    namespace,
  }),
};

/** `create pods/exec in namespace default`. */
export function rightText({ verb, resource, subresource, namespace }: Right): string {
  const what = subresource === undefined ? resource : `${resource}/${subresource}`;
  return `${verb} ${what}${namespace === undefined ? ' in the whole cluster' : ` in namespace ${namespace}`}`;
}

/** @returns undefined where the server does not let us ask */
export async function isAllowed(cluster: Cluster, right: Right, signal: AbortSignal): Promise<boolean | undefined> {
  const { verb, resource, subresource, group = '', namespace } = right;
  const resourceAttributes = {
    verb,
    resource,
    group,
    ...(subresource && { subresource }),
    ...(namespace && { namespace }),
  };
  const body = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SelfSubjectAccessReview',
    spec: { resourceAttributes },
  };
  const answer = await cluster.send('POST', paths.accessReviews(), { body, signal }).catch(unless(403, 404, 405));
  return answer === undefined ? undefined : (answer as { status?: { allowed?: boolean } }).status?.allowed === true;
}

/** For `catch`: such an answer of the API server is as good as none. */
export function unless(...statuses: number[]): (error: unknown) => undefined {
  return error => {
    if (hasStatus(error, ...statuses)) return undefined;
    throw error;
  };
}

/** @throws TraceError(refused) that names every right that is missing */
export async function requireRights(cluster: Cluster, rights: Right[], signal: AbortSignal): Promise<void> {
  const distinct = [...new Map(rights.map(right => [rightText(right), right])).values()];
  const allowed = await together(distinct.map(right => isAllowed(cluster, right, signal)));
  const missing = distinct.filter((_, i) => allowed[i] === false);
  refuseWithout(missing);
}

/** @throws TraceError(refused) that names them, unless there are none */
export function refuseWithout(missing: Right[]): void {
  if (missing.length === 0) return;
  throw new TraceError(
    'refused',
    `you may not ${missing.map(rightText).join(', nor ')}`,
    'Ask for the rights in docs/rbac.md (plugin/rbac.yaml), or use a namespace where you have them: -n, --agent-namespace.',
  );
}
