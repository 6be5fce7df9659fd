/**
 * The script that builds a scenario's small cluster out of network namespaces: two nodes on a wire with the API server's
 * host, pods on point-to-point links behind them, and the rules kube-proxy, the CNI and kubelet would write. Text only.
 */
import { iptablesChain } from '../kube/names.ts';
import { iptablesRules } from './proxy-iptables.ts';
import type { ProxyNode } from './proxy-model.ts';
import { nftablesEntry, nftablesRules } from './proxy-nftables.ts';
import {
  API_SERVER,
  type LabPod,
  type Mode,
  NODES,
  objectsOf,
  POD_CIDR,
  type Scenario,
  SERVICE_CIDR,
  senderOf,
} from './scenarios.ts';

/** Runs as root of its own mount, network and process namespaces; `/run` is a file system of its own there. */
export function buildScript(scenario: Scenario, mode: Mode): string {
  const pods = podsOf(scenario);
  return [
    'set -eu',
    wire(),
    ...pods.map(pod),
    rulesScript(scenario, mode),
    ...servers(scenario),
    'for n in n1 n2; do inside $n sh -c "echo nfnetlink_log > /proc/sys/net/netfilter/nf_log/2"; done 2>/dev/null || true',
    '',
  ].join('\n');
}

export function podsOf(scenario: Scenario): LabPod[] {
  const sender = senderOf(scenario);
  return scenario.pods.includes(sender) ? scenario.pods : [sender, ...scenario.pods];
}

/** `world` holds the wire's bridge and the API server's address; it forwards nothing, like any host that is no router. */
function wire(): string {
  return `
inside() { ns=$1; shift; nsenter --net=/run/netns/$ns "$@"; }
for n in world n1 n2; do ip netns add $n; ip -n $n link set lo up; done
ip -n world link add br0 type bridge
ip -n world addr add ${API_SERVER}/24 dev br0
ip -n world link set br0 up
# Like a router that knows nothing of cluster IPs and keeps quiet about it.
ip -n world route add blackhole 10.96.0.0/16
for n in n1 n2; do
  ip link add eth0 netns $n type veth peer name $n netns world
  ip -n world link set $n master br0 up
done
ip -n n1 addr add ${NODES.n1}/24 dev eth0
ip -n n2 addr add ${NODES.n2}/24 dev eth0
for n in n1 n2; do
  ip -n $n link set eth0 up
  ip -n $n route add default via ${API_SERVER}
  inside $n sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward; for f in /proc/sys/net/ipv4/conf/*/rp_filter; do echo 0 > $f; done'
done
ip -n n1 route add 10.244.2.0/24 via ${NODES.n2}
ip -n n2 route add 10.244.1.0/24 via ${NODES.n1}`;
}

/** A pod on a link of its own, as the ptp plugin and Calico do it: everything it sends goes through the node's hooks. */
function pod({ name, address, node }: LabPod): string {
  const host = interfaceOf(name);
  const gateway = `${address.split('.').slice(0, 3).join('.')}.1`;
  return `
ip netns add ${name}
ip -n ${name} link set lo up
ip link add eth0 netns ${name} type veth peer name ${host} netns ${node}
ip -n ${name} addr add ${address}/32 dev eth0
ip -n ${name} link set eth0 up
ip -n ${node} link set ${host} up
ip -n ${node} addr add ${gateway}/32 dev ${host} 2>/dev/null || true
ip -n ${name} route add ${gateway} dev eth0
ip -n ${name} route add default via ${gateway}
ip -n ${node} route add ${address} dev ${host}
nsenter --net=/run/netns/${name} sh -c 'echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range' 2>/dev/null || true`;
}

/** At most 15 characters (IFNAMSIZ). */
export function interfaceOf(pod: string): string {
  return `veth-${pod}`.slice(0, 15);
}

/** Every pod that listens, and the API server where it is asked; in the background, ready when their file is there. */
function servers(scenario: Scenario): string[] {
  const start = (namespace: string, name: string, address: string, port: number, tls: string) =>
    `nsenter --net=/run/netns/${namespace} "$TS_NODE" -e "$TS_SERVER" ${name} ${address} ${port} ${tls} </dev/null >/dev/null 2>&1 &`;
  const list = serversOf(scenario).map(s => start(s.namespace, s.name, s.address, s.port, s.tls ? 'tls' : ''));
  return [
    ...list,
    `for s in ${serversOf(scenario)
      .map(s => s.name)
      .join(' ')}; do until [ -e /run/ready-$s ]; do sleep 0.02; done; done`,
  ];
}

interface LabServer {
  namespace: string;
  name: string;
  address: string;
  port: number;
  tls: boolean;
}

function serversOf(scenario: Scenario): LabServer[] {
  if (scenario.endpoints === 'api-server')
    return [{ namespace: 'world', name: 'api-server', address: API_SERVER, port: 6443, tls: true }];
  return scenario.pods.flatMap(({ name, address, listens }) =>
    listens === undefined ? [] : [{ namespace: name, name, address, port: listens, tls: false }],
  );
}

function rulesScript(scenario: Scenario, mode: Mode): string {
  const objects = objectsOf(scenario);
  return (['n1', 'n2'] as const)
    .map(name => {
      const node: ProxyNode = { name, addresses: [NODES[name]], clusterCidr: POD_CIDR, serviceCidr: SERVICE_CIDR };
      const proxy =
        mode === 'nftables'
          ? load(name, 'nft -f -', nftablesRules(objects, node, 'ip') + nftablesEntry(node, 'ip'))
          : load(name, `${flavour(mode)}-restore --noflush`, iptablesRules(objects, node, 'ip'));
      return [
        ...(mode === 'legacy' || mode === 'mixed' ? [rawTable(name)] : []),
        proxy,
        ...(scenario.unmasqueraded ? [] : [masquerade(name, mode)]),
        ...(name === 'n1' ? policy(scenario, mode) : []),
      ].join('\n');
    })
    .join('\n');
}

/** kube-proxy's flavour, and that of everybody else: on a mixed node they differ. */
function flavour(mode: Mode): string {
  return mode === 'nft' ? 'iptables-nft' : 'iptables-legacy';
}

function othersFlavour(mode: Mode): string {
  return mode === 'legacy' ? 'iptables-legacy' : 'iptables-nft';
}

/** The kernel makes a legacy table when it is first listed; nodes with Calico or NodeLocal DNS have this one. */
function rawTable(node: string): string {
  return `inside ${node} iptables-legacy -t raw -S >/dev/null`;
}

function load(node: string, command: string, text: string): string {
  return `inside ${node} ${command} <<'RULES'\n${text}RULES`;
}

/** What CNI plugins add so that pods can talk to the world (ipMasq). */
function masquerade(node: string, mode: Mode): string {
  return `inside ${node} ${othersFlavour(mode)} -w -t nat -A POSTROUTING -s ${POD_CIDR} ! -d ${POD_CIDR} -m comment --comment "pods to the world" -j MASQUERADE`;
}

/** A pod's firewall chain in kube-router's words: what no policy lets in is rejected. */
function policy(scenario: Scenario, mode: Mode): string[] {
  const target = scenario.pods.find(p => p.name === scenario.policy);
  if (!target) return [];
  const ipt = `inside ${target.node} ${othersFlavour(mode)} -w`;
  const firewall = iptablesChain('KUBE-POD-FW-', `default${target.name}`, '');
  const words = `POD name:${target.name} namespace: default`;
  return [
    `${ipt} -N ${firewall}`,
    `${ipt} -A ${firewall} -m comment --comment "rule for stateful firewall for pod" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `${ipt} -A ${firewall} -m comment --comment "rule to REJECT traffic destined for ${words}" -j REJECT --reject-with icmp-port-unreachable`,
    `${ipt} -I FORWARD 1 -m comment --comment "rule to jump traffic destined to ${words} to chain ${firewall}" -d ${target.address}/32 -j ${firewall}`,
  ];
}
