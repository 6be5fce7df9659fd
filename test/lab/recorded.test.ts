/** The recorded runs: every scenario has one, it shows what the scenario is about, and nobody takes it for a run of today. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { SCENARIOS } from '../../src/lab/scenarios.ts';
import type { Report } from '../../src/model.ts';
import { type LabFlags, parseLab } from '../../src/request.ts';
import { runLabCommand } from '../../src/run-lab.ts';
import { EXPECTED, type Expected } from '../support/expected.ts';
import { schemaErrors } from '../support/schema.ts';

const FOLDER = fileURLToPath(new URL('../../plugin/recorded/', import.meta.url));
const textOf = (scenario: string) => gunzipSync(readFileSync(`${FOLDER}${scenario}.json.gz`)).toString();

interface Replayed {
  code: number;
  stdout: string;
  stderr: string;
}

/** The command as the edge calls it, on a machine that can do nothing but read. */
async function replay(scenario: string, flags: LabFlags): Promise<Replayed> {
  const said: Replayed = { code: -1, stdout: '', stderr: '' };
  said.code = await runLabCommand(parseLab(scenario, { recorded: true, ...flags }), {
    files: undefined as never,
    out: {
      result: text => {
        said.stdout += text;
      },
      step() {},
      say: text => {
        said.stderr += `${text}\n`;
      },
    },
    terminal: () => ({ colour: false, width: 100 }),
    signal: new AbortController().signal,
    run: () => Promise.reject(new Error('nothing may be run for a replay')),
    modes: ['legacy'],
    recorded: name => Promise.resolve(textOf(name)),
  });
  return said;
}

it('there is one of every scenario, and no other', () => {
  expect(readdirSync(FOLDER).sort()).toEqual(SCENARIOS.map(({ name }) => `${name}.json.gz`).sort());
});

describe.each(SCENARIOS.map(({ name }) => name))('the recorded run of %s', name => {
  it('shows what the scenario is about', async () => {
    const { code, stdout } = await replay(name, { output: 'json' });
    const report = JSON.parse(stdout) as Report;
    const kinds = report.findings.map(finding => finding.kind).filter(kind => kind !== 'OnlyFirstPacketHitsNat');
    const expected = EXPECTED[name] as Expected;
    expect(kinds.sort()).toEqual([...expected.findings].sort());
    expect(code).toBe(expected.code);
    expect(report.completeness).toMatchObject({ complete: true, lost: 0, gaps: 0, checkedAgainst: 'rules' });
    expect(schemaErrors(report)).toEqual([]);
  });

  it('says that it is a replay, beside the result and in it', async () => {
    const { stdout, stderr } = await replay(name, {});
    expect(stderr).toContain('replaying a recorded run');
    expect(stdout).toMatch(/Recorded \d{4}-\d\d-\d\dT\S+ on Linux \d+(\.\d+)+, not on this machine\./);
  });

  it('tells nothing about the machine it was made on', () => {
    expect(textOf(name).match(/(?<![\w.:-])\/(root|home|work|workspace|Users|tmp|usr|opt)\b\S*/g) ?? []).toEqual([]);
    expect(JSON.parse(textOf(name)).node.kernel).toMatch(/^\d+(\.\d+)+$/);
  });

  it('is packed without a time or a system in its head', () => {
    const head = readFileSync(`${FOLDER}${name}.json.gz`).subarray(0, 10);
    expect([...head.subarray(4, 8), head[9]]).toEqual([0, 0, 0, 0, 255]);
  });
});
