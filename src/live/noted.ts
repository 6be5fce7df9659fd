/**
 * A cluster that tells of each thing it is asked to do, before and after: what `-v` shows. It is the one door to the API, so no
 * request and no command can be left out. Polling (one request again and again) is told once.
 */
import type { Cluster, PodRef, Running, RunOptions, SendOptions, Shell } from '../ports.ts';

export function notedCluster(cluster: Cluster, note: (text: string) => void): Cluster {
  const looked = new Set<string>();
  const told = (method: string, text: string) => {
    if (method !== 'GET') looked.clear();
    else if (looked.has(text)) return;
    else looked.add(text);
    note(text);
  };
  return {
    ...cluster,
    async send(method, path, options?: SendOptions) {
      const what = `  ${method} ${path}${nameIn(options?.body)}`;
      told(method, what);
      try {
        const answer = await cluster.send(method, path, options);
        if (method !== 'GET') told(method, `${what}: done`);
        return answer;
      } catch (error) {
        told(method, `${what}: ${wordOf(error)}`);
        throw error;
      }
    },
    shell: pod => notedShell(cluster.shell(pod), pod, text => told('', text)),
  };
}

/** What is made has its name in the body. */
function nameIn(body: unknown): string {
  const name = (body as { metadata?: { name?: string } } | undefined)?.metadata?.name;
  return name === undefined ? '' : `/${name}`;
}

function wordOf(error: unknown): string {
  const { status } = error as { status?: number };
  return typeof status === 'number' && status > 0 ? String(status) : 'no answer';
}

function notedShell(shell: Shell, { container }: PodRef, note: (text: string) => void): Shell {
  /** The node agent's own steps come with its lines. */
  const ofAgent = (line: (text: string) => void) => (text: string) => {
    const [, step] = /^@step (.*)$/.exec(text) ?? [];
    if (step !== undefined) note(`  on the node: ${step}`);
    line(text);
  };
  return {
    async run(argv: string[], options?: RunOptions) {
      const what = `  exec in ${container}: ${argv[0]}`;
      note(what);
      const result = await shell.run(argv, options);
      note(`${what} ended with ${result.code}`);
      return result;
    },
    start(argv: string[], line, options?: RunOptions): Running {
      note(`  exec in ${container}: node-agent.sh`);
      const running = shell.start(argv, ofAgent(line), options);
      const ended = () => note(`  exec in ${container}: node-agent.sh ended`);
      running.done.then(ended, ended);
      return running;
    },
  };
}
