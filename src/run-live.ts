/** `kubectl trace-svc svc/NAME`: look, say what will be done, trace, clean up, explain. Imports no effect; the edge hands them in. */
import { type Capture, emptyCapture, markLeft } from './capture.ts';
import { collect, type TraceOrder } from './collect.ts';
import { EXIT, TraceError } from './errors.ts';
import { familyOf, hostPort } from './ip.ts';
import type { Report } from './model.ts';
import { KUBE_PROXY } from './plan/agent.ts';
import { curlProbe, type ProbePlan, pingProbe, speaksTls, udpProbe } from './plan/probes.ts';
import { RAW_STAYS } from './plan/rules.ts';
import { isOfFamily, resolveTarget, type Target } from './plan/target.ts';
import type { Cluster } from './ports.ts';
import type { LiveRequest } from './request-live.ts';
import type { Deps } from './run.ts';
import { fromRights, podRights, requireRights } from './site/access.ts';
import { describeRun } from './site/dry-run.ts';
import { type Lookup, lookUp } from './site/lookup.ts';
import { chooseNode } from './site/nodes.ts';
import { checkSource, type OpenOrder, type OpenSite, openSite } from './site/open.ts';
import { createUndo, thenUndo, type Undo } from './undo.ts';

export interface LiveDeps extends Deps {
  cluster: Cluster;
  run: string;
  /** The text of plugin/node-agent.sh. */
  agentScript: string;
  /** A yes or no from a person. @throws TraceError(usage) where nobody is there to ask */
  ask(question: string): Promise<boolean>;
}

/** Everything that is known before the first change. */
interface Plan {
  lookup: Lookup;
  target: Target;
  node: string | undefined;
  namespace: string;
  agentNamespace: string;
  seconds: number;
}

export async function runLive(request: LiveRequest, deps: LiveDeps): Promise<number> {
  const { cluster, out } = deps;
  try {
    out.step(`looking up ${request.service} in ${cluster.context}`);
    const plan = await makePlan(request, deps);
    const order = openOrder(request, plan, deps);
    if (request.dryRun) {
      out.result(describeRun(order, plan.target, traceOrder(request, plan, deps, undefined)));
      return 0;
    }
    out.say(announcement(request, plan));
    if (request.interactive && !(await deps.ask('Go on?'))) throw new TraceError('interrupted', 'not wanted');
    const capture = await traceAndUndo(request, plan, order, deps);
    // What comes last is loaded last: the first request of a run is not to wait for it.
    const [{ analyse }, { finish }] = await Promise.all([import('./analyse.ts'), import('./run.ts')]);
    const report = analyse(capture);
    return expected(report, request, await finish(report, capture, request, deps));
  } finally {
    cluster.close();
  }
}

/** `--expect`: what was wanted decides, unless something of ours was left behind. */
function expected(report: Report, { expect }: LiveRequest, code: number): number {
  if (expect === undefined || code === EXIT.cleanupIncomplete) return code;
  const asked = report.probes.filter(probe => probe.kind !== 'ping');
  return asked.length > 0 && asked.every(probe => probe.outcome === expect) ? EXIT.answered : EXIT.notAnswered;
}

async function makePlan(request: LiveRequest, deps: LiveDeps): Promise<Plan> {
  const { cluster, signal } = deps;
  const namespace = request.namespace ?? cluster.namespace;
  // A probe for another namespace's Service is sent from the user's own.
  const home = cluster.namespace;
  const lookup = await lookUp(cluster, namespace, request.service, agentHomes(request, home), signal);
  const target = resolveTarget(
    {
      namespace,
      service: request.service,
      via: request.via,
      ...optional('port', request.port),
      ...optional('family', request.family),
    },
    lookup.objects,
  );
  const source = request.from === undefined ? undefined : await checkSource(cluster, home, request.from, signal);
  const node = source?.node ?? chooseNode(lookup.nodes, request.node);
  const agentNamespace = request.agentNamespace ?? agentHome(lookup, home);
  await requireRights(
    cluster,
    [...(source ? fromRights(home) : podRights(home)), ...podRights(agentNamespace)],
    signal,
  );
  return { lookup, target, node, namespace: home, agentNamespace, seconds: secondsFor(request) };
}

function optional<K extends string, V>(key: K, value: V | undefined): { [key in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [key in K]: V });
}

const FALLBACK = 'kube-system';

function agentHomes(request: LiveRequest, home: string): string[] {
  return request.agentNamespace === undefined ? [home] : [request.agentNamespace];
}

/** The agent uses the node's network, which only Pod Security's level `privileged` allows. */
function agentHome({ security }: Lookup, home: string): string {
  const level = security.get(home);
  return level === undefined || level === 'privileged' ? home : FALLBACK;
}

/** The deadline: nothing of a run may be active after it. */
function secondsFor({ count, timeout, deadline }: LiveRequest): number {
  return deadline ?? Math.max(60, 30 + count * (timeout + 1));
}

function announcement(request: LiveRequest, { target, node, namespace, agentNamespace, seconds }: Plan): string {
  const { service, port, address } = target;
  const where = node === undefined ? 'a node' : `node ${node}`;
  const from =
    request.from === undefined
      ? `a probe pod in ${namespace}`
      : `pod ${namespace}/${request.from} (by an ephemeral container, whose record stays in that pod)`;
  return (
    `tracing ${service.namespace}/${service.name} at ${address === undefined ? `node port ${port}` : hostPort(address, port)} from ${from} on ${where}: trace rules for that ` +
    `pod's address and an agent pod in ${agentNamespace}, for ${seconds} s at most, removed at the end` +
    (request.method === 'raw' ? `. ${RAW_STAYS}` : '')
  );
}

function openOrder(request: LiveRequest, plan: Plan, { run, agentScript }: LiveDeps): OpenOrder {
  const { node, namespace, agentNamespace, seconds } = plan;
  const images = { pullPolicy: request.pullPolicy, pullSecrets: request.pullSecrets };
  const common = { run, seconds, forced: request.node !== undefined, ...optional('node', node) };
  return {
    run,
    probe: { ...common, ...images, namespace, image: request.image },
    agent: {
      ...common,
      ...images,
      namespace: agentNamespace,
      image: request.agentImage,
      script: agentScript,
      log: request.log,
      lock: request.method === 'raw',
    },
    ...optional('from', request.from),
    startTimeoutMs: request.startTimeoutMs,
  };
}

const LEFT_REMEDY =
  'Everything on the node ends by itself at the deadline; kubectl trace-svc cleanup removes the rest.';

async function traceAndUndo(request: LiveRequest, plan: Plan, order: OpenOrder, deps: LiveDeps): Promise<Capture> {
  const undo = createUndo();
  const capture = newCapture(request, plan);
  const [, left] = await thenUndo(undo, LEFT_REMEDY, () =>
    traceOn(request, plan, order, capture, undo, deps).finally(() => deps.out.step('cleaning up')),
  );
  markLeft(capture, left);
  return capture;
}

async function traceOn(
  request: LiveRequest,
  plan: Plan,
  order: OpenOrder,
  capture: Capture,
  undo: Undo,
  deps: LiveDeps,
): Promise<void> {
  deps.out.step(`starting the probe and the node agent on ${plan.node ?? 'a node'}`);
  const site = await openSite(deps.cluster, order, undo, deps.signal);
  capture.source = { namespace: plan.namespace, pod: site.podName, ips: site.podIps, node: site.nodeName };
  capture.node = { ...capture.node, name: site.nodeName };
  capture.objects.pods.push({
    namespace: plan.namespace,
    name: site.podName,
    ips: site.podIps,
    node: site.nodeName,
    hostNetwork: false,
  });
  const trace = traceOrder(request, plan, deps, site);
  capture.source.ips = trace.scope.podIps;
  await collect(trace, site, capture, undo, deps.out, deps.signal);
  capture.cleanup.removed.push(...site.made);
}

function newCapture(request: LiveRequest, { lookup, target }: Plan): Capture {
  const capture = emptyCapture('live', lookup.objects);
  capture.startedAt = new Date().toISOString();
  capture.target = {
    namespace: target.service.namespace,
    service: target.service.name,
    port: target.servicePort?.port ?? target.port,
  };
  capture.notes.push(...target.notes);
  if (request.from !== undefined)
    capture.notes.push('Only packets to the probed port and echo requests of that pod were traced.');
  return capture;
}

/** Before the pods are there, their addresses are words. */
const UNKNOWN = { podIps: ['POD_IP'], hostIps: ['NODE_IP'], agentCommand: [] as string[] };

function traceOrder(request: LiveRequest, plan: Plan, { run }: LiveDeps, site: OpenSite | undefined): TraceOrder {
  const { target } = plan;
  const { podIps, hostIps, agentCommand } = site ?? UNKNOWN;
  const address = target.address ?? hostIps.find(ip => isOfFamily(ip, target.family)) ?? hostIps[0] ?? '';
  const pods = site ? podIps.filter(ip => familyOf(ip) === familyOf(address)) : podIps;
  if (pods.length === 0)
    throw new TraceError(
      'refused',
      `the pod has no ${target.family === 'ipv6' ? 'IPv6' : 'IPv4'} address (it has ${podIps.join(', ')}), the Service's ${address} is one`,
      'Choose the other family with --ip-family, if the Service has it.',
    );
  return {
    scope: {
      run,
      podIps: pods,
      ports: [{ protocol: target.protocol, port: target.port }],
      busy: request.from !== undefined,
    },
    seconds: plan.seconds,
    method: request.method,
    log: request.log,
    service: `${target.service.namespace}/${target.service.name}`,
    proxy: KUBE_PROXY,
    targets: [address, ...endpointsOf(plan, address)],
    probes: probesFor(request, target, address),
    agent: agentCommand,
  };
}

/** Where the rules may lead: of a Service with very many endpoints, the first. */
function endpointsOf({ lookup, target }: Plan, address: string): string[] {
  const own = lookup.objects.endpoints.filter(one => one.service === target.service.name);
  const addresses = own.map(one => one.address).filter(one => familyOf(one) === familyOf(address));
  return [...new Set(addresses)].slice(0, MOST_TARGETS);
}

const MOST_TARGETS = 30;

function probesFor(request: LiveRequest, target: Target, address: string): ProbePlan[][] {
  const { timeout, path, udpData, count } = request;
  const scheme = request.scheme ?? (speaksTls(target.port, target.servicePort?.name ?? '') ? 'https' : 'http');
  const asked =
    target.protocol === 'udp'
      ? udpProbe(address, target.port, udpData, timeout)
      : curlProbe(address, target.port, { scheme, path, seconds: timeout });
  const again = Array.from({ length: count - 1 }, () => [asked]);
  return [[asked, pingProbe(address)], ...again];
}
