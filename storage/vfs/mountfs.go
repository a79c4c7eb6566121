package vfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/packetboat/packetboat/storage"
)

// The perm facts on mounts; see those of nodes.
const (
	permPoint    = "celmp"
	permPointRO  = "el"
	permFolderRO = "el"
	permFileRO   = "r"
)

// hostInfo is the Info of a file or folder of the host under a name of the tree.
func (h *hosted) hostInfo(name string, st fs.FileInfo) Info {
	i := Info{name: name, kind: storage.KindFile, modified: st.ModTime(), mode: st.Mode().Perm(), perm: permFile, host: true}
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		i.dev, i.id = uint64(sys.Dev), int64(sys.Ino)
	}
	if !st.IsDir() {
		i.size = st.Size()
		if h.m.ReadOnly {
			i.perm = permFileRO
		}
		return i
	}
	i.kind, i.perm, i.mode = storage.KindFolder, permFolder, i.mode|fs.ModeDir
	if h.m.ReadOnly {
		i.perm = permFolderRO
	}
	return i
}

// pointed makes the Info of a mount point of that of its folder.
func (h *hosted) pointed(i Info) Info {
	if i.perm = permPoint; h.m.ReadOnly {
		i.perm = permPointRO
	}
	return i
}

// look is stat(2) of the path. What is neither file nor folder is not there, and neither is what a link leads out to.
func (h *hosted) look() (fs.FileInfo, error) {
	st, err := h.r.Stat(h.rel)
	if err == nil && !st.IsDir() && !st.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	return st, hostError(err)
}

func (h *hosted) stat() (Info, error) {
	st, err := h.look()
	if err != nil {
		return Info{}, err
	}
	i := h.hostInfo(h.names[len(h.names)-1], st)
	if h.point() {
		i = h.pointed(i)
	}
	return i, nil
}

const hostPage = 1000 // entries of a host folder that are read at a time

// readDir tells the entries of a folder in the order of the host. Those that go meanwhile are left out.
func (h *hosted) readDir(ctx context.Context, yield func(Info) bool) error {
	if st, err := h.look(); err != nil || !st.IsDir() {
		return errors.Join(err, unless(err, errNotFolder))
	}
	d, err := h.r.dir(h.rel)
	if err != nil {
		return hostError(err)
	}
	defer d.close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		page, err := d.f.ReadDir(hostPage)
		for _, e := range page {
			i, ok := h.entry(d, e)
			if ok && !yield(i) {
				return errStop
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return hostError(err)
		}
	}
}

// unless is an error when there is no other.
func unless(err, other error) error {
	if err != nil {
		return nil
	}
	return other
}

// entry is the Info of an entry of d, the folder at h. Not listed are links that lead nowhere or out, and what is neither file nor folder.
func (h *hosted) entry(d *hostDir, e fs.DirEntry) (Info, bool) {
	raw := e.Name()
	if hidden(raw) {
		h.sweepEntry(d, e)
		return Info{}, false
	}
	name, ok := shownName(raw)
	if !ok {
		return Info{}, false
	}
	if name != raw {
		// Of the same name in both forms, the composed one is found: see find.
		if _, err := d.lstat(name); err == nil {
			return Info{}, false
		}
	}
	st, err := e.Info()
	link := err == nil && st.Mode()&fs.ModeSymlink != 0
	if link {
		if h.exact {
			return Info{}, false
		}
		st, err = h.r.Stat(path.Join(h.rel, raw))
	}
	if err != nil || !st.IsDir() && !st.Mode().IsRegular() {
		return Info{}, false
	}
	i := h.hostInfo(name, st)
	i.link = link
	return i, true
}

// open opens a file for reading.
func (h *hosted) open() (*File, error) {
	// Looked at before it is opened, as opening a FIFO or a device may do something, and after, as it may be another by then.
	st, err := h.look()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, errIsFolder
	}
	f, err := h.r.OpenFile(h.rel, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, hostError(err)
	}
	st, err = f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, hostError(err)
	}
	return &File{
		Body: &hostBody{Body: storage.FileBody(f, st.Size()), path: join(h.names)},
		Info: h.hostInfo(h.names[len(h.names)-1], st),
	}, nil
}

// hostBody is a file of the host, of the size that it had when it was opened. One that becomes shorter while it is read is an error.
type hostBody struct {
	storage.Body
	path string
}

func (b *hostBody) fail(err error) error {
	var file *fs.PathError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("%w: the file became shorter", storage.ErrTemporary)
	case !errors.As(err, &file):
		return err // none, or the receiver's
	default:
		err = hostError(err)
	}
	return fail("read", b.path, err)
}

// Read reads; at the size that the file had it ends.
func (b *hostBody) Read(p []byte) (int, error) {
	at, err := b.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, b.fail(err)
	}
	left := b.Size() - at
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := b.Body.Read(p[:min(int64(len(p)), left)])
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, b.fail(err)
}

// ReadAt reads from an offset.
func (b *hostBody) ReadAt(p []byte, off int64) (int, error) {
	whole := len(p)
	if left := b.Size() - off; int64(whole) > left {
		p = p[:max(left, 0)]
	}
	n, err := b.Body.ReadAt(p, off)
	switch {
	case err == io.EOF && n < len(p):
		err = io.ErrUnexpectedEOF
	case err == nil && n < whole || err == io.EOF:
		return n, io.EOF
	}
	return n, b.fail(err)
}

func (b *hostBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.Body.WriteTo(w)
	return n, b.fail(err)
}

func (b *hostBody) WriteRange(w io.Writer, off, n int64) (int64, error) {
	n, err := b.Body.WriteRange(w, off, n)
	return n, b.fail(err)
}

// mkdir makes a folder. Its mode bits are those of the folder above, as far as the process's umask lets them.
func (h *hosted) mkdir() error {
	if h.point() {
		return errFolderExists
	}
	return h.change(func(d *hostDir, name string) error {
		st, err := d.f.Stat()
		if err != nil {
			return err
		}
		return again(func() error { return unix.Mkdirat(d.fd(), name, uint32(st.Mode().Perm())) })
	})
}

// change does something to a name in the folder that it is in, and makes it durable.
func (h *hosted) change(do func(d *hostDir, name string) error) error {
	if err := h.changeable(); err != nil {
		return err
	}
	d, name, err := h.r.parent(h.rel)
	if err != nil {
		return hostError(err)
	}
	defer d.close()
	if err := do(d, name); err != nil {
		return hostError(err)
	}
	return hostError(d.sync())
}

// removeFile removes a file, or a link to one, and what was kept of a cut upload of that name.
func (h *hosted) removeFile() error {
	return h.change(func(d *hostDir, name string) error {
		st, err := h.look()
		gone := errors.Is(err, fs.ErrNotExist)
		switch {
		case gone:
			err = h.dropPartial(d, name)
		case err == nil && st.IsDir():
			err = errIsFolder
		case err == nil:
			if err = d.unlink(name); err == nil {
				err = ifExists(hostError(h.dropPartial(d, name)))
			}
		}
		return err
	})
}

// removeDir removes a folder that is empty, or a link to a folder.
func (h *hosted) removeDir() error {
	return h.change(func(d *hostDir, name string) error {
		if st, err := h.look(); err != nil || !st.IsDir() {
			return errors.Join(err, unless(err, errNotFolder))
		}
		st, err := d.lstat(name)
		if err != nil {
			return err
		}
		if !isDir(uint32(st.Mode)) {
			return d.unlink(name)
		}
		err = d.rmdir(name)
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
			if !h.clearHidden() {
				return errNotEmpty
			}
			if err = d.rmdir(name); errors.Is(err, syscall.EEXIST) {
				err = errNotEmpty
			}
		}
		return err
	})
}

// rename moves within one mount. A file replaces a file if it may.
func (h *hosted) rename(to *hosted, replace bool) error {
	st, err := h.look()
	switch {
	case err != nil:
		return err
	case to.point():
		return errFolderExists
	case h.rel == to.rel:
		return nil
	case st.IsDir() && within(h.names, to.names):
		return errBelowItself
	}
	from, name, err := h.r.parent(h.rel)
	if err != nil {
		return hostError(err)
	}
	defer from.close()
	into, as, err := h.r.parent(to.rel)
	if err != nil {
		return hostError(err)
	}
	defer into.close()
	if st.IsDir() || !replace {
		err = from.renameNew(name, into, as)
	} else if err = to.vacant(into, as, false); err == nil {
		err = from.rename(name, into, as)
	}
	if err == nil {
		err = errors.Join(into.sync(), from.sync())
	}
	return hostError(err)
}

// vacant tells whether a file may be put at h, which is name in d: nothing is there, or a file that the process may write to.
func (h *hosted) vacant(d *hostDir, name string, exclusive bool) error {
	st, err := d.lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case exclusive && !isDir(uint32(st.Mode)):
		return fs.ErrExist
	case isRegular(uint32(st.Mode)):
		return d.writable(name)
	}
	// A link: it is replaced itself, unless what it leads to is a folder for all who see it.
	behind, err := h.r.Stat(h.rel)
	switch {
	case err == nil && behind.IsDir():
		return errFolderExists
	case st.Mode&unix.S_IFMT != unix.S_IFLNK:
		return errNoFile
	}
	return nil
}

// setModified sets the time of modification; that of the last access stays.
func (h *hosted) setModified(mt time.Time) error {
	if err := h.changeable(); err != nil {
		return err
	}
	if _, err := h.look(); err != nil {
		return err
	}
	return hostError(h.r.Chtimes(h.rel, time.Time{}, hostTime(mt)))
}

// hostTime is the nearest time that package os can set: its nanoseconds since 1970 are 64 bits, and the zero time leaves a file's as it is.
func hostTime(t time.Time) time.Time {
	first, last := time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)
	switch {
	case t.Before(first):
		return first
	case t.After(last):
		return last
	}
	return t
}

// setMode sets the permission bits on the host. Of a folder the others stay (new files get its group by one of them).
func (h *hosted) setMode(mode fs.FileMode) error {
	if err := h.changeable(); err != nil {
		return err
	}
	st, err := h.look()
	if err != nil {
		return err
	}
	if mode = mode.Perm(); st.IsDir() {
		mode |= st.Mode() & (fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	}
	return hostError(h.r.Chmod(h.rel, mode))
}

// available is what the file system has left.
func (h *hosted) available() (int64, error) {
	if h.m.ReadOnly {
		return 0, nil
	}
	d, err := h.r.dir(".")
	if err != nil {
		return 0, hostError(err)
	}
	defer d.close()
	n, err := freeSpace(d.fd())
	return n, hostError(err)
}
