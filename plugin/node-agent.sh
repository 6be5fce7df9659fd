#!/bin/sh
# The part of kubectl-trace_svc that runs on a node: it puts the tracing rules in, passes on what the kernel says, gathers
# the evidence beside it, and takes the rules out again, whatever happens. POSIX sh, for dash, bash and busybox.
#
# Its whole world is its environment:
#   TS_RUN       run id, letters and digits; every rule and file carries it
#   TS_DEADLINE  seconds this may last; afterwards the guard removes everything, even if nobody is left to ask
#   TS_NFT       the injecting table as nft commands, one a line, or empty (method raw)
#   TS_RAW       raw rules, one a line, `COMMAND CHAIN SPEC…` (iptables-legacy PREROUTING -s …), or empty (method nft)
#   TS_LOG       where legacy TRACE lines are read: nflog, kmsg or none
#   TS_BUDGET    trace lines of each source before it is cut off
#   TS_PODS      addresses of the traced pod
# It speaks in lines on its standard output:
#   @fact KEY VALUE    @say TEXT    @ready    @n LINE (nft monitor)    @k LINE (kernel log)    @p LINE (tcpdump -xx of nflog)
#   @lost TEXT         @begin KIND NAME / a line with a blank before it / @end      @removed TEXT    @left TEXT    @over
# `done` on its standard input means: gather the evidence and go; its end alone: go.
set -u
export LC_ALL=C PATH="${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

dir=$(mktemp -d "${TMPDIR:-/tmp}/trace-svc-$TS_RUN.XXXXXX") || { echo "@fail no temporary folder"; exit 1; }
table="trace_svc_$TS_RUN"
tag="trace-svc:$TS_RUN"
pids=""
cleaned=""
: >"$dir/pids"

say() { printf '@%s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- taking out ------------------------------------------------------------------------------------------------------

# Removes exactly our own raw rules: those that carry the tag, found by reading the chain back.
remove_raw() {
  printf '%s\n' "$TS_RAW" | while read -r command chain _; do
    [ -n "$command" ] || continue
    while number=$("$command" -w 5 -t raw -L "$chain" -n --line-numbers 2>/dev/null | awk -v t="$tag" 'index($0, t) {print $1; exit}'); [ -n "$number" ]; do
      "$command" -w 5 -t raw -D "$chain" "$number" 2>/dev/null || break
      echo "$command raw $chain" >>"$dir/removed"
    done
  done
}

cleanup() {
  [ -z "$cleaned" ] || return 0
  cleaned=yes
  trap '' INT TERM HUP
  exec 3>&- 2>/dev/null || true
  # The table goes with the process that owns it.
  for pid in $pids; do kill "$pid" 2>/dev/null; done
  for pid in $pids; do wait "$pid" 2>/dev/null; done
  if [ -n "$TS_RAW" ]; then remove_raw; fi
  if [ -n "$TS_NFT" ]; then
    for family in ip ip6; do
      nft list table "$family" "$table" >/dev/null 2>&1 || continue
      nft delete table "$family" "$table" 2>/dev/null
    done
  fi
  verify
  rm -rf "$dir"
}

# Reads back: what is still there is said, what is gone is receipted.
verify() {
  left=""
  for family in ip ip6; do
    [ -n "$TS_NFT" ] && nft list table "$family" "$table" >/dev/null 2>&1 && left="$left table:$family:$table"
  done
  for command in $(printf '%s\n' "$TS_RAW" | awk '{print $1}' | sort -u); do
    "$command" -w 5 -t raw -S 2>/dev/null | grep -q "$tag" && left="$left rule:$command"
  done
  if [ -n "$left" ]; then say "left$left"; return; fi
  [ -z "$TS_NFT" ] || say "removed nft table $table"
  count=$(printf '%s\n' "$TS_RAW" | grep -c . || true)
  [ -z "$TS_RAW" ] || say "removed $count rules in the raw table"
}

# Remembers a process of ours, for us and for the guard.
own() { pids="$pids $1"; echo "$1" >>"$dir/pids"; }

# The guard does not need us: it holds nothing of ours open, and when the time is over it ends what we started and removes
# what we put in, even if we were killed in the middle of it.
guard() {
  ( trap '' HUP; exec >/dev/null 2>&1 </dev/null
    trap 'kill $nap; exit 0' TERM
    sleep "$TS_DEADLINE" & nap=$!; wait $nap
    kill -TERM $$; sleep 2
    [ -d "$dir" ] || exit 0
    pids=$(cat "$dir/pids"); cleaned=""; verify() { :; }; cleanup ) &
  guard_pid=$!
}

# ---- facts -----------------------------------------------------------------------------------------------------------

facts() {
  say "fact kernel $(uname -r)"
  have nft && say "fact nft $(nft --version 2>/dev/null | head -n 1)"
  have iptables-legacy && say "fact iptables $(iptables-legacy --version 2>/dev/null | head -n 1)"
  [ -r /proc/sys/net/netfilter/nf_log/2 ] && say "fact nf_log $(cat /proc/sys/net/netfilter/nf_log/2)"
  [ -r /proc/net/ip_tables_names ] && say "fact legacy_tables $(tr '\n' ' ' </proc/net/ip_tables_names)"
}

# ---- putting in ------------------------------------------------------------------------------------------------------

start_nft() {
  mkfifo "$dir/nft.in" || return 1
  : >"$dir/nft.out"
  nft -nn -i <"$dir/nft.in" >>"$dir/nft.out" 2>"$dir/nft.err" &
  nft_pid=$!
  own $nft_pid
  exec 3>"$dir/nft.in"
  printf '%s\n' "$TS_NFT" >&3
  printf 'monitor trace\n' >&3
  tail -n +1 -f "$dir/nft.out" 2>/dev/null | sed -u -n -e "${TS_BUDGET}{s/.*/@over nft/p;q}" -e 's/^trace id/@n trace id/p' -e 's/^# ERROR/@n # ERROR/p' &
  own $!
  until nft_listens; do
    [ ! -s "$dir/nft.err" ] || { say "fail nft: $(head -n 1 "$dir/nft.err")"; return 1; }
    kill -0 "$nft_pid" 2>/dev/null || { say "fail nft: $(tr '\n' ' ' <"$dir/nft.err")"; return 1; }
    waited || return 1
  done
}

# The trace group of nfnetlink is the 9th (include/uapi/linux/netfilter/nfnetlink.h): bit 0x100 in /proc/net/netlink.
nft_listens() {
  nft list tables 2>/dev/null | grep -q " $table\$" || return 1
  awk '$2 == 12 && substr($4, length($4) - 2, 1) % 2 == 1 {found = 1} END {exit !found}' /proc/net/netlink
}

start_log() {
  case $TS_LOG in
  nflog)
    ip -o link 2>/dev/null | sed -n 's/^\([0-9]*\): \([^:@]*\).*/@p # ifindex \1 \2/p'
    tcpdump -l -U -n -xx -tt -B 8192 -i nflog:0 >"$dir/nflog.out" 2>"$dir/nflog.err" &
    log_pid=$!; own $log_pid
    until grep -q listening "$dir/nflog.err" 2>/dev/null; do
      kill -0 "$log_pid" 2>/dev/null || { say "fail tcpdump: $(tr '\n' ' ' <"$dir/nflog.err")"; return 1; }
      waited || return 1
    done
    tail -n +1 -f "$dir/nflog.out" 2>/dev/null | sed -u -e "$((TS_BUDGET * 12)){s/.*/@over nflog/;q}" -e 's/^/@p /' &
    own $! ;;
  kmsg)
    echo "trace-svc:$TS_RUN begins" >/dev/kmsg || { say "fail /dev/kmsg cannot be written"; return 1; }
    cat /dev/kmsg 2>/dev/null >"$dir/kmsg.out" &
    own $!
    until grep -q "trace-svc:$TS_RUN begins" "$dir/kmsg.out"; do waited || return 1; done
    tail -n +1 -f "$dir/kmsg.out" 2>/dev/null | sed -u -n -e "1,/trace-svc:$TS_RUN begins/d" -e "$((TS_BUDGET + 100000)){s/.*/@over kmsg/p;q}" -e 's/^/@k /p' &
    own $! ;;
  esac
}

ticks=0
waited() { sleep 0.02; ticks=$((ticks + 1)); [ $ticks -lt 250 ] || { say "fail not ready after 5 s"; return 1; }; }

start_raw() {
  printf '%s\n' "$TS_RAW" >"$dir/raw"
  while read -r command chain spec; do
    [ -n "$command" ] || continue
    # shellcheck disable=SC2086 # the words of a rule, made by us
    "$command" -w 5 -t raw -I "$chain" $spec 2>"$dir/err" || { say "fail $command: $(tr '\n' ' ' <"$dir/err")"; return 1; }
  done <"$dir/raw"
}

# ---- evidence --------------------------------------------------------------------------------------------------------

section() { # kind name command…
  printf '@begin %s %s\n' "$1" "$2"; shift 2
  "$@" 2>/dev/null | sed 's/^/ /'
  printf '@end\n'
}

rules() {
  if [ -n "$(cat /proc/net/ip_tables_names 2>/dev/null)" ] && have iptables-legacy-save; then section rules iptables-legacy-save iptables-legacy-save -c; fi
  if have iptables-nft-save && nft list tables 2>/dev/null | grep -q '^table ip '; then section rules iptables-nft-save iptables-nft-save -c; fi
  if have nft; then section rules nft nft -a list ruleset; fi
}

evidence() {
  rules
  if have conntrack; then for pod in $TS_PODS; do section conntrack "$pod" conntrack -L -s "$pod" -o extended; done; fi
}

# Quiet means: no source has said anything for three looks in a row.
drain() {
  same=0; looks=0; before=""
  while [ $same -lt 3 ] && [ $looks -lt 40 ]; do
    sleep 0.04
    now=$(cat "$dir"/*.out 2>/dev/null | wc -c)
    if [ "$now" = "$before" ]; then same=$((same + 1)); else same=0; fi
    before=$now; looks=$((looks + 1))
  done
  if [ "$TS_LOG" = nflog ]; then
    kill -INT "$log_pid" 2>/dev/null; wait "$log_pid" 2>/dev/null
    sed -n 's/^\([1-9][0-9]*\) packets dropped by kernel.*/@lost tcpdump: \1 packets dropped by the kernel/p' "$dir/nflog.err"
  fi
  sleep 0.05
}

# ---- the story -------------------------------------------------------------------------------------------------------

guard_pid=""
finish() { status=$?; cleanup; [ -z "$guard_pid" ] || kill "$guard_pid" 2>/dev/null; exit $status; }
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
trap 'exit 129' HUP

guard
facts
if [ -n "$TS_LOG" ]; then start_log || exit 1; fi
if [ -n "$TS_NFT" ]; then start_nft || exit 1; fi
if [ -n "$TS_RAW" ]; then start_raw || exit 1; fi
say ready
line=""
while read -r line && [ "$line" != "done" ]; do :; done
# The end of our input without a word means that nobody waits for the evidence.
[ "$line" = "done" ] || exit 0
drain
evidence
say finished
exit 0
