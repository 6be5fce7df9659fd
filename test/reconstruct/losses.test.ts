/**
 * One line lost, any line of any capture: with the rules given it must show, and what is still told must be true. What is
 * missing may be missed; nothing may be invented.
 */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import type { Capture } from '../../src/capture.ts';
import type { Hop, Journey, Report } from '../../src/model.ts';
import { allScenarios, captureOf, fileOf, hasFile, linesOf, type Mode } from './captures.ts';
import { RUNS } from './compare.ts';

interface Source {
  mode: Mode;
  scenario: string;
  /** All traces that are given; a line of `file` is lost. */
  traces: readonly string[];
  file: string;
}

/** A kernel log cannot tell of nft's chains, so under nft it is never given alone. */
const SOURCES: Source[] = allScenarios().flatMap(({ mode, scenario }): Source[] => {
  if (mode === 'legacy') return [{ mode, scenario, traces: ['kmsg.txt'], file: 'kmsg.txt' }];
  const both = ['kmsg.txt', 'nft-monitor.txt'].filter(name => hasFile(mode, scenario, name));
  return [
    ...both.map(file => ({ mode, scenario, traces: both, file })),
    { mode, scenario, traces: ['nft-monitor.txt'], file: 'nft-monitor.txt' },
  ];
});

function nameOf({ mode, scenario, traces, file }: Source): string {
  return `${mode}/${scenario}, a line of ${file}${traces.length > 1 ? ` beside ${traces.filter(t => t !== file).join()}` : ''}`;
}

function without(source: Source, lost: ReadonlySet<number>): Capture {
  const capture = captureOf(source.mode, source.scenario, { traces: source.traces, conntrack: false, probe: false });
  capture.traces = capture.traces.map(trace =>
    trace.name === source.file
      ? {
          name: trace.name,
          text: linesOf(trace.text)
            .filter((_, i) => !lost.has(i))
            .map(line => `${line}\n`)
            .join(''),
        }
      : trace,
  );
  return capture;
}

/** What a packet is, as far as no rewrite and no loss can change it. Who began is not seen where the beginning is lost. */
function packetKey({ packet }: Journey): string {
  return [packet.protocol, packet.id ?? '', packet.length ?? '', packet.label].join(' ');
}

interface Step {
  where: string;
  /** Interfaces and addresses: undefined where the line that tells them is said to be missing. */
  in: string | undefined;
  out: string | undefined;
  tuple: string | undefined;
}

interface Told {
  packet: string;
  hops: Step[];
  journey: Journey;
}

function stepOf(hop: Hop, headless: boolean): Step {
  const { src, sport, dst, dport } = hop.tuple;
  return {
    where: [
      hop.hook,
      hop.backend,
      hop.table,
      hop.chain,
      hop.event,
      hop.rule ?? '-',
      hop.verdict ?? '-',
      hop.target ?? '-',
      hop.text ?? '-',
    ].join(' | '),
    in: hop.in,
    out: hop.out,
    tuple: headless ? undefined : `${src}:${sport ?? ''}>${dst}:${dport ?? ''}`,
  };
}

/** nft's rules and ends say nothing of the packet; where the line that does is a gap, no address is known. */
function stepsOf(hops: Hop[]): Step[] {
  let headless: string | undefined;
  return hops.flatMap(hop => {
    const chain = `${hop.backend} ${hop.table} ${hop.hook}`;
    if (hop.event === 'gap' && /^the (packet line|lines that led)/.test(hop.text ?? '')) headless = chain;
    else if (chain !== headless || hop.event === 'packet') headless = undefined;
    return hop.event === 'gap' ? [] : [stepOf(hop, headless !== undefined)];
  });
}

function agrees(told: Step, whole: Step): boolean {
  return (
    told.where === whole.where &&
    (told.in === undefined || told.in === whole.in) &&
    (told.out === undefined || told.out === whole.out) &&
    (told.tuple === undefined || told.tuple === whole.tuple)
  );
}

function textOf(step: Step): string {
  return `${step.where} ${step.in ?? ''}>${step.out ?? ''} ${step.tuple ?? ''}`;
}

function toldBy(report: Report): Told[] {
  return report.journeys.map(journey => ({
    packet: packetKey(journey),
    hops: stepsOf(journey.hops),
    journey,
  }));
}

/** The first step that has no counterpart behind that of the step before. */
function strangeIn(part: Step[], whole: Step[]): Step | undefined {
  let at = 0;
  for (const step of part) {
    const found = whole.findIndex((other, i) => i >= at && agrees(step, other));
    if (found < 0) return step;
    at = found + 1;
  }
  return undefined;
}

/** Why the report with the loss says something the whole one does not; undefined where it does not. */
function untruth(whole: Told[], lossy: Told[]): string | undefined {
  const free = [...whole];
  for (const told of lossy) {
    const alike = free.filter(other => other.packet === told.packet);
    if (alike.length === 0) return `a packet that was not there: ${told.packet}`;
    const original = alike.find(other => strangeIn(told.hops, other.hops) === undefined);
    if (!original) {
      const strange = strangeIn(told.hops, (alike[0] as Told).hops) as Step;
      return `of ${told.packet} a hop that was not there, or not there in this order: ${textOf(strange)}`;
    }
    free.splice(free.indexOf(original), 1);
    const wrong = untrueOf(original.journey, told.journey);
    if (wrong) return `${told.packet}: ${wrong}`;
  }
  return undefined;
}

function untrueOf(original: Journey, told: Journey): string | undefined {
  for (const rewrite of told.rewrites) {
    const known = original.rewrites.some(
      other =>
        other.field === rewrite.field &&
        other.from === rewrite.from &&
        (other.to === rewrite.to || (rewrite.field === 'src' && rewrite.to === undefined)),
    );
    if (!known) return `rewrite ${rewrite.field} ${rewrite.from} > ${rewrite.to} never happened`;
  }
  if (told.direction !== original.direction && original.packet.label === 'SYN') return 'a SYN is a request';
  if (told.outcome !== original.outcome && told.outcome !== 'unknown')
    return `ended ${told.outcome}, though it was ${original.outcome}`;
  const { endpoint } = told;
  if (endpoint && JSON.stringify(endpoint) !== JSON.stringify(original.endpoint))
    return `endpoint ${endpoint.address} instead of ${original.endpoint?.address}`;
  return undefined;
}

/**
 * An empty legacy table that no rules were given for is known only by its lines: at a hook where the trace has no other
 * line of it, nobody can miss one.
 */
function cannotBeMissed(source: Source, lines: string[], lost: number): boolean {
  if (source.file !== 'kmsg.txt' || source.mode === 'legacy') return false;
  const point = (line: string) => /TRACE: (\w+):(\w+):policy:1 /.exec(line);
  const own = point(lines[lost] as string);
  if (!own) return false;
  return !lines.some((line, i) => {
    const other = /TRACE: (\w+):(\w+):/.exec(line);
    return i !== lost && other?.[1] === own[1] && other?.[2] !== own[2];
  });
}

/** A packet of a hairpin without an IP id, both ends of which change at once: only its trace id could tell which it is. */
function hasNoName(lines: string[], lost: number): boolean {
  return /^trace id [0-9a-f]+ .* packet: .*ip id 0 /.test(lines[lost] as string);
}

/** Errors that the whole trace does not have. That a cause is not known may be said, and that an error was seen to come back. */
function wrongCause(whole: Report, lossy: Report): string | undefined {
  const known = new Set(whole.findings.map(finding => finding.kind));
  return lossy.findings.find(
    ({ kind, severity, facts }) => severity === 'error' && !known.has(kind) && facts?.what === undefined,
  )?.sentence;
}

const reports = new Map<Source, Report>();

function wholeOf(source: Source): Report {
  const known = reports.get(source) ?? analyse(without(source, new Set()));
  reports.set(source, known);
  return known;
}

function check(source: Source, whole: Told[], lines: string[], lost: number): string | undefined {
  const report = analyse(without(source, new Set([lost])));
  const cause = wrongCause(wholeOf(source), report);
  if (cause) return `line ${lost + 1}: another cause: ${cause}`;
  const shows = report.completeness.gaps > 0 || !report.completeness.complete;
  const wrong = hasNoName(lines, lost) ? undefined : untruth(whole, toldBy(report));
  if (wrong) return `line ${lost + 1}: ${wrong}`;
  if (!shows && !cannotBeMissed(source, lines, lost))
    return `line ${lost + 1}: the loss does not show: ${lines[lost]?.slice(0, 110)}`;
  return undefined;
}

function linesFor(source: Source): string[] {
  return linesOf(fileOf(source.mode, source.scenario, source.file));
}

describe('every single lost line of every capture', () => {
  for (const source of SOURCES) {
    test(nameOf(source), () => {
      const whole = wholeOf(source);
      expect(whole.completeness.complete, 'whole without a loss').toBe(true);
      const told = toldBy(whole);
      const lines = linesFor(source);
      expect(lines.flatMap((_, i) => check(source, told, lines, i) ?? [])).toEqual([]);
    });
  }
});

describe('many lost lines: less is told, nothing else', () => {
  const sources = SOURCES;
  const wholes = new Map(sources.map(source => [source, toldBy(wholeOf(source))]));

  function truthOf(source: Source, lost: Set<number>): void {
    const report = analyse(without(source, lost));
    expect(untruth(wholes.get(source) as Told[], toldBy(report))).toBeUndefined();
    expect(wrongCause(wholeOf(source), report)).toBeUndefined();
  }

  /** Found by chance once. */
  test.each([
    // Another base chain of the same table lost its verdict, and this one its beginning.
    { mode: 'nftables', scenario: 'np-curl', file: 'nft-monitor.txt', lost: [12, 13, 14] },
  ])('$mode/$scenario, lines $lost of $file', ({ mode, scenario, file, lost }) => {
    const same = sources.filter(one => one.mode === mode && one.scenario === scenario && one.file === file);
    expect(same).not.toEqual([]);
    for (const source of same) truthOf(source, new Set(lost));
  });

  test('the end is cut off', () => {
    fc.assert(
      fc.property(fc.constantFrom(...sources), fc.nat(500), (source, to) => {
        const lines = linesFor(source);
        truthOf(source, new Set(lines.flatMap((_, i) => (i > to % lines.length ? [i] : []))));
      }),
      { numRuns: RUNS },
    );
  });

  // Of a hairpin's later packets nobody can tell which end is the endpoint.
  test('the beginning is cut off', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...sources.filter(one => one.traces.length === 1 && one.scenario !== 'self-curl')),
        fc.nat(500),
        (source, to) => {
          const lines = linesFor(source);
          const first = lines[to % lines.length] as string;
          fc.pre(!/^trace id .* (rule|policy) /.test(first));
          truthOf(source, new Set(lines.flatMap((_, i) => (i < to % lines.length ? [i] : []))));
        },
      ),
      { numRuns: RUNS },
    );
  });

  test('any lines, here and there', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...sources.filter(one => one.scenario !== 'self-curl')),
        fc.array(fc.nat(500), { minLength: 1, maxLength: 60 }),
        (source, picks) => {
          const lines = linesFor(source);
          const lost = new Set(picks.map(pick => pick % lines.length));
          fc.pre(![...lost].some(i => hasNoName(lines, i)));
          truthOf(source, lost);
        },
      ),
      { numRuns: RUNS },
    );
  });
});
