import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalAddress, familyOf, hostPort, inCidr, isIPv4, parseHostPort } from '../../src/ip.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { fullIp6, ip4, ip6 } from '../support/packets.ts';

describe('the canonical text of an address', () => {
  it.each([
    { text: '10.0.0.1', want: '10.0.0.1' },
    { text: '0.0.0.0', want: '0.0.0.0' },
    { text: '255.255.255.255', want: '255.255.255.255' },
    { text: 'fe80:0000:0000:0000:0000:0000:0000:0001', want: 'fe80::1' },
    { text: 'FD00::00AB', want: 'fd00::ab' },
    { text: '::', want: '::' },
    { text: '::1', want: '::1' },
    { text: '2001:db8:0:1:1:1:1:1', want: '2001:db8:0:1:1:1:1:1' },
    { text: '2001:0:0:1:0:0:0:1', want: '2001:0:0:1::1' },
    { text: '2001:db8:0:0:1:0:0:1', want: '2001:db8::1:0:0:1' },
    ...[
      '',
      '10',
      '10.0',
      '10.0.0',
      '10.0.0.256',
      '010.0.0.1',
      '10.0.0.1.2',
      '0x0a000001',
      '10.0.0.-1',
      ' 10.0.0.1',
      '10.0.0.1/8',
    ].map(text => ({ text, want: undefined })),
    ...['fd00:', 'fd00::1::2', 'g::1', '1:2:3:4:5:6:7:8:9', 'fd00::1/64', '[fd00::1]', ':'].map(text => ({
      text,
      want: undefined,
    })),
  ])('$text', ({ text, want }) => {
    expect(canonicalAddress(text)).toBe(want);
    expect(isIPv4(text)).toBe(want !== undefined && !want.includes(':'));
  });

  it('of any IPv4 address is itself', () =>
    check(
      fc.property(ip4, text => {
        expect(canonicalAddress(text)).toBe(text);
      }),
    ));

  it('of any IPv6 address is the same from its long and its short form', () =>
    check(
      fc.property(ip6, short => {
        expect([
          canonicalAddress(short),
          canonicalAddress(fullIp6(short)),
          canonicalAddress(short.toUpperCase()),
        ]).toEqual([short, short, short]);
        expect(familyOf(short)).toBe('ip6');
      }),
    ));
});

describe('does an address lie in a prefix?', () => {
  it.each([
    { address: '10.244.1.72', cidr: '10.244.0.0/16', want: true },
    { address: '10.245.1.72', cidr: '10.244.0.0/16', want: false },
    { address: '10.0.0.1', cidr: '10.0.0.1', want: true },
    { address: '10.0.0.1', cidr: '10.0.0.1/32', want: true },
    { address: '10.0.0.2', cidr: '10.0.0.1/32', want: false },
    { address: '10.0.0.2', cidr: '0.0.0.0/0', want: true },
    { address: '10.0.0.2', cidr: '10.0.0.0/31', want: false },
    { address: '10.1.2.3', cidr: '10.0.0.0/255.0.0.0', want: true },
    { address: '11.1.2.3', cidr: '10.0.0.0/255.0.0.0', want: false },
    { address: '10.1.2.3', cidr: '10.0.0.3/255.0.0.255', want: undefined },
    { address: 'fd00::1', cidr: 'fd00::/8', want: true },
    { address: 'fe00::1', cidr: 'fd00::/8', want: false },
    { address: 'fd00::1', cidr: 'fd00:0:0:0:0:0:0:1', want: true },
    { address: 'fd00::1', cidr: '::/0', want: true },
    { address: 'fd00::1', cidr: '0.0.0.0/0', want: false },
    { address: '10.0.0.1', cidr: 'fd00::/8', want: false },
    { address: '10.0.0.1', cidr: '10.0.0.0/33', want: undefined },
    { address: '10.0.0.1', cidr: '10.0.0.0/x', want: undefined },
    { address: '10.0.0.1', cidr: 'nonsense', want: undefined },
    { address: '10.0.0.1', cidr: '', want: undefined },
    { address: 'nonsense', cidr: '10.0.0.0/8', want: undefined },
  ])('$address in $cidr: $want', ({ address, cidr, want }) => expect(inCidr(address, cidr)).toBe(want));

  it('an address lies in every prefix of its own, and with one bit changed in no longer one', () =>
    check(
      fc.property(fc.nat({ max: 0xffffffff }), fc.integer({ min: 1, max: 32 }), (bits, length) => {
        const text = (value: number) => [24, 16, 8, 0].map(shift => (value >>> shift) & 255).join('.');
        const flipped = (bits ^ (1 << (32 - length))) >>> 0;
        expect(inCidr(text(bits), `${text(bits)}/${length}`)).toBe(true);
        expect(inCidr(text(bits), `${text(flipped)}/${length}`)).toBe(false);
      }),
    ));
});

describe('an address with its port', () => {
  it.each([
    { text: '10.0.0.1:80', want: { address: '10.0.0.1', port: 80 } },
    { text: '10.0.0.1', want: { address: '10.0.0.1' } },
    { text: '[fd00::1]:80', want: { address: 'fd00::1', port: 80 } },
    { text: '[fd00::1]', want: { address: 'fd00::1' } },
    { text: 'fd00::1', want: { address: 'fd00::1' } },
    { text: 'fd00:0:0:0:0:0:0:1', want: { address: 'fd00::1' } },
    { text: 'web:80', want: undefined },
    { text: 'web', want: undefined },
    { text: '', want: undefined },
    { text: ':80', want: undefined },
    { text: '10.0.0.1:', want: undefined },
    { text: '10.0.0.1:http', want: undefined },
  ])('$text', ({ text, want }) => expect(parseHostPort(text)).toEqual(want));

  it('comes back as it was written', () =>
    check(
      fc.property(fc.oneof(ip4, ip6), fc.option(fc.nat({ max: 65535 }), { nil: undefined }), (address, port) => {
        expect(parseHostPort(hostPort(address, port))).toEqual(port === undefined ? { address } : { address, port });
      }),
    ));
});

survivesAnything(
  text => [canonicalAddress(text), parseHostPort(text), inCidr('10.0.0.1', text), inCidr(text, 'fd00::/8')],
  ['10.0.0.1:80', '[fd00::1]:443', 'fd00:10:244::/64', '10.0.0.0/255.255.0.0', '::ffff:10.0.0.1', 'fe80::1%eth0'],
  ([address]) => expect(address === undefined || canonicalAddress(address as string) === address).toBe(true),
);
