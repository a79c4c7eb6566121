package vfs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/packetboat/packetboat/storage"
)

// Options of an FS; the zero value is usable.
type Options struct {
	MaxMessage int64        // bytes of an .eml upload; 0: 50 MiB. Less than 4 GiB, the store's limit.
	Logger     *slog.Logger // nil: discard
}

const (
	defaultMaxMessage = 50 << 20
	storeMaxMessage   = 1<<32 - 1
)

// FS is the view of all accounts.
type FS struct {
	store      *storage.Store
	maxMessage int64
	log        *slog.Logger

	mounts   atomic.Pointer[mounts] // nil: not read yet
	mountsMu sync.Mutex             // of who reads them
	heldMu   sync.Mutex             // guards held
	held     map[fileID]bool        // hidden files that uploads have open

	reserved reserved
}

// New returns the view over a store.
func New(s *storage.Store, o Options) *FS {
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMaxMessage
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &FS{store: s, maxMessage: min(o.MaxMessage, storeMaxMessage), log: o.Logger, held: map[fileID]bool{}}
}

// Tree is the tree of one account. Safe for concurrent use; costs nothing to make. A protocol makes one a session, as it
// remembers the aliases of what was uploaded through it (see the package's text).
type Tree struct {
	fs      *FS
	store   *storage.Store
	account int64
	home    int64
	epoch   int64 // of the account when the tree was made
	whole   bool  // rights and jail do not hold
	guest   bool  // for those who are anonymous

	mu      sync.Mutex
	aliases []alias // oldest first
}

// Tree of an account.
func (f *FS) Tree(a *storage.Account) *Tree {
	return &Tree{fs: f, store: f.store, account: a.ID, home: a.Home, epoch: a.Epoch}
}

// Whole is the tree of an account without what its rights and jail forbid, for the server's own work.
func (f *FS) Whole(a *storage.Account) *Tree {
	t := f.Tree(a)
	t.whole = true
	return t
}

// Anonymous is the tree of an account for people whom nobody knows: they can at most list and download what the account can, and
// there is no mail.
func (f *FS) Anonymous(a *storage.Account) *Tree {
	t := f.Tree(a)
	t.guest = true
	return t
}

// Usage is what the account's mail and files take, and its quota (0: none), in bytes. The anonymous are not told.
func (t *Tree) Usage(ctx context.Context) (used, limit int64, err error) {
	if t.guest {
		return 0, 0, fail("usage", "/", errGuest)
	}
	u, err := t.store.Usage(ctx, t.account)
	if err != nil {
		return 0, 0, fail("usage", "/", err)
	}
	a, err := t.store.Account(ctx, t.account)
	if err != nil {
		return 0, 0, fail("usage", "/", err)
	}
	return u.Bytes, a.Quota, nil
}
