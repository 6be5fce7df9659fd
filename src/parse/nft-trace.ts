/**
 * `nft monitor trace`, nft 0.9 to 1.1:
 *
 *   trace id 569367cf ip nat KUBE-SERVICES rule … jump KUBE-SVC-X (verdict jump KUBE-SVC-X)
 *
 * Source: nftables src/trace.c (src/netlink.c before 1.1), function netlink_events_trace_cb().
 */
import type { Rule, TableFamily, TraceEvent } from '../model.ts';
import { parseNftPacket } from './nft-packet.ts';
import { parseNftRule } from './nft-rule.ts';
import { intern, memo, own } from './strings.ts';

export const NFT_MARK = 'trace id ';
export const NFT_LOSS = 'We lost some netlink events';

const LINE = /^([0-9a-f]{1,8}) (ip6?|inet|bridge|arp|netdev) (\S+) (\S+) (.*)$/;

/** A line from the first character after `trace id `, or why it is not understood. */
export function parseNftTrace(text: string, origin: { source: number; line: number }): TraceEvent | string {
  const parts = LINE.exec(text.trimEnd());
  if (!parts) return 'not `trace id ID FAMILY TABLE CHAIN …`';
  const [, id = '', family = '', table = '', chain = '', rest = ''] = parts;
  if (family !== 'ip' && family !== 'ip6' && family !== 'inet') return `a packet of family ${family} is not an IP packet of this node`;
  const event: TraceEvent = {
    backend: 'nft',
    family: family as TableFamily,
    table: intern(table),
    chain: intern(chain),
    kind: 'rule',
    traceId: own(id),
    source: origin.source,
    line: origin.line,
  };
  const space = rest.indexOf(' ');
  const word = space < 0 ? rest : rest.slice(0, space);
  const reader = READERS[word];
  return reader ? (reader(event, space < 0 ? '' : rest.slice(space + 1)) ?? event) : `\`${own(word)}\` is not a known kind of event`;
}

/** Each completes the event, or says what is wrong with the line. */
const READERS: Record<string, (event: TraceEvent, rest: string) => string | undefined> = {
  'packet:': readPacket,
  'conntrack:': readConntrack,
  rule: readRule,
  unknown: readUnknownRule,
  verdict: readReturn,
  policy: readPolicy,
};

function readPacket(event: TraceEvent, rest: string): string | undefined {
  const packet = parseNftPacket(rest);
  if (typeof packet === 'string') return packet;
  event.kind = 'packet';
  event.header = packet.header;
  event.in = packet.in;
  event.out = packet.out;
  event.mark = packet.mark;
  return undefined;
}

function readConntrack(event: TraceEvent, rest: string): undefined {
  event.kind = 'conntrack';
  event.conntrack = own(rest.trim());
}

function readRule(event: TraceEvent, rest: string): string | undefined {
  const open = rest.lastIndexOf('(verdict ');
  const close = rest.lastIndexOf(')');
  if (open < 0 || close < open) return 'cut off before the verdict';
  event.rule = ruleOf(rest.slice(0, open));
  event.verdict = intern(rest.slice(open + 9, close));
  return undefined;
}

/** The rule was added after the monitor read the rules: only its handle is known. */
function readUnknownRule(event: TraceEvent, rest: string): string | undefined {
  const found = /^rule handle (\d{1,15})\s*(?:\(verdict (.+)\))?/.exec(rest);
  if (!found) return 'an unknown rule without a handle';
  event.handle = Number(found[1]);
  if (found[2]) event.verdict = intern(found[2]);
  return undefined;
}

/** `verdict continue`: the end of a user chain was reached (kernels before 5.17 report it, newer ones do not). */
function readReturn(event: TraceEvent, rest: string): undefined {
  event.kind = 'return';
  event.verdict = intern(rest.split(' meta mark ')[0]?.trim() ?? '');
  event.mark = markOf(rest);
}

function readPolicy(event: TraceEvent, rest: string): string | undefined {
  const verdict = /^(accept|drop)\b/.exec(rest)?.[1];
  if (!verdict) return 'a policy that is neither accept nor drop';
  event.kind = 'policy';
  event.verdict = verdict;
  event.mark = markOf(rest);
  return undefined;
}

function markOf(text: string): number | undefined {
  const mark = /meta mark (0x[0-9a-f]{1,8}|\d{1,10})/.exec(text)?.[1];
  return mark === undefined ? undefined : Number(mark);
}

const ruleOf: (text: string) => Rule = memo(text => parseNftRule(text.trim(), 0));
