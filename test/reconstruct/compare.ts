/** Journeys without what depends on the input they came from, so that two runs can be compared. */
import type { Capture } from '../../src/capture.ts';
import type { Hop, Journey, Report } from '../../src/model.ts';

/** One hop as a word: where, what, and with which addresses. */
export function hopKey(hop: Hop): string {
  const { src, sport, dst, dport } = hop.tuple;
  return [
    hop.hook,
    hop.backend,
    hop.family,
    hop.table,
    hop.chain,
    hop.event,
    hop.rule ?? '-',
    hop.verdict ?? '-',
    hop.target ?? '-',
    hop.text ?? '-',
    hop.mark ?? 0,
    `${hop.in ?? ''}>${hop.out ?? ''}`,
    `${src}:${sport ?? ''}>${dst}:${dport ?? ''}`,
  ].join(' | ');
}

export function rewriteKey({
  field,
  from,
  to,
  kind,
  chain,
  rule,
  fromConnection,
}: Journey['rewrites'][number]): string {
  return [field, from, to ?? '?', kind, chain ?? '-', rule ?? '-', fromConnection ?? false].join(' ');
}

/** Everything of a journey but line numbers, the clock, and the numbers of its probe and connection. */
export function plain(journey: Journey): object {
  return {
    packet: journey.packet,
    direction: journey.direction,
    outcome: journey.outcome,
    endpoint: journey.endpoint,
    gaps: journey.gaps,
    later: journey.later,
    hops: journey.hops.map(hop => `${hopKey(hop)} | ${hop.meaning ?? ''}`),
    rewrites: journey.rewrites.map(rewrite => `${rewriteKey(rewrite)} ${rewrite.evidence} ${rewrite.beforeHop}`),
  };
}

/** As a sorted list: packets of several sources have no common order. */
export function plainJourneys(report: Report): string[] {
  return report.journeys.map(journey => JSON.stringify(plain(journey))).sort();
}

export function inOneFile(capture: Capture, text: string, name = 'mixed.txt'): Capture {
  return { ...capture, traces: [{ name, text }] };
}

/** Lines of several streams in one, each stream's own order kept; `picks` says whose line is next. */
export function interleaved(streams: string[][], picks: readonly number[]): string[] {
  const rest = streams.map(lines => [...lines]);
  const result: string[] = [];
  let at = 0;
  while (rest.some(lines => lines.length > 0)) {
    const open = rest.filter(lines => lines.length > 0);
    const pick = picks.length === 0 ? 0 : (picks[at++ % picks.length] as number);
    result.push((open[pick % open.length] as string[]).shift() as string);
  }
  return result;
}

export const RUNS = Number(process.env.FC_RUNS ?? 300);
