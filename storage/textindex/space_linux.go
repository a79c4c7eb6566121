package textindex

import "golang.org/x/sys/unix"

// space tells how many bytes are free for us and how many there are on the disk of a folder.
func space(dir string) (free, total int64, ok bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, false
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, true
}
