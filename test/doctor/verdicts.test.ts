/** What a node's agent told -> what doctor says of it. */
import { describe, expect, test } from 'vitest';
import { dataplaneVerdicts } from '../../src/doctor/dataplane.ts';
import { nodeVerdicts } from '../../src/doctor/verdicts.ts';

const GOOD = {
  kernel: '6.1.0',
  method: 'nft',
  nft: 'nftables v1.0.6',
  proxy_mode: 'iptables',
  legacy_tables: 'nat filter',
  iptables_legacy: 'iptables v1.8.9 (legacy)',
  iptables_nft: 'iptables v1.8.9 (nf_tables)',
  nf_log: 'NONE',
  log: 'nflog',
  printk: '4 4 1 7',
  consoles: 'ttyS0 -W- (EC p a) 4:64',
  conntrack_count: '10',
  conntrack_max: '1000',
  ip_forward: '1',
  tools: 'tcpdump conntrack curl',
};

const of = (what: string, more: object, gone: string[] = []) => {
  const facts: Record<string, string> = { ...GOOD, ...more };
  for (const key of gone) delete facts[key];
  return nodeVerdicts('n1', facts, undefined).find(verdict => verdict.what === what);
};

test('a node where all is well', () => {
  const verdicts = nodeVerdicts('n1', GOOD, undefined);
  expect(verdicts.filter(verdict => verdict.state !== 'ok')).toEqual([]);
  expect(new Set(verdicts.map(verdict => verdict.where))).toEqual(new Set(['node n1']));
});
test('a node that told nothing', () => {
  const verdicts = nodeVerdicts('n1', {}, 'no nft');
  expect(verdicts.at(-1)).toEqual({ where: 'node n1', what: 'tracing', state: 'fail', text: 'no nft' });
  for (const { text } of verdicts) expect(text).not.toMatch(/undefined|NaN/);
});

describe('a verdict', () => {
  test.each<[string, string, object, string[], string, RegExp, RegExp]>([
    [
      'raw, where there is no nf_tables',
      'method',
      { method: 'raw', flavour: 'legacy' },
      [],
      'warn',
      /TRACE rules in the legacy raw table/,
      /--method raw/,
    ],
    [
      'kube-proxy does not answer',
      'kube-proxy',
      {},
      ['proxy_mode'],
      'warn',
      /does not answer at 127\.0\.0\.1:10249/,
      /eBPF/,
    ],
    [
      'no legacy tables',
      'iptables',
      { legacy_tables: '' },
      ['iptables_legacy'],
      'ok',
      /no legacy tables; image has iptables v1\.8\.9 \(nf_tables\)/,
      /^$/,
    ],
    [
      'legacy tables nobody can read',
      'iptables',
      {},
      ['iptables_legacy'],
      'warn',
      /no iptables-legacy: their rules are not read/,
      /--agent-image/,
    ],
    ['nothing to be read from a log', 'log', { legacy_tables: ' ' }, [], 'ok', /no legacy tables/, /^$/],
    [
      'a logger that is put back',
      'log',
      { nf_log: 'nf_log_ipv4 ' },
      [],
      'ok',
      /the logger, nf_log_ipv4 now, is put back/,
      /^$/,
    ],
    [
      'lines that go nowhere',
      'log',
      { log: 'kmsg', nf_log: 'NONE ' },
      [],
      'fail',
      /nf_log\.2 is NONE/,
      /modprobe nf_log_syslog/,
    ],
    [
      'the kernel log',
      'log',
      { log: 'kmsg', nf_log: 'nf_log_syslog' },
      [],
      'warn',
      /by the kernel log \(nf_log_syslog\)/,
      /^$/,
    ],
    [
      'a serial console that prints warnings',
      'console',
      { log: 'kmsg', printk: '7 4 1 7' },
      [],
      'fail',
      /printed on ttyS0/,
      /--log-source nflog/,
    ],
    ['one that is not used', 'console', { printk: '7 4 1 7' }, [], 'ok', /; not used$/, /^$/],
    [
      'a screen that prints warnings',
      'console',
      { log: 'kmsg', printk: '7 4 1 7', consoles: 'tty0 -WU (EC) 4:1' },
      [],
      'ok',
      /not printed on a serial console \(level 7\)/,
      /^$/,
    ],
    [
      'a table that is nearly full',
      'conntrack',
      { conntrack_count: '950' },
      [],
      'fail',
      /950 of 1000 connections: the table is nearly full/,
      /nf_conntrack_max/,
    ],
    ['no forwarding', 'forwarding', { ip_forward: '0' }, [], 'fail', /ip_forward is 0/, /sysctl -w/],
    ['tools that are missing', 'image', { tools: ' curl' }, [], 'warn', /lacks tcpdump and conntrack/, /--agent-image/],
    ['one tool that is missing', 'image', { tools: 'curl conntrack' }, [], 'warn', /lacks tcpdump:/, /plugin\/image/],
  ])('%s', (_, what, more, gone, state, text, remedy) => {
    const verdict = of(what, more, gone);
    expect(verdict?.state).toBe(state);
    expect(verdict?.text).toMatch(text);
    expect(verdict?.remedy ?? '').toMatch(remedy);
  });
  test('nothing is said of what is not known', () => {
    expect(of('conntrack', {}, ['conntrack_max'])).toBeUndefined();
    expect(of('forwarding', {}, ['ip_forward'])).toBeUndefined();
  });
});

describe('who translates', () => {
  test.each<[string, string[] | undefined, [string, RegExp][]]>([
    ['nobody may look', undefined, [['ok', /may not be listed/]]],
    ['nobody that is known', ['fluentd'], [['ok', /no daemon set that is known/]]],
    ['kube-proxy', ['kube-proxy-windows', 'kube-proxy'], [['ok', /^kube-proxy$/]]],
    [
      'Cilium beside it',
      ['kube-proxy', 'cilium'],
      [
        ['warn', /eBPF/],
        ['ok', /^kube-proxy$/],
      ],
    ],
    ['Dataplane V2', ['anetd'], [['warn', /Cilium/]]],
    ['OVN', ['ovnkube-node-x'], [['warn', /Open vSwitch/]]],
    ['not what only sounds like it', ['cilium-operator-monitor', 'my-calico-node'], [['ok', /no daemon set/]]],
  ])('%s', (_, names, wanted) => {
    const verdicts = dataplaneVerdicts(names);
    expect(verdicts.map(verdict => verdict.state)).toEqual(wanted.map(([state]) => state));
    for (const [i, [, text]] of wanted.entries()) expect(verdicts[i]?.text).toMatch(text);
  });
});
