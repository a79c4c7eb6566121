package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

func TestLogin(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	if err := r.store.AddAlias(t.Context(), ann.ID, "info@example.test"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		user, password string
		want           error
	}{
		{"ann@example.test", "secret", nil},
		{"ann@example.test", "secret", nil}, // from the cache
		{"ANN@Example.Test", "secret", nil},
		{"ann", "secret", nil},
		{"info@example.test", "secret", nil},
		{"ann@example.test", "Secret", ErrCredentials},
		{"ann@example.test", "secret ", ErrCredentials},
		{"ann@example.test", "", ErrCredentials},
		{"ann@example.test", "sec\x00ret", ErrCredentials},
		{"ann@example.test", strings.Repeat("x", 100000), ErrCredentials},
		{"bob@example.test", "secret", ErrCredentials}, // has no credentials
		{"bob@example.test", "", ErrCredentials},
		{"carol@example.test", "secret", ErrCredentials},
		{"ann@elsewhere.test", "secret", ErrCredentials},
		{"", "secret", ErrCredentials},
		{"ann@example.test\r\n", "secret", ErrCredentials},
		{"\xff\xfe", "secret", ErrCredentials},
		{strings.Repeat("a", 100000), "secret", ErrCredentials},
	} {
		r.clock.advance(time.Hour) // away from the throttle
		s := r.local()
		err := r.login(s, c.user, c.password)
		if !errors.Is(err, c.want) {
			t.Errorf("%.30q, %.30q: %v, want %v", c.user, c.password, err, c.want)
		}
		if c.want == nil && (s.Account().Name != "ann@example.test" || s.Account().ID != ann.ID) {
			t.Errorf("%q is %v", c.user, s.Account())
		}
	}
}

func TestPlaintextPolicy(t *testing.T) {
	for _, c := range []struct {
		policy Plaintext
		from   string
		tls    bool
		want   bool
	}{
		{"", "127.0.0.1", false, true},
		{"", "192.0.2.1", false, false},
		{PlaintextLoopback, "::1", false, true},
		{PlaintextLoopback, "127.9.9.9", false, true},
		{PlaintextLoopback, "::ffff:127.0.0.1", false, true},
		{PlaintextLoopback, "::ffff:192.0.2.1", false, false},
		{PlaintextLoopback, "10.0.0.1", false, false},
		{PlaintextLoopback, "192.0.2.1", true, true},
		{PlaintextNever, "127.0.0.1", false, false},
		{PlaintextNever, "127.0.0.1", true, true},
		{PlaintextAlways, "192.0.2.1", false, true},
		{"nonsense", "127.0.0.1", false, false},
	} {
		t.Run(fmt.Sprint(c.policy, c.from, c.tls), func(t *testing.T) {
			r, _ := newRig(t, Options{Plaintext: c.policy}, session.Limits{})
			s := r.session(c.from)
			if c.tls {
				s = r.remote(c.from)
			}
			if got := r.door.PlaintextAllowed(s); got != c.want {
				t.Errorf("PlaintextAllowed = %v", got)
			}
			err := r.login(s, "ann@example.test", "secret")
			_, saslErr := r.door.SASL(t.Context(), s, "PLAIN")
			mechs := r.door.Mechanisms(s)
			if c.want && (err != nil || saslErr != nil || len(mechs) < 3) {
				t.Errorf("%v, %v, %v", err, saslErr, mechs)
			}
			if !c.want && (err != ErrPlaintext || saslErr != ErrPlaintext || len(mechs) != 0 || r.hashes() != 0) {
				t.Errorf("%v, %v, %v, %d hashes", err, saslErr, mechs, r.hashes())
			}
		})
	}
}

func TestThirdFailureEndsTheSession(t *testing.T) {
	for _, throttled := range []bool{true, false} {
		r, _ := newRig(t, Options{NoThrottle: !throttled}, session.Limits{})
		s := r.local()
		for i, want := range []error{ErrCredentials, ErrCredentials, ErrTooMany, ErrTooMany} {
			if err := r.login(s, "ann@example.test", "wrong"); err != want {
				t.Errorf("failure %d: %v", i+1, err)
			}
		}
		if err := r.login(s, "ann@example.test", "secret"); err != ErrTooMany {
			t.Errorf("the right password after that: %v", err)
		}
		if _, err := r.door.SASL(t.Context(), s, "PLAIN"); err != ErrTooMany {
			t.Errorf("SASL after that: %v", err)
		}
		if err := r.login(r.local(), "ann@example.test", "secret"); err != nil {
			t.Errorf("another session: %v", err)
		}
	}
}

// Who it is must not show in what the answer costs.
func TestEveryFailureCostsOneHash(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	yes := true
	if _, err := r.store.UpdateAccount(t.Context(), accountOf(t, r, "bob").ID, storage.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ann", "bob", "carol", "carol@elsewhere.test", "", "a\nb", strings.Repeat("x", 5000)} {
		for _, password := range []string{"wrong", "", "a\nb", strings.Repeat("x", 2000)} {
			r.clock.advance(time.Hour)
			for i, want := range []int64{1, 0, 0} { // then it is known
				before := r.hashes()
				if err := r.login(r.local(), user, password); err != ErrCredentials {
					t.Errorf("%.10q: %v", user, err)
				}
				if got := r.hashes() - before; got != want {
					t.Errorf("%.10q, %.10q, try %d: %d hashes, want %d", user, password, i+1, got, want)
				}
			}
		}
	}
}

func accountOf(t *testing.T, r *rig, user string) *storage.Account {
	t.Helper()
	a, err := r.store.AccountByLogin(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestCache(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	login := func(what string, password string, want error, hashes int64) {
		t.Helper()
		before := r.hashes()
		if err := r.login(r.local(), "ann", password); err != want {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if got := r.hashes() - before; got != hashes {
			t.Errorf("%s: %d hashes, want %d", what, got, hashes)
		}
	}
	login("first", "secret", nil, 1)
	login("second", "secret", nil, 0)
	login("wrong", "wrong", ErrCredentials, 1)
	r.clock.advance(verifiedFor + time.Second)
	login("later", "secret", nil, 1)

	if err := r.door.SetPassword(t.Context(), ann.ID, "new"); err != nil {
		t.Fatal(err)
	}
	login("old one after SetPassword", "secret", ErrCredentials, 1)
	login("new one", "new", nil, 1)
	login("new one again", "new", nil, 0)

	// Behind the door's back, as another process would.
	c, err := testCredentials()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.SetCredentials(t.Context(), ann.ID, c); err != nil {
		t.Fatal(err)
	}
	login("old one after SetCredentials", "new", ErrCredentials, 1)
	login("one that was wrong before", "secret", nil, 1)

	disabled := true // the row alone, without Revoke
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	login("disabled", "secret", ErrCredentials, 1)
	disabled = false
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &disabled}); err != nil {
		t.Fatal(err)
	}
	r.door.Revoke(ann.ID, nil)
	login("enabled", "secret", nil, 1)
	if err := r.store.RemoveAccount(t.Context(), ann.ID); err != nil {
		t.Fatal(err)
	}
	login("removed", "secret", ErrCredentials, 1)
}

func TestSetPasswordEndsSessions(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	mine, other := r.local(), r.local()
	if err := r.login(mine, "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	if err := r.door.SetPassword(t.Context(), ann.ID, "a\nb"); !errors.Is(err, ErrPassword) || mine.Ending() != nil {
		t.Errorf("unusable password: %v, session %v", err, mine.Ending())
	}
	if err := r.door.SetPassword(t.Context(), ann.ID+1000, "fine"); err == nil {
		t.Error("a password was set for nobody")
	}
	if err := r.door.SetPassword(t.Context(), ann.ID, "fine"); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(mine.Ending(), session.ErrRevoked) || other.Ending() != nil {
		t.Errorf("sessions end with %v and %v", mine.Ending(), other.Ending())
	}
}

// A login that proved the old password while it was being changed does not get in.
func TestRevokeDuringLogin(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	s := r.local()
	a := attempt{user: "ann", password: "secret"}
	proved := func() *target {
		t.Helper()
		to, err := r.door.find(t.Context(), s, "ann")
		if err != nil {
			t.Fatal(err)
		}
		if right, err := r.door.prove(t.Context(), to, "secret"); err != nil || !right {
			t.Fatal(right, err)
		}
		return to
	}
	to := proved()
	r.door.Revoke(accountOf(t, r, "bob").ID, nil) // somebody else's
	if _, err := r.door.enter(t.Context(), s, a, to); err != nil {
		t.Errorf("not let in: %v", err)
	}
	s.Logout()
	to = proved()
	if err := r.door.SetPassword(t.Context(), ann.ID, "new"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.door.enter(t.Context(), s, a, to); !errors.Is(err, storage.ErrTemporary) || s.Account().ID != 0 {
		t.Errorf("let in with the old password: %v, %v", err, s.Account())
	}
}

func TestOldHashIsRenewed(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	old := &phc{cost: cost{memory: 64, passes: 1, threads: 1}, salt: randomBytes(16)}
	old.hash = old.derive("secret", 32)
	// As a migration might leave it, with a kind that this package does not know.
	if err := r.store.SetCredentials(t.Context(), ann.ID, []storage.Credential{{Kind: kindArgon2id, Secret: old.String()}}); err != nil {
		t.Fatal(err)
	}
	if err := r.login(r.local(), "ann", "wrong"); err != ErrCredentials {
		t.Error(err)
	}
	if c, _ := r.store.Credentials(t.Context(), ann.ID); len(c) != 1 || c[0].Secret != old.String() {
		t.Errorf("a wrong password changed the credentials: %v", c)
	}
	s := r.local()
	if err := r.login(s, "ann", "secret"); err != nil || s.Ending() != nil {
		t.Fatalf("%v, session %v", err, s.Ending())
	}
	c, err := r.store.Credentials(t.Context(), ann.ID)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := parsePHC(secretOf(t, c, kindArgon2id)); err != nil || h.stale(testCost) || !h.verify("secret") {
		t.Errorf("renewed: %v, %v", h, err)
	}
	if k, err := parseScramKeys(secretOf(t, c, kindScram)); err != nil || k.stale() {
		t.Errorf("renewed: %v, %v", k, err)
	}
	before := r.hashes()
	if err := r.login(r.local(), "ann", "secret"); err != nil || r.hashes() != before {
		t.Errorf("%v, %d hashes", err, r.hashes()-before)
	}
	// A hash that would take the machine down is no hash.
	bad := strings.Replace(old.String(), "m=64", "m=4000000", 1)
	if err := r.store.SetCredentials(t.Context(), ann.ID, []storage.Credential{{Kind: kindArgon2id, Secret: bad}}); err != nil {
		t.Fatal(err)
	}
	if err := r.login(r.local(), "ann", "secret"); err != ErrCredentials || !strings.Contains(r.log.String(), "stored credential is unusable") {
		t.Error(err)
	}
}

// A password that is set between the proof and the renewal stays.
func TestRenewalDoesNotOverwrite(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	to, err := r.door.find(t.Context(), r.local(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.door.SetPassword(t.Context(), ann.ID, "new"); err != nil {
		t.Fatal(err)
	}
	if r.door.renew(t.Context(), to, "secret") {
		t.Error("renewed")
	}
	if err := r.login(r.local(), "ann", "new"); err != nil {
		t.Error(err)
	}
}

func TestSessionLimitIsNoFailure(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{PerAccount: 1})
	if err := r.login(r.local(), "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	s := r.local()
	for range 20 {
		if err := r.login(s, "ann", "secret"); !errors.Is(err, session.ErrLimit) {
			t.Fatal(err)
		}
	}
	if r.door.throttle.address.len() != 0 || r.door.failures.of(s) != 0 {
		t.Error("counted as failures")
	}
}

func TestThrottleIsSharedAndEnds(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	if err := r.login(r.remote("192.0.2.1"), "ann", "secret"); err != nil {
		t.Fatal(err)
	}
	fail := func(i int) error {
		t.Helper()
		r.clock.advance(maxDelay) // past the delay, which would be real
		return r.login(r.remote(fmt.Sprintf("198.51.100.%d", i)), "ann@example.test", fmt.Sprint("wrong", i))
	}
	n := 0
	for ; n < 30 && fail(n) == ErrCredentials; n++ {
	}
	if n < 9 || n > 13 {
		t.Errorf("refused after %d failures", n)
	}
	before := r.hashes()
	if err := r.login(r.remote("203.0.113.1"), "info", "secret"); err != ErrCredentials {
		t.Errorf("another name: %v", err)
	}
	for range 20 {
		if err := r.login(r.remote("203.0.113.1"), "ann", "secret"); err != ErrThrottled {
			t.Errorf("the right password from a new address: %v", err)
		}
	}
	s := r.remote("203.0.113.1")
	for i, want := range []error{ErrThrottled, ErrThrottled, ErrTooMany, ErrTooMany} {
		if err := r.login(s, "ann", "secret"); err != want {
			t.Errorf("refusal %d on a connection: %v", i+1, err)
		}
	}
	if r.hashes() != before+1 {
		t.Errorf("%d hashes while refused", r.hashes()-before-1)
	}
	if err := r.login(r.remote("192.0.2.1"), "ann", "secret"); err != nil {
		t.Errorf("the owner at home: %v", err)
	}
	r.door.Known(ann.ID, netip.MustParseAddr("192.0.2.77"))
	if err := r.login(r.remote("192.0.2.77"), "ann", "secret"); err != nil {
		t.Errorf("the owner where the history knows him: %v", err)
	}
	r.clock.advance(30 * time.Minute)
	if err := r.login(r.remote("203.0.113.1"), "ann", "secret"); err != nil {
		t.Errorf("half an hour later: %v", err)
	}
}

// A name that is nobody's is throttled as one that is somebody's.
func TestNobodyIsThrottledToo(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	count := func(user string) (n int) {
		for ; n < 30; n++ {
			r.clock.advance(maxDelay)
			if err := r.login(r.remote(fmt.Sprintf("198.51.100.%d", n)), user, fmt.Sprint("wrong", n)); err != ErrCredentials {
				return n
			}
		}
		return n
	}
	ann := count("ann@example.test")
	r.clock.advance(24 * time.Hour)
	carol := count("carol@example.test")
	if ann != carol || ann > 13 {
		t.Errorf("somebody is refused after %d failures, nobody after %d", ann, carol)
	}
}

func TestSameWrongPasswordAgain(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	for i := range 50 {
		if err := r.login(r.local(), "ann", "old one"); err != ErrCredentials {
			t.Fatalf("try %d: %v", i+1, err)
		}
	}
	if err := r.login(r.local(), "ann", "secret"); err != nil || r.hashes() != 2 {
		t.Errorf("%v, %d hashes", err, r.hashes())
	}
}

// What outside test rigs do: some wrong ones, then the right one, without delay.
func TestFourFailuresAreFree(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	for i := range 4 {
		if err := r.login(r.local(), "ann", fmt.Sprint("wrong", i)); err != ErrCredentials {
			t.Fatal(err)
		}
	}
	v, ok := r.door.throttle.admit(origin{from: place(r.local().Remote().Addr()), who: subject{account: accountOf(t, r, "ann").ID}})
	if !ok || v.wait != 0 {
		t.Errorf("wait %v, %v", v, ok)
	}
	if err := r.login(r.local(), "ann", "secret"); err != nil {
		t.Error(err)
	}
}

func TestNoThrottle(t *testing.T) {
	r, _ := newRig(t, Options{NoThrottle: true}, session.Limits{})
	for i := range 25 {
		if err := r.login(r.local(), "ann", fmt.Sprint("wrong", i)); err != ErrCredentials {
			t.Fatal(err)
		}
	}
	if err := r.login(r.local(), "ann", "secret"); err != nil {
		t.Error(err)
	}
}

// A burst gets no more guesses than the same ones in a row: those that queue for a slot are told of the failures before them.
func TestGuessesInParallel(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	ctx, cancel := context.WithTimeout(t.Context(), 800*time.Millisecond)
	defer cancel()
	var all sync.WaitGroup
	for i := range 60 {
		s := r.remote(fmt.Sprintf("198.51.100.%d", i))
		all.Go(func() {
			if _, err := r.door.Login(ctx, s, "ann", fmt.Sprint("wrong", i)); err == nil {
				t.Error("a wrong password is right")
			}
		})
	}
	all.Wait()
	if n := r.hashes(); n > int64(accountLimit.free+2*cap(r.door.hash.slots)) {
		t.Errorf("%d guesses at once", n)
	}
	if r.door.throttle.sleepers != 0 || len(r.door.hash.slots) != 0 || r.door.hash.waiting.Load() != 0 {
		t.Error("somebody still waits")
	}
}

// TestManyConnectionsOfOneClient: what a mail client opens all at once costs one hash a slot, not one a connection.
func TestManyConnectionsOfOneClient(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	h := r.door.hash
	for range cap(h.slots) {
		h.slots <- struct{}{}
	}
	var all sync.WaitGroup
	for range 20 {
		s := r.local()
		all.Go(func() {
			if err := r.login(s, "ann", "secret"); err != nil {
				t.Error(err)
			}
		})
	}
	for h.waiting.Load() < 20 {
		time.Sleep(time.Millisecond)
	}
	for range cap(h.slots) {
		h.release()
	}
	all.Wait()
	if n := r.hashes(); n > int64(cap(h.slots)) {
		t.Errorf("%d hashes", n)
	}
}

func TestSlots(t *testing.T) {
	h := newHasher(testCost)
	for range cap(h.slots) {
		if err := h.acquire(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan error, maxHashQueue)
	for range maxHashQueue {
		go func() { results <- h.acquire(ctx) }()
	}
	for h.waiting.Load() < maxHashQueue {
		time.Sleep(time.Millisecond)
	}
	if err := h.acquire(t.Context()); !errors.Is(err, storage.ErrTemporary) {
		t.Errorf("one too many: %v", err)
	}
	h.release()
	if err := <-results; err != nil {
		t.Errorf("the first in the queue: %v", err)
	}
	cancel(gone)
	for range maxHashQueue - 1 {
		if err := <-results; !errors.Is(err, gone) {
			t.Errorf("another: %v", err)
		}
	}
	if h.waiting.Load() != 0 {
		t.Errorf("%d still wait", h.waiting.Load())
	}
}

// Whoever waits for a slot or the throttle goes with the session.
func TestWaitEndsWithTheSession(t *testing.T) {
	for name, block := range map[string]func(*rig){
		"slot": func(r *rig) {
			for range cap(r.door.hash.slots) {
				r.door.hash.slots <- struct{}{}
			}
		},
		"throttle": func(r *rig) {
			for i := range 9 {
				r.door.throttle.fail(at(fmt.Sprintf("198.51.100.%d", i), accountOf(r.t.(*testing.T), r, "ann").ID))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newRig(t, Options{}, session.Limits{})
			block(r)
			s := r.local()
			done := make(chan error)
			go func() {
				_, err := r.door.Login(context.Background(), s, "ann", "secret")
				done <- err
			}()
			select {
			case err := <-done:
				t.Fatalf("did not wait: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			s.Kill(session.ErrKilled)
			select {
			case err := <-done:
				if !errors.Is(err, session.ErrKilled) {
					t.Error(err)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("still waits")
			}
		})
	}
}

func TestLog(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	user := "evil@\r\nlevel=INFO msg=\"logged in\" \u202e" + strings.Repeat("x", 200)
	for _, c := range []struct{ user, password string }{
		{user, "hunter2-one"}, {"hunter2-zero", "ann"}, {"ann", "hunter2-two"}, {"ann", "secret"}, {"ann", "hunter2-\x00three"},
	} {
		if err := r.login(r.local(), c.user, c.password); err != nil && err != ErrCredentials {
			t.Error(err)
		}
	}
	e, err := r.door.SASL(t.Context(), r.local(), "PLAIN")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := e.Next([]byte("\x00ann\x00hunter2-four\x00")); !errors.Is(err, ErrCredentials) {
		t.Error(err)
	}
	log := r.log.String()
	if strings.Contains(log, "hunter2") || strings.Contains(log, "secret") {
		t.Errorf("a password is in the log:\n%s", log)
	}
	if n := strings.Count(log, "\n"); n != 6 {
		t.Errorf("%d lines:\n%s", n, log)
	}
	for _, want := range []string{`reason="unknown user"`, `reason="wrong password"`, `reason="malformed response"`, "remote=127.0.0.1:40000", "level=DEBUG", "protocol=imap", "account=ann@example.test"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %s in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, strings.Repeat("x", 64)) || strings.Contains(log, "\u202e") {
		t.Errorf("the name is logged as it came:\n%s", log)
	}
}
