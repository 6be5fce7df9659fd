/** Capture -> Report: parse, reconstruct, explain. Traces may also be fed in chunks, so that a file need not fit into memory. */
import type { Capture, CaptureProbe } from './capture.ts';
import { completenessOf, SAMPLES, type Seen } from './completeness.ts';
import { createNames, type ExplainContext } from './explain/context.ts';
import { explain } from './explain/explain.ts';
import { addMeanings } from './explain/meaning.ts';
import type { Probe, Report, Ruleset, TraceEvent } from './model.ts';
import { parseConntrack } from './parse/conntrack.ts';
import { parseIptablesSave } from './parse/iptables-save.ts';
import { parseIpset, parseIpvs } from './parse/ipvs.ts';
import { createLineSplitter } from './parse/lines.ts';
import { parseNftRuleset } from './parse/nft-ruleset.ts';
import { readNodeFacts } from './parse/node-facts.ts';
import { parseProbeOutput } from './parse/probe-output.ts';
import { parseRoutes } from './parse/routes.ts';
import { createTraceReader, type TraceSink } from './parse/trace.ts';
import { type Reconstruction, reconstruct } from './reconstruct/journeys.ts';
import { createLegacyPasses } from './reconstruct/legacy-passes.ts';
import { createNftPasses } from './reconstruct/nft-passes.ts';
import type { Pass } from './reconstruct/pass.ts';
import { isPodInterface } from './reconstruct/pod-interface.ts';
import { createShapes } from './reconstruct/shape.ts';
import { reportOf } from './report.ts';
import { createRuleBook } from './rules/book.ts';
import { createPassStore, type PassStore } from './store.ts';

export interface TraceInput {
  push(chunk: string): void;
  end(): void;
}

export interface Analysis {
  /** Opens an input. Its lines are numbered, and named in the evidence, by this name. */
  input(name: string): TraceInput;
  /** What the inputs held so far, put together; `report` does it by itself. */
  reconstruct(): Reconstruction;
  report(): Report;
  /** Trace lines understood so far. */
  events(): number;
  /** Who sent the packets that were seen, each address once. */
  senders(): string[];
}

export function analyse(capture: Capture): Report {
  const analysis = createAnalysis(capture);
  for (const trace of capture.traces) {
    const input = analysis.input(trace.name);
    input.push(trace.text);
    input.end();
  }
  return analysis.report();
}

const MOST_SENDERS = 50;

export function createAnalysis(capture: Capture): Analysis {
  const context = contextOf(capture);
  const store = createPassStore(context.podIps);
  const names: string[] = [];
  const senders = new Set<string>();
  const seen: Seen = { events: 0, unrecognised: 0, samples: [], losses: [] };
  const shapes = createShapes();
  let order = 0;
  const next = () => order++;
  const analysis: Analysis = {
    events: () => seen.events,
    senders: () => [...senders],
    input(name) {
      const legacy = createLegacyPasses(store, next, shapes);
      const nft = createNftPasses(store, next, context.book, shapes);
      const push = (event: TraceEvent) => {
        if (event.header && senders.size < MOST_SENDERS) senders.add(event.header.tuple.src);
        (event.point.backend === 'legacy' ? legacy : nft).push(event);
      };
      const source = names.push(name) - 1;
      const reader = createTraceReader(source, sinkOf(seen, push, nft.beside));
      const lines = createLineSplitter(reader.line, (bytes, line) =>
        seen.losses.push({ reason: `${bytes} zero bytes stand where lines were, as after a power loss`, source, line }),
      );
      return {
        push: lines.push,
        end() {
          for (const part of [lines, reader, legacy, nft]) part.end();
        },
      };
    },
    reconstruct: () => reconstructFrom(store, names, capture, context),
    report() {
      const reconstruction = analysis.reconstruct();
      const completeness = completenessOf(reconstruction, seen, store.notKept, capture, names, context.book);
      const explanation = explain(reconstruction, readProbes(capture), completeness, context);
      return reportOf(capture, explanation, names);
    },
  };
  return analysis;
}

function contextOf(capture: Capture): ExplainContext {
  const book = createRuleBook(capture.rules.flatMap(readRules), capture.ipsets.flatMap(parseIpset));
  return {
    book,
    objects: capture.objects,
    conntrack: capture.conntrack.flatMap(parseConntrack),
    ipvs: capture.ipvs.flatMap(parseIpvs),
    podIps: capture.source?.ips ?? [],
    names: createNames(capture.objects, book),
    routes: parseRoutes(capture.routes),
    // A run asked for the Service's slices; of a file nobody knows what it leaves out, unless it has some.
    slicesKnown: capture.origin !== 'files' || capture.objects.endpoints.length > 0,
    kernel: readNodeFacts(capture.node?.tools),
    live: capture.origin === 'live',
  };
}

function sinkOf(seen: Seen, push: (event: TraceEvent) => void, beside: (event: TraceEvent) => boolean): TraceSink {
  return {
    event(event) {
      seen.events++;
      push(event);
    },
    unrecognised(line) {
      seen.unrecognised++;
      if (seen.samples.length < SAMPLES) seen.samples.push(line);
    },
    loss: loss => seen.losses.push(loss),
    beside(event) {
      const known = beside(event);
      if (known) seen.events++;
      return known;
    },
    other() {},
  };
}

function reconstructFrom(
  { passes, mayRepeat }: PassStore,
  sourceNames: string[],
  capture: Capture,
  context: ExplainContext,
): Reconstruction {
  const { book, conntrack, names, objects } = context;
  const node = capture.source?.node ?? nodeOf(passes, context);
  return reconstruct(passes, mayRepeat, {
    book,
    conntrack,
    isServer: (address, port) =>
      names.isServiceAddress(address) ||
      (port !== undefined && names.service(address, port, 'tcp')?.port !== undefined),
    isPodInterface: isPodInterface(passes, objects, node),
    sourceNames,
    annotate: journey => addMeanings(journey, context),
  });
}

/** The node the trace was taken on is the one whose pod sent its packets into it. */
function nodeOf(passes: Pass[], { names }: ExplainContext): string | undefined {
  for (const { headers } of passes) {
    const [header] = headers;
    const node = header && names.pod(header.tuple.src)?.node;
    if (node !== undefined && header && !names.isServiceAddress(header.tuple.src)) return node;
  }
  return undefined;
}

function readRules({ text, name }: Capture['rules'][number]): Ruleset[] {
  const nft = parseNftRuleset(text, name);
  return [...parseIptablesSave(text, name), ...(nft ? [nft] : [])];
}

function readProbes(capture: Capture): Probe[] {
  return [...capture.probes.map(readProbe), ...parseProbeOutput(capture.probeTexts)];
}

/**
 * What we ran ourselves we know by name; only its outcome is read from its output. A server's own words, on curl's standard
 * output, are not among what is read: they could say anything.
 */
function readProbe({ kind, target, code, durationMs, stdout, stderr }: CaptureProbe): Probe {
  if (kind === 'udp') return { kind, target, durationMs, ...udpOutcome(code, stdout) };
  const said = kind === 'curl' ? stderr : `${stdout}\n${stderr}`;
  const read = parseProbeOutput([`${said}\n${code}`]).find(probe => probe.kind === kind);
  const outcome = read?.outcome ?? (code === 0 ? 'answered' : 'error');
  return { ...read, kind, target, outcome, detail: read?.detail ?? `ended with ${code}`, durationMs };
}

/** By the codes plan/probes.ts has its script end with. */
function udpOutcome(code: number, stdout: string): Pick<Probe, 'outcome' | 'detail'> {
  if (code === 0) return { outcome: 'answered', detail: `answered ${JSON.stringify(stdout.trim().slice(0, 60))}` };
  if (code === 7) return { outcome: 'refused', detail: 'the port was said to be closed' };
  if (code === 28 || code === 124) return { outcome: 'timeout', detail: 'no answer came' };
  return code === 113
    ? { outcome: 'unreachable', detail: 'the destination was said to be unreachable' }
    : { outcome: 'error', detail: `ended with ${code}` };
}
