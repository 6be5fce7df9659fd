#!/bin/sh
# machine NAME STATE BIN: the first process in a machine's namespaces (net, mount, pid, uts). It makes the file system a
# machine's own where Kubernetes has fixed paths, and then waits to be killed, which ends all that runs in the machine.
set -eu
name=$1 state=$2 bin=$3

# /proc is still the outer one: this is the number by which the machine is known outside.
read -r stat </proc/self/stat
pid=${stat%% *}
start=$(echo "$stat" | cut -d' ' -f22)

# What is unmounted outside is to go here too, and no mount made here is to be seen outside.
mount --make-rslave /
mount --make-rshared /
# A copy of a mount would keep other people's network namespaces from ending.
umount -R -l /run/netns 2>/dev/null || true

mount --bind "$bin" /usr/local/bin
mount -t tmpfs -o mode=755 run /run
mkdir /run/lock
mount --bind "$state/$name/lib" /var/lib
mount --bind "$state/$name/log" /var/log
mount -t proc proc /proc
hostname "$name"

echo "$pid $start" >"$state/pids/$name"
exec pause
