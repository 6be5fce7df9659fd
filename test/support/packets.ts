/**
 * Random packets, and how the kernel log and `nft monitor trace` print them: what a reader has to undo.
 * Grammars: net/netfilter/nf_log_syslog.c dump_ipv4_packet(), dump_ipv6_packet() (Linux 6.12); nftables src/trace.c.
 */
import fc from 'fast-check';
import type { Family, IcmpHeader, PacketHeader } from '../../src/model.ts';

const byte = fc.nat({ max: 0xff });
const word = fc.nat({ max: 0xffff });
const long = fc.nat({ max: 0xffffffff });

/** IPv6 addresses with runs of zeros, where the short spelling has its rules. */
const groups = fc.array(fc.oneof(fc.constant(0), fc.constantFrom(1, 0xfd00), word), { minLength: 8, maxLength: 8 });

/** RFC 5952, by somebody else's hand: the URL standard serializes IPv6 hosts like that. */
function shortIp6(parts: number[]): string {
  return new URL(`http://[${parts.map(part => part.toString(16)).join(':')}]/`).hostname.slice(1, -1);
}

/** All 39 characters, as the kernel's %pI6 prints them. */
export function fullIp6(short: string): string {
  const [left = '', right] = short.split('::');
  const heads = left === '' ? [] : left.split(':');
  const tails = right === undefined || right === '' ? [] : right.split(':');
  const zeros = right === undefined ? [] : Array.from({ length: 8 - heads.length - tails.length }, () => '0');
  return [...heads, ...zeros, ...tails].map(part => part.padStart(4, '0')).join(':');
}

export const ip4: fc.Arbitrary<string> = fc.tuple(byte, byte, byte, byte).map(bytes => bytes.join('.'));
export const ip6: fc.Arbitrary<string> = groups.map(shortIp6);

const FLAGS = ['SYN', 'FIN', 'RST', 'PSH', 'ACK', 'URG', 'ECE', 'CWR', 'AE'];
const flagNames = (names: string[]) => fc.subarray(names).map(chosen => chosen.join(' '));

type Layer = Pick<PacketHeader, 'protocol'> & Partial<PacketHeader> & { ports?: [number, number] };

const ports = fc.tuple(word, word);
const tcp: fc.Arbitrary<Layer> = fc
  .record({ ports, flags: flagNames(FLAGS), window: word, seq: long, ack: long })
  .map(({ ports, ...tcp }) => ({ protocol: 'tcp', ports, tcp }));
const udp: fc.Arbitrary<Layer> = fc.record({ protocol: fc.constantFrom('udp', 'udplite'), ports });

const echo = (family: Family): fc.Arbitrary<Layer> =>
  fc
    .record({ type: family === 'ip' ? fc.constantFrom(8, 0) : fc.constantFrom(128, 129), id: word, seq: word })
    .map(icmp => ({ protocol: family === 'ip' ? 'icmp' : 'icmpv6', icmp: { ...icmp, code: 0 } }));

/** Types that carry nothing we read: timestamps, neighbour discovery. */
const otherIcmp = (family: Family): fc.Arbitrary<Layer> =>
  fc
    .record({
      type: family === 'ip' ? fc.constantFrom(9, 10, 13, 14) : fc.constantFrom(133, 134, 135, 136),
      code: byte,
    })
    .map(icmp => ({ protocol: family === 'ip' ? 'icmp' : 'icmpv6', icmp }));

const ipsec: fc.Arbitrary<Layer> = fc.record({
  protocol: fc.constantFrom('ah', 'esp'),
  spi: long.map(spi => `0x${spi.toString(16)}`),
});
const numbered: fc.Arbitrary<Layer> = fc.constantFrom('2', '4', 'gre', '89').map(protocol => ({ protocol }));
/** The kernel itself had fewer bytes than a header: only in the packet an ICMP error quotes. */
const incomplete: fc.Arbitrary<Layer> = fc.constantFrom('tcp', 'udp').map(protocol => ({ protocol }));

function header(family: Family, layer: fc.Arbitrary<Layer>): fc.Arbitrary<PacketHeader> {
  const address = family === 'ip' ? ip4 : ip6;
  return fc
    .record({ src: address, dst: address, length: word, ttl: byte, id: word, layer })
    .map(({ src, dst, length, ttl, id, layer: { ports, ...rest } }) => {
      const tuple = ports ? { src, sport: ports[0], dst, dport: ports[1] } : { src, dst };
      const made: PacketHeader = { family, tuple, length, ttl, ...rest };
      if (family === 'ip') made.id = id;
      return made;
    });
}

/** A fragment but the first: it has no header of its own beyond IP's. */
const laterFragment: fc.Arbitrary<PacketHeader> = fc
  .tuple(
    header(
      'ip',
      fc.constantFrom('tcp', 'udp', 'icmp').map(protocol => ({ protocol })),
    ),
    fc.integer({ min: 1, max: 0x1fff }),
  )
  .map(([made, offset]) => ({ ...made, fragment: offset * 8 }));

const quoted = (family: Family): fc.Arbitrary<PacketHeader> =>
  family === 'ip'
    ? fc.oneof(header('ip', fc.oneof(tcp, udp, echo('ip'), incomplete, numbered)), laterFragment)
    : header('ip6', fc.oneof(tcp, udp, echo('ip6'), incomplete));

const error = (family: Family): fc.Arbitrary<PacketHeader> =>
  fc
    .record({
      type: family === 'ip' ? fc.constantFrom(3, 4, 5, 11) : fc.constantFrom(1, 2, 3, 4),
      code: fc.nat({ max: 15 }),
      mtu: word,
      gateway: ip4,
      inner: quoted(family),
    })
    .chain(({ type, code, mtu, gateway, inner }) => {
      const icmp: IcmpHeader = { type, code, inner };
      if (family === 'ip' ? type === 3 && code === 4 : type === 2) icmp.mtu = mtu;
      if (family === 'ip' && type === 5) icmp.gateway = gateway;
      return header(family, fc.constant({ protocol: family === 'ip' ? 'icmp' : 'icmpv6', icmp }));
    });

/** Every kind of packet the kernel log can tell apart. */
export const kernelHeader: fc.Arbitrary<PacketHeader> = fc.oneof(
  header('ip', fc.oneof(tcp, udp, echo('ip'), otherIcmp('ip'), ipsec, numbered)),
  header('ip6', fc.oneof(tcp, udp, echo('ip6'), otherIcmp('ip6'), numbered)),
  laterFragment,
  error('ip'),
  error('ip6'),
);

export interface KernelLine {
  table: string;
  chain: string;
  kind: 'rule' | 'return' | 'policy';
  number: number;
  in: string;
  out: string;
  physIn: string;
  physOut: string;
  mac: boolean;
  header: PacketHeader;
  mark: number;
  uid: boolean;
  /** Lengths of the IP and TCP options, in words of four bytes. */
  options: [number, number];
}

const name = (first: string, rest: string, max: number): fc.Arbitrary<string> =>
  fc
    .tuple(fc.constantFrom(...first), fc.array(fc.constantFrom(...rest), { maxLength: max }))
    .map(([head, tail]) => head + tail.join(''));
const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789';

export const device: fc.Arbitrary<string> = name(LETTERS, `${LETTERS}.-_`, 14);

export const kernelLine: fc.Arbitrary<KernelLine> = fc.record({
  table: fc.constantFrom('raw', 'mangle', 'nat', 'filter', 'security'),
  // iptables forbids spaces, and a first character of `-` or `!`; colons it allows.
  chain: name(LETTERS, `${LETTERS}:-_.+/`, 27),
  kind: fc.constantFrom('rule', 'return', 'policy'),
  number: fc.integer({ min: 1, max: 99999 }),
  in: fc.oneof(fc.constant(''), device),
  out: fc.oneof(fc.constant(''), device),
  physIn: fc.oneof(fc.constant(''), device),
  physOut: fc.oneof(fc.constant(''), device),
  mac: fc.boolean(),
  header: kernelHeader,
  mark: fc.oneof(fc.constant(0), long),
  uid: fc.boolean(),
  options: fc.tuple(fc.nat({ max: 10 }), fc.nat({ max: 10 })),
});

/** The message from `TRACE: ` on, with the space every field ends in. */
export function printKernelLine(line: KernelLine): string {
  const physical = `${line.physIn && `PHYSIN=${line.physIn} `}${line.physOut && `PHYSOUT=${line.physOut} `}`;
  const mac = line.in !== '' && line.mac ? 'MAC=4a:b6:be:bc:69:8a:36:04:b4:d3:e0:80:08:00 ' : '';
  return (
    `TRACE: ${line.table}:${line.chain}:${line.kind}:${line.number} IN=${line.in} OUT=${line.out} ${physical}${mac}` +
    printKernelPacket(line.header, line.options) +
    (line.uid && /^(tcp|udp)$/.test(line.header.protocol) ? 'UID=1000 GID=100 ' : '') +
    (line.mark === 0 ? '' : `MARK=0x${line.mark.toString(16)} `)
  );
}

export function printKernelPacket(header: PacketHeader, options: [number, number] = [0, 0], inner = false): string {
  const opt = (words: number) => (words === 0 ? '' : `OPT (${'01020304'.repeat(words)}) `);
  const { src, dst } = header.tuple;
  const ip =
    header.family === 'ip'
      ? `SRC=${src} DST=${dst} LEN=${header.length} TOS=0x10 PREC=0xC0 TTL=${header.ttl} ID=${header.id} ` +
        (header.fragment === undefined ? 'DF ' : `MF FRAG:${header.fragment / 8} `) +
        opt(options[0])
      : `SRC=${fullIp6(src)} DST=${fullIp6(dst)} LEN=${header.length} TC=0 HOPLIMIT=${header.ttl} FLOWLBL=52428 `;
  return ip + printKernelTransport(header, opt(options[1]), inner);
}

function printKernelTransport(header: PacketHeader, options: string, inner: boolean): string {
  const { protocol, tuple, tcp, icmp } = header;
  // net/netfilter/nf_log_syslog.c has no name for GRE.
  const proto = `PROTO=${{ icmpv6: 'ICMPv6', gre: '47' }[protocol] ?? protocol.toUpperCase()} `;
  if (header.fragment !== undefined) return proto;
  if (header.spi !== undefined) return `${proto}SPI=${header.spi} `;
  if (icmp) return `${proto}TYPE=${icmp.type} CODE=${icmp.code} ${printKernelIcmp(icmp, header, inner)}`;
  if (tuple.sport === undefined) return /^\d/.test(protocol) ? proto : `${proto}INCOMPLETE [8 bytes] `;
  const between = `${proto}SPT=${tuple.sport} DPT=${tuple.dport} `;
  if (!tcp) return `${between}LEN=${header.length} `;
  const set = new Set(tcp.flags.split(' '));
  const flags = ['AE', 'CWR', 'ECE', 'URG', 'ACK', 'PSH', 'RST', 'SYN', 'FIN'].filter(flag => set.has(flag));
  const words = flags.map(flag => `${flag} `).join('');
  return `${between}SEQ=${tcp.seq} ACK=${tcp.ack} WINDOW=${tcp.window} RES=0x00 ${words}URGP=0 ${options}`;
}

function printKernelIcmp(icmp: IcmpHeader, header: PacketHeader, inner: boolean): string {
  if (icmp.seq !== undefined) return `ID=${icmp.id} SEQ=${icmp.seq} `;
  const quote = icmp.inner && !inner ? `[${printKernelPacket(icmp.inner, [0, 0], true)}] ` : '';
  const gateway = icmp.gateway === undefined ? '' : `GATEWAY=${icmp.gateway} `;
  const pointer = header.family === 'ip6' && icmp.type === 4 ? 'POINTER=00000006 ' : '';
  return `${gateway}${pointer}${quote}${icmp.mtu === undefined ? '' : `MTU=${icmp.mtu} `}`;
}

// ---- nft monitor trace ----------------------------------------------------------------------------------------------

export interface NftDump {
  header: PacketHeader;
  in: string;
  out: string;
  /** How this nft writes: numbers (`-nn`) or names, and the flags of TCP in one of its four spellings. */
  numeric: boolean;
  flags: 'hex' | '== hex' | 'names' | '== names';
}

/** nft 0.9 to 1.1 print no sequence numbers and no quoted packets, so the header has none. */
export const nftDump: fc.Arbitrary<NftDump> = fc.record({
  header: fc.oneof(
    ...(['ip', 'ip6'] as const).map(family =>
      header(
        family,
        fc.oneof(
          fc
            .record({ ports, flags: flagNames(['SYN', 'FIN', 'RST', 'PSH', 'ACK', 'URG', 'CWR']), window: word })
            .map(({ ports, ...tcp }) => ({ protocol: 'tcp', ports, tcp })),
          ports.map(ports => ({ protocol: 'udp', ports })),
          echo(family),
        ),
      ).map(made => (family === 'ip' ? made : { ...made, length: (made.length ?? 0) + 40 })),
    ),
  ),
  in: device,
  out: fc.oneof(fc.constant(''), device),
  numeric: fc.boolean(),
  flags: fc.constantFrom('hex', '== hex', 'names', '== names'),
});

const BITS: Record<string, number> = { FIN: 1, SYN: 2, RST: 4, PSH: 8, ACK: 16, URG: 32, ECE: 64, CWR: 128 };
const NUMBERS: Record<string, number> = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 };
const ICMP_NAMES: Record<number, string> = {
  8: 'echo-request',
  0: 'echo-reply',
  128: 'echo-request',
  129: 'echo-reply',
};

/** What stands behind `packet: `. */
export function printNftPacket(dump: NftDump): string {
  const { header, numeric } = dump;
  const { src, dst, sport, dport } = header.tuple;
  const f = header.family;
  const transport = numeric ? NUMBERS[header.protocol] : header.protocol === 'icmpv6' ? 'ipv6-icmp' : header.protocol;
  const dscp = numeric ? '0x00' : 'cs0';
  const ip =
    f === 'ip'
      ? `ip saddr ${src} ip daddr ${dst} ip dscp ${dscp} ip ecn not-ect ip ttl ${header.ttl} ip id ${header.id} ip protocol ${transport} ip length ${header.length} `
      : `ip6 saddr ${src} ip6 daddr ${dst} ip6 dscp ${dscp} ip6 ecn not-ect ip6 hoplimit ${header.ttl} ip6 flowlabel 0 ip6 nexthdr ${transport} ip6 length ${(header.length ?? 0) - 40} `;
  const p = header.protocol;
  const type = header.icmp?.type ?? 0;
  const l4 = header.icmp
    ? `${p} type ${numeric ? type : ICMP_NAMES[type]} ${p} code 0 ${p} id ${header.icmp.id} ${p} sequence ${header.icmp.seq} `
    : header.tcp
      ? `tcp sport ${sport} tcp dport ${dport} tcp flags ${printNftFlags(header.tcp.flags, dump.flags)} tcp window ${header.tcp.window} `
      : `udp sport ${sport} udp dport ${dport} udp length 11 @th,64,24 0x68690a `;
  return `iif "${dump.in}" ${dump.out && `oif "${dump.out}" `}ether saddr 36:04:b4:d3:e0:80 ether daddr 4a:b6:be:bc:69:8a ${ip}${l4}`;
}

function printNftFlags(flags: string, how: NftDump['flags']): string {
  const names = flags === '' ? [] : flags.split(' ');
  const bits = names.reduce((sum, flag) => sum | (BITS[flag] ?? 0), 0);
  const spelled = names.length === 0 ? '0x0' : names.join(' | ').toLowerCase();
  return `${how.startsWith('==') ? '== ' : ''}${how.endsWith('hex') ? `0x${bits.toString(16)}` : spelled}`;
}
