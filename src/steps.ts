/**
 * The steps of every story the program tells, by the words they begin with. `Out.step` takes no others, so these lists are
 * complete; the suite that kills runs at every step reads the first one.
 */
export const LIVE_STEPS = [
  'looking up',
  'starting the probe and the node agent',
  'putting the tracing rules in',
  'tracing',
  'gathering evidence',
  'cleaning up',
] as const;

export const OTHER_STEPS = ['building', 'asking', 'looking for pods of ours', 'looking at'] as const;

type Step = (typeof LIVE_STEPS | typeof OTHER_STEPS)[number];

/** A step alone, or with what it is about: `looking up web in prod`. */
export type StepText = Step | `${Step} ${string}`;
