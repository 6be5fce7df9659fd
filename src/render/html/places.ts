/** Where a packet can be on a node, for the picture of it: hooks, and in each the tables whose chains it was seen in. */
import type { Hook, Hop, Journey, Report } from '../../model.ts';
import { groupHops } from '../segments.ts';

export interface Place {
  /** `prerouting/legacy/nat`; unique in a report. */
  key: string;
  hook: Hook;
  label: string;
}

const IPTABLES = new Set(['raw', 'mangle', 'nat', 'filter', 'security']);

/** The place of each hop of a journey, in the order of its hops. What our own rules saw has the hook alone. */
export function placesOf(journey: Journey, mixed: boolean): Place[] {
  return groupHops(journey).flatMap(group => {
    const base = group.hops.find(({ hop }) => hop.depth === 0)?.hop ?? group.hops[0]?.hop;
    return group.hops.map(({ hop }) => placeOf(hop, base?.chain ?? hop.chain, mixed));
  });
}

function placeOf(hop: Hop, base: string, mixed: boolean): Place {
  if (hop.owner === 'trace-svc') return { key: hop.hook, hook: hop.hook, label: '' };
  const own = IPTABLES.has(hop.table);
  const label = own ? `${hop.table}${mixed && hop.backend === 'nft' ? ' (nft)' : ''}` : chainLabel(hop, base);
  return { key: `${hop.hook}/${hop.backend}/${own ? hop.table : `${hop.table} ${base}`}`, hook: hop.hook, label };
}

/** `nat-prerouting` of table kube-proxy stands in the box of its hook already: `nat · kube-proxy`. */
function chainLabel({ hook, table }: Hop, base: string): string {
  const name = base
    .split('-')
    .filter(word => word.toLowerCase() !== hook)
    .join('-');
  return name === '' ? table : `${name} · ${table}`;
}

/** More than these do not fit into a picture; the list of steps names every table. */
const MOST = 8;

/** Every hook's tables in the order packets met them. */
export function tablesOf(journeys: Journey[], mixed: boolean): Map<Hook, Place[]> {
  const tables = new Map<Hook, Place[]>();
  for (const journey of journeys) {
    let before: Place | undefined;
    for (const place of placesOf(journey, mixed)) {
      if (place.label === '') continue;
      const known = tables.get(place.hook) ?? [];
      tables.set(place.hook, known);
      const after = before?.hook === place.hook ? known.findIndex(one => one.key === before?.key) + 1 : 0;
      if (!known.some(one => one.key === place.key) && known.length < MOST) known.splice(after, 0, place);
      before = place;
    }
  }
  return tables;
}

export function isMixed(report: Report): boolean {
  return report.node.backends.length > 1;
}
