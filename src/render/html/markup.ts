/** HTML that cannot be broken out of: whatever is put into a template is text, unless a template made it. */

import { escapeText } from '../escape.ts';

/** Markup that was made here, and is not escaped again. */
export class Markup {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

export type Insert = Markup | string | number | false | undefined | readonly Insert[];

/** A template whose inserts are escaped: html`<p>${name}</p>`. Lists are joined; `false` and `undefined` are nothing. */
export function html(parts: TemplateStringsArray, ...inserts: Insert[]): Markup {
  return new Markup(parts.map((part, i) => (i === 0 ? part : markupOf(inserts[i - 1]) + part)).join(''));
}

/** Text between two tags or inside a quoted attribute; what could steer a terminal or hide text is made visible. */
export function escapeMarkup(text: string): string {
  return escapeText(text).replace(/[&<>"'`]/g, char => `&#${char.charCodeAt(0)};`);
}

function markupOf(insert: Insert): string {
  if (insert === undefined || insert === false) return '';
  if (insert instanceof Markup) return insert.text;
  if (typeof insert === 'object') return insert.map(markupOf).join('');
  return escapeMarkup(String(insert));
}
