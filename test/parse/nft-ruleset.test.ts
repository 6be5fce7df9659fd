import { describe, expect, it } from 'vitest';
import type { Ruleset, Table } from '../../src/model.ts';
import { parseNftRuleset } from '../../src/parse/nft-ruleset.ts';
import { capture, captures } from '../support/captures.ts';
import { survivesAnything } from '../support/fuzz.ts';
import { expectLike } from '../support/like.ts';

function ruleset(text: string): Ruleset {
  const read = parseNftRuleset(text, 'file');
  expect(read).toBeDefined();
  return read as Ruleset;
}

function table(body: string, head = 'table ip t'): Table {
  return ruleset(`${head} {\n${body}\n}\n`).tables[0] as Table;
}

const chain = (body: string) => table(`\tchain c {\n${body}\n\t}`).chains.get('c');

describe('tables', () => {
  it.each([
    { head: 'table ip nat', want: { family: 'ip', name: 'nat' } },
    { head: 'table ip6 kube-proxy', want: { family: 'ip6', name: 'kube-proxy' } },
    { head: 'table inet firewalld', want: { family: 'inet', name: 'firewalld' } },
    { head: 'table bridge filter', want: { family: 'bridge', name: 'filter' } },
  ])('$head', ({ head, want }) => expectLike(table('', head), { ...want, backend: 'nft' }));

  it('with handles and the name of their owner', () =>
    expectLike(ruleset('table ip trace_svc_1 { # progname nft handle 7\n\tflags owner\n\tchain pre {\n\t}\n}'), {
      source: 'file',
      backend: 'nft',
      backendKnown: true,
      tables: [{ name: 'trace_svc_1' }],
      unrecognised: [],
    }));

  it('one after the other, whatever stands between', () => {
    const text =
      '# Warning: table ip nat is managed by iptables-nft, do not touch!\ntable ip nat {\n}\n\ntable ip nat6 {\n}\n=== END\n';
    expect(ruleset(text).tables.map(t => t.name)).toEqual(['nat', 'nat6']);
  });

  it('with comments and flags', () => {
    const { chains } = table('\tcomment "rules for kube-proxy"\n\tflags dormant\n\tchain c {\n\t\taccept\n\t}');
    expect([...chains.keys()]).toEqual(['c']);
    expect(chains.get('c')?.rules).toHaveLength(1);
  });

  it.each(['', 'no rules here', '*nat\n:PREROUTING ACCEPT\nCOMMIT\n', 'table ip'])('none in %j', text =>
    expect(parseNftRuleset(text, 'file')).toBeUndefined(),
  );

  it('with CRLF', () => {
    const text =
      'table ip t {\r\n\tchain c {\r\n\t\ttype nat hook prerouting priority dstnat; policy accept;\r\n\t\taccept # handle 4\r\n\t}\r\n}\r\n';
    expectLike(ruleset(text).tables[0]?.chains.get('c'), {
      hook: 'prerouting',
      rules: [{ target: 'ACCEPT', handle: 4 }],
    });
  });
});

describe('base chains', () => {
  it.each([
    {
      text: 'type filter hook prerouting priority raw; policy accept;',
      want: { hook: 'prerouting', priority: -300, type: 'filter', policy: 'ACCEPT' },
    },
    {
      text: 'type nat hook prerouting priority dstnat; policy accept;',
      want: { hook: 'prerouting', priority: -100, type: 'nat' },
    },
    { text: 'type nat hook postrouting priority srcnat; policy accept;', want: { hook: 'postrouting', priority: 100 } },
    {
      text: 'type filter hook forward priority filter; policy drop;',
      want: { hook: 'forward', priority: 0, policy: 'DROP' },
    },
    { text: 'type filter hook input priority filter + 10; policy accept;', want: { hook: 'input', priority: 10 } },
    {
      text: 'type filter hook prerouting priority dstnat - 10; policy accept;',
      want: { hook: 'prerouting', priority: -110 },
    },
    { text: 'type filter hook prerouting priority mangle + 5; policy accept;', want: { priority: -145 } },
    { text: 'type filter hook prerouting priority -350; policy accept;', want: { priority: -350 } },
    { text: 'type filter hook postrouting priority 300; policy accept;', want: { priority: 300 } },
    { text: 'type filter hook forward priority security; policy accept;', want: { priority: 50 } },
    {
      text: 'type route hook output priority mangle; policy accept;',
      want: { type: 'route', hook: 'output', priority: -150 },
    },
    { text: 'type filter hook input priority filter;', want: { policy: 'ACCEPT' } },
    {
      text: 'type filter hook ingress device "eth0" priority 0; policy accept;',
      want: { hook: 'ingress', priority: 0 },
    },
  ])('$text', ({ text, want }) => expectLike(chain(text), { ...want, rules: [] }));

  it('user chains have none of it', () =>
    expectLike(chain('accept'), { hook: undefined, priority: undefined, policy: undefined, type: undefined }));
});

describe('rules', () => {
  it('are numbered from 1 and keep their handles', () => {
    const rules = chain(
      '\t\ttype filter hook input priority 0; policy accept;\n\t\tcomment "why"\n\t\tip saddr 10.0.0.1 accept # handle 5\n\n\t\tcounter packets 1 bytes 60 drop # handle 9',
    )?.rules;
    expectLike(rules, [
      { number: 1, handle: 5, target: 'ACCEPT', text: 'ip saddr 10.0.0.1 accept' },
      { number: 2, handle: 9, target: 'DROP', packets: 1 },
    ]);
  });

  it('over several lines: a verdict map', () => {
    const rules = chain(
      '\t\tnumgen random mod 3 vmap { 0 : goto a,\n\t\t\t\t\t   1 : goto b,\n\t\t\t\t\t   2 : goto c } # handle 12\n\t\taccept # handle 13',
    )?.rules;
    expectLike(rules, [
      {
        handle: 12,
        vmap: {
          key: ['numgen random mod 3'],
          elements: [{ verdict: 'goto a' }, { verdict: 'goto b' }, { verdict: 'goto c' }],
        },
      },
      { number: 2, handle: 13, target: 'ACCEPT' },
    ]);
  });

  it('braces in a comment open nothing', () =>
    expectLike(chain('\t\taccept comment "{ not open" # handle 1\n\t\tdrop # handle 2')?.rules, [
      { comment: '{ not open', handle: 1 },
      { target: 'DROP' },
    ]));

  it('that cannot be evaluated are kept and reported', () => {
    const read = ruleset('table ip t {\n\tchain c {\n\t\tfrobnicate 7 accept # handle 3\n\t}\n}');
    expectLike(read.tables[0]?.chains.get('c')?.rules, [{ text: 'frobnicate 7 accept', target: 'ACCEPT' }]);
    expect(read.unrecognised[0]).toMatchObject({ raw: 'frobnicate 7 accept', reason: /chain c/ });
  });
});

describe('sets and maps', () => {
  it.each([
    { name: 'empty', body: 'type ipv4_addr', want: { elements: [], timeout: undefined } },
    {
      name: 'one line',
      body: 'type ipv4_addr\nelements = { 10.96.0.1, 10.96.0.10 }',
      want: { elements: [{ key: ['10.96.0.1'] }, { key: ['10.96.0.10'] }] },
    },
    {
      name: 'several lines',
      body: 'type ipv4_addr\n\t\telements = { 10.96.0.1, 10.96.0.10,\n\t\t\t     10.96.0.11 }',
      want: { elements: [{ key: ['10.96.0.1'] }, { key: ['10.96.0.10'] }, { key: ['10.96.0.11'] }] },
    },
    {
      name: 'a verdict map with comments',
      body:
        'type ipv4_addr . inet_proto . inet_service : verdict\n\t\tcomment "ClusterIP, ExternalIP and LoadBalancer IP traffic"\n' +
        '\t\telements = { 172.30.0.41 . tcp . 80 : goto service-ULMVA6XW-ns1/svc1/tcp/p80,\n' +
        '\t\t\t     172.30.0.46 . tcp . 80 comment "ns6/svc6:p80" : goto reject-chain }',
      want: {
        elements: [
          { key: ['172.30.0.41', 'tcp', '80'], verdict: 'goto service-ULMVA6XW-ns1/svc1/tcp/p80', comment: undefined },
          { key: ['172.30.0.46', 'tcp', '80'], verdict: 'goto reject-chain', comment: 'ns6/svc6:p80' },
        ],
      },
    },
    {
      name: 'timeouts',
      body: 'type ipv4_addr\n\t\tsize 65535\n\t\tflags dynamic,timeout\n\t\ttimeout 3h\n\t\telements = { 10.0.0.1 timeout 3h expires 2h59m59s }',
      want: { timeout: '3h', elements: [{ key: ['10.0.0.1'] }] },
    },
  ])('$name', ({ body, want }) => {
    for (const word of ['set', 'map'])
      expectLike(table(`\t${word} s { # handle 9\n\t\t${body}\n\t}`).sets.get('s'), { name: 's', ...want });
  });

  it('other blocks are passed over', () => {
    const read = table(
      '\tcounter c1 {\n\t\tpackets 0 bytes 0\n\t}\n\tct helper h {\n\t\ttype "ftp" protocol tcp\n\t}\n\tlimit l {\n\t\trate 5/second\n\t}\n\tset s {\n\t\ttype ipv4_addr\n\t}\n\tchain c {\n\t\taccept\n\t}',
    );
    expect([[...read.sets.keys()], [...read.chains.keys()]]).toEqual([['s'], ['c']]);
  });
});

describe('real rules', () => {
  for (const { name, text } of captures('nft-ruleset.txt'))
    it(name, () => {
      const read = ruleset(text);
      expect(read.unrecognised).toEqual([]);
      const chains = read.tables.flatMap(t => [...t.chains.values()]);
      const count = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
      expect(read.tables).toHaveLength(count(/^table /gm));
      expect(chains).toHaveLength(count(/^\tchain /gm));
      expect(chains.filter(c => c.hook)).toHaveLength(count(/^\t\ttype \w+ hook /gm));
      expect(chains.filter(c => c.hook).every(c => Number.isInteger(c.priority))).toBe(true);
      expect(read.tables.reduce((sum, t) => sum + t.sets.size, 0)).toBe(count(/^\t(set|map) /gm));
      const rules = chains.flatMap(c => c.rules);
      expect(rules.map(rule => rule.handle)).toEqual(
        [...text.matchAll(/^\t\t.* # handle (\d+)$/gm)].map(m => Number(m[1])),
      );
    });

  it('name a Service’s addresses and ports', () => {
    const proxy = ruleset(capture('nftables/web-curl/nft-ruleset.txt')).tables.find(
      t => t.name === 'kube-proxy' && t.family === 'ip',
    );
    expect(proxy?.sets.get('service-ips')?.elements.map(e => e.key.join(' '))).toContain('10.96.164.231 tcp 80');
    expect(proxy?.sets.get('cluster-ips')?.elements.map(e => e.key[0])).toContain('10.96.0.1');
  });
});

const SMALL = [
  'table ip t {\n\tchain c {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\tip daddr . meta l4proto . th dport vmap @m # handle 3\n\t}\n\tmap m {\n\t\ttype ipv4_addr . inet_proto . inet_service : verdict\n\t\telements = { 10.0.0.1 . tcp . 80 comment "a/b:c" : goto x,\n\t\t\t10.0.0.2 . tcp . 80 : drop }\n\t}\n}\n',
  capture('nftables/web-curl/nft-ruleset.txt').slice(0, 6000),
];

survivesAnything(
  text => parseNftRuleset(text, 'file'),
  SMALL,
  read => {
    for (const { chains, sets } of read?.tables ?? []) {
      for (const { rules } of chains.values())
        expect(rules.map(rule => rule.number)).toEqual(rules.map((_, i) => i + 1));
      for (const { elements } of sets.values()) for (const { key } of elements) expect(key.length).toBeGreaterThan(0);
    }
  },
  0.5,
);
