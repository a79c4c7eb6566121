package ftp

import (
	"context"
	"sync"

	"golang.org/x/time/rate"
)

// Rates bound how fast files are transferred, in bytes a second; 0: as fast as it goes. One Rates is shared by the servers of a host, so that an
// account's bound holds for all its sessions together. Listings are not bounded. A bound below 1 KiB a second is taken for that.
type Rates struct {
	SessionUp, SessionDown, AccountUp, AccountDown int64

	mu       sync.Mutex
	accounts map[paced]*rate.Limiter
}

// paced is what an account's bound is for.
type paced struct {
	account int64
	up      bool
}

const (
	minRate = 1 << 10

	// rateStep and rateBurst are the parts of a second: what moves between two waits, so that sessions of an account get their share in turn and
	// ABOR need not wait, and what may be made up for.
	rateStep  = 16
	rateBurst = 4

	manyPaced = 1024 // bounds of accounts in memory before those that nobody uses are forgotten
)

// pace is how fast one transfer may go; nil: as fast as it can. It is used by one goroutine.
type pace struct {
	limits [2]*rate.Limiter // of the session and of the account; nil: none
	step   int              // bytes between two waits
}

// of is the pace of a transfer of c.
func (r *Rates) of(c *client, up bool) *pace {
	if r == nil {
		return nil
	}
	session, account, own := r.SessionDown, r.AccountDown, &c.rates[0]
	if up {
		session, account, own = r.SessionUp, r.AccountUp, &c.rates[1]
	}
	if session <= 0 && account <= 0 {
		return nil
	}
	p := &pace{step: plainStep}
	if session > 0 {
		if *own == nil {
			*own = limiter(session)
		}
		p.add(0, *own)
	}
	if account > 0 {
		p.add(1, r.account(paced{c.payer(), up}, account))
	}
	return p
}

func limiter(n int64) *rate.Limiter {
	n = max(n, minRate)
	return rate.NewLimiter(rate.Limit(n), int(min(n/rateBurst, 1<<30)))
}

// account is a bound that is shared. It outlives the transfer: else many small files would go past it.
func (r *Rates) account(k paced, n int64) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.accounts[k]
	if l == nil {
		if len(r.accounts) >= manyPaced {
			r.forget()
		}
		if r.accounts == nil {
			r.accounts = make(map[paced]*rate.Limiter)
		}
		l = limiter(n)
		r.accounts[k] = l
	}
	return l
}

// forget drops the bounds that are as new.
func (r *Rates) forget() {
	for k, l := range r.accounts {
		if l.Tokens() >= float64(l.Burst()) {
			delete(r.accounts, k)
		}
	}
}

func (p *pace) add(i int, l *rate.Limiter) {
	p.limits[i] = l
	p.step = min(p.step, max(int(l.Limit())/rateStep, minRate/rateStep))
}

// most is how many of n bytes may move before the next wait.
func (p *pace) most(n int64) int64 {
	if p == nil {
		return n
	}
	return min(n, int64(p.step))
}

// wait waits until n bytes, at most a step, may move or count. It ends early, with an error, only with ctx.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil || n <= 0 {
		return nil
	}
	for _, l := range p.limits {
		if l == nil {
			continue
		}
		if err := l.WaitN(ctx, n); err != nil {
			return err
		}
	}
	return nil
}
