/** The default output: the answer first, then the proof, packet by packet. Readable at 80 columns, without colour. */
import { hostPort } from '../ip.ts';
import { LESSONS } from '../lessons.ts';
import type { Divergence, Finding, Journey, Probe, Report } from '../model.ts';
import { readyEndpoints, wasAsked } from './asked.ts';
import { escapeReport } from './escape.ts';
import { plural, type Style, wrap } from './style.ts';
import { journeyLines } from './tree-journey.ts';

export function renderTree(given: Report, style: Style): string {
  const report = escapeReport(given);
  const byProbe = journeysByProbe(report);
  const blocks = [
    headlines(report, style),
    heading(report, style),
    ...report.probes.map((probe, index) => probeBlock(byProbe.get(index) ?? [], probe, style)),
    ...report.divergences.map(divergence => divergenceLines(divergence, report, style)),
    footer(report, style),
  ];
  return `${blocks
    .filter(lines => lines.length > 0)
    .map(lines => lines.join('\n'))
    .join('\n\n')}\n`;
}

/** What happened, in the first lines: causes and answers; how it was done stands at the end. */
export function headlines(report: Report, style: Style): string[] {
  const shown = report.findings.filter(
    finding => !LESSONS.has(finding.kind) && !(finding.kind === 'TraceIncomplete' && finding.severity === 'info'),
  );
  return shown.flatMap(finding => findingLines(finding, style));
}

function findingLines(finding: Finding, style: Style): string[] {
  const [sign, colour] = signOf(finding, style);
  const lines = wrap(finding.sentence, style.width - 2).map(
    (line, i) => `${i === 0 ? colour(sign) : ' '} ${finding.severity === 'error' ? style.bold(line) : line}`,
  );
  const remedy = finding.remedy
    ? wrap(`→ ${finding.remedy}`, style.width - 4).map((line, i) => `${i === 0 ? '  ' : '    '}${line}`)
    : [];
  return [...lines, ...remedy];
}

function signOf(finding: Finding, style: Style): [string, (text: string) => string] {
  if (finding.severity === 'error') return ['✘', style.bad];
  if (finding.severity === 'warning') return ['!', style.warn];
  return finding.kind === 'ServiceAnswered' ? ['✔', style.good] : ['ℹ', style.note];
}

function heading(report: Report, style: Style): string[] {
  const { target, source, node, completeness } = report;
  const lines: string[] = [];
  if (target) lines.push(...serviceLines(target, source.ip, style));
  const from = [source.pod ? `pod ${source.pod}` : '', source.ip ?? '', source.node ? `on ${source.node}` : '']
    .filter(part => part !== '')
    .join(' ');
  const mode = node.proxyMode
    ? `kube-proxy ${node.proxyMode}${node.proxyMode === 'iptables' ? inBackend(report) : ''}`
    : '';
  const kept = `${plural(completeness.events, 'trace line')}, ${lostText(report)}`;
  lines.push(
    ...wrap([from === '' ? '' : `from ${from}`, mode, kept].filter(part => part !== '').join(' · '), style.width),
  );
  return lines;
}

function serviceLines(target: NonNullable<Report['target']>, source: string | undefined, style: Style): string[] {
  const ready = readyEndpoints(target, source);
  const address = target.clusterIPs.find(ip => wasAsked(ip, source)) ?? target.clusterIPs[0];
  const { number, protocol } = target.port ?? {};
  const place = address === undefined ? target.type : hostPort(address, number);
  const name = `Service ${target.namespace}/${target.service}`;
  const rest = `${place}${protocol ? `/${protocol}` : ''}  ${plural(ready, 'endpoint')} ready`;
  if (name.length + rest.length + 2 <= style.width) return [`${style.bold(name)}  ${rest}`];
  return [...wrap(name, style.width).map(style.bold), ...wrap(rest, style.width - 2).map(line => `  ${line}`)];
}

/** Without the rules a line that is missing inside a chain shows nowhere. */
function lostText({ completeness, findings }: Report): string {
  if (completeness.complete) return 'none lost';
  const missing = findings.some(finding => finding.kind === 'TraceIncomplete' && finding.severity !== 'info');
  return missing ? 'incomplete' : 'none known to be lost';
}

function inBackend(report: Report): string {
  for (const journey of report.journeys)
    for (const hop of journey.hops) if (/^KUBE-/.test(hop.chain)) return ` (${hop.backend})`;
  const { backends } = report.node;
  return backends.length === 0 ? '' : ` (${backends.join(', ')})`;
}

/** Grouped once: a log of a whole node may hold ten thousands of questions. */
function journeysByProbe({ journeys }: Report): Map<number, Journey[]> {
  const groups = new Map<number, Journey[]>();
  for (const journey of journeys) {
    const group = groups.get(journey.probe);
    if (group) group.push(journey);
    else groups.set(journey.probe, [journey]);
  }
  return groups;
}

function probeBlock(journeys: Journey[], probe: Probe, style: Style): string[] {
  if (journeys.length === 0)
    return wrap(`${probe.target}: no trace line`, style.width - nameOf(probe).length - 1).map(
      (line, i) => `${i === 0 ? style.bold(nameOf(probe)) : ' '.repeat(nameOf(probe).length)} ${line}`,
    );
  const connections = [...new Set(journeys.map(journey => journey.connection))];
  const first = connections[0];
  const lines = connectionLines(
    journeys.filter(journey => journey.connection === first),
    probe,
    style,
  );
  if (probe.connections) lines.push(...allConnections(probe.connections, style));
  return lines;
}

function nameOf(probe: Probe): string {
  return probe.kind;
}

function connectionLines(journeys: Journey[], probe: Probe, style: Style): string[] {
  const main =
    journeys.find(journey => journey.direction === 'request' && !journey.later) ??
    journeys.find(journey => journey.direction === 'request') ??
    (journeys[0] as Journey);
  const notable = journeys.filter(journey => journey !== main && isNotable(journey, probe.outcome === 'answered'));
  const rest = journeys.filter(journey => journey !== main && !notable.includes(journey));
  const told = journeys.some(journey => journey.direction === 'reply' && ERROR.test(journey.packet.label));
  return [
    ...journeyBlock(main, nameOf(probe), style, told),
    ...notable.flatMap(journey =>
      isPlainAnswer(journey) ? answerLine(journey, style) : journeyBlock(journey, journey.direction, style, told),
    ),
    ...restLines(rest, style),
  ];
}

const ERROR = /unreachable|prohibited|exceeded|needed|RST/;

/** Packets that did not simply follow: stopped, not whole, or with an error to tell. */
function isNotable(journey: Journey, answered: boolean): boolean {
  // NAT drops every redirect about a translated connection; and a client may well end an answered one with a reset.
  if (journey.packet.label === 'redirect' && journey.gaps === 0) return false;
  if (answered && journey.packet.label.startsWith('RST') && journey.gaps === 0) return false;
  if (journey.gaps > 0 || journey.outcome === 'dropped' || journey.outcome === 'rejected') return !isRepeat(journey);
  return ERROR.test(journey.packet.label);
}

/** An error or a reset that reached the pod: who sent it is all there is to say. */
function isPlainAnswer(journey: Journey): boolean {
  return (
    journey.direction === 'reply' &&
    journey.gaps === 0 &&
    journey.outcome !== 'dropped' &&
    journey.outcome !== 'rejected'
  );
}

function answerLine(journey: Journey, style: Style): string[] {
  const { packet, hops } = journey;
  const local = hops[0]?.hook === 'output' ? ' (this node)' : '';
  return indented(`reply ${packet.label} from ${hostPort(packet.src, packet.sport)}${local}`, style);
}

/** A retransmission is counted, not shown again. */
function isRepeat(journey: Journey): boolean {
  return journey.packet.label === 'SYN' && journey.gaps === 0;
}

/** @param told an error about the connection was seen on its way back */
function journeyBlock(journey: Journey, title: string, style: Style, told: boolean): string[] {
  const { packet } = journey;
  const name = title.padEnd(5);
  const way = `${hostPort(packet.src, packet.sport)} → ${hostPort(packet.dst, packet.dport)}`;
  const gap = style.width - name.length - 1 - way.length - packet.label.length;
  const head =
    gap >= 2
      ? [`${style.bold(name)} ${way}${' '.repeat(gap)}${style.bold(packet.label)}`]
      : narrowHead(name, way, packet.label, style);
  return [...head, ...journeyLines(journey, style, told)];
}

/** Where the addresses and the label do not fit into one line. */
function narrowHead(name: string, way: string, label: string, style: Style): string[] {
  const lines = wrap(way, style.width - name.length - 1);
  return [
    ...lines.map((line, i) => `${i === 0 ? style.bold(name) : ' '.repeat(name.length)} ${line}`),
    ...wrap(label, style.width - name.length - 1).map(line => `${' '.repeat(name.length + 1)}${style.bold(line)}`),
  ];
}

function indented(text: string, style: Style): string[] {
  return wrap(text, style.width - 4).map((line, i) => `${i === 0 ? '  ' : '    '}${line}`);
}

function restLines(rest: Journey[], style: Style): string[] {
  const reply = rest.find(journey => journey.direction === 'reply' && journey.packet.label !== 'redirect');
  const lines: string[] = [];
  if (reply) lines.push(...replyLine(reply, style));
  const others = rest.filter(journey => journey !== reply);
  if (others.length > 0) lines.push(...wrap(othersText(others), style.width - 2).map(line => `  ${style.dim(line)}`));
  return lines;
}

/** The reply's way back: who sent it, and as whom the pod sees the sender. */
function replyLine(reply: Journey, style: Style): string[] {
  const from = hostPort(reply.packet.src, reply.packet.sport);
  const undone = reply.rewrites.find(rewrite => rewrite.field === 'src');
  if (!undone) return indented(`reply ${reply.packet.label} from ${from}`, style);
  const seen = `${undone.from} ━▶ seen as ${undone.to}`;
  const how = undone.evidence === 'conntrack' ? ' (conntrack)' : '';
  const plain = `reply ${reply.packet.label} ${seen}${how}`;
  if (plain.length + 2 > style.width) return indented(plain, style);
  return [`  reply ${reply.packet.label} ${style.rewrite(seen)}${how}`];
}

function othersText(others: Journey[]): string {
  const repeats = others.filter(journey => journey.packet.label === 'SYN').length;
  const past = others.filter(journey => journey.later && journey.packet.label !== 'SYN').length;
  const alike = others.length - repeats - past;
  const parts = [
    repeats > 0 ? `the SYN was repeated ${repeats === 1 ? 'once' : `${repeats} times`}, with the same end` : '',
    past > 0 ? `${past} more ${past === 1 ? 'packet' : 'packets'} followed, past the nat rules` : '',
    alike > 0 ? `${alike} more went the same way` : '',
  ];
  return parts.filter(part => part !== '').join('; ');
}

/** How often each endpoint was picked: the odds of the rules, as they turned out. */
function allConnections({ total, endpoints }: NonNullable<Probe['connections']>, style: Style): string[] {
  const list = endpoints
    .map(({ to, count, pod }) => `${count} ${/\d$/.test(to) ? `to ${to}` : to}${pod ? ` (pod ${pod})` : ''}`)
    .join(', ');
  return wrap(`of ${total} connections: ${list}`, style.width - 2).map(line => `  ${line}`);
}

function divergenceLines(divergence: Divergence, report: Report, style: Style): string[] {
  const number = divergence.rule?.number === undefined ? '' : ` rule ${divergence.rule.number}`;
  const lines = indented(`Where they part  ${divergence.table} ${divergence.chain}${number}`, style).map((line, i) =>
    i === 0 ? line.trimStart().replace(/^Where they part/, style.bold('Where they part')) : line,
  );
  const failed =
    divergence.rule && divergence.rule.failed.length > 0
      ? `: ${divergence.rule.failed.join(' and ')} ${divergence.rule.failed.length === 1 ? 'does' : 'do'} not hold`
      : '';
  const add = (text: string) =>
    lines.push(...wrap(text, style.width - 4).map((line, i) => `${i === 0 ? '  ' : '    '}${line}`));
  const [a, b] = divergence.probes.map(index => report.probes[index]?.kind ?? '');
  const byFirst = divergence.first.includes('matched (') || divergence.second.startsWith('no rule');
  add(`${(a ?? '').padEnd(5)} ${divergence.first}${byFirst ? '' : failed}`);
  add(`${(b ?? '').padEnd(5)} ${divergence.second}${byFirst ? failed : ''}`);
  return lines;
}

function footer(report: Report, style: Style): string[] {
  const lessons = report.findings.filter(finding => LESSONS.has(finding.kind));
  const lines = lessons.flatMap(finding => findingLines(finding, style));
  const { unrecognised } = report.completeness;
  for (const sample of unrecognised.samples.slice(0, 5))
    lines.push(...wrap(`? ${sample.line} not understood (${sample.reason}): ${sample.raw}`, style.width).slice(0, 4));
  // A note that is a command must be fit to be copied.
  for (const note of report.notes) lines.push(...(note.startsWith('  ') ? [note] : wrap(note, style.width)));
  if (report.cleanup.removed.length > 0)
    lines.push(...wrap(`Cleaned up: ${report.cleanup.removed.join('; ')}`, style.width));
  if (!report.cleanup.complete)
    lines.push(...wrap(`! NOT cleaned up: ${(report.cleanup.left ?? []).join('; ')}`, style.width));
  return lines;
}
