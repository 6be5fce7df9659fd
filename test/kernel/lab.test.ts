/**
 * The lab in every mode and scenario on the real kernel, and each report held against what really happened: the body that
 * came back, conntrack's tuples, and the counters of the rules.
 */
import { beforeAll, describe, expect, it } from 'vitest';
import { SCENARIOS } from '../../src/lab/scenarios.ts';
import type { Chain, Hop, Rule, Ruleset } from '../../src/model.ts';
import { parseConntrack } from '../../src/parse/conntrack.ts';
import { parseIptablesSave } from '../../src/parse/iptables-save.ts';
import { EXPECTED, type Expected } from '../support/expected.ts';
import { type LabRun, MODES_HERE, runLab } from '../support/lab.ts';
import { schemaErrors } from '../support/schema.ts';

it('expects something of every scenario', () => {
  expect(Object.keys(EXPECTED)).toEqual(SCENARIOS.map(scenario => scenario.name));
});

for (const mode of MODES_HERE)
  describe(`mode ${mode}`, () => {
    for (const { name } of SCENARIOS)
      describe(name, () => {
        let run: LabRun;
        beforeAll(async () => {
          run = await runLab(name, mode);
        });

        it('finds what there is to find', () => {
          const expected = EXPECTED[name] as Expected;
          const kinds = run.report.findings.map(finding => finding.kind);
          const wanted = (mode === 'nftables' ? expected.nftables : undefined) ?? expected.findings;
          expect(kinds.filter(kind => kind !== 'OnlyFirstPacketHitsNat').sort()).toEqual([...wanted].sort());
          expect(run.code).toBe(expected.code);
        });
        it('misses nothing', () => {
          expect(gapsOf(run)).toEqual([]);
          expect(run.report.completeness).toMatchObject({ complete: true, lost: 0, gaps: 0, checkedAgainst: 'rules' });
          expect(run.report.completeness.unrecognised.samples).toEqual([]);
        });
        it('keeps to the schema', () => expect(schemaErrors(run.report)).toEqual([]));
        it('names the endpoint that answered', () => expect(endpoints(run)).toEqual(answers(run)));
        it('rewrites as conntrack does', () =>
          expect(translations(run)).toEqual(expect.arrayContaining(conntrackOf(run))));
        it('has the answered connections from conntrack too', () =>
          expect(conntrackOf(run).length).toBeGreaterThanOrEqual(answered(run)));
        it('agrees with the counters of the nat rules', () => {
          const { seen, counted } = natCounts(run);
          expect(seen).toEqual(counted);
        });
        it('takes out what it put in', () => {
          expect(run.report.cleanup).toMatchObject({ complete: true });
          expect(run.report.cleanup.removed.length).toBeGreaterThan(1);
        });
      });
  });

function gapsOf({ report }: LabRun): string[] {
  return report.journeys.flatMap(journey =>
    journey.hops.filter(hop => hop.event === 'gap').map(hop => `${journey.packet.label}: ${hop.text}`),
  );
}

/** For every curl, in order: who the trace says has it. */
function endpoints({ report }: LabRun): (string | undefined)[] {
  return report.probes.flatMap((probe, index) => {
    if (probe.kind !== 'curl' || probe.outcome !== 'answered') return [];
    const endpoint = report.journeys.find(j => j.probe === index && j.direction === 'request' && !j.later)?.endpoint;
    return [endpoint?.pod ?? endpoint?.address];
  });
}

/** For every curl that was answered, in order: who the body says has written it. The API server is no pod. */
function answers({ capture }: LabRun): string[] {
  return capture.probes.flatMap(({ kind, code, stdout }) => {
    const name = /^([a-z]+-[a-z0-9]+)$/m.exec(stdout)?.[1];
    return kind === 'curl' && code === 0 ? [name === 'api-server' ? '172.30.0.1' : (name ?? stdout)] : [];
  });
}

/** Destinations before and after, for every TCP connection of the trace that was translated. */
function translations({ report }: LabRun): string[] {
  const firsts = report.journeys.filter(j => j.direction === 'request' && !j.later && j.packet.protocol === 'tcp');
  return firsts.flatMap(({ rewrites, packet }) => {
    const dnat = rewrites.find(rewrite => rewrite.field === 'dst');
    return dnat ? [`${packet.src}:${packet.sport} ${dnat.from} ${dnat.to}`] : [];
  });
}

function conntrackOf(run: LabRun): string[] {
  const entries = run.capture.conntrack.flatMap(text => parseConntrack(text));
  const asked = run.report.journeys.filter(j => j.direction === 'request' && !j.later && j.packet.protocol === 'tcp');
  return asked.flatMap(({ packet }) => {
    const entry = entries.find(({ original, protocol }) => protocol === 'tcp' && original.sport === packet.sport);
    if (!entry || entry.reply.src === entry.original.dst) return [];
    const { original, reply } = entry;
    return [`${original.src}:${original.sport} ${original.dst}:${original.dport} ${reply.src}:${reply.sport}`];
  });
}

/** conntrack forgets at once what was refused or rejected; what was answered it must still know. */
function answered({ report }: LabRun): number {
  return report.probes.filter(probe => probe.kind === 'curl' && probe.outcome === 'answered').length;
}

/** How often each rule of nat matched: by the journeys, and by the kernel's own counters. nft's own rules have none. */
function natCounts({ report, capture }: LabRun): { seen: Record<string, number>; counted: Record<string, number> } {
  const saves = capture.rules
    .filter(({ name }) => name.endsWith('-save'))
    .flatMap(({ name, text }) => parseIptablesSave(text, name));
  const counted: Record<string, number> = {};
  const seen: Record<string, number> = {};
  for (const { backend, rule, chain } of saves.flatMap(natRules)) {
    const key = `${backend} ${chain.name} ${rule.number}`;
    if ((rule.packets ?? 0) > 0) counted[key] = rule.packets as number;
    const hops = report.journeys.flatMap(journey => journey.hops).filter(hop => isRule(hop, backend, chain, rule));
    if (hops.length > 0) seen[key] = hops.length;
  }
  return { seen, counted };
}

function natRules(save: Ruleset): { backend: string; chain: Chain; rule: Rule }[] {
  return save.tables
    .filter(table => table.name === 'nat')
    .flatMap(table =>
      // PREROUTING is asked by the multicast reports of the lab's bridge too.
      [...table.chains.values()]
        .filter(chain => chain.name !== 'PREROUTING')
        .flatMap(chain => chain.rules.map(rule => ({ backend: save.backend, chain, rule }))),
    );
}

function isRule(hop: Hop, backend: string, chain: Chain, rule: Rule): boolean {
  return (
    hop.backend === backend &&
    hop.table === 'nat' &&
    hop.chain === chain.name &&
    hop.rule === rule.number &&
    (hop.event === 'rule' || (hop.event === 'return' && hop.text !== undefined))
  );
}
