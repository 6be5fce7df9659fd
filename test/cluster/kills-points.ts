/** Where a run can be ended: every line a verbose run says, with what differs from run to run taken out. The program tells them itself. */

/** @returns undefined for a line that is none of the progress */
export function pointOf(line: string): string | undefined {
  const [, deeper, text] = /^\d+\.\d\d s {2}( *)(.*)$/.exec(line) ?? [];
  if (text === undefined) return undefined;
  return deeper === '' ? stepOf(text) : deedOf(text);
}

/** `looking up web in prod` is about something; the step is what it begins with. */
function stepOf(text: string): string {
  return text.replace(/ (web|on n\d).*$/, '');
}

/** `GET /api/v1/namespaces/shop/pods/trace-svc-1a2b3c4d: 404` -> `GET pods/RUN: 404` */
function deedOf(text: string): string {
  return text
    .replace(/trace-svc-[0-9a-f]{8}/g, 'RUN')
    .replace(/ \/api(s\/[^/]+)?\/v1\/(namespaces\/[^/ ]+\/)?/, ' ')
    .replace(/\?[^ :]*/, '')
    .replace(/ended with \d+/, 'ended');
}

/** The run's id, once it is said. */
export function runOf(text: string): string | undefined {
  return /trace-svc-([0-9a-f]{8})/.exec(text)?.[1];
}
