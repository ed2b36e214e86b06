//go:build race

package script

import "golang.org/x/sys/unix"

// dataLimit is off: the race detector maps terabytes of shadow memory.
const dataLimit = unix.RLIM_INFINITY
