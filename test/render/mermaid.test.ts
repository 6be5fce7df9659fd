/**
 * The flowchart, held to the part of Mermaid's language it uses, which is small enough to be written down here. Mermaid 12.3 read
 * the charts of all captures and of hostile reports when this was written; it is too large (150 MB) to be installed for a test.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { escapeText } from '../../src/render/escape.ts';
import { mermaidText, renderMermaid } from '../../src/render/mermaid.ts';
import { allScenarios, explained, ipvsCapture } from '../reconstruct/captures.ts';
import { RUNS } from '../reconstruct/compare.ts';
import { HOSTILE, hostileReport, text } from './arbitrary.ts';
import { ipv6Report } from './reports.ts';

const WORDS = String.raw`(?:[A-Za-z0-9 .,:/()_+=→✔✘ℹ-]|#\d+;|<br/>)+`;
const ID = '(?:answer|fork|[sab]\\d+)';
const GRAMMAR = [
  new RegExp(
    `^${ID}(?:\\["${WORDS}"\\]|\\{\\{"${WORDS}"\\}\\}|\\(\\["${WORDS}"\\]\\)):::(?:answer|plain|quiet|rewrite|parting)$`,
    'u',
  ),
  new RegExp(`^${ID} (?:-->|~~~) ${ID}$`),
  new RegExp(`^${ID} -->\\|"${WORDS}"\\| ${ID}$`, 'u'),
  /^classDef \w+ fill:#\w{6},stroke:#\w{6},color:#\w{6}(?:,stroke-width:3px)?$/,
];

interface Chart {
  /** Their words, decoded, by name. */
  boxes: Map<string, string>;
  edges: [string, string][];
}

/** @throws on a line that is not of the grammar, and on an edge to no box */
function readChart(chart: string): Chart {
  const [init, head, ...lines] = chart.replace(/\n$/, '').split('\n');
  expect([init, head]).toEqual(['%%{init: {"flowchart": {"wrappingWidth": 460}}}%%', 'flowchart TD']);
  const boxes = new Map<string, string>();
  const edges: [string, string][] = [];
  for (const line of lines.map(one => one.replace(/^ {2}/, ''))) {
    if (!GRAMMAR.some(rule => rule.test(line))) throw new Error(`not of the grammar: ${line}`);
    const box = /^(\w+)[[({]+"(.*)"/u.exec(line);
    const edge = /^(\w+) (?:-->|~~~)(?:\|.*\|)? (\w+)$/u.exec(line);
    if (box) boxes.set(box[1] as string, decode(box[2] as string));
    if (edge) edges.push([edge[1] as string, edge[2] as string]);
  }
  for (const end of edges.flat()) if (!boxes.has(end)) throw new Error(`an edge to no box: ${end}`);
  return { boxes, edges };
}

function decode(label: string): string {
  return label.replaceAll('<br/>', ' ').replace(/#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)));
}

const REPORTS: [string, Report][] = [
  ...allScenarios().map(({ mode, scenario }) => [`${mode}/${scenario}`, explained(mode, scenario)] as [string, Report]),
  ['IPVS', analyse(ipvsCapture())],
  ['IPv6', ipv6Report()],
  ['curl and ping, legacy', explained('legacy', ['web-curl', 'web-ping'])],
  ['curl and ping, nftables mode', explained('nftables', ['web-curl', 'web-ping'])],
  ['without rules', explained('legacy', ['web-curl', 'web-ping'], { rules: false })],
  ['nothing at all', analyse(emptyCapture('files', emptyObjects()))],
];

test.each(REPORTS)(
  '%s: of the grammar, every box but the first reached by an edge, the rewrites in it',
  (_, report) => {
    const { boxes, edges } = readChart(renderMermaid(report));
    const reached = new Set(edges.map(([, to]) => to));
    expect([...boxes.keys()].filter(box => !reached.has(box))).toEqual(['answer']);
    const words = [...boxes.values()].join('\n').replaceAll(' ', '');
    const main = report.journeys.find(one => one.direction === 'request' && one.probe === 0 && !one.later);
    for (const { field, from, to } of main?.rewrites ?? []) expect(words).toContain(`${field}${from}→${to ?? ''}`);
  },
);

test.each([
  ['legacy', 'nat KUBE-SERVICES rule 2: -d 10.96.164.231 -p tcp --dport 80 ?'],
  ['nft', 'nat KUBE-SERVICES rule 5: -d 10.96.164.231 -p tcp --dport 80 ?'],
  ['nftables', 'kube-proxy services rule 1: ip daddr . meta l4proto . th dport vmap @service-ips ?'],
] as const)('curl and ping, %s: one trunk, a fork that asks, two branches', (mode, question) => {
  const { boxes, edges } = readChart(renderMermaid(explained(mode, ['web-curl', 'web-ping'])));
  expect(boxes.get('fork')).toBe(question);
  expect(edges.filter(([from]) => from === 'fork').map(([, to]) => to)).toEqual(['a0', 'b0']);
  expect(edges.filter(([, to]) => to === 'fork')).toHaveLength(1);
});

describe('words of others', () => {
  test('stay words, in any report', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        readChart(renderMermaid(report));
      }),
      { numRuns: RUNS },
    );
  });

  test.each(HOSTILE.filter(item => escapeText(item).trim() !== '').map(item => [JSON.stringify(item), item]))(
    '%s',
    (_, item) => {
      const report = structuredClone(explained('legacy', 'noep-curl'));
      (report.findings[0] as Report['findings'][number]).sentence = item;
      const squeezed = (words: string) => words.replaceAll(' ', '');
      const answer = readChart(renderMermaid(report)).boxes.get('answer') ?? '';
      expect(squeezed(answer)).toContain(squeezed(escapeText(item)));
    },
  );

  test('any text comes back as it was', () => {
    fc.assert(
      fc.property(text, item => {
        expect(decode(mermaidText(item))).toBe(item);
      }),
    );
  });
});

describe('golden charts', () => {
  test.each([
    ['legacy-web-curl+ping', explained('legacy', ['web-curl', 'web-ping'])],
    ['nftables-web-curl+ping', explained('nftables', ['web-curl', 'web-ping'])],
    ['nft-self-curl', explained('nft', 'self-curl')],
  ])('%s', (name, report) => {
    const path = new URL(`./golden/${name}.mmd`, import.meta.url);
    const now = renderMermaid(report);
    if (process.env.U === '1') {
      mkdirSync(new URL('./golden/', import.meta.url), { recursive: true });
      writeFileSync(path, now);
    }
    expect(now).toBe(readFileSync(path, 'utf8'));
  });
});
