/** A scene of the page: the node, the cards of the step that is shown, the controls, and every step as a list. */
import { hostPort } from '../../ip.ts';
import type { Report } from '../../model.ts';
import type { Frame } from './align.ts';
import { laneList } from './list.ts';
import { html, type Insert, type Markup } from './markup.ts';
import { pictureOf } from './picture.ts';
import type { Lane, Scene } from './scenes.ts';

export function sceneSection(report: Report, scene: Scene, index: number): Markup {
  const id = `s${index}`;
  const { markup, name } = pictureOf(report, scene, id);
  return html`<section class="scene lanes-${scene.lanes.length}" id="${id}" aria-labelledby="${id}-title" data-stops="${numbers(scene.stops)}" data-every="${numbers(scene.all)}">
<div class="stage">
<h2 id="${id}-title">${scene.title}</h2>
${markup}
<div class="now">
${scene.lanes.map(nowLane)}
</div>
${CONTROLS}
</div>
<h3 class="whole">The whole way, step by step</h3>
${partingText(scene)}
<div class="ways">
${scene.lanes.map(
  (lane, i) => html`<section class="way" aria-labelledby="${id}-${i}-way">
<h4 id="${id}-${i}-way">${laneHead(lane, i)}</h4>
${laneList(lane, `${id}-${i}`, name)}
</section>
`,
)}</div>
</section>`;
}

function numbers(frames: Frame[]): string {
  return frames.map(frame => frame.join(',')).join(' ');
}

function nowLane(lane: Lane, index: number): Markup {
  return html`<div class="lane lane-${index}">
<h3>${laneHead(lane, index)} <span class="waiting">waits here, without a step of its own</span></h3>
<div class="slot"></div>
</div>
`;
}

function laneHead({ name, journey, probe }: Lane, index: number): Markup {
  const { packet, direction } = journey;
  const way = `${hostPort(packet.src, packet.sport)} → ${hostPort(packet.dst, packet.dport)}`;
  const took = probe?.durationMs === undefined || / ms\b/.test(probe.detail) ? '' : ` after ${probe.durationMs} ms`;
  const result: Insert =
    direction === 'request' && probe && html` <span class="result">${probe.detail || probe.outcome}${took}</span>`;
  return html`<span class="tag tag-${index}">${name}</span> <span class="label">${packet.label}</span> <span class="route">${way}</span>${result}`;
}

function partingText(scene: Scene): Insert {
  const parted = scene.lanes.filter(lane => lane.parting);
  if (parted.length === 0) return undefined;
  const where = parted[0]?.parting?.step.where.replace(/ rule \d+\??$/, '');
  return html`<p class="parting-text"><strong>Where they part:</strong> ${where}. ${parted
    .map(lane => `${lane.name}: ${lane.parting?.why}`)
    .join('; ')}.</p>`;
}

const CONTROLS = html`<div class="controls" role="group" aria-label="Steps">
<button type="button" class="first" aria-label="First step">|←</button>
<button type="button" class="back">← Back</button>
<div class="progress"><p class="count"></p><div class="rail" aria-hidden="true"></div></div>
<button type="button" class="next">Next →</button>
<button type="button" class="last" aria-label="Last step">→|</button>
<label><input type="checkbox" class="each"> every hop</label>
<p class="keys">keys: <kbd>←</kbd> <kbd>→</kbd> <kbd>Home</kbd> <kbd>End</kbd></p>
<p class="said" role="status" aria-live="polite"></p>
</div>`;
