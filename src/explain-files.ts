/** The `explain` command's story: files -> capture -> report, with the errors that wrong files deserve. */
import { type Analysis, createAnalysis } from './analyse.ts';
import { type Capture, decodeCapture, emptyCapture, isCapture } from './capture.ts';
import { TraceError } from './errors.ts';
import { emptyObjects, readObjects } from './kube/objects.ts';
import type { KubeObjects, Report } from './model.ts';
import { parseConntrack } from './parse/conntrack.ts';
import { parseIptablesSave } from './parse/iptables-save.ts';
import { parseIpset, parseIpvs } from './parse/ipvs.ts';
import { parseNftRuleset } from './parse/nft-ruleset.ts';
import { parseProbeOutput } from './parse/probe-output.ts';
import { whatIsIt } from './parse/recognise.ts';
import type { Files } from './ports.ts';
import type { ExplainRequest } from './request.ts';

export interface Explained {
  report: Report;
  capture: Capture;
}

export async function explainFiles(request: ExplainRequest, files: Files): Promise<Explained> {
  const capture = await contextOf(request, files);
  const { saved, others } = await splitCaptures(request.files, files);
  const whole = saved ? mergeContext(saved, capture) : capture;
  const analysis = createAnalysis(whole);
  for (const trace of whole.traces) feed(analysis, trace.name, trace.text);
  for (const other of others) await feedFile(analysis, other, request.save === undefined ? undefined : whole);
  if (analysis.events() === 0 && !saved) throw noTrace(others);
  const report = analysis.report();
  if (request.podIps.length > 0 && report.journeys.length === 0) throw nobodyThere(request.podIps, analysis.senders());
  return { report, capture: whole };
}

function nobodyThere(podIps: string[], senders: string[]): TraceError {
  return new TraceError(
    'usage',
    `no packet in the trace is from or to ${podIps.join(' or ')}`,
    `Those that sent something are ${senders.slice(0, 10).join(', ')}${senders.length > 10 ? ', …' : ''}.`,
  );
}

/** What --rules, --objects, --conntrack, --probe and --pod-ip say, as a capture without traces. */
export async function contextOf(request: ExplainRequest, files: Files): Promise<Capture> {
  const capture = emptyCapture('files', emptyObjects());
  for (const path of request.rules) await addRules(capture, path, await files.read(path));
  for (const path of request.objects) addObjects(capture.objects, path, await files.read(path));
  for (const path of request.conntrack)
    capture.conntrack.push(
      checked(
        path,
        await files.read(path),
        '--conntrack',
        text => parseConntrack(text).length > 0,
        'entries of conntrack -L or -E',
      ),
    );
  for (const path of request.probes) capture.probeTexts.push(await probeText(path, files));
  if (request.probes.length > 0 && parseProbeOutput(capture.probeTexts).length === 0)
    throw new TraceError(
      'usage',
      `--probe ${request.probes.join(', ')}: nothing in it is the output of curl or ping`,
      'Give what curl (with -w or -v) or ping printed.',
    );
  if (request.podIps.length > 0) capture.source = { ips: request.podIps };
  return capture;
}

/** Several texts may belong to one run; an empty one (curl's error output) is no mistake. */
async function probeText(path: string, files: Files): Promise<string> {
  try {
    return await files.read(path);
  } catch (error) {
    if (error instanceof TraceError && / is empty$/.test(error.message)) return '';
    throw error;
  }
}

async function addRules(capture: Capture, path: string, text: string): Promise<void> {
  const ipsets = parseIpset(text).length > 0;
  const ipvs = parseIpvs(text).length > 0;
  const rules = parseIptablesSave(text, path).length > 0 || parseNftRuleset(text, path) !== undefined;
  if (!rules && !ipsets && !ipvs)
    throw new TraceError(
      'usage',
      `--rules ${path} holds no rules: ${whatIsIt(text)}`,
      'Give the output of iptables-save, ip6tables-save, nft -a list ruleset, ipset save or ipvsadm -Ln.',
    );
  if (rules) capture.rules.push({ name: path, text });
  if (ipsets) capture.ipsets.push(text);
  if (ipvs) capture.ipvs.push(text);
}

function addObjects(objects: KubeObjects, path: string, text: string): void {
  const read = readObjects(parseJson(path, text));
  if (!read || Object.values(read).every(list => list.length === 0))
    throw new TraceError(
      'usage',
      `--objects ${path} holds no Services, EndpointSlices, pods or nodes: ${whatIsIt(text)}`,
      'Give the output of kubectl get services,endpointslices,pods,nodes -A -o json.',
    );
  objects.services.push(...read.services);
  objects.endpoints.push(...read.endpoints);
  objects.pods.push(...read.pods);
  objects.nodes.push(...read.nodes);
}

function parseJson(path: string, text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    throw new TraceError(
      'usage',
      `--objects ${path} is not JSON: ${whatIsIt(text)} (${(error as Error).message.slice(0, 100)})`,
      'Give the output of kubectl get … -o json.',
      error,
    );
  }
}

function checked(path: string, text: string, flag: string, holds: (text: string) => boolean, what: string): string {
  if (!holds(text))
    throw new TraceError('usage', `${flag} ${path} holds no ${what}: ${whatIsIt(text)}`, `Give a file with ${what}.`);
  return text;
}

interface Opened {
  path: string;
  first: string;
  rest: AsyncIterator<string>;
}

/** A saved capture is recognised by its first characters; everything else is a trace, read as it comes. */
async function splitCaptures(paths: string[], files: Files): Promise<{ saved: Capture | undefined; others: Opened[] }> {
  const others: Opened[] = [];
  let saved: Capture | undefined;
  for (const path of paths) {
    const rest = files.chunks(path)[Symbol.asyncIterator]();
    const first = await rest.next();
    const opened = { path, first: first.done ? '' : first.value, rest };
    if (!/^\ufeff?\s*\{/.test(opened.first) || !/"kind":\s*"Capture"/.test(opened.first.slice(0, 4096))) {
      others.push(opened);
      continue;
    }
    if (saved) throw new TraceError('usage', 'only one saved capture can be explained at a time', 'Name one of them.');
    saved = await readCapture(opened);
  }
  return { saved, others };
}

async function readCapture(opened: Opened): Promise<Capture> {
  let text = opened.first;
  for (let next = await opened.rest.next(); !next.done; next = await opened.rest.next()) text += next.value;
  let value: unknown;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    throw new TraceError(
      'usage',
      `${opened.path} is a damaged capture: ${(error as Error).message.slice(0, 100)}`,
      'It may have been cut off; save the run again with --save.',
      error,
    );
  }
  if (!isCapture(value))
    throw new TraceError('usage', `${opened.path} is JSON, but not a capture`, 'Give a file that --save wrote.');
  return decodeCapture(value, opened.path);
}

function mergeContext(saved: Capture, given: Capture): Capture {
  const merged: Capture = {
    ...saved,
    objects: {
      services: [...given.objects.services, ...saved.objects.services],
      endpoints: [...given.objects.endpoints, ...saved.objects.endpoints],
      pods: [...given.objects.pods, ...saved.objects.pods],
      nodes: [...given.objects.nodes, ...saved.objects.nodes],
    },
    rules: [...saved.rules, ...given.rules],
    conntrack: [...saved.conntrack, ...given.conntrack],
    probeTexts: [...saved.probeTexts, ...given.probeTexts],
    ipsets: [...saved.ipsets, ...given.ipsets],
    ipvs: [...saved.ipvs, ...given.ipvs],
  };
  if (given.source) merged.source = { ...saved.source, ips: given.source.ips };
  return merged;
}

function feed(analysis: Analysis, name: string, text: string): void {
  const input = analysis.input(name);
  input.push(text);
  input.end();
}

/** @param keep where --save wants the traces inside the capture, they are kept as they are read. */
async function feedFile(analysis: Analysis, opened: Opened, keep: Capture | undefined): Promise<void> {
  const name = nameOf(opened.path);
  const input = analysis.input(name);
  const texts: string[] = [];
  const take = (chunk: string): void => {
    input.push(chunk);
    if (keep) texts.push(chunk);
  };
  take(opened.first);
  for (let next = await opened.rest.next(); !next.done; next = await opened.rest.next()) take(next.value);
  input.end();
  keep?.traces.push({ name, text: texts.join('') });
}

/** Lines are quoted as `kern.log:17`: the folder a file lies in says nothing. */
export function nameOf(path: string): string {
  return path === '-' ? 'stdin' : (path.split(/[\\/]/).at(-1) ?? path);
}

function noTrace(opened: Opened[]): TraceError {
  const names = opened.map(({ path }) => (path === '-' ? 'standard input' : path)).join(', ');
  const looks = opened.length === 1 ? `: ${whatIsIt(opened[0]?.first ?? '')}` : '';
  return new TraceError(
    'usage',
    `${names} holds no TRACE line${looks}`,
    'Is there a TRACE rule (or nftrace), did the packet pass it, and is net.netfilter.nf_log.2 set to a logger? See docs/troubleshooting.md.',
  );
}
