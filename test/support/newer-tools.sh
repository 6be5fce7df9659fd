#!/bin/sh
# nftables and iptables of Debian 13, beside those of this machine: their packages unpacked into a folder, each program run with
# the C library it came with. Prints the folder; nothing is installed. Needs apt-get and Debian's keys.
#   newer-tools.sh FOLDER
set -eu
folder=$1
if [ -x "$folder/bin/nft" ]; then exit 0; fi
for tool in apt-get dpkg-deb; do command -v $tool >/dev/null || { echo "there is no $tool on this machine" >&2; exit 1; }; done
keys=/usr/share/keyrings/debian-archive-keyring.gpg
[ -r $keys ] || { echo "Debian's keys are not here: apt-get install debian-archive-keyring" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs" "$folder"
echo "deb [signed-by=$keys] https://deb.debian.org/debian trixie main" >"$work/sources.list"
: >"$work/status"
apt() {
  apt-get -q -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$work/lists" \
    -o Dir::State::Status="$work/status" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
apt update >"$work/log" 2>&1 || { tail -n 3 "$work/log" >&2; exit 1; }
cd "$work/debs"
apt download nftables libnftables1 iptables libxtables12 libip4tc2 libip6tc2 libnftnl11 libmnl0 libnfnetlink0 libnetfilter-conntrack3 \
  libgmp10 libjansson4 libedit2 libtinfo6 libbsd0 libmd0 libc6 >"$work/log" 2>&1 || { tail -n 3 "$work/log" >&2; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" "$folder"; done

# Each program by the loader of its own C library. argv[0] tells xtables-nft-multi which program it is.
libraries="$folder/usr/lib/$(dpkg --print-architecture | sed 's/amd64/x86_64/; s/arm64/aarch64/')-linux-gnu"
loader=$(find "$folder/usr/lib" "$folder/usr/lib64" -name 'ld-linux-*' 2>/dev/null | head -n 1)
mkdir -p "$folder/bin"
wrap() { # name program
  cat >"$folder/bin/$1" <<END
#!/bin/sh
XTABLES_LIBDIR='$libraries/xtables' exec '$loader' --argv0 '$1' --library-path '$libraries' '$2' "\$@"
END
  chmod +x "$folder/bin/$1"
}
wrap nft "$folder/usr/sbin/nft"
for family in ip ip6; do
  for what in '' -save -restore; do
    wrap ${family}tables-nft$what "$folder/usr/sbin/xtables-nft-multi"
    wrap ${family}tables-legacy$what "$folder/usr/sbin/xtables-legacy-multi"
  done
done
wrap xtables-monitor "$folder/usr/sbin/xtables-nft-multi"
