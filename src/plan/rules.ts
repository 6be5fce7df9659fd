/**
 * The rules that make the kernel trace a pod's packets, and nothing else. They carry the run's id and stop by themselves:
 * an nft table goes with the process that owns it, a raw rule no longer matches after its date.
 */
import { familyOf } from '../ip.ts';

export interface TraceScope {
  /** Letters and digits; every rule carries it. */
  run: string;
  podIps: string[];
  /** What the probes send: one rule each. */
  ports: { protocol: 'tcp' | 'udp'; port: number }[];
  /** Seconds since 1970 after which nothing of it may match any more. */
  deadline: number;
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
    const pods = scope.podIps.filter(ip => familyOf(ip) === family);
    const limit = `limit rate ${RATE}/second burst ${BURST} packets`;
    const rule = (chain: string, match: string) => `add rule ${table} ${chain} ${match} meta nftrace set 1`;
    return [
      `add table ${table} { flags owner; }`,
      ...CHAINS.map(
        ([name, hook, priority]) => `add chain ${table} ${name} { type filter hook ${hook} priority ${priority}; }`,
      ),
      ...pods.flatMap(pod => [
        rule('pre', `${family} saddr ${pod} ${limit}`),
        rule('pre2', `ct original ${family} saddr ${pod} ${limit}`),
        rule('post', `ct original ${family} saddr ${pod}`),
        rule('out', `${family} daddr ${pod} ${limit}`),
      ]),
    ];
  });
}

const CHAINS = [
  ['pre', 'prerouting', -350],
  ['pre2', 'prerouting', -150],
  ['post', 'postrouting', 300],
  ['out', 'output', -350],
] as const;

export interface RawCommands {
  ip: string;
  ip6: string;
}

/** Raw rules as `COMMAND CHAIN SPEC…`, one a line, for node-agent.sh. */
export function rawRules(scope: TraceScope, commands: RawCommands): string[] {
  const stop = new Date(scope.deadline * 1000).toISOString().slice(0, 19);
  const guard = `-m time --datestop ${stop} -m limit --limit ${RATE}/second --limit-burst ${BURST} -m comment --comment trace-svc:${scope.run} -j TRACE`;
  return scope.podIps.flatMap(pod => {
    const v4 = familyOf(pod) === 'ip';
    const command = v4 ? commands.ip : commands.ip6;
    const icmp = v4 ? 'icmp' : 'ipv6-icmp';
    const protocols = [...new Set(scope.ports.map(port => port.protocol))];
    const matches = [
      ...scope.ports.map(({ protocol, port }) => `PREROUTING -s ${pod} -p ${protocol} --dport ${port}`),
      `PREROUTING -s ${pod} -p ${icmp}`,
      ...[...protocols, icmp].flatMap(protocol => [
        `PREROUTING -d ${pod} -p ${protocol}`,
        `OUTPUT -d ${pod} -p ${protocol}`,
      ]),
    ];
    return matches.map(match => `${command} ${match} ${guard}`);
  });
}
