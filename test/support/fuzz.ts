/**
 * Property tests: random and damaged input. The number of runs of every property is the environment variable FC_RUNS,
 * 1000 if it is not set: `FC_RUNS=100000 npx vitest run --project unit test/parse` for a long search. fast-check prints
 * seed and path of a failure; FC_SEED repeats a run.
 */
import fc from 'fast-check';
import { describe, it } from 'vitest';

export const RUNS = Number(process.env.FC_RUNS ?? 1000);

const seed = process.env.FC_SEED === undefined ? {} : { seed: Number(process.env.FC_SEED) };

/** Checks a property the agreed number of times; `share` makes a slow one cheaper. */
export function check<T extends [unknown, ...unknown[]]>(property: fc.IPropertyWithHooks<T>, share = 1): void {
  fc.assert(property, { numRuns: Math.max(1, Math.ceil(RUNS * share)), ...seed });
}

/** What separates and structures the texts we read, and what often is half of something. */
const PIECES = [
  ...' \t=:,;.-+/"\'\\[](){}<>!|&@#*%0123456789abcdefxyzABCDEFXYZ_',
  ...['\r', '\x00', '\x1b', '\x1b[31m', 'é', '日', '🙂', '\ufeff', '\ud800', '0x', '::', '" "', '] ', ' IN=', 'SRC='],
];

/** Text of no meaning: pieces of the formats' own alphabets in any order, and any characters of Unicode. */
export const noise: fc.Arbitrary<string> = fc.oneof(
  fc.array(fc.constantFrom(...PIECES), { maxLength: 200 }).map(pieces => pieces.join('')),
  fc
    .array(fc.nat({ max: 0x10ffff }), { maxLength: 60 })
    .map(points => points.map(p => String.fromCodePoint(p)).join('')),
);

interface Edit {
  how: 'delete' | 'duplicate' | 'swap' | 'replace' | 'insert' | 'splice' | 'cut';
  at: number;
  length: number;
  piece: string;
  other: string;
}

function apply(text: string, { how, at, length, piece, other }: Edit): string {
  const from = Math.floor(at * (text.length + 1));
  const to = Math.min(text.length, from + length);
  const before = text.slice(0, from);
  const taken = text.slice(from, to);
  const after = text.slice(to);
  switch (how) {
    case 'delete':
      return before + after;
    case 'duplicate':
      return before + taken + taken + after;
    case 'swap':
      return before + [...taken].reverse().join('') + after;
    case 'replace':
      return before + piece + after;
    case 'insert':
      return before + piece + text.slice(from);
    case 'splice':
      return before + other.slice(Math.floor(at * other.length));
    case 'cut':
      return before;
  }
}

/** Real text, damaged one to six times: parts deleted, duplicated, reversed, overwritten, cut off, or another text's end put on. */
export function damaged(corpus: readonly string[]): fc.Arbitrary<string> {
  const edit: fc.Arbitrary<Edit> = fc.record({
    how: fc.constantFrom<Edit['how'][]>('delete', 'duplicate', 'swap', 'replace', 'insert', 'splice', 'cut'),
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.oneof(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 80 })),
    piece: fc.constantFrom(...PIECES),
    other: fc.constantFrom(...corpus),
  });
  return fc
    .tuple(fc.constantFrom(...corpus), fc.array(edit, { minLength: 1, maxLength: 6 }))
    .map(([text, edits]) => edits.reduce(apply, text));
}

/**
 * The two properties every reader has to have: it comes to an end without an exception on text of no meaning, and on real
 * text that was damaged. `verify` looks at what was read: whatever the input was, it has to be well-formed.
 */
export function survivesAnything<T>(
  read: (text: string) => T,
  corpus: readonly string[],
  verify: (result: T) => void,
  share = 1,
): void {
  describe('survives anything', () => {
    it('text of no meaning', () => {
      check(
        fc.property(noise, text => {
          verify(read(text));
        }),
        share,
      );
    });
    it('real text, damaged', () => {
      check(
        fc.property(damaged(corpus), text => {
          verify(read(text));
        }),
        share,
      );
    });
  });
}
