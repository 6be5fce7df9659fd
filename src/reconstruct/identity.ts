/**
 * What stays the same of a packet while netfilter rewrites its addresses and ports, in one place. nft's trace id is not
 * part of it: it changes on the way over a bridge, and packets of one connection share it.
 */
import type { PacketHeader, Tuple } from '../model.ts';

/**
 * A number that is equal for two headers that may be one packet, whichever program printed them; `samePacket` decides. Of
 * TCP's sequence number, which nft does not print, and the ICMP id, which source NAT may change, nothing is in it.
 */
export function packetKey(header: PacketHeader): number {
  let key = (header.id ?? 0) * 31 + (header.length ?? 0);
  if (header.tcp) key = key * 31 + header.tcp.flags.length * 7 + (header.tcp.window ?? 0);
  else if (header.icmp) key = key * 31 + header.icmp.type * 257 + (header.icmp.seq ?? 0) + quotedId(header) * 3;
  return (key * 31 + (header.fragment ?? 0)) | 0;
}

function quotedId(header: PacketHeader): number {
  return header.icmp?.inner?.id ?? header.icmp?.quoted?.id ?? 0;
}

/**
 * IP id, length and fragment, TCP flags and window, ICMP type and sequence are the same, and so is what only one of the two
 * printed: the kernel log has TCP's sequence numbers, which tell apart what all else cannot.
 */
export function samePacket(a: PacketHeader, b: PacketHeader): boolean {
  if (a.id !== b.id || a.length !== b.length || a.family !== b.family || a.fragment !== b.fragment) return false;
  if (a.protocol !== b.protocol) return isTerse(a) !== isTerse(b) && a.tuple.sport === b.tuple.sport;
  if (a.tcp && b.tcp) return sameTcp(a, b) && sameSequence(a, b);
  if (!a.icmp || !b.icmp) return true;
  return (
    a.icmp.type === b.icmp.type &&
    a.icmp.code === b.icmp.code &&
    a.icmp.seq === b.icmp.seq &&
    quotedId(a) === quotedId(b)
  );
}

/** xtables-monitor prints neither protocols, nor a TCP window, nor the flags of congestion. */
export function isTerse({ protocol, tcp }: PacketHeader): boolean {
  return protocol === 'unknown' || (tcp !== undefined && tcp.window === undefined);
}

function sameTcp(a: PacketHeader, b: PacketHeader): boolean {
  if (isTerse(a) !== isTerse(b)) return plainFlags(a) === plainFlags(b);
  return a.tcp?.flags === b.tcp?.flags && a.tcp?.window === b.tcp?.window;
}

function plainFlags({ tcp }: PacketHeader): string {
  return (tcp?.flags ?? '').replace(/ ?\b(ECE|CWR|AE)\b/g, '').trim();
}

/** The first packet of a handshake; whoever knows congestion notification sets ECE and CWR in it as well (RFC 3168). */
export function isSyn(header: PacketHeader): boolean {
  return plainFlags(header) === 'SYN';
}

/** The second one. */
export function isSynAck(header: PacketHeader): boolean {
  return plainFlags(header) === 'SYN ACK';
}

function sameSequence(a: PacketHeader, b: PacketHeader): boolean {
  const one = a.tcp?.seq;
  const other = b.tcp?.seq;
  return one === undefined || other === undefined || (one === other && a.tcp?.ack === b.tcp?.ack);
}

/**
 * Can the tuple have become the other by what happens between two hooks? Destination NAT changes one end, source NAT the
 * other; both may be done by the time the next line is written. A packet without an IP id needs one end unchanged.
 */
export function tupleMayBecome(from: PacketHeader, to: PacketHeader): boolean {
  const a = from.tuple;
  const b = to.tuple;
  const sourceKept = a.src === b.src && a.sport === b.sport;
  const destinationKept = a.dst === b.dst && a.dport === b.dport;
  return sourceKept || destinationKept || (from.id !== undefined && from.id !== 0) || from.tcp?.seq !== undefined;
}

/** A tie of the two addresses by what else is known: of packets of the same connection, say. */
export type IsTied = (from: PacketHeader, to: PacketHeader) => boolean;

/** Is it that packet, further on its way? */
export function mayBecome(from: PacketHeader, to: PacketHeader, isTied: IsTied = () => false): boolean {
  return samePacket(from, to) && (tupleMayBecome(from, to) || isTied(from, to));
}

export function sameTuple(a: Tuple, b: Tuple): boolean {
  return a.src === b.src && a.dst === b.dst && a.sport === b.sport && a.dport === b.dport;
}

export function reversed(tuple: Tuple): Tuple {
  const back: Tuple = { src: tuple.dst, dst: tuple.src };
  if (tuple.dport !== undefined) back.sport = tuple.dport;
  if (tuple.sport !== undefined) back.dport = tuple.sport;
  return back;
}
