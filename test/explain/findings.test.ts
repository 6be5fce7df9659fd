/**
 * Every kind of finding: what calls for it, and what is nearly that and does not. Rows of the captures are real; the others
 * are made of lines the kernel would write.
 */
import { describe, expect, test } from 'vitest';
import { analyse } from '../../src/analyse.ts';
import { FINDINGS } from '../../src/explain/findings.ts';
import type { Finding, FindingKind, Report } from '../../src/model.ts';
import { captureOf, explained, fileOf, ipvsCapture, linesOf } from '../reconstruct/captures.ts';
import { inOneFile } from '../reconstruct/compare.ts';
import { type Fields, kernelLine, kernelLines, nftPacket, nftPolicy } from '../reconstruct/packets.ts';
import {
  ACK,
  answers,
  arrives,
  CLUSTER_IP,
  curl,
  FAR,
  later,
  leaves,
  NEAR,
  objects,
  PING,
  POD,
  reportOfWorld,
  rules,
  SERVICE,
  TIMED_OUT,
} from './world.ts';

interface Row {
  kind: FindingKind;
  what: string;
  report(): Report;
  /** What the sentence must say. */
  says?: RegExp;
  remedy?: RegExp;
  severity?: Finding['severity'];
  facts?: Record<string, string | number | boolean>;
}

interface Near {
  kind: FindingKind;
  what: string;
  report(): Report;
  /** What it is instead. */
  instead?: FindingKind;
}

const NFT_WHOLE = { traces: ['kmsg.txt', 'nft-monitor.txt'] } as const;
const nft = (scenario: string) => () => explained('nft', scenario, NFT_WHOLE);
const nftables = (scenario: string) => () => explained('nftables', scenario, NFT_WHOLE);
const legacy = (scenario: string) => () => explained('legacy', scenario);

const TWO_ENDPOINTS = rules()
  .replace(':KUBE-POSTROUTING', ':KUBE-SEP-CCCCCCCCCCCCCCCC - [0:0]\n:KUBE-POSTROUTING')
  .replace(
    /(-A KUBE-SVC\S+).*probability.*\n/,
    `$&$1 -m comment --comment "default/web:http -> ${NEAR}:8080" -j KUBE-SEP-CCCCCCCCCCCCCCCC\n-A KUBE-SEP-CCCCCCCCCCCCCCCC -p tcp -m comment --comment "default/web:http" -m tcp -j DNAT --to-destination ${NEAR}:8080\n`,
  );

/** Two connections one after the other, by the first endpoint's rule. */
function twice(text: string): Report {
  const connection = (spt: number, id: number) => [
    ...arrives({ spt, id }),
    ...leaves({ spt, id }),
    ...answers({ dpt: spt, id: id + 500 }),
    ...later({ ...ACK, spt, id: id + 1 }),
  ];
  return reportOfWorld([...connection(40000, 100), ...connection(40001, 200)], {
    rules: [{ name: 'rules', text }],
    probes: [curl(), curl()],
  });
}

/** An answer to another port of the pod, as it leaves the node. */
const STALE: Fields = { src: CLUSTER_IP, spt: 80, dst: POD, dpt: 39999, flags: 'ACK SYN', ttl: 62, out: 'veth1' };

/** What the node told of its kernel beside netfilter. */
function beside(
  tools: Record<string, string>,
  routes: string[],
  lines = [...arrives(), ...arrives({ id: 101 })],
): Report {
  return reportOfWorld(lines, { probes: [curl(TIMED_OUT)], node: { tools }, routes });
}

/** Forwarded, and then met by a rule of filter in front of kube-proxy's. */
function meets(rule: string, lines: string[], chains: string[] = []): Report {
  const filter = [...(chains.length > 0 ? [`FORWARD -j ${chains[0]}`] : []), rule];
  return reportOfWorld([...arrives(), ...lines], {
    rules: [{ name: 'rules', text: rules({ filter, chains }) }],
    probes: [curl(TIMED_OUT)],
  });
}

/** kube-proxy before 1.26: nat has the packet marked by a rule, and kubelet's chain drops what is marked. */
function marksForDropping(chain: string, rule: string): Report {
  const at = { in: 'veth1' };
  const dropped = { ...at, mark: 0x8000 };
  const text = rules({ chains: ['KUBE-FIREWALL'], filter: [`INPUT -j KUBE-FIREWALL`, DROPS_MARKED] }).replace(
    `-A KUBE-SERVICES -d ${CLUSTER_IP}/32`,
    `-A ${chain} ${rule} -j KUBE-MARK-DROP\n-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000\n-A KUBE-SERVICES -p tcp -j ${chain}\n$&`,
  );
  const declared = text.replace(':KUBE-SERVICES', `:${chain} - [0:0]\n:KUBE-MARK-DROP - [0:0]\n$&`);
  const before = ['PREROUTING:rule:1', 'KUBE-SERVICES:rule:1', `${chain}:rule:1`, 'KUBE-MARK-DROP:rule:1'];
  const behind = ['KUBE-MARK-DROP:return:2', `${chain}:return:2`, 'KUBE-SERVICES:return:3', 'PREROUTING:policy:2'];
  const last = ['mangle:INPUT:policy:1', 'filter:INPUT:rule:1', 'filter:KUBE-FIREWALL:rule:1'];
  const nat = (points: string[]) => points.map(point => `nat:${point}`);
  return reportOfWorld(
    [
      ...kernelLines(at, ['mangle:PREROUTING:policy:1', ...nat(before)]),
      ...kernelLines(dropped, [...nat(behind), ...last]),
    ],
    { rules: [{ name: 'rules', text: declared }] },
  );
}
const DROPS_MARKED =
  'KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark 0x8000/0x8000 -j DROP';

/** The rules with another one in front of the first that begins so. */
const changedRules = (begin: string, rule: string) => [
  { name: 'rules', text: rules().replace(`${begin} `, `${rule}\n${begin} `) },
];

const THERE = { in: 'veth1', out: 'eth0', ttl: 63, dst: FAR, dpt: 8080 };
const STOPPED = kernelLines(THERE, ['mangle:FORWARD:policy:1', 'filter:FORWARD:rule:1']);
/** The node's own word that it rejected the SYN. */
const ERROR = {
  proto: 'ICMP',
  type: 3,
  code: 3,
  src: '10.244.1.1',
  dst: POD,
  id: 77,
  len: 88,
  out: 'veth1',
  quotes: { ttl: 63 },
} as const;
const TOLD = kernelLines(ERROR, ['mangle:OUTPUT:policy:1', 'filter:OUTPUT:policy:1', 'mangle:POSTROUTING:policy:1']);

const withPort = (port: number) =>
  objects({
    services: [{ ...SERVICE, ports: [...SERVICE.ports, { name: 'more', port, protocol: 'TCP', targetPort: 9090 }] }],
  });

const ROWS: Row[] = [
  {
    kind: 'ServiceAnswered',
    what: 'iptables',
    report: legacy('web-curl'),
    says: /^default\/web:80 answered with HTTP 200 from 10\.244\.1\.74:8080 \(pod web-\S+ on nodea\)$/,
  },
  { kind: 'ServiceAnswered', what: 'nftables', report: nftables('web-curl'), says: /HTTP 200/ },
  { kind: 'ServiceAnswered', what: 'a node port', report: nft('np-curl'), says: /default\/np:30080/ },
  {
    kind: 'ServiceAnswered',
    what: 'no probe: a SYN ACK and an ACK tell',
    report: () => reportOfWorld([...arrives(), ...leaves(), ...answers(), ...later(ACK)]),
    severity: 'info',
  },
  {
    kind: 'ServiceAnswered',
    what: 'replies are not traced: that the client went on tells',
    report: () => reportOfWorld([...arrives(), ...leaves(), ...later(ACK)]),
  },
  {
    kind: 'ServiceAnswered',
    what: "HTTP 503 is an answer, and nobody's success",
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...later(ACK)], {
        probes: [curl({ stdout: '', stderr: '503\n' })],
      }),
    says: /HTTP 503/,
    severity: 'warning',
    remedy: /logs of the pod/,
  },

  {
    kind: 'KubeProxyBehind',
    what: 'the rules lead to a pod that is no endpoint any more',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        objects: objects({ endpoints: objects().endpoints.slice(1) }),
        probes: [curl(TIMED_OUT)],
        node: { tools: { proxy_synced: '340' } },
      }),
    says: /its rules sent default\/web:80 to 10\.244\.2\.9:8080 .*, which is no endpoint of the Service now \(it has 10\.244\.1\.9:8080\); it last wrote rules 340 s before$/,
    severity: 'error',
    remedy: /does it run/,
  },
  {
    kind: 'KubeProxyBehind',
    what: "the other backend's nat chain is asked behind the rule that translated",
    report: () =>
      reportOfWorld(
        [
          ...arrives(),
          nftPacket('a1', 'nat PREROUTING', { in: 'veth1' }),
          nftPolicy('a1', 'nat PREROUTING'),
          ...leaves(),
        ],
        { objects: objects({ endpoints: objects().endpoints.slice(1) }), probes: [curl(TIMED_OUT)] },
      ),
    severity: 'error',
  },
  {
    kind: 'KubeProxyBehind',
    what: 'the old pod still answers',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...later(ACK)], {
        objects: objects({ endpoints: objects().endpoints.slice(1) }),
        probes: [curl()],
      }),
    severity: 'warning',
  },
  {
    kind: 'DroppedByRule',
    what: 'a first try was dropped, the second one answered',
    report: () =>
      reportOfWorld(
        [
          ...arrives(),
          ...STOPPED,
          ...arrives({ id: 101 }),
          ...leaves({ id: 101 }, 1),
          ...answers(),
          ...later({ ...ACK, id: 102 }),
        ],
        {
          rules: [{ name: 'rules', text: rules({ filter: ['FORWARD -m statistic --mode nth --every 2 -j DROP'] }) }],
          probes: [curl()],
        },
      ),
    says: /^a SYN of the connection to default\/web:80 was dropped by a rule on this node: filter FORWARD rule 1 .*; a later one came through$/,
    severity: 'warning',
  },
  {
    kind: 'EndpointSilent',
    what: 'a rule in front of kube-proxy translated',
    report: () =>
      reportOfWorld(
        [
          ...['mangle:PREROUTING:policy:1', 'nat:PREROUTING:rule:1'].map(at => kernelLine(at, { in: 'veth1' })),
          ...leaves(),
        ],
        {
          rules: changedRules(
            '-A PREROUTING',
            `-A PREROUTING -d ${CLUSTER_IP}/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ${FAR}:8080`,
          ),
          probes: [curl(TIMED_OUT)],
        },
      ),
    says: /was sent on to 10\.244\.2\.9:8080 .* \(by nat PREROUTING rule 1, no rule of kube-proxy\), and no reply came back$/,
    remedy: /find out who wrote that rule/,
  },
  {
    kind: 'EndpointSilent',
    what: "a rule that is not kube-proxy's gave it another source",
    report: () =>
      reportOfWorld(
        [
          ...arrives(),
          ...leaves().slice(0, 5),
          kernelLine('nat:POSTROUTING:rule:1', { out: 'eth0', ttl: 63, dst: FAR, dpt: 8080 }),
        ],
        {
          rules: changedRules('-A POSTROUTING', '-A POSTROUTING -p tcp -j SNAT --to-source 192.0.2.9'),
          probes: [curl(TIMED_OUT)],
        },
      ),
    says: /, from 192\.0\.2\.9 \(by nat POSTROUTING rule 1\), and no reply came back$/,
    remedy: /Replies go to 192\.0\.2\.9: is that an address of this node\?/,
  },
  {
    kind: 'EndpointSilent',
    what: "the endpoint's neighbour entry has failed: nobody has that address",
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        probes: [curl(TIMED_OUT)],
        routes: [`${FAR} ${FAR} from ${POD} dev eth0 `, `${FAR} dev eth0 FAILED`],
      }),
    says: /nobody on eth0 answers for that address \(neighbour FAILED\)$/,
    remedy: /gone or has lost its network/,
  },
  {
    kind: 'EndpointSilent',
    what: 'it left by a gateway the route names',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        probes: [curl(TIMED_OUT)],
        routes: [`${FAR} ${FAR} from ${POD} via 172.30.0.1 dev eth0 `],
      }),
    says: /by eth0 via 172\.30\.0\.1, and no reply came back$/,
    remedy: /kubectl trace-svc svc\/web -n default --node nodeb/,
  },
  {
    kind: 'PingNotTranslated',
    what: 'iptables',
    report: legacy('web-ping'),
    says: /got no reply, as expected here: no rule translates ICMP \(the one for this Service, KUBE-SERVICES rule 2, wants -p tcp, --dport 80\); the packet left by eth0/,
  },
  {
    kind: 'PingNotTranslated',
    what: 'iptables-nft',
    report: nft('web-ping'),
    says: /KUBE-SERVICES rule 5, wants -p tcp, --dport 80\)/,
  },
  {
    kind: 'PingNotTranslated',
    what: 'without rules, beside a curl of the same address',
    report: () => explained('legacy', ['web-curl', 'web-ping'], { rules: false, objects: false }),
    says: /no rule translates ICMP/,
  },

  {
    kind: 'PingRejected',
    what: 'nftables',
    report: nftables('web-ping'),
    says: /as expected here: kube-proxy cluster-ips-check rule 1/,
  },
  { kind: 'PingRejected', what: 'IPVS', report: () => analyse(ipvsCapture()), says: /KUBE-IPVS-FILTER rule 2/ },

  {
    kind: 'PingAnsweredByNode',
    what: 'IPVS before its filter: the node has the address',
    report: () => analyse(ipvsCapture()),
    says: /answered by the node itself/,
  },

  {
    kind: 'PingAnswered',
    what: 'a reply came back from elsewhere',
    report: () =>
      reportOfWorld([
        ...arrives(PING, false),
        ...leaves({ ...PING, dst: CLUSTER_IP }),
        ...answers({ ...PING, type: 0, src: CLUSTER_IP, flags: '' }),
      ]),
    says: /^ping 10\.96\.0\.10 was answered$/,
  },

  {
    kind: 'NoEndpoints',
    what: 'iptables',
    report: legacy('noep-curl'),
    says: /for the Service has no endpoints: filter KUBE-SERVICES rule 2 "default\/noep:http has no endpoints"/,
    remedy: /kubectl describe service -n default noep$/,
  },
  { kind: 'NoEndpoints', what: 'iptables-nft', report: nft('noep-curl'), says: /has no endpoints/ },
  {
    kind: 'NoEndpoints',
    what: "without rules: kube-proxy's own chain rejected, and the Service is known",
    report: () => explained('legacy', 'noep-curl', { rules: false }),
    says: /has no endpoints/,
  },

  {
    kind: 'NoLocalEndpoints',
    what: 'iptables',
    report: legacy('itplocal-curl'),
    says: /policy is Local and no endpoint runs here/,
    remedy: /Cluster/,
  },
  {
    kind: 'ServiceAnswered',
    what: 'one of two connections: the log ends behind the request of the other',
    report: () =>
      reportOfWorld([
        ...arrives(),
        ...leaves(),
        ...answers(),
        ...later(ACK),
        ...arrives({ spt: 40001, id: 300 }),
        ...leaves({ spt: 40001, id: 300 }),
      ]),
    says: /\(1 of 2 connections\)/,
  },
  {
    kind: 'NoLocalEndpoints',
    what: 'marked for dropping, as kube-proxy before 1.26 did it',
    report: () =>
      marksForDropping('KUBE-XLB-AAAAAAAAAAAAAAAA', '-m comment --comment "default/web:http has no local endpoints"'),
    says: /KUBE-XLB-A+ rule 1 "default\/web:http has no local endpoints", which had it marked/,
  },
  {
    kind: 'DroppedByRule',
    what: 'marked for dropping: not in the source ranges',
    report: () => marksForDropping('KUBE-FW-AAAAAAAAAAAAAAAA', ''),
    says: /nat KUBE-FW-A+ rule 1 .*which had it marked for KUBE-FIREWALL to drop/,
    remedy: /loadBalancerSourceRanges/,
  },
  {
    kind: 'DroppedByRule',
    what: "a chain's policy",
    report: () =>
      reportOfWorld([...arrives(), ...leaves().slice(0, 4)], {
        rules: [
          {
            name: 'rules',
            text: rules().replace(
              ':FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE',
              ':FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE',
            ),
          },
        ],
      }),
    says: /dropped by a chain's policy on this node: filter FORWARD policy/,
    remedy: /No rule of the chain let it pass/,
  },
  { kind: 'NoLocalEndpoints', what: 'nftables', report: nftables('itplocal-curl'), says: /no-endpoint-services/ },

  {
    kind: 'PortNotExposed',
    what: 'iptables-nft: nothing translates it',
    report: nft('unexposed-curl'),
    says: /default\/web has no port 81 \(it has 80\/TCP\).*left by eth0/,
    remedy: /80\/TCP/,
  },
  {
    kind: 'PortNotExposed',
    what: 'nftables: a rule rejects it',
    report: nftables('unexposed-curl'),
    says: /so kube-proxy cluster-ips-check rule 1 .* rejected it/,
  },

  {
    kind: 'NotTranslated',
    what: 'the Service has the port, and no rule knows it',
    report: () =>
      reportOfWorld([...arrives({ dpt: 81 }, false), ...leaves({ dst: CLUSTER_IP, dpt: 81 })], {
        objects: withPort(81),
        probes: [curl({ ...TIMED_OUT, target: `${CLUSTER_IP}:81` })],
      }),
    says: /no rule on this node translated default\/web:81/,
    remedy: /kube-proxy on this node/,
  },
  {
    kind: 'NotTranslated',
    what: 'a rule takes its packets out of conntrack',
    report: () => {
      const raw = `*raw\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n-A PREROUTING -d ${CLUSTER_IP}/32 -m comment --comment "no state here" -j CT --notrack\nCOMMIT\n`;
      const lines = [
        kernelLine('raw:PREROUTING:rule:1', { in: 'veth1' }),
        kernelLine('raw:PREROUTING:policy:2', { in: 'veth1' }),
        kernelLine('mangle:PREROUTING:policy:1', { in: 'veth1' }),
        ...leaves({ dst: CLUSTER_IP, dpt: 80 }).filter(line => !/TRACE: nat:/.test(line)),
      ];
      return reportOfWorld(lines, { rules: [{ name: 'rules', text: raw + rules() }], probes: [curl(TIMED_OUT)] });
    },
    says: /^no rule on this node translated default\/web:80: raw PREROUTING rule 1 "no state here" takes its packets out of conntrack/,
    remedy: /leave out the addresses of Services/,
  },

  {
    kind: 'EndpointRefused',
    what: 'a reset from the endpoint',
    report: legacy('wrongport-curl'),
    says: /10\.244\.1\.73:9999 \(pod .*\), and that endpoint itself refused \(RST ACK\)/,
    remedy: /targetPort is 9999/,
  },
  {
    kind: 'EndpointRefused',
    what: 'port unreachable from the endpoint, for UDP',
    report: legacy('udp-probe'),
    says: /port unreachable/,
  },
  {
    kind: 'EndpointRefused',
    what: 'only the probe says so: replies were not traced',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        probes: [
          curl({
            stdout: '000\n',
            stderr: `curl: (7) Failed to connect to ${CLUSTER_IP} port 80 after 1 ms: Connection refused\n`,
            code: 7,
          }),
        ],
      }),
    says: /was sent on to 10\.244\.2\.9:8080 \(pod web-far on nodeb\), and the connection was refused: by that endpoint, or by a rule on its node/,
    remedy: /trace on the endpoint's node/,
  },
  {
    kind: 'EndpointSilent',
    what: 'the connection was accepted, and the question in it was not answered',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...later(ACK)], { probes: [curl(TIMED_OUT)] }),
    says: /10\.244\.2\.9:8080 \(pod .*\) accepted the connection, and what was asked in it was not answered: curl: \(28\)/,
    remedy: /look at the MTU/,
  },
  {
    kind: 'ServiceAnswered',
    what: 'but not as HTTP',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...later(ACK)], {
        probes: [curl({ stdout: '', stderr: 'curl: (52) Empty reply from server\n', code: 52 })],
      }),
    severity: 'warning',
    says: /, but not as HTTP: curl: \(52\)/,
    remedy: /--scheme/,
  },
  {
    kind: 'DroppedByRule',
    what: 'the handshake went through, and the rule drops what is longer',
    report: () => {
      const rule = 'FORWARD -p tcp -m tcp --dport 8080 --tcp-flags PSH PSH -j DROP';
      const data = later({ ...ACK, id: 102, flags: 'ACK PSH', len: 200 }).slice(0, 2);
      const dropped = [
        data[0] as string,
        kernelLine('filter:FORWARD:rule:1', {
          in: 'veth1',
          out: 'eth0',
          ttl: 63,
          dst: FAR,
          dpt: 8080,
          ...ACK,
          id: 102,
          flags: 'ACK PSH',
          len: 200,
        }),
      ];
      return reportOfWorld([...arrives(), ...leaves({}, 1), ...answers(), ...later(ACK), ...dropped], {
        rules: [{ name: 'rules', text: rules({ filter: [rule] }) }],
        probes: [curl(TIMED_OUT)],
      });
    },
    says: /dropped by a rule on this node: filter FORWARD rule 1/,
  },

  {
    kind: 'EndpointSilent',
    what: 'sent on to another node, nothing came back',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...arrives({ id: 101 }), ...leaves({ id: 101 })], {
        probes: [curl(TIMED_OUT)],
      }),
    says: /sent on to 10\.244\.2\.9:8080 .*by eth0, 2 times, and no reply came back/,
    remedy: /node nodeb/,
  },
  {
    kind: 'EndpointSilent',
    what: 'somebody says that the host is not there',
    report: () =>
      reportOfWorld(
        [
          ...arrives(),
          ...leaves(),
          ...answers({
            proto: 'ICMP',
            type: 3,
            code: 1,
            src: '172.30.0.12',
            flags: '',
            quotes: { dst: FAR, dpt: 8080 },
          }),
        ],
        { probes: [curl(TIMED_OUT)] },
      ),
    says: /172\.30\.0\.12 answered: host unreachable/,
    remedy: /the routes of 172\.30\.0\.12 and of this node/,
  },
  {
    kind: 'EndpointSilent',
    what: 'beside a lost reply, as the other explanation',
    report: legacy('apiserver-curl'),
    severity: 'warning',
    says: /^or 172\.30\.0\.1:6443 itself never answered/,
  },

  {
    kind: 'ReplyLost',
    what: 'not masqueraded on the way to a host outside',
    report: legacy('apiserver-curl'),
    says: /pod's own address 10\.244\.1\.72/,
    remedy: /ip-masq/,
    severity: 'error',
  },
  {
    kind: 'ReplyLost',
    what: 'answered, and asked again',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...arrives({ id: 101 }), ...leaves({ id: 101 })], {
        probes: [curl(TIMED_OUT)],
      }),
    says: /the answer did not reach the sender, who asked again/,
  },
  {
    kind: 'ReplyLost',
    what: 'the answer is dropped by a rule here',
    report: () =>
      reportOfWorld(
        [
          ...arrives(),
          ...leaves({}, 1),
          ...answers().slice(0, 2),
          kernelLine('filter:FORWARD:rule:1', {
            src: FAR,
            spt: 8080,
            dst: POD,
            dpt: 40000,
            flags: 'ACK SYN',
            seq: 5,
            ack: 1001,
            id: 900,
            in: 'eth0',
            out: 'veth1',
          }),
        ],
        { probes: [curl(TIMED_OUT)], rules: [{ name: 'rules', text: rules({ filter: ['FORWARD -i eth0 -j DROP'] }) }] },
      ),
    says: /answered, and the answer was lost on this node at filter FORWARD rule 1/,
  },

  {
    kind: 'Masqueraded',
    what: 'by an external address',
    report: legacy('ext-curl'),
    says: /^the source 10\.244\.1\.72:37736 was masqueraded as 172\.30\.0\.11:57684: not asked at its cluster IP$/,
  },
  {
    kind: 'Masqueraded',
    what: 'without conntrack: to what is not said',
    report: () => explained('legacy', 'ext-curl', { conntrack: false }),
    says: /was masqueraded: not asked at its cluster IP$/,
  },
  {
    kind: 'Masqueraded',
    what: "by the CNI's rule",
    report: nftables('np-curl'),
    says: /masqueraded as 172\.30\.0\.11:52580.*CNI/,
  },

  {
    kind: 'Hairpin',
    what: 'iptables-nft',
    report: nft('self-curl'),
    says: /led back to the pod that asked: 10\.244\.1\.72:8080/,
  },
  { kind: 'Hairpin', what: 'nftables', report: nftables('self-curl') },

  {
    kind: 'EndpointsPicked',
    what: 'two connections, two endpoints',
    report: () => twice(TWO_ENDPOINTS),
    says: /^2 connections to default\/web:80 were sent by chance to 2 endpoints \(each 1 of 2\): 10\.244\.2\.9:8080 2, 10\.244\.1\.9:8080 0$/,
  },
  {
    kind: 'EndpointsPicked',
    what: 'odds that are not even',
    report: () => twice(TWO_ENDPOINTS.replace('probability 0.50000000000', 'probability 0.90000000000')),
    says: /with the odds in brackets: 10\.244\.2\.9:8080 2 \(90 %\), 10\.244\.1\.9:8080 0 \(10 %\)$/,
  },
  {
    kind: 'EndpointsPicked',
    what: 'one that chance would not leave out',
    report: () => twice(TWO_ENDPOINTS.replace('probability 0.50000000000', 'probability 0.01000000000')),
    says: /chance alone would leave out 10\.244\.1\.9:8080 less than once in a thousand times$/,
  },
  {
    kind: 'SessionAffinity',
    what: 'noted for the next time',
    report: legacy('sticky-curl'),
    says: /session affinity noted 10\.244\.1\.74:8080 .*; it lasts 3 h/,
  },
  {
    kind: 'SessionAffinity',
    what: 'chose, for it had been here before',
    report: nftables('sticky-curl'),
    says: /session affinity chose/,
    facts: { kept: true },
  },

  {
    kind: 'RejectedByRule',
    what: "a rule in filter's own chain",
    report: () =>
      meets('FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp-port-unreachable', [...STOPPED, ...TOLD]),
    says: /rejected by a rule on this node: filter FORWARD rule 1/,
    remedy: /not one of kube-proxy's/,
  },
  {
    kind: 'RejectedByRule',
    what: 'IPVS: a set lacks the port the Service has',
    report: () => analyse(ipvsCapture()),
    says: /though the Service has that port/,
    remedy: /KUBE-CLUSTER-IP/,
  },

  {
    kind: 'DroppedByRule',
    what: "a policy's chain, whose owner is named",
    report: () =>
      meets(
        'cali-FORWARD -p tcp -m tcp --dport 8080 -m comment --comment "cali:deny" -j DROP',
        [...kernelLines(THERE, ['mangle:FORWARD:policy:1', 'filter:FORWARD:rule:1', 'filter:cali-FORWARD:rule:1'])],
        ['cali-FORWARD'],
      ),
    says: /dropped by a rule on this node: filter cali-FORWARD rule 1 .*\(Calico\)/,
    remedy: /Calico/,
  },
  {
    kind: 'DroppedByRule',
    what: "a base chain's policy",
    report: () =>
      reportOfWorld([...arrives(), ...leaves().slice(0, 4)], {
        probes: [curl(TIMED_OUT)],
        rules: [
          {
            name: 'rules',
            text: rules().replace(
              ':FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE',
              ':FORWARD DROP [0:0]\n:OUTPUT ACCEPT [0:0]\n:KUBE',
            ),
          },
        ],
      }),
    says: /filter FORWARD policy/,
  },

  {
    kind: 'DroppedByKernel',
    what: 'prerouting let all of them pass, and nothing came after',
    report: () => reportOfWorld([...arrives(), ...arrives({ id: 101 })], { probes: [curl(TIMED_OUT)] }),
    says: /netfilter let all 2 packets to 10\.244\.2\.9:8080 pass, and routing did not hand them on/,
    remedy: /ip route get 10\.244\.2\.9, net.ipv4.ip_forward.*rp_filter of veth1/,
  },
  {
    kind: 'DroppedByKernel',
    what: 'forwarding is off',
    report: () =>
      beside({ not_forwarding: 'all=0 veth1=0 ' }, [`@ veth1 ${POD} ${FAR} RTNETLINK answers: No route to host`]),
    says: /does not pass on what comes in by veth1: net\.ipv4\.conf\.veth1\.forwarding is 0$/,
    remedy: /^sysctl -w net\.ipv4\.conf\.all\.forwarding=1/,
  },
  {
    kind: 'DroppedByKernel',
    what: 'no route, and forwarding is on',
    report: () =>
      beside({ not_forwarding: 'eth5=0 ' }, [`@ veth1 ${POD} ${FAR} RTNETLINK answers: Network is unreachable`]),
    says: /has no route to 10\.244\.2\.9:8080 for what comes in by veth1: Network is unreachable$/,
    remedy: /^Look at the node's routes: ip route get 10\.244\.2\.9 from 10\.244\.1\.5 iif veth1/,
  },
  ...['Invalid cross-device link', 'Invalid argument'].map(
    (error): Row => ({
      kind: 'DroppedByKernel',
      what: `the way back is another: ${error}`,
      report: () =>
        beside({ rp_filters: 'veth1=1 ' }, [
          `@ veth1 ${POD} ${FAR} RTNETLINK answers: ${error}`,
          `${POD} ${POD} dev dum0 src 192.0.2.1`,
        ]),
      says: /the way back to the sender 10\.244\.1\.5 is not by veth1, where they came in, and rp_filter is on there$/,
      remedy: /net\.ipv4\.conf\.veth1\.rp_filter to 2/,
    }),
  ),
  {
    kind: 'DroppedByKernel',
    what: 'conntrack had no room',
    report: () =>
      beside({ conntrack_count: '65536', conntrack_max: '65536', conntrack_dropped: '2' }, [
        `@ veth1 ${POD} ${FAR} dev eth0`,
      ]),
    says: /connection table was full \(65536 of 65536 connections at the beginning\), and conntrack dropped 2 packets/,
    remedy: /nf_conntrack_max/,
  },

  {
    kind: 'TranslatedBeforeNetfilter',
    what: 'the first packet already went to the endpoint',
    report: () =>
      reportOfWorld([...arrives({ dst: FAR, dpt: 8080 }, false), ...leaves(), ...answers()], { probes: [curl()] }),
    says: /the first one already went to 10\.244\.2\.9:8080/,
    remedy: /eBPF/,
  },

  {
    kind: 'NetfilterSawNothing',
    what: 'the probe ran, and no line is about it',
    report: () =>
      reportOfWorld([...arrives({ dst: '10.96.0.77' }, false), ...leaves({ dst: '10.96.0.77', dpt: 80 })], {
        probes: [curl()],
      }),
    says: /saw no packet of curl 10\.96\.0\.10:80, though it was answered/,
    remedy: /eBPF/,
  },

  {
    kind: 'OnlyFirstPacketHitsNat',
    what: 'others came behind it',
    report: legacy('web-curl'),
    says: /only the first packet \(SYN\) asked the nat rules; the connection's later ones followed/,
  },

  {
    kind: 'RulesChanged',
    what: 'a rule is gone from the rules that were given',
    report: () => {
      const capture = captureOf('legacy', 'web-curl');
      capture.rules = capture.rules.map(({ name, text }) => ({
        name,
        text: text.replace(/^-A KUBE-SERVICES -d 10\.96\.164\.231.*\n/m, ''),
      }));
      return analyse(capture);
    },
    says: /rules given are not all those the packets met/,
    remedy: /marked with \?/,
  },
  {
    kind: 'RulesChanged',
    what: 'two snapshots differ in a chain that was met',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers()], {
        rules: [
          { name: 'before', text: rules() },
          { name: 'after', text: rules({ filter: [`FORWARD -s ${NEAR}/32 -j ACCEPT`] }) },
        ],
      }),
    says: /chain FORWARD of filter differs between the snapshots/,
  },

  {
    kind: 'TraceIncomplete',
    what: 'a line is lost',
    report: () =>
      analyse(
        inOneFile(
          captureOf('legacy', 'web-curl'),
          linesOf(fileOf('legacy', 'web-curl', 'kmsg.txt'))
            .slice(0, 5)
            .concat(linesOf(fileOf('legacy', 'web-curl', 'kmsg.txt')).slice(6))
            .join('\n'),
        ),
      ),
    severity: 'warning',
    says: /gap/,
    remedy: /Trace again/,
  },
  {
    kind: 'TraceIncomplete',
    what: 'no rules: nobody can check',
    report: () => explained('legacy', 'web-curl', { rules: false }),
    severity: 'info',
    says: /no rules were given/,
    remedy: /--rules/,
  },
  {
    kind: 'TraceIncomplete',
    what: 'records of the kernel log are missing',
    report: () =>
      reportOfWorld(
        [...arrives(), ...leaves()].map(
          (line, i) => `4,${i < 3 ? i : i + 7},${1000 + i},-;${line.replace(/^\[.*?\] /, '')}`,
        ),
      ),
    severity: 'warning',
    says: /7 lines lost/,
  },
  {
    kind: 'TraceIncomplete',
    what: 'a line is not understood',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), '[ 9.000000] TRACE: nat:KUBE-SERVICES:rule:x IN=veth1 OUT= SRC=1']),
    severity: 'warning',
    says: /1 line/,
  },
];

const NEARLY: Near[] = [
  {
    kind: 'NetfilterSawNothing',
    what: 'the node agent was lost with all it had',
    report: () => reportOfWorld([], { probes: [curl()], losses: ['the connection to the agent was cut'] }),
    instead: 'TraceIncomplete',
  },
  { kind: 'ServiceAnswered', what: 'the SYN alone', report: legacy('apiserver-curl'), instead: 'ReplyLost' },
  { kind: 'ServiceAnswered', what: 'a reset', report: legacy('wrongport-curl'), instead: 'EndpointRefused' },
  {
    kind: 'ServiceAnswered',
    what: 'a SYN ACK that did not reach the client',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers(), ...arrives({ id: 101 }), ...leaves({ id: 101 })]),
    instead: 'ReplyLost',
  },
  {
    kind: 'PingNotTranslated',
    what: 'ping of an address no Service has',
    report: () => reportOfWorld([...arrives({ ...PING, dst: FAR }, false), ...leaves({ ...PING, dst: FAR })]),
  },
  { kind: 'PingNotTranslated', what: 'it was rejected', report: nftables('web-ping'), instead: 'PingRejected' },
  { kind: 'PingRejected', what: 'nobody rejected it', report: legacy('web-ping'), instead: 'PingNotTranslated' },
  {
    kind: 'PingAnsweredByNode',
    what: 'the reply came from elsewhere',
    report: () =>
      reportOfWorld([
        ...arrives(PING, false),
        ...leaves({ ...PING, dst: CLUSTER_IP }),
        ...answers({ ...PING, type: 0, src: CLUSTER_IP, flags: '' }),
      ]),
    instead: 'PingAnswered',
  },
  { kind: 'PingAnswered', what: 'nothing came back', report: legacy('web-ping'), instead: 'PingNotTranslated' },
  {
    kind: 'NoEndpoints',
    what: "somebody else's rule rejected it",
    report: () =>
      meets('FORWARD -p tcp -m tcp --dport 8080 -j REJECT --reject-with icmp-port-unreachable', [...STOPPED, ...TOLD]),
    instead: 'RejectedByRule',
  },
  {
    kind: 'NoEndpoints',
    what: 'no endpoints here, though elsewhere',
    report: legacy('itplocal-curl'),
    instead: 'NoLocalEndpoints',
  },
  { kind: 'NoLocalEndpoints', what: 'none anywhere', report: legacy('noep-curl'), instead: 'NoEndpoints' },
  {
    kind: 'NoLocalEndpoints',
    what: "somebody else's rule dropped it",
    report: () => meets('FORWARD -p tcp -m tcp --dport 8080 -j DROP', STOPPED),
    instead: 'DroppedByRule',
  },
  {
    kind: 'PortNotExposed',
    what: 'the Service has the port, kube-proxy does not know it',
    report: () =>
      reportOfWorld([...arrives({ dpt: 81 }, false), ...leaves({ dst: CLUSTER_IP, dpt: 81 })], {
        objects: withPort(81),
        probes: [curl({ ...TIMED_OUT, target: `${CLUSTER_IP}:81` })],
      }),
    instead: 'NotTranslated',
  },
  {
    kind: 'PortNotExposed',
    what: 'an address no Service has',
    report: () =>
      reportOfWorld([...arrives({ dst: '203.0.113.9' }, false), ...leaves({ dst: '203.0.113.9', dpt: 80 })], {
        probes: [curl({ ...TIMED_OUT, target: '203.0.113.9:80' })],
      }),
  },
  {
    kind: 'PortNotExposed',
    what: 'IPVS: its own table has the port',
    report: () => analyse(ipvsCapture()),
    instead: 'RejectedByRule',
  },
  {
    kind: 'NotTranslated',
    what: 'the Service has no such port',
    report: nft('unexposed-curl'),
    instead: 'PortNotExposed',
  },
  { kind: 'EndpointRefused', what: 'a rule refused', report: legacy('noep-curl'), instead: 'NoEndpoints' },
  {
    kind: 'EndpointRefused',
    what: 'port unreachable from the node, of a packet it rejected',
    report: nftables('unexposed-curl'),
    instead: 'PortNotExposed',
  },
  {
    kind: 'KubeProxyBehind',
    what: "the rule that translated is nobody's of kube-proxy",
    report: () =>
      reportOfWorld(
        [
          ...['mangle:PREROUTING:policy:1', 'nat:PREROUTING:rule:1'].map(at => kernelLine(at, { in: 'veth1' })),
          ...leaves(),
        ],
        {
          objects: objects({ endpoints: objects().endpoints.slice(1) }),
          rules: changedRules(
            '-A PREROUTING',
            `-A PREROUTING -d ${CLUSTER_IP}/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination ${FAR}:8080`,
          ),
          probes: [curl(TIMED_OUT)],
        },
      ),
    instead: 'EndpointSilent',
  },
  { kind: 'KubeProxyBehind', what: 'it is an endpoint', report: legacy('web-curl'), instead: 'ServiceAnswered' },
  {
    kind: 'KubeProxyBehind',
    what: 'the objects given hold no endpoints at all',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], { objects: objects({ endpoints: [] }), probes: [curl(TIMED_OUT)] }),
    instead: 'EndpointSilent',
  },
  { kind: 'EndpointSilent', what: 'it answered', report: legacy('web-curl'), instead: 'ServiceAnswered' },
  {
    kind: 'EndpointSilent',
    what: 'it was dropped here',
    report: () => meets('FORWARD -p tcp -m tcp --dport 8080 -j DROP', STOPPED),
    instead: 'DroppedByRule',
  },
  {
    kind: 'ReplyLost',
    what: 'to a pod of the cluster, silent',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...arrives({ id: 101 }), ...leaves({ id: 101 })], {
        probes: [curl(TIMED_OUT)],
      }),
    instead: 'EndpointSilent',
  },
  {
    kind: 'ReplyLost',
    what: 'answered, and the client went on',
    report: legacy('web-curl'),
    instead: 'ServiceAnswered',
  },
  { kind: 'Masqueraded', what: 'not marked: the source stays', report: legacy('web-curl') },
  { kind: 'Masqueraded', what: "the CNI's chain let it pass by its first rule", report: nftables('web-curl') },
  { kind: 'Hairpin', what: 'to another pod', report: legacy('web-curl') },
  { kind: 'EndpointsPicked', what: 'one endpoint, so nothing to pick', report: () => twice(rules()) },
  {
    kind: 'EndpointsPicked',
    what: 'asked once',
    report: () =>
      reportOfWorld([...arrives(), ...leaves(), ...answers()], {
        rules: [{ name: 'rules', text: TWO_ENDPOINTS }],
        probes: [curl()],
      }),
  },
  { kind: 'SessionAffinity', what: 'a Service without', report: legacy('web-curl') },
  { kind: 'RejectedByRule', what: 'kube-proxy says why itself', report: legacy('noep-curl'), instead: 'NoEndpoints' },
  {
    kind: 'DroppedByRule',
    what: 'kube-proxy says why itself',
    report: legacy('itplocal-curl'),
    instead: 'NoLocalEndpoints',
  },
  {
    kind: 'DroppedByRule',
    what: 'rejected is not dropped',
    report: nftables('unexposed-curl'),
    instead: 'PortNotExposed',
  },
  { kind: 'DroppedByKernel', what: 'it was forwarded', report: legacy('apiserver-curl'), instead: 'ReplyLost' },
  {
    kind: 'DroppedByKernel',
    what: 'the trail ends inside a chain: lines are lost',
    report: () => reportOfWorld(arrives().slice(0, 3), { probes: [curl(TIMED_OUT)] }),
    instead: 'TraceIncomplete',
  },
  {
    kind: 'TranslatedBeforeNetfilter',
    what: 'to an address that is no endpoint of the Service',
    report: () =>
      reportOfWorld([...arrives({ dst: '10.244.2.200', dpt: 8080 }, false), ...leaves({ dst: '10.244.2.200' })], {
        probes: [curl()],
      }),
    instead: 'NetfilterSawNothing',
  },
  { kind: 'NetfilterSawNothing', what: 'it saw it', report: legacy('web-curl') },
  { kind: 'OnlyFirstPacketHitsNat', what: 'there was only one', report: legacy('udp-probe') },
  { kind: 'OnlyFirstPacketHitsNat', what: 'nothing was translated', report: nft('np-curl') },
  {
    kind: 'RulesChanged',
    what: 'two equal snapshots',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        rules: [
          { name: 'before', text: rules() },
          { name: 'after', text: rules() },
        ],
      }),
  },
  {
    kind: 'RulesChanged',
    what: 'they differ in a chain nobody met',
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        rules: [
          { name: 'before', text: rules() },
          { name: 'after', text: rules({ filter: ['INPUT -j ACCEPT'] }) },
        ],
      }),
  },
  {
    kind: 'RulesChanged',
    what: "a tracer's own rule came and went",
    report: () =>
      reportOfWorld([...arrives(), ...leaves()], {
        rules: [
          { name: 'before', text: rules() },
          {
            name: 'after',
            text: `${rules()}*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -s ${POD}/32 -j TRACE\nCOMMIT\n`,
          },
        ],
      }),
  },
  { kind: 'TraceIncomplete', what: 'whole, with rules', report: legacy('web-curl') },
];

/** A log that ends too early, or begins too late, and rules that were not given: less is known, and no other cause is named. */
NEARLY.push(
  {
    kind: 'DroppedByKernel',
    what: 'the log ends behind the first packet, and no probe says that it failed',
    report: () => reportOfWorld(arrives()),
  },
  {
    kind: 'DroppedByKernel',
    what: 'the first one left, and the log ends inside the second',
    report: () => reportOfWorld([...arrives(), ...leaves(), ...arrives({ id: 101 })]),
  },
  {
    kind: 'EndpointSilent',
    what: 'the log ends behind the request of the second connection',
    report: () =>
      reportOfWorld([
        ...arrives(),
        ...leaves(),
        ...answers(),
        ...later(ACK),
        ...arrives({ spt: 40001, id: 300 }),
        ...leaves({ spt: 40001, id: 300 }),
      ]),
    instead: 'ServiceAnswered',
  },
  {
    kind: 'DroppedByRule',
    what: 'an answer was dropped, to what had been opened before the probe',
    report: () =>
      reportOfWorld(
        [
          ...answers({ dpt: 39999, id: 900 }),
          nftPacket('a1', '-', { ...STALE, id: 900 }).replace(' ip - packet', ' bridge fw out packet'),
          'trace id a1 bridge fw out rule drop (verdict drop)',
          ...arrives(),
          ...leaves(),
          ...answers(),
          ...later(ACK),
        ],
        { probes: [curl()] },
      ),
    instead: 'ServiceAnswered',
  },
  {
    kind: 'ReplyLost',
    what: 'the SYN was repeated before the answer came',
    report: () => reportOfWorld([...arrives(), ...leaves(), ...later({ id: 101 }), ...answers()], { probes: [] }),
  },
  {
    kind: 'TranslatedBeforeNetfilter',
    what: 'the beginning is lost: its first line is at forward',
    report: () =>
      reportOfWorld([...leaves(), ...answers(), ...later(ACK, { dst: FAR, dpt: 8080 })], { probes: [curl()] }),
    instead: 'NetfilterSawNothing',
  },
  {
    kind: 'PingRejected',
    what: 'a rule of somebody else rejected it',
    report: () =>
      reportOfWorld(
        [
          ...arrives(PING, false),
          ...kernelLines({ ...PING, in: 'veth1', out: 'eth0', ttl: 63 }, [
            'mangle:FORWARD:policy:1',
            'filter:FORWARD:rule:1',
          ]),
        ],
        { rules: [{ name: 'rules', text: rules({ filter: ['FORWARD -p icmp -j REJECT'] }) }] },
      ),
    instead: 'RejectedByRule',
  },
  {
    kind: 'PortNotExposed',
    what: 'neither objects nor rules were given',
    report: () => explained('nftables', 'unexposed-curl', { ...NFT_WHOLE, rules: false, objects: false }),
    instead: 'RejectedByRule',
  },
  {
    kind: 'NotTranslated',
    what: "another node's port: it is translated there",
    report: () =>
      reportOfWorld(
        [
          ...arrives({ dst: '172.30.0.12', dpt: 30080 }, false),
          ...leaves({ dst: '172.30.0.12', dpt: 30080 }),
          ...arrives({ dst: '172.30.0.12', dpt: 30080, id: 101 }, false),
          ...leaves({ dst: '172.30.0.12', dpt: 30080, id: 101 }),
        ],
        {
          objects: objects({
            nodes: [],
            services: [
              { ...SERVICE, ports: [{ ...(SERVICE.ports[0] as (typeof SERVICE.ports)[number]), nodePort: 30080 }] },
            ],
          }),
        },
      ),
  },
);

ROWS.push(
  {
    kind: 'RejectedByRule',
    what: "the rule's line is lost: the node's own answer tells that there was one",
    report: () => {
      const lines = [
        ...arrives({}, false),
        ...kernelLines({ in: 'veth1', out: 'eth0', ttl: 63 }, ['mangle:FORWARD:policy:1']),
      ];
      return reportOfWorld([...lines, ...TOLD]);
    },
    says: /turned away by this node itself \(port unreachable from 10\.244\.1\.1\).*the last one is mangle FORWARD policy/,
    facts: { unseen: true },
  },
  {
    kind: 'NoEndpoints',
    what: 'the API server has some: kube-proxy is behind',
    report: () => {
      const there = { in: 'veth1', out: 'eth0', ttl: 63 };
      const lines = [
        ...arrives({}, false),
        ...kernelLines(there, ['mangle:FORWARD:policy:1', 'filter:FORWARD:rule:1', 'filter:KUBE-SERVICES:rule:1']),
      ];
      const services = [
        `-d ${CLUSTER_IP}/32 -p tcp -m comment --comment "default/web:http has no endpoints" -m tcp --dport 80 -j REJECT`,
      ];
      return reportOfWorld([...lines, ...TOLD], { rules: [{ name: 'rules', text: rules({ services }) }] });
    },
    says: /kube-proxy here knows no endpoint of the Service.*the API server has 2 ready/,
    remedy: /kube-proxy on this node is behind/,
  },
  {
    kind: 'EndpointRefused',
    what: 'no Service at all: the pod that was asked itself',
    report: () =>
      reportOfWorld(
        [
          ...arrives({ dst: FAR, dpt: 9999 }, false),
          ...leaves({ dst: FAR, dpt: 9999 }),
          ...answers({ spt: 9999, flags: 'ACK RST' }),
        ],
        { objects: objects({ services: [] }) },
      ),
    says: /was sent on to 10\.244\.2\.9:9999.*, and the connection was refused \(RST ACK\): by that endpoint, or by a rule/,
  },
);

const EVERY = Object.keys(FINDINGS) as FindingKind[];

describe('every kind of finding has a row', () => {
  test.each(EVERY)('%s: something that calls for it, and something that nearly does', kind => {
    expect(
      ROWS.some(row => row.kind === kind),
      'a row that produces it',
    ).toBe(true);
    expect(
      NEARLY.some(row => row.kind === kind),
      'a row that must not',
    ).toBe(true);
  });
});

describe('is found', () => {
  test.each(ROWS.map(row => [row.kind, row.what, row] as const))('%s: %s', (kind, _, row) => {
    const report = row.report();
    const found = report.findings.filter(finding => finding.kind === kind);
    expect(report.findings.map(finding => finding.kind)).toContain(kind);
    const said = row.says ? found.filter(finding => row.says?.test(finding.sentence)) : found;
    if (row.says) expect(found.map(finding => finding.sentence).join('\n')).toMatch(row.says);
    const [finding] = said;
    if (row.remedy) expect(finding?.remedy ?? '').toMatch(row.remedy);
    expect(finding?.severity).toBe(row.severity ?? FINDINGS[kind].severity);
    if (row.facts) expect(finding?.facts).toMatchObject(row.facts);
  });
});

describe('is not found', () => {
  test.each(NEARLY.map(row => [row.kind, row.what, row] as const))('%s: %s', (kind, _, row) => {
    const kinds = row.report().findings.map(finding => finding.kind);
    expect(kinds).not.toContain(kind);
    if (row.instead) expect(kinds).toContain(row.instead);
  });
});

describe('every finding of every row', () => {
  test.each(ROWS.map(row => [row.kind, row.what, row] as const))('%s: %s', (_, __, row) => {
    const report = row.report();
    const severities = report.findings.map(finding => ['error', 'warning', 'info'].indexOf(finding.severity));
    expect(severities, 'the worst first').toEqual([...severities].sort((a, b) => a - b));
    for (const finding of report.findings) {
      expect(finding.sentence, 'no word left out of the sentence').not.toMatch(
        /undefined|null|\bNaN\b|\[object| {2}|\s$/,
      );
      expect(finding.remedy ?? '', 'nor of the remedy').not.toMatch(/undefined|null|\bNaN\b|\[object| {2}|\s$/);
      for (const evidence of finding.evidence) {
        if (evidence.journey === undefined) continue;
        const journey = report.journeys[evidence.journey];
        expect(journey, `evidence "${evidence.what}" points at a journey`).toBeDefined();
        if (evidence.hop === undefined) continue;
        const hop = journey?.hops[evidence.hop];
        expect(hop, `evidence "${evidence.what}" points at a hop`).toBeDefined();
        expect(evidence.what.startsWith(`${hop?.table} ${hop?.chain}`)).toBe(true);
        if (evidence.line !== undefined) expect(hop?.evidence).toContain(evidence.line);
      }
      if (finding.probe !== undefined) expect(report.probes[finding.probe]).toBeDefined();
    }
  });
});
