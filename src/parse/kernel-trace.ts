/**
 * The kernel's own TRACE lines, as xt_TRACE writes them through nf_log to the kernel log:
 *
 *   TRACE: nat:KUBE-SERVICES:rule:2 IN=cni0 OUT= PHYSIN=veth1 MAC=… SRC=10.244.1.72 DST=10.96.164.231 LEN=60 … MARK=0x4000
 *
 * Grammar: net/ipv4/netfilter/ip_tables.c trace_packet(), net/netfilter/nf_log_syslog.c (Linux 6.12).
 * A packet's lines follow each other and share most of their text, so each piece is compared with the last before it is read.
 */
import type { EventKind, TraceEvent, TracePoint, Via } from '../model.ts';
import { type PacketParse, parsePacket } from './kernel-packet.ts';
import { makePoint, viaOf } from './points.ts';
import { intern, memo, own } from './strings.ts';

export const TRACE_MARK = 'TRACE: ';

/**
 * What a line says, until the next one is read: the reader fills one and the same object again and again, for most lines
 * are only counted. Who wants to keep an event copies it.
 */
export interface KernelTraceReader {
  /** A line from `start`, the first character behind `TRACE: `; or why it is not understood. */
  read(text: string, start: number, at: number | undefined, line: number): TraceEvent | string;
}

interface Recent<T> {
  text: string;
  value: T;
}

export interface Points {
  ip: TracePoint;
  ip6: TracePoint;
  /** What stood in the lines after this one: mostly it does again. */
  next: Recent<Points>[];
  /** The interfaces that stood behind it, up to and with ` SRC=`. */
  vias: Recent<Via>[];
}

/** A rule's line is followed by few others: the next table's, its endpoint's, the next packet's first. */
const FOLLOWERS = 6;

/** Few pods send through one rule at a time. */
const VIAS = 4;

const PACKET = ' SRC=';

/** Packets on several CPUs write their lines in turns: so many bodies are remembered. */
const RECENT = 8;

export function createKernelTraceReader(source: number): KernelTraceReader {
  let before: Points | undefined;
  let body: Recent<PacketParse> = { text: '', value: {} };
  /** Everything behind the point: at one hook a packet's lines differ in nothing else. */
  let tail = '';
  const bodies: Recent<PacketParse>[] = [];
  let turn = 0;
  const event = { source, line: 0 } as TraceEvent;
  const pointsFor = (word: string): Points | string => {
    // Compared, not looked up: to be looked up, a text just cut out would have to be hashed first.
    if (before) for (const next of before.next) if (next.text === word) return remember(next.value);
    const points = pointsOf(word);
    if (typeof points === 'string') return points;
    if (before && before.next.length < FOLLOWERS) before.next.push({ text: own(word), value: points });
    return remember(points);
  };
  const remember = (points: Points): Points => {
    before = points;
    return points;
  };
  const packetFor = (text: string): PacketParse => {
    if (body.text === text) return body.value;
    for (const recent of bodies)
      if (recent.text === text) {
        body = recent;
        return body.value;
      }
    body = { text, value: parsePacket(text) };
    bodies[turn] = body;
    turn = (turn + 1) % RECENT;
    return body.value;
  };
  return {
    read(text, start, at, line) {
      const space = text.indexOf(' ', start);
      const end = space < 0 ? text.length : space;
      const points = pointsFor(text.slice(start, end));
      if (typeof points === 'string') return points;
      const rest = text.slice(end + 1);
      if (rest !== tail) {
        const problem = readTail(rest, points);
        tail = problem === undefined ? rest : '';
        if (problem !== undefined) return problem;
      }
      event.point = event.header?.family === 'ip6' ? points.ip6 : points.ip;
      event.at = at;
      event.line = line;
      return event;
    },
  };

  function readTail(text: string, points: Points): string | undefined {
    const via = viaBehind(points, text);
    if (typeof via === 'string') return via;
    const packet = via.text.length - PACKET.length;
    const { header, mark, problem } = packetFor(text.slice(packet + 1, endOf(text)));
    if (header === undefined) return problem ?? 'not understood';
    event.via = via.value;
    event.header = header;
    event.mark = mark;
    return undefined;
  }
}

/** The interfaces at the beginning of `text`, with the text they were read from; or why there are none. */
function viaBehind({ vias }: Points, text: string): Recent<Via> | string {
  // Two strings are compared by the machine's own means; startsWith goes character by character.
  for (const recent of vias) if (text.slice(0, recent.text.length) === recent.text) return recent;
  const packet = text.indexOf(PACKET);
  if (packet < 0) return 'cut off before the addresses';
  const via = viaIn(text.slice(0, packet));
  if (typeof via === 'string') return via;
  const found = { text: own(text.slice(0, packet + PACKET.length)), value: via };
  if (vias.length < VIAS) vias.push(found);
  return found;
}

function endOf(text: string): number {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) <= 32) end--;
  return end;
}

const KINDS = new Set(['rule', 'return', 'policy']);

/** `table:chain:kind:number`, for either family. A chain's name may itself contain colons, so both ends are cut off first. */
export const pointsOf: (text: string) => Points | string = memo(text => {
  const parts = text.split(':');
  const number = parts.pop() ?? '';
  const kind = parts.pop() ?? '';
  const [table, ...chain] = parts;
  if (!table || chain.length === 0 || !KINDS.has(kind) || !/^\d{1,9}$/.test(number))
    return 'not table:chain:kind:number';
  const place = {
    backend: 'legacy',
    table: intern(table),
    chain: intern(chain.join(':')),
    kind: kind as EventKind,
    number: Number(number),
  } as const;
  return { ip: makePoint({ ...place, family: 'ip' }), ip6: makePoint({ ...place, family: 'ip6' }), next: [], vias: [] };
});

/** `IN=… OUT=… [PHYSIN=…] [PHYSOUT=…] [MAC=…]`; an empty value means: no such interface at this hook. */
const INTERFACES = /^IN=(\S*) OUT=(\S*)(?: PHYSIN=(\S*))?(?: PHYSOUT=(\S*))?(?: |$)/;

const viaIn: (text: string) => Via | string = memo(text => {
  const found = INTERFACES.exec(text);
  return found ? viaOf(found[1], found[2], found[3], found[4]) : 'no IN= and OUT=';
}, 4096);
