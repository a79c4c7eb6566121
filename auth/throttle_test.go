package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// clock is a time that stands still until it is told.
type clock struct{ t time.Time }

func (c *clock) now() time.Time          { return c.t }
func (c *clock) advance(d time.Duration) { c.t = c.t.Add(d) }

func newClock() *clock { return &clock{time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func at(addr string, account int64) origin {
	return origin{from: place(netip.MustParseAddr(addr)), who: subject{account: account}}
}

// guess waits as it is told, fails, and returns what the wait was; -1 when it is refused.
func guess(t *throttle, c *clock, o origin) time.Duration {
	v, ok := t.admit(o)
	if !ok {
		return -1
	}
	c.advance(v.wait)
	t.fail(o)
	return v.wait
}

func TestThrottleOfAnAccount(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	s := time.Second
	// From a new address each time, so that it is the account's counter alone.
	for i, want := range []time.Duration{0, 0, 0, 0, 0, s, 2 * s, 4 * s, 8 * s, 8 * s, -1, -1} {
		if got := guess(th, c, at(fmt.Sprintf("192.0.2.%d", i), 1)); got != want {
			t.Errorf("guess %d: wait %v, want %v", i+1, got, want)
		}
	}
	// Another account is not concerned.
	if got := guess(th, c, at("192.0.2.99", 2)); got != 0 {
		t.Errorf("another account waits %v", got)
	}
	// One guess a minute is what remains.
	guesses := 0
	for range 60 {
		c.advance(time.Minute)
		for guess(th, c, at("192.0.2.200", 1)) >= 0 {
			guesses++
		}
	}
	if guesses < 50 || guesses > 70 {
		t.Errorf("%d guesses in an hour", guesses)
	}
	c.advance(20 * time.Minute)
	if got := guess(th, c, at("192.0.2.201", 1)); got != 0 {
		t.Errorf("wait %v after 20 minutes of peace", got)
	}
}

func TestThrottleOfAnAddress(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	var waited time.Duration
	n := 0
	for ; n < 100; n++ {
		w := guess(th, c, at("198.51.100.7", int64(n)))
		if w < 0 {
			break
		}
		if n < 10 && w != 0 || n >= 10 && w == 0 {
			t.Errorf("guess %d at the %dth account: wait %v", n+1, n+1, w)
		}
		waited += w
	}
	if n < 20 || n > 40 || waited < time.Minute {
		t.Errorf("%d accounts tried with %v of waiting before the address was refused", n, waited)
	}
	if got := guess(th, c, at("198.51.100.8", 1000)); got != 0 {
		t.Errorf("the next address waits %v", got)
	}
}

func TestThrottleTakesSlash64(t *testing.T) {
	for _, c := range []struct{ a, b string }{
		{"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"}, {"192.0.2.1", "::ffff:192.0.2.1"}, {"fe80::1%eth0", "fe80::2%eth1"},
	} {
		if place(netip.MustParseAddr(c.a)) != place(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s are two places", c.a, c.b)
		}
	}
	for _, c := range []struct{ a, b string }{{"2001:db8:1:2::1", "2001:db8:1:3::1"}, {"192.0.2.1", "192.0.2.2"}, {"::1", "127.0.0.1"}} {
		if place(netip.MustParseAddr(c.a)) == place(netip.MustParseAddr(c.b)) {
			t.Errorf("%s and %s are one place", c.a, c.b)
		}
	}
	if place(netip.Addr{}) != (netip.Prefix{}) {
		t.Error("no address is a place")
	}
}

func TestThrottleLetsTheOwnerIn(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	home := at("192.0.2.1", 1)
	th.succeed(home)
	for i := range 40 { // strangers guess at the account
		guess(th, c, at(fmt.Sprintf("198.51.100.%d", i), 1))
	}
	if _, ok := th.admit(at("203.0.113.1", 1)); ok {
		t.Error("a new address is let in to an account under attack")
	}
	for i := range 40 { // somebody at home guesses at others
		guess(th, c, at("192.0.2.1", int64(100+i)))
	}
	if v, ok := th.admit(home); !ok || v.wait != 0 {
		t.Errorf("the owner is held up: %v, %v", v, ok)
	}
	// Guesses from home at the owner's account are still counted, and nowhere else.
	n := 0
	for ; n < 100 && guess(th, c, home) >= 0; n++ {
	}
	if n != 10 {
		t.Errorf("%d guesses from a known address", n)
	}
	th.succeed(home)
	if v, ok := th.admit(home); !ok || v.wait != 0 {
		t.Errorf("held up after a right password: %v, %v", v, ok)
	}
}

func TestThrottleKnowsSoManyAddresses(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for i := range 30 {
		th.succeed(at(fmt.Sprintf("192.0.2.%d", i), 1))
		th.succeed(at("192.0.2.0", 1)) // in use all the time
	}
	known := 0
	for i := range 30 {
		if th.isKnown(at(fmt.Sprintf("192.0.2.%d", i), 1)) {
			known++
		}
	}
	if known != knownPerOne || !th.isKnown(at("192.0.2.0", 1)) || !th.isKnown(at("192.0.2.29", 1)) || th.isKnown(at("192.0.2.3", 1)) {
		t.Errorf("%d addresses are known", known)
	}
	if th.isKnown(at("192.0.2.0", 2)) {
		t.Error("known to an account that never logged in")
	}
}

func TestSuccessLowersTheAddress(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for i := range 12 {
		guess(th, c, at("192.0.2.1", int64(i)))
	}
	waits := func() bool {
		v, ok := th.admit(at("192.0.2.1", 500))
		return !ok || v.wait > 0
	}
	if !waits() {
		t.Fatal("12 failures cost nothing")
	}
	th.succeed(at("192.0.2.1", 600))
	if waits() {
		t.Error("a right password did not help its address")
	}
	// But it does not help without end: own logins do not pay for guesses.
	n := 0
	for ; n < 200; n++ {
		if guess(th, c, at("192.0.2.1", int64(1000+n))) != 0 {
			break
		}
		th.succeed(at("192.0.2.1", 600))
	}
	if n > 20 {
		t.Errorf("%d guesses between own logins", n)
	}
}

// Attempts in parallel are told to come one after another.
func TestThrottleSerialises(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	o := at("192.0.2.1", 1)
	for range 6 {
		guess(th, c, o)
	}
	var waits []time.Duration
	refused := 0
	for range 50 {
		v, ok := th.admit(o)
		switch {
		case !ok:
			refused++
		case !v.reserved:
			t.Error("no turn reserved")
		default:
			waits = append(waits, v.wait)
		}
	}
	if len(waits) == 0 || len(waits) > 5 || refused != 50-len(waits) {
		t.Fatalf("waits %v, %d refused", waits, refused)
	}
	for i := 1; i < len(waits); i++ {
		if waits[i]-waits[i-1] < time.Second {
			t.Errorf("waits %v", waits)
		}
	}
}

func TestThrottleIsBounded(t *testing.T) {
	c := newClock()
	th := newThrottle(c.now)
	for i := range counterMax + 5000 {
		a := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		o := origin{from: place(a), who: subject{name: fmt.Sprint(i)}}
		th.fail(o)
		th.succeed(origin{from: place(a), who: subject{account: int64(i + 1)}})
		th.fail(origin{from: place(a), who: subject{account: int64(i + 1)}})
	}
	if th.address.len() > counterMax || th.account.len() > counterMax || th.pair.len() > counterMax || th.known.len() > knownMax {
		t.Errorf("%d addresses, %d accounts, %d pairs, %d known", th.address.len(), th.account.len(), th.pair.len(), th.known.len())
	}
}

func TestThrottleSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		th := newThrottle(time.Now)
		o := at("192.0.2.1", 1)
		for range 6 {
			th.fail(o)
		}
		start := time.Now()
		if reserved, err := th.wait(t.Context(), o, nil); err != nil || !reserved || time.Since(start) != 2*time.Second {
			t.Errorf("reserved %v, %v, after %v", reserved, err, time.Since(start))
		}
		gone := errors.New("gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(gone) })
		start = time.Now()
		if _, err := th.wait(ctx, o, nil); !errors.Is(err, gone) || time.Since(start) != time.Second {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if th.sleepers != 0 {
			t.Errorf("%d still sleep", th.sleepers)
		}
		th.sleepers = sleeperMax
		if _, err := th.wait(t.Context(), o, nil); !errors.Is(err, ErrThrottled) {
			t.Errorf("one sleeper too many: %v", err)
		}
		th.sleepers = 0
		time.Sleep(time.Hour)
		if reserved, err := th.wait(t.Context(), o, nil); err != nil || reserved {
			t.Errorf("an hour later: %v, %v", reserved, err)
		}
	})
}

func TestLRU(t *testing.T) {
	l := newLRU[int, string](2)
	*l.put(1) = "one"
	*l.put(2) = "two"
	l.get(1)
	*l.put(3) = "three"
	if l.get(2) != nil || l.get(1) == nil || *l.get(3) != "three" || l.len() != 2 {
		t.Error("not the longest unused one was dropped")
	}
	l.removeIf(func(k int, _ *string) bool { return k == 1 })
	l.remove(3)
	l.remove(4)
	if l.len() != 0 || l.get(1) != nil {
		t.Errorf("%d left", l.len())
	}
}
