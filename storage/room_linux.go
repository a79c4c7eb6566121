package storage

import (
	"errors"
	"syscall"
)

// diskSpace is how many bytes the process may still write on the file system of a folder, and how many it holds.
func diskSpace(dir string) (free, total int64, err error) {
	var st syscall.Statfs_t
	for {
		if err = syscall.Statfs(dir, &st); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, err
}
