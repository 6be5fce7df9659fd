#!/bin/sh
# mode iptables-legacy|iptables-nft|nftables: kube-proxy in that mode on both nodes, and none of the old mode's rules.
# The kubelet and the CNI plugins stay with nft, so a node in mode iptables-legacy has rules in both.
. "$(dirname "$0")/common.sh"
mode=${1:-}
is_mode "$mode" || die "usage: mode $(echo "$MODES" | tr ' ' '|')"
as_root
lock

case $mode in
iptables-legacy) backend=iptables flavour=legacy ;;
iptables-nft) backend=iptables flavour=nft ;;
nftables) backend=nftables flavour=nft ;;
esac

# kube-proxy leaves this chain to the kubelet, which in legacy tables has nothing to do.
clean_firewall() {
  for tool in iptables-legacy ip6tables-legacy; do
    for chain in INPUT OUTPUT; do inside "$1" "$tool" -w -D "$chain" -j KUBE-FIREWALL; done
    inside "$1" "$tool" -w -F KUBE-FIREWALL
    inside "$1" "$tool" -w -X KUBE-FIREWALL
  done
}

# Only a flavour that was used is cleaned up: the old tools make the tables they look at.
clean() {
  for used in legacy nft; do
    [ -e "$STATE/$1/used-$used" ] || continue
    inside "$1" env PATH="$(path_with $used)" kube-proxy --cleanup >"$STATE/log/$1-cleanup-$used" 2>&1 || true
    [ $used = nft ] || clean_firewall "$1" >>"$STATE/log/$1-cleanup-$used" 2>&1 || true
    rm "$STATE/$1/used-$used"
  done
}

has_rules() {
  case $mode in
  nftables)
    inside "$1" nft list map ip kube-proxy service-ips | grep -qF 10.96.0.1 &&
      inside "$1" nft list table ip6 kube-proxy
    ;;
  *)
    inside "$1" "iptables-$flavour" -w -t nat -S KUBE-SERVICES | grep -qF 10.96.0.1/32 &&
      inside "$1" "ip6tables-$flavour" -w -t nat -S KUBE-SERVICES
    ;;
  esac
}

change() {
  stop "$1-kube-proxy"
  clean "$1"
  touch "$STATE/$1/used-$flavour"
  start "$1" kube-proxy env PATH="$(path_with $flavour)" kube-proxy --kubeconfig /var/lib/kube-proxy.conf --proxy-mode="$backend" \
    --hostname-override="$1" --cluster-cidr="$PODS4,$PODS6" --conntrack-max-per-core=0
  wait_for 60 "kube-proxy of $1" has_rules "$1"
}

if [ "$(cat "$STATE/mode" 2>/dev/null)" = "$mode" ] && alive n1-kube-proxy && alive n2-kube-proxy; then
  say "kube-proxy: $mode already"
  exit 0
fi
alive cp || die 'the cluster is not up'
rm -f "$STATE/mode"
on_both change
echo "$mode" >"$STATE/mode"
say "kube-proxy: $mode"
