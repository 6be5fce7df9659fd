/** What a node agent is told: the environment of plugin/node-agent.sh. The same for a pod, the lab, and --dry-run. */
import { nftCommands, nftSwitch, rawRules, type TraceScope } from './rules.ts';

export type Method = 'auto' | 'nft' | 'raw';
/** Where the legacy tables' lines are read. */
export type LogSource = 'auto' | 'nflog' | 'kmsg' | 'journald' | 'file' | 'none';

export const METHODS: readonly Method[] = ['auto', 'nft', 'raw'];
export const LOG_SOURCES: readonly LogSource[] = ['auto', 'nflog', 'kmsg', 'journald', 'file'];

export interface AgentOrder {
  scope: TraceScope;
  /** Seconds after which the node removes everything by itself. */
  seconds: number;
  method: Method;
  log: LogSource;
  /** `NAMESPACE/NAME`: of a very long listing, only its own chains are wanted. */
  service?: string;
  /** `HOST:PORT` where kube-proxy answers on the node (--metrics-bind-address); left out where there is none. */
  proxy?: string;
  /** Addresses the probes ask: the node tells how it would route to them. */
  targets: string[];
}

export const KUBE_PROXY = '127.0.0.1:10249';

/** Trace lines of one source before it is cut off. */
const BUDGET = 20_000;

export function agentEnvironment(order: AgentOrder): Record<string, string> {
  const { scope, method } = order;
  return {
    TS_ROLE: 'trace',
    TS_RUN: scope.run,
    TS_DEADLINE: String(order.seconds),
    TS_METHOD: method,
    TS_NFT: (method === 'raw' ? nftSwitch(scope) : nftCommands(scope)).join('\n'),
    TS_RAW: method === 'nft' ? '' : rawRules(scope).join('\n'),
    TS_LOG: order.log,
    TS_BUDGET: String(BUDGET),
    TS_PODS: scope.podIps.join(' '),
    ...(order.service === undefined ? {} : { TS_SERVICE: order.service }),
    ...(order.proxy === undefined ? {} : { TS_PROXY: order.proxy }),
    TS_TARGETS: order.targets.join(' '),
  };
}
