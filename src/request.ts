/** Words of the command line -> what is wanted. Pure: every wrong combination is refused here, with the way out in the message. */

import { TraceError } from './errors.ts';
import { canonicalAddress } from './ip.ts';
import { findScenario, MODES, type Mode, SCENARIOS } from './lab/scenarios.ts';
import { FORMATS, type Format } from './render/formats.ts';

export type Colour = 'auto' | 'always' | 'never';

export interface OutputRequest {
  format: Format;
  colour: Colour;
  save?: string;
  quiet: boolean;
}

export interface ExplainRequest extends OutputRequest {
  command: 'explain';
  files: string[];
  rules: string[];
  objects: string[];
  conntrack: string[];
  probes: string[];
  podIps: string[];
  follow: boolean;
}

export interface LabRequest extends OutputRequest {
  command: 'lab';
  scenario: string;
  /** Undefined: the first that this machine can do. */
  mode: Mode | undefined;
  keep: boolean;
  list: boolean;
  recorded: boolean;
}

export interface OutputFlags {
  output?: string;
  color?: string;
  save?: string;
  quiet?: boolean;
}

export interface ExplainFlags extends OutputFlags {
  rules?: string[];
  objects?: string[];
  conntrack?: string[];
  probe?: string[];
  podIp?: string[];
  follow?: boolean;
}

export function parseExplain(files: string[], flags: ExplainFlags): ExplainRequest {
  const request: ExplainRequest = {
    command: 'explain',
    ...parseOutput(flags),
    files,
    rules: flags.rules ?? [],
    objects: flags.objects ?? [],
    conntrack: flags.conntrack ?? [],
    probes: flags.probe ?? [],
    podIps: (flags.podIp ?? []).flatMap(text => text.split(',')).map(parsePodIp),
    follow: flags.follow ?? false,
  };
  if (files.length === 0)
    throw usage(
      'explain needs a file: a kernel log, the output of nft monitor trace or xtables-monitor, or a saved capture',
      'Name a file, or - for standard input: dmesg | kubectl trace-svc explain -',
    );
  const inputs = [...files, ...request.rules, ...request.objects, ...request.conntrack, ...request.probes].filter(
    file => file === '-',
  );
  if (inputs.length > 1)
    throw usage('standard input (-) can be read only once', 'Save one of the inputs to a file and name that.');
  if (request.follow && files.length > 1) throw usage('--follow follows one file', 'Run it once for each file.');
  if (request.follow && request.format === 'html')
    throw usage('--follow has no end, and -o html is one page', 'Leave --follow out, or choose another format.');
  if (request.follow && request.save !== undefined)
    throw usage('--follow has no end to --save at', 'Save from a run without --follow.');
  return request;
}

export interface LabFlags extends OutputFlags {
  mode?: string;
  keep?: boolean;
  list?: boolean;
  recorded?: boolean;
}

export function parseLab(scenario: string | undefined, flags: LabFlags): LabRequest {
  const name = scenario ?? 'healthy';
  if (!findScenario(name))
    throw usage(
      `there is no scenario ${quote(name)}`,
      `Choose one of ${SCENARIOS.map(s => s.name).join(', ')}; lab --list tells what each shows.`,
    );
  const { mode } = flags;
  if (mode !== undefined && !(MODES as readonly string[]).includes(mode))
    throw usage(`--mode ${quote(mode)} is not known`, `Choose one of ${MODES.join(', ')}.`);
  if (flags.keep && flags.recorded) throw usage('--recorded has nothing to --keep', 'Leave one of them out.');
  return {
    command: 'lab',
    ...parseOutput(flags),
    scenario: name,
    mode: mode as Mode | undefined,
    keep: flags.keep ?? false,
    list: flags.list ?? false,
    recorded: flags.recorded ?? false,
  };
}

function parsePodIp(text: string): string {
  const address = canonicalAddress(text.trim());
  if (address === undefined)
    throw usage(
      `--pod-ip ${quote(text)} is not an IP address`,
      'Take it from kubectl get pod NAME -o wide, e.g. --pod-ip 10.244.1.7',
    );
  return address;
}

export function parseOutput(flags: OutputFlags): OutputRequest {
  const format = flags.output ?? 'tree';
  if (!(FORMATS as readonly string[]).includes(format))
    throw usage(`-o ${quote(format)} is not a format`, `Choose one of ${FORMATS.join(', ')}.`);
  const colour = flags.color ?? 'auto';
  if (colour !== 'auto' && colour !== 'always' && colour !== 'never')
    throw usage(`--color ${quote(colour)} is not known`, 'Choose auto, always or never.');
  const request: OutputRequest = { format: format as Format, colour, quiet: flags.quiet ?? false };
  if (flags.save === '') throw usage('--save needs a file name', 'For example --save trace.json');
  if (flags.save !== undefined) request.save = flags.save;
  return request;
}

export function usage(message: string, remedy: string): TraceError {
  return new TraceError('usage', message, remedy);
}

/** A word from the command line as part of a message: visible, bounded, harmless. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
