package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/emersion/go-sasl"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// The refusals. Each protocol maps them to its codes (RFC 5530, RFC 4954 section 6, RFC 959).
var (
	ErrCredentials = errors.New("authentication failed")                   // wrong password, unknown user, disabled: never told apart
	ErrThrottled   = errors.New("too many failed logins, try again later") // temporary
	ErrPlaintext   = errors.New("TLS required before a password may be sent")
	ErrTooMany     = errors.New("too many failed logins on this connection") // the caller closes the connection
	ErrMechanism   = errors.New("unknown SASL mechanism")

	// ErrAuthorization is an ErrCredentials: the proof was right, but not for whom the client wants to act as.
	ErrAuthorization = fmt.Errorf("%w: not allowed to act as somebody else", ErrCredentials)
	// session.ErrLimit and storage.ErrTemporary come through as they are.
)

// Plaintext says when a password may travel without TLS.
type Plaintext string

// The policies.
const (
	PlaintextNever    Plaintext = "never"
	PlaintextLoopback Plaintext = "loopback" // the default: only from 127.0.0.0/8 and ::1
	PlaintextAlways   Plaintext = "always"
)

// Options of a Door; the zero value is usable.
type Options struct {
	Plaintext  Plaintext // "" means loopback
	NoThrottle bool      // tests and benchmarks only; three failures still end a connection
	Logger     *slog.Logger
	Now        func() time.Time

	// Secret keys the salts that SCRAM shows for users who do not exist. One that is kept over restarts (32 random
	// bytes) keeps those salts as stable as real ones; nil means a random one for this process.
	Secret []byte
	// Certificate returns the DER leaf certificate that the server shows on such a connection, for the channel binding
	// tls-server-end-point; nil (the func or its result) means that this one is not offered.
	Certificate func(cs tls.ConnectionState) []byte

	// Mechanisms are the SASL mechanisms that may be used, by their registered names; nil means all of AllMechanisms. Without PLAIN and
	// LOGIN no password is taken in SMTP and IMAP at all (PasswordAllowed).
	Mechanisms []string
	// OIDC is whose bearer tokens are taken beside our own; nil means nobody's. It must have passed Check.
	OIDC *OIDC
	// PinnedOnly: EXTERNAL takes the certificates that were registered (AddCertificate) and none for the addresses that it names.
	PinnedOnly bool
}

// maxFailures on one session; the last of them is answered with ErrTooMany.
const maxFailures = 3

// Door decides who is who.
//
// What it allows: three failures or refusals by the throttle on a connection, then ErrTooMany. Over all connections and
// protocols, an account takes five failures freely, then attempts wait 1, 2, 4, 8 and 8 s and
// are refused (ErrThrottled) after ten; an address (IPv6: /64) ten and twenty. Counters go down by one
// a minute, those of addresses by one every 15 s. An address from which somebody logged in to an account has a counter of its own for that
// account (five and ten) and no other counts. A password that failed before, for the same account from the same address, is not counted again.
type Door struct {
	store *storage.Store
	reg   *session.Registry
	opt   Options
	log   *slog.Logger

	hash     *hasher
	cache    *cache
	throttle *throttle
	failures failures
	issuer   *issuer // nil: none

	gen atomic.Uint64 // grows with every Revoke
}

// New returns a Door over the account store. reg is told to end sessions when a credential changes.
func New(store *storage.Store, reg *session.Registry, o Options) *Door {
	if o.Plaintext == "" {
		o.Plaintext = PlaintextLoopback
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if len(o.Secret) == 0 {
		o.Secret = randomBytes(32)
	}
	d := &Door{
		store: store, reg: reg, opt: o, log: o.Logger,
		hash:     newHasher(usualCost),
		cache:    newCache(o.Now),
		throttle: newThrottle(o.Now),
		failures: failures{count: newLRU[string, int](maxFailing)},
	}
	if o.OIDC != nil {
		d.issuer = newIssuer(*o.OIDC, o.Now, o.Logger)
	}
	return d
}

// Known tells that an account once logged in from an address, as the history says after a restart: guesses that others make at the account
// do not lock its owner out there. The latest is to come last.
func (d *Door) Known(account int64, from netip.Addr) {
	d.throttle.mu.Lock()
	defer d.throttle.mu.Unlock()
	d.throttle.know(origin{from: place(from), who: subject{account: account}})
}

// Login proves user and password for s and, when right, logs s in (session.Login). One of the account's tokens that is good for the
// protocol is as good as its password.
// It blocks for as long as hashing and the throttle's delay take, at most until ctx or the session ends.
// The third failure of a session is answered with ErrTooMany, and so is every attempt after it.
func (d *Door) Login(ctx context.Context, s *session.Session, user, password string) (*storage.Account, error) {
	return d.login(ctx, s, attempt{mech: "password", user: user, password: password})
}

// PlaintextAllowed tells whether s may send a password as it is now: it has TLS, or the policy allows its peer.
// Protocols use it to decide what to announce (LOGINDISABLED, AUTH=...).
func (d *Door) PlaintextAllowed(s *session.Session) bool {
	if _, ok := s.TLS(); ok {
		return true
	}
	switch d.opt.Plaintext {
	case PlaintextAlways:
		return true
	case PlaintextLoopback:
		return s.Remote().Addr().Unmap().IsLoopback()
	default:
		return false
	}
}

// PasswordAllowed tells whether s may log in with a password outside of SASL (LOGIN of IMAP): as PlaintextAllowed, unless
// the mechanisms that send a password are withheld.
func (d *Door) PasswordAllowed(s *session.Session) bool {
	return d.PlaintextAllowed(s) && (d.mayUse(mechPlain) || d.mayUse(mechLogin))
}

// Exchange is one SASL dialogue. After done without error the session is logged in and Account is who.
// The errors of Next are those of Login.
type Exchange interface {
	sasl.Server
	Account() *storage.Account
}

// SetPassword stores a new password, forgets what the cache knows of the account and ends its sessions
// (session.ErrRevoked). ErrPassword when the password cannot be used.
func (d *Door) SetPassword(ctx context.Context, account int64, password string) error {
	if err := d.hash.acquire(ctx); err != nil {
		return err
	}
	c, err := credentials(password, d.hash.cost)
	d.hash.release()
	if err != nil {
		return err
	}
	if err := d.store.SetCredentials(ctx, account, c); err != nil {
		return fmt.Errorf("auth: set password: %w", err)
	}
	d.Revoke(account, session.ErrRevoked)
	return nil
}

// Revoke is to be called after an account was disabled (session.ErrDisabled), removed (session.ErrRemoved) or its credentials changed (nil or
// session.ErrRevoked): what the cache knows of it is forgotten and its sessions end for that cause, also those that are just logging in.
func (d *Door) Revoke(account int64, cause error) {
	if cause == nil {
		cause = session.ErrRevoked
	}
	// The order matters: a login that misses the new generation has its session in the registry, where it is killed.
	d.gen.Add(1)
	d.cache.forget(account)
	d.reg.KillAccount(account, cause)
}
