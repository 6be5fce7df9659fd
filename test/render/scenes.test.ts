/** What a lesson is made of: the steps of a packet, which of two packets' steps stand side by side, and which packets there are. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import type { Report } from '../../src/model.ts';
import { type Frame, framesOf } from '../../src/render/html/align.ts';
import { everyStep, type Lane, type Scene, scenesOf } from '../../src/render/html/scenes.ts';
import type { Step } from '../../src/render/html/steps.ts';
import { allScenarios, explained, ipvsCapture } from '../reconstruct/captures.ts';
import { hostileReport } from './arbitrary.ts';
import { ipv6Report } from './reports.ts';

const pair = explained('legacy', ['web-curl', 'web-ping']);

describe('the steps of a packet', () => {
  const reports: [string, Report][] = [
    ...allScenarios().map(
      ({ mode, scenario }) => [`${mode}/${scenario}`, explained(mode, scenario)] as [string, Report],
    ),
    ['IPVS', analyse(ipvsCapture())],
    ['IPv6', ipv6Report()],
    ['curl and ping', pair],
  ];

  test.each(reports)('%s: every hop once and in order, every rewrite, one start and one end', (_, report) => {
    for (const { journey, steps } of scenesOf(report).scenes.flatMap(scene => scene.lanes)) {
      expect(everyStep(steps).flatMap(step => step.hop ?? [])).toEqual(journey.hops);
      expect(steps.flatMap(step => step.rewrite ?? [])).toEqual(journey.rewrites);
      expect([steps[0]?.kind, steps.at(-1)?.kind]).toEqual(['start', 'end']);
      expect(steps.filter(step => step.kind === 'start' || step.kind === 'end')).toHaveLength(2);
    }
  });

  test.each(reports)('%s: the addresses change where they are rewritten, and nowhere else', (_, report) => {
    for (const { steps } of scenesOf(report).scenes.flatMap(scene => scene.lanes)) {
      const all = everyStep(steps);
      for (const [i, { packet, rewrite }] of all.entries()) {
        const before = all[i - 1]?.packet ?? packet;
        const changed = (['src', 'dst'] as const).filter(field => before[field] !== packet[field]);
        expect(rewrite ? [rewrite.field] : [], JSON.stringify(all[i])).toEqual(expect.arrayContaining(changed));
      }
    }
  });

  test.each<[string, Report, string[]]>([
    [
      'a curl that was answered',
      pair,
      [
        'start: pod probe opens a TCP connection (SYN), and it comes to the node by veth657da331',
        'raw, mangle: nothing matched',
        'nat PREROUTING rule 1: on to chain KUBE-SERVICES',
        'nat KUBE-SERVICES rule 2: Service default/web:http',
        'nat KUBE-SVC-CDGGSHYLG3RE2FKL rule 3: endpoint 10.244.1.74:8080 (pod web-7f958d9779-mnhdr), 1 of 3',
        'nat KUBE-SEP-SQ6L22RR4FVRTYOQ rule 2: the destination becomes 10.244.1.74:8080',
        'nat KUBE-SEP-SQ6L22RR4FVRTYOQ rule 2: the destination is rewritten: pod web-7f958d9779-mnhdr on nodea',
        'routing decision: 10.244.1.74 is no address of this node: passed on by vethca2a4c92',
        'mangle, filter: nothing matched (4 chains asked)',
        'mangle: nothing matched',
        'nat POSTROUTING rule 1: on to chain KUBE-POSTROUTING',
        'nat KUBE-POSTROUTING rule 1: not marked: kube-proxy leaves the source',
        'end: delivered to pod web-7f958d9779-mnhdr by vethca2a4c92',
      ],
    ],
    [
      'a curl that a rule refuses',
      explained('nft', 'noep-curl', { traces: ['nft-monitor.txt'] }),
      ['end: rejected: the rule ends it, and sends an error back'],
    ],
    [
      'a packet that a rule drops',
      explained('legacy', 'itplocal-curl'),
      ['end: dropped: the packet goes no further, and nobody is told'],
    ],
    [
      'a packet for the node itself, under IPVS',
      analyse(ipvsCapture()),
      ['routing decision: 10.96.0.1 is an address of this node: the packet stays here'],
    ],
  ])('%s', (_, report, expected) => {
    const steps = scenesOf(report).scenes[0]?.lanes[0]?.steps ?? [];
    const told = steps.map(({ where, what }) => `${where}: ${what}`);
    expect(told).toEqual(expected.length > 1 ? expected : expect.arrayContaining(expected));
  });

  test('a gap is a step, and says what is missing', () => {
    const report = structuredClone(pair);
    const hops = report.journeys.find(one => one.probe === 0)?.hops ?? [];
    const [hop] = hops;
    hops.splice(2, 0, { ...(hop as (typeof hops)[number]), event: 'gap', text: 'the end of nat PREROUTING' });
    const steps = scenesOf(report).scenes[0]?.lanes[0]?.steps ?? [];
    expect(steps.filter(step => step.kind === 'gap').map(step => step.what)).toEqual([
      'lines are missing here: the end of nat PREROUTING',
    ]);
  });
});

describe('side by side', () => {
  const step = fc.record({
    kind: fc.constantFrom('hop', 'quiet', 'rewrite', 'routing'),
    hook: fc.constantFrom('prerouting', 'forward', 'postrouting'),
    where: fc.constantFrom('nat A rule 1', 'nat A rule 2', 'filter B'),
    at: fc.constantFrom(['a'], ['b'], ['a', 'b']),
  });
  const lane = fc
    .array(step, { maxLength: 12 })
    .map(steps => [{ kind: 'start', at: ['in'] }, ...steps]) as unknown as fc.Arbitrary<Step[]>;

  test('every step is shown, in order, and each frame moves something', () => {
    fc.assert(
      fc.property(lane, lane, fc.nat(11), fc.nat(11), (a, b, i, j) => {
        const together: [Step, Step] = [
          a[1 + (i % Math.max(1, a.length - 1))] ?? (a[0] as Step),
          b[1 + (j % Math.max(1, b.length - 1))] ?? (b[0] as Step),
        ];
        const frames = framesOf([a, b], together);
        expectWhole(frames, [a, b]);
        expect(frames.some(([x, y]) => a[x as number] === together[0] && b[y as number] === together[1])).toBe(true);
      }),
    );
  });

  test('one lane is its own frames', () => {
    fc.assert(
      fc.property(lane, a => {
        expect(framesOf([a])).toEqual(a.map((_, i) => [i]));
      }),
    );
  });

  test('two that do the same go in step', () => {
    fc.assert(
      fc.property(lane, a => {
        const like = a.map(one => ({ ...one, hop: { chain: 'A', table: 'nat' } })) as Step[];
        expect(framesOf([like, structuredClone(like)])).toEqual(like.map((_, i) => [i, i]));
      }),
    );
  });

  test('curl and ping meet at the start, at the routing decision, where they part, and at the end', () => {
    const [scene] = scenesOf(pair).scenes;
    const [a, b] = (scene as Scene).lanes as [Lane, Lane];
    const shown = (scene as Scene).stops.map(([x, y]) => [a.steps[x as number] as Step, b.steps[y as number] as Step]);
    const kinds = shown.map(([x, y]) => `${x?.kind} ${y?.kind}`);
    expect(kinds).toEqual(expect.arrayContaining(['start start', 'routing routing', 'end end']));
    expect(shown.some(([x, y]) => x === a.parting?.step && y === b.parting?.step)).toBe(true);
  });
});

function expectWhole(frames: Frame[], lanes: Step[][]): void {
  expect(frames[0]).toEqual(lanes.map(() => 0));
  for (const [lane, steps] of lanes.entries())
    expect([...new Set(frames.map(frame => frame[lane]))]).toEqual(steps.map((_, i) => i));
  for (const [i, frame] of frames.entries()) if (i > 0) expect(frame).not.toEqual(frames[i - 1]);
}

describe('the scenes', () => {
  test('curl beside ping, then a reply, then a packet that came past the nat rules', () => {
    expect(scenesOf(pair).scenes.map(scene => scene.title)).toEqual([
      'curl beside ping',
      'reply to curl: SYN ACK',
      'curl, a later packet: ACK',
    ]);
  });

  test('of more than two probes, each has its scene', () => {
    const report = structuredClone(pair);
    report.probes.push({ ...(report.probes[0] as Report['probes'][number]), kind: 'udp' });
    report.journeys.push({ ...structuredClone(report.journeys[0] as Report['journeys'][number]), probe: 2 });
    expect(scenesOf(report).scenes.map(scene => scene.title)).toContain('udp: SYN');
  });

  test('every packet is drawn or counted', () => {
    const { scenes, left } = scenesOf(pair);
    expect(scenes.flatMap(scene => scene.lanes).length + left).toBe(pair.journeys.length);
  });

  test('a page has no more than eight, however many connections there were', () => {
    const report = structuredClone(pair);
    report.probes = Array.from({ length: 50 }, () => ({ ...(pair.probes[0] as Report['probes'][number]) }));
    report.journeys = report.probes.map((_, probe) => ({
      ...(pair.journeys[0] as Report['journeys'][number]),
      probe,
      connection: probe,
    }));
    report.divergences = [];
    const { scenes, left } = scenesOf(report);
    expect(scenes.length).toBeLessThanOrEqual(8);
    expect(left).toBe(50 - scenes.flatMap(scene => scene.lanes).length);
  });

  test('any report has scenes whose frames are whole', () => {
    fc.assert(
      fc.property(hostileReport, report => {
        for (const { lanes, stops, all } of scenesOf(report).scenes) {
          expectWhole(
            stops,
            lanes.map(lane => lane.steps.filter(step => !step.minor)),
          );
          expectWhole(
            all,
            lanes.map(lane => everyStep(lane.steps)),
          );
        }
      }),
      { numRuns: 100 },
    );
  });
});
