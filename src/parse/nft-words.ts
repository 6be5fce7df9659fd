/** nft's text cut into words: quoted strings and brace groups stay whole. */
import type { SetElement } from '../model.ts';
import { own } from './strings.ts';

/** Words of a rule. A brace group is one word, with its braces. */
export function splitNftWords(text: string): string[] {
  const words: string[] = [];
  for (let i = 0; i < text.length; ) {
    const char = text[i] ?? '';
    const end = char === '"' ? endOfQuote(text, i) : char === '{' ? endOfGroup(text, i) : endOfWord(text, i);
    if (end > i) words.push(text.slice(i, end));
    i = Math.max(end, i + 1);
  }
  return words;
}

function endOfWord(text: string, from: number): number {
  let at = from;
  while (at < text.length && text.charCodeAt(at) > 32) at++;
  return at;
}

function endOfQuote(text: string, from: number): number {
  let at = from + 1;
  while (at < text.length && text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return Math.min(at + 1, text.length);
}

function endOfGroup(text: string, from: number): number {
  let depth = 0;
  for (let at = from; at < text.length; at++) {
    if (text[at] === '"') at = endOfQuote(text, at) - 1;
    else if (text[at] === '{') depth++;
    else if (text[at] === '}' && --depth === 0) return at + 1;
  }
  return text.length;
}

/** `a . tcp . 80 comment "x" : goto y, b` -> elements. Timeouts and counters of an element are not part of its key. */
export function parseElements(text: string): SetElement[] {
  return splitAt(text, ',').flatMap(part => {
    const [left = '', ...right] = splitAt(part, ' : ');
    const words = splitNftWords(left);
    const comment = words.indexOf('comment');
    const stop = words.findIndex(word => ELEMENT_OPTIONS.has(word));
    const key = (stop < 0 ? words : words.slice(0, stop)).filter(word => word !== '.');
    if (key.length === 0) return [];
    const element: SetElement = { key: key.map(word => own(unquote(word))) };
    if (right.length > 0) element.verdict = own(right.join(' : ').trim());
    if (comment >= 0) element.comment = own(unquote(words[comment + 1] ?? ''));
    return [element];
  });
}

const ELEMENT_OPTIONS = new Set(['comment', 'timeout', 'expires', 'counter', 'quota', 'limit']);

/** Splits outside quotes and braces. */
function splitAt(text: string, separator: string): string[] {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '"') at = endOfQuote(text, at) - 1;
    else if (text[at] === '{') at = endOfGroup(text, at) - 1;
    else if (text.startsWith(separator, at)) {
      parts.push(text.slice(from, at));
      from = at + separator.length;
      at = from - 1;
    }
  }
  parts.push(text.slice(from));
  return parts;
}

export function unquote(word: string): string {
  return word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word;
}
