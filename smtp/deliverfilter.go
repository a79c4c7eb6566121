package smtp

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/packetboat/packetboat/smtp/sieve"
	"github.com/packetboat/packetboat/storage"
)

// Filters are accounts' mail filters, compiled once. One value serves all servers of a store.
type Filters struct {
	store *storage.Store
	o     FilterOptions

	mu    sync.Mutex
	epoch uint64
	byID  map[int64]*sieve.Script // nil: the account has none
}

// FilterOptions say what filters may do; zeroes are the defaults.
type FilterOptions struct {
	Limits sieve.Limits
	Off    bool // no filter is run
	Logger *slog.Logger
}

// NewFilters returns Filters over a store.
func NewFilters(store *storage.Store, o FilterOptions) *Filters {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Filters{store: store, o: o, byID: map[int64]*sieve.Script{}}
}

// maxFilters is how many compiled filters are kept.
const maxFilters = 10_000

// of is the filter of an account, nil when it has none. One that does not compile, which only one stored by another version of the program can be, is none: the mail is kept.
func (f *Filters) of(ctx context.Context, account int64) (*sieve.Script, error) {
	if f == nil || f.o.Off {
		return nil, nil
	}
	epoch := f.store.SieveEpoch()
	f.mu.Lock()
	if f.epoch != epoch || len(f.byID) > maxFilters {
		f.epoch, f.byID = epoch, map[int64]*sieve.Script{}
	}
	s, ok := f.byID[account]
	f.mu.Unlock()
	if ok {
		return s, nil
	}
	text, err := f.store.ActiveSieve(ctx, account)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if s, err = sieve.Compile(string(text)); err != nil {
			f.o.Logger.Error("an account's filter cannot be used", "account", account, "error", err)
			s = nil
		}
	}
	f.mu.Lock()
	if f.epoch == epoch {
		f.byID[account] = s
	}
	f.mu.Unlock()
	return s, nil
}

// filters tells whether an account has a filter that may send mail on.
func (l *letter) filters(ctx context.Context, account int64) bool {
	s, err := l.srv.o.Filters.of(ctx, account)
	return err == nil && s != nil && s.Sends
}
