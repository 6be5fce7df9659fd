/** The packet part of a kernel line, from `SRC=` on. Its grammar has traps; every trap has its row here. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PacketHeader } from '../../src/model.ts';
import { parsePacket } from '../../src/parse/kernel-packet.ts';
import { captureLines, some } from '../support/captures.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { kernelHeader, printKernelPacket } from '../support/packets.ts';

const IP = 'SRC=10.0.0.1 DST=10.0.0.2 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=7';
const IP6 =
  'SRC=fd00:0000:0000:0000:0000:0000:0000:0001 DST=2001:0db8:0000:0001:0000:0000:0000:0002 LEN=104 TC=0 HOPLIMIT=63 FLOWLBL=1048575';
const TCP = 'SEQ=1 ACK=2 WINDOW=3 RES=0x00';

function header(text: string): PacketHeader {
  const parsed = parsePacket(text.trimEnd());
  expect(parsed.problem).toBeUndefined();
  return parsed.header as PacketHeader;
}

const v4 = { src: '10.0.0.1', dst: '10.0.0.2' };
const v6 = { src: 'fd00::1', dst: '2001:db8:0:1::2' };

describe('the IP header', () => {
  const common = { family: 'ip', tuple: v4, length: 84, ttl: 64, id: 7, protocol: 'gre' };
  it.each<{ name: string; text: string; want: object }>([
    { name: 'IPv4', text: `${IP} PROTO=47 `, want: common },
    { name: 'IPv4, do not fragment', text: `${IP} DF PROTO=47 `, want: common },
    { name: 'IPv4, every flag', text: `${IP} CE DF MF PROTO=47 `, want: common },
    { name: 'IPv4 with options', text: `${IP} DF OPT (94040000) PROTO=47 `, want: common },
    {
      name: 'IPv6: short addresses, hop limit, no identification',
      text: `${IP6} PROTO=47 `,
      want: { family: 'ip6', tuple: v6, length: 104, ttl: 63, id: undefined, protocol: 'gre' },
    },
    { name: 'IPv6 with a hop-by-hop header', text: `${IP6} OPT ( ) PROTO=47 `, want: { protocol: 'gre', tuple: v6 } },
    { name: 'IPv6 with two extension headers', text: `${IP6} OPT ( ) OPT ( ) PROTO=47 `, want: { protocol: 'gre' } },
    {
      name: 'the lowest values',
      text: 'SRC=0.0.0.0 DST=255.255.255.255 LEN=0 TOS=0x00 PREC=0x00 TTL=0 ID=0 PROTO=0 ',
      want: { tuple: { src: '0.0.0.0', dst: '255.255.255.255' }, length: 0, ttl: 0, id: 0, protocol: '0' },
    },
    {
      name: 'a field of a later kernel',
      text: `${IP} DF NEWFIELD=12 BARE PROTO=TCP SPT=1 DPT=2 ${TCP} SYN URGP=0 `,
      want: { protocol: 'tcp', tuple: { ...v4, sport: 1, dport: 2 } },
    },
  ])('$name', ({ text, want }) => expectLike(header(text), want));
});

describe('the transport', () => {
  it.each<{ name: string; text: string; want: object }>([
    {
      name: 'TCP',
      text: `${IP} DF PROTO=TCP SPT=38858 DPT=80 SEQ=2362888013 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 OPT (020405B4) `,
      want: {
        protocol: 'tcp',
        tuple: { ...v4, sport: 38858, dport: 80 },
        tcp: { flags: 'SYN', seq: 2362888013, ack: 0, window: 64240 },
      },
    },
    {
      name: 'TCP over IPv6',
      text: `${IP6} PROTO=TCP SPT=38858 DPT=80 SEQ=2362888013 ACK=0 WINDOW=64240 RES=0x00 SYN URGP=0 OPT (020405B4) `,
      want: {
        family: 'ip6',
        tuple: { ...v6, sport: 38858, dport: 80 },
        tcp: { flags: 'SYN', seq: 2362888013, ack: 0, window: 64240 },
      },
    },
    {
      name: 'IP and TCP options: OPT twice',
      text: `${IP} OPT (94040000) PROTO=TCP SPT=1 DPT=2 ${TCP} ACK URGP=0 OPT (0101080A) `,
      want: { tuple: { ...v4, sport: 1, dport: 2 }, tcp: { flags: 'ACK', seq: 1, ack: 2, window: 3 } },
    },
    {
      name: 'TCP logged without sequence numbers',
      text: `${IP} PROTO=TCP SPT=1 DPT=2 WINDOW=3 RES=0x00 SYN URGP=0 `,
      want: { tcp: { flags: 'SYN', window: 3 } },
    },
    {
      name: 'UDP: LEN twice',
      text: `${IP} PROTO=UDP SPT=4000 DPT=53 LEN=64 `,
      want: { protocol: 'udp', length: 84, tuple: { ...v4, sport: 4000, dport: 53 } },
    },
    {
      name: 'UDP-Lite',
      text: `${IP} PROTO=UDPLITE SPT=1 DPT=2 LEN=64 `,
      want: { protocol: 'udplite', tuple: { ...v4, sport: 1, dport: 2 } },
    },
    {
      name: 'SCTP by a kernel that knows it',
      text: `${IP} PROTO=SCTP SPT=1 DPT=2 `,
      want: { protocol: 'sctp', tuple: { ...v4, sport: 1, dport: 2 } },
    },
    { name: 'AH', text: `${IP} PROTO=AH SPI=0x1f `, want: { protocol: 'ah', spi: '0x1f', tuple: v4 } },
    { name: 'ESP', text: `${IP} PROTO=ESP SPI=0xdeadbeef `, want: { protocol: 'esp', spi: '0xdeadbeef' } },
    {
      name: 'an echo request: ID twice',
      text: `${IP} DF PROTO=ICMP TYPE=8 CODE=0 ID=270 SEQ=12 `,
      want: { protocol: 'icmp', id: 7, icmp: { type: 8, code: 0, id: 270, seq: 12 }, tuple: v4 },
    },
    {
      name: 'an echo reply',
      text: `${IP} PROTO=ICMP TYPE=0 CODE=0 ID=270 SEQ=65535 `,
      want: { icmp: { type: 0, code: 0, id: 270, seq: 65535 } },
    },
    {
      name: 'an ICMPv6 echo request',
      text: `${IP6} PROTO=ICMPv6 TYPE=128 CODE=0 ID=5 SEQ=1 `,
      want: { protocol: 'icmpv6', id: undefined, icmp: { type: 128, code: 0, id: 5, seq: 1 } },
    },
    {
      name: 'neighbour discovery',
      text: `${IP6} PROTO=ICMPv6 TYPE=135 CODE=0 `,
      want: { icmp: { type: 135, code: 0 } },
    },
    {
      name: 'too little of TCP',
      text: `${IP} PROTO=TCP INCOMPLETE [12 bytes] `,
      want: { protocol: 'tcp', tuple: v4, tcp: undefined },
    },
    { name: 'too little of UDP', text: `${IP} PROTO=UDP INCOMPLETE [4 bytes] `, want: { protocol: 'udp', tuple: v4 } },
    {
      name: 'too little of ICMP',
      text: `${IP} PROTO=ICMP INCOMPLETE [2 bytes] `,
      want: { protocol: 'icmp', icmp: undefined },
    },
    {
      name: 'too little of an echo',
      text: `${IP} PROTO=ICMP TYPE=8 CODE=0 INCOMPLETE [6 bytes] `,
      want: { icmp: { type: 8, code: 0 } },
    },
    { name: 'no protocol we know', text: `${IP} PROTO=253 `, want: { protocol: '253', tuple: v4 } },
  ])('$name', ({ text, want }) => expectLike(header(text), want));

  it.each([
    { printed: 'SYN', flags: 'SYN' },
    { printed: 'ACK SYN', flags: 'SYN ACK' },
    { printed: 'ACK', flags: 'ACK' },
    { printed: 'ACK PSH', flags: 'PSH ACK' },
    { printed: 'ACK FIN', flags: 'FIN ACK' },
    { printed: 'RST', flags: 'RST' },
    { printed: 'ACK RST', flags: 'RST ACK' },
    { printed: '', flags: '' },
    { printed: 'CWR ECE SYN', flags: 'SYN ECE CWR' },
    { printed: 'AE CWR ECE SYN', flags: 'SYN ECE CWR AE' },
    { printed: 'CWR ECE URG ACK PSH RST SYN FIN', flags: 'SYN FIN RST PSH ACK URG ECE CWR' },
    { printed: 'NEW ACK', flags: 'ACK' },
  ])('the flags `$printed` are `$flags`, whatever the number in ACK= is', ({ printed, flags }) => {
    const words = printed === '' ? '' : `${printed} `;
    expect(header(`${IP} DF PROTO=TCP SPT=1 DPT=2 ${TCP} ${words}URGP=0 `).tcp?.flags).toBe(flags);
    expect(header(`${IP6} PROTO=TCP SPT=1 DPT=2 ${TCP} ${words}URGP=0 `).tcp?.flags).toBe(flags);
  });

  it('RES= may have any value', () => {
    const text = `${IP} DF PROTO=TCP SPT=1 DPT=2 SEQ=1 ACK=2 WINDOW=3 RES=0x3c SYN URGP=0 `;
    expect(header(text).tcp).toEqual({ flags: 'SYN', seq: 1, ack: 2, window: 3 });
  });
});

describe('fragments', () => {
  it.each<{ name: string; text: string; want: object }>([
    {
      name: 'the first: it has ports, and no offset',
      text: `${IP} MF PROTO=UDP SPT=1 DPT=2 LEN=4000 `,
      want: { fragment: undefined, tuple: { ...v4, sport: 1, dport: 2 } },
    },
    {
      name: 'a later one: its offset in bytes, no ports',
      text: `${IP} MF FRAG:185 PROTO=UDP `,
      want: { fragment: 1480, protocol: 'udp', tuple: v4 },
    },
    {
      name: 'the last',
      text: `${IP} FRAG:370 PROTO=TCP `,
      want: { fragment: 2960, protocol: 'tcp', tuple: v4, tcp: undefined },
    },
    { name: 'a later one of an echo', text: `${IP} FRAG:185 PROTO=ICMP `, want: { fragment: 1480, icmp: undefined } },
  ])('$name', ({ text, want }) => expectLike(header(text), want));
});

describe('ICMP errors and the packet they quote', () => {
  const QUOTED =
    'SRC=10.0.0.2 DST=10.0.0.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=8 DF PROTO=TCP SPT=5 DPT=6 SEQ=7 ACK=0 WINDOW=9 RES=0x00 SYN URGP=0 OPT (020405B4) ';
  const inner = {
    family: 'ip',
    protocol: 'tcp',
    length: 60,
    ttl: 63,
    id: 8,
    tuple: { src: '10.0.0.2', sport: 5, dst: '10.0.0.9', dport: 6 },
  };
  it.each<{ name: string; text: string; want: object }>([
    {
      name: 'port unreachable',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=3 [${QUOTED}] `,
      want: { id: 7, length: 84, tuple: v4, icmp: { type: 3, code: 3, inner } },
    },
    {
      name: 'fragmentation needed: MTU',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=4 [${QUOTED}] MTU=1450 `,
      want: { icmp: { type: 3, code: 4, mtu: 1450, inner } },
    },
    {
      name: 'redirect: GATEWAY',
      text: `${IP} PROTO=ICMP TYPE=5 CODE=1 GATEWAY=10.0.0.254 [${QUOTED}] `,
      want: { icmp: { type: 5, code: 1, gateway: '10.0.0.254', inner } },
    },
    {
      name: 'time exceeded',
      text: `${IP} PROTO=ICMP TYPE=11 CODE=0 [${QUOTED}] `,
      want: { icmp: { type: 11, code: 0, inner } },
    },
    {
      name: 'parameter problem',
      text: `${IP} PROTO=ICMP TYPE=12 CODE=0 PARAMETER=20 `,
      want: { icmp: { type: 12, code: 0 } },
    },
    {
      name: 'a truncated quotation',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=3 [SRC=10.0.0.2 DST=10.0.0.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=8 PROTO=TCP INCOMPLETE [8 bytes] ] `,
      want: {
        icmp: {
          type: 3,
          code: 3,
          inner: {
            family: 'ip',
            protocol: 'tcp',
            length: 60,
            ttl: 63,
            id: 8,
            tuple: { src: '10.0.0.2', dst: '10.0.0.9' },
          },
        },
      },
    },
    {
      name: 'a truncated quotation, and behind it an MTU',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=4 [SRC=10.0.0.2 DST=10.0.0.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=8 PROTO=UDP INCOMPLETE [4 bytes] ] MTU=576 `,
      want: { icmp: { type: 3, code: 4, mtu: 576, inner: { protocol: 'udp' } } },
    },
    {
      name: 'no quotation left',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=3 [TRUNCATED] `,
      want: { icmp: { type: 3, code: 3 } },
    },
    {
      name: 'an echo that was answered with an error',
      text: `${IP} PROTO=ICMP TYPE=3 CODE=3 [SRC=10.0.0.2 DST=10.0.0.9 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=9 PROTO=ICMP TYPE=8 CODE=0 ID=166 SEQ=1 ] `,
      want: {
        id: 7,
        icmp: {
          type: 3,
          code: 3,
          inner: { protocol: 'icmp', id: 9, icmp: { type: 8, code: 0, id: 166, seq: 1 } },
        },
      },
    },
    {
      name: 'a quoted fragment',
      text: `${IP} PROTO=ICMP TYPE=11 CODE=1 [SRC=10.0.0.2 DST=10.0.0.9 LEN=84 TOS=0x00 PREC=0x00 TTL=64 ID=9 FRAG:185 PROTO=UDP ] `,
      want: {
        fragment: undefined,
        icmp: { type: 11, code: 1, inner: { fragment: 1480, protocol: 'udp' } },
      },
    },
    {
      name: 'ICMPv6 port unreachable',
      text: `${IP6} PROTO=ICMPv6 TYPE=1 CODE=4 [${IP6} PROTO=UDP SPT=40000 DPT=53 LEN=40 ] `,
      want: {
        icmp: {
          type: 1,
          code: 4,
          inner: { family: 'ip6', protocol: 'udp', tuple: { ...v6, sport: 40000, dport: 53 } },
        },
      },
    },
    {
      name: 'ICMPv6 packet too big: MTU',
      text: `${IP6} PROTO=ICMPv6 TYPE=2 CODE=0 [${IP6} PROTO=TCP SPT=1 DPT=2 ${TCP} ACK URGP=0 ] MTU=1280 `,
      want: { icmp: { type: 2, code: 0, mtu: 1280, inner: { tcp: { flags: 'ACK' } } } },
    },
    {
      name: 'ICMPv6 parameter problem: POINTER',
      text: `${IP6} PROTO=ICMPv6 TYPE=4 CODE=1 POINTER=00000006 [${IP6} PROTO=253 ] `,
      want: { icmp: { type: 4, code: 1, inner: { protocol: '253' } } },
    },
  ])('$name', ({ text, want }) => expectLike(header(text), want));

  it('a mark behind the quotation is the outer packet’s', () =>
    expect(parsePacket(`${IP} PROTO=ICMP TYPE=3 CODE=3 [${QUOTED}] MARK=0x4000`)).toMatchObject({
      mark: 0x4000,
      header: { icmp: { inner } },
    }));

  it('the quotation’s fields do not become the outer packet’s', () => {
    const { tcp, fragment, spi, tuple } = header(`${IP} PROTO=ICMP TYPE=3 CODE=3 [${QUOTED}] `);
    expect({ tcp, fragment, spi, tuple }).toEqual({ tcp: undefined, fragment: undefined, spi: undefined, tuple: v4 });
  });
});

describe('what is no packet', () => {
  it.each([
    '',
    'SRC=',
    'SRC=10.0.0.1',
    'SRC=10.0.0.1 DST=',
    'SRC=10.0.0.1 DST=10.0.0',
    'SRC=10.0.0.256 DST=10.0.0.1 PROTO=47',
    'SRC=010.0.0.1 DST=10.0.0.1 PROTO=47',
    'SRC=fd00::g DST=fd00::1 PROTO=47',
    'DST=10.0.0.1 SRC=10.0.0.2 PROTO=47',
    `${IP}`,
    `${IP} PROTO=`,
    `${IP} PROTO=TCP`,
    `${IP} PROTO=TCP SPT=1`,
    `${IP} PROTO=TCP SPT=1 DPT=`,
    `${IP} PROTO=TCP SPT=1 DPT=2 SEQ=1 ACK=2 WINDOW=3 RES=0x00 SYN`,
    `${IP} PROTO=UDP`,
    `${IP} PROTO=UDP SPT=x DPT=2 LEN=3`,
    `${IP} PROTO=ICMP`,
    `${IP} PROTO=ICMP TYPE=8`,
    `${IP} PROTO=ICMP TYPE=8 CODE=0`,
    `${IP} PROTO=ICMP TYPE=8 CODE=0 ID=5`,
    `${IP} PROTO=ICMP TYPE=3 CODE=3 [SRC=10.0.0.2 DST=10.0`,
    `${IP6} PROTO=ICMPv6 TYPE=129 CODE=0 ID=5`,
  ])('%s', text => {
    const { header, problem } = parsePacket(text);
    expect(header).toBeUndefined();
    expect(problem).toMatch(/\w/);
  });
});

describe('round trip', () => {
  it('whatever the kernel prints, the same packet comes back', () =>
    check(
      fc.property(kernelHeader, fc.nat({ max: 10 }), (packet, words) => {
        expect(header(printKernelPacket(packet, [words, words]))).toEqual(packet);
      }),
    ));
});

survivesAnything(
  parsePacket,
  [
    ...some(captureLines('kmsg.txt'), 60).map(line => line.slice(line.indexOf('SRC='))),
    `${IP} PROTO=ICMP TYPE=3 CODE=4 [SRC=10.0.0.2 DST=10.0.0.9 LEN=60 TOS=0x00 PREC=0x00 TTL=63 ID=8 PROTO=TCP INCOMPLETE [8 bytes] ] MTU=576 `,
    `${IP6} PROTO=ICMPv6 TYPE=1 CODE=4 [${IP6} PROTO=UDP SPT=40000 DPT=53 LEN=40 ] `,
    `${IP} MF FRAG:185 OPT (94040000) PROTO=UDP `,
  ],
  ({ header, problem }) => {
    if (header === undefined) expect(problem).toBeTruthy();
    else {
      expect(header.tuple.src).not.toBe('');
      expect(header.tuple.dst).not.toBe('');
    }
  },
);
