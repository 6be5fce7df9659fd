/** The page as a document: what stands in it, for every capture, and for words that would like to be markup. */
import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { escapeText } from '../../src/render/escape.ts';
import { escapeMarkup, html } from '../../src/render/html/markup.ts';
import { renderHtml } from '../../src/render/html/page.ts';
import { allScenarios, explained, ipvsCapture } from '../reconstruct/captures.ts';
import { RUNS } from '../reconstruct/compare.ts';
import { HOSTILE, hostileReport, text } from './arbitrary.ts';
import { all, type Element, readPage, textOf, withClass, withTag } from './markup-of.ts';
import { ipv6Report } from './reports.ts';

const REPORTS: [string, Report][] = [
  ...allScenarios().map(({ mode, scenario }) => [`${mode}/${scenario}`, explained(mode, scenario)] as [string, Report]),
  ['IPVS', analyse(ipvsCapture())],
  ['IPv6', ipv6Report()],
  ['curl and ping, legacy', explained('legacy', ['web-curl', 'web-ping'])],
  ['curl and ping, nf_tables', explained('nft', ['web-curl', 'web-ping'])],
  ['curl and ping, nftables mode', explained('nftables', ['web-curl', 'web-ping'])],
  ['without rules', explained('legacy', ['web-curl', 'web-ping'], { rules: false })],
  ['the trace alone', explained('nft', 'web-curl', { rules: false, objects: false, probe: false, conntrack: false })],
  ['nothing at all', analyse(emptyCapture('files', emptyObjects()))],
  ['probes without a packet', { ...explained('legacy', 'web-curl'), journeys: [], divergences: [] }],
];

const squeeze = (words: string) => words.replace(/\s+/g, ' ').trim();

describe.each(REPORTS)('%s', (_, report) => {
  const page = readPage(renderHtml(report));
  const words = squeeze(textOf(page));

  test('every finding stands in it, with what to do', () => {
    for (const { sentence, remedy } of report.findings) {
      expect(words).toContain(squeeze(sentence));
      if (remedy !== undefined) expect(words).toContain(squeeze(remedy));
    }
  });

  test('the answer comes before the first picture', () => {
    const first = report.findings.find(finding => words.includes(`${finding.sentence}`));
    const picture = words.indexOf('The whole way, step by step');
    if (first && picture >= 0) expect(words.indexOf(squeeze(first.sentence))).toBeLessThan(picture);
  });

  test('every hop of a packet that is drawn has a step of its own, with its evidence', () => {
    for (const way of withClass(page, 'way')) {
      const evidence = all(way, one => one.tag === 'dd').map(textOf);
      const journey = report.journeys.find(
        one => one.hops.length > 0 && one.hops.every(hop => evidence.includes(hop.evidence.join(', '))),
      );
      expect(journey).toBeDefined();
      expect(withClass(way, 'proof')).toHaveLength(journey?.hops.length as number);
    }
  });

  test('landmarks, one heading of the first order, and no heading skipped', () => {
    for (const tag of ['header', 'main', 'footer', 'h1']) expect(withTag(page, tag)).toHaveLength(1);
    const levels = all(page, one => /^h[1-6]$/.test(one.tag)).map(one => Number(one.tag[1]));
    for (const [i, level] of levels.entries()) expect(level).toBeLessThanOrEqual((levels[i - 1] ?? 0) + 1);
  });

  test('ids are unique, and every link and label leads to one', () => {
    const ids = all(page, one => one.attributes.has('id')).map(one => one.attributes.get('id') as string);
    expect(new Set(ids).size).toBe(ids.length);
    for (const link of withTag(page, 'a')) expect(ids).toContain(link.attributes.get('href')?.slice(1));
    for (const one of all(page, element => element.attributes.has('aria-labelledby')))
      expect(ids).toContain(one.attributes.get('aria-labelledby'));
  });

  test('every step stands at a place of the picture', () => {
    for (const scene of withClass(page, 'scene')) {
      const places = new Set(withClass(scene, 'place').map(one => one.attributes.get('data-place')));
      for (const step of withClass(scene, 'step'))
        for (const place of (step.attributes.get('data-at') as string).split(' ')) expect(places).toContain(place);
    }
  });

  test('nothing is loaded and nothing is allowed to be', () => expectClosed(page));
});

/** No address in it but its own parts, no style or handler in an attribute, and a policy that lets through what is there. */
function expectClosed(page: Element): void {
  const attributes = all(page, () => true).flatMap(one => [...one.attributes]);
  const names = new Set(attributes.map(([name]) => name));
  expect([...names].filter(name => /^(on|style$|src|action|formaction|ping$|target$)/.test(name))).toEqual([]);
  const links = attributes.filter(([name]) => name === 'href').map(([, value]) => value);
  expect(links.filter(link => link !== 'data:,' && !/^#s\d+(-\d+-\d+)?$/.test(link))).toEqual([]);
  const policy =
    withTag(page, 'meta')
      .find(one => one.attributes.has('http-equiv'))
      ?.attributes.get('content') ?? '';
  const hash = (tag: string) =>
    `'sha256-${createHash('sha256')
      .update(String(withTag(page, tag)[0]?.content[0]))
      .digest('base64')}'`;
  expect(policy.split('; ')).toEqual([
    "default-src 'none'",
    `script-src ${hash('script')}`,
    `style-src ${hash('style')}`,
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ]);
  expect(withTag(page, 'script')).toHaveLength(1);
  expect(withTag(page, 'style')).toHaveLength(1);
  expect(String(withTag(page, 'style')[0]?.content[0])).toContain('prefers-color-scheme: dark');
}

describe('what a lesson of curl and ping shows', () => {
  const page = readPage(renderHtml(explained('legacy', ['web-curl', 'web-ping'])));
  const scene = withClass(page, 'scene')[0] as Element;

  test('both beside each other', () => {
    expect(withClass(scene, 'way').map(way => textOf(withClass(way, 'tag')[0] as Element))).toEqual(['curl', 'ping']);
  });

  test('where they part, at each of them', () => {
    expect(withClass(scene, 'why').map(textOf)).toEqual([
      'Here they part. curl: rule 2 matched (Service default/web:http)',
      'Here they part. ping: no rule of it matched: -p tcp and --dport 80 do not hold',
    ]);
  });

  test('the rewrite, from what to what, by which rule, and how it is known', () => {
    const [rewrite] = withClass(scene, 'rewrite');
    expect(squeeze(textOf(rewrite as Element))).toBe(
      'PREROUTING nat KUBE-SEP-SQ6L22RR4FVRTYOQ rule 2 from10.244.1.72:38858to10.96.164.231:80 → 10.244.1.74:8080 ' +
        'the destination is rewritten: pod web-7f958d9779-mnhdr on nodea DNAT, seen in the trace',
    );
  });

  test('five hooks, the routing decision and the interfaces of both', () => {
    const map = withClass(scene, 'map')[0] as Element;
    expect(withClass(map, 'hook').map(one => textOf(one.content[1] as Element).split(' ')[0])).toEqual([
      'PREROUTING',
      'FORWARD',
      'POSTROUTING',
      'INPUT',
      'OUTPUT',
    ]);
    const names = withClass(map, 'interfaces').map(side => withTag(side, 'li').map(one => one.content[0]));
    expect(names).toEqual([['veth657da331'], ['vethca2a4c92', 'eth0']]);
  });
});

describe('words of others', () => {
  test('stay words: the page of any report can be read, and is closed', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        expectClosed(readPage(renderHtml(report)));
      }),
      { numRuns: Math.ceil(RUNS / 4) },
    );
  });

  const given = JSON.stringify(explained('legacy', 'noep-curl'));
  const shown = (place: string, word: string) => {
    const report = JSON.parse(given);
    // The rule both came to: it has a card, a proof and a place in the picture.
    report.hop = report.journeys[0].hops.find((hop: { chain: string }) => hop.chain === 'KUBE-SERVICES');
    const path = place.split('.');
    const last = path.pop() as string;
    path.reduce((value, name) => value[name], report)[last] = word;
    return readPage(renderHtml(report));
  };
  const tags = (page: Element) => all(page, () => true).map(one => one.tag);

  test.each([
    'findings.0.sentence',
    'findings.0.remedy',
    'notes.0',
    'probes.0.detail',
    'target.service',
    'source.pod',
    'node.name',
    'journeys.0.packet.label',
    'hop.chain',
    'hop.table',
    'hop.text',
    'hop.comment',
    'hop.meaning',
    'hop.owner',
    'hop.tuple.dst',
    'hop.evidence.0',
  ])('%s is shown as it is, and is no markup', place => {
    const harmless = tags(shown(place, 'word'));
    for (const item of HOSTILE.filter(one => squeeze(escapeText(one)) !== '')) {
      const page = shown(place, item);
      expect(squeeze(textOf(page))).toContain(squeeze(escapeText(item)));
      expect(tags(page)).toEqual(harmless);
    }
  });
});

describe('templates', () => {
  test('any text comes back, its control characters made visible', () => {
    fc.assert(
      fc.property(text, item => {
        const page = readPage(`<!doctype html>\n${html`<p class="${item}">${item}</p>`.text}`);
        const [p] = withTag(page, 'p');
        expect([p?.attributes.get('class'), textOf(p as Element)]).toEqual([escapeText(item), escapeText(item)]);
      }),
    );
  });

  test.each([
    [html`<b>${'a & b'}</b>`.text, '<b>a &#38; b</b>'],
    [html`${[html`<i>`, '<i>', 1]}`.text, '<i>&#60;i&#62;1'],
    [html`a${false}b${undefined}c`.text, 'abc'],
    [escapeMarkup(`"'\`<>&`), '&#34;&#39;&#96;&#60;&#62;&#38;'],
  ])('%s', (made, expected) => expect(made).toBe(expected));
});

/** U=1 writes them anew: look at the page in a browser before you commit it. */
describe('golden pages, without their style and script', () => {
  test.each([
    ['legacy-web-curl+ping', explained('legacy', ['web-curl', 'web-ping'])],
    ['nft-noep-curl', explained('nft', 'noep-curl')],
  ])('%s', (name, report) => {
    const path = new URL(`./golden/${name}.html`, import.meta.url);
    const now = renderHtml(report)
      .replace(/<(style|script)>[\s\S]*?<\/\1>/g, '<$1></$1>')
      .replace(/sha256-[\w+/=]+/g, 'sha256-');
    if (process.env.U === '1') {
      mkdirSync(new URL('./golden/', import.meta.url), { recursive: true });
      writeFileSync(path, now);
    }
    expect(now).toBe(readFileSync(path, 'utf8'));
  });
});
