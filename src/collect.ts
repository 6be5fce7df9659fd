/** The story of one trace: rules in, probes out, evidence gathered, rules out again. Knows no cluster and no namespace, only a Site. */
import type { Capture, CaptureProbe } from './capture.ts';
import { TraceError } from './errors.ts';
import { type AgentOutput, newAgentOutput, readAgentLine } from './parse/agent-output.ts';
import type { ProbePlan } from './plan/probes.ts';
import { nftCommands, type RawCommands, rawRules, type TraceScope } from './plan/rules.ts';
import type { Out, Running, Site } from './ports.ts';
import type { Undo } from './undo.ts';

export interface TraceOrder {
  scope: TraceScope;
  /** Seconds the node's guard gives us. */
  seconds: number;
  method: { kind: 'nft' } | { kind: 'raw'; commands: RawCommands };
  log: 'nflog' | 'kmsg' | 'none';
  /** Each after the other; those of one group at the same time. */
  probes: ProbePlan[][];
  /** The text of plugin/node-agent.sh. */
  agent: string;
}

/** Trace lines of one source before it is cut off. */
const BUDGET = 20_000;

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
  const agent = startAgent(order, site, output, undo);
  try {
    await untilReady(agent, output, signal);
    out.say('tracing');
    for (const group of order.probes) {
      if (signal.aborted) break;
      capture.probes.push(...(await Promise.all(group.map(probe => runProbe(probe, site, signal)))));
    }
    agent.write('done\n');
    await finished(agent, output, signal);
  } finally {
    await agent.stop();
    keep(capture, output, order);
  }
  if (signal.aborted) throw new TraceError('interrupted', 'interrupted', undefined);
  if (output.failure !== undefined)
    throw new TraceError(
      'internal',
      `the node agent gave up: ${output.failure}`,
      'Run with -v to see everything it said.',
    );
}

function startAgent(order: TraceOrder, site: Site, output: AgentOutput, undo: Undo): Running {
  const { scope, method } = order;
  const env = {
    TS_RUN: scope.run,
    TS_DEADLINE: String(order.seconds),
    TS_NFT: method.kind === 'nft' ? nftCommands(scope).join('\n') : '',
    TS_RAW: method.kind === 'raw' ? rawRules(scope, method.commands).join('\n') : '',
    TS_LOG: order.log,
    TS_BUDGET: String(BUDGET),
    TS_PODS: scope.podIps.join(' '),
  };
  let agent: Running | undefined;
  undo.add('end the node agent, which takes the tracing rules out', async () => agent?.stop());
  agent = site.node.start(['sh', '-c', order.agent], line => readAgentLine(output, line), { env });
  return agent;
}

const READY_MS = 15_000;

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
      throw new TraceError(
        'refused',
        `the node agent ended before it was ready: ${output.failure ?? (stderr.trim().split('\n').at(-1) || `exit code ${code}`)}`,
        'The node may lack a tool or a kernel module: kubectl trace-svc doctor tells.',
      );
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
const FINISH_MS = 20_000;

async function finished(agent: Running, output: AgentOutput, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([agent.done, aborted, pause(FINISH_MS)]);
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

function keep(capture: Capture, output: AgentOutput, order: TraceOrder): void {
  capture.node = { ...capture.node, method: order.method.kind, tools: output.facts };
  if (output.facts.kernel !== undefined) capture.node.kernel = output.facts.kernel;
  for (const [name, lines] of output.traces) capture.traces.push({ name, text: `${lines.join('\n')}\n` });
  for (const { kind, name, lines } of output.sections) {
    const text = `${lines.join('\n')}\n`;
    if (kind === 'rules') capture.rules.push({ name, text });
    else if (kind === 'conntrack') capture.conntrack.push(text);
    else if (kind === 'ipset') capture.ipsets.push(text);
    else if (kind === 'ipvs') capture.ipvs.push(text);
  }
  capture.losses.push(...output.losses);
  capture.cleanup.removed.push(...output.removed);
  if (output.left.length > 0) capture.cleanup = { ...capture.cleanup, complete: false, left: output.left };
}
