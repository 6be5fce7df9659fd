/** The report as one web page that is a lesson: the answer, the packets' way through the node step by step, the proof. */
import { LESSONS } from '../../lessons.ts';
import type { Finding, Report } from '../../model.ts';
import { readyEndpoints } from '../asked.ts';
import { plural } from '../style.ts';
import list from './list.css';
import { escapeMarkup, html, type Insert, type Markup } from './markup.ts';
import media from './media.css';
import node from './node.css';
import page from './page.css';
import script from './player.page.js';
import { policyFor } from './policy.ts';
import { sceneSection } from './scene.ts';
import { type Scene, scenesOf } from './scenes.ts';
import shown from './shown.css';

/** What comes later wins, so screens and paper come last. */
const style = [page, node, shown, list, media].join('');

export function renderHtml(report: Report): string {
  const { scenes, left } = scenesOf(report);
  const title = titleOf(report);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${escapeMarkup(policyFor(script, style))}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${escapeMarkup(title)}</title>
<link rel="icon" href="data:,">
<style>${style}</style>
</head>
<body>
${bodyOf(report, scenes, left, title).text}
<script>${script}</script>
</body>
</html>
`;
}

function bodyOf(report: Report, scenes: Scene[], left: number, title: string): Markup {
  return html`<header>
<h1>${title}</h1>
<ul class="answers">
${report.findings.filter(finding => !isAside(finding)).map(answer)}</ul>
<p class="facts">${factsOf(report)}</p>
</header>
<main>
${tabs(scenes)}
${scenes.map((scene, index) => sceneSection(report, scene, index))}
${scenes.length === 0 && html`<p class="nothing">No packet was seen on this node, so there is no way to draw.</p>`}
${left > 0 && html`<p class="left">${plural(left, 'more packet')} went by; -o wide and -o json list each hop of them.</p>`}
${aside(report)}
</main>
<footer><p>Made by kubectl trace-svc from the kernel’s own trace. This page is one file; it loads nothing and sends nothing.</p></footer>`;
}

function titleOf({ target }: Report): string {
  if (!target) return 'Trace of packets to a Service';
  return `Trace of ${target.namespace}/${target.service}${target.port ? `:${target.port.number}` : ''}`;
}

/** How it was done, not what came of it. */
function isAside({ kind, severity }: Finding): boolean {
  return LESSONS.has(kind) || (kind === 'TraceIncomplete' && severity === 'info');
}

const SIGNS = { error: ['✘', 'Error'], warning: ['!', 'Warning'], info: ['ℹ', 'Note'] } as const;

function answer(finding: Finding): Markup {
  const [sign, word] = finding.kind === 'ServiceAnswered' ? ['✔', 'Answered'] : SIGNS[finding.severity];
  return html`<li class="${finding.severity}"><span class="sign" role="img" aria-label="${word}">${sign}</span> <div><p>${finding.sentence}</p>${finding.remedy && html`<p class="remedy">→ ${finding.remedy}</p>`}</div></li>
`;
}

function factsOf({ source, completeness, target, probes }: Report): string {
  const from = [source.pod && `pod ${source.pod}`, source.ip, source.node && `on ${source.node}`]
    .filter(Boolean)
    .join(' ');
  const asked = probes.flatMap(({ kind, connections }) =>
    connections
      ? `${kind} asked ${connections.total} times: ${connections.endpoints.map(({ to, count, pod }) => `${count} to ${to}${pod ? ` (pod ${pod})` : ''}`).join(', ')}`
      : [],
  );
  const lines = `${plural(completeness.events, 'trace line')}, ${completeness.complete ? 'none lost' : 'not known to be complete'}`;
  return [
    target && `${plural(readyEndpoints(target, source.ip), 'endpoint')} ready`,
    from && `from ${from}`,
    lines,
    ...asked,
  ]
    .filter(Boolean)
    .join(' · ');
}

function tabs(scenes: Scene[]): Insert {
  if (scenes.length < 2) return undefined;
  return html`<nav aria-label="Packets"><ul>
${scenes.map(
  (scene, index) => html`<li><a href="#s${index}">${scene.title}</a></li>
`,
)}</ul></nav>`;
}

function aside(report: Report): Insert {
  const { completeness, notes, cleanup, probes } = report;
  const seen = new Set(report.journeys.map(journey => journey.probe));
  const unseen = probes.filter((_, i) => !seen.has(i));
  const items: Insert[] = [
    ...report.findings.filter(isAside).map(({ sentence, remedy }) => [sentence, remedy].filter(Boolean).join(' → ')),
    ...unseen.map(({ kind, target, detail, outcome }) => `${kind} ${target}: no trace line (${detail || outcome})`),
    ...completeness.reasons,
    ...completeness.unrecognised.samples.map(
      ({ line, raw, reason }) => html`${line} was not understood (${reason}): <code>${raw}</code>`,
    ),
    ...notes,
    cleanup.removed.length > 0 && `Cleaned up: ${cleanup.removed.join('; ')}`,
    !cleanup.complete && `NOT cleaned up: ${(cleanup.left ?? []).join('; ')}`,
  ];
  const shown = items.filter(item => item !== false);
  if (shown.length === 0) return undefined;
  return html`<section class="more" aria-labelledby="more"><h2 id="more">What else there is to know</h2>
<ul>
${shown.map(
  item => html`<li>${item}</li>
`,
)}</ul>
</section>`;
}
