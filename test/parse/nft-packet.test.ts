/** The header dump of `nft monitor trace`, in the spellings of nft 0.9 to 1.1, with names and with numbers. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type NftPacket, parseNftPacket } from '../../src/parse/nft-packet.ts';
import { captureLines, some } from '../support/captures.ts';
import { check, survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';
import { nftDump, printNftPacket } from '../support/packets.ts';

function packet(text: string): NftPacket {
  const parsed = parseNftPacket(text);
  expect(parsed).not.toBeTypeOf('string');
  return parsed as NftPacket;
}

const ETHER = 'ether saddr 36:04:b4:d3:e0:80 ether daddr 4a:b6:be:bc:69:8a';
const IP = `iif "cni0" ${ETHER} ip saddr 10.244.1.72 ip daddr 10.96.0.1 ip dscp 0x00 ip ecn 0x0 ip ttl 64 ip id 13233`;
const IP6 =
  `iif "cni0" ${ETHER} ip6 saddr fd00:10:244::48 ip6 daddr fd00:10:96::1 ip6 dscp cs0 ip6 ecn not-ect ` +
  'ip6 hoplimit 63 ip6 flowlabel 727872';
const v4 = { src: '10.244.1.72', dst: '10.96.0.1' };
const v6 = { src: 'fd00:10:244::48', dst: 'fd00:10:96::1' };

describe('the IP header', () => {
  it.each([
    {
      name: 'nft 1.0, numeric',
      text: `${IP} ip length 60 tcp sport 33956 tcp dport 80 tcp flags 0x2 tcp window 64240`,
      want: {
        family: 'ip',
        protocol: 'tcp',
        length: 60,
        ttl: 64,
        id: 13233,
        tuple: { ...v4, sport: 33956, dport: 80 },
      },
    },
    {
      name: 'named DSCP and ECN, and the protocol',
      text: `${IP.replace('0x00', 'cs0').replace('0x0', 'not-ect')} ip protocol tcp ip length 60 tcp sport 1 tcp dport 2`,
      want: { protocol: 'tcp', length: 60, ttl: 64, id: 13233 },
    },
    { name: 'the protocol by number', text: `${IP} ip protocol 17 ip length 60`, want: { protocol: 'udp', tuple: v4 } },
    {
      name: 'a protocol without a name',
      text: `${IP} ip protocol 253 ip length 60`,
      want: { protocol: '253', tuple: v4 },
    },
    {
      name: 'IPv6: the length with its header, as the kernel log has it',
      text: `${IP6} ip6 nexthdr tcp ip6 length 40 tcp sport 33956 tcp dport 80 tcp flags == syn tcp window 64800`,
      want: {
        family: 'ip6',
        protocol: 'tcp',
        length: 80,
        ttl: 63,
        id: undefined,
        tuple: { ...v6, sport: 33956, dport: 80 },
      },
    },
    { name: 'IPv6 by number', text: `${IP6} ip6 nexthdr 58 ip6 length 64`, want: { protocol: 'icmpv6' } },
    {
      name: 'IPv6 with ICMPv6 by name',
      text: `${IP6} ip6 nexthdr ipv6-icmp ip6 length 64`,
      want: { protocol: 'icmpv6' },
    },
    {
      name: 'a later fragment: its offset in bytes',
      text: `${IP} ip frag-off 0x20b9 ip protocol udp ip length 1500`,
      want: { protocol: 'udp', fragment: 1480, tuple: v4 },
    },
    {
      name: 'do not fragment is no offset',
      text: `${IP} ip frag-off 0x4000 ip protocol udp ip length 28`,
      want: { fragment: undefined },
    },
    { name: 'an offset in decimal', text: `${IP} ip frag-off 185 ip protocol udp`, want: { fragment: 1480 } },
    {
      name: 'a long address in its short form',
      text: 'iif "lo" ip6 saddr 2001:0db8:0000:0000:0000:0000:0000:0001 ip6 daddr ::1 ip6 nexthdr 6',
      want: { tuple: { src: '2001:db8::1', dst: '::1' } },
    },
  ])('$name', ({ text, want }) => expectLike(packet(text).header, want));
});

describe('the transport', () => {
  const TCP = `${IP} ip protocol tcp ip length 60 tcp sport 49802 tcp dport 80`;
  it.each([
    { printed: 'tcp flags == 0x2', flags: 'SYN' },
    { printed: 'tcp flags 0x12', flags: 'SYN ACK' },
    { printed: 'tcp flags == 0x12', flags: 'SYN ACK' },
    { printed: 'tcp flags 0xc2', flags: 'SYN ECE CWR' },
    { printed: 'tcp flags 24', flags: 'PSH ACK' },
    { printed: 'tcp flags syn', flags: 'SYN' },
    { printed: 'tcp flags == syn', flags: 'SYN' },
    { printed: 'tcp flags syn | ack', flags: 'SYN ACK' },
    { printed: 'tcp flags == syn | ack', flags: 'SYN ACK' },
    { printed: 'tcp flags fin,ack', flags: 'FIN ACK' },
    { printed: 'tcp flags fin,psh,ack', flags: 'FIN PSH ACK' },
    { printed: 'tcp flags == fin | psh | ack | urg', flags: 'FIN PSH ACK URG' },
    { printed: 'tcp flags rst', flags: 'RST' },
    { printed: 'tcp flags 0x0', flags: '' },
  ])('`$printed` is `$flags`', ({ printed, flags }) =>
    expect(packet(`${TCP} ${printed} tcp window 64860 `).header.tcp).toEqual({ flags, window: 64860 }),
  );

  it.each([
    {
      name: 'UDP with its payload behind',
      text: `${IP} ip length 31 udp sport 43318 udp dport 53 udp length 11 @th,64,24 0x68690a `,
      want: { protocol: 'udp', tuple: { ...v4, sport: 43318, dport: 53 } },
    },
    {
      name: 'ports by name',
      text: `${IP} ip protocol tcp tcp sport ssh tcp dport https tcp flags == ack tcp window 1`,
      want: { tuple: { ...v4, sport: 22, dport: 443 } },
    },
    {
      name: 'DNS by name',
      text: `${IP} ip protocol udp udp sport 43318 udp dport domain udp length 11`,
      want: { tuple: { ...v4, sport: 43318, dport: 53 } },
    },
    {
      name: 'SCTP',
      text: `${IP} ip protocol sctp ip length 60 sctp sport 1 sctp dport 2 sctp vtag 0`,
      want: { protocol: 'sctp', tuple: { ...v4, sport: 1, dport: 2 } },
    },
    { name: 'ESP', text: `${IP} ip protocol esp ip length 60 esp spi 17`, want: { protocol: 'esp', tuple: v4 } },
    {
      name: 'an echo request by number',
      text: `${IP} ip length 84 icmp type 8 icmp code 0 icmp id 388 icmp sequence 1 @th,64,96 0x1007016b000000006a020d00 `,
      want: { protocol: 'icmp', icmp: { type: 8, code: 0, id: 388, seq: 1 } },
    },
    {
      name: 'an echo request by name',
      text: `${IP} ip protocol icmp ip length 84 icmp type echo-request icmp code 0 icmp id 388 icmp sequence 1`,
      want: { protocol: 'icmp', icmp: { type: 8, code: 0, id: 388, seq: 1 } },
    },
    {
      name: 'code 0 by the name it has in other types',
      text: `${IP} ip protocol icmp icmp type echo-reply icmp code net-unreachable icmp id 388 icmp sequence 1`,
      want: { icmp: { type: 0, code: 0, id: 388, seq: 1 } },
    },
    {
      name: 'port unreachable, and the packet it answers',
      text: `${IP} ip length 112 icmp type 3 icmp code 3 icmp id 0 icmp sequence 0 @th,64,96 0x450000544b9f40004001d8f1 `,
      want: {
        icmp: { type: 3, code: 3, id: undefined, seq: undefined, quoted: { protocol: 'icmp', length: 84, id: 0x4b9f } },
      },
    },
    {
      name: 'port unreachable by name',
      text: `${IP} ip protocol icmp icmp type destination-unreachable icmp code port-unreachable icmp id 0 icmp sequence 0`,
      want: { icmp: { type: 3, code: 3, quoted: undefined } },
    },
    {
      name: 'a quotation of something that is not IPv4',
      text: `${IP} icmp type 3 icmp code 1 @th,64,96 0x600000544b9f40004001d8f1`,
      want: { icmp: { type: 3, code: 1, quoted: undefined } },
    },
    {
      name: 'an ICMPv6 echo request by name',
      text: `${IP6} ip6 nexthdr ipv6-icmp ip6 length 64 icmpv6 type echo-request icmpv6 code no-route icmpv6 id 5 icmpv6 sequence 9`,
      want: { protocol: 'icmpv6', icmp: { type: 128, code: 0, id: 5, seq: 9 } },
    },
    {
      name: 'ICMPv6 port unreachable by name',
      text: `${IP6} ip6 nexthdr ipv6-icmp icmpv6 type destination-unreachable icmpv6 code port-unreachable`,
      want: { icmp: { type: 1, code: 4 } },
    },
    {
      name: 'neighbour solicitation by name',
      text: `${IP6} ip6 nexthdr ipv6-icmp icmpv6 type nd-neighbor-solicit icmpv6 code no-route`,
      want: { icmp: { type: 135, code: 0 } },
    },
  ])('$name', ({ text, want }) => expectLike(packet(text).header, want));
});

describe('around the packet', () => {
  it.each([
    { name: 'in', text: IP, want: { in: 'cni0' } },
    { name: 'in and out', text: IP.replace('iif "cni0"', 'iif "cni0" oif "eth0"'), want: { in: 'cni0', out: 'eth0' } },
    { name: 'out', text: IP.replace('iif "cni0"', 'oif "eth0"'), want: { out: 'eth0' } },
    { name: 'neither', text: IP.replace('iif "cni0" ', ''), want: {} },
    { name: 'the names of interfaces that are gone', text: IP.replace('iif', 'iifname'), want: { in: 'cni0' } },
    { name: 'an interface by its number', text: IP.replace('"cni0"', '7'), want: { in: '7' } },
  ])('interfaces: $name', ({ text, want }) => {
    const { id: _, ...via } = packet(`${text} ip protocol tcp`).via;
    expect(via).toEqual(want);
  });

  it.each([
    { text: `${IP} meta mark 0x00004000`, mark: 0x4000 },
    { text: `${IP} meta mark 7`, mark: 7 },
    { text: IP, mark: undefined },
  ])('mark $mark', ({ text, mark }) => expect(packet(text).mark).toBe(mark));

  it.each([
    { name: 'a VLAN', text: IP.replace(ETHER, `${ETHER} vlan id 7 vlan pcp 0 vlan type ip`) },
    { name: 'the type of the frame', text: IP.replace(ETHER, `${ETHER} ether type ip`) },
    { name: 'raw bytes of the network header', text: `${IP} @nh,160,32 0x94040000` },
  ])('$name is passed over', ({ text }) =>
    expectLike(packet(`${text} tcp sport 1 tcp dport 2`).header, {
      protocol: 'tcp',
      tuple: { ...v4, sport: 1, dport: 2 },
    }),
  );
});

describe('what is no packet', () => {
  it.each([
    '',
    'iif "cni0"',
    'iif "cni0" ip saddr 10.0.0.1',
    'iif "cni0" ip saddr 10.0.0.1 ip daddr 10.0.0',
    'iif "cni0" ip saddr ip daddr 10.0.0.1',
    'iif "cni0" ip6 saddr fd00::1 ip daddr 10.0.0.1',
    'iif "eth0" arp operation request',
  ])('%j', text => expect(parseNftPacket(text)).toBe('no addresses in the packet dump'));
});

describe('round trip', () => {
  it('whatever nft prints, the same packet comes back', () =>
    check(
      fc.property(nftDump, dump => {
        const { header, via } = packet(printNftPacket(dump));
        expect(header).toEqual(dump.header);
        expect([via.in, via.out ?? '']).toEqual([dump.in, dump.out]);
      }),
    ));
});

survivesAnything(
  parseNftPacket,
  some(
    captureLines('nft-monitor.txt').filter(line => line.includes(' packet: ')),
    80,
  ).map(line => line.slice(line.indexOf('packet: ') + 8)),
  result => {
    if (typeof result === 'string') expect(result).not.toBe('');
    else expect([result.header.tuple.src, result.header.tuple.dst]).not.toContain('');
  },
);
