package storage

import (
	"syscall"
	"time"
)

// nap waits for d, which is less than a millisecond: the runtime's timers are no finer than that when nothing else runs.
func nap(d time.Duration) {
	t := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&t, nil) // woken early is well too
}
