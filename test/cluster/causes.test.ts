/**
 * What the kernel does beside netfilter, and kube-proxy behind the API server: broken for real on a node of our own cluster, the
 * first finding must name the cause, and the node is afterwards as it was.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { FindingKind } from '../../src/model.ts';
import { type LiveRun, runLive } from '../support/live.ts';
import {
  applyObjects,
  inNode,
  kubeconfig,
  kubectl,
  MODES,
  NAMESPACE,
  nodes,
  OURS,
  poll,
  run,
  setMode,
  waitReady,
} from './cluster.ts';

const CLIENT = 'client-n1';

interface Place {
  /** The address of the pod that asks, and of the endpoint on the other node. */
  client: string;
  endpoint: string;
}

/** A line of shell in node n1, and the one that takes it back. */
interface Fault {
  name: string;
  breaks(place: Place): string;
  mends(place: Place): string;
  finding: FindingKind;
  says: RegExp;
}

const FAULTS: Fault[] = [
  {
    name: 'forwarding is off',
    breaks: () => 'echo 0 >/proc/sys/net/ipv4/ip_forward',
    mends: () => 'echo 1 >/proc/sys/net/ipv4/ip_forward',
    finding: 'DroppedByKernel',
    says: /does not pass on what comes in by cni0: net\.ipv4\.conf\.cni0\.forwarding is 0$/,
  },
  {
    // The packets themselves go by another table, so that it is the answers that come in astray.
    name: 'the way back to the endpoint is by another interface, and rp_filter is on',
    breaks: ({ client, endpoint }) =>
      [
        `ip route add $(ip route get ${endpoint} | sed -n 's/\\(.*dev [^ ]*\\).*/\\1/p') table 77`,
        'ip rule add fwmark 0x77 lookup 77',
        `nft 'table ip ts_mark { chain c { type filter hook prerouting priority mangle; ip saddr ${client} tcp dport 80 meta mark set 0x77; }; }'`,
        'ip link add ts-astray type bridge',
        'ip link set ts-astray up',
        `ip route add ${endpoint}/32 dev ts-astray`,
        'echo 1 >/proc/sys/net/ipv4/conf/eth0/rp_filter',
      ].join(' && '),
    mends: ({ endpoint }) =>
      [
        'echo 0 >/proc/sys/net/ipv4/conf/eth0/rp_filter',
        `ip route del ${endpoint}/32 dev ts-astray`,
        'ip link del ts-astray',
        'nft delete table ip ts_mark',
        'ip rule del fwmark 0x77 lookup 77',
        'ip route flush table 77',
      ].join('; '),
    finding: 'ReplyLost',
    says: /answered, and the kernel took the answer for forged: the way back to \S+ is not by eth0, where it came in, and rp_filter is on there$/,
  },
  {
    name: 'there is no route to the endpoint',
    breaks: ({ endpoint }) => `ip route add unreachable ${endpoint}/32`,
    mends: ({ endpoint }) => `ip route del unreachable ${endpoint}/32`,
    finding: 'DroppedByKernel',
    says: /has no route to \S+:8080 .*for what comes in by cni0: No route to host, as it told the sender$/,
  },
  {
    name: 'a rule takes the packets out of conntrack',
    breaks: ({ client }) =>
      `nft 'table ip ts_notrack { chain c { type filter hook prerouting priority raw; ip saddr ${client} notrack; }; }'`,
    mends: () => 'nft delete table ip ts_notrack',
    finding: 'NotTranslated',
    says: /: ts_notrack c rule 1 ".*notrack" takes its packets out of conntrack/,
  },
  {
    name: 'a rule drops them at the egress of the node, behind the hooks of IP',
    breaks: ({ client }) =>
      `nft 'table netdev ts_out { chain c { type filter hook egress device eth0 priority 0; ip saddr ${client} tcp dport 8080 drop; }; }'`,
    mends: () => 'nft delete table netdev ts_out',
    finding: 'DroppedByRule',
    says: /was dropped by a rule on this node: netdev ts_out c rule 1 "ip saddr \S+ tcp dport 8080 drop"$/,
  },
  {
    name: 'a rule drops the answer at the bridge, in front of the pod',
    breaks: ({ client }) =>
      `nft 'table bridge ts_br { chain c { type filter hook output priority 0; ip daddr ${client} tcp sport 80 drop; }; }'`,
    mends: () => 'nft delete table bridge ts_br',
    finding: 'ReplyLost',
    says: /answered, and the answer was lost on this node at bridge ts_br c rule 1 "ip daddr \S+ tcp sport 80 drop"$/,
  },
];

const trace = () =>
  runLive(
    ['-n', NAMESPACE, 'web-one-node', '--from', `pod/${CLIENT}`, '--path', '/hostname', '--timeout', '2'],
    kubeconfig(),
  );

const podIp = (...selector: string[]) =>
  kubectl('-n', NAMESPACE, 'get', 'pod', ...selector, '-o', 'jsonpath={..status.podIP}');

const first = ({ report }: LiveRun) => `${report.findings[0]?.kind}: ${report.findings[0]?.sentence}`;

describe.runIf(OURS).each(MODES)('in mode %s', mode => {
  let place: Place;
  beforeAll(async () => {
    await applyObjects();
    await setMode(mode);
    await waitReady();
    place = { client: await podIp(CLIENT), endpoint: await podIp('-l', 'app=one,at=n2') };
  });

  describe.each(FAULTS)('$name', ({ breaks, mends, finding, says }) => {
    beforeAll(() => inNode('n1', ['sh', '-c', breaks(place)]));
    afterAll(() => inNode('n1', ['sh', '-c', mends(place)]));

    it('is the first finding', async () => {
      const traced = await trace();
      expect(first(traced)).toMatch(new RegExp(`^${finding}: `));
      expect(traced.report.findings[0]?.sentence).toMatch(says);
      expect(traced.report.completeness).toMatchObject({ complete: true });
      expect(traced.code).toBe(3);
    });
  });

  it('and all is well again', async () => expect(first(await trace())).toMatch(/^ServiceAnswered: /));

  it('kube-proxy that stands still is named, when its rules lead to an endpoint that is gone', async () => {
    const proxy = await processOf('kube-proxy');
    process.kill(proxy, 'SIGSTOP');
    try {
      await kubectl(
        '-n',
        NAMESPACE,
        'delete',
        'pod',
        '-l',
        'app=one,at=n2',
        '--grace-period=0',
        '--force',
        '--wait=true',
      );
      await poll('another endpoint', async () => {
        const ip = await podIp('-l', 'app=one,at=n2');
        const slices = await kubectl(
          '-n',
          NAMESPACE,
          'get',
          'endpointslices',
          '-l',
          'kubernetes.io/service-name=web-one-node',
          '-o',
          'yaml',
        );
        return ip !== '' && ip !== place.endpoint && slices.includes(ip) && !slices.includes(`${place.endpoint}\n`)
          ? ip
          : undefined;
      });
      const traced = await trace();
      expect(first(traced)).toMatch(/^KubeProxyBehind: kube-proxy on this node is behind/);
      expect(traced.report.findings.map(({ kind }) => kind)).not.toContain('ReplyLost');
    } finally {
      process.kill(proxy, 'SIGCONT');
    }
    await waitReady();
  });
});

/** A process of node n1 by its name. */
async function processOf(name: string): Promise<number> {
  expect(await nodes()).toHaveProperty('n1');
  const pids = (await run('ip', ['netns', 'pids', 'ts-n1'])).split('\n').filter(pid => pid !== '');
  const found = pids.find(pid => readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === name);
  if (found === undefined) throw new Error(`no ${name} runs on n1`);
  return Number(found);
}
