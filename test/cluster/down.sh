#!/bin/sh
# down: ends and removes whatever there is of the cluster, also of one that was never complete.
. "$(dirname "$0")/common.sh"
as_root
lock

# A machine's first process takes all others of it along. Who is in its network namespace and not, is ours as well.
our_processes() {
  for m in $MACHINES; do
    ! alive "$m" || echo "$pid"
    [ ! -e "/run/netns/ts-$m" ] || ip netns pids "ts-$m"
  done
}
no_processes() { [ -z "$(our_processes)" ]; }

our_cgroups() {
  for top in /sys/fs/cgroup /sys/fs/cgroup/*; do
    [ -L "$top" ] || [ ! -d "$top/$CGROUP" ] || echo "$top/$CGROUP"
  done
}
remove_cgroups() {
  for cgroup in $(our_cgroups); do find "$cgroup" -depth -type d -exec rmdir {} + || return 1; done
}

end_processes() {
  for p in $(our_processes); do kill -KILL "$p" 2>/dev/null || true; done
  no_processes
}

wait_for 30 'end of the processes' end_processes
if [ -e "$STATE/pids" ]; then
  for file in "$STATE"/pids/*; do [ ! -e "$file" ] || wait_for 30 "end of ${file##*/}" gone "${file##*/}"; done
fi
ip link del ts-host 2>/dev/null || true
for m in $MACHINES; do
  [ ! -e "/run/netns/ts-$m" ] || ip netns del "ts-$m"
done
wait_for 30 'removal of the cgroups' remove_cgroups
if [ -e "$STATE/sysctls" ]; then
  while read -r name value; do echo "$value" >"/proc/sys/$name"; done <"$STATE/sysctls"
fi
if [ -e "$STATE" ]; then
  rm -rf --one-file-system "$STATE"
  say down
fi
