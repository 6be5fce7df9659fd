/** The bytes of an IP packet -> what we keep of it. RFC 791, 8200, 9293, 768, 792, 4443; lengths as the kernel log prints them. */

import type { IcmpHeader, PacketHeader } from '../model.ts';
import { protocolName } from '../protocols.ts';
import { addressOf, intern, tcpFlagsOfBits } from './strings.ts';

/** Undefined where the bytes are too few for the addresses. What the packet was cut off from is simply absent. */
export function parseIpPacket(bytes: Uint8Array): PacketHeader | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes.length > 0 ? view.getUint8(0) >> 4 : 0;
  if (version === 4 && bytes.length >= 20) return readIpv4(view);
  return version === 6 && bytes.length >= 40 ? readIpv6(view) : undefined;
}

function readIpv4(view: DataView): PacketHeader | undefined {
  const at = (offset: number) => [0, 1, 2, 3].map(i => view.getUint8(offset + i)).join('.');
  const header: PacketHeader = {
    family: 'ip',
    protocol: nameOf(view.getUint8(9)),
    tuple: { src: intern(at(12)), dst: intern(at(16)) },
    length: view.getUint16(2),
    ttl: view.getUint8(8),
    id: view.getUint16(4),
  };
  const fragment = (view.getUint16(6) & 0x1fff) * 8;
  if (fragment > 0) header.fragment = fragment;
  else readTransport(view, (view.getUint8(0) & 15) * 4, header);
  return header;
}

/** Extension headers that may stand before the transport header (RFC 8200, section 4). */
const EXTENSIONS = new Set([0, 43, 44, 60, 135]);

function readIpv6(view: DataView): PacketHeader | undefined {
  const at = (offset: number) =>
    addressOf(Array.from({ length: 8 }, (_, i) => view.getUint16(offset + i * 2).toString(16)).join(':'));
  const header: PacketHeader = {
    family: 'ip6',
    protocol: '',
    tuple: { src: at(8), dst: at(24) },
    length: view.getUint16(4) + 40,
    ttl: view.getUint8(7),
  };
  let next = view.getUint8(6);
  let offset = 40;
  while (EXTENSIONS.has(next) && offset + 8 <= view.byteLength) {
    if (next === 44) {
      header.id = view.getUint32(offset + 4);
      const fragment = view.getUint16(offset + 2) & 0xfff8;
      if (fragment > 0) header.fragment = fragment;
    }
    const length = next === 44 ? 8 : (view.getUint8(offset + 1) + 1) * 8;
    next = view.getUint8(offset);
    offset += length;
  }
  header.protocol = nameOf(next);
  if (header.fragment === undefined) readTransport(view, offset, header);
  return header;
}

function nameOf(protocol: number): string {
  return intern(protocolName(String(protocol)));
}

function readTransport(view: DataView, offset: number, header: PacketHeader): void {
  const has = (length: number) => view.byteLength >= offset + length;
  if (/^(tcp|udp|udplite|sctp)$/.test(header.protocol) && has(4)) {
    header.tuple.sport = view.getUint16(offset);
    header.tuple.dport = view.getUint16(offset + 2);
  }
  if (header.protocol === 'tcp' && has(16))
    header.tcp = {
      flags: tcpFlagsOfBits(view.getUint16(offset + 12) & 0x1ff),
      window: view.getUint16(offset + 14),
      seq: view.getUint32(offset + 4),
      ack: view.getUint32(offset + 8),
    };
  if ((header.protocol === 'icmp' || header.protocol === 'icmpv6') && has(8))
    header.icmp = readIcmp(view, offset, header.protocol === 'icmp');
}

function readIcmp(view: DataView, offset: number, v4: boolean): IcmpHeader {
  const type = view.getUint8(offset);
  const icmp: IcmpHeader = { type, code: view.getUint8(offset + 1) };
  const echo = v4 ? type === 8 || type === 0 : type === 128 || type === 129;
  if (echo) {
    icmp.id = view.getUint16(offset + 4);
    icmp.seq = view.getUint16(offset + 6);
  } else if (v4 ? [3, 4, 5, 11, 12].includes(type) : type < 128) {
    const inner = parseIpPacket(
      new Uint8Array(view.buffer, view.byteOffset + offset + 8, view.byteLength - offset - 8),
    );
    if (inner) icmp.inner = inner;
  }
  return icmp;
}
