/** Drafts -> findings: prose added, repeats said once, the cause first. */
import { LESSONS } from '../lessons.ts';
import type { Finding } from '../model.ts';
import type { Case } from './cases.ts';
import type { Draft } from './draft.ts';
import { FINDINGS } from './findings.ts';

/** A question that was asked several times is one group; what each time showed is said once, with how often. */
interface Group {
  draft: Draft;
  sentence: string;
  probes: Set<number>;
}

export function toFindings(drafts: Draft[], cases: Case[]): Finding[] {
  const groups = new Map<string, Group>();
  for (const draft of joinAffinity(drafts, cases)) {
    const sentence = sentenceOf(draft);
    const key = `${draft.kind} ${questionOf(draft, cases)} ${sentence}`;
    const group = groups.get(key) ?? { draft, sentence, probes: new Set() };
    groups.set(key, group);
    if (draft.probe !== undefined) group.probes.add(draft.probe);
  }
  const ranked = [...groups.values()].map(group => ({
    finding: toFinding(group, cases),
    rank: FINDINGS[group.draft.kind].rank,
  }));
  ranked.sort((a, b) => SEVERITY[a.finding.severity] - SEVERITY[b.finding.severity] || a.rank - b.rank);
  return ranked.map(({ finding }) => finding);
}

export function sentenceOf({ kind, facts }: Draft): string {
  return FINDINGS[kind].sentence(facts);
}

export function severityOf({ kind, severity }: Draft): Finding['severity'] {
  return severity ?? FINDINGS[kind].severity;
}

const SEVERITY = { error: 0, warning: 1, info: 2 };

function questionOf({ probe }: Pick<Draft, 'probe'>, cases: Case[]): string {
  const asked = probe === undefined ? undefined : cases[probe]?.probe;
  return asked ? `${asked.kind} ${asked.target}` : '';
}

function toFinding({ draft, sentence, probes }: Group, cases: Case[]): Finding {
  const info = FINDINGS[draft.kind];
  const question = questionOf(draft, cases);
  const asked = timesOf(cases.filter(one => questionOf({ probe: one.index }, cases) === question));
  const times = timesOf(cases.filter(one => probes.has(one.index)));
  const counted = draft.probe !== undefined && asked > 1 && !LESSONS.has(draft.kind);
  const finding: Finding = {
    kind: draft.kind,
    severity: severityOf(draft),
    sentence: counted ? `${sentence} (${times} of ${asked} times)` : sentence,
    evidence: draft.evidence,
  };
  const remedy = info.remedy?.(draft.facts);
  if (remedy !== undefined) finding.remedy = remedy;
  if (draft.probe !== undefined) finding.probe = draft.probe;
  finding.facts = counted ? { ...draft.facts, times, asked } : draft.facts;
  return finding;
}

function timesOf(cases: Case[]): number {
  return cases.reduce((sum, { alike }) => sum + 1 + alike, 0);
}

/** The connection that was noted and those that were sent where the note says are one lesson. */
function joinAffinity(drafts: Draft[], cases: Case[]): Draft[] {
  const kept = drafts.filter(draft => draft.kind === 'SessionAffinity' && draft.facts.kept === true);
  return drafts.flatMap(draft => {
    if (draft.kind !== 'SessionAffinity') return [draft];
    const same = kept.filter(
      other => questionOf(other, cases) === questionOf(draft, cases) && other.facts.endpoint === draft.facts.endpoint,
    );
    if (same.length === 0 || draft === same[0])
      return [{ ...draft, facts: { ...draft.facts, noted: wasNoted(draft, drafts) } }];
    return [];
  });
}

function wasNoted(draft: Draft, drafts: Draft[]): boolean {
  return drafts.some(
    other =>
      other.kind === 'SessionAffinity' && other.facts.kept === false && other.facts.endpoint === draft.facts.endpoint,
  );
}
