/** The real captures as values of the program's own waist: what `explain` makes of the files, without the files. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { analyse } from '../../src/analyse.ts';
import { type Capture, emptyCapture } from '../../src/capture.ts';
import { emptyObjects, readObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { parseIpset, parseIpvs } from '../../src/parse/ipvs.ts';

export const CAPTURES = new URL('../captures/', import.meta.url);
export const MODES = ['legacy', 'nft', 'nftables'] as const;
export type Mode = (typeof MODES)[number];

export const TRACES = ['kmsg.txt', 'nft-monitor.txt', 'xtables-monitor.txt'] as const;
const RULES = ['iptables-save.txt', 'nft-ruleset.txt'] as const;
const PROBES = ['probe.cmd', 'probe.out', 'probe.err', 'probe.rc'] as const;

/** What is given to the analysis; what is not named is given. */
export interface Given {
  traces?: readonly string[];
  rules?: boolean;
  objects?: boolean;
  probe?: boolean;
  conntrack?: boolean;
}

export function scenarios(mode: Mode): string[] {
  return readdirSync(new URL(`${mode}/`, CAPTURES), { withFileTypes: true })
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name)
    .sort();
}

export function allScenarios(): { mode: Mode; scenario: string }[] {
  return MODES.flatMap(mode => scenarios(mode).map(scenario => ({ mode, scenario })));
}

const texts = new Map<string, string>();

export function fileOf(mode: string, scenario: string, name: string): string {
  const path = scenario === '' ? `${mode}/${name}` : `${mode}/${scenario}/${name}`;
  const known = texts.get(path);
  if (known !== undefined) return known;
  const text = readFileSync(new URL(path, CAPTURES), 'utf8');
  texts.set(path, text);
  return text;
}

export function hasFile(mode: string, scenario: string, name: string): boolean {
  return existsSync(new URL(`${mode}/${scenario}/${name}`, CAPTURES));
}

/** Traces, rules, objects and side evidence of one scenario, or of several that were taken under the same rules. */
export function captureOf(mode: Mode, scenario: string | readonly string[], given: Given = {}): Capture {
  const names = typeof scenario === 'string' ? [scenario] : scenario;
  const objects = given.objects === false ? undefined : readObjects(JSON.parse(fileOf(mode, '', 'objects.json')));
  const capture = emptyCapture('files', objects ?? emptyObjects());
  for (const name of names) {
    for (const file of given.traces ?? TRACES)
      if (hasFile(mode, name, file)) capture.traces.push({ name: file, text: fileOf(mode, name, file) });
    if (given.probe !== false) for (const file of PROBES) capture.probeTexts.push(fileOf(mode, name, file));
    if (given.conntrack !== false && hasFile(mode, name, 'conntrack.txt'))
      capture.conntrack.push(fileOf(mode, name, 'conntrack.txt'));
  }
  if (given.rules !== false)
    for (const file of RULES)
      if (hasFile(mode, names[0] as string, file))
        capture.rules.push({ name: file, text: fileOf(mode, names[0] as string, file) });
  return capture;
}

/** The one session under IPVS: `=== NAME` heads each part. */
export function ipvsParts(): Map<string, string> {
  const parts = new Map<string, string>();
  for (const part of fileOf('ipvs-vm', '', 'session.txt').split(/^=== /m).slice(1)) {
    const end = part.indexOf('\n');
    parts.set(part.slice(0, end).trim(), part.slice(end + 1));
  }
  return parts;
}

export function ipvsCapture(given: Given = {}): Capture {
  const session = fileOf('ipvs-vm', '', 'session.txt');
  const capture = emptyCapture('files', emptyObjects());
  capture.traces.push({ name: 'session.txt', text: session });
  if (given.rules !== false) {
    capture.rules.push({ name: 'session.txt', text: session });
    if (parseIpset(session).length > 0) capture.ipsets.push(session);
    if (parseIpvs(session).length > 0) capture.ipvs.push(session);
  }
  if (given.conntrack !== false) capture.conntrack.push(session);
  if (given.probe !== false) capture.probeTexts.push(session);
  return capture;
}

/** A capture with other trace text; everything else as it was. */
export function withTraces(capture: Capture, traces: Capture['traces']): Capture {
  return { ...capture, traces };
}

export function explained(mode: Mode, scenario: string | readonly string[], given: Given = {}): Report {
  return analyse(captureOf(mode, scenario, given));
}

export function linesOf(text: string): string[] {
  return text.split('\n').filter(line => line !== '');
}
