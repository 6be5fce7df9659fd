/** The rules that make the kernel trace: plain matches only, each with its run and its end, for the pod's packets and nobody else's. */
import { describe, expect, test } from 'vitest';
import { agentEnvironment } from '../../src/plan/agent.ts';
import { nftCommands, rawRules, type TraceScope, tableName } from '../../src/plan/rules.ts';

const scope = (more: Partial<TraceScope> = {}): TraceScope => ({
  run: 'abcd1234',
  podIps: ['10.244.1.5'],
  ports: [{ protocol: 'tcp', port: 80 }],
  ...more,
});

const SCOPES: [string, TraceScope][] = [
  ['IPv4', scope()],
  ['IPv6', scope({ podIps: ['fd00:244::5'] })],
  ['both', scope({ podIps: ['10.244.1.5', 'fd00:244::5'] })],
  ['UDP', scope({ ports: [{ protocol: 'udp', port: 53 }] })],
  [
    'several ports',
    scope({
      ports: [
        { protocol: 'tcp', port: 80 },
        { protocol: 'udp', port: 53 },
      ],
    }),
  ],
  ['a busy pod', scope({ busy: true })],
  ['a busy pod of both families', scope({ busy: true, podIps: ['10.244.1.5', 'fd00:244::5'] })],
];

describe.each(SCOPES)('nft: %s', (_, one) => {
  const commands = nftCommands(one);
  const rules = commands.filter(line => line.startsWith('add rule'));

  test('a table that goes with its process', () => {
    const tables = commands.filter(line => line.startsWith('add table'));
    const families = new Set(one.podIps.map(ip => (ip.includes(':') ? 'ip6' : 'ip')));
    expect(tables).toEqual([...families].map(family => `add table ${family} trace_svc_abcd1234 { flags owner; }`));
  });
  test('chains that accept, before and behind what is looked at', () => {
    const chains = commands.filter(line => line.startsWith('add chain'));
    for (const line of chains)
      expect(line).toMatch(
        /^add chain ip6? trace_svc_abcd1234 \w+ \{ type filter hook (prerouting|postrouting|output) priority -?\d+; \}$/,
      );
  });
  // An older nft that reads a set or a map, even a nameless one, crashes, and kube-proxy's with it.
  test('no set, map, verdict map, concatenation or brace in any rule', () => {
    for (const line of rules)
      expect(line).not.toMatch(
        /[{}@]|\b(v?map|set (?!1$)|elements?|drop|accept|reject|dnat|snat|redirect|masquerade|mark)\b| \. /,
      );
  });
  test('nothing but marking for the trace', () => {
    for (const line of rules) expect(line).toMatch(/ meta nftrace set 1$/);
  });
  test('every rule is about the pod, and its rate is limited, counted before and behind', () => {
    for (const line of rules)
      expect(
        one.podIps.some(ip => line.split(' ').includes(ip)),
        line,
      ).toBe(true);
    for (const line of rules) expect(line).toContain(' counter limit rate 500/second burst 1000 packets counter ');
  });
  test('one command a line', () => {
    for (const line of commands) expect(line).not.toMatch(/\n|;(?!\s*\})/);
  });
  if (one.busy)
    test('of a busy pod only the probed ports and echoes', () => {
      for (const line of rules) expect(line).toMatch(/[ds]port 80|proto-dst 80|icmp|ipv6-icmp/);
    });
});

describe.each(SCOPES)('raw: %s', (_, one) => {
  const rules = rawRules(one);
  test('family, chain and a specification', () => {
    for (const line of rules) expect(line).toMatch(/^(4|6) (PREROUTING|OUTPUT) -[sd] \S+ -p /);
  });
  test('each carries its run, and the date at which it stops', () => {
    for (const line of rules) {
      expect(line).toContain(' -m time --datestop @STOP@ ');
      expect(line).toContain(' --comment trace-svc:abcd1234 ');
      expect(line).toMatch(/ -m limit --limit 500\/second --limit-burst 1000 .* -j TRACE$/);
    }
  });
  test('about the pod alone, in its own family', () => {
    for (const line of rules) {
      const [family, , , address] = line.split(' ');
      expect(one.podIps).toContain(address);
      expect(family).toBe(address?.includes(':') ? '6' : '4');
    }
  });
  test('no word a shell would look at', () => {
    for (const line of rules) expect(line).toMatch(/^[\w\s:./@-]+$/);
  });
  test('what the pod asks, and what comes back, by both chains', () => {
    for (const ip of one.podIps) {
      expect(rules.some(line => line.includes(`PREROUTING -s ${ip} `))).toBe(true);
      for (const chain of ['PREROUTING', 'OUTPUT'])
        expect(rules.some(line => line.includes(`${chain} -d ${ip} `))).toBe(true);
    }
  });
});

describe('what the agent is told', () => {
  const order = {
    scope: scope(),
    seconds: 60,
    method: 'auto',
    log: 'auto',
    targets: ['10.96.0.9', '10.96.0.8'],
  } as const;
  test('everything', () => {
    expect(agentEnvironment({ ...order, targets: [...order.targets] })).toMatchObject({
      TS_ROLE: 'trace',
      TS_RUN: 'abcd1234',
      TS_DEADLINE: '60',
      TS_METHOD: 'auto',
      TS_LOG: 'auto',
      TS_PODS: '10.244.1.5',
      TS_TARGETS: '10.96.0.9 10.96.0.8',
    });
  });
  test.each([
    ['auto', /hook prerouting/, true],
    ['nft', /hook prerouting/, false],
    [
      'raw',
      /^add table ip trace_svc_abcd1234 \{ flags owner; \}\nadd chain \S+ \S+ switch\nadd rule \S+ \S+ switch meta nftrace set 1$/,
      true,
    ],
  ] as const)('--method %s', (method, nft, raw) => {
    const env = agentEnvironment({ ...order, method, targets: [] });
    expect(env.TS_NFT).toMatch(nft);
    expect(env.TS_RAW !== '').toBe(raw);
  });
  test('its table has a name nobody else has', () => expect(tableName('x1')).toBe('trace_svc_x1'));
});
