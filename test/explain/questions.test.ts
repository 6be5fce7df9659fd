/** Logs of many clients: a few of each way are told in full, the others counted, and what is rare is not lost among them. */
import { describe, expect, it } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { MOST_QUESTIONS } from '../../src/explain/questions.ts';
import { emptyObjects, readObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { capture } from '../support/captures.ts';

const linesOf = (path: string) => capture(path).trimEnd().split('\n');
/** Its SYN, the answer, and the ACK of that. */
const ANSWERED = linesOf('legacy/web-curl/kmsg.txt').slice(0, 32);
const NOBODY = linesOf('legacy/noep-curl/kmsg.txt');
const FIRST_LINE = ANSWERED[0] as string;

/** The lines of a capture as those of another client, a second later. */
function asClient(lines: string[], index: number): string[] {
  return lines.map(line =>
    line
      .replace(/^\[ *(\d+)/, (_, seconds) => `[${Number(seconds) + index}`)
      .replaceAll('=10.244.1.72 ', `=10.244.${8 + (index >> 8)}.${index & 255} `)
      .replace(/([SD]PT)=(\d{5})\b/, (_, key) => `${key}=${20_000 + index}`),
  );
}

function reportOn(clients: string[][]): Report {
  const objects = readObjects(JSON.parse(capture('legacy/objects.json'))) ?? emptyObjects();
  const given = emptyCapture('files', objects);
  const lines = clients.flatMap((client, index) => asClient(client, index));
  given.traces.push({ name: 'kern.log', text: `${lines.join('\n')}\n` });
  given.rules.push({ name: 'rules', text: capture('legacy/web-curl/iptables-save.txt') });
  return analyse(given);
}

function many(count: number, rare: Record<number, string[]> = {}): Report {
  return reportOn(Array.from({ length: count }, (_, i) => rare[i] ?? ANSWERED));
}

const timesOf = (report: Report, kind: string) =>
  report.findings.filter(finding => finding.kind === kind).map(({ facts }) => [facts?.times, facts?.asked]);

describe('many clients of one Service', () => {
  it('as many as are told in full are all told', () => {
    const report = many(MOST_QUESTIONS);
    expect(report.probes).toHaveLength(MOST_QUESTIONS);
    expect(timesOf(report, 'ServiceAnswered')).toEqual([[MOST_QUESTIONS, MOST_QUESTIONS]]);
  });

  it('of more, a few are told, all are counted, and the report says so', () => {
    const report = many(1000);
    expect(report.probes.length).toBeLessThanOrEqual(MOST_QUESTIONS);
    expect(timesOf(report, 'ServiceAnswered')).toEqual([[1000, 1000]]);
    const picked = report.findings.find(({ kind }) => kind === 'EndpointsPicked');
    expect(picked?.facts).toMatchObject({ picks: 1000 });
    expect(report.notes.join()).toContain(`${1000 - report.probes.length} more questions of other clients`);
    expect(report.completeness).toMatchObject({ complete: true, gaps: 0 });
  });

  it.each([0, 500, 999])('client %i alone asked a Service without endpoints: that comes first', index => {
    const report = many(1000, { [index]: NOBODY });
    expect(report.findings[0]).toMatchObject({ kind: 'NoEndpoints', severity: 'error' });
    expect(timesOf(report, 'ServiceAnswered')).toEqual([[999, 999]]);
  });

  it.each([3, 11, 25])('client %i alone lost a line: the gap is told', line => {
    const lossy = ANSWERED.filter((_, i) => i !== line);
    const alone = reportOn([lossy]);
    const report = many(1000, { 700: lossy });
    expect(alone.completeness.gaps).toBeGreaterThan(0);
    expect(report.completeness).toMatchObject({ complete: false, gaps: alone.completeness.gaps });
    expect(report.journeys.filter(journey => journey.gaps > 0)).toHaveLength(1);
  });

  it('some saw only the first packet answered: each way has its count', () => {
    const silent = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [i * 3, ANSWERED.slice(0, 20)]));
    const report = many(1000, silent);
    expect(timesOf(report, 'ServiceAnswered')).toEqual([[700, 1000]]);
  });
});

describe('too many ways to look at', () => {
  const ports = Array.from({ length: MOST_QUESTIONS + 100 }, (_, i) => [
    FIRST_LINE.replace('DPT=80', `DPT=${1000 + i}`),
  ]);
  const report = reportOn(ports);

  it('the report says how many were not looked at, and is not whole', () => {
    expect(report.probes).toHaveLength(MOST_QUESTIONS);
    expect(report.completeness.complete).toBe(false);
    expect(report.completeness.reasons.join()).toContain('100 of them were not looked at');
  });
});
