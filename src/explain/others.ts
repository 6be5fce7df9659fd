/** What the trace shows beside the probes: the pod's own connections to what the probes asked. */
import { type Case, isOpened } from './cases.ts';
import type { Draft } from './draft.ts';
import { sentenceOf, severityOf } from './to-findings.ts';

interface Checked {
  one: Case;
  drafts: Draft[];
}

/**
 * A pod that is probed may ask the same of its own. Of that only trouble is told that the probe did not meet, and nothing of what
 * was opened before the trace.
 */
export function withoutOthers(checked: Checked[]): Draft[] {
  const asked = new Set(checked.filter(({ one }) => !one.probe.inferred).map(({ one }) => questionOf(one)));
  const isOthers = (one: Case) => one.probe.inferred === true && asked.has(questionOf(one));
  const told = new Set(checked.filter(({ one }) => !isOthers(one)).flatMap(({ drafts }) => drafts.map(sentenceOf)));
  return checked.flatMap(({ one, drafts }) => {
    if (!isOthers(one)) return drafts;
    if (!one.connections.some(({ requests, replies }) => isOpened([...requests, ...replies]))) return [];
    return drafts
      .filter(draft => severityOf(draft) !== 'info' && !told.has(sentenceOf(draft)))
      .map(draft => ({ ...draft, severity: 'warning' }));
  });
}

/** Who asked whom, by what. */
function questionOf({ probe, connections: [first] }: Case): string {
  return `${first?.connection.protocol} ${first?.connection.original.src} ${probe.target}`;
}
