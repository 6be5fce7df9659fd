/** The fuzzer itself: a case can be repeated, every kind of line is drawn, and what does not hold is found. */
import { describe, expect, it } from 'vitest';
import { caseOf } from './cases.ts';
import { generate } from './grammar.ts';
import { createRandom } from './random.ts';
import { type Line, TARGETS } from './targets.ts';

const whole = (...texts: string[]): Line[] => texts.map(text => ({ text, whole: true }));
const targetOf = (name: string) => TARGETS.find(target => target.name === name) as (typeof TARGETS)[number];

describe('a case', () => {
  it('is its seed and its number', () => {
    for (const number of [0, 1, 77, 4_000_000]) expect(caseOf(5, number).lines).toEqual(caseOf(5, number).lines);
    expect(caseOf(5, 1).lines).not.toEqual(caseOf(6, 1).lines);
  });

  it('of every target comes among a few thousand', () => {
    const drawn = new Set(Array.from({ length: 4000 }, (_, number) => caseOf(1, number).target.name));
    expect([...drawn].sort()).toEqual(TARGETS.map(target => target.name).sort());
  });

  it('is one line a line', () => {
    for (let number = 0; number < 500; number++)
      for (const { text } of caseOf(2, number).lines.filter(
        () => !/capture|objects/.test(caseOf(2, number).target.name),
      ))
        expect(text).not.toContain('\n');
  });
});

describe('every target', () => {
  it.each(TARGETS.map(target => [target.name, target] as const))('%s: holds on its own real lines', (_, target) => {
    const lines = target.corpus.slice(0, target.lines).map(text => ({ text, whole: true }));
    expect(() => target.check(lines, createRandom(1, 1))).not.toThrow();
  });

  it.each(TARGETS.flatMap(({ name, grammar }) => (grammar === undefined ? [] : [[name, grammar] as const])))(
    '%s: its grammar ends, and names nothing that is not there',
    (_, grammar) => {
      for (let number = 0; number < 2000; number++)
        expect(generate(grammar, createRandom(3, number))).not.toMatch(/<(n|ip|v4|chain|expr|kernel)>/);
    },
  );
});

/** Lines that were lost, or brought something down, until the fuzzer found them. */
describe('found before', () => {
  it.each([
    ['a hex dump of no packet', 'trace: nflog', ['\t0x0000:  0200 0000 a000 7200 2000 8000']],
    ['a hex dump without its beginning', 'trace: nflog', ['\t0x0: 0200', '\t0x00f0:  4500 003c']],
    [
      'a message repeated 0 times',
      'trace: journal',
      ['h kernel: message repeated 0 times: [ TRACE: raw:PREROUTING:rule:x IN= OUT=]'],
    ],
    [
      'a chain declared twice',
      'iptables-save',
      ['*nat', ':X - [0:0]', '-A X -j RETURN', ':X - [0:0]', '-A X -j ACCEPT', 'COMMIT'],
    ],
  ])('%s', (_, target, lines) => {
    expect(() => targetOf(target).check(whole(...lines), createRandom(1, 1))).not.toThrow();
  });

  it('a set whose brace never closes takes no longer than its lines', () => {
    const lines = ['table ip x {', '\tset y {', '\t\telements = { 10.0.0.1,', ...Array(20_000).fill('\t\t\t10.0.0.2,')];
    expect(() => targetOf('nft ruleset').check(whole(...lines), createRandom(1, 1))).not.toThrow();
  });
});
