package storage

import (
	"context"
	"io"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// Upload is bytes on their way in. Small ones are held in memory (at most Options.InlineMax), larger ones spill into a staging
// file. It is used by one goroutine, and ends with one of the methods of Store that take it, or with Abort. A Store method that fails leaves the Upload as it is.
type Upload struct{}

// NewUpload begins an upload for an account (0: not known yet, e.g. SMTP DATA for several). expect is the announced size or -1; ErrQuota at once
// when it cannot fit; the reservation lives until the Upload ends. While bytes come in, quota is checked from time to time so that one
// that can never fit is cut early; the exact check is in the transaction.
func (s *Store) NewUpload(ctx context.Context, account int64, expect int64) (*Upload, error) {
	panic("stub")
}

// NewMail is NewUpload for a message: it is indexed while it is written.
func (s *Store) NewMail(ctx context.Context, account int64, expect int64) (*Upload, error) {
	panic("stub")
}

// ResumeUpload begins an upload that starts with the first n bytes of the partial upload of parent/name, or when there is none of the file there
// (n = -1: all of it). ErrInvalid when there are fewer than n bytes, fs.ErrNotExist when there is neither.
func (s *Store) ResumeUpload(ctx context.Context, account, parent int64, name string, n int64) (*Upload, error) {
	panic("stub")
}

func (u *Upload) Write(p []byte) (int, error)             { panic("stub") }
func (u *Upload) ReadFrom(r io.Reader) (int64, error)     { panic("stub") } // splice from a socket once spilled
func (u *Upload) ReadAt(p []byte, off int64) (int, error) { panic("stub") } // of what was written so far
func (u *Upload) Size() int64                             { panic("stub") }

// Index is the index of a NewMail upload; it ends the writing.
func (u *Upload) Index() *mime.Index { panic("stub") }

// Prepare makes the bytes durable (fsync) without making them visible, so that the transaction that follows is short. Optional; the Store methods call it.
func (u *Upload) Prepare(ctx context.Context) error { panic("stub") }

// Abort gives everything back. After the upload was taken it does nothing: defer it.
func (u *Upload) Abort() { panic("stub") }

// PutFile makes or atomically replaces the file parent/name with the upload; a partial upload of that name is forgotten. A folder of
// that name: fs.ErrExist. modified zero means now.
func (s *Store) PutFile(ctx context.Context, account, parent int64, name string, u *Upload, modified time.Time) (Node, error) {
	panic("stub")
}

// Partial is a cut upload that can be resumed.
type Partial struct {
	Parent   int64
	Name     string
	Size     int64
	Modified time.Time
}

// SavePartial keeps a cut upload under its name, invisible in listings, the old file untouched; counted in the quota; Options of the caller say when it is swept.
func (s *Store) SavePartial(ctx context.Context, account, parent int64, name string, u *Upload) error {
	panic("stub")
}

// Partial finds one; fs.ErrNotExist. DropPartials removes those of an account (0: all) that are older than t.
func (s *Store) Partial(ctx context.Context, account, parent int64, name string) (Partial, error) {
	panic("stub")
}
func (s *Store) DropPartials(ctx context.Context, account int64, olderThan time.Time) (int, error) {
	panic("stub")
}

// Body is an open blob, of a row or of a file. WriteTo and WriteRange use sendfile where they can.
type Body interface {
	io.ReaderAt
	io.ReadSeeker
	io.WriterTo
	io.Closer
	Size() int64
	WriteRange(w io.Writer, off, n int64) (int64, error)
}

// OpenBlob opens the bytes of a file (Node.Blob) or message (Entry.Blob). Blob 0 is empty.
func (s *Store) OpenBlob(ctx context.Context, id int64) (Body, error) { panic("stub") }
