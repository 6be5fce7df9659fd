/** What of which run is there: objects in the API, rules and tables in the nodes' netfilter, processes on this machine. */
import { readdirSync, readFileSync } from 'node:fs';
import { inNode, kubectl, NODES, type Node } from './cluster.ts';

/** What is there, by run: `pod shop/trace-svc-x`, `n1: table ip trace_svc_x`. */
export interface Sight {
  objects: Map<string, string[]>;
  rules: Map<string, string[]>;
}

const LABEL = 'app.kubernetes.io/managed-by=kubectl-trace-svc';
const TEMPLATE = '{range .items[*]}{.metadata.labels.trace-svc/run} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}';

async function objects(): Promise<Map<string, string[]>> {
  const text = await kubectl('get', 'pods', '-A', '-l', LABEL, '-o', `jsonpath=${TEMPLATE}`);
  return byRun(text.split('\n').map(line => line.split(' ') as [string, string?]));
}

/** The iptables of either flavour make the table they are asked for, so they are asked only for one that is there. */
const RULES = `nft list ruleset | sed -n 's/^table \\(ip6* trace_svc_.*\\) {/table \\1/p'
for v in '' 6; do
  ! grep -qx raw /proc/net/ip\${v}_tables_names || ip\${v}tables-legacy -w -t raw -S | sed -n 's/.*trace-svc:/legacy rule trace-svc:/p'
  ! nft list table ip$v raw >/dev/null 2>&1 || ip\${v}tables-nft -w -t raw -S | sed -n 's/.*trace-svc:/nft rule trace-svc:/p'
done 2>/dev/null`;

async function rulesOf(node: Node): Promise<[string, string?][]> {
  const text = await inNode(node, ['sh', '-c', RULES]);
  return text.split('\n').map(line => [/trace.svc[_:]([0-9a-z]+)/.exec(line)?.[1] ?? '', `${node}: ${line}`]);
}

function byRun(pairs: [string, string?][]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const [run, what] of pairs) if (run !== '' && what) found.set(run, [...(found.get(run) ?? []), what]);
  return found;
}

export async function rules(): Promise<Map<string, string[]>> {
  return byRun((await Promise.all(NODES.map(rulesOf))).flat());
}

/** @param withObjects false where the API server may be gone */
export async function look(withObjects = true): Promise<Sight> {
  const [made, put] = await Promise.all([withObjects ? objects() : new Map<string, string[]>(), rules()]);
  return { objects: made, rules: put };
}

/** Moments of performance.now() between which rules of a run were seen. */
export interface Stay {
  first: number;
  last: number;
}

/** Looks at the nodes again and again until it is stopped. */
export function watchRules(): { stays: Map<string, Stay>; stop(): Promise<void> } {
  const stays = new Map<string, Stay>();
  let stopped = false;
  const watch = async () => {
    while (!stopped) {
      const now = performance.now();
      for (const run of (await rules()).keys()) stays.set(run, { first: stays.get(run)?.first ?? now, last: now });
      await new Promise(resolve => setTimeout(resolve, 250));
    }
  };
  const watching = watch();
  return {
    stays,
    async stop() {
      stopped = true;
      await watching;
    },
  };
}

/** Many ask at the same time; one look that begins after they asked serves them all. */
export function shared<T>(ask: () => Promise<T>): () => Promise<T> {
  let running: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= running
      .catch(() => {})
      .then(() => {
        next = undefined;
        const answer = ask();
        running = answer;
        return answer;
      });
    return next;
  };
}

export interface Process {
  pid: number;
  parent: number;
  /** The command's short name. */
  name: string;
  role: string;
}

/** Processes of a run's agent, told by the environment they inherited. */
export function processesOf(run: string): Process[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .flatMap(pid => {
      const env = contents(`/proc/${pid}/environ`).split('\0');
      if (!env.includes(`TS_RUN=${run}`)) return [];
      const stat = /^\d+ \((.*)\) \S (\d+) /.exec(contents(`/proc/${pid}/stat`));
      const role = env.find(word => word.startsWith('TS_ROLE='))?.slice(8) ?? '';
      return stat ? [{ pid: Number(pid), parent: Number(stat[2]), name: stat[1] as string, role }] : [];
    });
}

export function contents(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
