/**
 * The packets' ways as a Mermaid flowchart, to be pasted into a page that draws it: what curl and ping have in common is drawn
 * once, where they part is a question with two answers, and a rewrite is a box of its own.
 */
import { hostPort } from '../ip.ts';
import type { Report } from '../model.ts';
import { escapeText } from './escape.ts';
import { type Lane, type Scene, scenesOf } from './html/scenes.ts';
import type { Step } from './html/steps.ts';

export function renderMermaid(report: Report): string {
  const [scene] = scenesOf(report).scenes;
  const lines = [`answer[${label(answerOf(report))}]:::answer`, ...(scene ? sceneLines(scene) : [])];
  return `${WIDER}\nflowchart TD\n${[...lines, ...STYLES].map(line => `  ${line}`).join('\n')}\n`;
}

/** Boxes as wide as our lines; by itself Mermaid breaks them once more. */
const WIDER = '%%{init: {"flowchart": {"wrappingWidth": 460}}}%%';

/** Colours that can be read on a light page and on a dark one. What they mean stands in the boxes as well. */
const STYLES = [
  'classDef answer fill:#1d1c1a,stroke:#8a857b,color:#ffffff',
  'classDef plain fill:#ffffff,stroke:#57544e,color:#1d1c1a',
  'classDef quiet fill:#f1efe9,stroke:#b8b3a8,color:#57544e',
  'classDef rewrite fill:#f1e8ff,stroke:#6a1fd0,color:#3d1180,stroke-width:3px',
  'classDef parting fill:#fff0df,stroke:#9b4400,color:#6b2f00,stroke-width:3px',
];

const SIGNS = { error: '✘ ', warning: '', info: 'ℹ ' };

function answerOf({ findings: [finding] }: Report): string {
  if (!finding) return 'No packet was seen on this node';
  return `${finding.kind === 'ServiceAnswered' ? '✔ ' : SIGNS[finding.severity]}${finding.sentence}`;
}

function sceneLines(scene: Scene): string[] {
  const [a, b] = scene.lanes;
  const common = a && b ? commonSteps(scene, a, b) : undefined;
  if (!common || !a || !b) return scene.lanes.flatMap((lane, i) => laneLines(lane, 'ab'[i] as string));
  const trunk = chain(common, 's', [startText(a), startText(b)]);
  return [
    'answer ~~~ s0',
    ...trunk,
    `fork{{${label(question(a, b))}}}:::parting`,
    `s${common.length - 1} --> fork`,
    ...branch(a, 'a'),
    ...branch(b, 'b'),
  ];
}

/** What both did alike before they parted; undefined where they do not part, or went apart before for another reason. */
function commonSteps(scene: Scene, a: Lane, b: Lane): Step[] | undefined {
  const stops = [a, b].map(lane => lane.steps.filter(step => !step.minor));
  const frames = scene.stops.map(frame => frame.map((at, lane) => stops[lane]?.[at] as Step));
  const parted = frames.findIndex(([x, y]) => x !== undefined && x === a.parting?.step && y === b.parting?.step);
  const before = frames
    .slice(0, Math.max(0, parted))
    .map(([x, y]) => commonStep(x, y, a.parting?.step, b.parting?.step));
  return before.length > 0 && before.every(step => step !== undefined) ? before : undefined;
}

/** One of them may part at the very rule that led the other on. */
function commonStep(x?: Step, y?: Step, partedX?: Step, partedY?: Step): Step | undefined {
  if (!x || !y) return undefined;
  if (x.kind === y.kind && (x.kind === 'start' || x.where === y.where)) return x;
  if (x.kind === 'quiet' && y.kind === 'quiet' && x.hook === y.hook) return x;
  if (x.where === partedY?.where) return x;
  return y.where === partedX?.where ? y : undefined;
}

function question(a: Lane, b: Lane): string {
  const asks = [a, b].map(lane => lane.parting?.step).find(step => step && step.condition !== '');
  const where = asks?.where ?? a.parting?.step.where ?? '';
  return asks ? `${where}: ${asks.condition} ?` : `${where}: here they part`;
}

/** From the fork on, what a lane does for itself. */
function branch(lane: Lane, id: string): string[] {
  const at = lane.steps.indexOf(lane.parting?.step as Step);
  return [
    ...chain(boxed(lane.steps.slice(at + 1)), id),
    `fork -->|${label(`${lane.name}: ${lane.parting?.why}`)}| ${id}0`,
  ];
}

function laneLines(lane: Lane, id: string): string[] {
  return [`answer ~~~ ${id}0`, ...chain(boxed(lane.steps), id, [startText(lane)])];
}

/** A rule that rewrites is told by the rewrite. */
function boxed(steps: Step[]): Step[] {
  const main = steps.filter(step => !step.minor);
  return main.filter((step, i) => main[i + 1]?.kind !== 'rewrite' || main[i + 1]?.where !== step.where);
}

/** Boxes one below the other, from `id0` on. @param first what stands in the first box, if not its own words */
function chain(steps: Step[], id: string, first?: string[]): string[] {
  return steps.flatMap((step, i) => {
    const text = label(...(i === 0 && first ? first : stepTexts(step)));
    const box = step.kind === 'end' ? `([${text}])` : `[${text}]`;
    const node = `${id}${i}${box}:::${styleOf(step)}`;
    return i === 0 ? [node] : [node, `${id}${i - 1} --> ${id}${i}`];
  });
}

function styleOf({ kind }: Step): string {
  return kind === 'quiet' || kind === 'rewrite' ? kind : 'plain';
}

function startText({ name, journey: { packet } }: Lane): string {
  return `${name}: ${packet.label} ${hostPort(packet.src, packet.sport)} → ${hostPort(packet.dst, packet.dport)}`;
}

function stepTexts({ hook, where, what, condition, rewrite, packet, sign }: Step): string[] {
  if (sign) return [`${sign} ${what}`];
  const head = `${hook ? `${hook.toUpperCase()} ` : ''}${where}`;
  if (!rewrite) return [head, condition, what];
  return [head, `${rewrite.field} ${rewrite.from} → ${packet[rewrite.field]}`, what];
}

const WIDTH = 42;

/** A quoted label of lines that are short enough for a box. */
function label(...texts: string[]): string {
  const lines = texts.flatMap(text => broken(escapeText(text)));
  return `"${lines.length === 0 ? ' ' : lines.map(mermaidText).join('<br/>')}"`;
}

function broken(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ').flatMap(one => one.match(/.{1,42}/gsu) ?? [])) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= WIDTH) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** Quotes, brackets, `#`, `;` and many a word mean something to Mermaid; a code in decimals is nothing but its character. */
export function mermaidText(text: string): string {
  return text.replace(/[^A-Za-z0-9 .,:/()_+=→✔✘ℹ-]/gu, char => `#${char.codePointAt(0)};`);
}
