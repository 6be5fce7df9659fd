/** Request -> exit code: gather or load, analyse, render. Imports no effect; the edge hands them in. */

import { createAnalysis } from './analyse.ts';
import { type Capture, encodeCapture } from './capture.ts';
import { EXIT, TraceError } from './errors.ts';
import { contextOf, explainFiles, nameOf } from './explain-files.ts';
import type { FindingKind, Report } from './model.ts';
import type { Files, Out } from './ports.ts';
import { render } from './render/render.ts';
import { styleFor, type Terminal } from './render/style.ts';
import type { ExplainRequest, OutputRequest } from './request.ts';

export interface Deps {
  files: Files;
  out: Out;
  /** Asked for when there is something to print: Node opens standard output only then. */
  terminal(): Terminal;
  signal: AbortSignal;
}

export async function runExplain(request: ExplainRequest, given: Deps): Promise<number> {
  const deps = { ...given, files: heeding(given.files, given.signal) };
  if (request.follow) return followExplain(request, deps);
  const { report, capture } = await explainFiles(request, deps.files);
  return finish(report, capture, request, deps);
}

/** Whatever is read, a signal ends the waiting for it. */
function heeding(files: Files, signal: AbortSignal): Files {
  return { ...files, chunks: path => files.chunks(path, signal), read: path => files.read(path, signal) };
}

/** Saves, prints, and says by the exit code what came of it. */
export async function finish(report: Report, capture: Capture, request: OutputRequest, deps: Deps): Promise<number> {
  if (request.save !== undefined) {
    await deps.files.write(request.save, encodeCapture(capture));
    deps.out.say(`saved: ${request.save} (replay it with: kubectl trace-svc explain ${request.save})`);
  }
  deps.out.result(render(report, request.format, styleFor(deps.terminal())));
  return exitCode(report);
}

/** docs/exit-codes.md. What was found wins over what is missing: a finding rests on evidence that is there. */
export function exitCode(report: Report): number {
  if (!report.cleanup.complete) return EXIT.cleanupIncomplete;
  if (report.findings.some(finding => finding.severity === 'error')) return EXIT.notAnswered;
  const missing = new Set<FindingKind>(['TraceIncomplete', 'NetfilterSawNothing']);
  if (report.findings.some(finding => missing.has(finding.kind) && finding.severity === 'warning'))
    return EXIT.incomplete;
  const asked = report.probes.filter(probe => probe.kind !== 'ping' && probe.kind !== 'packet');
  const failed = asked.some(probe => probe.outcome !== 'answered' && probe.outcome !== 'unknown');
  return failed ? EXIT.notAnswered : EXIT.answered;
}

/** Nothing new for this long: what was collected so far is a story of its own. */
const QUIET_MS = 800;

async function followExplain(request: ExplainRequest, deps: Deps): Promise<number> {
  const path = request.files[0] as string;
  const context = await contextOf(request, deps.files);
  const lines = path === '-' ? deps.files.chunks('-') : deps.files.follow(path, deps.signal);
  let batch = openBatch(context, path);
  let code: number = EXIT.answered;
  const flush = (): void => {
    const report = batch.end();
    if (report) {
      deps.out.result(render(report, request.format, styleFor(deps.terminal())));
      code = exitCode(report);
    }
    batch = openBatch(context, path);
  };
  let timer: NodeJS.Timeout | undefined;
  try {
    for await (const chunk of lines) {
      batch.push(chunk);
      clearTimeout(timer);
      timer = setTimeout(flush, QUIET_MS);
      if (batch.events() > 50_000) flush();
    }
  } catch (error) {
    // What follows a log ends by a signal: what came until then is still told.
    if (!(error instanceof TraceError && error.kind === 'interrupted')) throw error;
  }
  clearTimeout(timer);
  flush();
  return deps.signal.aborted ? EXIT.interrupted : code;
}

function openBatch(context: Capture, path: string) {
  const analysis = createAnalysis(context);
  const input = analysis.input(nameOf(path));
  return {
    push: input.push,
    events: analysis.events,
    end(): Report | undefined {
      input.end();
      return analysis.events() === 0 ? undefined : analysis.report();
    },
  };
}
