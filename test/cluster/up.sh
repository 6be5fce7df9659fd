#!/bin/sh
# up [iptables-legacy|iptables-nft|nftables]: a Kubernetes cluster of two nodes, each a set of namespaces of this machine.
# Ends with success at once if the cluster is up; what is left of one that is not is removed first.
. "$(dirname "$0")/common.sh"
mode=${1:-}
[ -z "$mode" ] || is_mode "$mode" || die "usage: up [$(echo "$MODES" | tr ' ' '|')]"
as_root
lock

is_up() {
  [ -e "$STATE/up" ] || return 1
  for file in "$STATE"/pids/*; do alive "${file##*/}" || return 1; done
}

# A sysctl of the whole machine that we, or the kubelet, set: what it was is noted first, for `down`.
OUTER_SYSCTLS='vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys
  kernel/keys/root_maxbytes net/netfilter/nf_log_all_netns'

sysctls() {
  for module in br_netfilter overlay nf_log_syslog; do modprobe -q "$module" 2>/dev/null || true; done
  for name in $OUTER_SYSCTLS; do
    [ ! -w "/proc/sys/$name" ] || echo "$name $(cat "/proc/sys/$name")"
  done >"$STATE/sysctls.part"
  mv "$STATE/sysctls.part" "$STATE/sysctls"
  # The kernel log has the TRACE lines of the nodes' namespaces only with this; a node that is a machine needs nothing.
  echo 1 2>/dev/null >/proc/sys/net/netfilter/nf_log_all_netns || say "no nf_log_all_netns: TRACE of iptables-legacy is not logged"
}

# setting MACHINE NAME VALUE...: sysctls of its network namespace
setting() {
  nsenter --net="/run/netns/ts-$1" sh -c 'while [ $# -gt 0 ]; do [ ! -e "/proc/sys/$1" ] || echo "$2" >"/proc/sys/$1"; shift 2; done' - \
    net/ipv6/conf/all/disable_ipv6 0 net/ipv6/conf/default/disable_ipv6 0 net/ipv4/ip_forward 1 net/ipv6/conf/all/forwarding 1 \
    net/ipv4/conf/all/rp_filter 0 net/ipv4/conf/default/rp_filter 0 \
    net/bridge/bridge-nf-call-iptables "$2" net/bridge/bridge-nf-call-ip6tables "$2"
}

# address MACHINE DEVICE NUMBER
address() {
  ip -n "$1" addr add "$NET4.$3/24" dev "$2"
  ip -n "$1" -6 addr add "$NET6:$3/64" dev "$2" nodad
  ip -n "$1" link set "$2" up
}

network() {
  taken=$(ip -4 route show to root 0/0 | grep -w "$NET4.0/24" || true)
  [ -z "$taken" ] || die "$NET4.0/24 is in use here: $taken"
  for m in $MACHINES; do
    ip netns add "ts-$m"
    ip -n "ts-$m" link set lo up
  done
  # The bridge is in the control plane's namespace, where this machine's own filters do not see it.
  setting cp 0
  ip -n ts-cp link add lan type bridge
  address ts-cp lan 10
  setting cp 0
  ip link add ts-host type veth peer name host netns ts-cp
  ip -n ts-cp link set host master lan up
  ip addr add "$NET4.1/24" dev ts-host
  ip -6 addr add "${NET6}:1/64" dev ts-host nodad
  ip link set ts-host up
  for n in $NODES; do
    setting "$n" 1
    ip -n ts-cp link add "$n" type veth peer name eth0 netns "ts-$n"
    ip -n ts-cp link set "$n" master lan up
    address "ts-$n" eth0 "$(number_of "$n")"
    # The control plane has no route to the world and says so: nothing leaves, and nothing waits for an answer.
    ip -n "ts-$n" route add default via "$NET4.10"
    ip -n "ts-$n" -6 route add default via "$NET6:10"
  done
  for m in $MACHINES; do
    for n in $NODES; do
      [ "$m" != "$n" ] || continue
      ip -n "ts-$m" route add "$(pods4_of "$n")" via "$NET4.$(number_of "$n")"
      ip -n "ts-$m" -6 route add "$(pods6_of "$n")" via "$NET6:$(number_of "$n")"
    done
  done
}

machines() {
  for m in $MACHINES; do
    mkdir -p "$STATE/$m/lib" "$STATE/$m/log"
    setsid nsenter --net="/run/netns/ts-$m" unshare --mount --uts --pid --fork \
      sh "$here/machine.sh" "$m" "$STATE" "$CACHE/bin" >"$STATE/log/$m" 2>&1 </dev/null 9>&- &
  done
  for m in $MACHINES; do wait_for 20 "machine $m" alive "$m"; done
}

# Programs find iptables by their PATH, and each flavour of it is a folder of links.
flavours() {
  for flavour in legacy nft; do
    mkdir -p "$STATE/flavour/$flavour"
    for family in iptables ip6tables; do
      for tool in '' -save -restore; do
        ln -s "$(command -v "$family-$flavour$tool")" "$STATE/flavour/$flavour/$family$tool"
      done
    done
  done
}

# certificate NAME SUBJECT [NAMES]: signed by our authority
certificate() {
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
  echo "subjectAltName=${3:-DNS:unused}" >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 365 -extfile "$1.ext" -out "$1.crt"
}

certificates() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 -subj /CN=trace-svc-cluster -keyout ca.key -out ca.crt
  certificate apiserver /CN=kube-apiserver "IP:$NET4.10,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc"
  certificate apiserver-kubelet-client /O=system:masters/CN=apiserver-kubelet-client
  for n in $NODES; do certificate "$n" "/O=system:nodes/CN=system:node:$n" "DNS:$n,IP:$NET4.$(number_of "$n")"; done
  openssl ecparam -name prime256v1 -genkey -noout -out service-accounts.key
}

# user FILE NAME [GROUP]: a token of the API server's, and a kubeconfig with it
user() {
  token=$(openssl rand -hex 16)
  echo "$token,$2,$2${3:+,$3}" >>"$STATE/cp/pki/tokens.csv"
  cat >"$1" <<C
apiVersion: v1
kind: Config
clusters:
  - name: trace-svc-cluster
    cluster: { server: 'https://$NET4.10:6443', certificate-authority-data: $(base64 -w0 "$STATE/cp/pki/ca.crt") }
users: [{ name: $2, user: { token: $token } }]
contexts: [{ name: trace-svc-cluster, context: { cluster: trace-svc-cluster, user: $2 } }]
current-context: trace-svc-cluster
C
}

credentials() {
  mkdir -p "$STATE/cp/pki"
  (cd "$STATE/cp/pki" && certificates) >"$STATE/log/openssl" 2>&1 || die "openssl did not work, see $STATE/log/openssl"
  user "$STATE/admin.conf" admin system:masters
  user "$STATE/cp/controller-manager.conf" system:kube-controller-manager
  user "$STATE/cp/scheduler.conf" system:kube-scheduler
  for n in $NODES; do
    mkdir -p "$STATE/$n/lib/kubelet/pki"
    user "$STATE/$n/lib/kubelet/kubeconfig" "system:node:$n" system:nodes
    user "$STATE/$n/lib/kube-proxy.conf" system:kube-proxy
    cp "$STATE/cp/pki/ca.crt" "$STATE/$n/lib/kubelet/pki/ca.crt"
    for part in crt key; do cp "$STATE/cp/pki/$n.$part" "$STATE/$n/lib/kubelet/pki/kubelet.$part"; done
  done
}

control_plane() {
  pki=$STATE/cp/pki
  cp "$here/etc/audit.yaml" "$STATE/cp/audit.yaml"
  start cp etcd etcd --data-dir /var/lib/etcd --unsafe-no-fsync
  start cp kube-apiserver kube-apiserver --etcd-servers=http://127.0.0.1:2379 --advertise-address="$NET4.10" --allow-privileged=true \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" --client-ca-file="$pki/ca.crt" \
    --token-auth-file="$pki/tokens.csv" --authorization-mode=Node,RBAC --service-cluster-ip-range="$SERVICES4,$SERVICES6" \
    --service-account-issuer=https://kubernetes.default.svc --service-account-key-file="$pki/service-accounts.key" \
    --service-account-signing-key-file="$pki/service-accounts.key" --kubelet-certificate-authority="$pki/ca.crt" \
    --kubelet-client-certificate="$pki/apiserver-kubelet-client.crt" --kubelet-client-key="$pki/apiserver-kubelet-client.key" \
    --kubelet-preferred-address-types=InternalIP --audit-policy-file="$STATE/cp/audit.yaml" --audit-log-path="$STATE/log/audit.log"
  start cp kube-controller-manager kube-controller-manager --kubeconfig "$STATE/cp/controller-manager.conf" --controllers='*,-nodeipam' --leader-elect=false \
    --use-service-account-credentials --service-account-private-key-file="$pki/service-accounts.key" --root-ca-file="$pki/ca.crt" \
    --node-monitor-period=1s
  start cp kube-scheduler kube-scheduler --kubeconfig "$STATE/cp/scheduler.conf" --leader-elect=false
}

# With cgroup v1 our folder is made in every controller's hierarchy, and cpuset's does not work before it is filled in.
# With v2 there is one, and the controllers have to be handed down to it.
cgroups() {
  for top in /sys/fs/cgroup /sys/fs/cgroup/*/; do
    top=${top%/}
    if [ ! -e "$top/cgroup.procs" ] || [ -L "$top" ]; then continue; fi
    case $top in /sys/fs/cgroup/*) [ ! -e /sys/fs/cgroup/cgroup.procs ] || continue ;; esac
    path=$top
    for part in '' "$CGROUP" "$1"; do
      path=$path${part:+/$part}
      mkdir -p "$path"
      for file in cpuset.cpus cpuset.mems; do
        [ -z "$part" ] || [ -e "$top/cgroup.controllers" ] || [ ! -e "$path/$file" ] || cat "${path%/*}/$file" >"$path/$file"
      done
      for controller in $(cat "$path/cgroup.controllers" 2>/dev/null || true); do
        echo "+$controller" 2>/dev/null >"$path/cgroup.subtree_control" || true
      done
    done
  done
}

# filled TEMPLATE NODE
filled() {
  sed -e "s|@CGROUP@|/$CGROUP/$2|; s|@PODS4@|$(pods4_of "$2")|; s|@PODS6@|$(pods6_of "$2")|; s|@SNAPSHOTTER@|$snapshotter|" "$here/etc/$1"
}

# Layers need not be copied for each container where overlayfs works, which it does not on top of itself.
choose_snapshotter() {
  snapshotter=native
  mkdir -p "$STATE/overlay/a" "$STATE/overlay/b" "$STATE/overlay/u" "$STATE/overlay/w" "$STATE/overlay/m"
  if unshare --mount mount -t overlay -o "lowerdir=$STATE/overlay/a:$STATE/overlay/b,upperdir=$STATE/overlay/u,workdir=$STATE/overlay/w" \
    overlay "$STATE/overlay/m" 2>/dev/null; then snapshotter=overlayfs; fi
}

node() {
  lib=$STATE/$1/lib
  mkdir -p "$lib/cni/net.d"
  filled containerd.toml "$1" >"$lib/containerd.toml"
  filled cni.conflist "$1" >"$lib/cni/net.d/10-pods.conflist"
  filled kubelet.yaml "$1" >"$lib/kubelet/config.yaml"
  # There is no cluster DNS: whoever asks is refused at once.
  echo "nameserver $NET4.10" >"$lib/kubelet/resolv.conf"
  cgroups "$1"
  # Pods talk to the world, and to the API server, with their node's address.
  for tool in iptables-nft:$PODS4 ip6tables-nft:$PODS6; do
    nsenter --net="/run/netns/ts-$1" "${tool%%:*}" -w -t nat -A POSTROUTING -s "${tool#*:}" ! -d "${tool#*:}" \
      -m comment --comment 'pods to the world' -j MASQUERADE
  done
  start "$1" containerd env PATH="$(path_with nft)" containerd --config /var/lib/containerd.toml
  wait_for 30 "containerd of $1" inside "$1" ctr version
  for tar in "$CACHE"/images/*.tar; do
    inside "$1" ctr -n k8s.io images import --snapshotter "$snapshotter" - <"$tar" >>"$STATE/log/$1-images" 2>&1
  done
  start "$1" kubelet env PATH="$(path_with nft)" kubelet --config /var/lib/kubelet/config.yaml --kubeconfig /var/lib/kubelet/kubeconfig \
    --hostname-override="$1" --node-ip="$NET4.$(number_of "$1"),$NET6:$(number_of "$1")"
}

kubectl() { "$CACHE/bin/kubectl" --kubeconfig "$STATE/admin.conf" "$@"; }
nodes_ready() { [ "$(kubectl get nodes -o 'jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status} {.spec.taints}{"\n"}{end}' | grep -c '^True $')" = 2 ]; }

if is_up; then
  say "is up"
  [ -z "$mode" ] || "$here/mode.sh" "$mode"
else
  "$here/build.sh"
  "$here/down.sh"
  mkdir -p "$STATE/log" "$STATE/pids"
  ln -s "$CACHE/bin" "$STATE/bin"
  say network
  sysctls
  network
  machines
  say 'control plane'
  flavours
  choose_snapshotter
  credentials
  control_plane
  say nodes
  on_both node
  wait_for 60 'API server' kubectl get --raw /readyz
  "$here/mode.sh" "${mode:-iptables-legacy}"
  wait_for 60 'two nodes ready' nodes_ready
  touch "$STATE/up"
fi
say "export KUBECONFIG=$STATE/admin.conf   (kubectl: $STATE/bin/kubectl)"
