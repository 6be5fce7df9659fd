/** Runs cases one after the other and says by a shared counter where it is, so that whoever watches sees one that hangs. */
import { parentPort, workerData } from 'node:worker_threads';
import { caseOf } from './cases.ts';

export interface Task {
  seed: number;
  first: number;
  step: number;
  lines: number;
  /** Number of the case that runs, and how many lines are done. */
  progress: Int32Array;
}

const { seed, first, step, lines, progress } = workerData as Task;

let done = 0;
const counts: Record<string, number> = {};
let slowest = { number: first, ms: 0 };
for (let number = first; done < lines; number += step) {
  Atomics.store(progress, 0, number);
  const { target, lines: given, random } = caseOf(seed, number);
  const began = performance.now();
  try {
    target.check(given, random);
  } catch (error) {
    const { message, stack } = error as Error;
    parentPort?.postMessage({ number, target: target.name, message, stack, lines: given.map(({ text }) => text) });
  }
  const ms = performance.now() - began;
  if (ms > slowest.ms) slowest = { number, ms };
  counts[target.name] = (counts[target.name] ?? 0) + given.length;
  done += given.length;
  Atomics.store(progress, 1, done);
}
parentPort?.postMessage({ slowest, counts });
