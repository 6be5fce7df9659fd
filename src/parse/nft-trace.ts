/**
 * `nft monitor trace`, nft 0.9 to 1.1:
 *
 *   trace id 569367cf ip nat KUBE-SERVICES rule … jump KUBE-SVC-X (verdict jump KUBE-SVC-X)
 *
 * Source: nftables src/trace.c (src/netlink.c before 1.1), function netlink_events_trace_cb().
 */
import type { Rule, TableFamily, TraceEvent, TracePoint } from '../model.ts';
import { isBesideIp } from '../rules/hooks.ts';
import { parseNftPacket } from './nft-packet.ts';
import { parseNftRule } from './nft-rule.ts';
import { makePoint, NO_VIA } from './points.ts';
import { intern, memo, own } from './strings.ts';

export const NFT_MARK = 'trace id ';
export const NFT_LOSS = 'We lost some netlink events';

const LINE = /^([0-9a-f]{1,8}) ((?:ip6?|inet|bridge|arp|netdev) \S+ \S+) (.*)$/;

/**
 * A line from the first character after `trace id `, or why it is not understood. A frame's in a chain of family bridge, arp or
 * netdev may hold no packet of IP: then its packet line has no header.
 */
export function parseNftTrace(text: string, origin: { source: number; line: number }): TraceEvent | string {
  const parts = LINE.exec(text.trimEnd());
  if (!parts) return 'not `trace id ID FAMILY TABLE CHAIN …`';
  const [, id = '', chain = '', rest = ''] = parts;
  const space = rest.indexOf(' ');
  const word = space < 0 ? rest : rest.slice(0, space);
  const said = space < 0 ? '' : rest.slice(space + 1);
  const base = { traceId: own(id), source: origin.source, line: origin.line };
  if (word === 'packet:') return withPacket(chain, said, base);
  if (word === 'conntrack:')
    return withPoint(`${chain} conntrack`, { ...base, via: NO_VIA, conntrack: own(said.trim()) });
  // A mark is the packet's, not the chain's.
  const mark = word === 'policy' || word === 'verdict' ? markOf(said) : undefined;
  const point = mark === undefined ? `${chain} ${rest}` : `${chain} ${rest.slice(0, rest.indexOf(' meta mark '))}`;
  return withPoint(point, mark === undefined ? { ...base, via: NO_VIA } : { ...base, via: NO_VIA, mark });
}

function withPoint(text: string, event: Omit<TraceEvent, 'point'>): TraceEvent | string {
  const point = pointOf(text);
  return typeof point === 'string' ? point : { point, ...event };
}

function withPacket(
  chain: string,
  text: string,
  base: { traceId: string; source: number; line: number },
): TraceEvent | string {
  const point = pointOf(`${chain} packet`);
  const packet = parseNftPacket(text);
  if (typeof point === 'string') return point;
  if (typeof packet !== 'string') return { point, ...packet, ...base };
  return isBesideIp(point.family) ? { point, via: NO_VIA, ...base } : packet;
}

type Parts = Omit<TracePoint, 'id'>;

/** `FAMILY TABLE CHAIN KIND …` -> the point every line of this text shares. */
const pointOf: (text: string) => TracePoint | string = memo(text => {
  const [, family = '', table = '', chain = '', word = '', rest = ''] =
    /^(\S+) (\S+) (\S+) (\S+) ?(.*)$/.exec(text.trimEnd()) ?? [];
  const place = { backend: 'nft', family: family as TableFamily, table: intern(table), chain: intern(chain) } as const;
  if (word === 'packet' || word === 'conntrack') return makePoint({ ...place, kind: word });
  const reader = READERS[word];
  const parts = reader ? reader(place, rest) : `\`${own(word)}\` is not a known kind of event`;
  return typeof parts === 'string' ? parts : makePoint(parts);
});

const READERS: Record<string, (place: Omit<Parts, 'kind'>, rest: string) => Parts | string> = {
  rule: readRule,
  unknown: readUnknownRule,
  // The end of a user chain was reached (kernels before 5.17 report it, newer ones do not).
  verdict: (place, rest) => ({ ...place, kind: 'return', verdict: own(rest.trim()) }),
  policy: readPolicy,
};

function readRule(place: Omit<Parts, 'kind'>, rest: string): Parts | string {
  const open = rest.lastIndexOf('(verdict ');
  const close = rest.lastIndexOf(')');
  if (open < 0 || close < open) return 'cut off before the verdict';
  return { ...place, kind: 'rule', rule: ruleOf(rest.slice(0, open)), verdict: intern(rest.slice(open + 9, close)) };
}

/** The rule was added after the monitor read the rules: only its handle is known. */
function readUnknownRule(place: Omit<Parts, 'kind'>, rest: string): Parts | string {
  const found = /^rule handle (\d{1,15})\s*(?:\(verdict (.+)\))?/.exec(rest);
  if (!found) return 'an unknown rule without a handle';
  const parts: Parts = { ...place, kind: 'rule', handle: Number(found[1]) };
  if (found[2]) parts.verdict = intern(found[2]);
  return parts;
}

function readPolicy(place: Omit<Parts, 'kind'>, rest: string): Parts | string {
  const verdict = /^(accept|drop)\b/.exec(rest)?.[1];
  return verdict ? { ...place, kind: 'policy', verdict } : 'a policy that is neither accept nor drop';
}

function markOf(text: string): number | undefined {
  const mark = / meta mark (0x[0-9a-f]{1,8}|\d{1,10})/.exec(` ${text}`)?.[1];
  return mark === undefined ? undefined : Number(mark);
}

const ruleOf: (text: string) => Rule = memo(text => parseNftRule(text.trim(), 0));
