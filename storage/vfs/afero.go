package vfs

import (
	"context"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/spf13/afero"
)

// AferoFs is a Tree as an afero.Fs. It lives as long as its context, which stands for the session.
//
// Beside afero.Fs it has what ftpserverlib asks of a driver (ReadDir, RemoveDir, GetAvailableSpace), and Handle, of which
// a driver makes GetHandle in one line; this package does not know that library.
type AferoFs struct {
	t   *Tree
	ctx context.Context
}

var _ afero.Fs = (*AferoFs)(nil)

// Afero is the tree as an afero.Fs for the time of ctx, for ftpserverlib and those who embed packetboat. Its files' Close is Commit for files
// open for writing, unless TransferError(err) was called before: then what came stays as a resumable partial upload.
func (t *Tree) Afero(ctx context.Context) *AferoFs { return &AferoFs{t: t, ctx: ctx} }

// Name of the file system.
func (a *AferoFs) Name() string { return "packetboat" }

// Create opens for writing; see OpenFile.
func (a *AferoFs) Create(name string) (afero.File, error) {
	return a.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
}

// Open opens a file, message or folder for reading.
func (a *AferoFs) Open(name string) (afero.File, error) { return a.OpenFile(name, os.O_RDONLY, 0) }

// OpenFile opens for reading (os.O_RDONLY) or else for writing. A file open for writing is written from its beginning (or with O_APPEND
// from its end, or from where Seek led before the first Write) to its end; it cannot be read, and what it replaces stays visible until
// Close. O_TRUNC is as good as set always. The mode is not looked at.
func (a *AferoFs) OpenFile(name string, flag int, _ os.FileMode) (afero.File, error) {
	return a.Handle(name, flag, 0)
}

// Handle is OpenFile at an offset, which REST sets: reading begins there, and writing keeps as many bytes of the
// partial upload, or else of the file.
func (a *AferoFs) Handle(name string, flag int, offset int64) (afero.File, error) {
	if flag&(os.O_WRONLY|os.O_RDWR) == 0 {
		return a.reader(name, offset)
	}
	if flag&os.O_CREATE == 0 {
		if _, err := a.t.Stat(a.ctx, name); err != nil {
			return nil, err
		}
	}
	w := &writeHandle{handle: handle{a, name}, o: CreateOptions{
		Offset: offset, Append: flag&os.O_APPEND != 0, Expect: -1, Exclusive: flag&os.O_EXCL != 0,
	}}
	if err := w.open(); err != nil {
		return nil, err
	}
	return w, nil
}

func (a *AferoFs) reader(name string, offset int64) (afero.File, error) {
	i, err := a.t.Stat(a.ctx, name)
	if err != nil {
		return nil, err
	}
	if i.IsDir() {
		return &folderHandle{handle: handle{a, name}, info: i}, nil
	}
	f, err := a.t.Open(a.ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(offset, 0); err != nil {
		f.Close()
		return nil, fail("seek", name, err)
	}
	return &readHandle{handle: handle{a, name}, f: f}, nil
}

// Stat tells what a path is; Info.
func (a *AferoFs) Stat(name string) (os.FileInfo, error) {
	i, err := a.t.Stat(a.ctx, name)
	if err != nil {
		return nil, err
	}
	return i, nil
}

// ReadDir is a whole folder, in memory.
func (a *AferoFs) ReadDir(name string) ([]os.FileInfo, error) {
	var all []os.FileInfo
	for i, err := range a.t.ReadDir(a.ctx, name) {
		if err != nil {
			return all, err
		}
		all = append(all, i)
	}
	return all, nil
}

// Mkdir makes a folder. The mode is not looked at.
func (a *AferoFs) Mkdir(name string, _ os.FileMode) error { return a.t.Mkdir(a.ctx, name) }

// MkdirAll makes a folder with those above it; no error when it is there.
func (a *AferoFs) MkdirAll(name string, mode os.FileMode) error {
	i, err := a.t.Stat(a.ctx, name)
	if err == nil {
		if !i.IsDir() {
			return fail("mkdir", name, errNotFolder)
		}
		return nil
	}
	clean, err := Clean("/", name)
	if err != nil {
		return fail("mkdir", name, err)
	}
	if err := a.MkdirAll(path.Dir(clean), mode); err != nil {
		return err
	}
	err = a.t.Mkdir(a.ctx, clean)
	if i, serr := a.t.Stat(a.ctx, clean); serr == nil && i.IsDir() {
		return nil // also when somebody else made it
	}
	return err
}

// Remove removes a file, a message (see Tree.RemoveFile) or an empty folder.
func (a *AferoFs) Remove(name string) error {
	i, err := a.t.Stat(a.ctx, name)
	if err != nil {
		return err
	}
	if i.IsDir() {
		return a.t.RemoveDir(a.ctx, name)
	}
	return a.t.RemoveFile(a.ctx, name)
}

// RemoveDir removes an empty folder.
func (a *AferoFs) RemoveDir(name string) error { return a.t.RemoveDir(a.ctx, name) }

// RemoveAll removes a path with all below it, until something cannot be removed; no error when there is nothing.
func (a *AferoFs) RemoveAll(name string) error {
	clean, err := Clean("/", name)
	if err != nil {
		return fail("remove", name, err)
	}
	i, err := a.t.Stat(a.ctx, clean)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if !i.IsDir() {
		return ifExists(a.t.RemoveFile(a.ctx, clean))
	}
	if clean == "/" || clean == "/"+mailFolder {
		return fail("remove", clean, errFixed)
	}
	// Before what is in it: on a mount it may be a link to a folder, and what that leads to stays.
	if ifExists(a.t.RemoveDir(a.ctx, clean)) == nil {
		return nil
	}
	for child, err := range a.t.ReadDir(a.ctx, clean) {
		if err != nil {
			return err
		}
		if err := a.RemoveAll(clean + "/" + child.Name()); err != nil {
			return err
		}
	}
	return ifExists(a.t.RemoveDir(a.ctx, clean))
}

// Rename moves and renames; a file replaces a file.
func (a *AferoFs) Rename(from, to string) error { return a.t.Rename(a.ctx, from, to) }

// Chmod sets the permission bits that are shown.
func (a *AferoFs) Chmod(name string, mode os.FileMode) error { return a.t.SetMode(a.ctx, name, mode) }

// Chown is refused: all is the account's.
func (a *AferoFs) Chown(name string, _, _ int) error { return fail("chown", name, fs.ErrPermission) }

// Chtimes sets the time of modification.
func (a *AferoFs) Chtimes(name string, _, mtime time.Time) error {
	return a.t.SetModified(a.ctx, name, mtime)
}

// GetAvailableSpace is Tree.Available.
func (a *AferoFs) GetAvailableSpace(name string) (int64, error) { return a.t.Available(a.ctx, name) }
