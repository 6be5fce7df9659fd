/** The bytes of a packet, and of an NFLOG message around it as tcpdump prints it: RFC 791, 8200, 9293, 768, 792, 4443. */
import type fc from 'fast-check';
import type { PacketHeader } from '../../src/model.ts';
import { fullIp6, kernelHeader } from './packets.ts';

const NUMBERS: Record<string, number> = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  ah: 51,
  icmpv6: 58,
  sctp: 132,
  udplite: 136,
};
const FLAG_BITS: Record<string, number> = {
  FIN: 1,
  SYN: 2,
  RST: 4,
  PSH: 8,
  ACK: 16,
  URG: 32,
  ECE: 64,
  CWR: 128,
  AE: 256,
};

const u8 = (value: number): number[] => [value & 0xff];
const u16 = (value: number): number[] => [(value >>> 8) & 0xff, value & 0xff];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value)];

/** Packets as their first bytes tell them: MTU, gateway and IPsec's index stand in bytes nobody reads yet. */
export const byteHeader: fc.Arbitrary<PacketHeader> = kernelHeader.map(plain);

function plain({ spi: _, ...header }: PacketHeader): PacketHeader {
  const made: PacketHeader = { ...header };
  // IPv6 counts what follows its header of forty bytes.
  if (made.family === 'ip6') made.length = Math.max(40, made.length ?? 0);
  if (made.icmp) {
    const { mtu: _mtu, gateway: _gateway, inner, ...icmp } = made.icmp;
    made.icmp = inner ? { ...icmp, inner: plain(inner) } : icmp;
  }
  return made;
}

function addressBytes(address: string): number[] {
  if (!address.includes(':')) return address.split('.').map(Number);
  return fullIp6(address)
    .split(':')
    .flatMap(group => u16(Number.parseInt(group, 16)));
}

export function packetBytes(header: PacketHeader): number[] {
  const { src, dst } = header.tuple;
  const protocol = NUMBERS[header.protocol] ?? Number(header.protocol);
  const { length = 0, ttl = 0, id = 0, fragment = 0 } = header;
  const addresses = [...addressBytes(src), ...addressBytes(dst)];
  if (header.family === 'ip')
    return [
      0x45,
      0,
      ...u16(length),
      ...u16(id),
      ...u16(fragment / 8),
      ttl,
      protocol,
      0,
      0,
      ...addresses,
      ...transport(header),
    ];
  const extension = header.id === undefined ? [] : [protocol, 0, ...u16(fragment), ...u32(id)];
  const next = header.id === undefined ? protocol : 44;
  return [0x60, 0, 0, 0, ...u16(length - 40), next, ttl, ...addresses, ...extension, ...transport(header)];
}

function transport({ fragment, tuple, tcp, icmp }: PacketHeader): number[] {
  if (fragment !== undefined) return [1, 2, 3, 4, 5, 6, 7, 8];
  if (icmp) {
    const rest = icmp.seq === undefined ? [0, 0, 0, 0] : [...u16(icmp.id ?? 0), ...u16(icmp.seq)];
    return [...u8(icmp.type), ...u8(icmp.code), 0, 0, ...rest, ...(icmp.inner ? packetBytes(icmp.inner) : [])];
  }
  if (tuple.sport === undefined) return [];
  const ports = [...u16(tuple.sport), ...u16(tuple.dport ?? 0)];
  if (!tcp) return [...ports, 0, 8, 0, 0];
  const flags = tcp.flags === '' ? 0 : tcp.flags.split(' ').reduce((sum, flag) => sum | (FLAG_BITS[flag] ?? 0), 0);
  return [
    ...ports,
    ...u32(tcp.seq ?? 0),
    ...u32(tcp.ack ?? 0),
    ...u16(0x5000 | flags),
    ...u16(tcp.window ?? 0),
    0,
    0,
    0,
    0,
  ];
}

export interface NflogMessage {
  prefix: string;
  payload: number[];
  mark?: number;
  in?: number;
  out?: number;
  physIn?: number;
  physOut?: number;
}

/** Attributes: length and type in the host's order, then the value in the network's, padded to four bytes. */
export function nflogBytes(message: NflogMessage): number[] {
  const attribute = (type: number, value: number[]) => {
    const length = value.length + 4;
    return [length & 0xff, length >> 8, type, 0, ...value, ...[0, 0, 0].slice(0, (4 - (length % 4)) % 4)];
  };
  const optional = (type: number, value: number | undefined) =>
    value === undefined ? [] : attribute(type, u32(value));
  return [
    ...[2, 0, 0, 0],
    ...attribute(1, [8, 0, 3, 0]),
    ...attribute(10, [...Buffer.from(`${message.prefix}\0`)]),
    ...optional(4, message.in),
    ...optional(6, message.physIn),
    ...optional(5, message.out),
    ...optional(7, message.physOut),
    ...optional(2, message.mark),
    ...attribute(9, message.payload),
  ];
}

/** `tcpdump -n -xx -tt`: a line for people, then sixteen bytes a line. */
export function tcpdumpLines(stamp: string, bytes: number[]): string[] {
  const hex = bytes.map(byte => byte.toString(16).padStart(2, '0'));
  const lines = Array.from({ length: Math.ceil(hex.length / 16) }, (_, i) => {
    const words =
      hex
        .slice(i * 16, i * 16 + 16)
        .join('')
        .match(/.{1,4}/g) ?? [];
    return `\t0x${(i * 16).toString(16).padStart(4, '0')}:  ${words.join(' ')}`;
  });
  return [
    `${stamp} version 0, resource ID 0, family IPv4 (2), length ${bytes.length}: IP 10.0.0.1.1 > 10.0.0.2.80: tcp 0`,
    ...lines,
  ];
}
