/** Verdicts -> text, one line each, and what to do below; or JSON. Pure. */

import { escapeJson, escapeText } from '../render/escape.ts';
import { type Style, wrap } from '../render/style.ts';
import { API_VERSION } from '../version.ts';
import type { Verdict } from './verdicts.ts';

export function renderVerdicts(verdicts: Verdict[], format: 'text' | 'json', style: Style): string {
  if (format === 'json')
    return `${escapeJson(JSON.stringify({ apiVersion: API_VERSION, kind: 'Doctor', verdicts }, undefined, 2))}\n`;
  const groups = [...new Set(verdicts.map(verdict => verdict.where))];
  return `${groups.map(where => groupText(where, verdicts, style)).join('\n\n')}\n`;
}

const WIDTH = 12;

function groupText(where: string, verdicts: Verdict[], style: Style): string {
  const own = verdicts.filter(verdict => verdict.where === where);
  return [style.bold(escapeText(where)), ...own.flatMap(verdict => verdictLines(verdict, style))].join('\n');
}

function verdictLines({ state, what, text, remedy }: Verdict, style: Style): string[] {
  const [sign, colour] = ({ ok: ['✔', style.good], warn: ['!', style.warn], fail: ['✘', style.bad] } as const)[state];
  const indent = ' '.repeat(WIDTH + 2);
  const lines = wrap(escapeText(text), style.width - WIDTH - 2);
  return [
    ...lines.map((line, i) => (i === 0 ? `${colour(sign)} ${what.padEnd(WIDTH)}${line}` : `${indent}${line}`)),
    ...(remedy === undefined
      ? []
      : wrap(`→ ${escapeText(remedy)}`, style.width - WIDTH - 4).map(line => `${indent}${line}`)),
  ];
}
