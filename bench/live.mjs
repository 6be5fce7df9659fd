/**
 * A whole live run against what a person does by hand for the same two probes: kubectl run, wait, exec of curl and ping at the
 * same time, delete. In turns, on the cluster that KUBECONFIG names, so that both see the same machine. Prints the ratio.
 *   node bench/live.mjs SERVICE NAMESPACE [ROUNDS]
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const PLUGIN = fileURLToPath(new URL('../plugin/kubectl-trace_svc', import.meta.url));
const IMAGE = process.env.KUBECTL_TRACE_SVC_IMAGE ?? 'docker.io/nicolaka/netshoot:latest';
const [service = 'kubernetes', namespace = 'default', rounds = '5'] = process.argv.slice(2);
const run = promisify(execFile);
const kubectl = (...args) => run('kubectl', ['-n', namespace, ...args]);

const { clusterIP, ports } = JSON.parse((await kubectl('get', 'service', service, '-o', 'json')).stdout).spec;
const url = `${ports[0].port === 443 ? 'https' : 'http'}://${clusterIP}:${ports[0].port}/`;

async function byHand() {
  const name = `by-hand-${process.pid}`;
  await kubectl(
    'run',
    name,
    `--image=${IMAGE}`,
    '--image-pull-policy=IfNotPresent',
    '--restart=Never',
    '--command',
    '--',
    'sleep',
    '60',
  );
  try {
    await kubectl('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s');
    await Promise.allSettled([
      kubectl('exec', name, '--', 'curl', '-sk', '--max-time', '3', url),
      kubectl('exec', name, '--', 'ping', '-c', '1', '-W', '1', clusterIP),
    ]);
  } finally {
    await kubectl('delete', 'pod', name, '--force', '--grace-period=0');
  }
}

async function traced() {
  await run(process.execPath, [PLUGIN, `svc/${service}`, '-n', namespace, '-q'], { maxBuffer: 1 << 26 });
}

async function seconds(work) {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

const median = list => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

await byHand();
const hand = [];
const own = [];
for (let i = 0; i < Number(rounds); i++) {
  hand.push(await seconds(byHand));
  own.push(await seconds(traced));
}
const format = list => list.map(value => value.toFixed(2)).join(' ');
console.log(`by hand  ${median(hand).toFixed(2)} s   (${format(hand)})`);
console.log(`traced   ${median(own).toFixed(2)} s   (${format(own)})`);
console.log(`ratio    ${(median(own) / median(hand)).toFixed(2)}`);
