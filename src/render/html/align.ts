/** Two journeys side by side: which step of the one stands beside which step of the other, so that both move together. */
import type { Step } from './steps.ts';

/** For each lane the index of its step; a lane that has no step of its own here stays where it was. */
export type Frame = number[];

/** @param together a pair that must stand side by side: where the two part */
export function framesOf(lanes: Step[][], together?: [Step, Step]): Frame[] {
  const [first = [], second] = lanes;
  if (!second) return first.map((_, i) => [i]);
  return pairUp(first, second, together);
}

/** The alignment with the highest sum of likeness (Needleman and Wunsch, gaps cost nothing). */
function pairUp(a: Step[], b: Step[], together: [Step, Step] | undefined): Frame[] {
  const width = b.length + 1;
  const best = new Int32Array((a.length + 1) * width);
  const like = (i: number, j: number) => likeness(a[i] as Step, b[j] as Step, together);
  const at = (i: number, j: number) => best[i * width + j] as number;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      best[i * width + j] = Math.max(at(i + 1, j), at(i, j + 1), like(i, j) > 0 ? like(i, j) + at(i + 1, j + 1) : 0);
  const frames: Frame[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    const both = i < a.length && j < b.length && like(i, j) > 0 && at(i, j) === like(i, j) + at(i + 1, j + 1);
    const onlyFirst = !both && i < a.length && (j === b.length || at(i, j) === at(i + 1, j));
    if (both || onlyFirst) i++;
    if (!onlyFirst) j++;
    frames.push([Math.max(0, i - 1), Math.max(0, j - 1)]);
  }
  return frames;
}

const TOGETHER = 1000;

function likeness(a: Step, b: Step, together: [Step, Step] | undefined): number {
  if (together && a === together[0] && b === together[1]) return TOGETHER;
  if (a.kind !== b.kind) return a.hook !== undefined && a.hook === b.hook && sharesPlace(a, b) ? 2 : 0;
  if (a.kind === 'start' || a.kind === 'end' || a.kind === 'routing') return 6;
  if (a.kind === 'rewrite') return a.rewrite?.field === b.rewrite?.field && a.hook === b.hook ? 3 : 0;
  if (a.hook !== b.hook) return 0;
  if (a.kind === 'quiet') return 3;
  if (a.where === b.where) return 5;
  return a.hop?.chain === b.hop?.chain && a.hop?.table === b.hop?.table ? 4 : 0;
}

function sharesPlace(a: Step, b: Step): boolean {
  return a.at.some(place => b.at.includes(place));
}
