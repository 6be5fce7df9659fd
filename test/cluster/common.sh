# Names, paths and helpers of the test cluster; read by every script here.
#
# The names are fixed, so there is one such cluster on a machine, and `down` finds what is left of it without being told.

set -eu
here=$(cd "$(dirname "$0")" && pwd)

STATE=/var/tmp/trace-svc-cluster # what runs now
CACHES=${XDG_CACHE_HOME:-$HOME/.cache}/trace-svc-cluster
CACHE=$CACHES/$(cd "$here" && cat go.mod go.sum pause/main.go build.sh | sha256sum | cut -c1-12) # what is built once

MODES='iptables-legacy iptables-nft nftables'
NODES='n1 n2'
MACHINES="cp $NODES" # cp is the control plane's
CGROUP=trace-svc-cluster

# Addresses: .1 is this machine, .10 the control plane, .11 and .12 the nodes.
NET4=172.29.0
NET6=fd00:29:
PODS4=10.244.0.0/16 PODS6=fd00:244::/32
SERVICES4=10.96.0.0/16 SERVICES6=fd00:96::/112

say() { echo "cluster: $*" >&2; }

die() {
  say "$*"
  exit 1
}

as_root() { [ "$(id -u)" = 0 ] || die "needs root"; }

# One of up, mode and down at a time. Descriptor 9 is the lock: what stays running must close it.
lock() {
  [ -z "${CLUSTER_LOCKED:-}" ] || return 0
  mkdir -p "$CACHES"
  exec 9>"$CACHES/lock"
  flock -n 9 || {
    say "waiting for another up, mode or down to end"
    flock 9
  }
  export CLUSTER_LOCKED=1
}

# wait_for SECONDS WHAT COMMAND...: asks again until COMMAND succeeds
wait_for() {
  wait_end=$(($(date +%s) + $1)) wait_what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$wait_end" ] || die "$wait_what: not in the time allowed; logs are in $STATE/log"
    sleep 0.1
  done
}

# on_both FUNCTION: for both nodes at once; fails if it fails for one. (A plain `wait` would wait for what was started.)
on_both() {
  "$1" n1 &
  on_n1=$!
  "$1" n2 &
  wait $! || die "n2: $1 did not work; logs are in $STATE/log"
  wait $on_n1 || die "n1: $1 did not work; logs are in $STATE/log"
}

is_mode() {
  case " $MODES " in *" $1 "*) return 0 ;; esac
  return 1
}

# The number of a machine in its addresses, and its pods' network in those of all pods.
number_of() { case $1 in cp) echo 10 ;; n1) echo 11 ;; n2) echo 12 ;; esac }
pods4_of() { echo "10.244.${1#n}.0/24"; }
pods6_of() { echo "fd00:244:${1#n}::/64"; }

# Processes. A file in $STATE/pids has a process's number and the moment it started, as numbers are used again.

# identity PID: "PID START" of a process that runs
identity() {
  read -r id_stat 2>/dev/null <"/proc/$1/stat" || return 1
  # shellcheck disable=SC2086
  set -- $id_stat
  [ "$3" != Z ] || return 1
  echo "$1 ${22}"
}

# alive NAME: whether the process noted under NAME still runs
alive() {
  [ -s "$STATE/pids/$1" ] || return 1
  read -r pid start <"$STATE/pids/$1"
  [ "$(identity "$pid")" = "$pid $start" ]
}

gone() { ! alive "$1"; }

# inside MACHINE COMMAND...: runs it in the machine, in all its namespaces
inside() {
  alive "$1" || die "$1 does not run"
  read -r pid start <"$STATE/pids/$1"
  shift
  nsenter -t "$pid" -m -u -n -p "$@"
}

# start MACHINE NAME COMMAND...: in the machine and in the background, its output and its number kept under MACHINE-NAME
start() {
  alive "$1" || die "$1 does not run"
  read -r pid start <"$STATE/pids/$1"
  start_name=$1-$2
  shift 2
  setsid nsenter -t "$pid" -m -u -n -p "$@" >"$STATE/log/$start_name" 2>&1 </dev/null 9>&- &
  identity $! >"$STATE/pids/$start_name"
}

# The PATH of a machine's programs, with one flavour of iptables in front.
path_with() { echo "$STATE/flavour/$1:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"; }

# stop NAME: ends a process that `start` started, with its group
stop() {
  for signal in TERM KILL; do
    alive "$1" || break
    kill -s "$signal" -- "-$pid" 2>/dev/null || true
    stop_end=$(($(date +%s) + 10))
    while alive "$1" && [ "$(date +%s)" -lt "$stop_end" ]; do sleep 0.1; done
  done
  gone "$1" || die "$1 does not end"
  rm -f "$STATE/pids/$1"
}
