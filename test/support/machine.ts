/** What a run must not change on this machine, as one value that two moments can be compared by. */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { LAB_MARK } from '../../src/lab/holder.ts';

const TABLES = ['nft list ruleset', 'iptables-legacy-save', 'ip6tables-legacy-save', 'ip netns list', 'ip -o link'];
const SYSCTLS = [
  'net/netfilter/nf_log/2',
  'net/netfilter/nf_log/10',
  'net/netfilter/nf_log_all_netns',
  'net/ipv4/ip_forward',
];

export function fingerprint(): Record<string, string> {
  const print: Record<string, string> = {};
  for (const command of TABLES) print[command] = output(command.split(' '));
  for (const name of SYSCTLS) print[name] = contents(`/proc/sys/${name}`);
  print.mounts = contents('/proc/self/mounts');
  print.processes = ourProcesses().join('\n');
  print.files = readdirSync(tmpdir())
    .filter(name => /^trace-svc-(?!test)/.test(name))
    .join('\n');
  return print;
}

function output([command = '', ...args]: string[]): string {
  try {
    const text = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    // Counters and dates are no state of ours.
    return text
      .replace(/^#.*$/gm, '')
      .replace(/\[\d+:\d+\]/g, '')
      .replace(/packets \d+ bytes \d+/g, '');
  } catch (error) {
    return `${(error as NodeJS.ErrnoException).code ?? 'failed'}`;
  }
}

function contents(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return 'none';
  }
}

/** Command lines of every process that a lab started: its holder, what runs inside, and the node agent. */
export function ourProcesses(): string[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map(name => contents(`/proc/${name}/cmdline`).replaceAll('\0', ' '))
    .filter(line => line.includes(LAB_MARK) || /^nsenter --target/.test(line) || line.includes('TS_RUN'));
}

/** Waits for what the kernel does in its own time: the end of a process takes its namespaces along. */
export async function untilGone(limitMs = 10_000): Promise<void> {
  const end = Date.now() + limitMs;
  while (ourProcesses().length > 0 && Date.now() < end) await new Promise(resolve => setTimeout(resolve, 20));
}
