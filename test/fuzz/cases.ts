/** A case: one target and the lines it gets, decided by seed and number alone. */
import { generate } from './grammar.ts';
import { mutate } from './mutate.ts';
import { createRandom, type Random } from './random.ts';
import { type Line, TARGETS, type Target } from './targets.ts';

export interface Case {
  target: Target;
  lines: Line[];
  /** Where chance goes on, for the target's own choices. */
  random: Random;
}

const SHARES = TARGETS.reduce((sum, { share }) => sum + share, 0);

export function caseOf(seed: number, number: number): Case {
  const random = createRandom(seed, number);
  const target = targetAt(random.next() * SHARES);
  const lines = Array.from({ length: 1 + random.below(target.lines) }, () => lineFor(target, random));
  return { target, lines, random };
}

function targetAt(place: number): Target {
  let at = place;
  for (const target of TARGETS) {
    at -= target.share;
    if (at < 0) return target;
  }
  return TARGETS[0] as Target;
}

function lineFor({ corpus, grammar }: Target, random: Random): Line {
  const real = random.pick(corpus);
  if (random.chance(0.15)) return { text: real, whole: true };
  const made = grammar !== undefined && random.chance(0.3) ? generate(grammar, random) : undefined;
  const text = made !== undefined && random.chance(0.5) ? made : mutate(made ?? real, random, corpus);
  return { text: text.replace(/\n/g, ' '), whole: false };
}
