/** The lab's scenarios: each a small cluster of objects and one question to it. Data only. */
import type { Endpoint, KubeObjects, Service } from '../model.ts';

export const MODES = ['legacy', 'nft', 'mixed', 'nftables'] as const;
export type Mode = (typeof MODES)[number];

export interface LabPod {
  name: string;
  address: string;
  node: 'n1' | 'n2';
  /** Where an HTTP server answers with the pod's name; none where nothing listens. */
  listens?: number;
}

export interface Scenario {
  name: string;
  about: string;
  /** What it teaches, one sentence, printed behind the result. */
  lesson: string;
  service: Partial<Service> & { name: string };
  pods: LabPod[];
  /** Endpoints of the Service: pod names, or the API server. */
  endpoints: 'pods' | 'none' | 'api-server';
  endpointPort?: number;
  /** Asked instead of the Service's own address and port. */
  ask?: { address?: string; port?: number };
  /** How often curl is run, one after the other. */
  count?: number;
  /** The sender is this pod of the scenario instead of a pod of its own. */
  from?: string;
  /** A NetworkPolicy's rules, as kube-router writes them: packets to this pod are rejected. */
  policy?: string;
  /** The CNI does not masquerade what leaves the pod network. */
  unmasqueraded?: boolean;
}

export const CLIENT: LabPod = { name: 'client', address: '10.244.1.2', node: 'n1' };
export const NODES = { n1: '172.30.0.11', n2: '172.30.0.12' } as const;
export const API_SERVER = '172.30.0.1';
export const POD_CIDR = '10.244.0.0/16';
export const SERVICE_CIDR = '10.96.0.0/16';
export const CLUSTER_IP = '10.96.100.1';

const web = (name: string, address: string, node: 'n1' | 'n2', listens: number | undefined = 8080): LabPod =>
  listens === undefined ? { name, address, node } : { name, address, node, listens };

const THREE = [web('web-1', '10.244.1.11', 'n1'), web('web-2', '10.244.1.12', 'n1'), web('web-3', '10.244.2.13', 'n2')];

export const SCENARIOS: Scenario[] = [
  {
    name: 'healthy',
    about: 'a Service with three endpoints, one of them on another node',
    lesson: 'A ClusterIP is no address of any host, only rules: one of them rewrites the destination to an endpoint.',
    service: { name: 'web' },
    pods: THREE,
    endpoints: 'pods',
  },
  {
    name: 'api-server',
    about: "the API server's own Service, as every pod uses it",
    lesson: "10.96.0.1:443 is the API server's Service; its endpoint is a process on a node, not a pod.",
    service: {
      name: 'kubernetes',
      clusterIPs: ['10.96.0.1'],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }],
    },
    pods: [],
    endpoints: 'api-server',
  },
  {
    name: 'no-endpoints',
    about: 'a Service whose selector matches no ready pod',
    lesson: 'Without endpoints there is nothing to translate to: kube-proxy rejects, so that the client knows at once.',
    service: { name: 'web' },
    pods: [],
    endpoints: 'none',
  },
  {
    name: 'wrong-target-port',
    about: 'a Service whose targetPort nobody listens on',
    lesson: 'The rules did their work: it is the pod itself that refuses.',
    service: { name: 'web', ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 9999 }] },
    pods: THREE,
    endpoints: 'pods',
    endpointPort: 9999,
  },
  {
    name: 'unexposed-port',
    about: 'a port that the Service does not have',
    lesson: 'A Service exposes ports, not an address: what goes to another port meets no rule of it.',
    service: { name: 'web' },
    pods: THREE,
    endpoints: 'pods',
    ask: { port: 81 },
  },
  {
    name: 'session-affinity',
    about: 'sessionAffinity: ClientIP, asked twice',
    lesson: 'The first connection is decided by chance and noted; the second one is sent where the note says.',
    service: { name: 'sticky', sessionAffinity: true, affinitySeconds: 10_800 },
    pods: THREE,
    endpoints: 'pods',
    count: 2,
  },
  {
    name: 'hairpin',
    about: 'a pod that reaches itself through its Service',
    lesson: 'The source must be rewritten too, or the pod would answer itself past the node.',
    service: { name: 'self' },
    pods: [web('self-1', '10.244.1.11', 'n1')],
    endpoints: 'pods',
    from: 'self-1',
  },
  {
    name: 'network-policy',
    about: 'a NetworkPolicy that does not let the sender in',
    lesson: 'kube-proxy translated; another owner of rules rejected. The rule says whose it is.',
    service: { name: 'web' },
    pods: [web('web-1', '10.244.1.11', 'n1')],
    endpoints: 'pods',
    policy: 'web-1',
  },
  {
    name: 'local-policy',
    about: 'internalTrafficPolicy: Local, and no endpoint on this node',
    lesson: 'With Local, only endpoints of the same node count; without one the packet is dropped, not rejected.',
    service: { name: 'web', internalTrafficPolicy: 'Local' },
    pods: [web('web-3', '10.244.2.13', 'n2')],
    endpoints: 'pods',
  },
  {
    name: 'node-port',
    about: "a node port, asked at the node's own address",
    lesson: 'What comes by a node port is masqueraded, so that the answer finds its way back through this node.',
    service: {
      name: 'web',
      type: 'NodePort',
      ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080, nodePort: 30080 }],
    },
    pods: THREE,
    endpoints: 'pods',
    ask: { address: NODES.n1, port: 30080 },
  },
  {
    name: 'reply-lost',
    about: "the API server's Service on a node whose CNI does not masquerade",
    lesson: 'The request arrives, and the answer has no way back: a host outside the pod network has no route to pods.',
    service: {
      name: 'kubernetes',
      clusterIPs: ['10.96.0.1'],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: 6443 }],
    },
    pods: [],
    endpoints: 'api-server',
    unmasqueraded: true,
  },
];

export function findScenario(name: string): Scenario | undefined {
  return SCENARIOS.find(scenario => scenario.name === name);
}

/** The sender of a scenario. */
export function senderOf(scenario: Scenario): LabPod {
  return scenario.pods.find(pod => pod.name === scenario.from) ?? CLIENT;
}

export function serviceOf(scenario: Scenario): Service {
  return {
    namespace: 'default',
    type: 'ClusterIP',
    clusterIPs: [CLUSTER_IP],
    externalIPs: [],
    loadBalancerIPs: [],
    ports: [{ name: 'http', port: 80, protocol: 'TCP', targetPort: 8080 }],
    hasSelector: scenario.endpoints !== 'api-server',
    sessionAffinity: false,
    internalTrafficPolicy: 'Cluster',
    externalTrafficPolicy: 'Cluster',
    ipFamilies: ['IPv4'],
    ...scenario.service,
  };
}

/** The objects a cluster would have for the scenario. */
export function objectsOf(scenario: Scenario): KubeObjects {
  const service = serviceOf(scenario);
  const sender = senderOf(scenario);
  const pods = scenario.pods.includes(sender) ? scenario.pods : [sender, ...scenario.pods];
  return {
    services: [service],
    endpoints: endpointsOf(scenario, service),
    pods: pods.map(({ name, address, node }) => ({
      namespace: 'default',
      name,
      ips: [address],
      node,
      hostNetwork: false,
    })),
    nodes: Object.entries(NODES).map(([name, address]) => ({
      name,
      addresses: [address],
      podCIDRs: [name === 'n1' ? '10.244.1.0/24' : '10.244.2.0/24'],
    })),
  };
}

function endpointsOf(scenario: Scenario, service: Service): Endpoint[] {
  const [port] = service.ports;
  const common = {
    protocol: 'TCP',
    portName: port?.name ?? '',
    ready: true,
    serving: true,
    terminating: false,
    namespace: 'default',
    service: service.name,
  };
  if (scenario.endpoints === 'none') return [];
  if (scenario.endpoints === 'api-server') return [{ ...common, address: API_SERVER, port: 6443 }];
  return scenario.pods.map(pod => ({
    ...common,
    address: pod.address,
    port: scenario.endpointPort ?? 8080,
    pod: pod.name,
    node: pod.node,
  }));
}
