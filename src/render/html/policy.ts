/** The page's Content Security Policy: nothing is loaded, and nothing runs but the one script that came with it. */
import { createHash } from 'node:crypto';

/** CSP 3, 8.3: an inline element is let through by the hash of its text. `img-src data:` is for the empty icon alone. */
export function policyFor(script: string, style: string): string {
  return [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}

function hashOf(text: string): string {
  return `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
}
