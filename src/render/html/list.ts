/** A lane's steps as a list: complete without a script, and what the script takes its cards from. */
import type { Hop } from '../../model.ts';
import { html, type Insert, type Markup } from './markup.ts';
import type { PlaceName } from './picture.ts';
import { everyStep, type Lane } from './scenes.ts';
import type { Step } from './steps.ts';

/** @param id of the lane, unique in the page */
export function laneList(lane: Lane, id: string, place: PlaceName): Markup {
  const stops = lane.steps.filter(step => !step.minor);
  const every = everyStep(lane.steps);
  const numbers = new Map([...new Set([...lane.steps, ...every])].map((step, i) => [step, i] as const));
  const item = (step: Step): Markup => {
    const own = `${id}-${numbers.get(step)}`;
    const parting = lane.parting?.step === step;
    return html`<li id="${own}" class="step ${step.kind}${parting ? ' parting' : ''}${step.minor ? ' minor' : ''}" data-at="${step.at.map(place).join(' ')}"${order('stop', stops.indexOf(step))}${order('every', every.indexOf(step))}>
${card(step, lane, own, parting)}
${step.kind === 'quiet' ? inner('every hop of them', step.before, item) : [inner('hops before', step.before, item), inner('hops after', step.after, item)]}
</li>
`;
  };
  return html`<ol class="steps">
${lane.steps.map(item)}</ol>`;
}

function order(name: string, index: number): Insert {
  return index >= 0 && html` data-${name}="${index}"`;
}

function inner(title: string, steps: Step[], item: (step: Step) => Markup): Insert {
  if (steps.length === 0) return undefined;
  return html`<details class="inner"><summary>${title}: ${steps.length}</summary>
<ol>
${steps.map(item)}</ol>
</details>`;
}

function card(step: Step, lane: Lane, id: string, parting: boolean): Markup {
  const { hook, where, what, condition, sign } = step;
  return html`<div class="card">
<p class="where">${hook && html`<span class="hook-name">${hook.toUpperCase()}</span> `}<a href="#${id}">${where}</a></p>
${step.kind === 'rewrite' ? rewritten(step, lane) : addresses(step, lane)}
${parting && html`<p class="why"><strong>Here they part.</strong> ${lane.name}: ${lane.parting?.why}</p>`}
${condition !== '' && html`<p class="condition"><span class="word">if</span> <code>${condition}</code></p>`}
<p class="what">${sign && html`<span class="sign" aria-hidden="true">${sign}</span> `}${what}</p>
${step.seen && html`<p class="seen">${step.seen}</p>`}
${step.hop && proof(step.hop)}
</div>`;
}

function addresses({ packet }: Step, lane: Lane): Markup {
  const first = lane.steps[0]?.packet;
  const row = (field: 'src' | 'dst', word: string) => {
    const changed = first?.[field] !== packet[field];
    return html`<div><dt>${word}</dt><dd><code${changed && html` class="new"`}>${packet[field]}</code></dd></div>`;
  };
  return html`<dl class="packet">${row('src', 'from')}${row('dst', 'to')}</dl>`;
}

function rewritten(step: Step, lane: Lane): Markup {
  const { field, from } = step.rewrite ?? { field: 'dst', from: '' };
  const first = lane.steps[0]?.packet;
  const row = (name: 'src' | 'dst', word: string) => {
    const now = step.packet[name];
    if (name !== field)
      return html`<div><dt>${word}</dt><dd><code${first?.[name] !== now && html` class="new"`}>${now}</code></dd></div>`;
    return html`<div class="change"><dt>${word}</dt><dd><del><code>${from}</code></del> <span class="arrow">→</span> <ins><code>${now}</code></ins></dd></div>`;
  };
  return html`<dl class="packet">${row('src', 'from')}${row('dst', 'to')}</dl>`;
}

/** Everything the trace and the rules say of a hop, for whoever wants to see it with their own eyes. */
function proof(hop: Hop): Markup {
  const ways = [
    hop.in && `in ${hop.in}`,
    hop.physIn && `physically ${hop.physIn}`,
    hop.out && `out ${hop.out}`,
    hop.physOut && `physically ${hop.physOut}`,
  ];
  const rows: [string, Insert][] = [
    [hop.event === 'gap' ? 'missing' : 'rule text', hop.text && html`<code>${hop.text}</code>`],
    ['comment', hop.comment],
    ['verdict', [hop.target, hop.verdict].filter(word => word !== undefined).join(', ')],
    ['chain of', hop.owner],
    ['interfaces', ways.filter(way => way !== undefined).join(', ')],
    ['mark', hop.mark === undefined ? undefined : `0x${hop.mark.toString(16)}`],
    [
      'read from',
      `${hop.backend === 'nft' ? 'nf_tables' : 'legacy iptables'}, ${hop.family === 'ip6' ? 'IPv6' : 'IPv4'}`,
    ],
    ['trace line', hop.evidence.join(', ')],
    ['careful', hop.uncertain && "the rules given may not be those of that moment: this text may be another rule's"],
  ];
  const shown = rows.filter(([, value]) => value !== undefined && value !== '' && value !== false);
  return html`<details class="proof"><summary>Rule and evidence</summary>
<dl>${shown.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
</details>`;
}
