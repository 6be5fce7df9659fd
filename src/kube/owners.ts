/** Whose chain is it? By the prefixes the programs that share a node's netfilter are known for. */

const CHAINS: [RegExp, string][] = [
  [/^KUBE-(FIREWALL|KUBELET-CANARY|IPTABLES-HINT|MARK-DROP)$/, 'kubelet'],
  [/^KUBE-(NWPLCY|POD-FW|ROUTER)/, 'kube-router'],
  [/^KUBE-/, 'kube-proxy'],
  [/^CNI-/, 'CNI plugin'],
  [/^cali-/, 'Calico'],
  [/^(OLD_)?CILIUM_/, 'Cilium'],
  [/^FLANNEL-/, 'Flannel'],
  [/^ANTREA-/, 'Antrea'],
  [/^WEAVE-/, 'Weave'],
  [/^OVN-KUBE-/, 'OVN-Kubernetes'],
  [/^AWS-/, 'AWS VPC CNI'],
  [/^IP-MASQ/, 'ip-masq-agent'],
  [/^DOCKER(-|$)/, 'Docker'],
  [/^NETAVARK|^PODMAN/, 'Podman'],
  [/^LIBVIRT_/, 'libvirt'],
  [/^(ISTIO|LINKERD|PROXY_INIT)/, 'service mesh'],
  [/^ufw6?-/, 'ufw'],
  [/^f2b-/, 'fail2ban'],
];

const TABLES: [RegExp, string][] = [
  [/^trace_svc_/, 'trace-svc'],
  [/^kube-proxy$/, 'kube-proxy'],
  [/^firewalld$/, 'firewalld'],
  [/^calico$/, 'Calico'],
  [/^antrea/, 'Antrea'],
  [/^cni_hostport$|^cni_/, 'CNI plugin'],
  [/^docker-bridges$/, 'Docker'],
  [/^fw4$/, 'OpenWrt'],
];

/** Undefined for the kernel's own chains and for names nobody is known for. */
export function ownerOf(table: string, chain: string): string | undefined {
  return TABLES.find(([pattern]) => pattern.test(table))?.[1] ?? CHAINS.find(([pattern]) => pattern.test(chain))?.[1];
}
