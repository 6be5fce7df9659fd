/** The two pods of a run, as manifests: a probe that may do nothing but send, and an agent with just the rights its work needs. */
import type { LogSource } from './agent.ts';

export type PullPolicy = 'Always' | 'IfNotPresent' | 'Never';
export const PULL_POLICIES: readonly PullPolicy[] = ['Always', 'IfNotPresent', 'Never'];

export interface ImageOrder {
  image: string;
  pullPolicy: PullPolicy;
  pullSecrets: string[];
}

export interface PodOrder extends ImageOrder {
  run: string;
  namespace: string;
  /** Undefined: wherever the scheduler likes. */
  node?: string;
  /** The node was named by the user: its taints are no reason not to go there. */
  forced: boolean;
  /** Seconds after which the kubelet ends the pod by itself. */
  seconds: number;
}

export interface AgentPodOrder extends PodOrder {
  /** The text of plugin/node-agent.sh. */
  script: string;
  /** Where lines are read decides which capabilities and which of the node's files are needed. */
  log: LogSource;
  /** Raw rules of the legacy flavour are changed under the lock that kube-proxy and the CNI take as well (xtables.lock). */
  lock: boolean;
}

export type Manifest = Record<string, unknown> & { metadata: { name: string; namespace: string } };

export const PROBE_CONTAINER = 'probe';
export const AGENT_CONTAINER = 'agent';

export function probeName(run: string): string {
  return `trace-svc-${run}`;
}

export function agentName(run: string): string {
  return `trace-svc-${run}-node`;
}

/** Every object of ours is found by these, and says until when it is wanted. */
export const LABEL = 'app.kubernetes.io/managed-by=kubectl-trace-svc';

function metadata(run: string, name: string, namespace: string, component: string) {
  return {
    name,
    namespace,
    labels: {
      'app.kubernetes.io/name': 'trace-svc',
      'app.kubernetes.io/managed-by': 'kubectl-trace-svc',
      'app.kubernetes.io/component': component,
      'trace-svc/run': run,
      // A mesh's own rules in the pod would be what is traced.
      'sidecar.istio.io/inject': 'false',
      'kuma.io/sidecar-injection': 'disabled',
    },
    annotations: {
      'sidecar.istio.io/inject': 'false',
      'linkerd.io/inject': 'disabled',
      'consul.hashicorp.com/connect-inject': 'false',
      'cluster-autoscaler.kubernetes.io/safe-to-evict': 'true',
    },
  };
}

/** Fits Pod Security's `restricted`; ping works without any capability, through the group range (a safe sysctl). */
export function probePod(order: PodOrder): Manifest {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(order.run, probeName(order.run), order.namespace, 'probe'),
    spec: {
      ...common(order),
      ...placement(order),
      securityContext: {
        runAsNonRoot: true,
        runAsUser: 65532,
        runAsGroup: 65532,
        seccompProfile: { type: 'RuntimeDefault' },
        sysctls: [{ name: 'net.ipv4.ping_group_range', value: '0 2147483647' }],
      },
      containers: [
        {
          name: PROBE_CONTAINER,
          ...imageOf(order),
          command: ['sh', '-c', waitScript(order.seconds)],
          resources: TINY,
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
        },
      ],
    },
  };
}

/** Kubernetes reads `$(NAME)` and `$$` in commands and environment; a text that is a shell's own has every `$` doubled. */
function literal(text: string): string {
  return text.replaceAll('$', () => '$$');
}

/** Ends at once when it is told to, and by itself when its time is over. */
function waitScript(seconds: number): string {
  return literal(`echo $$ >/tmp/.trace-svc-pid 2>/dev/null; trap 'exit 0' TERM; sleep ${seconds} & wait`);
}

const TINY = { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '128Mi' } };
/** nft holds every rule of the node in memory, to say which one a packet met: some 260 MB for 115 000 rules. */
const AGENT = { requests: TINY.requests, limits: { memory: '1Gi' } };

function common({ seconds, pullSecrets }: PodOrder) {
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    activeDeadlineSeconds: seconds + 30,
    terminationGracePeriodSeconds: 5,
    ...(pullSecrets.length > 0 ? { imagePullSecrets: pullSecrets.map(name => ({ name })) } : {}),
    restartPolicy: 'Never',
  };
}

function imageOf({ image, pullPolicy }: ImageOrder) {
  return { image, imagePullPolicy: pullPolicy };
}

/** A node we chose is asked of the scheduler, so that its rules hold; one the user named is taken. */
function placement({ node, forced }: PodOrder) {
  if (node === undefined) return {};
  if (forced) return { nodeName: node, tolerations: [{ operator: 'Exists' }] };
  const term = { matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] };
  return {
    affinity: {
      nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } },
    },
  };
}

/**
 * NET_ADMIN: rules, nft's monitor, NFLOG, conntrack. NET_RAW: iptables-legacy, which asks the kernel through a raw socket; whether
 * a node has legacy tables nobody knows beforehand. What a log source needs: SETGID, tcpdump staying who it is (-Z root); SYSLOG,
 * the kernel log; SYS_CHROOT, the node's own journalctl; DAC_READ_SEARCH, log files of syslog's user.
 */
const CAPABILITIES: Record<LogSource, string[]> = {
  auto: ['SETGID', 'SYSLOG'],
  nflog: ['SETGID'],
  kmsg: ['SYSLOG'],
  journald: ['SYS_CHROOT'],
  file: ['DAC_READ_SEARCH'],
  none: [],
};

export function agentCapabilities(log: LogSource): string[] {
  return ['NET_ADMIN', 'NET_RAW', ...CAPABILITIES[log]];
}

/** Where the node's nf_log sysctls are mounted: /proc/sys itself cannot be written to without being privileged. */
const SYSCTL = '/run/sysctl';

export function agentPod(order: AgentPodOrder): Manifest {
  const { run } = order;
  const hostFiles = readsHostFiles(order);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata(run, agentName(run), order.namespace, 'agent'),
    spec: {
      ...common(order),
      // Restarted after it was killed, it removes what it left; ended in order, it stays ended.
      restartPolicy: 'OnFailure',
      hostNetwork: true,
      ...(order.node === undefined ? {} : { nodeName: order.node }),
      tolerations: [{ operator: 'Exists' }],
      containers: [agentContainer(order)],
      volumes: [
        { name: 'run', emptyDir: {} },
        { name: 'sysctl', hostPath: { path: '/proc/sys/net/netfilter' } },
        ...(order.lock ? [{ name: 'lock', hostPath: { path: '/run/xtables.lock', type: 'FileOrCreate' } }] : []),
        ...(hostFiles ? [{ name: 'host', hostPath: { path: '/' } }] : []),
      ],
    },
  };
}

/** Its journal or its log files. */
function readsHostFiles({ log }: AgentPodOrder): boolean {
  return log === 'journald' || log === 'file';
}

function agentContainer(order: AgentPodOrder) {
  const { run, seconds, script, log } = order;
  const hostFiles = readsHostFiles(order);
  return {
    name: AGENT_CONTAINER,
    ...imageOf(order),
    command: AGENT_COMMAND,
    env: [
      { name: 'TS_AGENT', value: literal(script) },
      { name: 'TS_ROLE', value: 'guard' },
      { name: 'TS_RUN', value: run },
      { name: 'TS_DEADLINE', value: String(seconds) },
      { name: 'TS_NFLOG', value: `${SYSCTL}/nf_log` },
      { name: 'TMPDIR', value: '/run/trace-svc' },
      ...(order.lock ? [] : [{ name: 'TS_LOCKLESS', value: 'yes' }]),
      { name: 'XTABLES_LOCKFILE', value: order.lock ? '/run/xtables.lock' : '/run/trace-svc/xtables.lock' },
      ...(hostFiles ? [{ name: 'TS_HOST', value: '/host' }] : []),
    ],
    resources: AGENT,
    securityContext: {
      runAsUser: 0,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'], add: agentCapabilities(log) },
      seccompProfile: { type: 'RuntimeDefault' },
    },
    volumeMounts: [
      { name: 'run', mountPath: '/run/trace-svc' },
      { name: 'sysctl', mountPath: SYSCTL },
      ...(order.lock ? [{ name: 'lock', mountPath: '/run/xtables.lock' }] : []),
      ...(hostFiles ? [{ name: 'host', mountPath: '/host', readOnly: true }] : []),
    ],
  };
}

/** The script is in the pod's environment: an exec request's address has no room for it behind some proxies. */
export const AGENT_COMMAND = ['sh', '-c', 'eval "$TS_AGENT"'];

/** A container added to a pod that runs already (pods/NAME/ephemeralcontainers); Kubernetes cannot take it away again. */
export function ephemeralContainer(run: string, order: ImageOrder, seconds: number, restricted: boolean) {
  return {
    name: probeName(run),
    ...imageOf(order),
    command: ['sh', '-c', waitScript(seconds)],
    securityContext: restricted
      ? {
          allowPrivilegeEscalation: false,
          runAsNonRoot: true,
          runAsUser: 65532,
          capabilities: { drop: ['ALL'] },
          seccompProfile: { type: 'RuntimeDefault' },
        }
      : {
          runAsUser: 0,
          runAsNonRoot: false,
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'], add: ['NET_RAW'] },
        },
  };
}
