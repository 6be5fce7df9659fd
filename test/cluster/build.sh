#!/bin/sh
# build: what `up` needs and does not change, once, into a cache outside of the tree: Kubernetes' programs from the Go
# module pinned here, etcd, containerd, runc and the CNI plugins from Debian's packages, and three images as tars.
. "$(dirname "$0")/common.sh"

# Used by the nodes as they are on this machine, and copied into the tools' image.
PACKAGES='iptables nftables conntrack ipset iproute2 curl iputils-ping tcpdump openssl procps util-linux kmod'
# Taken out of their packages and not installed: installing would start services, and would remove Docker's containerd.
UNPACKED='etcd-server containerd runc containernetworking-plugins'
# Further packages whose programs are in the tools' image.
IN_IMAGE='bash dash coreutils grep sed mawk findutils hostname tar gzip netbase ca-certificates'
# Links that belong to no package.
LINKS='iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore awk'

PROGRAMS='kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl'

packages() {
  missing=
  for p in $PACKAGES; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || die "needs the programs of these Debian packages:$missing"
  [ "$(id -u)" = 0 ] || die "as root: apt-get install --no-install-recommends$missing"
  say "installing$missing"
  # shellcheck disable=SC2086
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends $missing; } >"$work/log" 2>&1 ||
    { tail -n 5 "$work/log" >&2; die "apt-get install$missing did not work"; }
}

unpacked() {
  [ ! -e "$CACHE/bin/cni/bridge" ] || return 0
  command -v apt-get >/dev/null || die "needs apt-get, to get $UNPACKED"
  say "fetching $UNPACKED"
  mkdir "$work/debs" "$work/root"
  # shellcheck disable=SC2086
  (cd "$work/debs" && { apt-get download -q $UNPACKED || { apt-get update -q && apt-get download -q $UNPACKED; }; }) >"$work/log" 2>&1 ||
    { tail -n 5 "$work/log" >&2; die "apt-get download $UNPACKED did not work"; }
  for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
  for program in etcd containerd containerd-shim-runc-v2 ctr runc; do
    cp -L "$(find "$work/root" -path "*bin/$program" ! -type d | head -n 1)" "$CACHE/bin/$program" || die "no $program in $UNPACKED"
  done
  cp -R "$(dirname "$(find "$work/root" -path '*/cni/bridge')")" "$work/cni"
  mv "$work/cni" "$CACHE/bin/cni"
}

kubernetes() {
  [ ! -e "$CACHE/bin/pause" ] || return 0 # the last to be moved
  command -v go >/dev/null || die "needs Go: https://go.dev/dl/"
  cd "$here"
  version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
  say "building Kubernetes $version: four to six minutes if Go's caches are empty"
  v=k8s.io/component-base/version minor=${version#v1.}
  mkdir "$work/bin"
  # shellcheck disable=SC2046
  CGO_ENABLED=0 nice go build -trimpath -buildvcs=false -o "$work/bin/" \
    -ldflags "-s -w -X $v.gitVersion=$version -X $v.gitMajor=1 -X $v.gitMinor=${minor%%.*}" \
    $(printf 'k8s.io/kubernetes/cmd/%s ' $PROGRAMS) k8s.io/kubernetes/test/images/agnhost ./pause
  mv "$work"/bin/* "$CACHE/bin/"
}

# image NAME FILE [ENTRYPOINT]: a docker archive of the one layer $work/layer.tar
image() {
  say "image $1"
  id=$(sha256sum "$work/layer.tar" | cut -d' ' -f1)
  cat >"$work/config.json" <<J
{"architecture": "$(go env GOARCH)", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:$id"]}, "config": {
  "Entrypoint": [${3:+\"$3\"}], "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}}
J
  echo "[{\"Config\": \"config.json\", \"RepoTags\": [\"$1\"], \"Layers\": [\"layer.tar\"]}]" >"$work/manifest.json"
  tar -C "$work" -cf "$work/image.tar" manifest.json config.json layer.tar
  mv "$work/image.tar" "$2"
}

# image_of_program NAME FILE PROGRAM: nothing but one program, and a /tmp
image_of_program() {
  [ ! -e "$2" ] || return 0
  rm -rf "$work/tree"
  mkdir -p "$work/tree/tmp"
  chmod 1777 "$work/tree/tmp"
  cp "$CACHE/bin/$3" "$work/tree/"
  tar -C "$work/tree" --owner=0 --group=0 -cf "$work/layer.tar" .
  image "$1" "$2" "/$3"
}

# A path, and where its links lead, with no link in front of the last name: one per line.
with_links() {
  while read -r path; do
    while :; do
      folder=$(readlink -f "$(dirname "$path")")
      path=${folder%/}/$(basename "$path")
      echo "$path"
      [ -L "$path" ] || break
      to=$(readlink "$path")
      case $to in /*) path=$to ;; *) path=$(dirname "$path")/$to ;; esac
    done
  done
}

# The tools' image has this machine's own files: what the packages hold, the libraries they load, a few files of /etc.
# tar leaves file capabilities behind. That is meant: ping has cap_net_raw here, and a program with a capability that its
# container may not have does not start at all. Without it ping uses a socket that net.ipv4.ping_group_range allows.
tools_image() {
  file=$CACHE/images/tools.tar
  [ ! -e "$file" ] || return 0
  # shellcheck disable=SC2086
  { dpkg-query -L $PACKAGES $IN_IMAGE 2>/dev/null; for link in $LINKS; do command -v "$link"; done; } |
    grep -Ev '^/usr/(share/(doc|man|locale|info|lintian|bash-completion|bug|zsh|perl5|initramfs-tools|polkit-1)|include|lib/(systemd|tmpfiles.d|sysctl.d))|^/(lib/systemd|etc/(init.d|skel|pam.d|default))' |
    while read -r path; do if [ -L "$path" ] || [ -f "$path" ]; then echo "$path"; fi; done | with_links | sort -u >"$work/files"
  while read -r path; do
    if [ -x "$path" ] || [ "${path%.so}" != "$path" ]; then ldd "$path" 2>/dev/null || true; fi
  done <"$work/files" | grep -o '/[^ ]*' | sort -u | with_links | sort -u >"$work/libraries"
  # /bin, /lib and so on are links into /usr on a merged system.
  for top in /bin /sbin /lib /lib64; do if [ -L "$top" ]; then echo "$top"; fi; done >"$work/tops"
  # The dynamic loader is asked for by a path that goes through such a link; its target is in the list already.
  cat "$work/files" "$work/libraries" "$work/tops" | sort -u | sed 's/^/./' >"$work/list"
  tar -C / --no-recursion -cf "$work/layer.tar" -T "$work/list"
  tree=$work/tree
  rm -rf "$tree"
  mkdir -p "$tree/etc" "$tree/tmp" "$tree/root" "$tree/run" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/var"
  ln -s /run "$tree/var/run"
  chmod 1777 "$tree/tmp"
  printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$tree/etc/passwd"
  printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
  echo 'hosts: files dns' >"$tree/etc/nsswitch.conf"
  tar -C "$tree" --owner=0 --group=0 -rf "$work/layer.tar" .
  image docker.io/nicolaka/netshoot:latest "$file"
}

lock
[ ! -e "$CACHE/complete" ] || exit 0
mkdir -p "$CACHE/bin" "$CACHE/images"
rm -rf "$CACHE"/build.*
work=$(mktemp -d "$CACHE/build.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

packages
unpacked
kubernetes
image_of_program registry.local/pause:1 "$CACHE/images/pause.tar" pause
image_of_program "registry.k8s.io/e2e-test-images/agnhost:$(cat "$(cd "$here" && go list -m -f '{{.Dir}}' k8s.io/kubernetes)/test/images/agnhost/VERSION")" \
  "$CACHE/images/agnhost.tar" agnhost
tools_image
touch "$CACHE/complete"
