/** Every kind of finding has its page, for the person who wants to know more than a sentence. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { FINDINGS } from '../../src/explain/findings.ts';

const DOCS = new URL('../../docs/findings/', import.meta.url);

test.each(Object.keys(FINDINGS))('docs/findings/%s.md', kind => {
  const page = new URL(`${kind}.md`, DOCS);
  expect(existsSync(page)).toBe(true);
  expect(readFileSync(page, 'utf8').length).toBeGreaterThan(100);
});

test('no page is about a kind that does not exist', () => {
  const pages = existsSync(DOCS) ? readdirSync(DOCS) : [];
  const known = Object.keys(FINDINGS).map(kind => `${kind}.md`);
  expect(pages.filter(page => !known.includes(page) && page !== 'README.md')).toEqual([]);
});
