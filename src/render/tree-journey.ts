/** One packet's way as lines of the tree: hooks downwards, one line a rule, rewrites across. */
import { hostPort } from '../ip.ts';
import type { Hop, Journey, Rewrite } from '../model.ts';
import { conditionsOf, groupHops, type HopGroup, rewritesBefore, tells } from './segments.ts';
import { type Style, shorten, wrap } from './style.ts';

const HOOK = 12;
const NUMBER = 3;

/** Table and chain share a fixed room; a journey through tables with long names has less for its chains. */
interface Columns {
  table: number;
  chain: number;
}
const TABLE_AND_CHAIN = 26;

interface Row {
  hook: string;
  table: string;
  chain: string;
  number: string;
  texts: string[];
  kind: 'hop' | 'quiet' | 'gap';
}

export function journeyLines(journey: Journey, style: Style, told: boolean): string[] {
  const lines: string[] = [];
  const mixed = new Set(journey.hops.map(hop => hop.backend)).size > 1;
  const pieces = parts(journey);
  const columns = columnsOf(pieces, mixed);
  let hook = '';
  let table = '';
  const put = (row: Row): void => {
    const shown = {
      ...row,
      hook: row.hook === hook ? '' : row.hook,
      table: row.hook === hook && row.table === table ? '' : row.table,
    };
    hook = row.hook;
    table = row.table;
    lines.push(...rowLines(shown, columns, style));
  };
  for (const part of pieces) {
    if (part.kind === 'rewrite') {
      lines.push(...rewriteLines(part.rewrite, journey, style));
      hook = '';
    } else if (part.kind === 'quiet') put(quietRow(part.groups, mixed));
    else put(hopRow(part.hop, journey, columns, style, mixed));
  }
  lines.push(endLine(journey, style, told));
  return lines;
}

function columnsOf(pieces: Part[], mixed: boolean): Columns {
  const names = pieces.flatMap(part => (part.kind === 'hop' ? [tableName(part.hop, mixed).length] : []));
  const table = Math.min(11, Math.max(6, ...names) + 1);
  return { table, chain: TABLE_AND_CHAIN - table };
}

type Part = { kind: 'rewrite'; rewrite: Rewrite } | { kind: 'quiet'; groups: HopGroup[] } | { kind: 'hop'; hop: Hop };

/** Rewrites stand where they happened; quiet base chains of one hook are put together; our own chains are left out. */
function parts(journey: Journey): Part[] {
  const result: Part[] = [];
  for (const group of groupHops(journey)) {
    const hidden = group.hops.every(({ hop }) => hop.owner === 'trace-svc' && hop.event !== 'gap');
    const first = group.hops[0];
    if (first)
      result.push(...rewritesBefore(journey, first.index).map(rewrite => ({ kind: 'rewrite' as const, rewrite })));
    const last = result.at(-1);
    if (hidden) continue;
    if (!group.quiet) result.push(...speaking(group, journey));
    else if (last?.kind === 'quiet' && last.groups[0]?.hops[0]?.hop.hook === first?.hop.hook) last.groups.push(group);
    else result.push({ kind: 'quiet', groups: [group] });
  }
  return [
    ...result,
    ...rewritesBefore(journey, journey.hops.length).map(rewrite => ({ kind: 'rewrite' as const, rewrite })),
  ];
}

function speaking(group: HopGroup, journey: Journey): Part[] {
  return group.hops.flatMap(({ hop, index }, i) => [
    ...(i === 0 ? [] : rewritesBefore(journey, index).map(rewrite => ({ kind: 'rewrite' as const, rewrite }))),
    ...(tells(hop, journey) && !leadsNowhere(group, i) ? [{ kind: 'hop' as const, hop }] : []),
  ]);
}

/** A jump into a chain that matched nothing: the next rule of this base chain was asked right after it. */
export function leadsNowhere(group: HopGroup, at: number): boolean {
  const hop = group.hops[at]?.hop;
  if (hop?.event !== 'rule' || !/^jump /.test(hop.verdict ?? '') || hop.meaning !== undefined) return false;
  const next = group.hops
    .slice(at + 1)
    .find(({ hop: h }) => h.event === 'rule' || h.event === 'policy' || h.event === 'gap' || isServicesEnd(h));
  return next === undefined || (next.hop.depth <= hop.depth && next.hop.event !== 'gap');
}

function isServicesEnd(hop: Hop): boolean {
  return hop.event === 'return' && hop.chain === 'KUBE-SERVICES' && hop.table === 'nat';
}

function quietRow(groups: HopGroup[], mixed: boolean): Row {
  const hops = groups.flatMap(group => group.hops.map(({ hop }) => hop));
  const names = [...new Set(hops.map(hop => tableName(hop, mixed)))];
  const first = hops[0] as Hop;
  const asked = hops.filter(hop => /^jump /.test(hop.verdict ?? '')).length;
  const texts = [
    asked === 0 ? 'nothing matched' : `nothing matched (${asked} ${asked === 1 ? 'chain' : 'chains'} asked)`,
  ];
  return {
    hook: first.hook.toUpperCase(),
    table: names.join(', ').length <= TABLE_AND_CHAIN + NUMBER ? names.join(', ') : `${names.length} tables`,
    chain: '',
    number: '',
    texts,
    kind: 'quiet',
  };
}

/** Of which backend a table is, is told where it could be of either. */
function tableName({ table, backend }: Hop, mixed: boolean): string {
  const told = table === 'kube-proxy' || /^(bridge|arp|netdev) /.test(table);
  return mixed && backend === 'nft' && !told ? `${table} (nft)` : table;
}

function hopRow(hop: Hop, journey: Journey, columns: Columns, style: Style, mixed: boolean): Row {
  const place = {
    hook: hop.hook.toUpperCase(),
    table: tableName(hop, mixed),
    chain: chainName(hop.chain, columns.chain),
  };
  if (hop.event === 'gap') return { ...place, number: '', texts: [`… ${hop.text}`], kind: 'gap' };
  const number = hop.rule === undefined || hop.event !== 'rule' ? '' : `${hop.rule}${hop.uncertain ? '?' : ''}`;
  return {
    ...place,
    number,
    texts: hopTexts(hop, journey, style.width - 2 - HOOK - TABLE_AND_CHAIN - NUMBER - 2),
    kind: 'hop',
  };
}

/** `service-SUSTUHLJ-default/web/tcp/http` -> `service-SUSTUHLJ…`: what it means stands in the line that led to it. */
function chainName(chain: string, width: number): string {
  const nft = /^((?:service|local|external|firewall|endpoint)-[A-Z2-7]{8})-/.exec(chain);
  return shorten(nft ? `${nft[1]}…` : chain, width - 1);
}

function hopTexts(hop: Hop, journey: Journey, room: number): string[] {
  if (hop.event === 'return') return [chainEndText(hop, journey)];
  if (hop.event === 'policy') return [`policy ${hop.verdict ?? ''}`];
  const conditions = conditionsOf(hop);
  // To what stands in the next line, as a rewrite.
  const odds = /, ((?:1 of \d+|the only one))$/.exec(hop.meaning ?? '')?.[1];
  const action = /^(DNAT|SNAT|REDIRECT)$/.test(hop.target ?? '')
    ? `${hop.target}${odds ? `, ${odds}` : ''}`
    : (hop.meaning ?? actionOf(hop));
  if (conditions === '') return [`→ ${action}`];
  if (conditions.length + action.length + 3 <= room || journey.hops.length === 0) return [`${conditions} → ${action}`];
  return [conditions, `→ ${action}`];
}

/** A rule that matched may have sent the packet into a chain that sent it back. */
export function chainEndText(hop: Hop, journey: Journey): string {
  const own = journey.hops
    .slice(0, journey.hops.indexOf(hop))
    .filter(h => h.hook === hop.hook && h.table === hop.table);
  const none = own.some(h => h.chain === hop.chain && h.event === 'rule') ? 'no other matched' : 'none matched';
  if (hop.rule === undefined) return none === 'none matched' ? 'no rule matched' : 'no other rule matched';
  return `${hop.rule - 1} ${hop.rule === 2 ? 'rule' : 'rules'}, ${none}`;
}

export function actionOf(hop: Hop): string {
  if (hop.verdict === 'REJECT' || hop.verdict === 'DROP')
    return `${hop.verdict}${hop.comment ? `: ${hop.comment}` : ''}`;
  const jump = /^(?:jump|goto) (\S+)$/.exec(hop.verdict ?? '')?.[1];
  if (jump !== undefined) return jump;
  const unknown = hop.uncertain ? 'matched, but cannot have been this rule' : 'matched (no rules given)';
  return hop.target ?? hop.verdict ?? unknown;
}

function rowLines(row: Row, columns: Columns, style: Style): string[] {
  const head =
    row.chain === ''
      ? `${row.hook.padEnd(HOOK)} ${row.table.padEnd(TABLE_AND_CHAIN + NUMBER)}  `
      : `${row.hook.padEnd(HOOK)} ${row.table.padEnd(columns.table - 1)} ${row.chain.padEnd(columns.chain)}${row.number.padStart(NUMBER)}  `;
  const room = style.width - 2 - head.length;
  const colour = row.kind === 'gap' ? style.warn : row.kind === 'quiet' ? style.dim : (text: string) => text;
  if (room < 24)
    return [
      '│ '.concat(head.trimEnd()),
      ...row.texts.flatMap(text => wrap(text, style.width - 8)).map(text => `│       ${colour(text)}`),
    ];
  const texts = row.texts.flatMap(text => wrap(text, room));
  return texts.map((text, i) => `│ ${i === 0 ? style.dim(head) : ' '.repeat(head.length)}${colour(text)}`.trimEnd());
}

function rewriteLines(rewrite: Rewrite, journey: Journey, style: Style): string[] {
  const to = rewrite.to ?? untold(rewrite);
  const how =
    rewrite.evidence === 'conntrack'
      ? ' (conntrack)'
      : rewrite.kind === 'IPVS'
        ? ' by IPVS'
        : rewrite.kind === 'MASQUERADE'
          ? ' masqueraded'
          : '';
  const pod =
    rewrite.field === 'dst' && journey.direction === 'request' && journey.endpoint?.pod
      ? `pod ${journey.endpoint.pod}${journey.endpoint.node ? ` on ${journey.endpoint.node}` : ''}`
      : '';
  const arrow = `┝━━ ${rewrite.field} ${rewrite.from} ━▶ ${to}${how}`;
  const one = pod !== '' && arrow.length + pod.length + 3 <= style.width;
  const lines =
    arrow.length <= style.width
      ? [one ? `${arrow}   ${pod}` : arrow]
      : [
          ...wrap(`${rewrite.field} ${rewrite.from}`, style.width - 4).map(line => `┝━━ ${line}`),
          ...wrap(`${to}${how}`, style.width - 8).map((line, i) => `${i === 0 ? '┝━▶     ' : '┝       '}${line}`),
        ];
  return [
    ...lines.map(style.rewrite),
    ...(pod === '' || one ? [] : wrap(pod, style.width - 8).map(line => `│       ${line}`)),
  ];
}

/** No line tells to what; only of some it is known whose address it is. */
export function untold({ kind }: Rewrite): string {
  if (kind === 'MASQUERADE') return "the node's address (which one, the trace does not tell)";
  return kind === 'REDIRECT' ? 'this node itself' : 'what, the trace does not tell';
}

function endLine(journey: Journey, style: Style, told: boolean): string {
  const last = journey.hops.findLast(hop => hop.event !== 'gap');
  const out = last?.out;
  switch (journey.outcome) {
    case 'delivered':
      return style.good(`┕━▶ ${deliveredTo(journey, last)}`);
    case 'left-node':
      return `┕━▶ ${out}: left this node${last ? ` for ${hostPort(last.tuple.dst, last.tuple.dport)}` : ''}`;
    case 'rejected':
      return style.bad(told ? '┕━✘ rejected: the sender is told' : '┕━✘ rejected');
    case 'dropped':
      return style.bad('┕━✘ dropped: the sender is not told');
    default:
      return style.warn(
        last?.hook === 'prerouting'
          ? '┕━? routing did not hand it on, or the lines behind are lost'
          : '┕━? the trail ends here',
      );
  }
}

function deliveredTo(journey: Journey, last: Hop | undefined): string {
  if (last?.hook === 'input') return 'this node itself';
  const port = journey.bridgePort === undefined ? '' : `, port ${journey.bridgePort}`;
  const via = last?.physOut ?? `${last?.out ?? ''}${port}`;
  const pod = journey.direction === 'request' ? journey.endpoint?.pod : undefined;
  return `${via}${pod ? ` → pod ${pod}` : ''}`;
}
