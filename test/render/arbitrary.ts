/** Reports no trace would give: every string in them may be anything. */
import fc from 'fast-check';
import type { Report } from '../../src/model.ts';
import { explained } from '../reconstruct/captures.ts';

/** What steers a terminal, a page or a table, and what a shell or a parser takes for its own. */
export const HOSTILE = [
  '\u001b[31mred\u001b[0m',
  '\u001b]0;title\u0007',
  '\u001b]8;;http://evil.example\u001b\\link\u001b]8;;\u001b\\',
  '\u001bP1$r\u001b\\',
  '\u009b2J',
  '\u009d0;x\u009c',
  '\u0085next line',
  '\b\b\boverwritten',
  '\rback',
  'two\nlines',
  'a\ttab',
  'nul\u0000',
  '\u007f',
  '\u202ereversed',
  '\u2066isolate\u2069',
  '\u200bzero width',
  '\u2028line\u2029paragraph',
  '\ufefffeff',
  '\u00adsoft',
  '`code` ``more``',
  '```',
  '| a | b |',
  '\\| \\\\|',
  '<script>alert(1)</script>',
  '<!-- x -->',
  '[link](javascript:alert(1))',
  '![img](http://evil.example/x.png)',
  '**bold** _em_ ~~strike~~ # head',
  '- item',
  '> quote',
  '&lt;&#x202e;',
  '$(reboot) `reboot`; rm -rf /',
  "'; DROP TABLE x; --",
  '{ "a": 1 }',
  '%s %d %n',
  'ünïcödé ✔ 漢字 🙂',
  '\ud800',
  '__proto__',
  '',
  ' leading and trailing ',
  'yes',
  'null',
  '0x10',
  '- - -',
  ': ?',
  '@at `x`',
];

export const text = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ unit: 'binary', maxLength: 30 }),
  fc.array(fc.constantFrom(...HOSTILE), { minLength: 1, maxLength: 3 }).map(parts => parts.join(' ')),
);

const REPORTS: Report[] = [
  explained('legacy', ['web-curl', 'web-ping']),
  explained('legacy', 'noep-curl'),
  explained('legacy', 'ext-curl'),
  explained('nft', 'self-curl'),
  explained('nft', 'apiserver-curl'),
  explained('nftables', 'sticky-curl'),
  explained('legacy', 'web-curl', { rules: false }),
];

/** The strings that mean something to the program itself; everything else comes from outside. */
const OWN_KEYS = new Set([
  'apiVersion',
  'kind',
  'severity',
  'direction',
  'event',
  'hook',
  'backend',
  'backends',
  'family',
  'field',
  'evidence',
  'outcome',
  'checkedAgainst',
]);

/** A real report in which some strings are somebody else's: as names, comments, rule texts, answers of servers. */
export const hostileReport = hostile(OWN_KEYS);

function hostile(own: Set<string>): fc.Arbitrary<Report> {
  return fc
    .tuple(fc.constantFrom(...REPORTS), fc.infiniteStream(text), fc.infiniteStream(fc.nat(9)))
    .map(([report, texts, dice]) => {
      const swap = (value: unknown, key: string): unknown => {
        if (typeof value === 'string')
          return own.has(key) || (dice.next().value as number) > 3 ? value : (texts.next().value as string);
        if (Array.isArray(value)) return value.map(item => swap(item, key));
        if (typeof value !== 'object' || value === null) return value;
        return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, swap(item, name)]));
      };
      const changed = swap(report, '') as Report;
      changed.completeness.unrecognised = {
        count: 1,
        samples: [
          {
            line: texts.next().value as string,
            raw: texts.next().value as string,
            reason: texts.next().value as string,
          },
        ],
      };
      changed.notes = [`note ${texts.next().value}.`];
      return changed;
    });
}

/** Every control character and every mark that reverses or hides text, but for the line feeds we write ourselves. */
export const STEERING =
  /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/;
