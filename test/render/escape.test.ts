/** Words of others in every format: none may steer a terminal or a page, and none may be lost. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { escapeJson, escapeReport, escapeText } from '../../src/render/escape.ts';
import { FORMATS } from '../../src/render/formats.ts';
import { renderJson, renderYaml } from '../../src/render/json.ts';
import { code, prose, renderMarkdown } from '../../src/render/markdown.ts';
import { render } from '../../src/render/render.ts';
import { createStyle } from '../../src/render/style.ts';
import { RUNS } from '../reconstruct/compare.ts';
import { HOSTILE, hostileReport, STEERING, text } from './arbitrary.ts';

const many = { numRuns: RUNS };
const some = { numRuns: Math.ceil(RUNS / 4) };

describe('one text', () => {
  test.each(HOSTILE.map(item => [JSON.stringify(item), item]))('%s', (_, item) => {
    const safe = escapeText(item);
    expect(STEERING.test(safe)).toBe(false);
    expect(safe).not.toContain('\n');
    expect(escapeText(safe)).toBe(safe);
  });

  test('what is harmless stays as it is', () => {
    for (const harmless of ['default/web:80', '-d 10.96.0.1/32 -p tcp', 'ünïcödé ✔ 漢字 🙂', '"quoted" \\ back', ''])
      expect(escapeText(harmless)).toBe(harmless);
  });

  test('control characters stay visible, and can be told apart', () => {
    expect(escapeText('\u001b[2J')).toBe('\\x1b[2J');
    expect(escapeText('\u009b')).toBe('\\x9b');
    expect(escapeText('\u202ex')).toBe('\\u202ex');
    expect(escapeText('a\tb\nc')).toBe('a b c');
  });

  test('any text', () => {
    fc.assert(
      fc.property(text, item => {
        expect(STEERING.test(escapeText(item))).toBe(false);
        expect(escapeText(item)).not.toMatch(/[\r\n\t]/);
      }),
      many,
    );
  });

  test('every steering character by itself', () => {
    for (let point = 0; point <= 0xffff; point++) {
      const char = String.fromCharCode(point);
      if (/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(char))
        expect(STEERING.test(escapeText(char)), point.toString(16)).toBe(false);
    }
  });
});

describe.each(FORMATS)('%s', format => {
  test('no control or bidirectional character reaches the output', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expect(STEERING.exec(render(report, format, createStyle(false, 80)))?.[0]).toBeUndefined();
      }),
      many,
    );
  });

  test('with colours on, the only escapes are those of the colours', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        const plain = render(report, format, createStyle(true, 80)).replace(/\u001b\[\d{1,2}m/g, '');
        expect(STEERING.exec(plain)?.[0]).toBeUndefined();
      }),
      some,
    );
  });

  test('without colour there is no escape byte', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expect(render(report, format, createStyle(false, 80))).not.toContain('\u001b');
      }),
      some,
    );
  });

  test('colours change nothing but colours', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        const plain = render(report, format, createStyle(true, 80)).replace(/\u001b\[\d{1,2}m/g, '');
        expect(plain).toBe(render(report, format, createStyle(false, 80)));
      }),
      some,
    );
  });

  test('ends in one newline', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expect(render(report, format, createStyle(false, 80))).toMatch(/[^\n]\n$/);
      }),
      { numRuns: 50 },
    );
  });
});

describe('json', () => {
  test('parses back to the very same value', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expect(JSON.parse(renderJson(report))).toEqual(JSON.parse(JSON.stringify(report)));
      }),
      many,
    );
  });

  test('escapes that change nothing in the value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), text, (value, item) => {
        const json = JSON.stringify([value, item]);
        expect(JSON.parse(escapeJson(json))).toEqual(JSON.parse(json));
        expect(STEERING.test(escapeJson(json))).toBe(false);
      }),
      many,
    );
  });
});

describe('yaml', () => {
  test('parses to the same structure, its texts escaped', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expect(parse(renderYaml(report))).toEqual(JSON.parse(JSON.stringify(escapeReport(report))));
      }),
      some,
    );
  });
});

/** What GitHub (cmark-gfm's table.c) and markdown-it do with a row: a `|` ends a cell, unless a backslash stands right before it. */
function cellsOf(row: string): number {
  return [...row.matchAll(/(?<!\\)\|/g)].length - 1;
}

describe('markdown', () => {
  test('every row of a table has the columns of its head', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        for (const line of renderMarkdown(report).split('\n'))
          if (line.startsWith('|')) expect(cellsOf(line), line).toBe(5);
      }),
      many,
    );
  });

  test('no tag, no link, no picture of others', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        const outside = renderMarkdown(report)
          .split('\n')
          .map(line => withoutCode(line))
          .join('\n');
        expect(outside).not.toMatch(/(?<!\\)<[a-z!/]/i);
        expect(outside).not.toMatch(/(?<!\\)\]\(/);
      }),
      many,
    );
  });

  test('inline code cannot be left', () => {
    fc.assert(
      fc.property(text, item => {
        const safe = escapeText(item);
        const span = code(safe);
        const fence = /^`+/.exec(span)?.[0] ?? '';
        expect(span.endsWith(fence)).toBe(true);
        const inner = span.slice(fence.length, -fence.length);
        expect(new RegExp(`(?<!\`)${fence}(?!\`)`).test(inner)).toBe(false);
        expect(inner.trim()).toBe(safe.trim());
      }),
      many,
    );
  });

  test('prose is not markup', () => {
    fc.assert(
      fc.property(text, item => {
        expect(prose(escapeText(item))).not.toMatch(/(?<!\\)[`*_[\]|~#<>]/);
      }),
      many,
    );
    expect(prose('a <b> `c` [d](e) | f')).toBe('a &lt;b&gt; \\`c\\` \\[d\\](e) \\| f');
  });
});

/** Takes out inline code the way CommonMark 6.1 reads it: a fence ends at the next run of as many backticks. */
function withoutCode(line: string): string {
  return line.replace(/(?<![\\`])(`+)(?!`)([\s\S]*?[^`])\1(?!`)/g, '');
}
