package vfs

import (
	"context"
	"sync"

	"github.com/packetboat/packetboat/storage"
)

// Options of an FS; the zero value is usable.
type Options struct {
	MaxMessage int64 // bytes of an .eml upload; 0: 50 MiB. Less than 4 GiB, the store's limit.
}

const (
	defaultMaxMessage = 50 << 20
	storeMaxMessage   = 1<<32 - 1
)

// FS is the view of all accounts.
type FS struct {
	store      *storage.Store
	maxMessage int64
}

// New returns the view over a store.
func New(s *storage.Store, o Options) *FS {
	if o.MaxMessage <= 0 {
		o.MaxMessage = defaultMaxMessage
	}
	return &FS{store: s, maxMessage: min(o.MaxMessage, storeMaxMessage)}
}

// Tree is the tree of one account. Safe for concurrent use; costs nothing to make. A protocol makes one a session, as it
// remembers the aliases of what was uploaded through it (see the package's text).
type Tree struct {
	fs      *FS
	store   *storage.Store
	account int64
	home    int64

	mu      sync.Mutex
	aliases []alias // oldest first
}

// Tree of an account.
func (f *FS) Tree(a *storage.Account) *Tree {
	return &Tree{fs: f, store: f.store, account: a.ID, home: a.Home}
}

// Usage is what the account's mail and files take, and its quota (0: none), in bytes.
func (t *Tree) Usage(ctx context.Context) (used, limit int64, err error) {
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
