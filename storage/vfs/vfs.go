// Package vfs shows an account's tree as paths: files as files, mailboxes below
// /Mail as folders, messages as .eml files. One resolver serves every protocol.
//
// Paths are absolute, with "/", UTF-8 in NFC and case-sensitive (INBOX below /Mail in any case). ".." is resolved on the text before
// anything is looked up and stops at "/", so no path leads out of the home.
//
// A message is never rewritten. Removing its name moves it to Trash (in Trash it is expunged), renaming it into another mailbox moves it,
// making a folder below /Mail makes a mailbox, uploading an RFC 5322 file into a mailbox appends it.
package vfs

import (
	"context"
	"io"
	"io/fs"
	"iter"
	"time"

	"github.com/spf13/afero"

	"github.com/packetboat/packetboat/storage"
)

// Options of an FS; the zero value is usable.
type Options struct {
	MaxMessage int64 // bytes of an .eml upload; 0: 50 MiB
}

// FS is the view of all accounts.
type FS struct{}

// New returns the view over a store.
func New(s *storage.Store, o Options) *FS { panic("stub") }

// Tree is the tree of one account. Safe for concurrent use; costs nothing to make.
type Tree struct{}

// Tree of an account.
func (f *FS) Tree(a *storage.Account) *Tree { panic("stub") }

// Clean makes of a path as a client sends it, relative to cwd, an absolute clean one: "." and ".." resolved, NFC, no control characters,
// limits of storage.MaxDepth and MaxPath. storage.ErrInvalid.
func Clean(cwd, path string) (string, error) { panic("stub") }

// Info is what a name is. It is an fs.FileInfo.
type Info struct {
	name     string
	kind     storage.Kind
	size     int64
	modified time.Time
	mode     fs.FileMode
	unique   string
	message  bool
	perm     string
}

func (i Info) Name() string       { panic("stub") }
func (i Info) Size() int64        { panic("stub") }
func (i Info) Mode() fs.FileMode  { panic("stub") } // fs.ModeDir set on folders
func (i Info) ModTime() time.Time { panic("stub") }
func (i Info) IsDir() bool        { panic("stub") }
func (i Info) Sys() any           { panic("stub") }

// Unique is RFC 3659's unique fact: the same for the same file or message, whatever it is called.
func (i Info) Unique() string { panic("stub") }

// Perm is RFC 3659's perm fact, true to what the tree allows here.
func (i Info) Perm() string { panic("stub") }

// Stat tells what a path is. Errors: fs.ErrNotExist, storage.ErrInvalid; *fs.PathError with the virtual path, never a path of the host.
func (t *Tree) Stat(ctx context.Context, path string) (Info, error) { panic("stub") }

// ReadDir streams a folder by name, in bounded memory; the last element may be an error.
func (t *Tree) ReadDir(ctx context.Context, path string) iter.Seq2[Info, error] { panic("stub") }

// Open opens a file or message for reading.
func (t *Tree) Open(ctx context.Context, path string) (*File, error) { panic("stub") }

// File is open for reading: storage.Body with its Info.
type File struct {
	storage.Body
	Info Info
}

// CreateOptions say how a file is written.
type CreateOptions struct {
	Offset    int64 // REST n: keep the first n bytes of the partial upload or else of the file; only for files
	Append    bool  // APPE: keep all of it
	Expect    int64 // size announced, -1 unknown (of what will be written now, without what is kept)
	Modified  time.Time
	Exclusive bool // fs.ErrExist when there is something already
}

// Create begins to write a file, or (below /Mail) a message. Nothing is visible before Commit.
func (t *Tree) Create(ctx context.Context, path string, o CreateOptions) (*Writer, error) {
	panic("stub")
}

// Writer is a file being written, by one goroutine.
type Writer struct{}

func (w *Writer) Write(p []byte) (int, error)         { panic("stub") }
func (w *Writer) ReadFrom(r io.Reader) (int64, error) { panic("stub") }
func (w *Writer) Size() int64                         { panic("stub") } // with what was kept

// Prepare makes the bytes durable without making them visible.
func (w *Writer) Prepare(ctx context.Context) error { panic("stub") }

// Commit makes it visible under its path, durable when it returns. A message that is none (no header field) is refused: fs.ErrInvalid with a clear text.
func (w *Writer) Commit(ctx context.Context) (Info, error) { panic("stub") }

// Abort throws it away; keep: what came so far stays as a resumable partial upload (files only). After Commit it does nothing.
func (w *Writer) Abort(ctx context.Context, keep bool) error { panic("stub") }

// Partial is the size of a resumable partial upload of path; fs.ErrNotExist.
func (t *Tree) Partial(ctx context.Context, path string) (int64, error) { panic("stub") }

func (t *Tree) Mkdir(ctx context.Context, path string) error                     { panic("stub") }
func (t *Tree) RemoveFile(ctx context.Context, path string) error                { panic("stub") } // a folder: fs.ErrInvalid
func (t *Tree) RemoveDir(ctx context.Context, path string) error                 { panic("stub") } // not empty: fs.ErrPermission
func (t *Tree) Rename(ctx context.Context, from, to string) error                { panic("stub") }
func (t *Tree) SetModified(ctx context.Context, path string, mt time.Time) error { panic("stub") }
func (t *Tree) SetMode(ctx context.Context, path string, m fs.FileMode) error    { panic("stub") }
func (t *Tree) Usage(ctx context.Context) (used, limit int64, err error)         { panic("stub") }

// Afero is the tree as an afero.Fs for the time of ctx, for ftpserverlib and those who embed packetboat. Its files' Close is Commit for files
// open for writing, unless TransferError(err) was called before.
func (t *Tree) Afero(ctx context.Context) afero.Fs { panic("stub") }
