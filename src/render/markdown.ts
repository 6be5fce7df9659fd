/** The report as Markdown, to paste into an incident channel or a lesson. Text that is not ours stands in code spans. */
import { hostPort } from '../ip.ts';
import type { Finding, Hop, Journey, Report } from '../model.ts';
import { escapeReport } from './escape.ts';
import { groupHops, rewritesBefore, tells } from './segments.ts';
import { plural } from './style.ts';

export function renderMarkdown(given: Report): string {
  const report = escapeReport(given);
  const blocks = [
    title(report),
    report.findings.map(findingText).join('\n'),
    facts(report),
    ...mainJourneys(report).map(journey => journeyTable(report, journey)),
    divergences(report),
  ];
  return `${blocks.filter(block => block !== '').join('\n\n')}\n`;
}

/** Inline code that cannot end early: fenced by more backticks than the text has in a row (CommonMark 6.1). */
export function code(text: string): string {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(found => found[0].length));
  const fence = '`'.repeat(longest + 1);
  const pad = text.startsWith('`') || text.endsWith('`') ? ' ' : '';
  return `${fence}${pad}${text}${pad}${fence}`;
}

/** Prose with other people's words in it: nothing of it may become a link, a tag or emphasis. */
export function prose(text: string): string {
  return text.replace(/[\\`*_{}[\]<>#|!~]/g, char => (char === '<' ? '&lt;' : char === '>' ? '&gt;' : `\\${char}`));
}

function cell(text: string): string {
  return text === '' ? '' : code(text).replaceAll('|', '\\|');
}

function title(report: Report): string {
  const { target } = report;
  return `# Trace of ${target ? code(`${target.namespace}/${target.service}${target.port ? `:${target.port.number}` : ''}`) : 'packets to a Service'}`;
}

const SIGNS = { error: '**Error**', warning: '**Warning**', info: 'Note' };

function findingText(finding: Finding): string {
  const remedy = finding.remedy ? `\n  - ${prose(finding.remedy)}` : '';
  return `- ${SIGNS[finding.severity]} (${finding.kind}): ${prose(finding.sentence)}${remedy}`;
}

function facts(report: Report): string {
  const { source, node, completeness } = report;
  const lines = [
    source.ip
      ? `- From ${source.pod ? `pod ${code(source.pod)}, ` : ''}${code(source.ip)}${source.node ? ` on ${code(source.node)}` : ''}`
      : '',
    node.proxyMode ? `- kube-proxy mode ${code(node.proxyMode)}, backends ${node.backends.join(' and ')}` : '',
    `- ${plural(completeness.events, 'trace line')}, ${completeness.complete ? 'complete' : 'not known to be complete'}, checked against ${completeness.checkedAgainst}`,
  ];
  return lines.filter(line => line !== '').join('\n');
}

/** Every connection's first packet, and whatever was stopped. */
function mainJourneys(report: Report): Journey[] {
  const seen = new Set<number>();
  return report.journeys.filter(journey => {
    const first = journey.direction === 'request' && !seen.has(journey.connection);
    if (journey.direction === 'request') seen.add(journey.connection);
    return first || journey.gaps > 0;
  });
}

function journeyTable(report: Report, journey: Journey): string {
  const { packet } = journey;
  const head = `## ${report.probes[journey.probe]?.kind ?? 'packet'}: ${prose(packet.label)}, ${code(`${hostPort(packet.src, packet.sport)} → ${hostPort(packet.dst, packet.dport)}`)}`;
  const rows = groupHops(journey).flatMap(group =>
    group.hops.flatMap(({ hop, index }) => [
      ...rewriteRows(journey, index),
      ...(tells(hop, journey) ? [row(hop)] : []),
    ]),
  );
  const table = [
    '| hook | table | chain | rule | what |',
    '|---|---|---|---|---|',
    ...rows,
    ...rewriteRows(journey, journey.hops.length),
  ];
  return `${head}\n\n${table.join('\n')}\n\nOutcome: **${journey.outcome}**`;
}

function row(hop: Hop): string {
  const rule = hop.event === 'rule' ? `${hop.rule ?? ''}${hop.uncertain ? '?' : ''}` : hop.event;
  const what = [cell(hop.text ?? ''), hop.meaning ? prose(hop.meaning) : prose(hop.verdict ?? '')]
    .filter(part => part !== '')
    .join(' → ');
  return `| ${hop.hook} | ${cell(hop.table)} | ${cell(hop.chain)} | ${rule} | ${what} |`;
}

function rewriteRows(journey: Journey, index: number): string[] {
  return rewritesBefore(journey, index).map(
    r => `| | | | | **${r.field} ${cell(r.from)} → ${cell(r.to ?? '?')}** (${r.kind}, ${r.evidence}) |`,
  );
}

function divergences(report: Report): string {
  return report.divergences
    .map(d => {
      const failed =
        d.rule && d.rule.failed.length > 0 ? ` What did not hold: ${d.rule.failed.map(code).join(', ')}.` : '';
      const [a, b] = d.probes.map(index => report.probes[index]?.kind ?? '');
      return `## Where they part\n\n${code(`${d.table} ${d.chain}`)}: ${a} ${prose(d.first)}; ${b} ${prose(d.second)}.${failed}`;
    })
    .join('\n\n');
}
