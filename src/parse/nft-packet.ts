/**
 * The header dump of `nft monitor trace`: pairs of a field's name and its value, in the order of the headers. Values are
 * numbers with `-nn` and names without; fields we do not know (new protocols, raw `@th,64,96 0x…` dumps) are passed over.
 */

import type { IcmpHeader, PacketHeader, Via } from '../model.ts';
import { protocolName } from '../protocols.ts';
import { parseIpPacket } from './ip-packet.ts';
import { viaOf } from './points.ts';
import { addressOf, memo, own, tcpFlags, tcpFlagsOfBits, uint } from './strings.ts';

export interface NftPacket {
  header: PacketHeader;
  via: Via;
  mark: number | undefined;
}

/** @param text what stands behind `packet:`. */
export const parseNftPacket: (text: string) => NftPacket | string = memo(text => {
  const fields = readFields(text);
  const family = fields.has('ip6 saddr') ? 'ip6' : 'ip';
  const src = addressOf(fields.get(`${family} saddr`) ?? '');
  const dst = addressOf(fields.get(`${family} daddr`) ?? '');
  if (src === '' || dst === '') return ofRawBytes(fields) ?? 'no addresses in the packet dump';
  const header: PacketHeader = { family, protocol: protocolOf(fields, family), tuple: { src, dst } };
  readIpFields(header, fields);
  readTransport(header, fields);
  return { header, via: viaOfFields(fields), mark: uintOrHex(fields.get('meta mark')) };
}, 512);

/** At an interface's egress nft knows no protocol, and dumps both headers as bytes: `@nh,0,160 0x45… @th,0,160 0x…`. */
function ofRawBytes(fields: Map<string, string>): NftPacket | undefined {
  const ip = bytesOf(fields, 'nh');
  const header = parseIpPacket(Buffer.from(isWhole(ip) ? ip + bytesOf(fields, 'th') : ip, 'hex'));
  return header && { header, via: viaOfFields(fields), mark: uintOrHex(fields.get('meta mark')) };
}

/** The header with all its options, and no extension header behind it: what comes next is the transport's. */
function isWhole(ip: string): boolean {
  if (ip.startsWith('4')) return ip.length === Number.parseInt(ip.charAt(1), 16) * 8;
  return ip.length === 80 && /^6.{11}(06|11|3a|84|88)/.test(ip);
}

/** As hexadecimal digits. A number is printed without the zeros it begins with; its name says how many bits it has. */
function bytesOf(fields: Map<string, string>, header: 'nh' | 'th'): string {
  for (const [name, value] of fields) {
    const bits = name.startsWith(`@${header},0,`) ? Number(name.slice(6)) : 0;
    if (bits > 0 && bits <= 512 && /^0x[0-9a-f]+$/.test(value)) return value.slice(2).padStart(bits / 4, '0');
  }
  return '';
}

function viaOfFields(fields: Map<string, string>): Via {
  return viaOf(fields.get('iif') ?? fields.get('iifname'), fields.get('oif') ?? fields.get('oifname'));
}

/** Words that open a two-word field name (`ip saddr`); `iif` and `oif` and raw `@…` expressions are one word. */
const PREFIXES = new Set(
  'ip ip6 ether tcp udp udplite sctp dccp icmp icmpv6 ah esp comp vlan arp meta ct th frag hbh rt dst mh gre'.split(
    ' ',
  ),
);

function readFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  const words = text.trim().match(/"[^"]*"|\S+/g) ?? [];
  for (let i = 0; i < words.length; ) {
    const word = words[i] ?? '';
    const long = PREFIXES.has(word);
    const name = long ? `${word} ${words[i + 1] ?? ''}` : word;
    i += long ? 2 : 1;
    if (words[i] === '==') i++;
    let value = words[i++] ?? '';
    // `tcp flags syn | ack` (nft 0.9.9 and newer without -n)
    while (words[i] === '|') {
      value += `|${words[i + 1] ?? ''}`;
      i += 2;
    }
    if (!fields.has(name)) fields.set(name, value.replace(/^"|"$/g, ''));
  }
  return fields;
}

/** The transport fields name the protocol; without any, the IP header may (nft omits it once the dump implies it). */
function protocolOf(fields: Map<string, string>, family: 'ip' | 'ip6'): string {
  for (const protocol of ['tcp', 'udp', 'icmp', 'icmpv6', 'sctp', 'udplite', 'dccp', 'esp', 'ah'])
    for (const name of fields.keys()) if (name.startsWith(`${protocol} `)) return protocol;
  const named = fields.get(family === 'ip' ? 'ip protocol' : 'ip6 nexthdr') ?? 'unknown';
  return own(protocolName(named));
}

/** IPv6's own length field counts the payload only; the kernel log adds the 40 bytes of the header, and so do we. */
const IP6_HEADER = 40;

function readIpFields(header: PacketHeader, fields: Map<string, string>): void {
  const ip6 = header.family === 'ip6';
  const length = uint(fields.get(`${header.family} length`));
  if (length !== undefined) header.length = ip6 ? length + IP6_HEADER : length;
  const ttl = uint(fields.get(ip6 ? 'ip6 hoplimit' : 'ip ttl'));
  if (ttl !== undefined) header.ttl = ttl;
  const id = uint(fields.get('ip id'));
  if (id !== undefined && !ip6) header.id = id;
  // The low 13 bits are the offset in units of 8 bytes (RFC 791).
  const fragment = uintOrHex(fields.get('ip frag-off'));
  if (fragment !== undefined && (fragment & 0x1fff) > 0) header.fragment = (fragment & 0x1fff) * 8;
}

function readTransport(header: PacketHeader, fields: Map<string, string>): void {
  const ports = ['tcp', 'udp', 'sctp', 'udplite', 'dccp', 'th'].find(p => fields.has(`${p} sport`));
  if (ports) {
    header.tuple.sport = portOf(fields.get(`${ports} sport`));
    header.tuple.dport = portOf(fields.get(`${ports} dport`));
  }
  if (header.protocol === 'tcp') {
    header.tcp = { flags: flagsOf(fields.get('tcp flags') ?? '') };
    const window = uint(fields.get('tcp window'));
    if (window !== undefined) header.tcp.window = window;
  }
  if (header.protocol === 'icmp' || header.protocol === 'icmpv6') header.icmp = icmpOf(header.protocol, fields);
}

function portOf(text: string | undefined): number | undefined {
  return uint(text) ?? SERVICE_NAMES[text ?? ''];
}

/** Without -nn nft prints a port by its name in /etc/services; these are the ones a Service is likely to have. */
const SERVICE_NAMES: Record<string, number> = {
  ssh: 22,
  domain: 53,
  http: 80,
  'http-alt': 8080,
  https: 443,
  ldap: 389,
  mysql: 3306,
  postgresql: 5432,
  redis: 6379,
};

function flagsOf(text: string): string {
  const bits = uintOrHex(text);
  return bits === undefined ? tcpFlags(text) : tcpFlagsOfBits(bits);
}

function uintOrHex(text: string | undefined): number | undefined {
  if (text !== undefined && /^0x[0-9a-f]{1,8}$/.test(text)) return Number.parseInt(text, 16);
  return uint(text);
}

/** Without -n, nft prints types by name (nftables src/proto.c, icmp_type_tbl and icmp6_type_tbl). */
const ICMP_TYPES: Record<string, number> = {
  'echo-reply': 0,
  'destination-unreachable': 3,
  'source-quench': 4,
  redirect: 5,
  'echo-request': 8,
  'time-exceeded': 11,
  'parameter-problem': 12,
};
const ICMP6_TYPES: Record<string, number> = {
  'destination-unreachable': 1,
  'packet-too-big': 2,
  'time-exceeded': 3,
  'parameter-problem': 4,
  'echo-request': 128,
  'echo-reply': 129,
  'nd-router-solicit': 133,
  'nd-router-advert': 134,
  'nd-neighbor-solicit': 135,
  'nd-neighbor-advert': 136,
};
const ICMP_CODES: Record<string, number> = {
  'net-unreachable': 0,
  'host-unreachable': 1,
  'prot-unreachable': 2,
  'port-unreachable': 3,
  'frag-needed': 4,
  'net-prohibited': 9,
  'host-prohibited': 10,
  'admin-prohibited': 13,
};
const ICMP6_CODES: Record<string, number> = {
  'no-route': 0,
  'admin-prohibited': 1,
  'addr-unreachable': 3,
  'port-unreachable': 4,
  'policy-fail': 5,
  'reject-route': 6,
};

function icmpOf(protocol: 'icmp' | 'icmpv6', fields: Map<string, string>): IcmpHeader {
  const field = (name: string) => fields.get(`${protocol} ${name}`);
  const v4 = protocol === 'icmp';
  const types = v4 ? ICMP_TYPES : ICMP6_TYPES;
  const codes = v4 ? ICMP_CODES : ICMP6_CODES;
  const type = uint(field('type')) ?? types[field('type') ?? ''] ?? -1;
  const icmp: IcmpHeader = { type, code: uint(field('code')) ?? codes[field('code') ?? ''] ?? 0 };
  const echo = v4 ? type === 8 || type === 0 : type === 128 || type === 129;
  // nft prints these fields for every type, whatever the bytes mean there.
  if (echo) {
    Object.assign(icmp, echoOf(field));
  } else if (v4) {
    icmp.quoted = quotedOf(fields.get('@th,64,96'));
  }
  return icmp;
}

/** nft names ICMPv6's bytes 4 to 7 by the first field it knows there, whatever the type: an echo's are its id and sequence. */
function echoOf(field: (name: string) => string | undefined): { id: number | undefined; seq: number | undefined } {
  const both = uint(field('parameter-problem')) ?? uint(field('packet-too-big')) ?? uint(field('mtu'));
  if (field('id') !== undefined || both === undefined) return { id: uint(field('id')), seq: uint(field('sequence')) };
  return { id: both >>> 16, seq: both & 0xffff };
}

/** The 12 bytes after an ICMP error's own 8: version, length, id and protocol of the IPv4 packet it quotes (RFC 792). */
function quotedOf(raw: string | undefined): { protocol: string; length: number; id: number } | undefined {
  if (!raw || !/^0x4[0-9a-f]{23}$/.test(raw)) return undefined;
  const at = (byte: number, bytes: number) => Number.parseInt(raw.slice(2 + byte * 2, 2 + (byte + bytes) * 2), 16);
  return { length: at(2, 2), id: at(4, 2), protocol: protocolName(String(at(9, 1))) };
}
