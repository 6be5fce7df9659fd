/**
 * The rules that make the kernel trace a pod's packets, and nothing else. They carry the run's id and stop by themselves:
 * an nft table goes with the process that owns it, a raw rule no longer matches after its date.
 */
import { familyOf } from '../ip.ts';
import type { Family } from '../model.ts';

export interface TraceScope {
  /** Letters and digits; every rule carries it. */
  run: string;
  podIps: string[];
  /** What the probes send: one rule each. */
  ports: { protocol: 'tcp' | 'udp'; port: number }[];
  /** The pod has traffic of its own: only packets to these ports and echo requests are looked at. */
  busy?: boolean;
}

/** Packets a second that are traced at most, of each kind: a busy pod must not fill the log. */
const RATE = 500;
const BURST = 1000;

/** A name for the injecting table; nobody else's begins like that. */
export function tableName(run: string): string {
  return `trace_svc_${run}`;
}

/**
 * The injecting table as nft commands, one a line. Only plain matches, never a set or a map, not even an anonymous one: an
 * older nft that reads them crashes (kubernetes#136786). Chains stand before raw (-300), behind conntrack (-200, where the
 * reply's original source is known), and behind source NAT (100), so that the packet is seen before and after both.
 */
export function nftCommands(scope: TraceScope): string[] {
  const families = new Set(scope.podIps.map(familyOf));
  return [...families].flatMap(family => {
    const table = `${family} ${tableName(scope.run)}`;
    return [
      `add table ${table} { flags owner; }`,
      ...CHAINS.map(
        ([name, hook, priority]) => `add chain ${table} ${name} { type filter hook ${hook} priority ${priority}; }`,
      ),
      ...scope.podIps.filter(ip => familyOf(ip) === family).flatMap(pod => podRules(scope, table, family, pod)),
    ];
  });
}

/**
 * For method raw on a node that has nft tables as well. The mark that legacy TRACE sets is one for both, but the kernel lets nft
 * tables speak only while some nft rule can set it (nft_trace_enabled, net/netfilter/nft_meta.c): this one, in a chain that no
 * packet comes to.
 */
export function nftSwitch({ run }: TraceScope): string[] {
  const table = `ip ${tableName(run)}`;
  return [
    `add table ${table} { flags owner; }`,
    `add chain ${table} switch`,
    `add rule ${table} switch meta nftrace set 1`,
  ];
}

/** Counted before and behind, so that the node can say how many packets were not traced. */
const LIMIT = `counter limit rate ${RATE}/second burst ${BURST} packets counter`;

/** By the addresses of the connection a packet belongs to, its replies are found whatever address they come from. */
function podRules(scope: TraceScope, table: string, family: Family, pod: string): string[] {
  const rule = (chain: string, match: string) => `add rule ${table} ${chain} ${match} meta nftrace set 1`;
  const of = `ct original ${family} saddr ${pod}`;
  const known = scope.busy ? connections(scope, family) : [''];
  return [
    ...asked(scope, family).map(match => rule('pre', `${family} saddr ${pod} ${match}${LIMIT}`)),
    // Chain `post` has no rule: whoever is traced is traced in it as well, and a rule there would trace all others without limit.
    ...known.map(match => rule('pre2', `${of} ${match}${LIMIT}`)),
    // What the node itself answers has no connection yet where it begins.
    ...answers(scope, family).map(match => rule('out', `${family} daddr ${pod} ${match}${LIMIT}`)),
  ];
}

/** A packet's own header, where nobody knows its connection yet. IPv6 speaks with its neighbours in ICMPv6 too: not our affair. */
function asked({ ports, busy }: TraceScope, family: Family): string[] {
  const icmp = family === 'ip' ? 'icmp type echo-request ' : 'icmpv6 type echo-request ';
  if (busy) return [...ports.map(({ protocol, port }) => `${protocol} dport ${port} `), icmp];
  return family === 'ip' ? [''] : ['meta l4proto != ipv6-icmp ', icmp];
}

function connections({ ports }: TraceScope, family: Family): string[] {
  return [
    ...ports.map(({ protocol, port }) => `meta l4proto ${protocol} ct original proto-dst ${port} `),
    `meta l4proto ${family === 'ip' ? 'icmp' : 'ipv6-icmp'} `,
  ];
}

/** ICMPv6 types below 130 are errors and echoes; above are neighbours and listeners (IANA icmpv6-parameters). */
function answers({ ports, busy }: TraceScope, family: Family): string[] {
  const icmp = family === 'ip' ? 'meta l4proto icmp ' : 'icmpv6 type < 130 ';
  if (busy) return [...ports.map(({ protocol, port }) => `${protocol} sport ${port} `), icmp];
  return family === 'ip' ? [''] : ['meta l4proto != ipv6-icmp ', icmp];
}

const CHAINS = [
  ['pre', 'prerouting', -350],
  ['pre2', 'prerouting', -150],
  ['post', 'postrouting', 300],
  ['out', 'output', -350],
] as const;

/** The rule's part that the node fills in: the date of its deadline by its own clock. */
const STOP = '@STOP@';

/** What method raw cannot take back (docs/safety.md): to be said before it is done. */
export const RAW_STAYS =
  'On a node without nf_tables and without a raw table, method raw leaves an empty one: the kernel keeps it.';

/** Raw rules as `FAMILY CHAIN SPEC…`, one a line, for node-agent.sh: which iptables they are given to, it finds out. */
export function rawRules(scope: TraceScope): string[] {
  const guard = `-m time --datestop ${STOP} -m limit --limit ${RATE}/second --limit-burst ${BURST} -m comment --comment trace-svc:${scope.run} -j TRACE`;
  return scope.podIps.flatMap(pod => {
    const number = familyOf(pod) === 'ip' ? 4 : 6;
    return [
      ...requests(scope, number).map(match => `PREROUTING -s ${pod} ${match}`),
      ...replies(scope, number).flatMap(match => [`PREROUTING -d ${pod} ${match}`, `OUTPUT -d ${pod} ${match}`]),
    ].map(match => `${number} ${match} ${guard}`);
  });
}

function requests({ ports }: TraceScope, number: 4 | 6): string[] {
  const echo = number === 4 ? '-p icmp --icmp-type echo-request' : '-p ipv6-icmp --icmpv6-type echo-request';
  return [...ports.map(({ protocol, port }) => `-p ${protocol} --dport ${port}`), echo];
}

/** A reply's source port is the endpoint's, which nobody knows beforehand: any port of the protocol will do. */
function replies({ ports }: TraceScope, number: 4 | 6): string[] {
  const protocols = [...new Set(ports.map(port => `-p ${port.protocol}`))];
  if (number === 4) return [...protocols, '-p icmp'];
  const errors = ['echo-reply', 'destination-unreachable', 'time-exceeded', 'packet-too-big'];
  return [...protocols, ...errors.map(type => `-p ipv6-icmp --icmpv6-type ${type}`)];
}
