import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseRule } from '../../src/parse/iptables-save.ts';
import { parseNftRule } from '../../src/parse/nft-rule.ts';
import { exactMark, type Mark, markAfter, markEquals, UNKNOWN_MARK } from '../../src/rules/mark.ts';
import { check } from '../support/fuzz.ts';

/** Bits have no sign; JavaScript's bit operations give them one. */
const bits = ({ value, known }: Mark) => ({ value: value >>> 0, known: known >>> 0 });

describe('a mark compared', () => {
  const LOW: Mark = { value: 0x1, known: 0xff };
  it.each([
    { name: 'the same', mark: exactMark(0x4000), value: 0x4000, mask: 0xffffffff, want: true },
    { name: 'another', mark: exactMark(0x4001), value: 0x4000, mask: 0xffffffff, want: false },
    { name: 'the same under the mask', mark: exactMark(0x4001), value: 0x4000, mask: 0x4000, want: true },
    { name: 'the highest bit', mark: exactMark(0x80000000), value: 0x80000000, mask: 0x80000000, want: true },
    { name: 'nothing asked', mark: UNKNOWN_MARK, value: 0, mask: 0, want: true },
    { name: 'a bit outside the mask wanted', mark: exactMark(0x5), value: 0x5, mask: 0x4, want: false },
    { name: 'unknown', mark: UNKNOWN_MARK, value: 0x4000, mask: 0x4000, want: undefined },
    { name: 'known bits agree, others are not asked', mark: LOW, value: 0x1, mask: 0xff, want: true },
    { name: 'known bits agree, others are asked', mark: LOW, value: 0x1, mask: 0xffff, want: undefined },
    { name: 'known bits differ', mark: LOW, value: 0x2, mask: 0xffff, want: false },
  ])('$name', ({ mark, value, mask, want }) => expect(markEquals(mark, value, mask)).toBe(want));
});

describe('a mark behind a rule', () => {
  const rule = (text: string) => (text.startsWith('-') ? parseRule(text, 1) : parseNftRule(text, 1));
  it.each([
    { text: '-j MARK --set-xmark 0x4000/0x4000', before: 0x1, want: 0x4001 },
    { text: '-j MARK --set-xmark 0x4000/0xffffffff', before: 0x1, want: 0x4000 },
    { text: '-j MARK --set-xmark 0x1/0x0', before: 0x3, want: 0x2 },
    { text: '-j MARK --set-mark 0x5', before: 0x2, want: 0x5 },
    { text: '-j MARK --set-mark 0x5/0xff', before: 0xf00, want: 0xf05 },
    { text: '-j MARK --or-mark 0x4000', before: 0x1, want: 0x4001 },
    { text: '-j MARK --and-mark 0xffffbfff', before: 0x4001, want: 0x1 },
    { text: '-j MARK --xor-mark 0x4000', before: 0x4001, want: 0x1 },
    { text: 'meta mark set 0x4000', before: 0x1, want: 0x4000 },
    { text: 'meta mark set meta mark | 0x00004000', before: 0x1, want: 0x4001 },
    { text: 'meta mark set mark or 0x4000', before: 0x1, want: 0x4001 },
    { text: 'mark set mark xor 0x4000', before: 0x4001, want: 0x1 },
    { text: 'meta mark set meta mark ^ 0x00004000', before: 0x4001, want: 0x1 },
    { text: 'meta mark set meta mark & 0xffff0000 | 0x00000001', before: 0x4001, want: 0x1 },
    { text: 'meta mark set meta mark & 0x80000000', before: 0xffffffff, want: 0x80000000 },
  ])('$text', ({ text, before, want }) =>
    expect(bits(markAfter(exactMark(before), rule(text)))).toEqual(bits(exactMark(want))),
  );

  it.each([
    { text: '-j MARK --set-xmark 0x4000/0x4000', want: { value: 0x4000, known: 0x4000 } },
    { text: '-j MARK --set-xmark 0x4000/0xffffffff', want: { value: 0x4000, known: 0xffffffff } },
    { text: '-j MARK --and-mark 0xffffbfff', want: { value: 0, known: 0x4000 } },
    { text: '-j MARK --xor-mark 0x4000', want: { value: 0, known: 0 } },
    { text: 'meta mark set meta mark | 0x00004000', want: { value: 0x4000, known: 0x4000 } },
    { text: 'meta mark set ct mark', want: { value: 0, known: 0 } },
    { text: '-j MARK --frobnicate 0x1', want: { value: 0, known: 0 } },
    { text: '-j MARK --set-xmark nonsense', want: { value: 0, known: 0 } },
  ])('of an unknown mark: $text', ({ text, want }) => expect(bits(markAfter(UNKNOWN_MARK, rule(text)))).toEqual(want));
});

describe('properties', () => {
  const long = fc.nat({ max: 0xffffffff });
  const OPTIONS: [string, (mark: number, value: number) => number][] = [
    ['--set-mark', (_, value) => value],
    ['--or-mark', (mark, value) => mark | value],
    ['--and-mark', (mark, value) => mark & value],
    ['--xor-mark', (mark, value) => mark ^ value],
  ];

  it('what is known of a half-known mark is right, whichever mark it really is', () =>
    check(
      fc.property(long, long, long, fc.constantFrom(...OPTIONS), (real, known, value, [option, operate]) => {
        const after = markAfter({ value: real & known, known }, parseRule(`-j MARK ${option} ${value}`, 1));
        expect((after.value ^ operate(real, value)) & after.known).toBe(0);
        expect(after.value & ~after.known).toBe(0);
      }),
    ));

  it('a comparison that has an answer has the right one', () =>
    check(
      fc.property(long, long, long, long, (real, known, value, mask) => {
        const wanted = value & mask;
        const answer = markEquals({ value: real & known, known }, wanted, mask);
        if (answer !== undefined) expect(answer).toBe((real & mask) === wanted);
      }),
    ));
});
