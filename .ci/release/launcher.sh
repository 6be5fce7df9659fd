#!/bin/sh
# Starts the program with the Node beside it. krew links to this file from elsewhere, so links are followed first; readlink -f is
# missing on older macOS. NODE_OPTIONS are meant for another Node.
self=$0
case $self in */*) ;; *) self=./$self ;; esac
while [ -h "$self" ]; do
  to=$(PATH="$PATH:/usr/bin:/bin" readlink "$self")
  case $to in /*) self=$to ;; *) self=${self%/*}/$to ;; esac
done
unset NODE_OPTIONS
exec "${self%/*}/bin/node" "${self%/*}/plugin/kubectl-trace_svc" "$@"
