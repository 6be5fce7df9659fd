/** Pods made, waited for and taken away again; what keeps one from starting is told in its own words. */
import { ApiError, hasStatus, TraceError } from '../errors.ts';
import { canonicalAddress } from '../ip.ts';
import type { Manifest } from '../plan/pods.ts';
import type { Cluster } from '../ports.ts';
import { paths } from './paths.ts';

export interface PodState {
  phase: string;
  node?: string;
  /** The pod's addresses, and those of its node. */
  ips: string[];
  hostIps: string[];
  running: boolean;
  /** Why it does not run, where that will not change by waiting. */
  stuck?: string;
  /** What it is waiting for. */
  waiting?: string;
  deleted: boolean;
}

interface ContainerStatus {
  name?: string;
  state?: {
    running?: object;
    waiting?: { reason?: string; message?: string };
    terminated?: { reason?: string; message?: string; exitCode?: number };
  };
}

interface PodJson {
  metadata?: { deletionTimestamp?: string };
  spec?: { nodeName?: string };
  status?: {
    phase?: string;
    reason?: string;
    message?: string;
    podIPs?: { ip?: string }[];
    hostIP?: string;
    hostIPs?: { ip?: string }[];
    conditions?: { type?: string; status?: string; reason?: string; message?: string }[];
    containerStatuses?: ContainerStatus[];
    ephemeralContainerStatuses?: ContainerStatus[];
  };
}

/** Waiting does not help: the image is not there, or the node cannot make the container. */
const STUCK = new Set([
  'ErrImagePull',
  'ImagePullBackOff',
  'ErrImageNeverPull',
  'InvalidImageName',
  'CreateContainerConfigError',
  'CreateContainerError',
  'RunContainerError',
  'CrashLoopBackOff',
]);

export function readPodState(value: unknown, container: string): PodState {
  const { metadata, spec, status = {} } = value as PodJson;
  const own = [...(status.containerStatuses ?? []), ...(status.ephemeralContainerStatuses ?? [])].find(
    one => one.name === container,
  );
  const ips = (list: { ip?: string }[] | undefined) =>
    (list ?? []).flatMap(({ ip }) => canonicalAddress(ip ?? '') ?? []);
  const state: PodState = {
    phase: status.phase ?? 'Unknown',
    ips: ips(status.podIPs),
    hostIps: status.hostIPs ? ips(status.hostIPs) : ips([{ ip: status.hostIP }]),
    running: own?.state?.running !== undefined && (status.podIPs?.length ?? 0) > 0,
    deleted: metadata?.deletionTimestamp !== undefined,
  };
  if (spec?.nodeName !== undefined) state.node = spec.nodeName;
  const stuck = stuckOf(status, own);
  if (stuck !== undefined) state.stuck = stuck;
  const unscheduled = status.conditions?.find(one => one.type === 'PodScheduled' && one.status === 'False');
  const waiting = unscheduled?.message ?? own?.state?.waiting?.message ?? own?.state?.waiting?.reason;
  if (waiting !== undefined) state.waiting = waiting;
  return state;
}

function stuckOf(status: NonNullable<PodJson['status']>, own: ContainerStatus | undefined): string | undefined {
  const { waiting, terminated } = own?.state ?? {};
  if (waiting?.reason !== undefined && STUCK.has(waiting.reason))
    return `${waiting.reason}: ${waiting.message ?? 'no more is said'}`;
  if (terminated)
    return `its container ended: ${terminated.message ?? terminated.reason ?? `exit code ${terminated.exitCode}`}`;
  if (status.phase === 'Failed' || status.phase === 'Succeeded')
    return [status.reason, status.message].filter(Boolean).join(': ') || `it is ${status.phase}`;
  return undefined;
}

/**
 * What was asked for is waited for, also when the run is interrupted: a request that is cut may still be carried out, and then
 * behind the back of the one that deletes the pod.
 * @throws TraceError(refused) where admission does not want it: Pod Security, a quota, a webhook
 */
export async function createPod(cluster: Cluster, manifest: Manifest, signal: AbortSignal): Promise<void> {
  const { name, namespace } = manifest.metadata;
  if (signal.aborted) throw new TraceError('interrupted', 'interrupted');
  try {
    await cluster.send('POST', paths.pods(namespace), { body: manifest });
  } catch (error) {
    if (error instanceof ApiError && error.status === 0) await lateCreation(cluster, namespace, name);
    throw error instanceof ApiError ? refusalOf(error, name, namespace) : error;
  }
}

const LATE_MS = 2000;

/**
 * A request that was not answered may still make the pod, after a first look (or a deletion) has not found it. So it is looked
 * for a while, and whoever deletes it finds it. Where the server does not answer at all, nobody can know.
 */
async function lateCreation(cluster: Cluster, namespace: string, name: string): Promise<void> {
  const signal = AbortSignal.timeout(LATE_MS);
  try {
    for (;;) {
      const found = await cluster.send('GET', paths.pod(namespace, name), { signal }).catch(unlessGone);
      if (found !== undefined) return;
      await pause(POLL_MS, signal);
    }
  } catch {
    // The time is over, or nobody answers.
  }
}

function unlessGone(error: unknown): undefined {
  if (!isGone(error)) throw error;
}

const REMEDIES: [RegExp, string][] = [
  [
    /PodSecurity/,
    'Pod Security of that namespace forbids it. The agent needs a namespace of level privileged: --agent-namespace kube-system',
  ],
  [/quota/, 'A quota does not leave room for it there. Choose another namespace: -n, --agent-namespace.'],
  [
    /webhook/,
    'An admission webhook of this cluster does not want it. Choose a namespace it leaves alone: -n, --agent-namespace.',
  ],
  [
    /ValidatingAdmissionPolicy/,
    'An admission policy of this cluster does not want it. Choose a namespace it leaves alone: -n, --agent-namespace.',
  ],
  [
    /cannot create resource/,
    'Ask for the rights in docs/rbac.md (plugin/rbac.yaml), or use a namespace where you have them: -n, --agent-namespace.',
  ],
];

const OTHER_REMEDY = 'A rule of that namespace does not want it. Choose another one: -n, --agent-namespace.';

function refusalOf(error: ApiError, name: string, namespace: string): TraceError {
  const said = error.message.replace(/^from the API server \(\w+\): /, '');
  if (error.status === 404)
    return new TraceError(
      'usage',
      `there is no namespace ${namespace}`,
      'kubectl get namespaces lists those there are.',
    );
  if (error.status !== 403 && error.status !== 422 && error.status !== 400 && error.reason !== 'InternalError')
    return error;
  const why = REMEDIES.find(([pattern]) => pattern.test(said))?.[1] ?? OTHER_REMEDY;
  return new TraceError('refused', `pod ${namespace}/${name} was refused: ${said}`, why, error);
}

const POLL_MS = 80;

/** @throws TraceError where the pod will not run, or does not within the time */
export async function waitUntilRunning(
  cluster: Cluster,
  ref: { namespace: string; pod: string; container: string },
  timeoutMs: number,
  signal: AbortSignal,
): Promise<PodState> {
  const end = performance.now() + timeoutMs;
  const what = `pod ${ref.namespace}/${ref.pod}`;
  for (;;) {
    const state = await podState(cluster, ref, signal);
    if (state.running && !state.deleted) return state;
    if (state.deleted) throw new TraceError('api', `${what} was deleted by somebody else`, 'Run it again.');
    if (state.stuck !== undefined)
      throw new TraceError('api', `${what} does not start: ${state.stuck}`, remedyOf(state.stuck));
    if (performance.now() > end)
      throw new TraceError(
        'api',
        `${what} did not start within ${timeoutMs / 1000} s: ${await whyNotYet(cluster, ref, state)}`,
        `kubectl get events -n ${ref.namespace} tells more. --start-timeout waits longer, --node tries another node.`,
      );
    await pause(POLL_MS, signal);
  }
}

interface PodEvent {
  type?: string;
  reason?: string;
  message?: string;
  lastTimestamp?: string;
}

/** Warnings that keep no pod from starting (kubernetes pkg/kubelet/events, network/dns). */
const HARMLESS = new Set(['MissingClusterDNS', 'DNSConfigForming']);

/** The newest event tells more than `ContainerCreating`, where we may read it. Of what goes well, only a pull is a cause. */
async function whyNotYet(cluster: Cluster, ref: { namespace: string; pod: string }, state: PodState): Promise<string> {
  const list = (await cluster.send('GET', paths.eventsOf(ref.namespace, ref.pod)).catch(() => undefined)) as
    | { items?: PodEvent[] }
    | undefined;
  const events = (list?.items ?? []).sort((a, b) => ((a.lastTimestamp ?? '') < (b.lastTimestamp ?? '') ? -1 : 1));
  const warning = events.findLast(({ type, reason = '' }) => type !== 'Normal' && !HARMLESS.has(reason));
  const newest = events.at(-1);
  const pulling = newest?.reason === 'Pulling' ? newest.message : undefined;
  return warning?.message ?? pulling ?? state.waiting ?? `it is ${state.phase}`;
}

function remedyOf(stuck: string): string {
  return /Image/.test(stuck)
    ? 'Name an image the node can pull: --image, --agent-image; its recipe is in plugin/image. --image-pull-secret names credentials.'
    : 'kubectl get events tells more; --node tries another node.';
}

export async function podState(
  cluster: Cluster,
  { namespace, pod, container }: { namespace: string; pod: string; container: string },
  signal: AbortSignal,
): Promise<PodState> {
  try {
    return readPodState(await cluster.send('GET', paths.pod(namespace, pod), { signal }), container);
  } catch (error) {
    if (hasStatus(error, 404))
      throw new TraceError('api', `pod ${namespace}/${pod} was deleted by somebody else`, 'Run it again.', error);
    throw error;
  }
}

/** Is it an answer that the pod is not there any more? */
export function isGone(error: unknown): boolean {
  return hasStatus(error, 404);
}

/** Gone already is as good. @param graceSeconds what the pod's processes get to end in order */
export async function deletePod(
  cluster: Cluster,
  { namespace, name }: { namespace: string; name: string },
  graceSeconds: number,
): Promise<void> {
  try {
    await cluster.send('DELETE', paths.pod(namespace, name), {
      body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: graceSeconds },
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

const GONE_MS = 15_000;

/** @throws TraceError where it is still there after a while */
export async function waitUntilGone(
  cluster: Cluster,
  { namespace, name }: { namespace: string; name: string },
): Promise<void> {
  const signal = AbortSignal.timeout(GONE_MS);
  try {
    for (;;) {
      await cluster.send('GET', paths.pod(namespace, name), { signal });
      await pause(POLL_MS, signal);
    }
  } catch (error) {
    if (isGone(error)) return;
    if (signal.aborted)
      throw new TraceError(
        'cleanup',
        `it was told to go and is still there after ${GONE_MS / 1000} s: is its node alive?`,
      );
    throw error;
  }
}

/** @throws TraceError(interrupted) */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      reject(new TraceError('interrupted', 'interrupted'));
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', done);
      resolve();
    }, ms);
    if (signal.aborted) done();
    else signal.addEventListener('abort', done, { once: true });
  });
}
