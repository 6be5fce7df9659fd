/** The Cluster port over a kubeconfig. Loaded only by commands that speak to a cluster: client-node takes longer to load than all else. */
import type { Cluster } from '../ports.ts';
import type { PluginDeps } from './credentials.ts';
import { podShell } from './exec.ts';
import { type Environment, type KubeFlags, loadConnection } from './kubeconfig.ts';
import { checkProxy, proxyFor } from './proxy.ts';
import { openTransport } from './transport.ts';

export interface ClusterDeps extends PluginDeps {
  env: Record<string, string | undefined> & Environment;
}

/** @throws TraceError(usage) where the kubeconfig cannot be used; nothing is sent yet */
export function openCluster(flags: KubeFlags, timeoutMs: number, deps: ClusterDeps): Cluster {
  const connection = loadConnection(flags, deps.env);
  const proxy = connection.proxyUrl ?? proxyFor(connection.server, deps.env);
  if (proxy !== undefined) connection.proxyUrl = checkProxy(proxy);
  const transport = openTransport(connection, timeoutMs, deps);
  return {
    context: connection.context,
    server: connection.server,
    namespace: connection.namespace,
    send: (method, path, options) => transport.send(method, path, options),
    clockAheadMs: () => transport.clockAheadMs(),
    shell: pod => podShell(transport, pod),
    close: () => transport.close(),
  };
}
