package report

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage"
)

const (
	batch      = 100              // domains looked at between two breaths
	atOnce     = 8                // reported to at a time: those whose DNS or sites hang keep others waiting
	settle     = 5 * time.Minute  // after a day until all that was counted in it is written down
	spread     = 4 * time.Hour    // RFC 8460 section 4.1: reports are not all sent at midnight
	behind     = 10 * time.Minute // after a start: what the last run left
	retryEvery = time.Hour
	lookEvery  = 30 * time.Second // at the clock, which may be set
)

// ErrBusy is the error of SendReports while reports are sent already.
var ErrBusy = errors.New("report: reports are being sent just now")

// Daily sends what is in the rows of days, a domain at a time. The zero value is ready; it is used by one kind of report.
type Daily struct {
	sending chan struct{} // holds a value while reports are sent
	once    sync.Once
	writing sync.Mutex // held while results are added to rows, and while a day that may still grow is reported
}

// Writing runs f, which adds results to rows.
func (d *Daily) Writing(f func() error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	return f()
}

// Reports are what a kind of report can do.
type Reports struct {
	Now func() time.Time
	// Due are the domains, at most max after a name, with results of a day. In order.
	Due func(ctx context.Context, day int64, after string, max int) ([]string, error)
	// Send reports to a domain, and forgets what it told. An error means that it may be tried again.
	Send func(ctx context.Context, day int64, domain string) (Sent, error)
}

// Send sends the reports of the days from first to last, to one domain or ("") to all. What was sent is told beside an error, which is that of the last one that could not be. While
// others do so it waits, as long as ctx does: ErrBusy.
func (d *Daily) Send(ctx context.Context, r Reports, first, last int64, only string) (sent []Sent, err error) {
	d.once.Do(func() { d.sending = make(chan struct{}, 1) })
	select {
	case d.sending <- struct{}{}:
	case <-ctx.Done():
		return nil, errors.Join(ErrBusy, ctx.Err())
	}
	defer func() { <-d.sending }()
	for day := first; day <= last; day++ {
		for after := ""; ; {
			domains, listErr := r.Due(ctx, day, after, batch)
			if listErr != nil {
				return sent, listErr
			}
			if len(domains) == 0 {
				break
			}
			after = domains[len(domains)-1]
			if only != "" {
				domains = slices.DeleteFunc(domains, func(s string) bool { return s != only })
			}
			some, someErr := d.page(ctx, r, day, domains)
			if sent = append(sent, some...); someErr != nil {
				err = someErr
			}
			if ctx.Err() != nil {
				return sent, ctx.Err()
			}
		}
	}
	return sent, err
}

// page reports to some domains, several at a time. What was sent is in their order.
func (d *Daily) page(ctx context.Context, r Reports, day int64, domains []string) ([]Sent, error) {
	sent, errs := make([]Sent, len(domains)), make([]error, len(domains))
	var work sync.WaitGroup
	free := make(chan struct{}, atOnce)
	n := 0
	for i, domain := range domains {
		if free <- struct{}{}; ctx.Err() != nil {
			break
		}
		n++
		work.Go(func() {
			defer func() { <-free }()
			sent[i], errs[i] = d.one(ctx, r, day, domain)
		})
	}
	work.Wait()
	var err error
	for _, e := range errs {
		if e != nil {
			err = e
		}
	}
	return sent[:n], err
}

// Run calls all, with a day that is over, within ten minutes for what an earlier run left and within four hours and some minutes after each midnight (UTC); again
// in an hour when it fails. It returns when ctx ends.
func (d *Daily) Run(ctx context.Context, now func() time.Time, all func(ctx context.Context, day int64) error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	plan := planned{day: storage.TLSDay(now()), at: now().Add(rand.N(behind))}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if plan.due(now()) && all(ctx, plan.day-1) != nil {
			plan.at = now().Add(retryEvery)
		}
	}
}

// planned is when the reports of the days before a day are due; a zero time: they are sent.
type planned struct {
	day int64
	at  time.Time
}

// due tells whether they are, which is then done.
func (p *planned) due(now time.Time) bool {
	if today := storage.TLSDay(now); today != p.day {
		p.day, p.at = today, now.Add(settle+rand.N(spread))
	}
	if p.at.IsZero() || now.Before(p.at) {
		return false
	}
	p.at = time.Time{}
	return true
}

// one sends one. A report that takes long keeps results of today alone from being written down.
func (d *Daily) one(ctx context.Context, r Reports, day int64, domain string) (Sent, error) {
	if storage.TLSDay(r.Now().Add(-settle)) <= day {
		d.writing.Lock()
		defer d.writing.Unlock()
	}
	return r.Send(ctx, day, domain)
}
