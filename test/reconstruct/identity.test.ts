import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { PacketHeader, Tuple } from '../../src/model.ts';
import { packetKey, reversed, samePacket, sameTuple, tupleMayBecome } from '../../src/reconstruct/identity.ts';
import { packetLabel } from '../../src/reconstruct/label.ts';
import { type Fields, headerOf, nftHeaderOf } from './packets.ts';

describe('one packet before and after it was rewritten', () => {
  const BEFORE: Fields = { id: 7, seq: 99 };
  test.each<[string, Fields, Fields]>([
    ['another destination', BEFORE, { ...BEFORE, dst: '10.244.2.9', dpt: 8080 }],
    ['another source and port', BEFORE, { ...BEFORE, src: '172.30.0.11', spt: 1025 }],
    ['both ends', BEFORE, { ...BEFORE, src: '172.30.0.11', spt: 1025, dst: '10.244.2.9', dpt: 8080 }],
    ['one hop further: a smaller TTL', BEFORE, { ...BEFORE, ttl: 63 }],
    ['a mark', BEFORE, { ...BEFORE, mark: 0x4000 }],
    [
      'an echo whose id source NAT has changed',
      { proto: 'ICMP', echo: 7 },
      { proto: 'ICMP', echo: 1025, src: '172.30.0.11' },
    ],
  ])('%s', (_, one, other) => {
    const [a, b] = [headerOf(one), headerOf(other)];
    expect(samePacket(a, b)).toBe(true);
    expect(packetKey(a)).toBe(packetKey(b));
    expect(tupleMayBecome(a, b)).toBe(true);
  });

  test.each<[string, Fields, Fields]>([
    ['another IP id', {}, { id: 101 }],
    ['another length', {}, { len: 61 }],
    ['other flags', {}, { flags: 'ACK' }],
    ['another window', {}, { window: 1 }],
    ['another sequence number', {}, { seq: 1001 }],
    ['another acknowledgement', { flags: 'ACK' }, { flags: 'ACK', ack: 5 }],
    ['another echo', { proto: 'ICMP' }, { proto: 'ICMP', echoSeq: 2 }],
    ['the echo and its reply', { proto: 'ICMP' }, { proto: 'ICMP', type: 0 }],
    ['another protocol', { proto: 'UDP' }, { proto: 'TCP' }],
    [
      'errors that quote different packets',
      { proto: 'ICMP', type: 3, code: 3, quotes: { id: 1 } },
      { proto: 'ICMP', type: 3, code: 3, quotes: { id: 2 } },
    ],
  ])('not with %s', (_, one, other) => {
    expect(samePacket(headerOf(one), headerOf(other))).toBe(false);
  });

  test('nft prints no sequence numbers: the kernel log and nft agree on the same packet all the same', () => {
    const legacy = headerOf({ seq: 123_456 });
    const nft = nftHeaderOf({});
    expect(nft.tcp?.seq).toBeUndefined();
    expect(samePacket(legacy, nft)).toBe(true);
    expect(packetKey(legacy)).toBe(packetKey(nft));
  });

  test('without an IP id and a sequence number, one end must be unchanged', () => {
    const udp: Fields = { proto: 'UDP', id: 0 };
    const both = headerOf({ ...udp, src: '172.30.0.11', spt: 9, dst: '10.244.2.9', dpt: 8 });
    expect(tupleMayBecome(headerOf(udp), headerOf({ ...udp, dst: '10.244.2.9', dpt: 8 }))).toBe(true);
    expect(tupleMayBecome(headerOf(udp), headerOf({ ...udp, src: '172.30.0.11', spt: 9 }))).toBe(true);
    expect(tupleMayBecome(headerOf(udp), both)).toBe(false);
    expect(tupleMayBecome(headerOf({ ...udp, id: 5 }), { ...both, id: 5 })).toBe(true);
  });
});

const port = fc.integer({ min: 1, max: 65_535 });
const address = fc.ipV4();
const fields: fc.Arbitrary<Fields> = fc.record({
  src: address,
  dst: address,
  spt: port,
  dpt: port,
  id: fc.nat(65_535),
  len: fc.integer({ min: 40, max: 1500 }),
  seq: fc.nat(2 ** 31),
  window: fc.nat(65_535),
});

describe('properties', () => {
  test('the same packet has the same key, whatever happens to its addresses', () => {
    fc.assert(
      fc.property(fields, fields, (a, b) => {
        const moved = { ...a, src: b.src as string, dst: b.dst as string, spt: b.spt as number, dpt: b.dpt as number };
        expect(packetKey(headerOf(a))).toBe(packetKey(headerOf(moved)));
        expect(samePacket(headerOf(a), headerOf(moved))).toBe(true);
      }),
    );
  });

  test('being the same packet asks neither order nor who is asked', () => {
    fc.assert(
      fc.property(fields, fields, (a, b) => {
        const [one, other] = [headerOf(a), headerOf(b)];
        expect(samePacket(one, other)).toBe(samePacket(other, one));
        expect(samePacket(one, one)).toBe(true);
        if (samePacket(one, other)) expect(packetKey(one)).toBe(packetKey(other));
      }),
    );
  });

  test('reversed twice is itself', () => {
    fc.assert(
      fc.property(fields, ({ src, dst, spt, dpt }) => {
        const tuple: Tuple = { src: src as string, sport: spt as number, dst: dst as string, dport: dpt as number };
        expect(reversed(reversed(tuple))).toEqual(tuple);
        expect(
          sameTuple(reversed(tuple), { src: tuple.dst, sport: dpt as number, dst: tuple.src, dport: spt as number }),
        ).toBe(true);
      }),
    );
    expect(reversed({ src: '1.1.1.1', dst: '2.2.2.2' })).toEqual({ src: '2.2.2.2', dst: '1.1.1.1' });
  });
});

describe('what a person calls a packet', () => {
  test.each<[string, Fields]>([
    ['SYN', {}],
    ['SYN ACK', { flags: 'ACK SYN' }],
    ['FIN ACK', { flags: 'ACK FIN' }],
    ['datagram', { proto: 'UDP' }],
    ['echo request 1', { proto: 'ICMP' }],
    ['echo reply 4', { proto: 'ICMP', type: 0, echoSeq: 4 }],
    ['port unreachable', { proto: 'ICMP', type: 3, code: 3, quotes: {} }],
    ['host unreachable', { proto: 'ICMP', type: 3, code: 1, quotes: {} }],
    ['administratively prohibited', { proto: 'ICMP', type: 3, code: 13, quotes: {} }],
    ['TTL exceeded', { proto: 'ICMP', type: 11, code: 0, quotes: {} }],
    ['type 3 code 7', { proto: 'ICMP', type: 3, code: 7, quotes: {} }],
  ])('%s', (label, given) => {
    expect(packetLabel(headerOf(given))).toBe(label);
  });

  test('a fragment is called a fragment, whatever it carries', () => {
    const header: PacketHeader = { ...headerOf({}), fragment: 1480 };
    expect(packetLabel(header)).toBe('fragment at 1480');
  });
});
