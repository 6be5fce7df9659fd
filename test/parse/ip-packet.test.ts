import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseIpPacket } from '../../src/parse/ip-packet.ts';
import { check } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { byteHeader, packetBytes } from '../support/packet-bytes.ts';

const bytes = (hex: string) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const V4 = '4500 0054 4b9f 4000 40 01 0000 0a000001 0a000002';
const V6 = '60000000 0014 06 3f fd000000000000000000000000000001 20010db8000000010000000000000002';

describe('a packet’s bytes', () => {
  it.each([
    {
      name: 'an echo request',
      hex: `${V4} 0800 0000 0166 0001`,
      want: {
        family: 'ip',
        protocol: 'icmp',
        length: 84,
        ttl: 64,
        id: 0x4b9f,
        tuple: { src: '10.0.0.1', dst: '10.0.0.2' },
        icmp: { type: 8, code: 0, id: 0x166, seq: 1 },
      },
    },
    {
      name: 'TCP over IPv6',
      hex: `${V6} 1234 0050 00000001 00000002 5012 00ff 0000 0000`,
      want: {
        family: 'ip6',
        protocol: 'tcp',
        length: 60,
        ttl: 63,
        id: undefined,
        tuple: { src: 'fd00::1', sport: 0x1234, dst: '2001:db8:0:1::2', dport: 80 },
        tcp: { flags: 'SYN ACK', seq: 1, ack: 2, window: 255 },
      },
    },
    {
      name: 'IPv4 with options',
      hex: `46${V4.slice(2).replace('01 0000', '11 0000')} 94040000 0001 0002 0008 0000`,
      want: { protocol: 'udp', tuple: { src: '10.0.0.1', sport: 1, dst: '10.0.0.2', dport: 2 } },
    },
    { name: 'a later fragment', hex: V4.replace('4000', '20b9'), want: { fragment: 1480, icmp: undefined } },
    {
      name: 'a later IPv6 fragment',
      hex: `${V6.replace('06 3f', '2c 3f')} 1100 05c8 0000abcd 1234 5678`,
      want: { protocol: 'udp', fragment: 1480, id: 0xabcd, tuple: { sport: undefined, dport: undefined } },
    },
    {
      name: 'a first IPv6 fragment',
      hex: `${V6.replace('06 3f', '2c 3f')} 1100 0001 0000abcd 0001 0002 0008 0000`,
      want: { fragment: undefined, id: 0xabcd, tuple: { sport: 1, dport: 2 } },
    },
    {
      name: 'IPv6 with a hop-by-hop header',
      hex: `${V6.replace('06 3f', '00 3f')} 1100 0000 00000000 0001 0002 0008 0000`,
      want: { protocol: 'udp', tuple: { sport: 1, dport: 2 } },
    },
    {
      name: 'too little of TCP',
      hex: `${V6} 1234 0050 00000001`,
      want: { protocol: 'tcp', tcp: undefined, tuple: { sport: 0x1234, dport: 80 } },
    },
    { name: 'nothing behind the IP header', hex: V4, want: { protocol: 'icmp', icmp: undefined } },
    {
      name: 'an error and what it quotes',
      hex: `${V4} 0303 0000 00000000 4500 003c 0007 4000 3f 06 0000 0a000002 0a000009 0005 0006 00000007`,
      want: {
        icmp: {
          type: 3,
          code: 3,
          id: undefined,
          inner: {
            protocol: 'tcp',
            id: 7,
            tuple: { src: '10.0.0.2', sport: 5, dst: '10.0.0.9', dport: 6 },
            tcp: undefined,
          },
        },
      },
    },
  ])('$name', ({ hex, want }) => expectLike(parseIpPacket(bytes(hex)), want));

  it.each(['', '45', V4.slice(0, -2), V6.slice(0, -2), `25${V4.slice(2)}`, '00'.repeat(60)])('none in %j', hex =>
    expect(parseIpPacket(bytes(hex))).toBeUndefined(),
  );

  it('whatever packet it is, the same fields come back', () =>
    check(
      fc.property(byteHeader, header => {
        expect(parseIpPacket(Uint8Array.from(packetBytes(header)))).toEqual(header);
      }),
    ));

  it('survives any bytes', () =>
    check(
      fc.property(fc.constantFrom(0x45, 0x4f, 0x40, 0x60, 0), fc.uint8Array({ maxLength: 200 }), (first, rest) => {
        const header = parseIpPacket(Uint8Array.from([first, ...rest]));
        if (header) expect([header.tuple.src, header.tuple.dst, header.protocol]).not.toContain('');
      }),
    ));
});
