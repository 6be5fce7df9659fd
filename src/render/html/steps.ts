/**
 * A journey as the steps of a lesson: its hops, with the rewrites, the routing and the end between them. Chains in which
 * nothing matched are one step, and hold their hops for whoever wants each of them.
 */
import { hostPort } from '../../ip.ts';
import type { Hook, Hop, Journey, Rewrite } from '../../model.ts';
import { conditionsOf, groupHops, type HopGroup, rewritesBefore, tells } from '../segments.ts';
import { leadsNowhere, untold } from '../tree-journey.ts';
import { type Place, placesOf } from './places.ts';
import {
  byWhom,
  type Ending,
  endingOf,
  hopText,
  quietText,
  rewriteText,
  routingText,
  SEEN,
  startText,
} from './words.ts';

export interface Addresses {
  src: string;
  dst: string;
}

export interface Step {
  kind: 'start' | 'hop' | 'quiet' | 'gap' | 'rewrite' | 'routing' | 'end';
  /** Keys of the picture's places, in the order they are passed; the packet stands at the last. */
  at: string[];
  hook?: Hook;
  /** `nat KUBE-SERVICES rule 1` */
  where: string;
  what: string;
  /** What the rule asks for, without its target. */
  condition: string;
  /** By what evidence a step is known that has no line of its own. */
  seen?: string;
  /** The packet's addresses after this step. */
  packet: Addresses;
  rewrite?: Rewrite;
  hop?: Hop;
  /** Hops around this one that nobody needs to read. Of a quiet step, all of them are in `before`. */
  before: Step[];
  after: Step[];
  /** Only for whoever wants every hop. */
  minor: boolean;
  sign?: Ending['sign'];
}

interface Walk {
  journey: Journey;
  places: Place[];
  steps: Step[];
  packet: Addresses;
}

/** @param sender who sent it, in words */
export function stepsOf(journey: Journey, mixed: boolean, sender: string): Step[] {
  const { packet, hops } = journey;
  const addresses = { src: hostPort(packet.src, packet.sport), dst: hostPort(packet.dst, packet.dport) };
  const walk: Walk = { journey, places: placesOf(journey, mixed), steps: [], packet: addresses };
  walk.steps.push(startOf(journey, addresses, sender));
  for (const group of groupHops(journey)) {
    const first = group.hops[0];
    if (!first) continue;
    addRewrites(walk, first.index);
    addRouting(walk, first.index);
    if (isQuiet(group, journey)) addQuiet(walk, group);
    else addSpeaking(walk, group);
  }
  addRewrites(walk, hops.length);
  walk.steps.push(endOf(walk));
  return walk.steps;
}

/** What most steps have: lists of their own, for hops are added to them. */
function plain() {
  return { condition: '', before: [] as Step[], after: [] as Step[], minor: false };
}

function startOf(journey: Journey, packet: Addresses, sender: string): Step {
  const first = journey.hops[0];
  const inward = first?.physIn ?? first?.in;
  const what = startText(journey, sender, first?.hook === 'output' ? undefined : inward);
  const at = first?.hook === 'output' ? 'local' : `in/${inward ?? ''}`;
  return { ...plain(), kind: 'start', at: [at], where: 'start', what, packet };
}

function isQuiet(group: HopGroup, journey: Journey): boolean {
  const inside = group.hops.slice(1).some(({ index }) => rewritesBefore(journey, index).length > 0);
  return !inside && (group.quiet || isOwn(group));
}

/** Rules of this program, that only mark the packet for the trace. */
function isOwn(group: HopGroup): boolean {
  return group.hops.every(({ hop }) => hop.owner === 'trace-svc' && hop.event !== 'gap');
}

function addQuiet(walk: Walk, group: HopGroup): void {
  const hops = group.hops.map(({ hop, index }) => hopStep(walk, hop, index, true));
  const last = walk.steps.at(-1);
  const hook = group.hops[0]?.hop.hook as Hook;
  const own = isOwn(group);
  if (last?.kind === 'quiet' && last.hook === hook && last.minor === own) last.before.push(...hops);
  else
    walk.steps.push({
      ...plain(),
      kind: 'quiet',
      at: [],
      hook,
      where: '',
      what: '',
      packet: walk.packet,
      before: hops,
      minor: own,
    });
  sayQuiet(walk.steps.at(-1) as Step);
}

function sayQuiet(step: Step): void {
  step.at = [...new Set(step.before.flatMap(one => one.at))];
  step.packet = (step.before.at(-1) as Step).packet;
  const asked = step.before.filter(one => /^jump /.test(one.hop?.verdict ?? '')).length;
  step.where = [...new Set(step.before.map(one => one.hop?.table ?? ''))].join(', ');
  step.what = step.minor ? "this program's own rules, which mark the packet for the trace" : quietText(asked);
}

function addSpeaking(walk: Walk, group: HopGroup): void {
  let waiting: Step[] = [];
  let told: Step | undefined;
  const settle = (): void => {
    if (waiting.length === 0) return;
    if (told) told.after.push(...waiting);
    else walk.steps.push({ ...(waiting.at(-1) as Step), before: waiting.slice(0, -1), minor: false });
    waiting = [];
  };
  for (const [i, { hop, index }] of group.hops.entries()) {
    if (i > 0 && rewritesBefore(walk.journey, index).length > 0) {
      settle();
      addRewrites(walk, index);
    }
    const says = tells(hop, walk.journey) && !leadsNowhere(group, i);
    const step = hopStep(walk, hop, index, !says);
    if (!says) waiting.push(step);
    else {
      step.before = waiting;
      waiting = [];
      walk.steps.push(step);
      told = step;
    }
  }
  settle();
}

function hopStep(walk: Walk, hop: Hop, index: number, minor: boolean): Step {
  const { src, sport, dst, dport } = hop.tuple;
  walk.packet = { src: hostPort(src, sport), dst: hostPort(dst, dport) };
  const number = hop.event === 'rule' && hop.rule !== undefined ? ` rule ${hop.rule}${hop.uncertain ? '?' : ''}` : '';
  return {
    ...plain(),
    kind: hop.event === 'gap' ? 'gap' : 'hop',
    at: [walk.places[index]?.key ?? hop.hook],
    hook: hop.hook,
    where: `${hop.table} ${hop.chain}${number}`,
    what: hopText(hop, walk.journey),
    condition: hop.event === 'rule' ? conditionsOf(hop) : '',
    packet: walk.packet,
    hop,
    minor,
  };
}

function addRewrites(walk: Walk, index: number): void {
  for (const rewrite of rewritesBefore(walk.journey, index)) {
    const hop = walk.journey.hops[index - 1] ?? walk.journey.hops[index];
    const at = walk.places[index - 1]?.key ?? (walk.steps[0]?.at[0] as string);
    const to = rewrite.to ?? untold(rewrite);
    walk.packet = { ...walk.packet, [rewrite.field]: to };
    walk.steps.push({
      ...plain(),
      kind: 'rewrite',
      at: [at],
      ...(hop ? { hook: hop.hook } : {}),
      where: byWhom(rewrite),
      what: rewriteText(rewrite, walk.journey),
      seen: `${rewrite.kind}, ${SEEN[rewrite.evidence]}`,
      packet: walk.packet,
      rewrite,
    });
  }
}

/** The routing decision leaves no line of its own: it is read off the interface at the next hook. */
function addRouting(walk: Walk, index: number): void {
  const hop = walk.journey.hops[index] as Hop;
  const before = walk.journey.hops[index - 1];
  if (before?.hook !== 'prerouting' || (hop.hook !== 'forward' && hop.hook !== 'input')) return;
  const packet = { src: hostPort(hop.tuple.src, hop.tuple.sport), dst: hostPort(hop.tuple.dst, hop.tuple.dport) };
  walk.steps.push({
    ...plain(),
    kind: 'routing',
    at: ['routing'],
    where: 'routing decision',
    what: routingText(hop),
    packet,
    seen: SEEN.routing,
  });
}

function endOf({ journey, packet, places, steps }: Walk): Step {
  const last = journey.hops.findLast(hop => hop.event !== 'gap');
  const { sign, what, place } = endingOf(journey, last, packet.dst);
  const here = places.at(-1)?.key ?? (steps[0]?.at[0] as string);
  return { ...plain(), kind: 'end', at: [place ?? here], where: 'end', what, packet, sign };
}
