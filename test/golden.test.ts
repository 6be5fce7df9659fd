/**
 * Every real capture through the whole program: its tree as it was once read and found true (test/golden/, rewrite with
 * U=1), and a table of what must come of it, written from what happened (test/captures/README.md), not from the output.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { analyse } from '../src/analyse.ts';
import type { Capture } from '../src/capture.ts';
import type { FindingKind, Hop, Journey, JourneyOutcome, Report } from '../src/model.ts';
import { createStyle } from '../src/render/style.ts';
import { renderTree } from '../src/render/tree.ts';
import { exitCode } from '../src/run.ts';
import {
  allScenarios,
  captureOf,
  fileOf,
  type Given,
  hasFile,
  ipvsCapture,
  type Mode,
  TRACES,
} from './reconstruct/captures.ts';

const GOLDEN = new URL('./golden/', import.meta.url);

interface Invocation {
  /** Also the golden file's name. */
  name: string;
  mode: Mode | 'ipvs-vm';
  scenarios: string[];
  given?: Given;
}

const VARIANTS: Record<string, Given> = {
  kmsg: { traces: ['kmsg.txt'] },
  'nft-monitor': { traces: ['nft-monitor.txt'] },
  'xtables-monitor': { traces: ['xtables-monitor.txt'] },
  'without-rules': { rules: false },
  'without-objects': { objects: false },
  'without-probe-and-conntrack': { probe: false, conntrack: false },
  'trace-only': { rules: false, objects: false, probe: false, conntrack: false },
};

function variants(mode: Mode, scenario: string, names: string[]): Invocation[] {
  return names.map(name => ({
    name: `${mode}-${scenario}-${name}`,
    mode,
    scenarios: [scenario],
    given: VARIANTS[name] as Given,
  }));
}

const LESS = ['without-rules', 'without-objects', 'without-probe-and-conntrack', 'trace-only'];

const INVOCATIONS: Invocation[] = [
  ...allScenarios().map(({ mode, scenario }) => ({ name: `${mode}-${scenario}`, mode, scenarios: [scenario] })),
  { name: 'ipvs-vm', mode: 'ipvs-vm', scenarios: ['session'] },
  { name: 'ipvs-vm-without-rules', mode: 'ipvs-vm', scenarios: ['session'], given: { rules: false } },
  // A ping beside the curl of the same Service: the program's favourite question.
  { name: 'legacy-web-curl+ping', mode: 'legacy', scenarios: ['web-curl', 'web-ping'] },
  {
    name: 'legacy-web-curl+ping-trace-only',
    mode: 'legacy',
    scenarios: ['web-curl', 'web-ping'],
    given: VARIANTS['trace-only'] as Given,
  },
  {
    name: 'nft-web-curl+ping',
    mode: 'nft',
    scenarios: ['web-curl', 'web-ping'],
    given: { traces: ['nft-monitor.txt'] },
  },
  {
    name: 'nft-apiserver-curl+ping',
    mode: 'nft',
    scenarios: ['apiserver-curl', 'apiserver-ping'],
    given: { traces: ['kmsg.txt', 'nft-monitor.txt'] },
  },
  { name: 'nftables-web-curl+ping', mode: 'nftables', scenarios: ['web-curl', 'web-ping'] },
  { name: 'nftables-web-curl+unexposed', mode: 'nftables', scenarios: ['web-curl', 'unexposed-curl'] },
  ...variants('legacy', 'web-curl', LESS),
  ...variants('legacy', 'web-ping', LESS),
  ...variants('legacy', 'noep-curl', LESS),
  ...variants('legacy', 'ext-curl', LESS),
  ...variants('legacy', 'sticky-curl', ['without-rules', 'without-objects']),
  ...variants('legacy', 'apiserver-curl', LESS),
  ...variants('legacy', 'wrongport-curl', ['without-rules', 'without-objects']),
  ...variants('nft', 'web-curl', ['kmsg', 'nft-monitor', 'xtables-monitor', ...LESS]),
  ...variants('nft', 'web-ping', ['kmsg', 'nft-monitor', 'xtables-monitor', ...LESS]),
  ...variants('nft', 'noep-curl', ['nft-monitor', 'xtables-monitor', ...LESS]),
  ...variants('nft', 'self-curl', ['nft-monitor', 'without-rules', 'trace-only']),
  ...variants('nftables', 'web-curl', ['kmsg', 'nft-monitor', ...LESS]),
  ...variants('nftables', 'web-ping', ['nft-monitor', ...LESS]),
  ...variants('nftables', 'itplocal-curl', ['nft-monitor', ...LESS]),
  ...variants('nftables', 'np-curl', ['nft-monitor', 'trace-only']),
  ...variants('nftables', 'sticky-curl', ['nft-monitor', 'trace-only']),
];

function captureFor({ mode, scenarios, given }: Invocation): Capture {
  return mode === 'ipvs-vm' ? ipvsCapture(given) : captureOf(mode, scenarios, given);
}

/** The command that says the same as the invocation. */
function argumentsOf({ mode, scenarios, given = {} }: Invocation): string {
  const args = ['explain'];
  const dir = (scenario: string) => (mode === 'ipvs-vm' ? 'ipvs-vm' : `${mode}/${scenario}`);
  const add = (flag: string | undefined, scenario: string, ...names: string[]) => {
    for (const name of names)
      if (mode === 'ipvs-vm' || hasFile(mode, scenario, name))
        args.push(...(flag === undefined ? [] : [flag]), `${dir(scenario)}/${name}`);
  };
  const session = mode === 'ipvs-vm';
  for (const scenario of scenarios) add(undefined, scenario, ...(session ? ['session.txt'] : (given.traces ?? TRACES)));
  if (given.rules !== false)
    add('--rules', scenarios[0] as string, ...(session ? ['session.txt'] : ['iptables-save.txt', 'nft-ruleset.txt']));
  if (given.objects !== false && !session) args.push('--objects', `${mode}/objects.json`);
  for (const scenario of scenarios) {
    if (given.conntrack !== false) add('--conntrack', scenario, session ? 'session.txt' : 'conntrack.txt');
    if (given.probe !== false)
      add('--probe', scenario, ...(session ? ['session.txt'] : ['probe.cmd', 'probe.out', 'probe.err', 'probe.rc']));
  }
  return args.join(' ');
}

function goldenOf(invocation: Invocation): string {
  const report = analyse(captureFor(invocation));
  return `$ ${argumentsOf(invocation)}\nexit ${exitCode(report)}\n\n${renderTree(report, createStyle(false, 80))}`;
}

describe('golden trees', () => {
  test.each(INVOCATIONS.map(invocation => [invocation.name, invocation] as const))('%s', (name, invocation) => {
    const path = new URL(`${name}.txt`, GOLDEN);
    const now = goldenOf(invocation);
    if (process.env.U === '1') {
      mkdirSync(GOLDEN, { recursive: true });
      writeFileSync(path, now);
    }
    expect(existsSync(path), `no golden file for ${name}: look at the output, then U=1`).toBe(true);
    expect(now).toBe(readFileSync(path, 'utf8'));
    const [, , , ...tree] = now.split('\n');
    expect(tree.filter(isTooLong)).toEqual([]);
    expect(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(now)).toBe(false);
  });

  test('every golden file has an invocation', () => {
    const known = new Set(INVOCATIONS.map(({ name }) => `${name}.txt`));
    expect(readdirSync(GOLDEN).filter(name => !known.has(name))).toEqual([]);
    expect(new Set(INVOCATIONS.map(({ name }) => name)).size).toBe(INVOCATIONS.length);
  });
});

/** Longer than 80 columns, and no word in it that could not have been broken. */
function isTooLong(line: string): boolean {
  return [...line].length > 80 && !line.split(' ').some(word => [...word].length > 40);
}

interface Row {
  capture: `${Mode}/${string}`;
  what: string;
  /** All findings, the first one first. */
  findings: FindingKind[];
  exit: number;
  /** Of the first request that was seen. */
  outcome: JourneyOutcome;
  endpoint?: string;
}

/** xtables-monitor gave up in every nft capture (its last line says so); whole is what the other two wrote. */
const WHOLE = { traces: ['kmsg.txt', 'nft-monitor.txt'] } as const;

const ROWS: Row[] = [
  {
    capture: 'legacy/web-curl',
    what: 'answered by a pod of this node',
    findings: ['ServiceAnswered', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.74:8080',
  },
  {
    capture: 'legacy/web-ping',
    what: 'no rule translates an echo request',
    findings: ['PingNotTranslated'],
    exit: 0,
    outcome: 'left-node',
  },
  {
    capture: 'legacy/sticky-curl',
    what: 'answered, with session affinity',
    findings: ['ServiceAnswered', 'SessionAffinity', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.74:8080',
  },
  {
    capture: 'legacy/ext-curl',
    what: 'answered by an external address, masqueraded',
    findings: ['ServiceAnswered', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'left-node',
    endpoint: '10.244.2.26:8080',
  },
  {
    capture: 'legacy/np-local-curl',
    what: "answered by this node's node port, masqueraded",
    findings: ['ServiceAnswered', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'left-node',
    endpoint: '10.244.2.26:8080',
  },
  {
    capture: 'legacy/noep-curl',
    what: 'refused by a rule: no endpoints',
    findings: ['NoEndpoints'],
    exit: 3,
    outcome: 'rejected',
  },
  {
    capture: 'legacy/itplocal-curl',
    what: 'dropped by a rule: no endpoint on this node',
    findings: ['NoLocalEndpoints'],
    exit: 3,
    outcome: 'dropped',
  },
  {
    capture: 'legacy/wrongport-curl',
    what: 'refused by the endpoint itself',
    findings: ['EndpointRefused'],
    exit: 3,
    outcome: 'delivered',
    endpoint: '10.244.1.73:9999',
  },
  {
    capture: 'legacy/udp-probe',
    what: 'no listener behind a UDP Service',
    findings: ['EndpointRefused'],
    exit: 3,
    outcome: 'delivered',
    endpoint: '10.244.1.73:5353',
  },
  {
    capture: 'legacy/apiserver-curl',
    what: 'timed out: no masquerade, so the reply had no way back',
    findings: ['ReplyLost', 'EndpointSilent'],
    exit: 3,
    outcome: 'left-node',
    endpoint: '172.30.0.1:6443',
  },

  {
    capture: 'nft/web-curl',
    what: 'answered by a pod of the other node',
    findings: ['ServiceAnswered', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'left-node',
    endpoint: '10.244.2.26:8080',
  },
  {
    capture: 'nft/web-ping',
    what: 'no rule translates an echo request',
    findings: ['PingNotTranslated'],
    exit: 0,
    outcome: 'left-node',
  },
  {
    capture: 'nft/apiserver-ping',
    what: 'no rule translates an echo request',
    findings: ['PingNotTranslated'],
    exit: 0,
    outcome: 'left-node',
  },
  {
    capture: 'nft/apiserver-curl',
    what: 'timed out: no masquerade, so the reply had no way back',
    findings: ['ReplyLost', 'EndpointSilent'],
    exit: 3,
    outcome: 'left-node',
    endpoint: '172.30.0.1:6443',
  },
  {
    capture: 'nft/self-curl',
    what: 'hairpin: the pod reached itself, masqueraded',
    findings: ['ServiceAnswered', 'Hairpin', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.72:8080',
  },
  {
    capture: 'nft/np-curl',
    what: "the other node's node port: translated there, not here",
    findings: ['ServiceAnswered'],
    exit: 0,
    outcome: 'left-node',
  },
  {
    capture: 'nft/noep-curl',
    what: 'refused by a rule: no endpoints',
    findings: ['NoEndpoints'],
    exit: 3,
    outcome: 'rejected',
  },
  {
    capture: 'nft/wrongport-curl',
    what: 'refused by the endpoint itself',
    findings: ['EndpointRefused'],
    exit: 3,
    outcome: 'left-node',
    endpoint: '10.244.2.26:9999',
  },
  {
    capture: 'nft/udp-probe',
    what: 'no listener behind a UDP Service',
    findings: ['EndpointRefused'],
    exit: 3,
    outcome: 'left-node',
    endpoint: '10.244.2.26:5353',
  },
  {
    capture: 'nft/unexposed-curl',
    what: 'a port the Service does not have: nothing translates it',
    findings: ['PortNotExposed'],
    exit: 3,
    outcome: 'left-node',
  },

  {
    capture: 'nftables/web-curl',
    what: 'answered by a pod of this node',
    findings: ['ServiceAnswered', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.74:8080',
  },
  {
    capture: 'nftables/web-ping',
    what: "kube-proxy's table rejects what is no port of a cluster IP",
    findings: ['PingRejected'],
    exit: 0,
    outcome: 'rejected',
  },
  {
    capture: 'nftables/apiserver-ping',
    what: "kube-proxy's table rejects what is no port of a cluster IP",
    findings: ['PingRejected'],
    exit: 0,
    outcome: 'rejected',
  },
  {
    capture: 'nftables/self-curl',
    what: 'hairpin: the pod reached itself, masqueraded',
    findings: ['ServiceAnswered', 'Hairpin', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.72:8080',
  },
  {
    capture: 'nftables/sticky-curl',
    what: 'answered, with session affinity',
    findings: ['ServiceAnswered', 'SessionAffinity', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.74:8080',
  },
  {
    capture: 'nftables/ext-curl',
    what: 'answered by an external address, masqueraded',
    findings: ['ServiceAnswered', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.74:8080',
  },
  {
    capture: 'nftables/np-curl',
    what: "the other node's node port: masqueraded by the CNI",
    findings: ['ServiceAnswered', 'Masqueraded'],
    exit: 0,
    outcome: 'left-node',
  },
  {
    capture: 'nftables/np-local-curl',
    what: "answered by this node's node port, masqueraded",
    findings: ['ServiceAnswered', 'Masqueraded', 'OnlyFirstPacketHitsNat'],
    exit: 0,
    outcome: 'delivered',
    endpoint: '10.244.1.73:8080',
  },
  {
    capture: 'nftables/itplocal-curl',
    what: 'dropped by a rule: no endpoint on this node',
    findings: ['NoLocalEndpoints'],
    exit: 3,
    outcome: 'dropped',
  },
  {
    capture: 'nftables/unexposed-curl',
    what: "kube-proxy's table rejects what is no port of a cluster IP",
    findings: ['PortNotExposed'],
    exit: 3,
    outcome: 'rejected',
  },
];

/** conntrack's two tuples, read here by the test's own means. */
function tuplesOf(line: string): { from: string; to: string; reply: { from: string; to: string } } | undefined {
  const ends = [...line.matchAll(/src=(\S+) dst=(\S+)(?: sport=(\d+) dport=(\d+))?/g)].map(
    ([, src, dst, sport, dport]) => ({
      from: sport === undefined ? String(src) : `${src}:${sport}`,
      to: dport === undefined ? String(dst) : `${dst}:${dport}`,
    }),
  );
  const [original, reply] = ends;
  return original && reply ? { ...original, reply } : undefined;
}

function split(capture: string): [Mode, string] {
  const [mode, scenario] = capture.split('/');
  return [mode as Mode, scenario as string];
}

function firstRequest(report: Report): Journey {
  const first = report.journeys.find(journey => journey.direction === 'request' && !journey.later);
  expect(first, 'a first request').toBeDefined();
  return first as Journey;
}

describe('what happened, said of every capture', () => {
  test('the table has a row for every capture', () => {
    expect(ROWS.map(row => row.capture).sort()).toEqual(
      allScenarios()
        .map(({ mode, scenario }) => `${mode}/${scenario}`)
        .sort(),
    );
  });

  for (const row of ROWS) {
    const [mode, scenario] = split(row.capture);
    describe(`${row.capture}: ${row.what}`, () => {
      const report = analyse(captureOf(mode, scenario, WHOLE));

      test('findings, exit code, outcome', () => {
        expect(report.findings.map(finding => finding.kind)).toEqual(row.findings);
        expect(exitCode(report)).toBe(row.exit);
        expect(firstRequest(report).outcome).toBe(row.outcome);
      });

      test('nothing is missing and nothing was misread', () => {
        expect(report.completeness).toMatchObject({
          complete: true,
          lost: 0,
          gaps: 0,
          duplicates: 0,
          checkedAgainst: 'rules',
          unrecognised: { count: 0 },
        });
        expect(report.journeys.map(journey => journey.gaps).filter(gaps => gaps > 0)).toEqual([]);
        expect(
          report.journeys.flatMap(journey => journey.hops).filter(hop => hop.event === 'gap' || hop.uncertain),
        ).toEqual([]);
      });

      test('every line of the files is a hop of one journey, and of one only', () => {
        const used = report.journeys.flatMap(journey => journey.hops.flatMap(hop => hop.evidence)).sort();
        const lines = WHOLE.traces
          .filter(name => hasFile(mode, scenario, name))
          .flatMap(name =>
            fileOf(mode, scenario, name)
              .split('\n')
              .flatMap((line, i) => (/TRACE: |^trace id /.test(line) ? [`${name}:${i + 1}`] : [])),
          )
          .sort();
        expect(used).toEqual(lines);
      });

      test("endpoint and rewrites are those of conntrack's own tuples", () => {
        const first = firstRequest(report);
        const endpoint = first.endpoint;
        expect(endpoint && `${endpoint.address}${endpoint.port === undefined ? '' : `:${endpoint.port}`}`).toBe(
          row.endpoint,
        );
        if (!hasFile(mode, scenario, 'conntrack.txt')) return;
        const tuples = tuplesOf(fileOf(mode, scenario, 'conntrack.txt'));
        expect(tuples).toBeDefined();
        if (!tuples) return;
        // Without conntrack's help: what the trace alone says of the destination must be what conntrack knows.
        const alone = firstRequest(analyse(captureOf(mode, scenario, { ...WHOLE, conntrack: false })));
        const translated = tuples.to !== tuples.reply.from;
        for (const journey of [first, alone]) {
          const dst = journey.rewrites.filter(rewrite => rewrite.field === 'dst');
          expect(dst.map(({ from, to, evidence }) => ({ from, to, evidence }))).toEqual(
            translated ? [{ from: tuples.to, to: tuples.reply.from, evidence: 'trace' }] : [],
          );
        }
        if (translated) expect(row.endpoint).toBe(tuples.reply.from);
        const masqueraded = tuples.from !== tuples.reply.to;
        const src = first.rewrites.filter(rewrite => rewrite.field === 'src');
        expect(src.map(({ from, to }) => ({ from, to }))).toEqual(
          masqueraded ? [{ from: tuples.from, to: tuples.reply.to }] : [],
        );
        // Where the trace shows no address behind the masquerade, it must not invent one.
        for (const rewrite of alone.rewrites.filter(one => one.field === 'src'))
          expect([undefined, tuples.reply.to]).toContain(rewrite.to);
      });

      test('every request of the connection is translated alike, every reply back', () => {
        const [first] = firstRequest(report).rewrites.filter(rewrite => rewrite.field === 'dst');
        for (const journey of report.journeys.filter(one => one.direction === 'request')) {
          const dst = journey.rewrites.filter(rewrite => rewrite.field === 'dst');
          expect(dst.map(rewrite => rewrite.to)).toEqual(first ? [first.to] : []);
          if (journey.later) expect(dst.every(rewrite => rewrite.fromConnection)).toBe(true);
        }
        for (const journey of report.journeys.filter(one => one.direction === 'reply'))
          for (const rewrite of journey.rewrites.filter(one => one.field === 'src'))
            if (first) expect([rewrite.from, rewrite.to]).toEqual([first.to, first.from]);
      });
    });
  }
});

/** Rules of a chain in iptables-save's text, by the test's own reading. */
function savedRules(text: string, table: string, chain: string): string[] {
  const section = text.split(/^\*/m).find(part => part.startsWith(`${table}\n`)) ?? '';
  return section.split('\n').filter(line => line.startsWith(`-A ${chain} `));
}

/** Without what is no condition and no target. */
function bareRule(rule: string): string {
  return rule
    .replace(/^-A \S+ /, '')
    .replace(/-m comment --comment ("(?:\\.|[^"])*"|\S+) ?/, '')
    .trim();
}

function rawLegacy(hop: Hop, raw: string, saved: string): void {
  const [, table, chain, event, number] = /TRACE: (\w+):([^:\s]+):(rule|return|policy):(\d+) /.exec(raw) ?? [];
  expect([hop.table, hop.chain, hop.event, hop.rule]).toEqual([table, chain, event, Number(number)]);
  const field = (name: string) => new RegExp(` ${name}=(\\S*)`).exec(raw.replace(/ \[SRC=.*\]/, ''))?.[1] || undefined;
  const tuple = { src: field('SRC'), sport: field('SPT'), dst: field('DST'), dport: field('DPT') };
  const own = {
    src: hop.tuple.src,
    sport: hop.tuple.sport?.toString(),
    dst: hop.tuple.dst,
    dport: hop.tuple.dport?.toString(),
  };
  expect(own).toEqual(tuple);
  expect([hop.in, hop.out, hop.physIn, hop.physOut]).toEqual([
    field('IN'),
    field('OUT'),
    field('PHYSIN'),
    field('PHYSOUT'),
  ]);
  expect(hop.mark ?? 0).toBe(Number(field('MARK') ?? 0));
  if (hop.event === 'rule' && saved !== '')
    expect(hop.text).toBe(bareRule(savedRules(saved, hop.table, hop.chain)[(hop.rule ?? 0) - 1] ?? ''));
}

function rawNft(hop: Hop, raw: string): void {
  const [, family, table, chain, event, rest = ''] =
    /^trace id \S+ (\S+) (\S+) (\S+) (packet|rule|policy):? (.*)$/.exec(raw) ?? [];
  expect([hop.family, hop.table, hop.chain, hop.event]).toEqual([family, table, chain, event]);
  if (event === 'packet') {
    const field = (name: string) => new RegExp(` ${name} "?([^"\\s]+)`).exec(` ${rest}`)?.[1];
    expect([hop.tuple.src, hop.tuple.dst]).toEqual([field('ip saddr'), field('ip daddr')]);
    expect([hop.tuple.sport?.toString(), hop.tuple.dport?.toString()]).toEqual([
      field('(?:tcp|udp) sport'),
      field('(?:tcp|udp) dport'),
    ]);
    expect([hop.in, hop.out]).toEqual([field('iif'), field('oif')]);
  }
  if (event === 'policy') expect(hop.verdict).toBe(rest.trim().split(' ')[0]?.toUpperCase());
  if (event !== 'rule') return;
  const verdict = /\(verdict ([^)]+)\)$/.exec(rest)?.[1] ?? '';
  const spoken = /^(jump|goto) /.test(verdict) ? verdict : verdict.toUpperCase();
  expect([spoken, ...(verdict === 'drop' && / reject/.test(rest) ? ['REJECT'] : [])]).toContain(hop.verdict);
  // Sets, maps and addresses are what tells two rules of a chain apart, in whichever syntax the rule is shown.
  for (const name of rest.match(/@[a-z]\S*|\b\d+\.\d+\.\d+\.\d+\b/g) ?? []) expect(hop.text).toContain(name);
}

describe('every hop says what its line says', () => {
  for (const { mode, scenario } of allScenarios())
    test(`${mode}/${scenario}`, () => {
      const report = analyse(captureOf(mode, scenario, WHOLE));
      const saved = mode === 'legacy' ? fileOf(mode, scenario, 'iptables-save.txt') : '';
      for (const hop of report.journeys.flatMap(journey => journey.hops)) {
        const [file = '', line] = (hop.evidence[0] ?? '').split(':');
        const raw = fileOf(mode, scenario, file).split('\n')[Number(line) - 1] as string;
        if (hop.backend === 'legacy') rawLegacy(hop, raw, saved);
        else rawNft(hop, raw);
      }
    });
});

describe('xtables-monitor beside nft monitor', () => {
  for (const { mode, scenario } of allScenarios().filter(one => hasFile(one.mode, one.scenario, 'xtables-monitor.txt')))
    test(`${mode}/${scenario}: adds no packet, repeats what is known, and its end is said`, () => {
      const both = analyse(captureOf(mode, scenario));
      const one = analyse(captureOf(mode, scenario, WHOLE));
      const ways = (report: Report) =>
        report.journeys.map(({ packet, outcome, rewrites, hops }) => ({
          packet,
          outcome,
          rewrites: rewrites.map(({ field, from, to }) => ({ field, from, to })),
          hops: hops.map(({ hook, table, chain, event, rule, backend, verdict }) => ({
            hook,
            table,
            chain,
            event,
            rule,
            backend,
            verdict,
          })),
        }));
      expect(ways(both)).toEqual(ways(one));
      expect(both.completeness.duplicates).toBeGreaterThan(0);
      expect(both.completeness.complete).toBe(false);
      expect(both.completeness.reasons.join('\n')).toMatch(/xtables-monitor/);
    });
});

describe('one session under IPVS', () => {
  const report = analyse(ipvsCapture());
  test('curl is rejected because a set of kube-proxy does not hold the address, and that is the first thing said', () => {
    expect(report.findings[0]).toMatchObject({ kind: 'RejectedByRule', severity: 'error' });
    expect(report.findings[0]?.sentence).toMatch(/KUBE-IPVS-FILTER rule 2/);
    expect(report.findings[0]?.remedy).toMatch(/KUBE-CLUSTER-IP/);
    expect(exitCode(report)).toBe(3);
  });
  test('the first ping is rejected, the second one answered by the node', () => {
    const pings = report.journeys.filter(one => one.direction === 'request' && one.packet.protocol === 'icmp');
    expect(pings.map(one => one.outcome)).toEqual(['rejected', 'delivered']);
    expect(report.findings.map(finding => finding.kind)).toEqual(
      expect.arrayContaining(['PingRejected', 'PingAnsweredByNode']),
    );
  });
});
