package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hostDir is an open folder of a mount. Its calls take one name each and never follow a link, so that whatever is renamed around it meanwhile, what is
// written stays in the folder that was opened.
type hostDir struct{ f *os.File }

// dirFlags open a folder and nothing else: a FIFO that was put in its place would block, a device might do something.
const dirFlags = os.O_RDONLY | syscall.O_DIRECTORY | syscall.O_NONBLOCK

// dir opens a folder of the host, by a path below the mount. A link that stays inside is followed.
func (r *hostRoot) dir(rel string) (*hostDir, error) {
	f, err := r.OpenFile(rel, dirFlags, 0)
	if err != nil {
		return nil, err
	}
	return &hostDir{f}, nil
}

// parent opens the folder that rel is in, and gives the name in it.
func (r *hostRoot) parent(rel string) (*hostDir, string, error) {
	d, err := r.dir(path.Dir(rel))
	return d, path.Base(rel), err
}

func (d *hostDir) close() { d.f.Close() }

func (d *hostDir) fd() int { return int(d.f.Fd()) }

// again repeats a call that a signal interrupted.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// create makes a file that was not there.
func (d *hostDir) create(name string, mode fs.FileMode) (*os.File, error) {
	return d.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
}

func (d *hostDir) open(name string, flags int, mode fs.FileMode) (*os.File, error) {
	var fd int
	err := again(func() (err error) {
		fd, err = unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, uint32(mode.Perm()))
		return err
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// lstat tells what a name is; a link is a link.
func (d *hostDir) lstat(name string) (st unix.Stat_t, err error) {
	err = again(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// writable tells whether the process may write to what a name is.
func (d *hostDir) writable(name string) error {
	return again(func() error { return unix.Faccessat(d.fd(), name, unix.W_OK, unix.AT_EACCESS) })
}

func (d *hostDir) unlink(name string) error {
	return again(func() error { return unix.Unlinkat(d.fd(), name, 0) })
}

func (d *hostDir) rmdir(name string) error {
	return again(func() error { return unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR) })
}

// rename replaces what is there as rename(2) does: a file a file.
func (d *hostDir) rename(name string, to *hostDir, as string) error {
	return again(func() error { return unix.Renameat(d.fd(), name, to.fd(), as) })
}

// renameNew replaces nothing: fs.ErrExist.
func (d *hostDir) renameNew(name string, to *hostDir, as string) error {
	err := again(func() error { return renameNoReplace(d.fd(), name, to.fd(), as) })
	if err != unix.EINVAL && err != unix.ENOSYS && err != unix.ENOTSUP {
		return err
	}
	// A file system that cannot: a name that comes between the look and the rename is lost.
	if _, err := to.lstat(as); !errors.Is(err, fs.ErrNotExist) {
		if err == nil {
			err = unix.EEXIST
		}
		return err
	}
	return d.rename(name, to, as)
}

func (d *hostDir) sync() error {
	err := d.f.Sync()
	// Some file systems cannot, and need not.
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOTSUP) {
		return nil
	}
	return err
}

// modified is when what st tells of was last written.
func modified(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }

// isDir and isRegular tell of a mode of stat(2).
func isDir(mode uint32) bool     { return mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(mode uint32) bool { return mode&unix.S_IFMT == unix.S_IFREG }
