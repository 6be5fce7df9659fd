#!/bin/sh
# kubectl asks this program, by its name, what could come next on the command line.
kubectl-trace_svc __complete "$@"
