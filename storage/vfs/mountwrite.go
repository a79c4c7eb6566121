package vfs

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sys/unix"

	"github.com/packetboat/packetboat/storage"
)

// hostWriter is a file on its way onto a mount. Until it is whole it is a hidden file in the folder that it will be in, so that one rename makes it visible:
//
//	.packetboat-up-ULID       being written, or left by a crash
//	.packetboat-part-HASH     what a cut upload left: HASH is of the account and the name, so that it is found again by them and by nobody else
//	.packetboat-part-HASH.up  the same, which an upload goes on with. After a crash it is the part.
//
// The file that it replaces is untouched until then.
type hostWriter struct {
	h        *hosted
	o        CreateOptions
	d        *hostDir // the folder
	name     string   // in it
	temp     string   // the hidden file
	f        *os.File // open; its name on the host was never known
	id       fileID
	size     int64
	flushed  int64 // the kernel was told to write these to disk
	claimed  bool  // temp is a part that was here before
	tail     bool  // it still has bytes behind size, which go when others come
	prepared bool
	full     bool // the disk, or the host's quota, took no more
	look     *storage.Look
}

// fileID is what a file of the host is, whatever it is called.
type fileID struct{ dev, ino uint64 }

// copyStep is how many bytes of an old file are copied between two looks at the context.
const copyStep = 64 << 20

// flushStep is how many bytes come before the kernel is asked to begin writing them to disk.
const flushStep = 8 << 20

// hostBuffers are shared by all uploads.
var hostBuffers = sync.Pool{New: func() any { return new([256 << 10]byte) }}

// newHostWriter begins an upload to h, which it takes over unless it fails.
func newHostWriter(ctx context.Context, h *hosted, o CreateOptions) (*hostWriter, error) {
	switch {
	case h.point():
		return nil, errFolderExists
	case h.m.ReadOnly:
		return nil, errReadOnlyMount
	case o.Offset < 0:
		return nil, fs.ErrInvalid
	}
	w := &hostWriter{h: h, o: o}
	if err := w.begin(ctx); err != nil {
		w.drop()
		return nil, hostError(err)
	}
	return w, nil
}

func (w *hostWriter) begin(ctx context.Context) (err error) {
	if w.d, w.name, err = w.h.r.parent(w.h.rel); err != nil {
		return err
	}
	if !w.o.blind {
		if err := w.h.vacant(w.d, w.name, w.o.Exclusive); err != nil {
			return err
		}
	}
	if n, err := freeSpace(w.d.fd()); err == nil && w.o.Expect > n {
		return syscall.ENOSPC
	}
	if err := w.h.m.note(ctx, path.Join(w.h.jail, path.Dir(w.h.rel))); err != nil {
		return err
	}
	switch {
	case w.o.Append:
		err = fs.ErrNotExist
		if !w.o.blind {
			err = w.copyOld(ctx, -1)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = w.claim(ctx, -1)
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = w.create()
		}
	case w.o.Offset > 0:
		if err = w.claim(ctx, w.o.Offset); errors.Is(err, fs.ErrNotExist) && !w.o.blind {
			err = w.copyOld(ctx, w.o.Offset)
		}
	default:
		err = w.create()
	}
	return err
}

// create makes the hidden file. Its mode bits are those of the folder but for execution, as far as the process's umask lets them.
func (w *hostWriter) create() error {
	folder, err := w.d.f.Stat()
	if err != nil {
		return err
	}
	id, err := ulid.New(ulid.Now(), rand.Reader)
	if err != nil {
		return err
	}
	w.temp = hiddenPrefix + "up-" + id.String()
	if w.f, err = w.d.create(w.temp, folder.Mode().Perm()&0o666); err != nil {
		w.temp = ""
		return err
	}
	st, err := w.f.Stat()
	if err != nil {
		return err
	}
	w.id = idOf(st)
	w.h.m.hold(w.id, true)
	return nil
}

func idOf(st fs.FileInfo) fileID {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return fileID{}
	}
	return fileID{uint64(sys.Dev), uint64(sys.Ino)}
}

// copyOld begins with the first n bytes (-1: all) of the file that is there. They are copied, by the kernel where it can, so that a cut leaves
// the old file as it was: to append to a huge file costs as much as to write it, unless the file system shares blocks between files.
func (w *hostWriter) copyOld(ctx context.Context, n int64) error {
	old, err := w.h.open()
	if err != nil {
		return err
	}
	defer old.Close()
	if n < 0 {
		n = old.Size()
	}
	if n > old.Size() {
		return ErrBeyond
	}
	if err := w.create(); err != nil {
		return err
	}
	return w.copyBody(ctx, old, n)
}

func (w *hostWriter) copyBody(ctx context.Context, b *File, n int64) error {
	for w.size < n {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := b.WriteRange(w.f, w.size, min(copyStep, n-w.size))
		w.size += k
		if err != nil {
			return err
		}
	}
	return nil
}

// claim goes on with the part that a cut upload left: the file itself, so that nothing is copied and a crash leaves all that came. n is as in copyOld.
// A part that another upload goes on with already is not there.
func (w *hostWriter) claim(ctx context.Context, n int64) error {
	m, part := w.h.m, w.h.m.partName(w.name)
	m.claims.Lock()
	defer m.claims.Unlock()
	if err := m.recover(w.d, part); err != nil {
		return err
	}
	f, err := w.d.open(part, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	st, err := f.Stat()
	switch {
	case err != nil:
	case !st.Mode().IsRegular():
		err = fs.ErrNotExist // not one of ours
	case n > st.Size():
		err = ErrBeyond
	}
	if n < 0 && err == nil {
		n = st.Size()
	}
	if err == nil {
		err = w.d.rename(part, w.d, part+".up")
	}
	if err != nil {
		f.Close()
		return err
	}
	w.f, w.temp, w.claimed, w.id, w.size = f, part+".up", true, idOf(st), n
	m.hold(w.id, true)
	w.tail = n < st.Size()
	_, err = f.Seek(n, io.SeekStart)
	return err
}

// cutTail takes away what a part has behind the offset, before anything else is written there: while nothing is, the part stays as it was.
func (w *hostWriter) cutTail() error {
	if !w.tail {
		return nil
	}
	if err := w.f.Truncate(w.size); err != nil {
		return err
	}
	w.tail = false
	return nil
}

func (w *hostWriter) write(p []byte) (int, error) {
	if w.prepared {
		return 0, fs.ErrClosed
	}
	if err := w.cutTail(); err != nil {
		return 0, hostError(err)
	}
	n, err := w.f.Write(p)
	w.size += int64(n)
	if w.size-w.flushed >= flushStep {
		startFlush(int(w.f.Fd()), w.flushed, w.size-w.flushed)
		w.flushed = w.size
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		w.full = true
	}
	return n, hostError(err)
}

func (w *hostWriter) readFrom(r io.Reader) (total int64, err error) {
	buf := hostBuffers.Get().(*[256 << 10]byte)
	defer hostBuffers.Put(buf)
	for {
		n, rerr := r.Read(buf[:])
		if n > 0 {
			k, err := w.write(buf[:n])
			total += int64(k)
			if err != nil {
				return total, err
			}
		}
		switch {
		case rerr == io.EOF:
			return total, nil
		case rerr != nil:
			return total, rerr
		}
	}
}

// prepare makes the bytes durable, with the owner and mode of the file that will be replaced, as far as the process may give them.
func (w *hostWriter) prepare(ctx context.Context) error {
	if w.prepared {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.cutTail(); err != nil {
		return hostError(err)
	}
	if err := w.inherit(); err != nil {
		return hostError(err)
	}
	if mt := w.o.Modified; !mt.IsZero() {
		ts, err := unix.TimeToTimespec(mt)
		if err == nil {
			err = unix.UtimesNanoAt(w.d.fd(), w.temp, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
		}
		if err != nil {
			return hostError(err)
		}
	}
	if !w.o.Relaxed {
		if err := w.f.Sync(); err != nil {
			return hostError(err)
		}
	}
	w.prepared = true
	return nil
}

// inherit gives the file the mode of the one that it will replace, and, where the process is root, its owner.
func (w *hostWriter) inherit() error {
	if w.o.Exclusive {
		return nil
	}
	old, err := w.d.lstat(w.name)
	if err != nil || !isRegular(uint32(old.Mode)) {
		return nil
	}
	st, err := w.f.Stat()
	if err != nil {
		return err
	}
	is, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	// Not tried by others: a service that may not call it at all (docs/operations.md) is killed for trying.
	if os.Geteuid() == 0 && (is.Uid != old.Uid || is.Gid != old.Gid) {
		if w.f.Chown(int(old.Uid), int(old.Gid)) != nil {
			return nil // root of a container, or of another host
		}
	} else if is.Gid != old.Gid {
		return nil // what was meant for one group is not given to another
	}
	return w.f.Chmod(fs.FileMode(old.Mode & 0o777))
}

// commit makes it visible: durable when it returns.
func (w *hostWriter) commit(ctx context.Context) (Info, error) {
	if err := w.prepare(ctx); err != nil {
		return Info{}, err
	}
	if err := w.inPlace(); err != nil {
		return Info{}, err
	}
	if err := w.lookAgain(ctx); err != nil {
		return Info{}, err
	}
	st, err := w.f.Stat()
	if err == nil {
		err = w.place()
	}
	if err != nil {
		return Info{}, hostError(err)
	}
	w.temp = ""
	if !w.o.Relaxed {
		if err := w.d.sync(); err != nil {
			return Info{}, hostError(err)
		}
	}
	if !w.claimed {
		w.h.dropPartial(w.d, w.name) // mostly there is none, and the sweep finds one that could not be removed
	}
	i := w.h.hostInfo(w.h.names[len(w.h.names)-1], st)
	w.drop()
	return i, nil
}

// lookAgain is the last look.
func (w *hostWriter) lookAgain(ctx context.Context) error {
	if w.look == nil {
		return nil
	}
	select {
	case <-time.After(min(time.Until(w.look.NotBefore), storage.MaxLookWait)):
	case <-ctx.Done():
		return ctx.Err()
	}
	return w.look.Whole()
}

// place gives the file its name.
func (w *hostWriter) place() error {
	if w.o.Exclusive {
		err := w.d.renameNew(w.temp, w.d, w.name)
		if w.o.blind && errors.Is(err, fs.ErrExist) {
			err = w.d.renameNew(w.temp, w.d, aside(w.name))
		}
		return err
	}
	if err := w.h.vacant(w.d, w.name, false); err != nil {
		return err
	}
	err := w.d.rename(w.temp, w.d, w.name)
	if errors.Is(err, syscall.EISDIR) {
		err = errFolderExists
	}
	return err
}

// inPlace tells whether the folder still is where the path leads: an upload takes hours, and what is moved out of the mount meanwhile is none of its business
// any more.
func (w *hostWriter) inPlace() error {
	if w.gone() {
		return errMoved
	}
	at, err := w.h.r.Stat(path.Dir(w.h.rel))
	if err != nil {
		return errMoved
	}
	is, err := w.d.f.Stat()
	if err != nil {
		return hostError(err)
	}
	if !os.SameFile(at, is) {
		return errMoved
	}
	return nil
}

// gone tells whether it is mounted no more, or another folder is.
func (w *hostWriter) gone() bool {
	w.h.m.mu.Lock()
	defer w.h.m.mu.Unlock()
	return w.h.m.gone || w.h.base.stale
}

// abort ends it. Of what filled the disk, half is kept, and nothing in a folder that is mounted no more, where nobody would find and sweep it. A part that was here before stays also without keep, longer than it was or as long.
func (w *hostWriter) abort(ctx context.Context, keep bool) error {
	defer w.drop()
	if (!keep || w.gone()) && !w.claimed || w.size == 0 {
		return nil
	}
	// An upload is mostly cut by the end of its session, which ends ctx.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepTimeout)
	defer cancel()
	if w.full {
		// A part must not keep the disk full for others.
		w.size /= 2
		if err := w.f.Truncate(w.size); err != nil {
			return hostError(err)
		}
	}
	err := w.f.Sync()
	if err == nil {
		err = w.d.rename(w.temp, w.d, w.h.m.partName(w.name))
	}
	if err == nil {
		w.temp = ""
		err = w.d.sync()
	}
	if err == nil { // after it is there: see forgetPart
		err = w.h.m.fs.store.NoteMountPart(ctx, w.h.m.ID, w.h.below())
	}
	return hostError(err)
}

// drop gives everything back, and removes the hidden file if it still is one.
func (w *hostWriter) drop() {
	if w.f != nil {
		switch part := w.h.m.partName(w.name); {
		case w.temp == "":
		case w.claimed:
			w.d.rename(w.temp, w.d, part) // else it is recovered when it is asked for
		default:
			w.d.unlink(w.temp) // else the sweep finds it
		}
		w.f.Close()
		w.h.m.hold(w.id, false)
	}
	if w.d != nil {
		w.d.close()
	}
	w.h.close()
}

// hold says that a hidden file is in use, so that nobody sweeps it.
func (m *mount) hold(id fileID, yes bool) {
	m.fs.heldMu.Lock()
	defer m.fs.heldMu.Unlock()
	if yes {
		m.fs.held[id] = true
	} else {
		delete(m.fs.held, id)
	}
}

func (m *mount) holds(id fileID) bool {
	m.fs.heldMu.Lock()
	defer m.fs.heldMu.Unlock()
	return m.fs.held[id]
}
