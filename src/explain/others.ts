/** What the trace shows beside the probes: the pod's own connections to what the probes asked. */
import { type Case, isOpened } from './cases.ts';
import type { Draft } from './draft.ts';
import { sentenceOf, severityOf } from './to-findings.ts';

interface Checked {
  one: Case;
  drafts: Draft[];
}

/**
 * A pod that is probed may do more on the traced ports than what the probes do. Of that only trouble is told that the probes did not
 * meet, and nothing of what asks the same and was opened before the trace. In files, what asks something else is as good a question.
 */
export function withoutOthers(checked: Checked[], live: boolean): Draft[] {
  const own = checked.filter(({ one }) => !one.probe.inferred);
  const asked = new Set(own.map(({ one }) => questionOf(one)));
  const senders = new Set(own.map(({ one }) => senderOf(one)));
  const isOthers = (one: Case) =>
    one.probe.inferred === true && (live ? senders.has(senderOf(one)) : asked.has(questionOf(one)));
  const told = new Set(checked.filter(({ one }) => !isOthers(one)).flatMap(({ drafts }) => drafts.map(sentenceOf)));
  return checked.flatMap(({ one, drafts }) => {
    if (!isOthers(one)) return drafts;
    if (asked.has(questionOf(one)) && !isOpenedByOne(one)) return [];
    return drafts
      .filter(draft => severityOf(draft) !== 'info' && !told.has(sentenceOf(draft)))
      .map(draft => ({ ...draft, severity: 'warning' }));
  });
}

function isOpenedByOne({ connections }: Case): boolean {
  return connections.some(({ requests, replies }) => isOpened([...requests, ...replies]));
}

function senderOf({ connections: [first] }: Case): string | undefined {
  return first?.connection.original.src;
}

/** Who asked whom, by what. */
function questionOf(one: Case): string {
  return `${one.connections[0]?.connection.protocol} ${senderOf(one)} ${one.probe.target}`;
}
