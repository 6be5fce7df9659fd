import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createLineSplitter, LONGEST_LINE } from '../../src/parse/lines.ts';
import { check } from '../support/fuzz.ts';

interface Line {
  text: string;
  number: number;
  torn: boolean;
}

function split(...chunks: string[]): Line[] {
  const lines: Line[] = [];
  const splitter = createLineSplitter((text, number, torn) => lines.push({ text, number, torn }));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.end();
  return lines;
}

const texts = (...chunks: string[]) => split(...chunks).map(line => line.text);

describe('lines, however the chunks were cut', () => {
  it.each([
    { name: 'nothing', chunks: [], want: [] },
    { name: 'an empty chunk', chunks: [''], want: [] },
    { name: 'one line', chunks: ['a\n'], want: ['a'] },
    { name: 'an empty line between', chunks: ['a\n\nb\n'], want: ['a', '', 'b'] },
    { name: 'a line over three chunks', chunks: ['a', 'b', 'c\nd\n'], want: ['abc', 'd'] },
    { name: 'the newline alone in a chunk', chunks: ['abc', '\n', 'd\n'], want: ['abc', 'd'] },
    { name: 'CRLF', chunks: ['a\r\nb\r\n'], want: ['a', 'b'] },
    { name: 'CRLF cut in the middle', chunks: ['a\r', '\nb\r', '\n'], want: ['a', 'b'] },
    { name: 'a carriage return within a line stays', chunks: ['a\rb\n'], want: ['a\rb'] },
    { name: 'a byte-order mark before the first line', chunks: ['\ufeffa\nb\n'], want: ['a', 'b'] },
    { name: 'a byte-order mark in a chunk of its own', chunks: ['\ufeff', 'a\n'], want: ['a'] },
    { name: 'a byte-order mark elsewhere is text', chunks: ['a\n\ufeffb\n'], want: ['a', '\ufeffb'] },
    { name: 'trailing spaces stay', chunks: ['a  \n'], want: ['a  '] },
  ])('$name', ({ chunks, want }) => expect(texts(...chunks)).toEqual(want));

  it('numbers lines from 1, empty ones too', () =>
    expect(split('a\n\nb\n').map(line => line.number)).toEqual([1, 2, 3]));

  it('says of a last line without its newline that it may be half a line', () =>
    expect(split('a\nhalf', ' a line')).toEqual([
      { text: 'a', number: 1, torn: false },
      { text: 'half a line', number: 2, torn: true },
    ]));

  it('hands over nothing twice when ended twice', () => {
    const seen: string[] = [];
    const splitter = createLineSplitter(text => seen.push(text));
    splitter.push('a');
    splitter.end();
    splitter.end();
    expect(seen).toEqual(['a']);
  });

  it('cuts a line that never ends, and reads on behind it', () => {
    const lines = split(...Array.from({ length: 40 }, () => 'x'.repeat(LONGEST_LINE / 8)), '\nnext\n');
    expect(lines).toHaveLength(2);
    expect(lines[0]?.text).toHaveLength(LONGEST_LINE);
    expect(lines[1]?.text).toBe('next');
  });

  it('makes the same lines of any text, wherever it is cut', () =>
    check(
      fc.property(
        fc.array(fc.constantFrom('a', 'bc', ' ', '\r', '\n', '\r\n', '\ufeff', '日', '🙂'), { maxLength: 60 }),
        fc.array(fc.nat({ max: 80 }), { maxLength: 10 }),
        (pieces, cuts) => {
          const text = pieces.join('');
          const at = [0, ...cuts.map(cut => cut % (text.length + 1)), text.length].sort((a, b) => a - b);
          const chunks = at.slice(1).map((end, i) => text.slice(at[i], end));
          expect(split(...chunks)).toEqual(split(text));
        },
      ),
    ));
});

describe('holes of zero bytes, as a power loss leaves them', () => {
  function splitHoles(...chunks: string[]) {
    const told: (string | number)[][] = [];
    const splitter = createLineSplitter(
      (text, number) => told.push([number, text]),
      (bytes, number) => told.push([number, bytes]),
    );
    for (const chunk of chunks) splitter.push(chunk);
    splitter.end();
    return told;
  }
  const zeros = (count: number) => '\0'.repeat(count);

  it.each([
    {
      name: 'between two lines',
      chunks: [`a\n${zeros(9)}b\n`],
      want: [
        [1, 'a'],
        [2, 9],
        [2, 'b'],
      ],
    },
    {
      name: 'in the middle of a line',
      chunks: [`a\nb${zeros(9)}c\nd\n`],
      want: [
        [1, 'a'],
        [2, 'b'],
        [2, 9],
        [2, 'c'],
        [3, 'd'],
      ],
    },
    {
      name: 'at the beginning',
      chunks: [`${zeros(3)}a\n`],
      want: [
        [1, 3],
        [1, 'a'],
      ],
    },
    {
      name: 'at the end',
      chunks: [`a\n${zeros(3)}`],
      want: [
        [1, 'a'],
        [2, 3],
      ],
    },
    { name: 'nothing else', chunks: [zeros(5)], want: [[1, 5]] },
    {
      name: 'over three chunks',
      chunks: [`a${zeros(2)}`, zeros(2), `${zeros(1)}b\n`],
      want: [
        [1, 'a'],
        [1, 5],
        [1, 'b'],
      ],
    },
    {
      name: 'longer than the longest line',
      chunks: [zeros(LONGEST_LINE), `${zeros(1)}b\n`],
      want: [
        [1, LONGEST_LINE + 1],
        [1, 'b'],
      ],
    },
  ])('$name', ({ chunks, want }) => expect(splitHoles(...chunks)).toEqual(want));
});
