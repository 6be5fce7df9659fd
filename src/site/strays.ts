/** Pods of ours that nobody waits for any more: ended ones, those past their time, and those of a run that is named. */
import { hasStatus } from '../errors.ts';
import { LABEL } from '../plan/pods.ts';
import type { Cluster } from '../ports.ts';
import { paths } from './paths.ts';

export interface StrayPod {
  namespace: string;
  name: string;
  run: string;
  /** Why it is one; undefined: its run may still be going on. */
  why?: string;
}

interface PodJson {
  metadata?: { namespace?: string; name?: string; creationTimestamp?: string; labels?: Record<string, string> };
  spec?: { activeDeadlineSeconds?: number };
  status?: { phase?: string };
}

/** The kubelet ends a pod that is past its time; only one that is long past it does nobody any good. */
const GRACE_MS = 300_000;

/** In the whole cluster, or where we may not look there, in one namespace. */
export async function listPods(cluster: Cluster, signal: AbortSignal): Promise<PodJson[]> {
  const read = async (path: string) =>
    ((await cluster.send('GET', path, { signal })) as { items?: PodJson[] }).items ?? [];
  try {
    return await read(paths.podsLabelled(LABEL));
  } catch (error) {
    if (!hasStatus(error, 403)) throw error;
    return read(`${paths.pods(cluster.namespace)}?labelSelector=${encodeURIComponent(LABEL)}`);
  }
}

/** @param now by the API server's clock, milliseconds @param run where one is named, nobody is told of others */
export function readStrays(pods: PodJson[], run: string | undefined, now: number): StrayPod[] {
  const asked = pods.filter(({ metadata }) => run === undefined || metadata?.labels?.['trace-svc/run'] === run);
  return asked.map(pod => {
    const { metadata = {} } = pod;
    const own = metadata.labels?.['trace-svc/run'] ?? '';
    const stray = { namespace: metadata.namespace ?? '', name: metadata.name ?? '', run: own };
    const why = run === undefined ? whyStray(pod, now) : 'of the run that was named';
    return why === undefined ? stray : { ...stray, why };
  });
}

function whyStray({ metadata, spec, status }: PodJson, now: number): string | undefined {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return `it has ended (${status.phase})`;
  const end = Date.parse(metadata?.creationTimestamp ?? '') + (spec?.activeDeadlineSeconds ?? 0) * 1000;
  return now > end + GRACE_MS ? 'its time is over' : undefined;
}
