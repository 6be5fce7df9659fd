/** Kubernetes objects: only what we read of them. */

export interface ServicePort {
  name: string;
  port: number;
  protocol: string;
  targetPort?: number | string;
  nodePort?: number;
}

export interface Service {
  namespace: string;
  name: string;
  type: string;
  clusterIPs: string[];
  externalIPs: string[];
  loadBalancerIPs: string[];
  externalName?: string;
  ports: ServicePort[];
  hasSelector: boolean;
  sessionAffinity: boolean;
  affinitySeconds?: number;
  internalTrafficPolicy: string;
  externalTrafficPolicy: string;
  ipFamilies: string[];
  healthCheckNodePort?: number;
}

export interface Endpoint {
  address: string;
  port: number;
  protocol: string;
  portName: string;
  ready: boolean;
  serving: boolean;
  terminating: boolean;
  pod?: string;
  node?: string;
  namespace: string;
  service: string;
}

export interface Pod {
  namespace: string;
  name: string;
  ips: string[];
  node?: string;
  hostNetwork: boolean;
}

export interface KubeNode {
  name: string;
  addresses: string[];
  podCIDRs: string[];
}

export interface KubeObjects {
  services: Service[];
  endpoints: Endpoint[];
  pods: Pod[];
  nodes: KubeNode[];
}
