/** The cluster as tests use it: our own (README.md), or the one that KUBECONFIG names. */
import { execFile, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const HERE = fileURLToPath(new URL('.', import.meta.url));
export const STATE = '/var/tmp/trace-svc-cluster';
const ADMIN = `${STATE}/admin.conf`;

export const OBJECTS = `${HERE}objects.yaml`;
export const AUDIT_LOG = `${STATE}/log/audit.log`;
export const NAMESPACE = 'shop';

export const MODES = ['iptables-legacy', 'iptables-nft', 'nftables'] as const;
export type Mode = (typeof MODES)[number];

/** The two nodes by the names our objects use: on another cluster they are labels on nodes with names of their own. */
export const NODES = ['n1', 'n2'] as const;
export type Node = (typeof NODES)[number];

/** Our own cluster, and not another one. */
export const OURS = [undefined, '', ADMIN].includes(process.env.KUBECONFIG);

/** A command that runs others in a node of another cluster, before the node's name: `docker exec` with kind. */
const IN_NODE = (process.env.TRACE_SVC_IN_NODE ?? '').split(' ').filter(word => word !== '');

/** Whether tests may look at the nodes' tables. */
export const NODES_CAN_BE_SEEN = OURS || IN_NODE.length > 0;

const LABEL = 'trace-svc.test/node';

export const kubeconfig = (): string => (OURS ? ADMIN : process.env.KUBECONFIG!);

export const kubectlPath = (): string => (OURS ? `${STATE}/bin/kubectl` : 'kubectl');

const exec = promisify(execFile);

/** The standard output; fails with what the command said if its exit code is not 0. */
export async function run(command: string, args: string[]): Promise<string> {
  const { stdout } = await exec(command, args, { maxBuffer: 1 << 28, timeout: 60_000 });
  return stdout;
}

/** Of another cluster KUBECONFIG may be a list of files, which kubectl reads itself. */
export const kubectl = (...args: string[]): Promise<string> =>
  run(kubectlPath(), OURS ? ['--kubeconfig', kubeconfig(), ...args] : args);

/** Runs a command in a pod of our namespace. */
export const inPod = (pod: string, ...argv: string[]): Promise<string> =>
  kubectl('-n', NAMESPACE, 'exec', pod, '--', ...argv);

/** Asks until there is an answer, and says what the last obstacle was if there is none in time. */
export async function poll<T>(what: string, ask: () => Promise<T | undefined>, seconds = 60): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let obstacle: unknown = 'not so';
  do {
    try {
      const answer = await ask();
      if (answer !== undefined) return answer;
    } catch (error) {
      obstacle = error;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  } while (Date.now() < end);
  throw new Error(`${what}: not within ${seconds} s (${obstacle})`);
}

/** One of the scripts beside this file, what it says passed on to the terminal. */
function script(name: 'up' | 'mode' | 'down', ...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(`${HERE}${name}.sh`, args, { stdio: ['ignore', 'inherit', 'inherit'] });
    child.once('error', reject);
    child.once('close', code => (code === 0 ? resolve() : reject(new Error(`${name}.sh ended with ${code}`))));
  });
}

export const isUp = (): boolean => existsSync(`${STATE}/up`);
export const up = (mode?: Mode): Promise<void> => script('up', ...(mode === undefined ? [] : [mode]));
export const down = (): Promise<void> => script('down');
export const setMode = (mode: Mode): Promise<void> => script('mode', mode);

/** An `up` that is killed, with no chance to clean anything up, when it has come to a stage. */
export function upKilledAt(stage: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(`${HERE}up.sh`, [], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', chunk => {
      said += chunk;
      if (said.includes(`cluster: ${stage}\n`)) child.kill('SIGKILL');
    });
    child.once('error', reject);
    child.once('exit', (_, signal) => {
      // Children that outlive it may hold the other end of the pipe.
      child.stderr.destroy();
      if (signal === 'SIGKILL') resolve();
      else reject(new Error(`up ended before it came to "${stage}": ${said}`));
    });
  });
}

interface List<T> {
  items: T[];
}
interface NodeObject {
  metadata: { name: string; labels: Record<string, string> };
  spec: { taints?: unknown[] };
  status: { conditions: { type: string; status: string }[] };
}
interface Service {
  metadata: { name: string };
  spec: { clusterIPs?: string[]; internalTrafficPolicy?: string };
}
interface EndpointSlice {
  metadata: { labels: Record<string, string> };
  endpoints: { addresses: string[]; nodeName?: string; conditions: { ready?: boolean } }[] | null;
}

async function list<T>(kind: string): Promise<T[]> {
  return (JSON.parse(await kubectl('-n', NAMESPACE, 'get', kind, '-o', 'json')) as List<T>).items;
}

/** Names of the nodes that are ready and take pods. */
export async function readyNodes(): Promise<string[]> {
  return (await list<NodeObject>('nodes'))
    .filter(node => (node.spec.taints ?? []).length === 0)
    .filter(node => node.status.conditions.some(({ type, status }) => type === 'Ready' && status === 'True'))
    .map(node => node.metadata.name)
    .sort();
}

let nodeNames: Record<Node, string> | undefined;

/** What our nodes are called in the cluster. */
export async function nodes(): Promise<Record<Node, string>> {
  if (nodeNames !== undefined) return nodeNames;
  const [n1, n2] = await poll('two nodes ready', async () => {
    const ready = await readyNodes();
    return ready.length >= 2 ? ready : undefined;
  });
  nodeNames = { n1: n1!, n2: n2! };
  return nodeNames;
}

/** Labels the nodes, makes the objects, and waits for them. */
export async function applyObjects(): Promise<void> {
  for (const [label, name] of Object.entries(await nodes()))
    await kubectl('label', '--overwrite', 'node', name, `${LABEL}=${label}`);
  await kubectl('apply', '-f', OBJECTS);
  await waitReady();
}

/** Every pod is ready, every Service has endpoints for them, and every node has rules for both. */
export async function waitReady(): Promise<void> {
  await kubectl('-n', NAMESPACE, 'rollout', 'status', 'deployment', '--timeout=60s');
  await kubectl('-n', NAMESPACE, 'wait', '--for=condition=Ready', 'pod', '--all', '--timeout=60s');
  // A pod's condition comes first, and after a kubelet was away all of them go and come back.
  const allReady = async () => {
    const slices = await list<EndpointSlice>('endpointslices');
    const ready = slices.every(slice => (slice.endpoints ?? []).every(({ conditions }) => conditions.ready !== false));
    return ready ? true : undefined;
  };
  // While the API server is away, whoever writes them waits twice as long after each try (endpointslice_controller.go maxSyncBackOff).
  await poll('every endpoint to be ready', allReady, 240);
  if (!NODES_CAN_BE_SEEN) return;
  const names = await nodes();
  for (const node of NODES)
    await poll(`rules of ${node} for all Services`, async () => {
      const missing = await missingRules(node, names[node]);
      if (missing.length > 0) throw new Error(`missing: ${missing.join(', ')}`);
      return true;
    });
}

/** Services of which a node has no rules yet: see `placesToLook`. */
async function missingRules(node: Node, nodeName: string): Promise<string[]> {
  const [services, slices, places] = await Promise.all([
    list<Service>('services'),
    list<EndpointSlice>('endpointslices'),
    placesToLook(node),
  ]);
  const has = (...words: string[]) => places.some(place => words.every(word => hasWord(place, word)));
  return services
    .filter(({ spec }) => spec.clusterIPs !== undefined && !spec.clusterIPs.includes('None'))
    .flatMap(({ metadata: { name }, spec }) => {
      const endpoints = slices
        .filter(slice => slice.metadata.labels['kubernetes.io/service-name'] === name)
        .flatMap(slice => slice.endpoints ?? [])
        .filter(({ conditions }) => conditions.ready !== false)
        .filter(endpoint => spec.internalTrafficPolicy !== 'Local' || endpoint.nodeName === nodeName)
        .flatMap(({ addresses }) => addresses);
      return [
        ...spec.clusterIPs!.filter(ip => !has(ip)),
        ...endpoints.filter(ip => !has(`${NAMESPACE}/${name}`, ip)).map(ip => `${name} -> ${ip}`),
      ];
    });
}

/** Pieces of text in which kube-proxy names a Service and its endpoint: lines of iptables, and chains of nftables. */
async function placesToLook(node: Node): Promise<string[]> {
  const [legacy, iptables, nft] = await Promise.all([legacyTables(node), nftIptables(node), ruleset(node)]);
  return [...legacy.split('\n'), ...iptables.split('\n'), ...nft.split('\n\t}\n')];
}

/** `a.b.1` is not in `a.b.12`. */
function hasWord(line: string, word: string): boolean {
  for (let at = line.indexOf(word); at >= 0; at = line.indexOf(word, at + 1))
    if (!/[\w-]/.test(line[at + word.length] ?? '')) return true;
  return false;
}

/** Runs a command in the node's network namespace, with this machine's files (of another cluster: in the node). */
export async function inNode(node: Node, argv: string[]): Promise<string> {
  if (OURS) return run('nsenter', [`--net=/run/netns/ts-${node}`, '--', ...argv]);
  const [command = 'false', ...args] = IN_NODE;
  return run(command, [...args, (await nodes())[node], ...argv]);
}

/** The legacy tools make the tables they look at, so they are asked only about tables that are there. */
const LEGACY_V4 = 'test -z "$(cat /proc/net/ip_tables_names)" || iptables-legacy-save';
const LEGACY_V6 = 'test -z "$(cat /proc/net/ip6_tables_names)" || ip6tables-legacy-save';

export const legacyTables = (node: Node): Promise<string> => inNode(node, ['sh', '-c', `${LEGACY_V4}; ${LEGACY_V6}`]);

/** Rules that iptables' newer flavour made, as iptables writes them. */
export const nftIptables = (node: Node): Promise<string> =>
  inNode(node, ['sh', '-c', 'iptables-nft-save; ip6tables-nft-save']);

export const ruleset = (node: Node): Promise<string> => inNode(node, ['nft', 'list', 'ruleset']);

/** Every sysctl of the node's network, and the console's level; which modules are there, and who logs packets. */
const SETTINGS = `grep -rs . /proc/sys/net /proc/sys/kernel/printk | grep -v '/veth[0-9a-f]*/\\|nf_conntrack_count:' | sort
cut -d' ' -f1 /proc/modules 2>/dev/null | sort
cat /proc/net/ip_tables_names /proc/net/ip6_tables_names /proc/net/netfilter/nf_log /proc/net/netfilter/nfnetlink_log 2>/dev/null`;

/** What tracing must leave as it was, as one value that two moments can be compared by. */
export async function fingerprint(node: Node): Promise<Record<string, string>> {
  const [legacy, iptables, nft, settings] = await Promise.all([
    legacyTables(node),
    nftIptables(node),
    ruleset(node),
    inNode(node, ['sh', '-c', SETTINGS]),
  ]);
  return { legacy: settled(legacy), iptables: settled(iptables), nft: settled(nft), settings };
}

/** Without counters and dates, and without what packets put into sets: affinity, and other elements that expire. */
function settled(dump: string): string {
  return dump
    .replace(/^#.*\n/gm, '')
    .replace(/\[\d+:\d+\]/g, '')
    .replace(/packets \d+ bytes \d+/g, '')
    .replace(/^\tset \S+ \{\n(?:(?!\t\}).*\n)*?\t\tflags [^\n]*(?:dynamic|timeout)(?:(?!\t\}).*\n|\n)*?\t\}\n/gm, set =>
      set.replace(/\n\t\telements = \{[^}]*\}/, ''),
    );
}

/** Of the whole machine: what we, or the kubelet, set. `up` notes them and `down` puts them back. */
const OUTER_SYSCTLS = [
  'vm/overcommit_memory',
  'vm/panic_on_oom',
  'kernel/panic',
  'kernel/panic_on_oops',
  'kernel/keys/root_maxkeys',
  'kernel/keys/root_maxbytes',
  'net/netfilter/nf_log_all_netns',
  'net/ipv4/ip_forward',
  'net/ipv6/conf/all/forwarding',
];

export function outerSysctls(): Record<string, string> {
  return Object.fromEntries(OUTER_SYSCTLS.map(name => [name, contents(`/proc/sys/${name}`).trim()]));
}

function contents(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Everything of our cluster's that this machine has: empty lists when it is down. */
export async function remains(): Promise<Record<string, string[]>> {
  const lines = async (command: string, ...args: string[]) => (await run(command, args)).split('\n');
  return {
    namespaces: (await lines('ip', 'netns', 'list')).filter(line => line.startsWith('ts-')),
    links: (await lines('ip', '-o', 'link')).filter(line => /^\d+: ts-/.test(line)),
    addresses: (await lines('ip', '-o', 'addr')).filter(line => /172\.29\.0\.|fd00:29:/.test(line)),
    routes: (await lines('ip', 'route')).filter(line => line.includes('172.29.0.')),
    mounts: contents('/proc/self/mounts')
      .split('\n')
      .filter(line => line.includes(STATE) || line.includes('/run/netns/ts-')),
    processes: ourProcesses(),
    cgroups: ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map(name => `/sys/fs/cgroup/${name}`)]
      .map(top => `${top}/trace-svc-cluster`)
      .filter(existsSync),
    state: [STATE].filter(existsSync),
  };
}

/** Processes in our cgroups (containers), or with our state on their command line (all others, and the shims). */
function ourProcesses(): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(
      pid =>
        contents(`/proc/${pid}/cgroup`).includes('/trace-svc-cluster') ||
        contents(`/proc/${pid}/cmdline`).includes(STATE) ||
        contents(`/proc/${pid}/environ`).includes(`PATH=${STATE}/`),
    )
    .map(pid => `${pid} ${contents(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`);
}
