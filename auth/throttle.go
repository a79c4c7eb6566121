package auth

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// limit is how failures turn into waiting, for one kind of counter. A counter goes up by one with
// each failure and down by one every decay. Below free nothing happens. From there an
// attempt waits until 1 s after the last failure, then 2, 4, 8 s (maxDelay). At refuse and above it is turned away.
type limit struct {
	free, refuse int
	decay        time.Duration
}

var (
	// An account: five failures are free, the sixth to tenth attempt wait 1, 2, 4, 8 and 8 s, then it is
	// refused until the counter has come down; what remains is one guess a minute.
	accountLimit = limit{free: 5, refuse: 10, decay: time.Minute}
	// An account from an address that once logged in to it.
	knownLimit = limit{free: 5, refuse: 10, decay: time.Minute}
	// An address (IPv6: a /64), which may be that of a whole office: ten failures are free, refused at twenty.
	addressLimit = limit{free: 10, refuse: 20, decay: 15 * time.Second}
)

const (
	maxDelay     = 8 * time.Second
	maxCounter   = 30          // no counter goes higher, so that every refusal ends
	counterMax   = 32768       // counters of each kind
	successBonus = 5           // what a right password takes off its address,
	bonusEvery   = time.Minute // at most so often
	knownMax     = 8192        // accounts whose addresses are remembered
	knownPerOne  = 16          // addresses remembered of each
	sleeperMax   = 512         // attempts that may wait at a time
)

// delay is how long after the last failure the next attempt may be made.
func (l limit) delay(counter int) time.Duration {
	if counter < l.free {
		return 0
	}
	d := time.Second
	for n := l.free + 1; n <= counter && d < maxDelay; n++ {
		d *= 2
	}
	return min(d, maxDelay)
}

// counter of failures.
type counter struct {
	value  int
	since  time.Time // value was right then; one less for each whole decay after it
	next   time.Time // no attempt before; meaningful from limit.free on
	pardon time.Time // no second bonus before
}

// at brings the counter to now.
func (c *counter) at(now time.Time, l limit) int {
	if steps := int(now.Sub(c.since) / l.decay); steps > 0 {
		c.value = max(0, c.value-steps)
		c.since = c.since.Add(time.Duration(steps) * l.decay)
	}
	return c.value
}

// subject is whose password is tried: an account's id, or for a name that is nobody's a hash of the name.
type subject struct {
	account int64
	name    string
}

// origin is where the attempt comes from and whom it is for.
type origin struct {
	from netip.Prefix // the address, IPv6 as its /64
	who  subject
}

// place is the unit that one person can be expected to have: an IPv4 address or an IPv6 /64.
func place(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // the zero prefix for the zero address
	return p
}

// throttle slows guessing down. It counts failures of an address and of an account, over
// all protocols. An address that logged in to an account before has a counter of its own for that
// account instead of both: neither a stranger who guesses at the account nor a
// neighbour behind the same address who guesses at others locks the owner out.
//
//	attempt ──► counter < free ─────────► now
//	            free <= counter < refuse ► after the delay, one at a time
//	            refuse <= counter ───────► ErrThrottled (does not count)
//
// It is asked right before each verification, of which no more than one a CPU are
// under way, so that attempts made in parallel get no more guesses than one after another. All of it is in memory and bounded.
type throttle struct {
	now func() time.Time

	mu       sync.Mutex
	address  *lru[netip.Prefix, counter]
	account  *lru[subject, counter]
	pair     *lru[origin, counter]
	known    *lru[int64, []netip.Prefix]
	sleepers int
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{
		now:     now,
		address: newLRU[netip.Prefix, counter](counterMax),
		account: newLRU[subject, counter](counterMax),
		pair:    newLRU[origin, counter](counterMax),
		known:   newLRU[int64, []netip.Prefix](knownMax),
	}
}

// counters are those that an attempt is measured by; nil where there was no failure yet. Called with mu held.
func (t *throttle) counters(o origin) (c [2]*counter, l [2]limit) {
	if t.isKnown(o) {
		c[0], l[0] = t.pair.get(o), knownLimit
		return c, l
	}
	c[0], l[0] = t.address.get(o.from), addressLimit
	c[1], l[1] = t.account.get(o.who), accountLimit
	return c, l
}

func (t *throttle) isKnown(o origin) bool {
	if o.who.account == 0 {
		return false
	}
	places := t.known.get(o.who.account)
	return places != nil && slices.Contains(*places, o.from)
}

// turn is the throttle's answer to an attempt.
type turn struct {
	wait     time.Duration
	reserved bool // the moment after wait is this attempt's own: the next one is told to wait longer
}

// admit gives an attempt its turn; false means that it is refused.
func (t *throttle) admit(o origin) (v turn, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	counters, limits := t.counters(o)
	for i, c := range counters {
		if c == nil {
			continue
		}
		n := c.at(now, limits[i])
		if n >= limits[i].refuse {
			return turn{}, false
		}
		if n >= limits[i].free {
			v.reserved = true
			v.wait = max(v.wait, c.next.Sub(now))
		}
	}
	if v.wait > maxDelay {
		return turn{}, false
	}
	for i, c := range counters {
		if c != nil && c.value >= limits[i].free {
			c.next = now.Add(v.wait + limits[i].delay(c.value))
		}
	}
	return v, true
}

// fail counts a wrong password.
func (t *throttle) fail(o origin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.isKnown(o) {
		t.pair.put(o).raise(now, knownLimit)
		return
	}
	t.address.put(o.from).raise(now, addressLimit)
	t.account.put(o.who).raise(now, accountLimit)
}

func (c *counter) raise(now time.Time, l limit) {
	if c.at(now, l) == 0 {
		c.since = now
	}
	c.value = min(maxCounter, c.value+1)
	if next := now.Add(l.delay(c.value)); next.After(c.next) {
		c.next = next
	}
}

// succeed notes a right password: the address becomes known to the account and its counters go down. That of the account stays:
// whoever guesses at it from elsewhere is not to be helped by its owner.
func (t *throttle) succeed(o origin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if c := t.address.get(o.from); c != nil && !now.Before(c.pardon) {
		// At most once in bonusEvery: logging in to an account of one's own must not pay for guesses at others.
		c.value = max(0, c.at(now, addressLimit)-successBonus)
		c.pardon = now.Add(bonusEvery)
	}
	t.pair.remove(o)
	t.know(o)
}

// know notes that the account logged in from there. Called with mu held.
func (t *throttle) know(o origin) {
	places := t.known.put(o.who.account)
	if len(*places) > 0 && (*places)[0] == o.from {
		return
	}
	if i := slices.Index(*places, o.from); i >= 0 {
		*places = slices.Delete(*places, i, i+1)
	}
	*places = slices.Insert(*places, 0, o.from)
	*places = (*places)[:min(len(*places), knownPerOne)]
}

// wait gives an attempt its turn and sleeps until then, which asleep is told of before. The
// number of those who sleep is bounded: beyond it an attempt that would have to wait is refused.
func (t *throttle) wait(ctx context.Context, o origin, asleep func()) (reserved bool, err error) {
	v, ok := t.admit(o)
	if !ok {
		return false, ErrThrottled
	}
	return v.reserved, t.sleep(ctx, v.wait, asleep)
}

func (t *throttle) sleep(ctx context.Context, d time.Duration, asleep func()) error {
	if d <= 0 {
		return nil
	}
	if !t.sleeping(1) {
		return ErrThrottled
	}
	defer t.sleeping(-1)
	if asleep != nil {
		asleep()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("auth: waiting to log in: %w", context.Cause(ctx))
	}
}

// sleeping adds n to those who sleep and tells whether there was room.
func (t *throttle) sleeping(n int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sleepers+n > sleeperMax {
		return false
	}
	t.sleepers += n
	return true
}
