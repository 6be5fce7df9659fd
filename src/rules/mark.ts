/**
 * A packet's mark, as far as it is known. nft prints it only at the end of a chain, so between two such lines it is worked
 * out from the rules that set it; bits that no rule set and no line told stay unknown.
 * Bit operations: iptables-extensions(8) MARK, nft(8) "META STATEMENT".
 */
import type { Rule } from '../model.ts';

/** `value` is right in the bits of `known`, and 0 elsewhere. */
export interface Mark {
  value: number;
  known: number;
}

const ALL = 0xffffffff;

export const UNKNOWN_MARK: Mark = { value: 0, known: 0 };

export function exactMark(value: number): Mark {
  return { value, known: ALL };
}

/** Is `mark & mask` equal to `value`? Undefined where an unknown bit decides. */
export function markEquals(mark: Mark, value: number, mask: number): boolean | undefined {
  const differs = ((mark.value ^ value) & mask & mark.known) !== 0;
  // A bit wanted outside the mask can never be there.
  if (differs || (value & ~mask) !== 0) return false;
  return (mask & ~mark.known) === 0 ? true : undefined;
}

/** The mark behind a rule with target MARK; unknown where its words are not understood. */
export function markAfter(mark: Mark, rule: Rule): Mark {
  const [first = ''] = rule.targetArgs;
  return first.startsWith('--') ? afterIptables(mark, rule.targetArgs) : afterNft(mark, rule.targetArgs);
}

/** `--set-xmark V/M`: the bits of M are cleared, then V is xored in; the others are short for it. */
function afterIptables(mark: Mark, [option = '', text = '']: string[]): Mark {
  const [value = Number.NaN, mask = ALL] = text.split('/').map(Number);
  if (Number.isNaN(value) || Number.isNaN(mask)) return UNKNOWN_MARK;
  if (option === '--set-xmark') return xor(clear(mark, mask), value);
  if (option === '--set-mark') return xor(clear(mark, mask | value), value);
  if (option === '--or-mark') return xor(clear(mark, value), value);
  if (option === '--and-mark') return clear(mark, ~value);
  return option === '--xor-mark' ? xor(mark, value) : UNKNOWN_MARK;
}

/** The words behind `meta mark set`: `mark or 0x4000`, `meta mark ^ 0x4000`, `0x1`. */
function afterNft(mark: Mark, words: string[]): Mark {
  const rest = words[0] === 'meta' ? words.slice(1) : words;
  let result = rest[0] === 'mark' ? mark : number(rest[0]);
  for (let i = 1; i + 1 < rest.length; i += 2) result = operate(result, rest[i] ?? '', rest[i + 1]);
  return result;
}

function number(text: string | undefined): Mark {
  const value = Number(text ?? 'none');
  return Number.isNaN(value) ? UNKNOWN_MARK : exactMark(value);
}

function operate(mark: Mark, operator: string, text: string | undefined): Mark {
  const operand = Number(text ?? 'none');
  if (Number.isNaN(operand)) return UNKNOWN_MARK;
  if (operator === 'or' || operator === '|') return xor(clear(mark, operand), operand);
  if (operator === 'and' || operator === '&') return clear(mark, ~operand);
  return operator === 'xor' || operator === '^' ? xor(mark, operand) : UNKNOWN_MARK;
}

function clear(mark: Mark, bits: number): Mark {
  return { value: mark.value & ~bits, known: mark.known | bits };
}

function xor(mark: Mark, bits: number): Mark {
  return { value: (mark.value ^ bits) & mark.known, known: mark.known };
}
