/**
 * The node agent in a network namespace, killed with everything it has started at its Nth command: a shim in front of every
 * program counts, and halts there. Then the first process of its container is started anew, as the kubelet would.
 */
import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('../../plugin/node-agent.sh', import.meta.url));
/** By its path: looked for by its name, our own shim would be found. */
const IP = execFileSync('sh', ['-c', 'command -v ip'], { encoding: 'utf8' }).trim();
const PROGRAMS = [
  ...['iptables', 'ip6tables'].flatMap(plain =>
    ['', '-legacy', '-nft', '-legacy-save', '-nft-save'].map(end => plain + end),
  ),
  ...[
    'nft',
    'tcpdump',
    'conntrack',
    'ip',
    'sed',
    'grep',
    'awk',
    'cat',
    'mkfifo',
    'mkdir',
    'rm',
    'date',
    'head',
    'tr',
    'wc',
    'sort',
    'tail',
  ],
];

/** Counts one command after the other; the one whose turn it is writes its name and goes no further. */
const SHIM = `#!/bin/sh
echo $$ >>"$SHIM/count"; n=$(/bin/sed -n "/^$$$/=" "$SHIM/count")
if [ "$n" = "$KILL_AT" ]; then echo "\${0##*/} $*" >"$SHIM/here"; exec /bin/sleep 1000; fi
PATH=\${PATH#*:}; exec "\${0##*/}" "$@"
`;

export interface Place {
  namespace: string;
  folder: string;
  remove(): void;
}

/** @param prepare commands for the namespace, as a shell takes them */
export function makePlace(prepare: string): Place {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-test-'));
  const namespace = `ts-test-${process.pid}`;
  mkdirSync(join(folder, 'shim'));
  for (const name of PROGRAMS) {
    writeFileSync(join(folder, 'shim', name), SHIM);
    chmodSync(join(folder, 'shim', name), 0o755);
  }
  execFileSync('ip', ['netns', 'add', namespace]);
  const place = {
    namespace,
    folder,
    remove() {
      execFileSync('ip', ['netns', 'del', namespace]);
      rmSync(folder, { recursive: true });
    },
  };
  inside(place, prepare);
  return place;
}

export function inside({ namespace }: Place, command: string): string {
  return execFileSync('ip', ['netns', 'exec', namespace, 'sh', '-c', command], { encoding: 'utf8' });
}

/** A container: processes of its own, which end with the first of them. */
function container({ namespace, folder }: Place, env: Record<string, string>) {
  const words = [
    'netns',
    'exec',
    namespace,
    'unshare',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    'sh',
    SCRIPT,
  ];
  const shim = join(folder, 'shim');
  const full = {
    PATH: `${shim}:/usr/sbin:/usr/bin:/sbin:/bin`,
    SHIM: folder,
    TMPDIR: folder,
    TS_RUN: 'abcd1234',
    ...env,
  };
  return spawn(IP, words, { env: full, stdio: ['pipe', 'pipe', 'ignore'] });
}

const ended = (child: ReturnType<typeof container>) => new Promise(resolve => child.once('close', resolve));

/** @returns the command it was killed at; undefined: it came to its end before */
export async function killedAt(place: Place, at: number, env: Record<string, string>): Promise<string | undefined> {
  const here = join(place.folder, 'here');
  for (const name of ['here', 'count']) rmSync(join(place.folder, name), { force: true });
  const child = container(place, { ...env, KILL_AT: String(at) });
  let said = '';
  child.stdin.on('error', () => {});
  child.stdout.setEncoding('utf8').on('data', chunk => {
    said += chunk;
    if (/^@ready$/m.test(said)) child.stdin.end('done\n');
  });
  const done = ended(child);
  while (child.exitCode === null && !existsSync(here))
    await Promise.race([done, new Promise(resolve => setTimeout(resolve, 5))]);
  child.kill('SIGKILL');
  await done;
  return existsSync(here) ? readFileSync(here, 'utf8').trim() : undefined;
}

/** The container's first process again, until it says that it is ready: by then it has looked at what was left. */
export async function startedAgain(place: Place): Promise<void> {
  const child = container(place, { TS_ROLE: 'guard', TS_DEADLINE: '60', KILL_AT: '' });
  const done = ended(child);
  await new Promise<void>(resolve => {
    child.stdout.setEncoding('utf8').on('data', chunk => {
      if (/^@ready$/m.test(chunk)) resolve();
    });
    child.once('close', () => resolve());
  });
  child.kill('SIGKILL');
  await done;
}
