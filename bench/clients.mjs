/**
 * A log of many clients against one of the same length of one client: what `explain` costs for each, as a ratio, and its memory.
 *   node bench/clients.mjs [CLIENTS]
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const CLIENTS = Number(process.argv[2] ?? process.env.BENCH_CLIENTS ?? 30_000);
const at = path => fileURLToPath(new URL(path, import.meta.url));
const CAPTURE = '../test/captures/legacy/web-curl';
/** A SYN, its answer, and the ACK of that. */
const LINES = readFileSync(at(`${CAPTURE}/kmsg.txt`), 'utf8')
  .split('\n')
  .slice(0, 32);
const CLIENT = '=10.244.1.72 ';

const folder = mkdtempSync(join(tmpdir(), 'trace-svc-bench-'));
try {
  const one = await explained('one.log', () => CLIENT);
  const many = await explained('many.log', i => `=10.244.${2 + (i >> 8)}.${i & 255} `);
  const ratio = many.seconds / one.seconds;
  console.log(
    `${CLIENTS} clients, ${CLIENTS * LINES.length} lines: ${ratio.toFixed(1)} x the time of one client (goal: 8), ${many.megabytes} MB (one: ${one.megabytes})`,
  );
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Processor time and peak memory, as the program itself counts them when it ends. */
async function explained(name, addressOf) {
  const path = join(folder, name);
  await write(path, addressOf);
  const told =
    "process.on('exit',()=>{const u=process.resourceUsage();require('fs').writeSync(2,'USED '+(u.userCPUTime+u.systemCPUTime)/1e6+' '+u.maxRSS/1024+'\\n')})";
  const args = [
    '--import',
    `data:text/javascript,import{createRequire}from'node:module';const require=createRequire('/');${told}`,
  ];
  const files = [
    '--rules',
    at(`${CAPTURE}/iptables-save.txt`),
    '--objects',
    at('../test/captures/legacy/objects.json'),
  ];
  const done = spawnSync(process.execPath, [...args, at('../plugin/kubectl-trace_svc'), 'explain', path, ...files], {
    encoding: 'utf8',
    maxBuffer: 1e8,
  });
  if (done.status !== 0 || !done.stdout.includes(' answered '))
    throw new Error(`${name}: ${done.stdout.slice(0, 300)}${done.stderr}`);
  const [, seconds, megabytes] = /USED (\S+) (\S+)/.exec(done.stderr);
  return { seconds: Number(seconds), megabytes: Math.round(Number(megabytes)) };
}

async function write(path, addressOf) {
  const out = createWriteStream(path);
  for (let i = 0; i < CLIENTS; i++) {
    const lines = LINES.map((line, n) =>
      line
        .replace(/^\[[^\]]*\]/, `[${(100 + (i * LINES.length + n) * 3e-6).toFixed(6).padStart(12)}]`)
        .replaceAll(CLIENT, addressOf(i))
        .replace(/([SD]PT)=(\d{5})\b/, (_, key) => `${key}=${1024 + (i % 60_000)}`)
        .replace(/ ID=(\d+)/, (whole, id) => (id === '0' ? whole : ` ID=${(Number(id) + i * 7) % 65_536}`))
        .replace(/SEQ=(\d+) ACK=(\d+)/, (_, seq, ack) => `SEQ=${moved(seq, i)} ACK=${ack === '0' ? 0 : moved(ack, i)}`),
    );
    if (!out.write(`${lines.join('\n')}\n`)) await once(out, 'drain');
  }
  out.end();
  await once(out, 'close');
}

function moved(number, round) {
  return (Number(number) + round * 977) % 4_294_967_296;
}
