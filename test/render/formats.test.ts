/** What each format must hold of a real report, and how wide it may be. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { analyse } from '../../src/analyse.ts';
import { emptyCapture } from '../../src/capture.ts';
import { emptyObjects } from '../../src/kube/objects.ts';
import type { Report } from '../../src/model.ts';
import { render } from '../../src/render/render.ts';
import { conditionsOf, groupHops } from '../../src/render/segments.ts';
import { createStyle, plural, shorten, wrap } from '../../src/render/style.ts';
import { allScenarios, captureOf, explained, hasFile } from '../reconstruct/captures.ts';
import { hostileReport } from './arbitrary.ts';

const style = createStyle(false, 80);
const all = allScenarios().map(({ mode, scenario }) => ({
  name: `${mode}/${scenario}`,
  report: explained(mode, scenario),
}));
const lines = (text: string) => text.split('\n');

describe('tree', () => {
  for (const { name, report } of all)
    test(`${name}: an answer first, then every probe, then what was learned`, () => {
      const tree = render(report, 'tree', style);
      expect(tree).toMatch(/^[✔ℹ!✘] /);
      for (const probe of report.probes) expect(tree).toContain(`\n${probe.kind.padEnd(5)} `);
      for (const finding of report.findings) expect(tree.replace(/\s+/g, ' ')).toContain(finding.sentence);
      for (const finding of report.findings.filter(one => one.remedy))
        expect(tree.replace(/\s+/g, ' ')).toContain(finding.remedy as string);
      const main = report.journeys.find(journey => journey.direction === 'request');
      for (const rewrite of main?.rewrites ?? []) expect(tree).toContain(`${rewrite.field} ${rewrite.from}`);
    });

  test('kube-proxy without a packet of it has no backend to name', () => {
    const capture = emptyCapture('live', emptyObjects());
    capture.node = { proxyMode: 'iptables' };
    expect(render(analyse(capture), 'tree', style)).toContain('kube-proxy iptables · 0 trace lines');
  });

  test.each([60, 72, 80, 100, 120, 200])('%d columns are enough', width => {
    for (const { name, report } of all) {
      const long = lines(render(report, 'tree', createStyle(false, width))).filter(line => [...line].length > width);
      const breakable = long.filter(line => !line.split(' ').some(word => word.length > 30));
      expect(breakable, name).toEqual([]);
    }
  });

  test('a report full of words nobody can break is no wider than it must be', () => {
    fc.assert(
      fc.property(hostileReport, fc.integer({ min: 60, max: 120 }), (report, width) => {
        for (const line of lines(render(report, 'tree', createStyle(false, width))))
          expect(line.length).toBeLessThan(width + 400);
      }),
      { numRuns: 50 },
    );
  });

  test('a rewrite stands where it happened: behind the rule that made it, before the next hook', () => {
    const tree = render(explained('legacy', 'web-curl'), 'tree', style);
    const at = (text: string) => tree.indexOf(text);
    expect(at('→ DNAT')).toBeLessThan(at('┝━━ dst'));
    expect(at('┝━━ dst')).toBeLessThan(at('│ FORWARD'));
  });

  test.each<[string, Report, string]>([
    ['delivered', explained('legacy', 'web-curl'), '┕━▶ vethca2a4c92 → pod web-7f958d9779-mnhdr'],
    ['left', explained('legacy', 'web-ping'), '┕━▶ eth0: left this node for 10.96.164.231'],
    ['rejected', explained('legacy', 'noep-curl'), '┕━✘ rejected'],
    ['dropped', explained('legacy', 'itplocal-curl'), '┕━✘ dropped'],
  ])('an end: %s', (_, report, end) => {
    expect(render(report, 'tree', style)).toContain(end);
  });

  test('what was not understood, notes, and what was not cleaned up stand at the end', () => {
    const report = explained('legacy', 'web-curl');
    report.completeness.unrecognised = {
      count: 1,
      samples: [{ line: 'kern.log:7', raw: 'TRACE: odd', reason: 'no IN=' }],
    };
    report.notes = ['a note'];
    report.cleanup = { complete: false, removed: ['rule a'], left: ['rule b'] };
    const tree = render(report, 'tree', style);
    expect(tree).toMatch(
      /\? kern\.log:7 not understood \(no IN=\): TRACE: odd\na note\nCleaned up: rule a\n! NOT cleaned up: rule b\n$/,
    );
  });

  test('nothing at all is no reason to fail', () => {
    const report = analyse(emptyCapture('files', emptyObjects()));
    for (const format of ['tree', 'wide', 'json', 'yaml', 'markdown'] as const)
      expect(render(report, format, style).length).toBeGreaterThan(0);
  });

  test('with colour, signs and words stay: nothing hangs on a colour alone', () => {
    const coloured = render(explained('legacy', 'noep-curl'), 'tree', createStyle(true, 80));
    expect(coloured).toContain('\u001b[31m');
    expect(coloured).toContain('✘');
  });
});

describe('wide', () => {
  for (const { name, report } of all)
    test(`${name}: every hop of every packet has its line, with its evidence`, () => {
      const wide = render(report, 'wide', style);
      for (const [index, journey] of report.journeys.entries()) {
        const head = lines(wide).find(line => line.startsWith(`#${index} `));
        expect(head).toContain(journey.outcome);
        expect(head).toContain(journey.packet.label);
      }
      const evidence = report.journeys.flatMap(journey => journey.hops.flatMap(hop => hop.evidence[0] ?? []));
      for (const line of evidence) expect(wide).toContain(` ${line}`);
      const hops = report.journeys.flatMap(journey => journey.hops).length;
      const rows = lines(wide).filter(line => /^(prerouting|input|forward|output|postrouting) /.test(line));
      expect(rows).toHaveLength(hops);
    });

  test('columns stand under each other', () => {
    const wide = lines(render(explained('legacy', 'web-curl'), 'wide', style));
    const block = wide.slice(
      wide.findIndex(line => line.startsWith('#0')) + 1,
      wide.findIndex(line => line.startsWith('#1')) - 1,
    );
    const columns = new Set(block.filter(line => line.includes(' legacy ')).map(line => line.indexOf('legacy')));
    expect(columns.size).toBe(1);
  });
});

describe('json and yaml', () => {
  for (const { name, report } of all)
    test(name, () => {
      expect(JSON.parse(render(report, 'json', style))).toEqual(JSON.parse(JSON.stringify(report)));
      expect(parse(render(report, 'yaml', style))).toEqual(JSON.parse(JSON.stringify(report)));
    });

  test('the same bytes whatever the width and the colour', () => {
    const { report } = all[0] as (typeof all)[number];
    for (const format of ['json', 'yaml', 'markdown'] as const)
      expect(render(report, format, createStyle(true, 40))).toBe(render(report, format, style));
  });

  test('version and kind come first', () => {
    const { report } = all[0] as (typeof all)[number];
    expect(render(report, 'json', style)).toMatch(
      /^{\n {2}"apiVersion": "trace-svc\/v1alpha1",\n {2}"kind": "ServiceTrace"/,
    );
    expect(render(report, 'yaml', style)).toMatch(/^apiVersion: trace-svc\/v1alpha1\nkind: ServiceTrace\n/);
  });
});

describe('markdown', () => {
  for (const { name, report } of all)
    test(`${name}: title, findings, a table for every connection's first packet`, () => {
      const text = render(report, 'markdown', style);
      expect(text).toMatch(/^# Trace of /);
      expect(lines(text).filter(line => /^- (\*\*Error\*\*|\*\*Warning\*\*|Note) \(/.test(line))).toHaveLength(
        report.findings.length,
      );
      const connections = new Set(
        report.journeys.filter(one => one.direction === 'request').map(one => one.connection),
      );
      expect(
        lines(text).filter(line => line === '| hook | table | chain | rule | what |').length,
      ).toBeGreaterThanOrEqual(connections.size);
      for (const rewrite of report.journeys.find(one => one.direction === 'request')?.rewrites ?? [])
        expect(text).toContain(`\`${rewrite.from}\``);
    });

  test('where curl and ping part', () => {
    const text = render(explained('legacy', ['web-curl', 'web-ping']), 'markdown', style);
    expect(text).toMatch(
      /## Where they part\n\n`nat KUBE-SERVICES`: curl .*; ping .* What did not hold: `-p tcp`, `--dport 80`\./,
    );
  });
});

describe('the pieces of a tree', () => {
  for (const { mode, scenario } of allScenarios().filter(one => hasFile(one.mode, one.scenario, 'kmsg.txt')))
    test(`${mode}/${scenario}: every hop is in one group, in order`, () => {
      for (const journey of analyse(captureOf(mode, scenario)).journeys) {
        const groups = groupHops(journey);
        expect(groups.flatMap(group => group.hops.map(({ index }) => index))).toEqual(journey.hops.map((_, i) => i));
        for (const group of groups) {
          expect(new Set(group.hops.map(({ hop }) => `${hop.hook} ${hop.table} ${hop.backend}`)).size).toBe(1);
          if (group.quiet)
            for (const { hop } of group.hops)
              expect(['DROP', 'REJECT'].includes(hop.verdict ?? '') || hop.event === 'gap').toBe(false);
        }
      }
    });

  test.each([
    ['-d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-X', '-d 10.96.0.1 -p tcp --dport 80'],
    ['-m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-X', 'random 0.33'],
    ['-j KUBE-SERVICES', ''],
    ['! -s 10.0.0.0/8 -j X', '! -s 10.0.0.0/8'],
    ['-m conntrack --ctstate NEW -j REJECT --reject-with icmp-port-unreachable', '--ctstate NEW'],
    ['ip daddr @cluster-ips reject', 'ip daddr @cluster-ips'],
    ['numgen random mod 3 vmap { 0 : goto a, 1 : goto b }', 'numgen random mod 3 vmap { … }'],
    ['meta l4proto tcp dnat to 10.0.0.1:80', 'meta l4proto tcp'],
  ])('conditions of %s', (text, conditions) => {
    expect(conditionsOf({ text } as never)).toBe(conditions);
  });
});

describe('lines', () => {
  test('wrap loses no word and is never too wide', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 50 })),
        fc.integer({ min: 20, max: 100 }),
        (words, width) => {
          const text = words.join(' ');
          const wrapped = wrap(text, width);
          for (const line of wrapped) expect(line.length).toBeLessThanOrEqual(width);
          expect(wrapped.join('').replaceAll(' ', '')).toBe(text.replaceAll(' ', ''));
        },
      ),
    );
  });
  test('a word that fits is not cut', () => {
    expect(wrap('one two three', 20)).toEqual(['one two three']);
    expect(wrap(`${'a'.repeat(19)} b`, 20)).toEqual(['a'.repeat(19), 'b']);
    expect(wrap('x'.repeat(45), 20)).toEqual(['x'.repeat(20), 'x'.repeat(20), 'x'.repeat(5)]);
  });
  test('shorten keeps both ends and the width', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 80 }), fc.integer({ min: 3, max: 40 }), (text, width) => {
        const short = shorten(text, width);
        expect(short.length).toBeLessThanOrEqual(Math.max(width, text.length <= width ? text.length : width));
        if (text.length <= width) expect(short).toBe(text);
        else expect(short).toContain('…');
      }),
    );
    expect(shorten('KUBE-SVC-CDGGSHYLG3RE2FKL', 16)).toBe('KUBE-SVC-C…E2FKL');
  });
  test.each([
    [0, '0 lines'],
    [1, '1 line'],
    [2, '2 lines'],
  ])('%d', (count, words) => {
    expect(plural(count, 'line')).toBe(words);
  });
  test('an irregular plural', () => {
    expect(plural(2, 'policy', 'policies')).toBe('2 policies');
  });
});
