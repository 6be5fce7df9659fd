/** Before the suite: a cluster is there. After it: the machine is as it was before. */
import type { TestProject } from 'vitest/node';
import { down, isUp, OURS, outerSysctls, up } from './cluster.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The suite brought the cluster up, so it may take it down as well. */
    clusterIsSuites: boolean;
    sysctlsBefore: Record<string, string>;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const isSuites = OURS && !isUp();
  project.provide('clusterIsSuites', isSuites);
  project.provide('sysctlsBefore', outerSysctls());
  if (OURS) await up();
  return async () => {
    if (isSuites) await down();
  };
}
