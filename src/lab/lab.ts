/** The `lab` command's story: namespaces up, the same trace as on a cluster, namespaces gone. */
import { type Capture, emptyCapture } from '../capture.ts';
import { collect, type TraceOrder } from '../collect.ts';
import { TraceError } from '../errors.ts';
import { curlProbe, type ProbePlan, pingProbe, speaksTls } from '../plan/probes.ts';
import type { Out } from '../ports.ts';
import type { Undo } from '../undo.ts';
import { LAB_CERTIFICATE, LAB_KEY } from './certificate.ts';
import { type Holder, startHolder } from './holder.ts';
import { type Mode, objectsOf, type Scenario, senderOf, serviceOf } from './scenarios.ts';
import { SERVER } from './server.ts';
import { buildScript, interfaceOf } from './topology.ts';

export interface LabOrder {
  run: string;
  scenario: Scenario;
  mode: Mode;
  keep: boolean;
  root: boolean;
  /** The Node that runs us: it also runs what listens in the pods. */
  node: string;
  agent: string;
}

const SECONDS = 40;

export async function runLab(order: LabOrder, undo: Undo, out: Out, signal: AbortSignal): Promise<Capture> {
  const { scenario, mode } = order;
  const capture = newCapture(order);
  let holder: Holder | undefined;
  if (!order.keep) undo.add('remove the network namespaces', async () => holder?.stop());
  out.step(`building ${scenario.name} (${mode}) from network namespaces`);
  holder = await startHolder(order.run, order.root, order.keep);
  await build(holder, order, signal);
  const site = { node: holder.shell('n1'), pod: holder.shell(senderOf(scenario).name) };
  await collect(traceOrder(order), site, capture, undo, out, signal);
  // A setting of the lab's own namespace, which nobody else ever had.
  capture.cleanup.removed = capture.cleanup.removed.filter(what => !what.includes('nf_log'));
  capture.notes.push(scenario.lesson);
  if (order.keep) capture.notes.push(...hints(holder, order));
  else capture.cleanup.removed.push('all network namespaces');
  return capture;
}

function newCapture({ scenario, mode }: LabOrder): Capture {
  const sender = senderOf(scenario);
  const service = serviceOf(scenario);
  const capture = emptyCapture('lab', objectsOf(scenario));
  capture.startedAt = new Date().toISOString();
  capture.target = { namespace: 'default', service: service.name, port: service.ports[0]?.port ?? 80 };
  capture.source = { namespace: 'default', pod: sender.name, ips: [sender.address], node: sender.node };
  capture.node = { name: sender.node, proxyMode: mode === 'nftables' ? 'nftables' : 'iptables' };
  return capture;
}

async function build(holder: Holder, order: LabOrder, signal: AbortSignal): Promise<void> {
  const env = { TS_NODE: order.node, TS_SERVER: SERVER, TS_KEY: LAB_KEY, TS_CERT: LAB_CERTIFICATE };
  const result = await holder
    .shell()
    .run(['sh', '-c', buildScript(order.scenario, order.mode)], { env, timeoutMs: 20_000, signal });
  if (signal.aborted) throw new TraceError('interrupted', 'interrupted');
  if (result.code === 0) return;
  const why = result.code === 124 ? 'it took more than 20 s' : result.stderr.trim().split('\n').slice(-2).join('; ');
  throw new TraceError(
    'refused',
    `the lab cannot be built on this machine: ${why}`,
    'The kernel may lack a netfilter module. Try another --mode, or --recorded.',
  );
}

function traceOrder(order: LabOrder): TraceOrder {
  const { scenario, mode } = order;
  const service = serviceOf(scenario);
  const address = scenario.ask?.address ?? (service.clusterIPs[0] as string);
  const port = scenario.ask?.port ?? service.ports[0]?.port ?? 80;
  const scheme = speaksTls(port, service.ports[0]?.name ?? '') ? 'https' : 'http';
  const curl = curlProbe(address, port, { scheme, path: '/', seconds: 3 });
  const again: ProbePlan[][] = Array.from({ length: (scenario.count ?? 1) - 1 }, () => [curl]);
  return {
    scope: {
      run: order.run,
      podIps: [senderOf(scenario).address],
      ports: [{ protocol: 'tcp', port }],
    },
    seconds: SECONDS,
    method: mode === 'legacy' ? 'raw' : 'nft',
    // Only legacy tables write lines of their own; on an nft node there are none.
    log: mode === 'legacy' || mode === 'mixed' ? 'nflog' : 'none',
    probes: [[curl, pingProbe(address)], ...again],
    agent: ['sh', '-c', order.agent],
    targets: [address],
  };
}

function hints(holder: Holder, { scenario, mode, root }: LabOrder): string[] {
  const enter = `nsenter --target ${holder.pid} --mount --pid${root ? '' : ' --user --preserve-credentials'}`;
  const inside = (namespace: string, command: string) => `${enter} nsenter --net=/run/netns/${namespace} ${command}`;
  const rules =
    mode === 'nftables'
      ? 'nft list table ip kube-proxy'
      : `${mode === 'nft' ? 'iptables-nft' : 'iptables-legacy'} -t nat -S`;
  const service = serviceOf(scenario);
  return [
    'The lab is kept for a day. Look around:',
    `  ${inside('n1', rules)}`,
    `  ${inside('n1', `conntrack -L`)}`,
    `  ${inside(senderOf(scenario).name, `curl http://${scenario.ask?.address ?? service.clusterIPs[0]}:${scenario.ask?.port ?? service.ports[0]?.port}/`)}`,
    `  ${inside('n1', `tcpdump -ni ${interfaceOf(senderOf(scenario).name)}`)}`,
    'Remove it: kubectl trace-svc cleanup',
  ];
}
