// pause is the first process of a pod's sandbox and of a machine of the cluster: it waits until it is killed, and
// whatever is left to it by processes that ended is cleared by the kernel, as it ignores SIGCHLD.
package main

import (
	"os/signal"
	"syscall"
)

func main() {
	signal.Ignore(syscall.SIGCHLD)
	for {
		syscall.Pause()
	}
}
