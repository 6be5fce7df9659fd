/**
 * How long the program takes to start, as ratios to `node -e 0` in the same run and in turns with it, by the same Node:
 *   --version, --help, an explain of a short log, a completion that needs no cluster, and a live run until it knocks at the API server
 *   (over TLS, as anywhere; what Node itself needs for that is told apart). Beside them `kubectl version --client`, where there is a kubectl.
 * The quickest of all rounds counts: whatever else the machine does only adds to it. BENCH_NODE is another Node to run it all with,
 * ROUNDS how often.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE = process.env.BENCH_NODE ?? process.execPath;
const ROUNDS = Number(process.env.ROUNDS ?? 21);
const path = name => fileURLToPath(new URL(`../${name}`, import.meta.url));
const PLUGIN = path('plugin/kubectl-trace_svc');
const LOG = path('test/captures/legacy/web-curl/kmsg.txt');

const UNTIL_CALL = new Set(['a bare request', 'first API call']);

const BARE = `require('node:https').get(process.argv[1], { ca: require('node:fs').readFileSync('${path('test/support/tls/ca.crt')}') }).on('error', () => {})`;

const folder = mkdtempSync(join(tmpdir(), 'trace-svc-bench-'));
const server = await apiServer();
try {
  await main();
} finally {
  server.close();
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const cases = [
    ['node -e 0', [NODE, '-e', '0']],
    ['--version', [NODE, PLUGIN, '--version'], 1.25],
    ['--help', [NODE, PLUGIN, '--help']],
    ['completion', [NODE, PLUGIN, '__complete', 'lab', '']],
    ['explain', [NODE, PLUGIN, 'explain', LOG]],
    // No program of Node's can ask sooner.
    ['a bare request', [NODE, '-e', BARE, url()]],
    ['first API call', [NODE, PLUGIN, 'svc/web'], 2],
    ['kubectl version', ['kubectl', 'version', '--client']],
  ];
  const times = new Map(cases.map(([name]) => [name, []]));
  // The first round fills caches, and says what can be run at all.
  for (let round = -1; round < ROUNDS; round++)
    for (const [name, command] of cases) {
      const time = await milliseconds(command, UNTIL_CALL.has(name));
      if (round >= 0 && time !== undefined) times.get(name).push(time);
    }
  const base = Math.min(...times.get('node -e 0'));
  for (const [name, , goal] of cases) tell(name, times.get(name), base, goal);
}

function tell(name, list, base, goal) {
  if (list.length === 0) return process.stdout.write(`${name.padEnd(16)} could not be run\n`);
  const best = Math.min(...list);
  const ratio = `${(best / base).toFixed(2)} x${goal === undefined ? '' : ` (goal: ${goal})`}`;
  process.stdout.write(`${name.padEnd(16)} ${best.toFixed(0).padStart(4)} ms  ${ratio}\n`);
}

/** @returns undefined where there is no such program */
function milliseconds([program, ...args], untilCall) {
  // Nothing else: NODE_EXTRA_CA_CERTS alone would make Node read all certificates there are.
  const env = { PATH: process.env.PATH, HOME: folder, KUBECONFIG: join(folder, 'config') };
  const began = performance.now();
  return new Promise(resolve => {
    let came;
    server.onconnected = () => {
      came ??= performance.now();
    };
    const child = spawn(program, args, { env, stdio: 'ignore' });
    child.once('error', () => resolve(undefined));
    child.once('close', () => resolve((untilCall ? came : performance.now()) - began));
  });
}

function url() {
  return `https://127.0.0.1:${server.address().port}`;
}

/** Refuses everything: only that it is asked matters. */
async function apiServer() {
  const tls = name => readFileSync(path(`test/support/tls/${name}`));
  const made = createServer({ key: tls('server.key'), cert: tls('server.crt') }, (_, response) => {
    response.writeHead(403, { 'content-type': 'application/json' }).end('{"kind":"Status","reason":"Forbidden"}');
  });
  made.on('connection', () => made.onconnected());
  await new Promise(resolve => made.listen(0, '127.0.0.1', resolve));
  const cluster = {
    server: `https://127.0.0.1:${made.address().port}`,
    'certificate-authority': path('test/support/tls/ca.crt'),
  };
  const config = {
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u', namespace: 'shop' } }],
    clusters: [{ name: 'c', cluster }],
    users: [{ name: 'u', user: { token: 't' } }],
  };
  writeFileSync(join(folder, 'config'), JSON.stringify(config));
  return made;
}
