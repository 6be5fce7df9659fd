/** Does an interface lead to pods of this node, or away from it? By the objects, by where pods' packets came in, by its name. */
import type { KubeObjects } from '../model.ts';
import { eventsOf, type Pass } from './pass.ts';

/** What CNI plugins call the host's end of a pod's interface, or the bridge pods hang on. */
const POD_SIDE =
  /^(cni|cbr|veth|cali|lxc|azv|eni[0-9a-f]{8,}|gke[0-9a-f]+|nodelocaldns|kube-bridge|weave$|docker|br-|cilium_host|antrea-gw|ovn-k8s-mp|podman|podman\d)/;
/** Tunnels and uplinks: what leaves by them leaves the node. */
const AWAY =
  /^(eth|en[ospx]|ens|bond|wlan|flannel|vxlan|tunl|ipip|wg|geneve|cilium_vxlan|vxlan\.calico|wireguard|kube-ipvs|ppp|team|ib|weave-)/;

export function isPodInterface(
  passes: Pass[],
  objects: KubeObjects,
  node: string | undefined,
): (name: string, destination: string) => boolean | undefined {
  const pods = new Map(
    objects.pods.filter(pod => !pod.hostNetwork).flatMap(pod => pod.ips.map(ip => [ip, pod.node] as const)),
  );
  for (const endpoint of objects.endpoints)
    if (endpoint.pod !== undefined && !pods.has(endpoint.address)) pods.set(endpoint.address, endpoint.node);
  const entrances = new Map<string, string>();
  for (const pass of passes) {
    const source = pass.headers[0]?.tuple.src;
    if (source === undefined || !pods.has(source) || [...entrances.values()].includes(source)) continue;
    const entrance = eventsOf(pass).find(event => event.header)?.via.in;
    if (entrance !== undefined) entrances.set(entrance, source);
  }
  return (name, destination) => {
    const home = pods.get(destination);
    if (home !== undefined && node !== undefined) return home === node;
    if (POD_SIDE.test(name)) return true;
    if (AWAY.test(name)) return false;
    return entrances.has(name) ? true : undefined;
  };
}
