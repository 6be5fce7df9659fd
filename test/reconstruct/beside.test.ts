/**
 * Chains of family bridge, arp and netdev stand beside the hooks of IP. nft tells of the frames that pass them, under the packet's
 * trace id or another; where one ends there, so does the packet it holds.
 */
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import type { Report } from '../../src/model.ts';
import { captureWith, type Fields, kernelLine, nftPacket, nftPolicy, rulesOf } from './packets.ts';

const RULES = `table ip nat {
	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
	}
	chain POSTROUTING {
		type nat hook postrouting priority srcnat; policy accept;
	}
}
table bridge fw {
	chain fwd {
		type filter hook forward priority 0; policy accept;
		ip daddr 10.244.2.9 drop
	}
	chain out {
		type filter hook output priority 0; policy drop;
	}
}
table netdev fw {
	chain leaving {
		type filter hook egress device "eth0" priority 0; policy accept;
		ip daddr 10.244.2.9 counter packets 7 bytes 420 drop comment "by hand"
	}
}
`;

const IN: Fields = { in: 'veth1' };
const OUT: Fields = { out: 'eth0', ttl: 63, dst: '10.244.2.9', dpt: 8080 };

/** The frame a packet is in, as a chain of another family shows it: `bridge fw fwd`. */
const frame = (id: string, where: string, fields: Fields = OUT) =>
  nftPacket(id, '-', fields).replace(`${id} ip - packet`, `${id} ${where} packet`);

const ARRIVES = [nftPacket('a1', 'nat PREROUTING', IN), nftPolicy('a1', 'nat PREROUTING')];
const LEAVES = [nftPacket('a1', 'nat POSTROUTING', OUT), nftPolicy('a1', 'nat POSTROUTING')];
const ARRIVES_LEGACY = [kernelLine('raw:PREROUTING:policy:1', IN), kernelLine('mangle:PREROUTING:policy:1', IN)];
const LEAVES_LEGACY = [
  kernelLine('mangle:FORWARD:policy:1', { ...OUT, in: 'veth1' }),
  kernelLine('mangle:POSTROUTING:policy:1', OUT),
];

const dropped = (id: string, where: string, rule = 'ip daddr 10.244.2.9') =>
  `trace id ${id} ${where} rule ${rule} drop (verdict drop)`;

/** nft at an interface's egress knows no protocol: IPv4, 10.244.1.5:40000 > 10.244.2.9:8080, id 100, SYN, window 64240. */
const BYTES =
  '@nh,0,160 0x4500003c00644000' + '3f0600000af401050af40209 @th,0,160 0x9c401f90000003e800000000a002faf000000000';

function reportOf(lines: string[], rules = RULES): Report {
  return analyse(captureWith(lines, rules === '' ? {} : { rules: rulesOf(rules) }));
}

const last = ({ journeys }: Report) => journeys[0]?.hops.at(-1);

describe('a frame that ends beside the hooks of IP', () => {
  test.each([
    {
      name: "in the bridge's chain, with the packet's trace id",
      lines: [...ARRIVES, frame('a1', 'bridge fw fwd'), dropped('a1', 'bridge fw fwd')],
      hop: {
        hook: 'forward',
        table: 'bridge fw',
        chain: 'fwd',
        rule: 1,
        verdict: 'DROP',
        text: 'ip daddr 10.244.2.9 drop',
      },
    },
    {
      name: 'under another trace id',
      lines: [...ARRIVES, frame('b2', 'bridge fw fwd'), dropped('b2', 'bridge fw fwd')],
      hop: { hook: 'forward', table: 'bridge fw', rule: 1 },
    },
    {
      name: 'though the line with its header is lost',
      lines: [...ARRIVES, dropped('a1', 'bridge fw fwd')],
      hop: { hook: 'forward', table: 'bridge fw', rule: 1 },
    },
    {
      name: "at the bridge's output, which comes behind the last hook of IP, by the chain's policy",
      lines: [...ARRIVES, ...LEAVES, frame('a1', 'bridge fw out'), 'trace id a1 bridge fw out policy drop '],
      hop: { hook: 'postrouting', table: 'bridge fw', chain: 'out', event: 'policy', verdict: 'DROP' },
    },
    {
      name: "at an interface's egress, where nft prints bytes",
      lines: [
        ...ARRIVES,
        ...LEAVES,
        `trace id c3 netdev fw leaving packet: oif "eth0" ${BYTES} `,
        dropped('c3', 'netdev fw leaving', 'ip daddr 10.244.2.9 counter packets 2 bytes 120').replace(
          'drop (',
          'drop comment "by hand" (',
        ),
      ],
      hop: { hook: 'postrouting', table: 'netdev fw', chain: 'leaving', rule: 1, comment: 'by hand', out: 'eth0' },
    },
    {
      name: 'of a packet that only the legacy tables saw',
      lines: [
        ...ARRIVES_LEGACY,
        ...LEAVES_LEGACY,
        frame('a1', 'bridge fw out'),
        'trace id a1 bridge fw out policy drop ',
      ],
      hop: { hook: 'postrouting', table: 'bridge fw', chain: 'out', verdict: 'DROP' },
    },
    {
      name: 'in a chain of a table called nat: which the nat of IP it is not',
      lines: [...ARRIVES, ...LEAVES, frame('a1', 'bridge nat x'), dropped('a1', 'bridge nat x')],
      rules: '',
      hop: { hook: 'postrouting', table: 'bridge nat', chain: 'x', verdict: 'DROP' },
    },
  ])('$name', ({ lines, rules, hop }) => {
    const report = reportOf(lines, rules);
    expect(report.journeys).toHaveLength(1);
    expect(last(report)).toMatchObject({ ...hop, backend: 'nft', family: 'ip' });
    expect(report.journeys[0]).toMatchObject({ outcome: 'dropped', gaps: 0 });
    expect(report.completeness).toMatchObject({ gaps: 0, unrecognised: { count: 0 } });
  });

  test.each([
    {
      name: 'holds no packet of IP',
      lines: ['trace id b2 arp fw fwd packet: iif "veth1" arp operation request ', dropped('b2', 'arp fw fwd')],
    },
    { name: 'is of an id nobody knows', lines: [dropped('b2', 'bridge fw fwd')] },
  ])('is not understood where it $name', ({ lines }) => {
    const report = reportOf([...ARRIVES, ...lines]);
    expect(report.journeys.map(journey => journey.outcome)).toEqual(['unknown']);
    expect(report.completeness).toMatchObject({ complete: false, unrecognised: { count: 1 } });
  });

  test('is of the packet it holds, and of no other', () => {
    const other = frame('a1', 'bridge fw fwd', { ...OUT, id: 7 });
    const report = reportOf([...ARRIVES, other, dropped('a1', 'bridge fw fwd')]);
    expect(report.journeys.map(journey => [journey.packet.id, journey.outcome])).toEqual([
      [100, 'unknown'],
      [7, 'dropped'],
    ]);
  });

  test('and comes again is another packet each time', () => {
    const again = { ...OUT, id: 101 };
    const report = reportOf([
      ...ARRIVES,
      frame('a1', 'bridge fw fwd'),
      dropped('a1', 'bridge fw fwd'),
      nftPacket('a1', 'nat PREROUTING', { ...IN, id: 101 }),
      nftPolicy('a1', 'nat PREROUTING'),
      frame('a1', 'bridge fw fwd', again),
      dropped('a1', 'bridge fw fwd'),
    ]);
    expect(report.journeys.map(journey => [journey.packet.id, journey.outcome])).toEqual([
      [100, 'dropped'],
      [101, 'dropped'],
    ]);
    expect(report.completeness.gaps).toBe(0);
  });
});

/** Of the IPv6 packets of a connection, and of those with id 0, nothing tells one from the next but where it is. */
const AGAIN: Fields = { id: 0 };
const passes = (id: string): string[] => [
  nftPacket(id, 'nat PREROUTING', { ...IN, ...AGAIN }),
  nftPolicy(id, 'nat PREROUTING'),
  nftPacket(id, 'nat POSTROUTING', { ...OUT, ...AGAIN }),
  nftPolicy(id, 'nat POSTROUTING'),
];
const ARP = 'packet: iif "veth1" arp operation request ';

describe('is not the end of a packet', () => {
  test.each([
    {
      name: 'under whose trace id the frame holds none of IP',
      lines: [...passes('a1'), `trace id a1 arp fw in ${ARP}`, 'trace id a1 arp fw in policy drop '],
      outcomes: ['left-node'],
      unrecognised: 1,
    },
    {
      name: 'whose frame had passed before',
      lines: [
        ...passes('a1'),
        frame('a1', 'bridge fw out', { ...OUT, ...AGAIN }),
        'trace id a1 bridge fw out policy accept ',
        `trace id a1 bridge fw out ${ARP}`,
        'trace id a1 bridge fw out policy drop ',
      ],
      outcomes: ['left-node'],
      unrecognised: 1,
    },
    {
      name: 'that is further than the frame',
      lines: [
        ...passes('a1'),
        frame('b2', 'bridge fw fwd', { ...OUT, ...AGAIN, ttl: 63 }),
        dropped('b2', 'bridge fw fwd'),
      ],
      outcomes: ['left-node', 'dropped'],
      unrecognised: 0,
    },
    {
      name: 'that has been routed, where the frame has not',
      lines: [
        ...passes('a1'),
        frame('b2', 'bridge fw out', { ...OUT, ...AGAIN, ttl: 64 }),
        'trace id b2 bridge fw out policy drop ',
      ],
      outcomes: ['left-node', 'dropped'],
      unrecognised: 0,
    },
    {
      name: 'that came by later',
      lines: [
        frame('a1', 'netdev fw leaving', { ...IN, ...AGAIN }),
        dropped('a1', 'netdev fw leaving'),
        ...passes('a1'),
      ],
      outcomes: ['dropped', 'left-node'],
      unrecognised: 0,
    },
  ])('$name', ({ lines, outcomes, unrecognised }) => {
    const report = reportOf(lines);
    expect(report.journeys.map(journey => journey.outcome)).toEqual(outcomes);
    expect(report.findings.map(({ kind }) => kind)).not.toContain('RulesChanged');
    expect(report.completeness.unrecognised.count).toBe(unrecognised);
  });
});

describe('what stands there twice ends one packet', () => {
  const EBTABLES = [...ARRIVES, frame('a1', 'bridge filter FORWARD'), dropped('a1', 'bridge filter FORWARD')];
  const IN_FILTER = [
    ...ARRIVES,
    nftPacket('a1', 'filter FORWARD', OUT),
    nftPolicy('a1', 'filter FORWARD'),
    ...EBTABLES.slice(ARRIVES.length),
  ];
  test.each([
    { name: 'line by line', traces: [EBTABLES.flatMap(line => [line, line])] },
    { name: 'in two files', traces: [EBTABLES, EBTABLES] },
    { name: "in two files, with a chain of IP's of the same name", traces: [IN_FILTER, IN_FILTER] },
  ])('$name', ({ traces }) => {
    const capture = captureWith([]);
    const named = traces.map((lines, i) => ({ name: `t${i}`, text: lines.join('\n') }));
    const report = analyse({ ...capture, traces: named });
    expect(report.journeys.map(journey => journey.outcome)).toEqual(['dropped']);
    expect(report.journeys[0]?.hops.filter(hop => hop.verdict === 'DROP')).toHaveLength(1);
    expect(last(report)?.table).toBe('bridge filter');
    expect(report.findings.map(({ kind }) => kind)).not.toContain('RulesChanged');
  });
});

test('a frame that passes there is no step of the way', () => {
  const report = reportOf([
    ...ARRIVES,
    'trace id a1 bridge fw fwd conntrack: ct direction original ct state new ct id 7',
    frame('a1', 'bridge fw fwd'),
    'trace id a1 bridge fw fwd policy accept ',
    ...LEAVES,
  ]);
  expect(report.journeys[0]?.hops.map(hop => hop.table)).not.toContain('bridge fw');
  expect(report.journeys[0]?.outcome).toBe('left-node');
  expect(report.completeness).toMatchObject({ events: 4, unrecognised: { count: 0 } });
});
