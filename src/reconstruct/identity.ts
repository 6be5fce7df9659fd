/**
 * What stays the same of a packet while netfilter rewrites its addresses and ports, in one place. nft's trace id is not
 * part of it: it changes on the way over a bridge, and packets of one connection share it.
 */
import type { PacketHeader, Tuple } from '../model.ts';

const keys = new WeakMap<PacketHeader, string>();

/**
 * Equal for two headers that may be one packet at two points of its way, whichever program printed them: IP id, length
 * and fragment, TCP flags and window, ICMP type and sequence. Not the TCP sequence number, which nft does not print, and
 * not the ICMP id, which source NAT may change.
 */
export function packetKey(header: PacketHeader): string {
  const known = keys.get(header);
  if (known !== undefined) return known;
  const parts = [header.family, header.protocol, header.id ?? '', header.length ?? '', header.fragment ?? '', transportKey(header)];
  const key = parts.join(' ');
  keys.set(header, key);
  return key;
}

function transportKey(header: PacketHeader): string {
  if (header.tcp) return `${header.tcp.flags}/${header.tcp.window ?? ''}`;
  if (!header.icmp) return '';
  const quoted = header.icmp.inner?.id ?? header.icmp.quoted?.id ?? '';
  return `${header.icmp.type}/${header.icmp.code}/${header.icmp.seq ?? ''}/${quoted}`;
}

/** The kernel log also prints TCP's sequence number, which tells apart what the key cannot. */
export function sameSequence(a: PacketHeader, b: PacketHeader): boolean {
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

export function sameTuple(a: Tuple, b: Tuple): boolean {
  return a.src === b.src && a.dst === b.dst && a.sport === b.sport && a.dport === b.dport;
}

export function reversed(tuple: Tuple): Tuple {
  const back: Tuple = { src: tuple.dst, dst: tuple.src };
  if (tuple.dport !== undefined) back.sport = tuple.dport;
  if (tuple.sport !== undefined) back.dport = tuple.sport;
  return back;
}

export function tupleText(protocol: string, tuple: Tuple): string {
  return `${protocol} ${tuple.src} ${tuple.sport ?? ''} ${tuple.dst} ${tuple.dport ?? ''}`;
}
