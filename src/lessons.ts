/** Findings that tell how it was done, whatever came of it: they stand behind the answer, and never decide it. */
import type { FindingKind } from './model.ts';

export const LESSONS: ReadonlySet<FindingKind> = new Set([
  'EndpointsPicked',
  'Masqueraded',
  'Hairpin',
  'SessionAffinity',
  'OnlyFirstPacketHitsNat',
]);
