package vfs

import (
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"

	"github.com/spf13/afero"

	"github.com/packetboat/packetboat/storage"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

func ifExists(err error) error {
	if isNotExist(err) {
		return nil
	}
	return err
}

// handle is what all open afero files are: each kind adds what it can. Used by one goroutine, as an *os.File is in FTP.
type handle struct {
	a    *AferoFs
	name string
}

func (h *handle) Name() string                         { return h.name }
func (h *handle) Read([]byte) (int, error)             { return 0, h.fail("read", errWriteOnly) }
func (h *handle) ReadAt([]byte, int64) (int, error)    { return 0, h.fail("read", errWriteOnly) }
func (h *handle) Write([]byte) (int, error)            { return 0, h.fail("write", errReadOnly) }
func (h *handle) WriteAt([]byte, int64) (int, error)   { return 0, h.fail("write", errReadOnly) }
func (h *handle) WriteString(string) (int, error)      { return 0, h.fail("write", errReadOnly) }
func (h *handle) Truncate(int64) error                 { return h.fail("truncate", errReadOnly) }
func (h *handle) Seek(int64, int) (int64, error)       { return 0, h.fail("seek", errIsFolder) }
func (h *handle) Readdir(int) ([]os.FileInfo, error)   { return nil, h.fail("readdir", errNotFolder) }
func (h *handle) Readdirnames(n int) ([]string, error) { return nil, h.fail("readdir", errNotFolder) }
func (h *handle) Stat() (os.FileInfo, error)           { return h.a.Stat(h.name) }
func (h *handle) Sync() error                          { return nil }
func (h *handle) fail(op string, err error) error      { return fail(op, h.name, err) }

var (
	_ afero.File    = (*readHandle)(nil)
	_ afero.File    = (*writeHandle)(nil)
	_ afero.File    = (*folderHandle)(nil)
	_ io.WriterTo   = (*readHandle)(nil)
	_ io.ReaderFrom = (*writeHandle)(nil)
)

// readHandle is a file or message open for reading. WriteTo hands the connection to the blob, so that sendfile is used.
type readHandle struct {
	handle
	f *File
}

func (h *readHandle) Read(p []byte) (int, error)                { return h.f.Read(p) }
func (h *readHandle) ReadAt(p []byte, off int64) (int, error)   { return h.f.ReadAt(p, off) }
func (h *readHandle) Seek(off int64, whence int) (int64, error) { return h.f.Seek(off, whence) }
func (h *readHandle) WriteTo(w io.Writer) (int64, error)        { return h.f.WriteTo(w) }
func (h *readHandle) Stat() (os.FileInfo, error)                { return h.f.Info, nil }
func (h *readHandle) Close() error                              { return h.f.Close() }

// writeHandle is a file or message being written.
type writeHandle struct {
	handle
	o      CreateOptions
	w      *Writer
	cut    bool // TransferError was called
	closed bool
	info   Info // after Close
}

func (h *writeHandle) open() (err error) {
	h.w, err = h.a.t.Create(h.a.ctx, h.name, h.o)
	return err
}

func (h *writeHandle) Write(p []byte) (int, error)         { return h.w.Write(p) }
func (h *writeHandle) WriteString(s string) (int, error)   { return h.w.Write([]byte(s)) }
func (h *writeHandle) ReadFrom(r io.Reader) (int64, error) { return h.w.ReadFrom(r) }

// WriteAt writes at the end only.
func (h *writeHandle) WriteAt(p []byte, off int64) (int, error) {
	if off != h.w.Size() {
		return 0, h.fail("write", errSequential)
	}
	return h.w.Write(p)
}

// Seek to where the handle is does nothing. Before the first Write it chooses how many bytes are kept, as REST does.
func (h *writeHandle) Seek(off int64, whence int) (int64, error) {
	at := h.w.Size()
	if whence != io.SeekStart {
		off += at // the end is where it is
	}
	if off == at {
		return at, nil
	}
	if off < 0 || at != h.o.Offset || h.o.Append || h.closed {
		return at, h.fail("seek", errSequential)
	}
	o := h.o
	o.Offset = off
	w, err := h.a.t.Create(h.a.ctx, h.name, o)
	if err != nil {
		return at, err
	}
	if err := h.w.Abort(h.a.ctx, false); err != nil {
		w.Abort(h.a.ctx, false)
		return at, err
	}
	h.w, h.o = w, o
	return off, nil
}

// Truncate to where the handle is does nothing: the file ends there anyway.
func (h *writeHandle) Truncate(n int64) error {
	if n != h.w.Size() {
		return h.fail("truncate", errSequential)
	}
	return nil
}

// Stat of a file being written tells its size so far.
func (h *writeHandle) Stat() (os.FileInfo, error) {
	if h.closed {
		return h.info, nil
	}
	return Info{
		name: path.Base(h.name), kind: storage.KindFile, size: h.w.Size(), mode: messageMode, perm: permFile,
	}, nil
}

// TransferError tells that the transfer was cut: Close will keep what came as a partial upload, and the file stays as it was.
func (h *writeHandle) TransferError(error) { h.cut = true }

// Close commits.
func (h *writeHandle) Close() (err error) {
	if h.closed {
		return h.fail("close", fs.ErrClosed)
	}
	h.closed = true
	if h.cut {
		return h.w.Abort(h.a.ctx, true)
	}
	if h.info, err = h.w.Commit(h.a.ctx); err != nil {
		h.w.Abort(h.a.ctx, false)
	}
	return err
}

// folderHandle is an open folder.
type folderHandle struct {
	handle
	info Info
	next func() (Info, error, bool)
	stop func()
}

func (h *folderHandle) Read([]byte) (int, error)          { return 0, h.fail("read", errIsFolder) }
func (h *folderHandle) ReadAt([]byte, int64) (int, error) { return 0, h.fail("read", errIsFolder) }
func (h *folderHandle) Stat() (os.FileInfo, error)        { return h.info, nil }

// Readdir is as os.File's: with n > 0 up to n entries and io.EOF at the end, else all that are left.
func (h *folderHandle) Readdir(n int) ([]os.FileInfo, error) {
	if h.next == nil {
		h.next, h.stop = iter.Pull2(h.a.t.ReadDir(h.a.ctx, h.name))
	}
	var all []os.FileInfo
	for n <= 0 || len(all) < n {
		i, err, ok := h.next()
		if err != nil {
			return all, err
		}
		if !ok {
			break
		}
		all = append(all, i)
	}
	if n > 0 && len(all) == 0 {
		return nil, io.EOF
	}
	return all, nil
}

// Readdirnames is Readdir's names.
func (h *folderHandle) Readdirnames(n int) ([]string, error) {
	infos, err := h.Readdir(n)
	names := make([]string, 0, len(infos))
	for _, i := range infos {
		names = append(names, i.Name())
	}
	return names, err
}

func (h *folderHandle) Close() error {
	if h.stop != nil {
		h.stop()
	}
	return nil
}
