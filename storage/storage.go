package storage

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/watch"
)

// The errors of this package beside those of io/fs.
var (
	ErrQuota     = errors.New("over quota")
	ErrConflict  = errors.New("changed by somebody else meanwhile")
	ErrLimit     = errors.New("limit reached")     // keywords of a mailbox, depth of the tree, ...
	ErrInvalid   = errors.New("invalid name")      // of a file, mailbox, account, address; the text says why
	ErrTemporary = errors.New("temporary failure") // disk full, database busy, shutting down
	ErrNotLocal  = errors.New("not a local domain")
)

// Options of a Store; the zero value is usable.
type Options struct {
	Logger    *slog.Logger
	Blobs     blob.Store // nil: disk, in DIR/blobs
	InlineMax int        // blobs up to this many bytes are rows; 0 means 32 KiB
	Now       func() time.Time
	BatchMax  int // jobs in one transaction; 0 means 256
}

// Store is an open account store.
type Store struct{}

// Open opens the store in dir (packetboat.db, blobs/), making it if there is none, and migrates it. A
// database newer than this program is refused with a text that says so. One process at a time holds a store (locked).
func Open(ctx context.Context, dir string, o Options) (*Store, error) { panic("stub") }

// Run does the store's background work (sweeper, checkpoints, journal trim) until ctx ends.
func (s *Store) Run(ctx context.Context) error { panic("stub") }

// Close finishes the writes under way and closes the store.
func (s *Store) Close() error { panic("stub") }

// Watch is where committed changes are published.
func (s *Store) Watch() *watch.Hub { panic("stub") }
