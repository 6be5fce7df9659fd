/** Who translates Services in this cluster, by the daemon sets it runs: not all of them leave that to netfilter. Pure. */
import type { Verdict } from './verdicts.ts';

type Known = { name: RegExp; text: string; remedy?: string };

const KNOWN: Known[] = [
  {
    name: /^(cilium|anetd)$/,
    text: 'Cilium may translate Services in eBPF, before netfilter sees the packet',
    remedy: 'A run then says TranslatedBeforeNetfilter; cilium-dbg service list tells the rest.',
  },
  {
    name: /^ovnkube-node/,
    text: 'OVN-Kubernetes translates Services in Open vSwitch: netfilter sees nothing of them',
    remedy: 'Use ovnkube-trace.',
  },
  { name: /^calico-node$/, text: 'Calico; in its eBPF mode netfilter does not see Services translated' },
  { name: /^kube-router/, text: 'kube-router translates Services with IPVS' },
  { name: /^kube-proxy/, text: 'kube-proxy' },
];

/** @param names of the daemon sets; undefined where they may not be listed */
export function dataplaneVerdicts(names: string[] | undefined): Verdict[] {
  if (!names)
    return [
      {
        where: 'cluster',
        what: 'dataplane',
        state: 'ok',
        text: 'unknown: daemon sets may not be listed (that is no hindrance)',
      },
    ];
  const found = KNOWN.filter(known => names.some(name => known.name.test(name)));
  if (found.length === 0)
    return [
      {
        where: 'cluster',
        what: 'dataplane',
        state: 'ok',
        text: "no daemon set that is known to translate Services (k3s and others run kube-proxy inside the kubelet's process)",
      },
    ];
  return found.map(({ text, remedy }) => ({
    where: 'cluster',
    what: 'dataplane',
    state: remedy === undefined ? 'ok' : 'warn',
    text,
    ...(remedy === undefined ? {} : { remedy }),
  }));
}
