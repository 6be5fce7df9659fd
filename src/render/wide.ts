/** Every hop of every packet on a line of its own, nothing folded: for a wide terminal, or for grep. */
import { hostPort } from '../ip.ts';
import type { Hop, Journey, Report } from '../model.ts';
import { escapeReport } from './escape.ts';
import { rewritesBefore } from './segments.ts';
import type { Style } from './style.ts';
import { headlines } from './tree.ts';

export function renderWide(given: Report, style: Style): string {
  const report = escapeReport(given);
  const wide = { ...style, width: Math.max(style.width, 160) };
  const blocks = [
    headlines(report, wide),
    ...report.journeys.map((journey, index) => journeyBlock(report, journey, index, wide)),
  ];
  return `${blocks.map(lines => lines.join('\n')).join('\n\n')}\n`;
}

function journeyBlock(report: Report, journey: Journey, index: number, style: Style): string[] {
  const { packet } = journey;
  const kind = report.probes[journey.probe]?.kind ?? '';
  const id = packet.id === undefined ? '' : ` id ${packet.id}`;
  const head = `#${index} ${kind} ${journey.direction}  ${hostPort(packet.src, packet.sport)} → ${hostPort(packet.dst, packet.dport)}  ${packet.label}${id}  ${journey.outcome}`;
  const rows = journey.hops.map(cells);
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, i) => Math.max(most[i] ?? 0, cell.length)), []);
  const lines = rows.flatMap((row, i) => [
    ...rewriteLines(journey, i, style),
    row
      .map((cell, c) => (c === row.length - 1 ? cell : cell.padEnd(widths[c] ?? 0)))
      .join('  ')
      .trimEnd(),
  ]);
  return [style.bold(head), ...lines, ...rewriteLines(journey, journey.hops.length, style)];
}

function rewriteLines(journey: Journey, index: number, style: Style): string[] {
  return rewritesBefore(journey, index).map(r =>
    style.rewrite(
      `━━ ${r.field} ${r.from} ━▶ ${r.to ?? '?'}  ${r.kind}${r.chain ? ` by ${r.table} ${r.chain} ${r.rule ?? ''}`.trimEnd() : r.fromConnection ? ' by the connection' : ''}, seen in ${r.evidence}`,
    ),
  );
}

function cells(hop: Hop): string[] {
  const where = [hop.physIn ?? hop.in ?? '', hop.physOut ?? hop.out ?? ''].join('>');
  const rule = hop.event === 'rule' ? `${hop.rule ?? ''}${hop.uncertain ? '?' : ''}` : hop.event;
  const mark = hop.mark === undefined ? '' : `mark 0x${hop.mark.toString(16)}`;
  const says = [hop.text ?? '', hop.comment ? `"${hop.comment}"` : '', hop.meaning ? `→ ${hop.meaning}` : '']
    .filter(part => part !== '')
    .join('  ');
  return [
    hop.hook,
    hop.backend,
    hop.table,
    `${'  '.repeat(hop.depth)}${hop.chain}`,
    rule,
    hop.verdict ?? '',
    where,
    mark,
    hop.evidence[0] ?? '',
    says,
  ];
}
