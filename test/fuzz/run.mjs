/**
 * Damaged and made-up lines for everything that reads: no crash, no hang, nothing lost without a word.
 *   FUZZ_LINES  how many lines (200000)      FUZZ_SEED  repeats a run      FUZZ_CASE  runs that one case alone
 * Ends with 1 where something was found, and prints seed and number of each case, which is all it takes to repeat it.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { bundle } from '../../.ci/bundle.mjs';

const LINES = Number(process.env.FUZZ_LINES ?? 200_000);
const SEED = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31));
const ONE = process.env.FUZZ_CASE === undefined ? undefined : Number(process.env.FUZZ_CASE);
/** A case takes milliseconds; one that takes this long on however busy a machine does not end. */
const HANG_MS = 20_000;
const MOST_SHOWN = 10;

// Beside its sources: what is bundled still looks for the captures by its own address.
const folder = mkdtempSync(join(fileURLToPath(new URL('.', import.meta.url)), '.run-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));

const found = new Map();
/** Lines of each target. */
const counts = new Map();

function note(target, what, number, more) {
  const key = `${target}: ${what.replace(/\d+|"(?:[^"\\]|\\.)*"/g, '#').slice(0, 80)}`;
  const known = found.get(key) ?? { number, what, more, count: 0 };
  known.count++;
  found.set(key, known);
}

/** @returns lines done; a worker that hangs is ended, and another goes on behind the case */
async function work(program, first, lines) {
  const progress = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(program, { workerData: { seed: SEED, first, step: 1, lines, progress } });
  let slowest;
  worker.on('message', message => {
    if (message.slowest) {
      slowest = message.slowest;
      for (const [name, count] of Object.entries(message.counts)) counts.set(name, (counts.get(name) ?? 0) + count);
    }
    else note(message.target, message.message, message.number, message);
  });
  let before = -1;
  let since = Date.now();
  let hangs = false;
  const watch = setInterval(() => {
    const number = Atomics.load(progress, 0);
    if (number !== before) [before, since] = [number, Date.now()];
    else if (Date.now() - since > HANG_MS) {
      hangs = true;
      worker.terminate();
    }
  }, 500);
  const ended = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
  clearInterval(watch);
  const done = Atomics.load(progress, 1);
  if (!hangs) return { done, slowest, code: ended };
  note('hang', `a case did not end within ${HANG_MS / 1000} s`, before);
  const rest = await work(program, before + 1, Math.max(1, lines - done));
  return { ...rest, done: done + rest.done };
}

await bundle({
  entryPoints: { worker: fileURLToPath(new URL('worker.ts', import.meta.url)) },
  outdir: folder,
  outExtension: { '.js': '.mjs' },
  define: { 'import.meta.url': JSON.stringify(new URL('targets.ts', import.meta.url).href) },
});
const began = performance.now();
const { done, slowest } = await work(join(folder, 'worker.mjs'), ONE ?? 0, ONE === undefined ? LINES : 1);
const seconds = (performance.now() - began) / 1000;
for (const [key, { number, count, more }] of [...found].slice(0, MOST_SHOWN)) {
  console.log(`\nFOUND ${count} times  ${key}\n  again: FUZZ_SEED=${SEED} FUZZ_CASE=${number} npm run fuzz`);
  if (more) console.log(`  ${more.stack.split('\n').slice(0, 6).join('\n  ')}`);
}
console.log([...counts].map(([name, count]) => `${String(count).padStart(9)}  ${name}`).join('\n'));
const pace = `${Math.round(done / seconds)} lines/s, the slowest case ${Math.round(slowest?.ms ?? 0)} ms (${slowest?.number})`;
console.log(`${done} lines, seed ${SEED}, ${seconds.toFixed(0)} s, ${pace}: ${found.size === 0 ? 'nothing found' : `${found.size} findings`}`);
process.exitCode = found.size === 0 ? 0 : 1;
