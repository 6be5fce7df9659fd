/** What may be missing from a result: signs of loss, gaps, lines nobody understood, steps nobody could check. */
import type { Capture } from './capture.ts';
import type { Loss, Report, Unrecognised } from './model.ts';
import type { Reconstruction } from './reconstruct/journeys.ts';
import { eventsOf, type Pass } from './reconstruct/pass.ts';
import type { RuleBook } from './rules/book.ts';

/** What was noticed while the lines were read. */
export interface Seen {
  events: number;
  unrecognised: number;
  samples: Unrecognised[];
  losses: Loss[];
}

/** Of each kind so many are shown. */
export const SAMPLES = 20;

/** @param notKept packets of an overlong trace; @param names of the inputs, by their number */
export function completenessOf(
  reconstruction: Reconstruction,
  seen: Seen,
  notKept: number,
  capture: Capture,
  names: string[],
  book: RuleBook,
): Report['completeness'] {
  const at = (source: number, line: number) => `${names[source] ?? source}:${line}`;
  const lost = seen.losses.reduce((sum, loss) => sum + (loss.count ?? 1), 0) + capture.losses.length;
  const reasons = [
    ...capture.losses,
    ...seen.losses.slice(0, SAMPLES).map(loss => `${at(loss.source, loss.line)}: ${loss.reason}`),
  ];
  if (reconstruction.headless > 0) reasons.push(`${reconstruction.headless} packets have no header line`);
  if (notKept > 0)
    reasons.push(`the trace is long: ${notKept} packets were counted but not kept; narrow it with --pod-ip`);
  const completeness: Report['completeness'] = {
    complete: false,
    lost,
    gaps: reconstruction.gaps,
    duplicates: reconstruction.duplicates,
    unrecognised: {
      count: seen.unrecognised,
      samples: seen.samples.map(({ source, line, raw, reason }) => ({ line: at(source, line), raw, reason })),
    },
    reasons,
    checkedAgainst: checkedAgainst(reconstruction, book),
    events: seen.events,
    packetsNotKept: notKept,
  };
  completeness.complete = completeness.checkedAgainst === 'rules' && !hasSigns(completeness);
  return completeness;
}

/** Something was lost, or may have been: more than that nobody could check. */
function hasSigns(completeness: Report['completeness']): boolean {
  const { lost, gaps, unrecognised, packetsNotKept, reasons } = completeness;
  return lost > 0 || gaps > 0 || unrecognised.count > 0 || packetsNotKept > 0 || reasons.length > 0;
}

/** Every step was checked if the rules of every backend that has any are known. */
function checkedAgainst(reconstruction: Reconstruction, book: RuleBook): 'rules' | 'structure' {
  const checked = new Map<unknown, boolean>();
  const unknown = (pass: Pass | undefined): boolean => {
    if (!pass?.headers[0] || book.covers(pass.backend, pass.headers[0].family)) return false;
    const key = pass.shape ?? pass;
    const known = checked.get(key) ?? isEmpty(pass);
    checked.set(key, known);
    return !known;
  };
  return reconstruction.traced.some(({ packet }) => unknown(packet.legacy) || unknown(packet.nft))
    ? 'structure'
    : 'rules';
}

/** `policy:1`: the chain has no rules, so there are none to know. */
function isEmpty(pass: Pass): boolean {
  return eventsOf(pass).every(({ point }) => point.kind === 'policy' && point.number === 1);
}
