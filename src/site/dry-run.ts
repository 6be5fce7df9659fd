/** `--dry-run`: every manifest and every command of a run, as they would be sent. Read from the API; nothing is made. */
import type { TraceOrder } from '../collect.ts';
import { hostPort } from '../ip.ts';
import { agentEnvironment } from '../plan/agent.ts';
import { AGENT_COMMAND, agentPod, ephemeralContainer, type Manifest, probePod } from '../plan/pods.ts';
import { RAW_STAYS } from '../plan/rules.ts';
import { shellWord } from '../plan/shell-word.ts';
import type { Target } from '../plan/target.ts';
import { stringifyYaml } from '../yaml.ts';
import type { OpenOrder } from './open.ts';

export function describeRun(order: OpenOrder, target: Target, trace: TraceOrder): string {
  const { run, probe, agent } = order;
  const node = agent.node ?? 'NODE';
  const source =
    order.from === undefined
      ? document('the probe pod', probePod(probe))
      : document(
          `added to pod ${probe.namespace}/${order.from} (ephemeralcontainers)`,
          ephemeralContainer(run, probe, probe.seconds, false),
        );
  return [
    `# Asks ${target.service.namespace}/${target.service.name} at ${hostPort(trace.targets[0] ?? 'NODE_IP', target.port)}. POD_IP, NODE_IP and NODE are known once the probe runs.`,
    source,
    document('the node agent', agentPod({ ...agent, node }) as Manifest),
    commandsText(trace, order.from),
  ].join('\n');
}

function document(what: string, value: object): string {
  return `---\n# ${what}\n${stringifyYaml(value, { lineWidth: 0 })}`;
}

/** As comments, so that the whole stays YAML. */
function commandsText(trace: TraceOrder, from: string | undefined): string {
  const env = Object.entries(agentEnvironment(trace)).map(([key, value]) => `${key}=${shellWord(value)}`);
  const lines = [
    'run in the agent, with the script of its TS_AGENT:',
    ...['env', ...env, ...AGENT_COMMAND.map(shellWord)]
      .join(' ')
      .split('\n')
      .map(line => `  ${line}`),
    'run in the probe:',
    ...trace.probes
      .map(group => `  ${group.map(({ argv }) => argv.map(shellWord).join(' ')).join('  &  ')}`)
      .map(line => line.replaceAll('\n', '\n  ')),
    from === undefined
      ? 'then both pods are deleted.'
      : `then the agent's pod is deleted, and the container in pod ${from} ended; its record stays in that pod.`,
    ...(trace.method === 'raw' ? [RAW_STAYS] : []),
  ];
  return `---\n${lines
    .join('\n')
    .split('\n')
    .map(line => `# ${line}`)
    .join('\n')}\n`;
}
