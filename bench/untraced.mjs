/**
 * What a trace costs the pods that are not traced: questions and answers by UDP between two of them, through a node that has
 * rules as kube-proxy's, with our rules for a third pod and without, in turns, and beside that without and without. Prints ratios; root, in namespaces of its own.
 *   node bench/untraced.mjs [TURNS]
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { bundle } from '../.ci/bundle.mjs';

const [turns = '40', inside] = process.argv.slice(2);
/** Of one turn. */
const MS = 500;
/** Rules of other Services that a packet walks past, as on a node of some size. */
const OTHERS = 200;

const BUILD = `
set -eu
export PATH="$PATH:/usr/sbin:/sbin"
mount -t tmpfs tmpfs /run && mkdir /run/netns
for n in node pod1 pod2; do ip netns add $n; ip -n $n link set lo up; done
for n in pod1 pod2; do
  ip link add eth0 netns $n type veth peer name $n netns node
  ip -n $n link set eth0 up; ip -n node link set $n up
done
ip -n pod1 addr add 10.1.1.2/24 dev eth0; ip -n node addr add 10.1.1.1/24 dev pod1; ip -n pod1 route add default via 10.1.1.1
ip -n pod2 addr add 10.1.2.2/24 dev eth0; ip -n node addr add 10.1.2.1/24 dev pod2; ip -n pod2 route add default via 10.1.2.1
nsenter --net=/run/netns/node sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward'
{ echo '*nat'; echo ':KUBE-SERVICES - [0:0]'; echo '-A PREROUTING -j KUBE-SERVICES'
  i=0; while [ $i -lt ${OTHERS} ]; do echo "-A KUBE-SERVICES -d 10.96.1.$((i % 250))/32 -p tcp -m tcp --dport $((i + 1)) -j RETURN"; i=$((i + 1)); done
  echo COMMIT; echo '*filter'; echo '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT'; echo '-A FORWARD -j ACCEPT'; echo COMMIT
} | nsenter --net=/run/netns/node iptables-legacy-restore
`;
const SERVER = `const s = require('node:dgram').createSocket('udp4'); s.on('message', (m, from) => s.send(m, from.port, from.address)); s.bind(9, '0.0.0.0', () => console.log('up'));`;
/** Asks as soon as it is answered; for every line on its input it counts for a while. */
const CLIENT = `
const socket = require('node:dgram').createSocket('udp4');
let count = 0;
socket.on('message', () => { count++; socket.send('x', 9, '10.1.2.2'); });
socket.send('x', 9, '10.1.2.2');
// A datagram that was lost must not end it.
let before = -1;
setInterval(() => { if (count === before) socket.send('x', 9, '10.1.2.2'); before = count; }, 50);
require('node:readline').createInterface({ input: process.stdin }).on('line', () => {
  const from = count;
  setTimeout(() => console.log(count - from), ${MS});
});
`;

async function outside() {
  const folder = mkdtempSync(join(tmpdir(), 'trace-svc-bench-'));
  try {
    const entry = fileURLToPath(new URL('../src/plan/rules.ts', import.meta.url));
    await bundle({ entryPoints: { rules: entry }, outdir: folder, outExtension: { '.js': '.mjs' } });
    const flags = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', process.execPath];
    const done = spawnSync('unshare', [...flags, fileURLToPath(import.meta.url), turns, join(folder, 'rules.mjs')], {
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    return done.status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const enter = (namespace, ...command) => ['nsenter', [`--net=/run/netns/${namespace}`, ...command]];
const node = (...command) => {
  const done = spawnSync(...enter('node', ...command), { encoding: 'utf8' });
  if (done.status !== 0) throw new Error(`${command.join(' ')}: ${done.stderr}`);
};

async function measure(rules) {
  const built = spawnSync('sh', ['-c', BUILD], { encoding: 'utf8' });
  if (built.status !== 0) throw new Error(built.stderr);
  process.env.PATH += ':/usr/sbin:/sbin';
  const { nftCommands, rawRules } = await import(rules);
  const scope = { run: 'bench', podIps: ['10.1.3.2'], ports: [{ protocol: 'udp', port: 9 }] };
  const server = spawn(...enter('pod2', process.execPath, '-e', SERVER), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
  const client = spawn(...enter('pod1', process.execPath, '-e', CLIENT), { stdio: ['pipe', 'pipe', 'inherit'] });
  /** What an answer costs in a turn, in ns of processor time: packets of this pair are handled where they are sent. */
  const turn = async () => {
    const before = timeOf(client.pid) + timeOf(server.pid);
    client.stdin.write('\n');
    const answers = Number(String((await once(client.stdout, 'data'))[0]));
    return { answers, cost: (timeOf(client.pid) + timeOf(server.pid) - before) / answers };
  };
  for (let warm = 0; warm < 3; warm++) await turn();
  const cases = {
    // What two turns differ by anyway.
    nothing: async () => async () => {},
    nft: () => startNft(nftCommands(scope)),
    raw: () => startRaw(rawRules(scope)),
  };
  const measured = Object.fromEntries(Object.keys(cases).map(name => [name, []]));
  for (let i = 0; i < Number(turns); i++)
    for (const [name, on] of Object.entries(cases)) {
      const without = await turn();
      const off = await on();
      // What starting costs is no pod's.
      await turn();
      measured[name].push({ without, with: await turn() });
      await off();
      await turn();
    }
  for (const [name, pairs] of Object.entries(measured)) {
    // Neighbours in time: whatever else the machine does, it does to both, and what it does to one alone the median leaves out.
    const cost = median(pairs.map(pair => pair.without.cost / pair.with.cost));
    const rate = median(pairs.map(pair => pair.with.answers / pair.without.answers));
    // An answer is two packets.
    const nanoseconds = median(pairs.map(pair => (pair.with.cost - pair.without.cost) / 2));
    console.log(
      `${name}: ${cost.toFixed(3)} of the answers for the same processor time (goal: 0.99), ${rate.toFixed(3)} of the answers a second; ${nanoseconds.toFixed(0)} ns a packet`,
    );
  }
  client.kill();
  server.kill();
}

function median(list) {
  const sorted = list.toSorted((a, b) => a - b);
  return (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}

/** Time on a processor of all of a process's threads, in ns (Documentation/scheduler/sched-stats.rst). */
function timeOf(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.reduce(
    (sum, id) => sum + Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]),
    0,
  );
}

async function startNft(commands) {
  const nft = spawn(...enter('node', 'nft', '-nn', '-i'), { stdio: ['pipe', 'ignore', 'inherit'] });
  nft.stdin.write(`${commands.join('\n')}\nmonitor trace\n`);
  while (spawnSync(...enter('node', 'nft', 'list', 'table', 'ip', 'trace_svc_bench')).status !== 0);
  return async () => {
    nft.kill();
    await once(nft, 'exit');
  };
}

async function startRaw(lines) {
  const words = lines.map(line => line.replace('@STOP@', '2037-01-01').split(' ').slice(1));
  for (const rule of words) node('iptables-legacy', '-t', 'raw', '-I', ...rule);
  return async () => {
    for (const rule of words) node('iptables-legacy', '-t', 'raw', '-D', ...rule);
  };
}

if (inside === undefined) process.exitCode = await outside();
else await measure(inside);
