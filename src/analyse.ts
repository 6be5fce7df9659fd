/** Capture -> Report: parse, reconstruct, explain. Traces may also be fed in chunks, so that a file need not fit into memory. */
import type { Capture, CaptureProbe } from './capture.ts';
import { API_VERSION } from './capture.ts';
import { createNames, type ExplainContext } from './explain/context.ts';
import { type Explanation, explain } from './explain/explain.ts';
import { addMeanings } from './explain/meaning.ts';
import { emptyObjects } from './kube/objects.ts';
import type { Backend, Hop, Loss, Probe, Report, TraceEvent, Unrecognised } from './model.ts';
import { parseConntrack } from './parse/conntrack.ts';
import { parseIptablesSave } from './parse/iptables-save.ts';
import { parseIpset, parseIpvs } from './parse/ipvs.ts';
import { createLineSplitter } from './parse/lines.ts';
import { parseNftRuleset } from './parse/nft-ruleset.ts';
import { parseProbeOutput } from './parse/probe-output.ts';
import { createTraceReader } from './parse/trace.ts';
import { type Reconstruction, reconstruct } from './reconstruct/journeys.ts';
import { createLegacyPasses } from './reconstruct/legacy-passes.ts';
import { createNftPasses } from './reconstruct/nft-passes.ts';
import { eventsOf, type Pass } from './reconstruct/pass.ts';
import { isPodInterface } from './reconstruct/pod-interface.ts';
import { createShapes } from './reconstruct/shape.ts';
import { createRuleBook, type RuleBook } from './rules/book.ts';
import { createPassStore } from './store.ts';

export interface TraceInput {
  push(chunk: string): void;
  end(): void;
}

export interface Analysis {
  /** Opens an input. Its lines are numbered, and named in the evidence, by this name. */
  input(name: string): TraceInput;
  report(): Report;
  /** Trace lines understood so far. */
  events(): number;
}

const SAMPLES = 20;

export function analyse(capture: Capture): Report {
  const analysis = createAnalysis(capture);
  for (const trace of capture.traces) {
    const input = analysis.input(trace.name);
    input.push(trace.text);
    input.end();
  }
  return analysis.report();
}

export function createAnalysis(capture: Capture): Analysis {
  const book = createRuleBook(readRules(capture), capture.ipsets.flatMap(parseIpset));
  const podIps = capture.source?.ips ?? [];
  const store = createPassStore(podIps);
  const names: string[] = [];
  const seen = {
    events: 0,
    unrecognised: 0,
    samples: [] as Unrecognised[],
    losses: [] as Loss[],
    backends: new Set<Backend>(),
  };
  const shapes = createShapes();
  let order = 0;
  const next = () => order++;
  return {
    events: () => seen.events,
    input(name) {
      const source = names.push(name) - 1;
      const legacy = createLegacyPasses(store, next, shapes);
      const nft = createNftPasses(store, next, book, shapes);
      const reader = createTraceReader(source, {
        event(event: TraceEvent) {
          seen.events++;
          (event.point.backend === 'legacy' ? legacy : nft).push(event);
        },
        unrecognised(line) {
          seen.unrecognised++;
          if (seen.samples.length < SAMPLES) seen.samples.push(line);
        },
        loss: loss => seen.losses.push(loss),
        other() {},
      });
      const lines = createLineSplitter((text, number) => reader.line(text, number));
      return {
        push: lines.push,
        end() {
          lines.end();
          reader.end();
          legacy.end();
          nft.end();
        },
      };
    },
    report() {
      const context: ExplainContext = {
        book,
        objects: capture.objects ?? emptyObjects(),
        conntrack: capture.conntrack.flatMap(parseConntrack),
        ipvs: capture.ipvs.flatMap(parseIpvs),
        podIps,
        names: createNames(capture.objects ?? emptyObjects(), book),
      };
      const reconstruction = reconstruct(store.passes, store.mayRepeat, {
        book,
        conntrack: context.conntrack,
        isServer: (address, port) =>
          context.names.isServiceAddress(address) ||
          (port !== undefined && context.names.service(address, port, 'tcp')?.port !== undefined),
        isPodInterface: isPodInterface(
          store.passes,
          context.objects,
          capture.source?.node ?? nodeOf(store.passes, context),
        ),
        sourceNames: names,
        annotate: journey => addMeanings(journey, context),
      });
      const completeness = completenessOf(reconstruction, seen, store.notKept, capture, names);
      completeness.checkedAgainst = checkedAgainst(reconstruction, book);
      completeness.complete = completeness.checkedAgainst === 'rules' && !hasSigns(completeness);
      const explanation = explain(reconstruction, readProbes(capture), completeness, context);
      return reportOf(capture, explanation, completeness, names);
    },
  };
}

/** The node the trace was taken on is the one whose pod sent its packets into it. */
function nodeOf(passes: Pass[], context: ExplainContext): string | undefined {
  for (const { headers } of passes) {
    const [header] = headers;
    const node = header && context.names.pod(header.tuple.src)?.node;
    if (node !== undefined && header && !context.names.isServiceAddress(header.tuple.src)) return node;
  }
  return undefined;
}

function readRules(capture: Capture) {
  return capture.rules.flatMap(({ text, name }) => {
    const nft = parseNftRuleset(text, name);
    return [...parseIptablesSave(text, name), ...(nft ? [nft] : [])];
  });
}

function readProbes(capture: Capture): Probe[] {
  return [...capture.probes.map(readProbe), ...parseProbeOutput(capture.probeTexts)];
}

/** What we ran ourselves we know by name; only its outcome is read from its output. */
function readProbe(run: CaptureProbe): Probe {
  const read = parseProbeOutput([`${run.stdout}\n${run.stderr}\n${run.code}`]).find(probe => probe.kind === run.kind);
  const outcome = read?.outcome ?? (run.code === 0 ? 'answered' : 'error');
  return {
    ...read,
    kind: run.kind,
    target: run.target,
    outcome,
    detail: read?.detail ?? `ended with ${run.code}`,
    durationMs: run.durationMs,
  };
}

function completenessOf(
  reconstruction: Reconstruction,
  seen: { events: number; unrecognised: number; samples: Unrecognised[]; losses: Loss[] },
  notKept: number,
  capture: Capture,
  names: string[],
): Report['completeness'] {
  const at = (source: number, line: number) => `${names[source] ?? source}:${line}`;
  const lost = seen.losses.reduce((sum, loss) => sum + (loss.count ?? 1), 0) + capture.losses.length;
  const reasons = [
    ...capture.losses,
    ...seen.losses.slice(0, SAMPLES).map(loss => `${at(loss.source, loss.line)}: ${loss.reason}`),
  ];
  if (reconstruction.headless > 0) reasons.push(`${reconstruction.headless} packets have no header line`);
  if (notKept > 0)
    reasons.push(`the trace is long: ${notKept} packets were counted but not kept; narrow it with --pod-ip`);
  return {
    complete: false,
    lost,
    gaps: reconstruction.gaps,
    duplicates: reconstruction.duplicates,
    unrecognised: {
      count: seen.unrecognised,
      samples: seen.samples.map(({ source, line, raw, reason }) => ({ line: at(source, line), raw, reason })),
    },
    reasons,
    checkedAgainst: 'structure',
    events: seen.events,
    packetsNotKept: notKept,
  };
}

/** Something was lost, or may have been: more than that nobody could check. */
function hasSigns(completeness: Report['completeness']): boolean {
  const { lost, gaps, unrecognised, packetsNotKept, reasons } = completeness;
  return lost > 0 || gaps > 0 || unrecognised.count > 0 || packetsNotKept > 0 || reasons.length > 0;
}

/** Every step was checked if the rules of every backend that has any are known. */
function checkedAgainst(reconstruction: Reconstruction, book: RuleBook): 'rules' | 'structure' {
  const checked = new Map<unknown, boolean>();
  const unknown = (pass: Pass | undefined): boolean => {
    if (!pass?.headers[0] || book.covers(pass.backend, pass.headers[0].family)) return false;
    const key = pass.shape ?? pass;
    const known = checked.get(key) ?? isEmpty(pass);
    checked.set(key, known);
    return !known;
  };
  return reconstruction.traced.some(({ packet }) => unknown(packet.legacy) || unknown(packet.nft))
    ? 'structure'
    : 'rules';
}

/** `policy:1`: the chain has no rules, so there are none to know. */
function isEmpty(pass: Pass): boolean {
  return eventsOf(pass).every(({ point }) => point.kind === 'policy' && point.number === 1);
}

function reportOf(
  capture: Capture,
  explanation: Explanation,
  completeness: Report['completeness'],
  sources: string[],
): Report {
  const { probes, journeys, findings, divergences } = explanation;
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
    notes:
      explanation.omitted > 0
        ? [...capture.notes, `${explanation.omitted} more packets went like those shown; they are counted, not listed`]
        : capture.notes,
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
