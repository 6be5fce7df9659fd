/** The report's head: whose Service was asked, by whom, on which node. Everything else in it is there already. */
import type { Capture } from './capture.ts';
import type { Explanation } from './explain/explain.ts';
import type { Hop, Report } from './model.ts';
import { API_VERSION } from './version.ts';

/** @param sources names of the inputs */
export function reportOf(capture: Capture, explanation: Explanation, sources: string[]): Report {
  const { probes, journeys, findings, divergences, completeness } = explanation;
  const backends = [...new Set(journeys.flatMap(journey => journey.hops.map(hop => hop.backend)))].sort();
  const report: Report = {
    apiVersion: API_VERSION,
    kind: 'ServiceTrace',
    source: sourceOf(capture, explanation),
    node: { backends, sources },
    probes,
    journeys,
    divergences,
    findings,
    completeness,
    cleanup: capture.cleanup,
    notes: [...capture.notes, ...notesOn(explanation)],
  };
  const target = targetOf(capture, explanation);
  if (target) report.target = target;
  const proxyMode = capture.node?.proxyMode ?? proxyModeOf(journeys);
  if (proxyMode !== undefined) report.node.proxyMode = proxyMode;
  if (capture.node?.name !== undefined) report.node.name = capture.node.name;
  if (capture.node?.kernel !== undefined) report.node.kernel = capture.node.kernel;
  if (capture.node?.method !== undefined) report.node.method = capture.node.method;
  return report;
}

function notesOn({ omitted, counted }: Explanation): string[] {
  const more = (count: number, what: string) =>
    count > 0 ? [`${count} more ${what} went like those shown; they are counted, not listed`] : [];
  return [...more(counted, 'questions of other clients'), ...more(omitted, 'packets')];
}

function sourceOf(capture: Capture, explanation: Explanation): Report['source'] {
  const { source } = capture;
  const first = explanation.cases[0]?.connections[0]?.connection.original.src;
  const ip = source?.ips[0] ?? first;
  const pod = capture.objects.pods.find(p => ip !== undefined && p.ips.includes(ip));
  const found: Report['source'] = {};
  const name = source?.pod ?? pod?.name;
  const namespace = source?.namespace ?? pod?.namespace;
  const node = source?.node ?? pod?.node;
  if (name !== undefined) found.pod = name;
  if (namespace !== undefined) found.namespace = namespace;
  if (ip !== undefined) found.ip = ip;
  if (node !== undefined) found.node = node;
  return found;
}

/** The Service that was asked for, or else the one that every probe of the trace turned out to ask. */
function targetOf(capture: Capture, explanation: Explanation): Report['target'] {
  const matches = explanation.cases.flatMap(one => one.connections.flatMap(connection => connection.service ?? []));
  const asked = capture.target;
  const service = asked
    ? capture.objects.services.find(s => s.namespace === asked.namespace && s.name === asked.service)
    : matches.every(match => match.service === matches[0]?.service)
      ? matches[0]?.service
      : undefined;
  if (!service) return undefined;
  const port = service.ports.find(p => p.port === asked?.port) ?? matches.find(match => match.port)?.port;
  const endpoints = capture.objects.endpoints.filter(
    e => e.namespace === service.namespace && e.service === service.name && (!port || e.portName === port.name),
  );
  return {
    namespace: service.namespace,
    service: service.name,
    type: service.type,
    ...(port ? { port: { name: port.name, number: port.port, protocol: port.protocol } } : {}),
    clusterIPs: service.clusterIPs,
    endpoints: endpoints.map(({ address, port: number, pod, node, ready }) => ({
      address,
      port: number,
      ...(pod === undefined ? {} : { pod }),
      ...(node === undefined ? {} : { node }),
      ready,
    })),
  };
}

function proxyModeOf(journeys: { hops: Hop[] }[]): string | undefined {
  const hops = journeys.flatMap(journey => journey.hops);
  if (hops.some(hop => hop.table === 'kube-proxy')) return 'nftables';
  if (hops.some(hop => hop.chain === 'KUBE-IPVS-FILTER')) return 'ipvs';
  return hops.some(hop => /^KUBE-(SERVICES|SVC-|SEP-)/.test(hop.chain)) ? 'iptables' : undefined;
}
