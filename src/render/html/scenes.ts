/** What a lesson shows: the probes' packets beside each other, then replies and whatever else was stopped, one by one. */
import type { Divergence, Journey, Probe, Report } from '../../model.ts';
import { type Frame, framesOf } from './align.ts';
import { isMixed } from './places.ts';
import { type Step, stepsOf } from './steps.ts';

export interface Lane {
  /** `curl`, `ping`, `reply` */
  name: string;
  probe: Probe | undefined;
  journey: Journey;
  steps: Step[];
  /** The step at which it parts from its neighbour, and why. */
  parting?: { step: Step; why: string };
}

export interface Scene {
  title: string;
  lanes: Lane[];
  /** Chains in which nothing matched are one stop. */
  stops: Frame[];
  /** `all`: every hop is one; indices into `everyStep` of the lanes. */
  all: Frame[];
}

/** A page is for people: more packets than these are counted, not drawn. */
const MOST = 8;

export function scenesOf(report: Report): { scenes: Scene[]; left: number } {
  const main = mainLanes(report);
  const shown = new Set(main.map(lane => lane.journey));
  const first = firstRequests(report);
  const others = report.journeys.filter(journey => !shown.has(journey) && isWorthAScene(journey, first));
  const distinct = firstOfEach(others);
  const scenes = main.length === 0 ? [] : [sceneOf(main.map(lane => lane.name).join(' beside '), main)];
  for (const journey of distinct.slice(0, MOST - scenes.length)) scenes.push(singleScene(report, journey));
  const drawn = scenes.reduce((sum, scene) => sum + scene.lanes.length, 0);
  return { scenes, left: report.journeys.length - drawn };
}

/** Every hop in order, those of quiet chains too. */
export function everyStep(steps: Step[]): Step[] {
  return steps.flatMap(step => (step.kind === 'quiet' ? step.before : [...step.before, step, ...step.after]));
}

/** curl and ping where they part; else the first that is no ping, beside the first ping. */
function mainLanes(report: Report): Lane[] {
  const [divergence] = report.divergences;
  const seen = new Set(report.journeys.map(journey => journey.probe));
  const kinds = report.probes.map((probe, index) => ({ probe, index })).filter(({ index }) => seen.has(index));
  const asked = kinds.find(({ probe }) => probe.kind !== 'ping') ?? kinds[0];
  const ping = kinds.find(({ probe, index }) => probe.kind === 'ping' && index !== asked?.index);
  const pair = divergence?.probes ?? [asked, ping].flatMap(one => (one ? [one.index] : []));
  const lanes = pair.flatMap(index => laneOf(report, index) ?? []);
  if (divergence && lanes.length === 2) markParting(lanes as [Lane, Lane], divergence);
  return lanes;
}

function laneOf(report: Report, index: number): Lane | undefined {
  const own = report.journeys.filter(journey => journey.probe === index);
  const requests = own.filter(journey => journey.direction === 'request');
  const journey = requests.find(one => !one.later) ?? requests[0] ?? own[0];
  return journey && lane(report, journey, report.probes[index]?.kind ?? 'packet');
}

function lane(report: Report, journey: Journey, name: string): Lane {
  const { source } = report;
  const reply = journey.direction === 'reply';
  const sender = reply || source.pod === undefined ? journey.packet.src : `pod ${source.pod}`;
  return { name, probe: report.probes[journey.probe], journey, steps: stepsOf(journey, isMixed(report), sender) };
}

/** Of each probe. */
function firstRequests({ journeys }: Report): Map<number, Journey> {
  const first = new Map<number, Journey>();
  for (const journey of journeys)
    if (journey.direction === 'request' && !first.has(journey.probe)) first.set(journey.probe, journey);
  return first;
}

/** What another probe asked, the answer, a packet that came past the nat rules, and whatever was stopped or is not whole. */
function isWorthAScene(journey: Journey, first: Map<number, Journey>): boolean {
  if (journey.direction === 'reply') return journey.packet.label !== 'redirect';
  const main = first.get(journey.probe);
  if (main === undefined || main === journey) return true;
  return journey.later || journey.gaps > 0 || journey.outcome !== main.outcome;
}

/** Packets of one kind, one end and one probe teach the same. */
function firstOfEach(journeys: Journey[]): Journey[] {
  const known = new Set<string>();
  return journeys.filter(({ probe, direction, outcome, packet, gaps, later }) => {
    const isReply = direction === 'reply';
    const key = [probe, outcome, gaps > 0, isReply ? /unreachable|RST/.test(packet.label) : later, isReply].join();
    if (known.has(key)) return false;
    known.add(key);
    return true;
  });
}

function singleScene(report: Report, journey: Journey): Scene {
  const kind = report.probes[journey.probe]?.kind ?? 'packet';
  const reply = journey.direction === 'reply';
  const name = reply ? 'reply' : kind;
  const which = reply ? `reply to ${kind}` : journey.later ? `${kind}, a later packet` : kind;
  return sceneOf(`${which}: ${journey.packet.label}`, [lane(report, journey, name)]);
}

function sceneOf(title: string, lanes: Lane[]): Scene {
  const parted = lanes.flatMap(one => one.parting?.step ?? []);
  const together = parted.length === 2 ? (parted as [Step, Step]) : undefined;
  const stops = lanes.map(one => one.steps.filter(step => !step.minor));
  const every = lanes.map(one => everyStep(one.steps));
  return { title, lanes, stops: framesOf(stops, together), all: framesOf(every, together) };
}

function markParting(lanes: [Lane, Lane], divergence: Divergence): void {
  const [a, b] = lanes;
  const first = partingStep(a.steps, b.steps, divergence);
  const second = partingStep(b.steps, a.steps, divergence);
  if (!first || !second) return;
  const failed = divergence.rule?.failed ?? [];
  const reason = failed.length === 0 ? '' : `: ${failed.join(' and ')} ${failed.length === 1 ? 'does' : 'do'} not hold`;
  const byFirst = divergence.first.includes('matched (') || divergence.second.startsWith('no rule');
  a.parting = { step: first, why: `${divergence.first}${byFirst ? '' : reason}` };
  b.parting = { step: second, why: `${divergence.second}${byFirst ? reason : ''}` };
}

/** The step in the chain where they part that the other did not make as well; else one that holds a hop of that chain. */
function partingStep(own: Step[], other: Step[], divergence: Divergence): Step | undefined {
  const there = ({ hop }: Step) =>
    hop !== undefined &&
    hop.hook === divergence.hook &&
    hop.table === divergence.table &&
    hop.chain === divergence.chain;
  const common = new Set(other.filter(there).map(step => `${step.where} ${step.hop?.verdict}`));
  return (
    own.find(step => there(step) && !common.has(`${step.where} ${step.hop?.verdict}`)) ??
    own.find(step => [...step.before, step, ...step.after].some(there)) ??
    own.find(step => step.hop?.verdict?.endsWith(` ${divergence.chain}`))
  );
}
