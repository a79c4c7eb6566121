package vfs

import "golang.org/x/sys/unix"

// renameNoReplace is one step: RENAME_NOREPLACE.
func renameNoReplace(from int, name string, to int, as string) error {
	return unix.Renameat2(from, name, to, as, unix.RENAME_NOREPLACE)
}

// startFlush asks the kernel to begin writing a range to disk, so that the flush at the end of an upload is short. It promises nothing.
func startFlush(fd int, off, n int64) {
	unix.SyncFileRange(fd, off, n, unix.SYNC_FILE_RANGE_WRITE)
}

// freeSpace is how many bytes the process may still write on the file system of an open folder.
func freeSpace(fd int) (int64, error) {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(fd, &st) }); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize, nil
}
