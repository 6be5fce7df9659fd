#!/bin/sh
# The part of kubectl-trace_svc that runs on a node: it puts the tracing rules in, passes on what the kernel says, gathers
# the evidence beside it, and takes the rules out again, whatever happens. POSIX sh, for dash, bash and busybox.
#
# Its whole world is its environment:
#   TS_ROLE      trace: one trace (the default) · guard: first process of the agent's container, which outlives a trace that was
#                killed and cleans up behind it · sweep: remove what ended runs left · facts: tell what this node has
#   TS_RUN       run id, letters and digits; every rule and file carries it
#   TS_DEADLINE  seconds this may last; afterwards the guard removes everything, even if nobody is left to ask
#   TS_METHOD    nft, raw, or auto: what this node can do
#   TS_NFT       a table of ours as nft commands, one a line; for nft: the injecting one, for raw: one without hooks that makes nft
#                tables speak of packets that legacy rules have traced
#   TS_RAW       for raw: rules, one a line, `FAMILY CHAIN SPEC…` (4 PREROUTING -s …); @STOP@ stands for the deadline's date
#   TS_LOG       where legacy TRACE lines are read: nflog, kmsg, journald, file, none, or auto
#   TS_BUDGET    trace lines of each source before it is cut off
#   TS_PODS      addresses of the traced pod
#   TS_SERVICE   NAMESPACE/NAME of the Service that is asked
#   TS_PROXY     where kube-proxy answers on this node; empty: there is none to ask
#   TS_TARGETS   addresses it is going to ask
#   TS_NFLOG     folder of the nf_log sysctls where /proc/sys cannot be written to
#   TS_LOCKLESS  the lock of the legacy tables is not the node's: do not change them
#   TS_HOST      where the node's own files are mounted, for journald and file
# It speaks in lines on its standard output:
#   @step TEXT         where it is in its story
#   @fact KEY VALUE    @say TEXT    @ready    @n LINE (nft monitor)    @k LINE (kernel log)    @p LINE (tcpdump -xx of nflog)
#   @lost TEXT         @begin KIND NAME / a line with a blank before it / @end      @removed TEXT    @left TEXT    @finished
#   @fail TEXT         why it gives up
# `done` on its standard input means: gather the evidence and go; its end alone, or anything else: go.
set -u
export LC_ALL=C PATH="${PATH:-}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

TS_ROLE=${TS_ROLE:-trace}
TS_METHOD=${TS_METHOD:-auto}
TS_NFT=${TS_NFT:-}
TS_RAW=${TS_RAW:-}
TS_LOG=${TS_LOG:-none}
nf_log=${TS_NFLOG:-/proc/sys/net/netfilter/nf_log}
# One folder a run, where the guard finds it too.
dir="${TMPDIR:-/tmp}/trace-svc-$TS_RUN"
table="trace_svc_$TS_RUN"
tag="trace-svc:$TS_RUN"
pids=""
cleaned=""
drained=""

say() { printf '@%s\n' "$*"; }
step() { say "step $*"; }
have() { command -v "$1" >/dev/null 2>&1; }

# ---- which iptables is which -----------------------------------------------------------------------------------------

# The program of a flavour and family: one that says it in its name, or the plain one if its version says it.
program() { # legacy|nft 4|6
  case $2 in 4) plain=iptables ;; *) plain=ip6tables ;; esac
  if have "$plain-$1"; then echo "$plain-$1"; return; fi
  case $("$plain" --version 2>/dev/null) in
  *nf_tables*) [ "$1" = nft ] && echo "$plain" ;;
  ?*) [ "$1" = legacy ] && echo "$plain" ;;
  esac
}

# Legacy tables that exist already. Asking a legacy program about another one would make it.
legacy_tables() { case $1 in 4) cat /proc/net/ip_tables_names ;; *) cat /proc/net/ip6_tables_names ;; esac 2>/dev/null; }

# `FAMILY TABLE`, one a line. Listing the chains is the cheap way: for the tables alone nft reads every rule of the node.
nft_tables() {
  have nft && nft list chains 2>/dev/null | sed -n 's/^table \(.*\) {$/\1/p'
}

# Every iptables that could hold a rule of ours: `PROGRAM`, one a line.
raw_programs() {
  tables=$(nft_tables)
  for family in 4 6; do
    if legacy_tables $family | grep -qx raw; then program legacy $family; fi
    if printf '%s\n' "$tables" | grep -qx "ip${family#4} raw"; then program nft $family; fi
  done
}

# ---- taking out ------------------------------------------------------------------------------------------------------

# The raw rules of a program that carry a tag, read back: `CHAIN SPEC…`, one a line. -S puts quotes around the comment, which no
# shell takes off again; our words need none.
raw_rules() { # program tag
  "$1" -w 5 -t raw -S 2>/dev/null | sed -n "/$2/s/^-A //p" | tr -d '"'
}

# Removes exactly the raw rules that carry this run's tag. By their words, never by their number: two that clean up at the same
# time (we and the guard) would take somebody else's.
remove_raw() {
  for command in $(raw_programs); do
    raw_rules "$command" "$tag" | while read -r chain spec; do
      # shellcheck disable=SC2086 # the words of a rule, read back
      "$command" -w 5 -t raw -D "$chain" $spec 2>/dev/null
    done
  done
}

# Before our reader lets the group go: the next run is to find the node's own setting.
restore_nf_log() {
  [ ! -e "$dir/restored" ] || return 0
  # Ours were all killed, and another run reads that took our setting for the node's. A moment for it to end; it says what it loses.
  looks=0
  while [ -s "$dir/nf_log.2" ] && group_taken && ! reader_lives && [ $looks -lt 20 ]; do sleep 0.05; looks=$((looks + 1)); done
  # We never read, and somebody else does: it is theirs.
  if [ ! -e "$dir/reading" ] && group_taken && ! reader_lives; then rm -f "$dir/nf_log.2" "$dir/nf_log.10"; fi
  # IPv4's is what the next run looks at: it is the last to be put back, as it was the first to be set.
  for number in 10 2; do
    # Noted as the node's own, ours is that of a run that was killed: who knows better may have put it back while we were reading.
    if ! knows_logger $number; then continue; fi
    cat "$dir/nf_log.$number" >"$nf_log/$number" 2>/dev/null
    [ "$(cat "$dir/nf_log.$number")" = "$(cat "$nf_log/$number")" ] || echo "net.netfilter.nf_log.$number" >>"$dir/unrestored"
  done
  : >"$dir/restored"
}

# What was there before any of us, as opposed to what a run set that was killed.
knows_logger() { # 2|10
  [ -s "$dir/nf_log.$1" ] && ! grep -qx nfnetlink_log "$dir/nf_log.$1"
}

# A reader that is only starting makes itself the logger later than we look: it has to be gone before the logger is put back. One
# that listens goes after it, so that the next run finds the node's own setting.
end_starting_reader() {
  reader_lives || return 1
  ! grep -q listening "$dir/nflog.err" 2>/dev/null || return 1
  starting=$(cat "$dir/reader")
  kill -9 "$starting" 2>/dev/null
  await_end "$starting"
}

# A child, or a process of whoever cannot wait for it any more.
await_end() { # pid
  looks=0
  until has_ended "$1" || [ $looks -ge 40 ]; do sleep 0.05; looks=$((looks + 1)); done
}

has_ended() { wait "$1" 2>/dev/null; ! kill -0 "$1" 2>/dev/null; }

reader_lives() { kill -0 "$(cat "$dir/reader" 2>/dev/null || echo none)" 2>/dev/null; }

# An iptables-nft that finds no raw table makes one. Ours has a chain that says so, and another with a rule for each run that uses the
# table, which leads there. No packet comes to them, but the kernel takes no chain away that a rule leads to: the last of several runs
# takes the table out, and none does it while another has a rule in. A table of somebody else stays.
MADE_CHAIN=trace-svc-made
RUNS_CHAIN=trace-svc-runs

is_made() { # listing of a raw table
  grep -q "^	chain $MADE_CHAIN {" "$1"
}

is_bare() { # listing of a raw table
  ! grep -qv -e '^table ' -e '^	chain \(PREROUTING\|OUTPUT\|'$MADE_CHAIN'\|'$RUNS_CHAIN'\) {$' -e '^		type filter hook ' -e '^	*}$' -e '^$' "$1"
}

remove_made_tables() {
  have nft || return 0
  for family in ip ip6; do
    nft list table $family raw >"$dir/raw.$family" 2>/dev/null || continue
    is_made "$dir/raw.$family" && is_bare "$dir/raw.$family" || continue
    # Both or neither, and neither where another run has come meanwhile.
    nft "delete chain $family raw $MADE_CHAIN; delete table $family raw" 2>/dev/null
  done
}

take_out() {
  # Started only now, by whoever was killed, it made itself the logger after that was put back.
  if reader_lives; then rm -f "$dir/restored" "$dir/unrestored"; fi
  end_starting_reader
  # Nobody else knows what the logger was, and there may be little time: it goes first. After an orderly run the rules do: while they
  # trace, their lines are for our reader, not for the kernel's log.
  [ -n "$drained" ] || restore_nf_log
  reader=$(cat "$dir/reader" 2>/dev/null)
  # The table goes with the process that owns it.
  for pid in $pids; do [ "$pid" = "$reader" ] || kill "$pid" 2>/dev/null; done
  for pid in $pids; do [ "$pid" = "$reader" ] || await_end "$pid"; done
  if [ -s "$dir/raw" ]; then remove_raw; remove_made_tables; fi
  restore_nf_log
  if [ -n "$reader" ]; then kill "$reader" 2>/dev/null; await_end "$reader"; fi
  # Whoever was told to start it may be dead, and it only begins now.
  if end_starting_reader; then rm -f "$dir/restored" "$dir/unrestored"; restore_nf_log; fi
  unlock_log
  : >"$dir/taken"
}

cleanup() {
  [ -z "$cleaned" ] || return 0
  cleaned=yes; drained=""
  # Nobody may hear us any more.
  trap '' INT TERM HUP PIPE
  exec 3>&- 2>/dev/null || true
  [ -e "$dir/taken" ] || { step taking out; take_out; }
  step looking back
  verify
  rm -rf "$dir"
}

# The same from outside, when whoever should have done it may be dead: its processes are those it wrote down. One that is not would put in
# again what we take out.
clean_up_after() {
  [ -d "$dir" ] || return 0
  kill -9 "$(cat "$dir/main" 2>/dev/null || echo none)" 2>/dev/null
  pids=$(cat "$dir/pids" 2>/dev/null); cleaned=""
  cleanup
}

# Reads back: what is still there is said, what is gone is receipted.
verify() {
  left=""
  if [ -e "$dir/table" ]; then
    for family in ip ip6; do
      nft list table "$family" "$table" >/dev/null 2>&1 && left="$left table:$family:$table"
    done
  fi
  if [ -s "$dir/raw" ]; then
    for command in $(raw_programs); do
      "$command" -w 5 -t raw -S 2>/dev/null | grep -q "$tag" && left="$left rule:$command"
    done
  fi
  for name in $(cat "$dir/unrestored" 2>/dev/null); do left="$left sysctl:$name"; done
  if [ -n "$left" ]; then say "left$left"; return; fi
  [ ! -e "$dir/table" ] || say "removed nft table $table"
  count=$(grep -c . "$dir/raw" 2>/dev/null)
  [ "${count:-0}" = 0 ] || say "removed $count rules in the raw table"
  [ ! -s "$dir/nf_log.2" ] || say "removed our setting of net.netfilter.nf_log: it is $(cat "$dir/nf_log.2") again"
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
    verify() { :; }; clean_up_after ) &
  guard_pid=$!
}

# ---- facts -----------------------------------------------------------------------------------------------------------

fact_file() { # key file
  [ -r "$2" ] && say "fact $1 $(tr '\n\t' '  ' <"$2")"
}

# Interfaces, `all` among them, whose setting is as asked: `NAME=VALUE`. A shell reads byte by byte, and of these files only
# the first read gets anything: other programs have to.
settings() { # ipv4|ipv6 setting pattern
  grep -sH "^$3" /proc/sys/net/"$1"/conf/*/"$2" | sed 's|.*/conf/\(.*\)/[a-z_]*:\(.*\)|\1=\2|' | tr '\n' ' '
}

# Packets conntrack has dropped since the node was started, and new connections it could not take in.
conntrack_losses() {
  conntrack -S 2>/dev/null | awk '{for (i = 1; i <= NF; i++) if (split($i, part, "=") == 2) sum[part[1]] += part[2]} END {print sum["drop"] + 0, sum["insert_failed"] + 0}'
}

facts() {
  say "fact kernel $(uname -r)"
  have nft && say "fact nft $(nft --version 2>/dev/null | head -n 1)"
  legacy=$(program legacy 4); nft_iptables=$(program nft 4)
  [ -n "$legacy" ] && say "fact iptables_legacy $("$legacy" --version 2>/dev/null | head -n 1)"
  [ -n "$nft_iptables" ] && say "fact iptables_nft $("$nft_iptables" --version 2>/dev/null | head -n 1)"
  for tool in tcpdump conntrack ipset ipvsadm curl; do have $tool && tools="${tools:-} $tool"; done
  say "fact tools${tools:-}"
  fact_file nf_log "$nf_log/2"
  fact_file legacy_tables /proc/net/ip_tables_names
  fact_file legacy_tables6 /proc/net/ip6_tables_names
  fact_file printk /proc/sys/kernel/printk
  fact_file consoles /proc/consoles
  fact_file ip_forward /proc/sys/net/ipv4/ip_forward
  fact_file forwarding6 /proc/sys/net/ipv6/conf/all/forwarding
  fact_file rp_filter /proc/sys/net/ipv4/conf/all/rp_filter
  say "fact rp_filters $(settings ipv4 rp_filter '[12]')"
  say "fact not_forwarding $(settings ipv4 forwarding 0)"
  say "fact not_forwarding6 $(settings ipv6 forwarding 0)"
  fact_file conntrack_count /proc/sys/net/netfilter/nf_conntrack_count
  fact_file conntrack_max /proc/sys/net/netfilter/nf_conntrack_max
  fact_file bridge_nf /proc/sys/net/bridge/bridge-nf-call-iptables
  # kube-proxy says on the node's own address what it does (cmd/kube-proxy: --metrics-bind-address).
  if [ -n "${TS_PROXY:-}" ] && have curl; then
    mode=$(curl -s --noproxy '*' --max-time 1 "http://$TS_PROXY/proxyMode" 2>/dev/null | head -c 40)
    case $mode in iptables | nftables | ipvs | kernelspace) say "fact proxy_mode $mode" ;; esac
  fi
}

# ---- choosing --------------------------------------------------------------------------------------------------------

# The own nft table is the better way wherever the kernel has nf_tables: it dies with its process, its trace shows the packet
# before and after every translation, and legacy tables log the packets it marks as well.
choose_method() {
  flavour=""
  if have nft && nft --check add table ip trace_svc_check 2>"$dir/err"; then nft_works=yes; else nft_works=""; fi
  case $TS_METHOD in
  auto) if [ -n "$nft_works" ] && [ -n "$TS_NFT" ]; then TS_METHOD=nft; else TS_METHOD=raw; fi ;;
  nft)
    have nft || { say "fail method nft needs the program nft in the agent's image"; return 1; }
    [ -n "$nft_works" ] || { say "fail this node's kernel has no nf_tables: $(head -n 1 "$dir/err"); use --method raw"; return 1; } ;;
  esac
  if [ "$TS_METHOD" = raw ]; then choose_flavour || return 1; fi
  say "fact method $TS_METHOD"
}

# 4, 6 or both: a pod may have addresses of one family alone.
raw_families() {
  printf '%s\n' "$TS_RAW" | sed -n 's/^\([46]\) .*/\1/p' | sort -u
}

has_legacy_raw() {
  for family in $(raw_families); do legacy_tables "$family" | grep -qx raw || return 1; done
}

has_legacy_kube_rules() {
  legacy_tables 4 | grep -qx nat || return 1
  command=$(program legacy 4)
  [ -n "$command" ] && "$command" -w 5 -t nat -S 2>/dev/null | grep -q '^-N KUBE-SERVICES'
}

# Raw rules go where the Services' rules are. A legacy raw table that does not exist would be made and stay, so that nft's is
# taken instead wherever it can be: legacy tables log the packets it marks as well, and it can be taken back.
choose_flavour() {
  flavour=nft
  if [ -z "$nft_works" ]; then flavour=legacy
  elif has_legacy_kube_rules && { has_legacy_raw || [ -z "$(program nft 4)" ]; }; then flavour=legacy; fi
  if [ -z "$(program $flavour 4)" ]; then
    say "fail method raw needs iptables-$flavour in the agent's image, as this node's rules are of that flavour"
    return 1
  fi
  if [ "$flavour" = legacy ] && [ -n "${TS_LOCKLESS:-}" ]; then
    say "fail this node has no nf_tables, and its legacy rules are changed under a lock the agent was not given; use --method raw"
    return 1
  fi
  say "fact flavour $flavour"
}

# Legacy tables speak through the kernel's logger. Packets of the trace are better sent to a netlink group than to the kernel
# log: nothing is printed on a console, and nothing of the host is read.
choose_log() {
  if [ -z "$(legacy_tables 4)$(legacy_tables 6)" ] && [ "$flavour" != legacy ]; then TS_LOG=none; fi
  [ "$TS_LOG" = auto ] || return 0
  if have tcpdump && [ -w "$nf_log/2" ]; then TS_LOG=nflog; else TS_LOG=kmsg; fi
}

# A warning printed on a serial line holds up the packet it is about by some 20 ms (printk is synchronous).
console_is_safe() {
  level=$(awk '{print $1; exit}' /proc/sys/kernel/printk 2>/dev/null)
  [ "${level:-4}" -gt 4 ] || return 0
  # Enabled (E), and neither a virtual terminal nor a store in memory: a serial line, a hypervisor's, the network's.
  slow=$(awk '/^[^(]*\(E/ && $1 !~ /^(tty[0-9]*|pstore.*|ramoops.*)$/ {print $1; exit}' /proc/consoles 2>/dev/null)
  [ -n "$slow" ] || return 0
  say "fail this node prints warnings on a console that is slow ($slow): each traced line would hold up its packet; use --log-source nflog"
  return 1
}

# ---- putting in ------------------------------------------------------------------------------------------------------

# What a source writes is bounded by the kernel: a file that grows too long ends its writer, and with nft goes the table. It
# is read when the probes are done; then there is one writer on our output, and no line is cut by another.
bounded() { ulimit -f $((TS_BUDGET * 2)); }

nft_has_hooks() { [ -n "$nft_works" ] && nft list chains 2>/dev/null | grep -q ' hook '; }

start_nft() {
  mkfifo "$dir/nft.in" || return 1
  : >"$dir/nft.out"
  ( bounded; exec nft -nn -i <"$dir/nft.in" >>"$dir/nft.out" 2>"$dir/nft.err" ) &
  nft_pid=$!
  own $nft_pid
  exec 3>"$dir/nft.in"
  : >"$dir/table"; printf '%s\n' "$TS_NFT" >&3
  printf 'monitor trace\n' >&3
  until nft_listens; do
    # Where an image has no terminal database nft says so as well, and works.
    ! grep -qi error "$dir/nft.err" || { say "fail nft: $(grep -i error "$dir/nft.err" | head -n 1)"; return 1; }
    kill -0 "$nft_pid" 2>/dev/null || { nft_ended; return 1; }
    waited || return 1
  done
}

# Older versions crash on rules that newer ones made (1.0.6 on kube-proxy's maps of 1.1.3).
nft_ended() {
  wait "$nft_pid"; status=$?
  if [ $status -gt 128 ]; then say "fail $(nft --version 2>/dev/null | head -n 1) of the agent's image crashed (signal $((status - 128))) reading this node's rules, as an older nft does on those of a newer one; name an image with a newer nft (--agent-image)"
  else say "fail nft: $(tr '\n' ' ' <"$dir/nft.err")"; fi
}

# The trace group of nfnetlink is the 9th (include/uapi/linux/netfilter/nfnetlink.h): bit 0x100 in /proc/net/netlink. Others
# on the node may listen as well: it has to be a socket of our nft.
nft_listens() {
  nft list table ip "$table" >/dev/null 2>&1 || nft list table ip6 "$table" >/dev/null 2>&1 || return 1
  own=$(ls -l "/proc/$nft_pid/fd" 2>/dev/null | sed -n 's/.*socket:\[\([0-9]*\)\]$/ \1 /p' | tr -d '\n')
  awk -v own="$own" '$2 == 12 && index(own, " " $NF " ") && substr($4, length($4) - 2, 1) % 2 == 1 {found = 1} END {exit !found}' /proc/net/netlink
}

start_log() {
  case $TS_LOG in
  nflog) start_nflog ;;
  kmsg) console_is_safe && start_kmsg ;;
  journald) console_is_safe && start_journald ;;
  file) console_is_safe && start_file ;;
  esac
}

start_nflog() {
  have tcpdump || { say "fail log source nflog needs tcpdump in the agent's image"; return 1; }
  open_lock
  looks=0
  until take_turn; do :; done
  [ -s "$dir/reader" ] || return 1
  : >"$dir/reading"
  for number in 2 10; do [ ! -s "$dir/nf_log.$number" ] || echo nfnetlink_log >"$nf_log/$number"; done 2>/dev/null
  loggers >"$dir/reading"
}

# The kernel hands the lines of all legacy tables to group 0, and that to one reader alone: runs on one node take turns. To be
# refused by libpcap would be no way to find out: it disturbs the one that reads.
group_taken() { awk '$1 == 0 {found = 1} END {exit !found}' /proc/net/netfilter/nfnetlink_log 2>/dev/null; }

# Held from before a run looks what the logger is until it is so again, by all processes of the run: whoever waits for it begins with the
# node's own. It is the lock of a file that all agents of a node see. An image may have no flock; the group alone has to do then.
open_lock() { if have flock && [ -r "$nf_log/2" ]; then exec 8<"$nf_log/2"; log_lock=yes; fi; }
lock_log() { [ -z "${log_lock:-}" ] || flock -n 8 2>/dev/null; }
unlock_log() { [ -z "${log_lock:-}" ] || flock -u 8 2>/dev/null; }

# Our setting without a reader is that of a run that was killed, or the node's own if it stays so for three seconds: who goes on at once
# would take the one for the other.
turn_may_come() {
  if ! lock_log || group_taken; then unread=0; return 0; fi
  logger=$(cat "$nf_log/2" 2>/dev/null)
  [ "$logger" = nfnetlink_log ] || return 1
  unread=$((unread + 1))
  # We tried at the same time as another run, which has put back the logger before our reader set it, and has ended.
  if [ $unread -gt 2 ] && knows_logger 2; then cat "$dir/nf_log.2" >"$nf_log/2" 2>/dev/null; fi
  [ $unread -le 60 ]
}

# Fails where another one was quicker, and it is to be tried again.
take_turn() {
  unread=0
  while turn_may_come; do
    [ $looks -lt 400 ] || { say "fail the node's packet log has another reader (a trace, or a logger such as ulogd, at netlink group 0); try again when it has ended, or another --node"; return 0; }
    sleep 0.05; looks=$((looks + 1))
  done
  note_loggers
  # As another user it could not be ended by us without the right to; a tcpdump built without -Z stays who it is.
  start_tcpdump -Z root || grep -q 'group index' "$dir/nflog.err" || start_tcpdump || :
  if reader_lives; then return 0; fi
  # What is noted stays: libpcap may have set the logger before it failed.
  rm -f "$dir/reader"
  ! grep -q 'group index' "$dir/nflog.err" || return 1
  say "fail tcpdump: $(tr '\n' ' ' <"$dir/nflog.err")"
}

# libpcap makes itself the logger of IPv4, for good; what there was is written down first.
note_loggers() {
  knows_logger 2 || [ -z "$logger" ] || printf '%s\n' "$logger" >"$dir/nf_log.2"
  knows_logger 10 || [ ! -r "$nf_log/10" ] || cat "$nf_log/10" >"$dir/nf_log.10"
}

start_tcpdump() {
  # It writes itself down before it begins, and does not begin where there is nobody left who would end it.
  # shellcheck disable=SC2016 # its own number, not ours
  ( bounded; exec sh -c 'echo $$ >>"$0/pids" && echo $$ >"$0/reader" && exec tcpdump "$@"' "$dir" "$@" \
    -l -U -n -xx -tt -B 8192 -i nflog:0 >"$dir/nflog.out" 2>"$dir/nflog.err" ) &
  log_pid=$!; own $log_pid; echo $log_pid >"$dir/reader"
  until grep -q listening "$dir/nflog.err" 2>/dev/null; do
    kill -0 "$log_pid" 2>/dev/null || return 1
    waited || return 1
  done
}

# The kernel log is followed where the device may be opened, and read at the end where only syslog(2) is allowed.
start_kmsg() {
  if [ -r /dev/kmsg ] && [ -w /dev/kmsg ]; then follow_kmsg; return; fi
  dmesg -S >"$dir/dmesg.before" 2>"$dir/err" || { say "fail the kernel log cannot be read: $(head -n 1 "$dir/err")"; return 1; }
  tail -n 1 "$dir/dmesg.before" >"$dir/dmesg.last"
}

follow_kmsg() {
  echo "trace-svc:$TS_RUN begins" >/dev/kmsg || { say "fail /dev/kmsg cannot be written"; return 1; }
  ( bounded; exec cat /dev/kmsg 2>/dev/null >"$dir/kmsg.out" ) &
  log_pid=$!; own $log_pid
  until grep -q "trace-svc:$TS_RUN begins" "$dir/kmsg.out" 2>/dev/null; do
    kill -0 "$log_pid" 2>/dev/null || { say "fail /dev/kmsg cannot be read"; return 1; }
    waited || return 1
  done
}

# Lines since the last one that was there before. Gone from the ring, it took others with it.
read_dmesg() {
  [ -s "$dir/dmesg.before" ] || return 0
  dmesg -S >"$dir/dmesg.after" 2>/dev/null
  grep -qxF -f "$dir/dmesg.last" "$dir/dmesg.after" || say "lost the kernel log was overwritten while tracing"
  # By the environment: what awk is given with -v it reads for escapes.
  last=$(cat "$dir/dmesg.last") awk 'found && /TRACE: / {print "@k " $0} $0 == ENVIRON["last"] {found = 1}' "$dir/dmesg.after" | head -n "$TS_BUDGET"
}

start_journald() {
  host=${TS_HOST:-/host}
  chroot "$host" journalctl -k -q -n 1 -o cat >"$dir/last" 2>"$dir/err"
  [ -s "$dir/last" ] || { say "fail this node's journal holds nothing of the kernel: $(head -n 1 "$dir/err")"; return 1; }
  ( bounded; exec chroot "$host" journalctl -k -f -n 0 -o short-monotonic >"$dir/journal.out" 2>/dev/null ) &
  own $!
}

start_file() {
  host=${TS_HOST:-/host}
  for file in kern.log messages syslog; do [ ! -f "$host/var/log/$file" ] || { log_file="$host/var/log/$file"; break; }; done
  [ -n "${log_file:-}" ] || { say "fail this node has none of kern.log, messages and syslog in /var/log; use another --log-source"; return 1; }
  [ -r "$log_file" ] || { say "fail ${log_file#"$host"} cannot be read"; return 1; }
  say "fact log_file ${log_file#"$host"}"
  ( bounded; exec tail -n 0 -F "$log_file" >"$dir/file.out" 2>/dev/null ) &
  own $!
}

ticks=0
waited() { sleep 0.02; ticks=$((ticks + 1)); [ $ticks -lt 1500 ] || { say "fail not ready after 30 s"; return 1; }; }

# The words that iptables has for whatever the kernel lacks.
why_no_rule() { # program
  if grep -q 'No chain/target/match by that name' "$dir/err"; then
    echo "$1 cannot make the tracing rule: this node's kernel has no TRACE target (xt_TRACE), or not the time and comment matches${nft_works:+; use --method nft}"
  elif grep -qi "can't initialize\|Table does not exist" "$dir/err"; then
    echo "$1 has no raw table: this node's kernel lacks it${nft_works:+; use --method nft}"
  else echo "$1: $(tr '\n' ' ' <"$dir/err")"
  fi
}

start_raw() {
  now=$(date +%s)
  stop=$(date -u -d "@$((now + TS_DEADLINE))" +%Y-%m-%dT%H:%M:%S) || { say "fail date cannot say when the deadline is"; return 1; }
  printf '%s\n' "$TS_RAW" | sed "s/@STOP@/$stop/" >"$dir/raw"
  for family in $(raw_families); do
    [ "$flavour" = legacy ] || use_table "$family"
  done
  if [ "$flavour" = legacy ] && ! has_legacy_raw; then
    say "say This node had no legacy raw table. Now it has an empty one, which the kernel keeps until the node starts again or iptable_raw is unloaded."
  fi
  while read -r family chain spec; do
    [ -n "$family" ] || continue
    command=$(program "$flavour" "$family")
    # shellcheck disable=SC2086 # the words of a rule, made by us
    "$command" -w 5 -t raw -I "$chain" $spec 2>"$dir/err" || { say "fail $(why_no_rule "$command")"; return 1; }
  done <"$dir/raw"
}

# Fails quietly: where iptables cannot make this rule, it says so of the next one.
use_table() { # 4|6
  command=$(program nft "$1"); tries=0
  while [ $tries -lt 20 ]; do
    tries=$((tries + 1))
    if nft list table "ip${1#4}" raw >"$dir/listing" 2>/dev/null; then
      is_made "$dir/listing" || return 0
    else
      # Who makes it at the same time is found at the next look.
      nft "create table ip${1#4} raw; add chain ip${1#4} raw $MADE_CHAIN; add chain ip${1#4} raw $RUNS_CHAIN" 2>/dev/null || continue
    fi
    # Another run that ends may have taken it out again.
    "$command" -w 5 -t raw -A $RUNS_CHAIN -m time --datestop "$stop" -m comment --comment "$tag" -j $MADE_CHAIN 2>/dev/null && return 0
  done
}

# ---- evidence --------------------------------------------------------------------------------------------------------

section() { # kind name command…
  printf '@begin %s %s\n' "$1" "$2"; shift 2
  "$@" 2>/dev/null | sed 's/^/ /'
  printf '@end\n'
}

# A cluster's rules can be a hundred thousand, and a run asks one Service: of a long listing, chains that belong to other
# Services alone are left out. What is kept is whole.
SERVICE_CHAIN='KUBE-(SVC|SVL|SEP|EXT|FW|XLB)-[A-Z2-7]+'

rules() {
  sets=""
  : >"$dir/chains"
  nft_tables >"$dir/tables"
  for family in 4 6; do
    command=$(program legacy $family)
    if [ -n "$(legacy_tables $family)" ] && [ -n "$command" ]; then saved "ip${family#4}tables-legacy-save" "$command-save"; fi
    command=$(program nft $family)
    if [ -n "$command" ] && grep -q "^ip${family#4} " "$dir/tables"; then saved "ip${family#4}tables-nft-save" "$command-save"; fi
  done
  have nft || return 0
  nft -a list ruleset >"$dir/rules" 2>/dev/null
  if is_long nft; then section rules nft own_nft_chains; else section rules nft cat "$dir/rules"; fi
}

saved() { # name command
  "$2" -c >"$dir/rules" 2>/dev/null
  ! grep -q -e '--match-set' "$dir/rules" || sets=yes
  if is_long "$1"; then section rules "$1" own_chains; else section rules "$1" cat "$dir/rules"; fi
}

is_long() {
  [ -n "${TS_SERVICE:-}" ] && [ "$(wc -l <"$dir/rules")" -gt 10000 ] || return 1
  say "say The listing of $1 is long ($(wc -l <"$dir/rules") lines): chains of other Services were left out."
}

# Two looks: which chains name the Service in a comment, then everything but the other Services' chains.
own_chains() {
  awk -v service="$TS_SERVICE" -v pattern="$SERVICE_CHAIN" -v list="$dir/chains" '
    { own = match($0, "(^:|-A )" pattern) ? substr($0, RSTART, RLENGTH) : ""; sub(/^:|^-A /, "", own) }
    NR == FNR { if (own != "" && match($0, service "[ :\"]")) keep[own] = 1; next }
    own == "" || own in keep { print }
    END { for (chain in keep) print chain >>list }' "$dir/rules" "$dir/rules"
}

own_nft_chains() {
  awk -v service="$TS_SERVICE/" -v pattern="$SERVICE_CHAIN" -v list="$dir/chains" '
    BEGIN { while ((getline chain <list) > 0) keep[chain] = 1 }
    $1 == "chain" {
      other = ($2 ~ "^" pattern "$" && !($2 in keep)) || ($2 ~ /^(service|endpoint|external|firewall)-[A-Z2-7]+-/ && !index($2, service))
    }
    !other { print }
    /^\t}/ { other = 0 }' "$dir/rules"
}

# `IN FROM TO`, one a line: how packets of the trace came in and where to, and where the rules lead.
ways() {
  seen_ways >"$dir/ways"
  cat "$dir/ways"
  for pod in $TS_PODS; do
    link=$(awk -v pod="$pod" '$2 == pod {print $1; exit}' "$dir/ways")
    [ -n "$link" ] || link=$(ip route get "$pod" 2>/dev/null | sed -n 's/.* dev \([^ ]*\).*/\1/p' | head -n 1)
    for target in $TS_TARGETS; do
      case $pod$target in *:*.* | *.*:*) ;; *) printf '%s %s %s\n' "${link:-lo}" "$pod" "$target" ;; esac
    done
  done
}

seen_ways() {
  for file in "$dir"/*.out; do
    [ "$file" = "$dir/nflog.out" ] || sed -n \
      -e 's/.* packet: iif "\([^" ]*\)".* ip6\{0,1\} saddr \([^ ]*\) ip6\{0,1\} daddr \([^ ]*\).*/\1 \2 \3/p' \
      -e 's/.*TRACE: .*IN=\([^ ]\{1,\}\) .*SRC=\([^ ]*\) DST=\([^ ]*\).*/\1 \2 \3/p' "$file"
  done | awk '!seen[$0]++' | head -n 60
}

# How the node would send each of them on: what the kernel does beside netfilter.
routes() {
  ways | sort -u >"$dir/all.ways"
  while read -r link from to; do
    printf '@ %s %s %s %s\n' "$link" "$from" "$to" "$(ip route get "$to" from "$from" iif "$link" 2>&1 | head -n 1)"
  done <"$dir/all.ways"
  # The way back, which the kernel asks for where rp_filter is on.
  cut -d ' ' -f 2 "$dir/all.ways" | sort -u | while read -r from; do printf '%s %s\n' "$from" "$(ip route get "$from" 2>&1 | head -n 1)"; done
  ip neigh show 2>/dev/null | grep -w FAILED | head -n 20
  ! have bridge || ports
}

# Which port of a bridge leads to an address: `ADDRESS port PORT of BRIDGE`.
ports() {
  ip neigh show 2>/dev/null | grep -w lladdr >"$dir/neighbours"
  bridge fdb show 2>/dev/null | awk '
    NR == FNR { for (i = 1; i < NF; i++) if ($i == "lladdr") address[$(i + 1)] = address[$(i + 1)] " " $1; next }
    $1 in address && $4 == "master" { n = split(address[$1], own, " "); for (i = 1; i <= n; i++) print own[i], "port", $3, "of", $5 }
  ' "$dir/neighbours" - | sort -u | head -n 200
}

evidence() {
  rules
  if have conntrack; then
    for pod in $TS_PODS; do
      case $pod in *:*) version=ipv6 ;; *) version=ipv4 ;; esac
      section conntrack "$pod" conntrack -L -f $version -s "$pod" -o extended
    done
  fi
  if have ipvsadm && [ -r /proc/net/ip_vs ]; then section ipvs ipvsadm ipvsadm -Ln; fi
  if [ -n "$sets" ] && have ipset; then section ipset ipset ipset save; fi
  section route route routes
  if have conntrack; then
    conntrack_losses | { read -r drops failed; read -r drops_before failed_before <"$dir/losses"
      say "fact conntrack_dropped $((drops - drops_before))"; say "fact conntrack_refused $((failed - failed_before))"; }
  fi
  # The newest of both families; later than it, rules may be waiting to be written.
  [ -z "${TS_PROXY:-}" ] || ! have curl || curl -s --noproxy '*' --max-time 1 "http://$TS_PROXY/metrics" 2>/dev/null |
    awk -v now="$(date +%s)" '/^kubeproxy_sync_proxy_rules_last_timestamp_seconds/ && $NF > last {last = $NF} END {if (last) printf "@fact proxy_synced %d\n", now - last}'
}

# A comment in a rule may hold newlines: what begins as no line of nft's does belongs to the line before it.
whole_nft_lines() {
  awk '/^trace id |^# ERROR/ { if (line != "") print line; line = $0; next } line != "" && NF { line = line " " $0 } END { if (line != "") print line }' "$dir/nft.out" >"$dir/nft.whole"
  mv "$dir/nft.whole" "$dir/nft.out"
}

# What a source wrote, as lines of ours.
passed_on() { # source letter pattern budget [sed command]
  file="$dir/$1.out"
  [ -s "$file" ] || return 0
  sed -e "${5:-}" "$file" | grep "$3" >"$dir/lines" || return 0
  head -n "$4" "$dir/lines" | sed "s/^/@$2 /"
  if [ "$(wc -l <"$dir/lines")" -gt "$4" ] || [ "$(wc -c <"$file")" -ge $((TS_BUDGET * 1024)) ]; then say "over $1"; fi
}

# A pod may send more than the rules trace: nft's count before and behind their limit, iptables' only behind it.
limits() {
  if [ "$TS_METHOD" = nft ]; then
    for family in ip ip6; do nft list table $family "$table" 2>/dev/null; done | awk '
      / limit rate / {
        n = 0; for (i = 1; i < NF; i++) { if ($i == "packets" && $(i - 1) == "counter") count[++n] = $(i + 1); if ($i == "rate") rate = $(i + 1) }
        if (n == 2 && count[1] - count[2] > most) { most = count[1] - count[2]; all = count[1] }
      }
      END { if (most) printf "@lost more packets came than the %s that are traced: of %d, %d were not\n", rate, all, most }'
    return
  fi
  for command in $(raw_programs); do "$command" -w 5 -t raw -L -vnx 2>/dev/null; done | tag="$tag" awk '
    index($0, ENVIRON["tag"]) && match($0, /limit: avg [^ ]* burst [0-9]*/) {
      split(substr($0, RSTART, RLENGTH), word, " "); if ($1 >= word[5] && $1 > most) { most = $1; rate = word[3] }
    }
    END { if (most) printf "@lost more packets may have come than the %s that are traced: a rule traced %d of them\n", rate, most }'
}

loggers() { cat "$nf_log/2" "$nf_log/10" 2>/dev/null | tr '\n' ' '; }

# Others may set the logger as well, and end our reader.
still_read() {
  reader_lives || [ "$(wc -c <"$dir/nflog.out")" -ge $((TS_BUDGET * 1024)) ] || say "lost tcpdump ended before the probes did"
  now=$(loggers)
  [ "$now" = "$(cat "$dir/reading")" ] || say "lost the node's packet log went to another logger meanwhile (net.netfilter.nf_log: $now)"
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
  drained=yes
}

# When nothing writes any more: every line is whole.
pass_on() {
  [ "$TS_LOG" != nflog ] || sed -n 's/^\([1-9][0-9]*\) packets dropped by kernel.*/@lost tcpdump: \1 packets dropped by the kernel/p' "$dir/nflog.err"
  [ ! -s "$dir/nflog.out" ] || ip -o link 2>/dev/null | sed -n 's/^\([0-9]*\): \([^:@]*\).*/@p # ifindex \1 \2/p'
  passed_on nflog p . $((TS_BUDGET * 12))
  passed_on kmsg k 'TRACE: ' "$TS_BUDGET" "1,/trace-svc:$TS_RUN begins/d"
  passed_on journal k 'TRACE: ' "$TS_BUDGET"
  passed_on file k 'TRACE: ' "$TS_BUDGET"
  read_dmesg
  [ ! -s "$dir/nft.out" ] || whole_nft_lines
  passed_on nft n '^trace id\|^# ERROR' "$TS_BUDGET"
}

# ---- the story -------------------------------------------------------------------------------------------------------

trace() {
  mkdir -p "$dir" && echo $$ >"$dir/main" && : >"$dir/pids" || { say "fail no temporary folder"; exit 1; }
  guard_pid=""
  finish() { status=$?; cleanup; [ -z "$guard_pid" ] || kill "$guard_pid" 2>/dev/null; exit $status; }
  trap finish EXIT
  trap 'exit 143' TERM
  trap 'exit 130' INT
  trap 'exit 129' HUP
  trap 'exit 141' PIPE
  guard
  step guard set
  facts
  ! have conntrack || conntrack_losses >"$dir/losses"
  step facts known
  choose_method || exit 1
  choose_log
  say "fact log $TS_LOG"
  step method chosen
  start_log || exit 1
  step log open
  if [ "$TS_METHOD" = nft ] || nft_has_hooks; then start_nft || exit 1; fi
  step nft started
  if [ "$TS_METHOD" = raw ]; then start_raw || exit 1; fi
  step rules in
  say ready
  line=""
  read -r line || line=""
  # The end of our input, or another word, means that nobody waits for the evidence.
  [ "$line" = "done" ] || exit 0
  step draining
  drain
  limits
  step gathering
  evidence
  [ "$TS_LOG" != nflog ] || still_read
  step taking out
  take_out
  step passing on
  pass_on
  say finished
  exit 0
}

# A trace that was killed. What it wrote down stays, for whoever reads back.
is_abandoned() {
  main=$(cat "$dir/main" 2>/dev/null)
  [ -n "$main" ] && [ ! -e "$dir/taken" ] && ! kill -0 "$main" 2>/dev/null
}

# It may be there before the first process of its container comes to look.
trace_lives() { tr '\0' '\n' 2>/dev/null <"/proc/$(cat "$dir/main" 2>/dev/null || echo none)/environ" | grep -qx TS_ROLE=trace; }

# The container's first process. Restarted after it was killed, it finds what its trace left and removes that first.
guard_container() {
  nap=none
  trap 'kill $nap 2>/dev/null; clean_up_after; exit 0' TERM INT
  if [ -e "$dir/pids" ] && ! trace_lives; then
    # Process numbers of a container that was killed mean nothing here.
    : >"$dir/pids"; rm -f "$dir/reader" "$dir/main" "$dir/taken"
    # A tcpdump that was not refused may have set the logger, whatever became of it.
    [ ! -e "$dir/nflog.err" ] || grep -q 'group index' "$dir/nflog.err" || : >>"$dir/reading"
    ( clean_up_after )
  fi
  say ready
  sleep "$TS_DEADLINE" & nap=$!
  while kill -0 $nap 2>/dev/null; do
    # An image's sleep may know whole seconds alone.
    sleep 0.25 & wait $! || sleep 1
    if is_abandoned; then ( pids=$(cat "$dir/pids" 2>/dev/null); take_out ); fi
  done
  clean_up_after
  exit 0
}

# A run of this container that nobody hears any more: it is told to go, and what it cannot do itself is done for it.
end_run() {
  main=$(cat "$dir/main" 2>/dev/null)
  [ -z "$main" ] || kill -TERM "$main" 2>/dev/null
  looks=0
  while [ -d "$dir" ] && kill -0 "$main" 2>/dev/null && [ $looks -lt 60 ]; do sleep 0.05; looks=$((looks + 1)); done
  if [ -d "$dir" ]; then
    clean_up_after
  else say "removed what run $TS_RUN had put in, by its own cleanup"
  fi
}

# What ended runs left on this node: rules past their date, or those of one run that is named.
sweep() {
  if [ "$TS_RUN" != all ] && [ -d "$dir" ]; then end_run; fi
  dir="${TMPDIR:-/tmp}/trace-svc-sweep"; mkdir -p "$dir"
  now=$(date -u +%Y-%m-%dT%H:%M:%S)
  for command in $(raw_programs); do
    raw_rules "$command" trace-svc: | while read -r chain spec; do
      run=$(printf '%s\n' "$spec" | sed -n 's/.*--comment trace-svc:\([a-z0-9]*\).*/\1/p')
      stop=$(printf '%s\n' "$spec" | sed -n 's/.*--datestop \([^ ]*\).*/\1/p')
      [ -n "$run" ] || continue
      if [ "$run" = "$TS_RUN" ] || { [ "$TS_RUN" = all ] && [ "$(printf '%s\n%s\n' "$stop" "$now" | sort | head -n 1)" = "$stop" ]; }; then
        # shellcheck disable=SC2086 # the words of a rule, read back
        if "$command" -w 5 -t raw -D "$chain" $spec 2>/dev/null; then say "removed $command raw $chain: a rule of run $run"
        elif raw_rules "$command" "trace-svc:$run" | grep -qxF -e "$chain $spec"; then say "left rule:$command:$chain:$run"; fi
      else say "say $command raw $chain: a rule of run $run is within its time and stays"
      fi
    done
  done
  remove_made_tables
  if have nft; then
    nft_tables | while read -r family name; do
      case $name in trace_svc_*) ;; *) continue ;; esac
      if [ "$TS_RUN" = all ] || [ "$name" = "trace_svc_$TS_RUN" ]; then
        if nft delete table "$family" "$name" 2>/dev/null; then say "removed nft table $family $name"
        else say "say nft table $family $name belongs to a run that is alive; it goes with its process"; fi
      fi
    done
  fi
  rm -rf "$dir"
  say finished
}

case $TS_ROLE in
trace) trace ;;
guard) guard_container ;;
sweep) sweep ;;
facts) mkdir -p "$dir"; facts; choose_method; choose_log; say "fact log $TS_LOG"; say finished; rm -rf "$dir" ;;
*) say "fail no such role: $TS_ROLE"; exit 1 ;;
esac
