package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/norm"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

const (
	maxUser    = 320   // bytes of a login name: 64 + @ + 255
	maxLogged  = 64    // bytes of it that are logged
	maxFailing = 65536 // sessions whose failures are remembered
)

// attempt is one try to log in.
type attempt struct {
	mech     string // for the log
	user     string // as typed
	authzid  string // RFC 4422 section 2: whom to act as; "" means user
	password string
	known    bool // user is somebody's
}

// failures counts the failed logins of each session. Those of sessions that failed longest ago are forgotten when there are too many.
type failures struct {
	mu    sync.Mutex
	count *lru[string, int]
}

// add counts one more and returns how many there are now.
func (f *failures) add(s *session.Session) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.count.put(s.ID())
	*n++
	return *n
}

func (f *failures) of(s *session.Session) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.count.get(s.ID()); n != nil {
		return *n
	}
	return 0
}

// within returns a context that ends with ctx and with the session.
func within(ctx context.Context, s *session.Session) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	of := s.Context()
	stop := context.AfterFunc(of, func() { cancel(context.Cause(of)) })
	return ctx, func() { stop(); cancel(context.Canceled) }
}

// login is the way of every password: plaintext policy, the session's failures, the account's row, the throttle, the cache,
// a slot, the hash. Every way through it that ends in ErrCredentials costs one hash, or none when
// just this failed before; which of them it was is told to the log alone.
func (d *Door) login(ctx context.Context, s *session.Session, a attempt) (*storage.Account, error) {
	if !d.PlaintextAllowed(s) {
		return nil, ErrPlaintext
	}
	if d.failures.of(s) >= maxFailures {
		return nil, ErrTooMany
	}
	ctx, cancel := within(ctx, s)
	defer cancel()
	t, err := d.find(ctx, s, a.user)
	if err != nil {
		return nil, d.refuse(s, a, err)
	}
	a.known = t.account != nil
	right, reason, err := d.appPassword(ctx, s, t, a.password)
	if reason != "" {
		return nil, d.fail(s, a, reason)
	}
	if err == nil && !right {
		right, err = d.prove(ctx, t, a.password)
	}
	if err != nil {
		return nil, d.refuse(s, a, err)
	}
	if !right {
		return nil, d.fail(s, a, t.reason())
	}
	if ok, err := d.mayActAs(ctx, t.account, a); err != nil || !ok {
		if err != nil {
			return nil, d.refuse(s, a, err)
		}
		return nil, d.failAuthorization(s, a)
	}
	return d.enter(ctx, s, a, t)
}

// target is whom an attempt is for, as the store had it at generation gen.
type target struct {
	account *storage.Account // nil: nobody
	origin  origin
	gen     uint64
	pass    *storage.Pass // the token or certificate that proved it; nil: a password
	via     string        // session.Account.Via, when there is no pass
	asleep  func()        // told before the attempt sleeps: the session is idle then, so that a drain does not wait for it
}

// usable tells whether there is a password that could be right.
func (t *target) usable() bool { return t.account != nil && !t.account.Disabled }

// epoch keys what is remembered of the target. Nobody and the disabled have one that no account ever has.
func (t *target) epoch() int64 {
	if !t.usable() {
		return -1
	}
	return t.account.Epoch
}

// reason is the class of a failure, for the log.
func (t *target) reason() string {
	switch {
	case t.account == nil:
		return "unknown user"
	case t.account.Disabled:
		return "disabled"
	default:
		return "wrong password"
	}
}

// find looks up who is meant. A name that nobody has is no error.
func (d *Door) find(ctx context.Context, s *session.Session, user string) (*target, error) {
	t := d.newTarget(s)
	var err error
	if t.account, err = d.lookup(ctx, user); err != nil {
		return nil, err
	}
	if t.account != nil {
		t.origin.who.account = t.account.ID
		return t, nil
	}
	// Kept as a hash: the name may be long, and it may be a password typed into the wrong field.
	k := keyedHash(d.cache.key, "name", strings.ToLower(norm.NFC.String(user)))
	t.origin.who.name = string(k[:16])
	return t, nil
}

// newTarget is nobody yet, for an attempt of s. What it will be read from the store must be read after it was made.
func (d *Door) newTarget(s *session.Session) *target {
	t := &target{gen: d.gen.Load(), asleep: func() { s.Park("waits to log in") }}
	t.origin.from = place(s.Remote().Addr())
	return t
}

// lookup finds the account of a name; nil when it is nobody's or cannot be a name.
//
// RFC 4616 section 2, RFC 5802 section 5.1: names are compared as prepared by SASLprep (RFC 4013), as query strings: what is nobody's as it was
// typed is looked for again as that makes it.
func (d *Door) lookup(ctx context.Context, user string) (*storage.Account, error) {
	if !validUser(user) {
		return nil, nil
	}
	a, err := d.store.AccountByLogin(ctx, user)
	if err != nil && nobody(err) {
		prepared, fault := stringprep.SASLprep.Prepare(user)
		if fault != nil || prepared == user || !validUser(prepared) {
			return nil, nil
		}
		a, err = d.store.AccountByLogin(ctx, prepared)
	}
	switch {
	case err == nil:
		return a, nil
	case nobody(err):
		return nil, nil
	}
	return nil, fmt.Errorf("auth: find account: %w", err)
}

// nobody tells whether the store says by err that a name is nobody's.
func nobody(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrInvalid) || errors.Is(err, storage.ErrNotLocal)
}

// validUser tells whether user can be a login name at all.
func validUser(user string) bool {
	return user != "" && len(user) <= maxUser && utf8.ValidString(user) &&
		!strings.ContainsFunc(user, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 })
}

// prove tells whether password is the target's, and has the throttle count it when it is not.
func (d *Door) prove(ctx context.Context, t *target, password string) (bool, error) {
	reserved, err := d.wait(ctx, t)
	if err != nil {
		return false, err
	}
	known := d.cache.wrongKey(t.origin.who, t.epoch(), t.origin.from, password)
	if d.cache.isWrong(known) {
		return false, nil // counted the first time
	}
	prepared, err := prepare(password)
	if err != nil {
		prepared = "" // which nobody's hash was made of
	}
	var verified digest
	if t.usable() && prepared != "" {
		verified = d.cache.verifiedKey(t.account.ID, t.account.Epoch, prepared)
		if d.cache.isVerified(verified) {
			return true, nil
		}
	}
	if err := d.slot(ctx, t, reserved); err != nil {
		return false, err
	}
	defer d.hash.release()
	if verified != (digest{}) && d.cache.isVerified(verified) {
		return true, nil // by another of the client's connections, while this one waited for the slot
	}
	stored, err := d.stored(ctx, t)
	if err != nil {
		return false, err
	}
	// A disabled account is verified like any other, and is never right.
	if !d.hash.verify(stored.hash, prepared) || prepared == "" || !t.usable() {
		d.cache.setWrong(known)
		if !d.opt.NoThrottle {
			d.throttle.fail(t.origin)
		}
		return false, nil
	}
	if stored.stale(d.hash.cost) {
		if d.renew(ctx, t, prepared) {
			verified = d.cache.verifiedKey(t.account.ID, t.account.Epoch, prepared)
		}
	}
	d.cache.setVerified(verified, t.account.ID)
	return true, nil
}

// wait is the throttle's, unless it is switched off.
func (d *Door) wait(ctx context.Context, t *target) (bool, error) {
	if d.opt.NoThrottle {
		return false, nil
	}
	return d.throttle.wait(ctx, t.origin, t.asleep)
}

// slot waits for a hashing slot. Attempts that were made at the same time may have failed while this one queued: unless its turn
// was reserved it is asked of the throttle again, and does not hold the slot while it waits.
func (d *Door) slot(ctx context.Context, t *target, reserved bool) error {
	for {
		if err := d.hash.acquire(ctx); err != nil {
			return err
		}
		if reserved || d.opt.NoThrottle {
			return nil
		}
		v, ok := d.throttle.admit(t.origin)
		if ok && v.wait <= 0 {
			return nil
		}
		d.hash.release()
		if !ok {
			return ErrThrottled
		}
		if err := d.throttle.sleep(ctx, v.wait, t.asleep); err != nil {
			return err
		}
		reserved = true
	}
}

// stored is what an account's credentials are, as far as this package reads them; zero for nobody.
type stored struct {
	hash *phc
	keys *scramKeys
}

// stale tells whether the credentials should be made anew while the password is at hand.
func (c stored) stale(today cost) bool {
	return c.hash.stale(today) || c.keys == nil || c.keys.stale()
}

// stored reads the target's credentials. For nobody it asks too, so that it takes the same time.
func (d *Door) stored(ctx context.Context, t *target) (c stored, err error) {
	var id int64
	if t.account != nil {
		id = t.account.ID
	}
	list, err := d.store.Credentials(ctx, id)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return c, fmt.Errorf("auth: read credentials: %w", err)
	}
	if t.account == nil {
		return c, nil
	}
	for _, k := range list {
		var err error
		switch {
		case k.Kind == kindArgon2id && c.hash == nil:
			c.hash, err = parsePHC(k.Secret)
		case k.Kind == kindScram && c.keys == nil:
			c.keys, err = parseScramKeys(k.Secret)
		}
		if err != nil {
			d.log.LogAttrs(ctx, slog.LevelWarn, "stored credential is unusable",
				slog.Int64("account", t.account.ID), slog.String("kind", k.Kind))
		}
	}
	return c, nil
}

// renew makes the credentials anew with today's parameters, and tells whether it did. A failure costs nothing but another try
// at the next login. The store compares the epoch, so that an old password is never put back over a new one.
func (d *Door) renew(ctx context.Context, t *target, prepared string) bool {
	c, err := credentials(prepared, d.hash.cost)
	if err != nil {
		return false
	}
	var now *storage.Account
	if err = d.store.SetCredentialsIf(ctx, t.account.ID, t.account.Epoch, c); err == nil {
		now, err = d.store.Account(ctx, t.account.ID)
	}
	if err != nil {
		d.log.LogAttrs(ctx, slog.LevelWarn, "credentials not renewed",
			slog.Int64("account", t.account.ID), slog.Any("error", err))
		return false
	}
	t.account = now
	return true
}

// mayActAs checks the authorization identity: it is to be empty or the account itself, by whatever of its names.
func (d *Door) mayActAs(ctx context.Context, who *storage.Account, a attempt) (bool, error) {
	if a.authzid == "" || a.authzid == a.user || a.authzid == who.Name {
		return true, nil
	}
	as, err := d.lookup(ctx, a.authzid)
	return as != nil && as.ID == who.ID, err
}

// enter logs the session in after the proof.
func (d *Door) enter(ctx context.Context, s *session.Session, a attempt, t *target) (*storage.Account, error) {
	if !d.opt.NoThrottle {
		d.throttle.succeed(t.origin)
	}
	as := session.Account{ID: t.account.ID, Name: t.account.Name, Via: t.via}
	if t.pass != nil {
		as.Via = via(t.pass)
	}
	if err := d.join(ctx, s, as, t); err != nil {
		return nil, d.refuse(s, a, err)
	}
	if t.pass != nil {
		d.store.UsePass(t.pass)
	}
	d.log.LogAttrs(ctx, slog.LevelDebug, "logged in", d.attrs(s, a, slog.String("account", t.account.Name))...)
	return t.account, nil
}

// fail answers a failed proof, and counts it for the session.
func (d *Door) fail(s *session.Session, a attempt, reason string) error {
	n := d.failures.add(s)
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "login failed", d.attrs(s, a, slog.String("reason", reason))...)
	if n >= maxFailures {
		return ErrTooMany
	}
	return ErrCredentials
}

// failAuthorization is fail for a proof that was right, of somebody who may not be whom he wants to be.
func (d *Door) failAuthorization(s *session.Session, a attempt) error {
	if err := d.fail(s, a, "authzid"); err != ErrCredentials {
		return err
	}
	return ErrAuthorization
}

// refuse logs an attempt that came to no proof, and returns why. Being throttled counts for the session like a
// failure: whoever goes on asking is to be closed.
func (d *Door) refuse(s *session.Session, a attempt, err error) error {
	if errors.Is(err, ErrThrottled) && d.failures.add(s) >= maxFailures {
		err = ErrTooMany
	}
	d.log.LogAttrs(context.Background(), slog.LevelInfo, "login refused", d.attrs(s, a, slog.Any("error", err))...)
	return err
}

func (d *Door) attrs(s *session.Session, a attempt, more slog.Attr) []slog.Attr {
	return []slog.Attr{
		slog.String("session", s.ID()), slog.String("protocol", string(s.Protocol())),
		slog.String("remote", s.Remote().String()), slog.String("mechanism", a.mech),
		slog.String("user", a.shown()), more,
	}
}

// shown is the name for the log. What is nobody's and no address may be a password that was typed into the wrong field.
func (a *attempt) shown() string {
	if !a.known && !strings.Contains(a.user, "@") {
		return "?"
	}
	return loggable(a.user)
}

// loggable is a name as typed, cut and quoted: nothing in it can end a line or look like another attribute.
func loggable(user string) string {
	if len(user) > maxLogged {
		user = user[:maxLogged]
	}
	return strconv.QuoteToASCII(user)
}

func decimal(n int64) string { return strconv.FormatInt(n, 10) }
