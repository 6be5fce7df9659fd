/** The story of one trace: rules in, probes out, evidence gathered, rules out again. Knows no cluster and no namespace, only a Site. */
import { type Capture, type CaptureProbe, markLeft } from './capture.ts';
import { TraceError } from './errors.ts';
import { type AgentOutput, newAgentOutput, readAgentLine } from './parse/agent-output.ts';
import { type AgentOrder, agentEnvironment } from './plan/agent.ts';
import type { ProbePlan } from './plan/probes.ts';
import type { Completed, Out, Running, Site } from './ports.ts';
import type { Undo } from './undo.ts';

export interface TraceOrder extends AgentOrder {
  /** Each after the other; those of one group at the same time. */
  probes: ProbePlan[][];
  /** The command that runs plugin/node-agent.sh. */
  agent: string[];
}

/** @param capture what is known already; gets everything that is gathered, also when the run fails half-way */
export async function collect(
  order: TraceOrder,
  site: Site,
  capture: Capture,
  undo: Undo,
  out: Out,
  signal: AbortSignal,
): Promise<void> {
  const output = newAgentOutput();
  out.step('putting the tracing rules in');
  const agent = startAgent(order, site, output, undo);
  try {
    await untilReady(agent, output, signal);
    out.step('tracing');
    await runProbes(order, site, capture, agent, signal);
    out.step('gathering evidence');
    agent.write('done\n');
    await finished(agent, output, signal);
  } finally {
    agent.write('leave\n');
    await agent.stop();
    if (!isReceipted(output)) await site.sweep?.(order.scope.run, line => readAgentLine(output, line));
    site.settled = isReceipted(output) && output.left.length === 0;
    keep(capture, output);
  }
  if (signal.aborted) throw new TraceError('interrupted', 'interrupted', undefined);
  if (output.failure !== undefined) throw gaveUp(output.failure);
}

function gaveUp(failure: string): TraceError {
  return new TraceError(
    'refused',
    `the node agent gave up: ${failure}`,
    'kubectl trace-svc doctor tells what the node has.',
  );
}

/** The agent read back that what it put in is gone, or it put nothing in. */
function isReceipted(output: AgentOutput): boolean {
  return output.removed.length > 0 || output.left.length > 0 || (output.failure !== undefined && !output.ready);
}

function startAgent(order: TraceOrder, site: Site, output: AgentOutput, undo: Undo): Running {
  let agent: Running | undefined;
  undo.add('end the node agent, which takes the tracing rules out', async () => agent?.stop());
  agent = site.node.start(order.agent, line => readAgentLine(output, line), { env: agentEnvironment(order) });
  return agent;
}

/** A node that is gone in the middle ends the probes: nobody would see their packets. */
async function runProbes(
  order: TraceOrder,
  site: Site,
  capture: Capture,
  agent: Running,
  signal: AbortSignal,
): Promise<void> {
  const gone = agent.done.then(
    () => {},
    () => {},
  );
  for (const group of order.probes) {
    if (signal.aborted) return;
    const all = Promise.all(group.map(probe => runProbe(probe, site, signal)));
    const results = await Promise.race([all, gone.then(() => undefined)]);
    if (!results) return;
    capture.probes.push(...results);
  }
}

/** nft reads every rule of the node before it listens: of a hundred thousand that takes some five seconds. */
const READY_MS = 40_000;

/** Resolves when the rules are in and the sources listen. @throws TraceError where that does not come about */
async function untilReady(agent: Running, output: AgentOutput, signal: AbortSignal): Promise<void> {
  let ended = false;
  const done = agent.done.then(result => {
    ended = true;
    return result;
  });
  const end = Date.now() + READY_MS;
  while (!output.ready) {
    if (signal.aborted) throw new TraceError('interrupted', 'interrupted', undefined);
    if (ended) {
      const { stderr, code } = await done;
      throw gaveUp(output.failure ?? (stderr.trim().split('\n').at(-1) || `exit code ${code}`));
    }
    if (Date.now() > end)
      throw new TraceError(
        'internal',
        `the node agent was not ready within ${READY_MS / 1000} s`,
        'Is the node overloaded? Its rules remove themselves.',
      );
    await Promise.race([done, pause(10)]);
  }
}

/** How long the node may take to gather its evidence. */
const FINISH_MS = 40_000;

async function finished(agent: Running, output: AgentOutput, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
  const cut = await Promise.race([
    agent.done.then(
      () => undefined,
      (error: Error) => error.message,
    ),
    aborted,
    pause(FINISH_MS),
  ]);
  if (typeof cut === 'string') output.losses.push(cut);
  if (!output.ended && !signal.aborted && output.failure === undefined)
    output.losses.push('the node agent did not finish: evidence may be missing');
}

/** Waits; but nothing waits for the waiting, when all else is done. */
function pause(ms: number): Promise<void> {
  return new Promise(resolve => {
    setTimeout(resolve, ms).unref();
  });
}

async function runProbe(probe: ProbePlan, site: Site, signal: AbortSignal): Promise<CaptureProbe> {
  const result = await site.pod.run(probe.argv, { timeoutMs: probe.timeout * 1000, signal });
  const { kind, target, argv } = probe;
  // Without curl nothing was asked; without ping the half of it that matters was.
  if ((result.code === 126 || result.code === 127) && kind !== 'ping') throw missingTool(probe, result);
  return {
    kind,
    target,
    argv,
    stdout: result.stdout.slice(0, 65_536),
    stderr: result.stderr.slice(0, 65_536),
    code: result.code,
    durationMs: Math.round(result.durationMs),
  };
}

/** A probe that was never sent says nothing of the network. */
function missingTool({ argv, kind }: ProbePlan, { stderr, stdout }: Completed): TraceError {
  const [program = ''] = argv;
  const what = program === 'sh' ? stderr.trim() || stdout.trim() : program;
  return new TraceError(
    'refused',
    `the probe has no ${what}, so ${kind} could not be sent`,
    'Use an image that has it: --image; a recipe is in plugin/image.',
  );
}

function keep(capture: Capture, output: AgentOutput): void {
  capture.node = { ...capture.node, tools: output.facts };
  if (output.facts.method !== undefined) capture.node.method = output.facts.method;
  if (output.facts.proxy_mode !== undefined) capture.node.proxyMode ??= output.facts.proxy_mode;
  if (output.facts.kernel !== undefined) capture.node.kernel = output.facts.kernel;
  for (const [name, lines] of output.traces) capture.traces.push({ name, text: `${lines.join('\n')}\n` });
  for (const { kind, name, lines } of output.sections) {
    const text = `${lines.join('\n')}\n`;
    if (kind === 'rules') capture.rules.push({ name, text });
    else if (kind === 'conntrack') capture.conntrack.push(text);
    else if (kind === 'ipset') capture.ipsets.push(text);
    else if (kind === 'ipvs') capture.ipvs.push(text);
    else if (kind === 'route') capture.routes.push(...lines);
  }
  capture.losses.push(...output.losses);
  if (output.unknown.length > 0)
    capture.losses.push(
      `${output.unknown.length} lines of the node agent make no sense, the first: ${output.unknown[0]?.slice(0, 120)}`,
    );
  capture.notes.push(...output.said);
  capture.cleanup.removed.push(...output.removed);
  markLeft(capture, output.left);
}
