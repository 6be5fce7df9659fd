/** The `lab` command: run it if this machine can, else replay a recorded one, saying so. */
import { analyse } from './analyse.ts';
import { type Capture, decodeCapture, markLeft } from './capture.ts';
import { TraceError } from './errors.ts';
import type { Mode, Scenario } from './lab/scenarios.ts';
import { findScenario, SCENARIOS } from './lab/scenarios.ts';
import type { LabRequest } from './request.ts';
import { type Deps, finish } from './run.ts';
import { createUndo, thenUndo } from './undo.ts';

/** What the edge knows of this machine. */
export interface LabDeps extends Deps {
  /** @throws TraceError(refused) where this machine cannot */
  run(scenario: Scenario, mode: Mode, keep: boolean, undo: ReturnType<typeof createUndo>): Promise<Capture>;
  /** Where none is asked for: those to try, in this order. */
  modes: Mode[];
  /** The recorded capture of a scenario. */
  recorded(scenario: string): Promise<string>;
}

export async function runLabCommand(request: LabRequest, deps: LabDeps): Promise<number> {
  if (request.list) {
    deps.out.result(listScenarios());
    return 0;
  }
  const capture = request.recorded ? await replay(request, deps) : await runOrReplay(request, deps);
  return finish(analyse(capture), capture, request, deps);
}

function listScenarios(): string {
  const width = Math.max(...SCENARIOS.map(s => s.name.length)) + 2;
  return `${SCENARIOS.map(s => `${s.name.padEnd(width)}${s.about}`).join('\n')}\n`;
}

async function runOrReplay(request: LabRequest, deps: LabDeps): Promise<Capture> {
  const modes = request.mode === undefined ? deps.modes : [request.mode];
  let refusal: TraceError | undefined;
  for (const mode of modes) {
    try {
      return await runOnce(request, mode, deps);
    } catch (error) {
      if (!(error instanceof TraceError) || error.kind !== 'refused') throw error;
      refusal ??= error;
      deps.out.say(`not in mode ${mode}: ${error.message}`);
    }
  }
  if (refusal?.remedy !== undefined) deps.out.say(`  ${refusal.remedy}`);
  return replay(request, deps);
}

async function runOnce(request: LabRequest, mode: Mode, deps: LabDeps): Promise<Capture> {
  const undo = createUndo();
  const [capture, left] = await thenUndo(undo, 'kubectl trace-svc cleanup tries again.', () =>
    deps.run(findScenario(request.scenario) as Scenario, mode, request.keep, undo),
  );
  markLeft(capture, left);
  return capture;
}

async function replay(request: LabRequest, deps: LabDeps): Promise<Capture> {
  const instead = request.recorded ? '' : ' instead';
  deps.out.say(`replaying a recorded run of ${request.scenario}${instead}: nothing happens on this machine`);
  const text = await deps.recorded(request.scenario);
  const capture = decodeCapture(JSON.parse(text), `the recorded run of ${request.scenario}`);
  return {
    ...capture,
    notes: [
      ...capture.notes,
      `Recorded ${capture.startedAt ?? 'earlier'} on Linux ${capture.node?.kernel ?? ''}, not on this machine.`,
    ],
  };
}
