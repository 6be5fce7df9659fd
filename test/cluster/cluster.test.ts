/** The ground that tests on a cluster stand on: it is what it says it is, in every mode, and it goes away. */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import {
  AUDIT_LOG,
  applyObjects,
  down,
  fingerprint,
  inNode,
  inPod,
  kubectl,
  legacyTables,
  MODES,
  NAMESPACE,
  NODES,
  NODES_CAN_BE_SEEN,
  nftIptables,
  nodes,
  OURS,
  outerSysctls,
  poll,
  readyNodes,
  remains,
  ruleset,
  setMode,
  up,
  upKilledAt,
  waitReady,
} from './cluster.ts';

beforeAll(applyObjects);

async function clusterIPs(service: string): Promise<string[]> {
  return (await kubectl('-n', NAMESPACE, 'get', 'service', service, '-o', 'jsonpath={.spec.clusterIPs[*]}')).split(' ');
}

const curl = (url: string) =>
  inPod('client-n1', 'curl', '--silent', '--show-error', '--globoff', '--max-time', '5', url);

const host = (ip: string) => (ip.includes(':') ? `[${ip}]` : ip);

/** Asks the address until pods of both nodes have answered. */
async function askedBothNodes(ip: string): Promise<string[]> {
  const rows = await kubectl(
    '-n',
    NAMESPACE,
    'get',
    'pods',
    '-o',
    'jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{"\\n"}{end}',
  );
  const nodeOf = new Map(
    rows
      .trim()
      .split('\n')
      .map(row => row.split(' ') as [string, string]),
  );
  const answered = new Set<string>();
  return poll(`answers from both nodes for ${ip}`, async () => {
    answered.add(nodeOf.get(await curl(`http://${host(ip)}/hostname`)) ?? 'nobody we know');
    return answered.size === 2 ? [...answered].sort() : undefined;
  });
}

async function reachesWeb(): Promise<void> {
  const ips = await clusterIPs('web');
  expect(ips.map(ip => ip.includes(':'))).toEqual([false, true]);
  const names = Object.values(await nodes()).sort();
  for (const ip of ips) expect(await askedBothNodes(ip)).toEqual(names);
}

describe('the cluster', () => {
  it('has two nodes that are ready', async () => {
    expect((await readyNodes()).length).toBeGreaterThanOrEqual(2);
  });

  it('has three pods of web, on both nodes', async () => {
    const where = await kubectl(
      '-n',
      NAMESPACE,
      'get',
      'pods',
      '-l',
      'app=web',
      '-o',
      'jsonpath={.items[*].spec.nodeName}',
    );
    expect(where.split(' ')).toHaveLength(3);
    expect([...new Set(where.split(' '))].sort()).toEqual(Object.values(await nodes()).sort());
  });

  it('lets a pod without any privilege use ping', async () => {
    const ip = await kubectl('-n', NAMESPACE, 'get', 'pod', 'client-n2', '-o', 'jsonpath={.status.podIP}');
    expect(await inPod('client-n1', 'ping', '-c', '1', '-W', '5', ip)).toContain(' 0% packet loss');
    expect(await inPod('client-n1', 'id', '-u')).toBe('65534\n');
  });

  it('has tools that read and write both flavours of iptables, nftables and conntrack', async () => {
    const tools = [
      'curl',
      'ping',
      'ip',
      'ss',
      'iptables-legacy-save',
      'ip6tables-nft-restore',
      'xtables-monitor',
      'nft',
    ];
    const more = ['conntrack', 'ipset', 'tcpdump', 'nsenter', 'dmesg', 'timeout', 'sysctl', 'awk'];
    const ask = 'for t in "$@"; do command -v "$t" >/dev/null || echo "$t"; done';
    expect(await inPod('client-n1', 'sh', '-c', ask, '-', ...tools, ...more)).toBe('');
    expect(await inPod('client-n1', 'nft', '--version')).toContain('nftables');
  });

  it.runIf(OURS)('writes down who asked for which verb of which resource', async () => {
    await kubectl('-n', NAMESPACE, 'get', 'configmaps', '--as=somebody', '--as-group=system:masters');
    const events = readFileSync(AUDIT_LOG, 'utf8')
      .split('\n')
      .filter(line => line.includes('"somebody"'))
      .map(line => JSON.parse(line));
    expect(events).toContainEqual(
      expect.objectContaining({
        verb: 'list',
        objectRef: expect.objectContaining({ resource: 'configmaps', namespace: NAMESPACE }),
        impersonatedUser: expect.objectContaining({ username: 'somebody' }),
      }),
    );
  });

  it.runIf(!OURS)('takes a pod on one node to web on both, by IPv4 and IPv6', reachesWeb);
});

describe.runIf(OURS).each(MODES)('in mode %s', mode => {
  beforeAll(async () => {
    await setMode(mode);
    await waitReady();
  });

  it('a pod on n1 reaches web on both nodes, by IPv4 and IPv6', reachesWeb);

  it.each(NODES)("%s has kube-proxy's rules in one place, and the kubelet's in nft", async node => {
    const [legacy, iptables, nft] = await Promise.all([legacyTables(node), nftIptables(node), ruleset(node)]);
    expect({
      legacy: / KUBE-SVC-\w+ /.test(legacy),
      iptables: / KUBE-SVC-\w+ /.test(iptables),
      nftables: /^table ip6? kube-proxy /m.test(nft),
    }).toEqual({
      legacy: mode === 'iptables-legacy',
      iptables: mode === 'iptables-nft',
      nftables: mode === 'nftables',
    });
    expect(iptables).toContain(':KUBE-KUBELET-CANARY');
    expect(iptables).toContain('pods to the world');
    if (mode !== 'iptables-legacy') expect(legacy).not.toContain('KUBE-');
  });
});

describe.runIf(NODES_CAN_BE_SEEN)('a fingerprint', () => {
  for (const mode of OURS ? MODES : (['as it is'] as const))
    it.each(NODES)(`of %s is the same after traffic (${mode})`, async node => {
      if (mode !== 'as it is') await setMode(mode);
      await waitReady();
      const before = await fingerprint(node);
      for (const service of ['web', 'sticky'])
        for (const ip of await clusterIPs(service)) await curl(`http://${host(ip)}/hostname`);
      expect(await fingerprint(node)).toEqual(before);
    });

  it.runIf(OURS)('is another one when a rule was added', async () => {
    const before = await fingerprint('n1');
    await inNode('n1', ['nft', 'add', 'table', 'ip', 'somebodys']);
    const between = await fingerprint('n1');
    await inNode('n1', ['nft', 'delete', 'table', 'ip', 'somebodys']);
    expect(between).not.toEqual(before);
    expect(await fingerprint('n1')).toEqual(before);
  });
});

/** Only where the suite brought the cluster up: somebody else's stays. */
describe.runIf(inject('clusterIsSuites'))('down', () => {
  const NOTHING = {
    namespaces: [],
    links: [],
    addresses: [],
    routes: [],
    mounts: [],
    processes: [],
    cgroups: [],
    state: [],
  };

  async function leavesNothing(): Promise<void> {
    await down();
    expect(await remains()).toEqual(NOTHING);
    expect(outerSysctls()).toEqual(inject('sysctlsBefore'));
  }

  it('leaves nothing of a running cluster', async () => {
    const there = await remains();
    expect(there.namespaces).toHaveLength(3);
    expect(there.processes!.length).toBeGreaterThan(10);
    await leavesNothing();
  });

  it('has nothing to do when there is nothing', leavesNothing);

  it.each(['network', 'control plane', 'nodes'])('leaves nothing of an up that was killed at "%s"', async stage => {
    await upKilledAt(stage);
    await leavesNothing();
  });

  it('is not needed before an up that follows one that was killed', async () => {
    await upKilledAt('control plane');
    await up('nftables');
    expect(await readyNodes()).toEqual(['n1', 'n2']);
    await applyObjects();
    await reachesWeb();
  });

  it('is not undone by an up that has nothing to do', async () => {
    await up();
    expect(await readyNodes()).toEqual(['n1', 'n2']);
  });
});
