package smtp

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

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
	// MessageSteps and MessageTime are what the filters of all who get one message may take together; what is left of it then is kept. 0: 20 times Limits.Steps, and 1 min.
	MessageSteps int
	MessageTime  time.Duration
	// PerDay is to how many addresses of other domains an account's filter may send on, or answer, in a day; 0: 1000. What is beyond is kept.
	PerDay int
	Off    bool // no filter is run
	Logger *slog.Logger
}

// NewFilters returns Filters over a store.
func NewFilters(store *storage.Store, o FilterOptions) *Filters {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Limits.Steps = cmp.Or(o.Limits.Steps, sieve.DefaultSteps)
	o.MessageSteps = cmp.Or(o.MessageSteps, 20*o.Limits.Steps)
	o.PerDay = cmp.Or(o.PerDay, 1000)
	o.MessageTime = cmp.Or(o.MessageTime, time.Minute)
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

// budget is what the filters of all who get one message have used of what they may. The sender waits for the reply meanwhile.
type budget struct {
	ends  time.Time // zero: none has run
	steps int
	sent  int  // mailboxes and addresses that redirects led to
	over  bool // that it is used up was told
}

// maxRedirected is how many mailboxes and addresses the redirects of all filters may lead one message to: as many as a group has members.
const maxRedirected = 5000

// limits are those of the next filter; false when nothing is left for it.
func (l *letter) limits() (sieve.Limits, bool) {
	o := &l.srv.o.Filters.o
	if l.budget.ends.IsZero() {
		l.budget.ends = time.Now().Add(o.MessageTime)
	}
	limits := o.Limits
	limits.Steps = min(limits.Steps, o.MessageSteps-l.budget.steps)
	if limits.Steps > 0 && time.Now().Before(l.budget.ends) {
		return limits, true
	}
	if !l.budget.over {
		l.budget.over = true
		l.log.Warn("filters took too long for one message: the rest of its recipients have it unfiltered", "queue", l.queue, "steps", l.budget.steps)
	}
	return limits, false
}

// maySendOn tells whether an account's filter may send a message on to n addresses more of other domains (FilterOptions.PerDay), and counts them.
func (l *letter) maySendOn(ctx context.Context, d *delivery, account int64, n int) (bool, error) {
	if n == 0 {
		return true, nil
	}
	have, err := l.srv.store.SentOn(ctx, account)
	if err != nil || have+int64(d.sentOn[account]+n) > int64(l.srv.o.Filters.o.PerDay) {
		return false, err
	}
	if d.sentOn == nil {
		d.sentOn = map[int64]int{}
	}
	d.sentOn[account] += n
	return true, nil
}
