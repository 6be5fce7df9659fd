/** Words of the command line -> a live run. Pure: every wrong combination is refused here, with the way out in the message. */
import { LOG_SOURCES, type LogSource, METHODS, type Method } from './plan/agent.ts';
import { PULL_POLICIES, type PullPolicy } from './plan/pods.ts';
import { type IpFamily, VIAS, type Via } from './plan/target.ts';
import { type OutputFlags, type OutputRequest, parseOutput, quote, usage } from './request.ts';
import { parseTarget, type TargetRequest } from './request-target.ts';

/** kubectl's global flags, as given. */
export interface KubeWords {
  kubeconfig?: string;
  context?: string;
  cluster?: string;
  user?: string;
  namespace?: string;
  server?: string;
  token?: string;
  as?: string;
  asGroup?: string[];
  asUid?: string;
  certificateAuthority?: string;
  clientCertificate?: string;
  clientKey?: string;
  tlsServerName?: string;
  insecureSkipTlsVerify?: boolean;
}

export interface KubeRequest extends KubeWords {
  requestTimeoutMs: number;
}

export type Expectation = 'answered' | 'refused' | 'timeout' | 'unreachable';
export const EXPECTATIONS: readonly Expectation[] = ['answered', 'refused', 'timeout', 'unreachable'];

export interface AgentRequest {
  agentImage: string;
  agentNamespace?: string;
  pullPolicy: PullPolicy;
  pullSecrets: string[];
}

export interface LiveRequest extends OutputRequest, AgentRequest, TargetRequest {
  command: 'live';
  kube: KubeRequest;
  node?: string;
  from?: string;
  method: Method;
  log: LogSource;
  image: string;
  /** Seconds a probe may take. */
  timeout: number;
  /** Milliseconds a pod may take to start. */
  startTimeoutMs: number;
  count: number;
  /** Seconds after which nothing of the run may be active; left out: as long as its probes can take. */
  deadline?: number;
  family?: IpFamily;
  via: Via;
  path: string;
  scheme?: 'http' | 'https';
  udpData: string;
  expect?: Expectation;
  dryRun: boolean;
  interactive: boolean;
  verbose: boolean;
}

export interface KubeFlagWords extends OutputFlags, KubeWords {
  requestTimeout?: string;
}

export interface AgentFlags extends KubeFlagWords {
  agentImage?: string;
  agentNamespace?: string;
  imagePullPolicy?: string;
  imagePullSecret?: string[];
}

export interface LiveFlags extends AgentFlags {
  node?: string;
  from?: string;
  method?: string;
  logSource?: string;
  image?: string;
  timeout?: string;
  startTimeout?: string;
  count?: string;
  deadline?: string;
  ipFamily?: string;
  via?: string;
  path?: string;
  scheme?: string;
  udpData?: string;
  expect?: string;
  dryRun?: boolean;
  interactive?: boolean;
  verbose?: boolean;
}

/** Curl, ping and everything an agent needs; its recipe, and one for a smaller image, are in plugin/image. */
export const DEFAULT_IMAGE = 'docker.io/nicolaka/netshoot:latest';

type Env = Record<string, string | undefined>;

export function parseLive(words: string[], flags: LiveFlags, env: Env): LiveRequest {
  const image = flags.image ?? (env.KUBECTL_TRACE_SVC_IMAGE || DEFAULT_IMAGE);
  const request: LiveRequest = {
    command: 'live',
    ...parseOutput(flags),
    ...parseAgent(flags, env, image),
    kube: parseKube(flags),
    ...parseTarget(words),
    method: oneOf('--method', flags.method ?? (env.KUBECTL_TRACE_SVC_METHOD || 'auto'), METHODS),
    log: oneOf('--log-source', flags.logSource ?? 'auto', LOG_SOURCES),
    image,
    timeout: positive('--timeout', flags.timeout ?? '3', 60),
    startTimeoutMs: positive('--start-timeout', flags.startTimeout ?? '30', 600) * 1000,
    count: positive('--count', flags.count ?? '1', 100),
    via: oneOf('--via', flags.via ?? 'cluster-ip', VIAS),
    path: parsePath(flags.path ?? '/'),
    udpData: flags.udpData ?? 'hostname\n',
    dryRun: flags.dryRun ?? false,
    interactive: flags.interactive ?? false,
    verbose: flags.verbose ?? false,
  };
  if (flags.deadline !== undefined) request.deadline = parseDeadline(flags.deadline);
  if (flags.ipFamily !== undefined) request.family = parseFamily(flags.ipFamily);
  if (flags.scheme !== undefined) request.scheme = oneOf('--scheme', flags.scheme, ['http', 'https'] as const);
  if (flags.expect !== undefined) request.expect = oneOf('--expect', flags.expect, EXPECTATIONS);
  if (flags.node !== undefined) request.node = dnsName('--node', flags.node);
  if (flags.from !== undefined) request.from = parseFrom(flags.from);
  if (request.node !== undefined && request.from !== undefined)
    throw usage('--from already tells the node: the one its pod is on', 'Leave --node out.');
  if (request.dryRun && request.save !== undefined)
    throw usage('--dry-run gathers nothing to --save', 'Leave one out.');
  return request;
}

export function parseAgent(flags: AgentFlags, env: Env, image: string): AgentRequest {
  const request: AgentRequest = {
    agentImage: flags.agentImage ?? (env.KUBECTL_TRACE_SVC_AGENT_IMAGE || image),
    pullPolicy: oneOf('--image-pull-policy', flags.imagePullPolicy ?? 'IfNotPresent', PULL_POLICIES),
    pullSecrets: (flags.imagePullSecret ?? []).map(name => dnsName('--image-pull-secret', name)),
  };
  const namespace = flags.agentNamespace ?? env.KUBECTL_TRACE_SVC_AGENT_NAMESPACE;
  if (namespace) request.agentNamespace = dnsName('--agent-namespace', namespace);
  for (const [flag, value] of [
    ['--image', image],
    ['--agent-image', request.agentImage],
  ] as const)
    if (!/^[\w][\w./:@-]*$/.test(value))
      throw usage(`${flag} ${quote(value)} is no image`, 'For example nicolaka/netshoot:v0.15');
  return request;
}

const KUBE_WORDS = [
  'kubeconfig',
  'context',
  'cluster',
  'user',
  'namespace',
  'server',
  'token',
  'as',
  'asGroup',
  'asUid',
  'certificateAuthority',
  'clientCertificate',
  'clientKey',
  'tlsServerName',
  'insecureSkipTlsVerify',
] as const;

export function parseKube(flags: KubeFlagWords): KubeRequest {
  const given = Object.fromEntries(KUBE_WORDS.flatMap(key => (flags[key] === undefined ? [] : [[key, flags[key]]])));
  if (flags.namespace !== undefined) dnsName('--namespace', flags.namespace);
  return { ...given, requestTimeoutMs: parseDuration(flags.requestTimeout ?? '10s') };
}

/** What a timer can wait at most; more of it would end at once. */
const FOR_EVER = 2 ** 31 - 1;

/** kubectl's own: `0` is no timeout; a bare number is seconds; else Go's 300ms, 10s, 1m30s. */
function parseDuration(text: string): number {
  const units: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const parts = /^\d+$/.test(text) ? [['', text, 's']] : [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  if (parts.length === 0 || (parts[0]?.[0] !== '' && parts.map(([part]) => part).join('') !== text))
    throw usage(`--request-timeout ${quote(text)} is no duration`, 'For example 10s, 1m or 0 for none.');
  const ms = parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit as string] as number), 0);
  return ms === 0 ? FOR_EVER : Math.min(Math.max(1, Math.round(ms)), FOR_EVER);
}

function parseFrom(text: string): string {
  const [, kind, name = ''] = /^(?:([^/]*)\/)?(.*)$/s.exec(text) ?? [];
  if (kind !== undefined && !['pod', 'pods', 'po'].includes(kind.toLowerCase()))
    throw usage(`--from ${quote(text)} is no pod`, 'Name a pod: --from pod/NAME');
  return dnsName('--from', name);
}

function dnsName(flag: string, name: string): string {
  if (/^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$/.test(name)) return name;
  throw usage(`${flag} ${quote(name)} is no valid name`, 'Names are lower-case letters, digits, dashes and dots.');
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  if ((known as readonly string[]).includes(value)) return value as T;
  throw usage(`${flag} ${quote(value)} is not known`, `Choose one of ${known.join(', ')}.`);
}

function positive(flag: string, text: string, most: number): number {
  const number = /^\d+s?$/.test(text) ? Number.parseInt(text, 10) : 0;
  if (number >= 1 && number <= most) return number;
  throw usage(`${flag} ${quote(text)} is not a number from 1 to ${most}`, `For example ${flag} 3`);
}

/** Less than the first number is over before the agent is ready. */
function parseDeadline(text: string): number {
  const seconds = positive('--deadline', text, 3600);
  if (seconds >= 5) return seconds;
  throw usage(`--deadline ${quote(text)} is too short for a trace`, 'Give it 5 seconds or more.');
}

function parseFamily(text: string): IpFamily {
  const found = { ipv4: 'ipv4', '4': 'ipv4', ipv6: 'ipv6', '6': 'ipv6' }[text.toLowerCase()];
  if (found === undefined) throw usage(`--ip-family ${quote(text)} is not known`, 'Choose IPv4 or IPv6.');
  return found as IpFamily;
}

function parsePath(path: string): string {
  if (/^\/[\x21-\x7e]*$/.test(path)) return path;
  throw usage(`--path ${quote(path)} is no path`, 'It begins with /, without spaces: --path /healthz');
}

export interface CleanupFlags extends AgentFlags {
  run?: string;
  node?: string;
}

/** @throws TraceError(usage) for a run or node that cannot be one */
export function parseCleanup(flags: CleanupFlags, env: Env) {
  const image = env.KUBECTL_TRACE_SVC_IMAGE || DEFAULT_IMAGE;
  if (flags.run !== undefined && !/^[a-z0-9]{4,16}$/.test(flags.run))
    throw usage(
      `--run ${quote(flags.run)} is no run`,
      'A run is named by the letters and digits in its pods: trace-svc-RUN.',
    );
  return {
    ...parseAgent(flags, env, image),
    kube: parseKube(flags),
    quiet: flags.quiet ?? false,
    startTimeoutMs: 30_000,
    ...(flags.run === undefined ? {} : { run: flags.run }),
    ...(flags.node === undefined ? {} : { node: dnsName('--node', flags.node) }),
  };
}

export interface DoctorFlags extends AgentFlags {
  node?: string;
  allNodes?: boolean;
}

export function parseDoctor(flags: DoctorFlags, env: Env) {
  const image = env.KUBECTL_TRACE_SVC_IMAGE || DEFAULT_IMAGE;
  if (flags.node !== undefined && flags.allNodes)
    throw usage('--node and --all-nodes exclude each other', 'Leave one out.');
  const { colour } = parseOutput({ ...flags, output: 'tree' });
  return {
    ...parseAgent(flags, env, image),
    kube: parseKube(flags),
    quiet: flags.quiet ?? false,
    colour,
    format: oneOf('-o', flags.output ?? 'text', ['text', 'json'] as const),
    allNodes: flags.allNodes ?? false,
    startTimeoutMs: 30_000,
    ...(flags.node === undefined ? {} : { node: dnsName('--node', flags.node) }),
  };
}
