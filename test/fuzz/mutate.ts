/** Real lines, damaged: bytes, words and numbers changed, parts of other lines put in, and what is long made very long. */
import type { Random } from './random.ts';

/** Separators of all formats, halves of things, and characters that steer terminals or are half of one. */
const PIECES = [
  ...' \t=:,;.-+/"\'\\[](){}<>!|&@#*%`$~^_0aZ',
  ...['\r', '\0', '\x1b', '\x1b[31m', '\x1b]0;x\x07', '\x9b', '\u202e', '\u2028', '\ufeff', '\ud800', 'é', '日', '🙂'],
  ...[
    '0x',
    '::',
    '" "',
    '] ',
    ' IN=',
    'SRC=',
    'TRACE: ',
    'trace id ',
    '{ ',
    ' }',
    '$(id)',
    '<b>',
    '{"',
    '@end',
    '-A ',
    '/33',
  ],
];

const NUMBERS = [
  '0',
  '-1',
  '1',
  '255',
  '65535',
  '65536',
  '4294967295',
  '4294967296',
  '9007199254740993',
  '1e999',
  '99999999999999999999',
  'NaN',
  '0x',
  '٣',
];

/** Long enough to show what takes quadratic time, short enough to be drawn often. */
const LONG = [64, 1000, 20_000];

type Edit = (line: string, random: Random, corpus: readonly string[]) => string;

const part = (line: string, random: Random): [number, number] => {
  const from = random.below(line.length + 1);
  return [from, Math.min(line.length, from + 1 + random.below(random.chance(0.5) ? 4 : 60))];
};

const EDITS: Edit[] = [
  (line, random) => {
    const [from, to] = part(line, random);
    return line.slice(0, from) + line.slice(to);
  },
  (line, random) => {
    const [from, to] = part(line, random);
    return line.slice(0, to) + line.slice(from);
  },
  (line, random) => {
    const [from, to] = part(line, random);
    return line.slice(0, from) + [...line.slice(from, to)].reverse().join('') + line.slice(to);
  },
  (line, random) => {
    const [from, to] = part(line, random);
    return line.slice(0, from) + random.pick(PIECES) + line.slice(random.chance(0.5) ? from : to);
  },
  (line, random) => line.slice(0, random.below(line.length + 1)),
  (line, random) => line.slice(random.below(line.length + 1)),
  (line, random, corpus) => {
    const other = random.pick(corpus);
    return line.slice(0, random.below(line.length + 1)) + other.slice(random.below(other.length + 1));
  },
  (line, random) => {
    const words = line.split(' ');
    const [a, b] = [random.below(words.length), random.below(words.length)];
    [words[a], words[b]] = [words[b] as string, words[a] as string];
    return words.join(' ');
  },
  (line, random, corpus) => {
    const words = line.split(' ');
    words.splice(random.below(words.length + 1), random.below(2), random.pick(random.pick(corpus).split(' ')));
    return words.join(' ');
  },
  (line, random) => {
    const at = random.below(line.length + 1);
    return line.slice(0, at) + line.slice(at).replace(/\d+/, () => random.pick(NUMBERS));
  },
  (line, random) => {
    const [from, to] = part(line, random);
    const piece = random.chance(0.5) ? line.slice(from, to) : random.pick(PIECES);
    const length = random.chance(0.02) ? random.pick(LONG) : random.below(12);
    return line.slice(0, from) + piece.repeat(Math.ceil(length / Math.max(1, piece.length))) + line.slice(from);
  },
];

/** One to six edits; what comes out is one line. */
export function mutate(line: string, random: Random, corpus: readonly string[]): string {
  let text = line;
  for (let left = 1 + random.below(6); left > 0; left--) text = random.pick(EDITS)(text, random, corpus);
  return text.replace(/\n/g, ' ');
}

const VALUES: readonly unknown[] = [
  null,
  0,
  -1,
  1e21,
  '',
  'x',
  [],
  {},
  [null],
  true,
  [[]],
  { a: {} },
  '\x1b[2J',
  '10.0.0.1',
];

/** A JSON value of which one to five places are other than they were: another type, a damaged text, left out, or there twice. */
export function mutateJson(value: unknown, random: Random): unknown {
  const copy = structuredClone(value);
  for (let left = 1 + random.below(5); left > 0; left--) mutatePlace(copy, random);
  return copy;
}

function mutatePlace(root: unknown, random: Random): void {
  let at = root;
  for (;;) {
    if (typeof at !== 'object' || at === null) return;
    const holder = at as Record<string, unknown>;
    const keys = Object.keys(holder);
    if (keys.length === 0) return;
    const key = random.pick(keys);
    const inner = holder[key];
    if (typeof inner === 'object' && inner !== null && random.chance(0.85)) {
      at = inner;
      continue;
    }
    if (typeof inner === 'string' && random.chance(0.6)) holder[key] = mutateText(inner, random);
    else if (random.chance(0.3)) delete holder[key];
    else if (Array.isArray(at) && random.chance(0.5)) at.push(structuredClone(inner));
    else holder[key] = random.pick(VALUES);
    return;
  }
}

/** Some lines of a longer text. */
function mutateText(text: string, random: Random): string {
  const lines = text.split('\n');
  for (let left = 1 + random.below(8); left > 0; left--) {
    const at = random.below(lines.length);
    lines[at] = mutate(lines[at] as string, random, lines);
  }
  return lines.join('\n');
}
