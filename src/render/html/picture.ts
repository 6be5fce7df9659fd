/** The node as a picture: its interfaces, the five hooks with their tables, and the routing decision between them. */
import type { Hook, Report } from '../../model.ts';
import { html, type Markup } from './markup.ts';
import { isMixed, type Place, tablesOf } from './places.ts';
import type { Lane, Scene } from './scenes.ts';

/** Names a place of the picture by a word that is safe in an attribute; one that was not drawn has that of its hook. */
export type PlaceName = (key: string) => string;

export interface Picture {
  markup: Markup;
  name: PlaceName;
}

export function pictureOf(report: Report, scene: Scene, id: string): Picture {
  const tables = tablesOf(
    scene.lanes.map(lane => lane.journey),
    isMixed(report),
  );
  const known = new Map<string, string>();
  const draw = (key: string): string => {
    const name = known.get(key) ?? `p${known.size}`;
    known.set(key, name);
    return name;
  };
  const hook = (name: Hook) => hookBox(name, tables.get(name) ?? [], draw, scene.lanes);
  const markup = html`<figure class="node" aria-labelledby="${id}-node">
<figcaption id="${id}-node">${captionOf(report)}</figcaption>
<div class="map">
${interfaces('in', 'in by', scene.lanes, draw)}
${hook('prerouting')}
<div class="decision place" data-place="${draw('routing')}">routing decision${passedBy(scene.lanes, 'routing')}</div>
${hook('forward')}
${hook('postrouting')}
${interfaces('out', 'out by', scene.lanes, draw)}
${hook('input')}
<div class="local place" data-place="${draw('local')}">the node’s own programs${passedBy(scene.lanes, 'local')}</div>
${hook('output')}
</div>
</figure>`;
  return { markup, name: key => known.get(key) ?? known.get(key.split('/')[0] as string) ?? 'p0' };
}

function captionOf({ node }: Report): string {
  const words = [
    node.name === undefined ? 'The node' : `Node ${node.name}`,
    node.proxyMode === undefined ? '' : `kube-proxy in mode ${node.proxyMode}`,
    node.kernel === undefined ? '' : `Linux ${node.kernel}`,
  ];
  return words.filter(word => word !== '').join(' · ');
}

const WHEN: Record<Hook, string> = {
  prerouting: 'as it comes in',
  input: 'for the node itself',
  forward: 'on its way through',
  output: 'from the node itself',
  postrouting: 'as it goes out',
};

function hookBox(hook: Hook, tables: Place[], draw: (key: string) => string, lanes: Lane[]): Markup {
  const items = tables.map(
    ({ key, label }) =>
      html`<li class="place${partsAt(lanes, key)}" data-place="${draw(key)}"><span class="name-of">${label}</span>${passedBy(lanes, key)}</li>`,
  );
  return html`<div class="hook ${hook}${tables.length === 0 ? ' unmet' : ''}">
<p class="name place" data-place="${draw(hook)}">${hook.toUpperCase()} <span class="when">${WHEN[hook]}</span><span class="here"></span></p>
${items.length > 0 ? html`<ol>${items}</ol>` : html`<p class="none">not on the way</p>`}
</div>`;
}

function interfaces(side: 'in' | 'out', label: string, lanes: Lane[], draw: (key: string) => string): Markup {
  const keys = [...new Set(lanes.flatMap(lane => lane.steps.flatMap(step => step.at)))].filter(key =>
    key.startsWith(`${side}/`),
  );
  const items = keys.map(
    key =>
      html`<li class="place" data-place="${draw(key)}">${key.slice(side.length + 1) || '?'}${passedBy(lanes, key)}</li>`,
  );
  return html`<div class="interfaces ${side}">
<p class="name">${label}</p>
${items.length > 0 ? html`<ul>${items}</ul>` : html`<p class="none">none</p>`}
</div>`;
}

/** Who passes here at all, for the page on paper and without a script; and the place of the markers. */
function passedBy(lanes: Lane[], key: string): Markup {
  const names = lanes.filter(lane => lane.steps.some(step => step.at.includes(key))).map(lane => lane.name);
  return html`<span class="by">${names.join(', ')}</span><span class="here"></span>`;
}

function partsAt(lanes: Lane[], key: string): string {
  return lanes.some(lane => lane.parting?.step.at.at(-1) === key) ? ' fork' : '';
}
