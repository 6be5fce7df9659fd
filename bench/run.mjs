/**
 * What the program costs, as ratios to something measured in the same run on the same machine, on one core.
 *   parse    lines/s of parse + reconstruct against mawk, which turns every field of the same file into key and value
 *   memory   peak memory at one and at four times the length
 * BENCH_LINES sets the length; the goals are meant for the million that it is otherwise.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from '../.ci/bundle.mjs';
import { writeLog } from './log.mjs';

const LINES = Number(process.env.BENCH_LINES ?? 1_000_000);
const ROUNDS = 3;
const MAWK = '{for(i=1;i<=NF;i++){split($i,a,"=");m[a[1]]=a[2]}} END{n=0;for(k in m)n++;print n}';
const rules = fileURLToPath(new URL('../test/captures/legacy/web-curl/iptables-save.txt', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'trace-svc-bench-'));
try {
  process.exitCode = await main();
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function main() {
  const program = join(folder, 'parse.mjs');
  await bundle({
    entryPoints: { parse: fileURLToPath(new URL('parse.ts', import.meta.url)) },
    outdir: folder,
    outExtension: { '.js': '.mjs' },
  });
  const short = join(folder, 'short.log');
  const long = join(folder, 'long.log');
  const lengths = [await writeLog(short, LINES), await writeLog(long, LINES * 4)];
  const first = compare(program, short, lengths[0]);
  // Four times as long: the second file needs no median to be steadier than the first.
  const second = compare(program, long, lengths[1], 1);
  tell(first);
  tell(second);
  say(`peak memory: x ${(second.peakMB / first.peakMB).toFixed(2)} for four times the lines (goal: 1)`);
  return 0;
}

/** Both in turns, so that whatever else the machine does meets both; a first round that fills the file cache counts for nothing. */
function compare(program, log, lines, rounds = ROUNDS) {
  const mawk = [];
  const ours = [];
  parse(program, log);
  for (let round = 0; round < rounds; round++) {
    mawk.push(cpuSeconds(['mawk', MAWK, log]));
    ours.push(parse(program, log));
  }
  const wrong = ours.find(result => result.events !== lines);
  if (wrong) throw new Error(`of ${lines} lines only ${wrong.events} were understood`);
  return {
    lines,
    base: median(mawk),
    own: median(ours.map(result => result.seconds)),
    peakMB: median(ours.map(result => result.peakMB)),
  };
}

function tell({ lines, base, own, peakMB }) {
  const speed = `${rate(lines, own)} lines/s, mawk ${rate(lines, base)}: ${(base / own).toFixed(2)} x mawk (goal: 3)`;
  say(`${String(lines).padStart(8)} lines: ${speed}, peak memory ${peakMB.toFixed(0)} MB`);
}

function parse(program, log) {
  const done = onOneCore([process.execPath, program, log, rules]);
  return JSON.parse(done.stdout);
}

/** User and system time of the whole command, by the shell's own `times`. */
function cpuSeconds(command) {
  const quoted = command.map(word => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
  const done = onOneCore(['sh', '-c', `${quoted} >/dev/null; times`]);
  const children = done.stdout.trim().split('\n').at(-1).split(' ');
  return children.map(inSeconds).reduce((a, b) => a + b, 0);
}

function inSeconds(text) {
  const [, minutes, seconds] = /^(\d+)m([\d.]+)s$/.exec(text);
  return Number(minutes) * 60 + Number(seconds);
}

function onOneCore(command) {
  const [program, ...args] = process.platform === 'linux' ? ['taskset', '-c', '0', ...command] : command;
  const done = spawnSync(program, args, { encoding: 'utf8', maxBuffer: 1e8 });
  if (done.status !== 0)
    throw new Error(`${program} ${args.join(' ').slice(0, 200)}: ${done.stderr || done.error?.message}`);
  return done;
}

function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)];
}

function rate(lines, seconds) {
  return `${(lines / seconds / 1000).toFixed(0)}k`;
}

function say(text) {
  process.stdout.write(`${text}\n`);
}
