/** What a hop means, whose chain it is, which rule came nearest, and where two probes part. */
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { ownerOf } from '../../src/kube/owners.ts';
import type { Divergence, Hop, Report } from '../../src/model.ts';
import { captureOf, explained } from '../reconstruct/captures.ts';
import { answers, arrives, CLUSTER_IP, curl, leaves, PING, reportOfWorld } from './world.ts';

const WHOLE = { traces: ['kmsg.txt', 'nft-monitor.txt'] } as const;

function meanings(report: Report): Map<string, string> {
  const found = new Map<string, string>();
  for (const hop of report.journeys[0]?.hops ?? [])
    if (hop.meaning !== undefined) found.set(`${hop.table} ${hop.chain} ${hop.event}${hop.rule ?? ''}`, hop.meaning);
  return found;
}

function hopsOf(report: Report): Hop[] {
  return report.journeys[0]?.hops ?? [];
}

describe('meanings', () => {
  test.each<[string, () => Report, string, RegExp]>([
    [
      "a Service's chain",
      () => explained('legacy', 'web-curl'),
      'nat KUBE-SERVICES rule2',
      /^Service default\/web:http$/,
    ],
    [
      'an endpoint, its pod, and the odds',
      () => explained('legacy', 'web-curl'),
      'nat KUBE-SVC-CDGGSHYLG3RE2FKL rule3',
      /^endpoint 10\.244\.1\.74:8080 \(pod web-7f958d9779-mnhdr\), 1 of 3$/,
    ],
    [
      'without objects, by the comments of the rules',
      () => explained('legacy', 'web-curl', { objects: false }),
      'nat KUBE-SERVICES rule2',
      /^Service default\/web:http$/,
    ],
    [
      'no rule of any Service matched',
      () => explained('legacy', 'web-ping'),
      'nat KUBE-SERVICES return11',
      /^no rule of any Service matched$/,
    ],
    [
      'the same under nft, where only the caller writes a line',
      () => explained('nft', 'web-ping', WHOLE),
      'nat PREROUTING rule1',
      /no rule of any Service matched/,
    ],
    [
      'not masqueraded',
      () => explained('legacy', 'web-curl'),
      'nat KUBE-POSTROUTING rule1',
      /^not marked: kube-proxy leaves the source$/,
    ],
    [
      'will be masqueraded, and why',
      () => explained('legacy', 'ext-curl'),
      'nat KUBE-EXT-RDU\\w+ rule1',
      /^not asked at its cluster IP: will be masqueraded$/,
    ],
    [
      'a pod that asks itself',
      () => explained('nft', 'self-curl', WHOLE),
      'nat KUBE-SEP-3BBTYSMCN4KUAEPG rule1',
      /^the pod talks to itself: will be masqueraded$/,
    ],
    [
      'masqueraded',
      () => explained('legacy', 'ext-curl'),
      'nat KUBE-POSTROUTING rule3',
      /^the source becomes the node's own address$/,
    ],
    [
      'the DNAT rule',
      () => explained('legacy', 'web-curl'),
      'nat KUBE-SEP-SQ6\\w+ rule2',
      /^the destination becomes 10\.244\.1\.74:8080$/,
    ],
    ['a node port', () => explained('legacy', 'np-local-curl'), 'nat KUBE-SERVICES rule10', /node ports/],
    [
      'no endpoints',
      () => explained('legacy', 'noep-curl'),
      'filter KUBE-SERVICES rule2',
      /^Service default\/noep:http has no endpoints$/,
    ],
    [
      'no endpoints here',
      () => explained('legacy', 'itplocal-curl'),
      'filter KUBE-SERVICES rule1',
      /has no local endpoints on this node$/,
    ],
    [
      'nftables: the map of Services',
      () => explained('nftables', 'web-curl', WHOLE),
      'kube-proxy services rule1',
      /^Service default\/web:http$/,
    ],
    [
      'nftables: kept by affinity',
      () => explained('nftables', 'sticky-curl', WHOLE),
      'kube-proxy service-\\w+-default/sticky/tcp/http rule3',
      /kept by session affinity$/,
    ],
    [
      'nftables: no port of a cluster IP',
      () => explained('nftables', 'unexposed-curl', WHOLE),
      'kube-proxy cluster-ips-check rule1',
      /^a cluster IP, but no Service port: rejected$/,
    ],
  ])('%s', (_, report, at, meaning) => {
    const found = meanings(report());
    const pattern = new RegExp(`^${at}$`);
    const keys = [...found.keys()].filter(key => pattern.test(key));
    expect(keys, [...found.keys()].join('\n')).toHaveLength(1);
    expect(found.get(keys[0] as string)).toMatch(meaning);
  });

  test("a hop nobody recognises keeps its rule's text and gets no meaning", () => {
    const hops = hopsOf(explained('legacy', 'web-curl')).filter(hop => hop.chain === 'FORWARD' && hop.event === 'rule');
    expect(hops.length).toBeGreaterThan(2);
    for (const hop of hops) {
      expect(hop.meaning).toBeUndefined();
      expect(hop.text).toMatch(/-j /);
    }
  });

  test('without rules and objects a legacy hop means nothing', () => {
    const hops = hopsOf(explained('legacy', 'web-curl', { rules: false, objects: false }));
    expect(hops.filter(hop => hop.event === 'rule' && hop.meaning !== undefined)).toEqual([]);
  });
});

describe('owners', () => {
  test.each([
    ['nat', 'KUBE-SVC-CDGGSHYLG3RE2FKL', 'kube-proxy'],
    ['filter', 'KUBE-FIREWALL', 'kubelet'],
    ['filter', 'KUBE-NWPLCY-X', 'kube-router'],
    ['nat', 'CNI-00f895901fe595f160d51b26', 'CNI plugin'],
    ['filter', 'cali-FORWARD', 'Calico'],
    ['filter', 'CILIUM_FORWARD', 'Cilium'],
    ['nat', 'FLANNEL-POSTRTG', 'Flannel'],
    ['kube-proxy', 'services', 'kube-proxy'],
    ['trace_svc_cap', 'pre', 'trace-svc'],
    ['filter', 'ufw-user-input', 'ufw'],
  ])('%s %s is of %s', (table, chain, owner) => {
    expect(ownerOf(table, chain)).toBe(owner);
  });

  test.each([
    ['filter', 'FORWARD'],
    ['nat', 'PREROUTING'],
    ['filter', 'my-KUBE-thing'],
    ['kube-proxies', 'x'],
  ])("%s %s is the kernel's own, or nobody's we know", (table, chain) => {
    expect(ownerOf(table, chain)).toBeUndefined();
  });

  test("every hop of a capture in somebody's chain says whose", () => {
    for (const hop of hopsOf(explained('nftables', 'np-curl', WHOLE)))
      expect(hop.owner).toBe(
        hop.table === 'trace_svc_cap'
          ? 'trace-svc'
          : hop.table === 'kube-proxy'
            ? 'kube-proxy'
            : /^CNI-/.test(hop.chain)
              ? 'CNI plugin'
              : undefined,
      );
  });
});

describe('the nearest rule', () => {
  const near = (report: Report) =>
    report.findings.map(finding => finding.facts ?? {}).find(facts => facts.nearest !== undefined);

  test.each<[string, () => Report, object]>([
    [
      'legacy',
      () => explained('legacy', 'web-ping'),
      { nearest: 'KUBE-SERVICES rule 2', failed: '-p tcp, --dport 80' },
    ],
    [
      'iptables-nft, its texts from iptables-save',
      () => explained('nft', 'web-ping', WHOLE),
      { nearest: 'KUBE-SERVICES rule 5' },
    ],
    [
      'a port the Service does not have',
      () => explained('nft', 'unexposed-curl', WHOLE),
      { nearest: 'KUBE-SERVICES rule 5', failed: '--dport 80' },
    ],
    ['the element of a map', () => explained('nftables', 'web-ping', WHOLE), { nearest: 'services rule 1' }],
  ])('%s', (_, report, facts) => {
    expect(near(report())).toMatchObject(facts);
  });

  test('what held is said as well', () => {
    expect(String(near(explained('legacy', 'web-ping'))?.held)).toContain('-d 10.96.164.231');
  });

  test('no rule for the address, none near', () => {
    const report = reportOfWorld([
      ...arrives({ ...PING, dst: '10.96.0.99' }, false),
      ...leaves({ ...PING, dst: '10.96.0.99' }),
    ]);
    expect(near(report)).toBeUndefined();
  });
});

describe('where curl and ping part', () => {
  const only = (report: Report): Divergence => {
    expect(report.divergences).toHaveLength(1);
    return report.divergences[0] as Divergence;
  };

  test.each<[string, () => Report, Partial<Divergence>, string[]]>([
    [
      'legacy',
      () => explained('legacy', ['web-curl', 'web-ping']),
      { table: 'nat', chain: 'KUBE-SERVICES', hook: 'prerouting' },
      ['-p tcp', '--dport 80'],
    ],
    [
      'iptables-nft',
      () => explained('nft', ['web-curl', 'web-ping'], { traces: ['nft-monitor.txt'] }),
      { table: 'nat', chain: 'KUBE-SERVICES' },
      ['-p tcp', '--dport 80'],
    ],
    [
      'nftables',
      () => explained('nftables', ['web-curl', 'web-ping'], WHOLE),
      { table: 'kube-proxy', chain: 'services' },
      ['meta l4proto tcp', 'th dport 80'],
    ],
    [
      'the API server, timed out',
      () => explained('nft', ['apiserver-curl', 'apiserver-ping'], WHOLE),
      { table: 'nat', chain: 'KUBE-SERVICES' },
      ['-p tcp', '--dport 443'],
    ],
  ])('%s: the first rule one matched and the other did not, and why', (_, report, place, failed) => {
    const found = only(report());
    expect(found).toMatchObject(place);
    expect(found.rule?.failed).toEqual(failed);
    expect(found.first).toMatch(/matched \(Service default\//);
    expect(found.second).toBe('no rule of it matched');
  });

  test('the probes are named in their order, whichever was asked first', () => {
    const found = only(explained('legacy', ['web-ping', 'web-curl']));
    expect(found.first).toMatch(/matched \(Service/);
    const report = explained('legacy', ['web-ping', 'web-curl']);
    expect(found.probes.map(index => report.probes[index]?.kind)).toEqual(['curl', 'ping']);
  });

  test('without rules: where, but not why', () => {
    const found = only(explained('legacy', ['web-curl', 'web-ping'], { rules: false }));
    expect(found).toMatchObject({ chain: 'KUBE-SERVICES' });
    expect(found.rule).toBeUndefined();
  });

  test.each<[string, () => Report]>([
    ['one probe', () => explained('legacy', 'web-curl')],
    ['a ping of another address', () => explained('nft', ['web-curl', 'apiserver-ping'], WHOLE)],
    ['two curls', () => explained('nftables', ['web-curl', 'unexposed-curl'], WHOLE)],
  ])('none: %s', (_, report) => {
    expect(report().divergences).toEqual([]);
  });
});

describe('several connections of one probe', () => {
  const many = Array.from({ length: 5 }, (_, i) => [
    ...arrives({ spt: 41_000 + i, id: 200 + i, seq: 1 + i }),
    ...leaves({ spt: 41_000 + i, id: 200 + i, seq: 1 + i }),
    ...answers({ dpt: 41_000 + i, id: 300 + i, seq: 7 + i, ack: 2 + i }),
  ]).flat();

  test('are one finding, and counted', () => {
    const report = reportOfWorld(many);
    expect(report.probes).toHaveLength(1);
    expect(report.probes[0]?.connections).toMatchObject({
      total: 5,
      endpoints: [{ to: '10.244.2.9:8080', count: 5, pod: 'web-far' }],
    });
  });

  test('a probe that ran several times takes a connection each', () => {
    const report = reportOfWorld(many, { probes: Array.from({ length: 5 }, () => curl()) });
    expect(report.probes.map(probe => probe.kind)).toEqual(['curl', 'curl', 'curl', 'curl', 'curl']);
    expect(report.journeys.filter(one => one.direction === 'request').map(one => one.probe)).toEqual([0, 1, 2, 3, 4]);
  });

  test('another port of the same Service is another question', () => {
    const report = reportOfWorld([
      ...many,
      ...arrives({ dpt: 81, spt: 45_000, id: 999 }, false),
      ...leaves({ dst: CLUSTER_IP, dpt: 81, spt: 45_000, id: 999 }),
    ]);
    expect(report.probes.map(probe => probe.target)).toEqual([`${CLUSTER_IP}:80`, `${CLUSTER_IP}:81`]);
  });
});

describe('the report about the report', () => {
  test('the target is the Service every probe asked', () => {
    expect(explained('legacy', ['web-curl', 'web-ping']).target).toMatchObject({
      namespace: 'default',
      service: 'web',
      port: { name: 'http', number: 80, protocol: 'TCP' },
      clusterIPs: ['10.96.164.231'],
    });
  });
  test('no target where they asked several', () => {
    expect(explained('legacy', ['web-curl', 'noep-curl']).target).toBeUndefined();
  });
  test('only what concerns the pod, where the pod is named', () => {
    const capture = captureOf('legacy', 'web-curl');
    capture.source = { ips: ['10.9.9.9'] };
    expect(analyse(capture).journeys).toEqual([]);
    capture.source = { ips: ['10.244.1.72'] };
    expect(analyse(capture).journeys).toEqual(explained('legacy', 'web-curl').journeys);
  });
  test.each([
    ['legacy', 'iptables'],
    ['nft', 'iptables'],
    ['nftables', 'nftables'],
  ] as const)('%s: kube-proxy is in %s mode', (mode, proxy) => {
    expect(explained(mode, 'web-curl', mode === 'legacy' ? {} : WHOLE).node.proxyMode).toBe(proxy);
  });
});
