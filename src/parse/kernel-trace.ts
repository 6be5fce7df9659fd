/**
 * The kernel's own TRACE lines, as xt_TRACE writes them through nf_log to the kernel log:
 *
 *   TRACE: nat:KUBE-SERVICES:rule:2 IN=cni0 OUT= PHYSIN=veth1 MAC=… SRC=10.244.1.72 DST=10.96.164.231 LEN=60 … MARK=0x4000
 *
 * Grammar: net/ipv4/netfilter/ip_tables.c trace_packet(), net/netfilter/nf_log_syslog.c (Linux 6.12).
 * Consecutive lines of one packet share most of their text, so the pieces are parsed once and remembered.
 */
import type { EventKind, PacketHeader, TraceEvent } from '../model.ts';
import { parsePacket, type PacketParse } from './kernel-packet.ts';
import { intern, memo } from './strings.ts';

interface Position {
  table: string;
  chain: string;
  kind: EventKind;
  number: number;
}

interface Interfaces {
  in: string | undefined;
  out: string | undefined;
  physIn: string | undefined;
  physOut: string | undefined;
}

export const TRACE_MARK = 'TRACE: ';

/** A TRACE line from the first character after `TRACE: `, or why it is not understood. `legacy` lines only. */
export function parseKernelTrace(text: string, origin: { source: number; line: number; at: number | undefined }): TraceEvent | string {
  const space = text.indexOf(' ');
  const position = positionOf(space < 0 ? text : text.slice(0, space));
  if (typeof position === 'string') return position;
  const source = space < 0 ? -1 : text.indexOf(' SRC=', space);
  if (source < 0) return 'cut off before the addresses';
  const interfaces = interfacesOf(text.slice(space + 1, source));
  if (interfaces === 'no IN= and OUT=') return interfaces;
  const packet = packetOf(trimEnd(text, source + 1));
  if (packet.problem !== undefined) return packet.problem;
  return event(position, interfaces as Interfaces, packet, origin);
}

function event(
  position: Position,
  where: Interfaces,
  packet: { header?: PacketHeader; mark?: number },
  origin: { source: number; line: number; at: number | undefined },
): TraceEvent {
  const header = packet.header as PacketHeader;
  return {
    backend: 'legacy',
    family: header.family,
    table: position.table,
    chain: position.chain,
    kind: position.kind,
    number: position.number,
    header,
    in: where.in,
    out: where.out,
    physIn: where.physIn,
    physOut: where.physOut,
    mark: packet.mark,
    at: origin.at,
    source: origin.source,
    line: origin.line,
  };
}

const KINDS = new Set(['rule', 'return', 'policy']);

/** `table:chain:kind:number`. A chain's name may itself contain colons, so both ends are cut off first. */
const positionOf: (text: string) => Position | string = memo(text => {
  const parts = text.split(':');
  const number = parts.pop() ?? '';
  const kind = parts.pop() ?? '';
  const [table, ...chain] = parts;
  if (!table || chain.length === 0 || !KINDS.has(kind) || !/^\d{1,9}$/.test(number)) return 'not table:chain:kind:number';
  return { table: intern(table), chain: intern(chain.join(':')), kind: kind as EventKind, number: Number(number) };
});

/** `IN=… OUT=… [PHYSIN=…] [PHYSOUT=…] [MAC=…]`; an empty value means: no such interface at this hook. */
const interfacesOf: (text: string) => Interfaces | 'no IN= and OUT=' = memo(text => {
  const value = (key: string) => new RegExp(`(?:^| )${key}=(\\S*)`).exec(text)?.[1];
  const given = value('IN') !== undefined && value('OUT') !== undefined;
  if (!given) return 'no IN= and OUT=';
  const name = (key: string) => value(key) || undefined;
  return { in: name('IN'), out: name('OUT'), physIn: name('PHYSIN'), physOut: name('PHYSOUT') };
});

const packetOf: (text: string) => PacketParse = memo(parsePacket);

function trimEnd(text: string, from: number): string {
  let end = text.length;
  while (end > from && text.charCodeAt(end - 1) <= 32) end--;
  return text.slice(from, end);
}
