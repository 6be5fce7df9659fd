/**
 * Names, comments, HTTP answers and log lines come from people we do not know. Before any of it reaches a terminal or a
 * page, what could steer one is made visible: control characters, and the marks that reverse or hide text (UAX #9).
 */
import type { Report } from '../model.ts';

const STEERING =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g;

/** `\x1b` for one byte, `\u202e` for more; tabs and newlines become spaces. */
export function escapeText(text: string): string {
  return text.replace(/[\t\n]/g, ' ').replace(STEERING, char => {
    const code = char.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** A copy of the report whose every string is safe to print. */
export function escapeReport(report: Report): Report {
  return escapeValue(report) as Report;
}

function escapeValue(value: unknown): unknown {
  if (typeof value === 'string') return escapeText(value);
  if (Array.isArray(value)) return value.map(escapeValue);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [escapeText(key), escapeValue(item)]));
}

/** JSON may hold any character; those that steer a terminal are written as their escapes, which changes nothing in the value. */
export function escapeJson(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g,
    char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
