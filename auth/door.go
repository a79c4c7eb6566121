package auth

import (
	"context"
	"errors"
	"log/slog"
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
	NoThrottle bool      // tests and benchmarks only
	Logger     *slog.Logger
	Now        func() time.Time
}

// Door decides who is who.
type Door struct{}

// New returns a Door over the account store. reg is told to end sessions when a credential changes.
func New(store *storage.Store, reg *session.Registry, o Options) *Door { panic("stub") }

// Login proves user and password for s and, when right, logs s in (session.Login).
// It blocks for as long as hashing and the throttle's delay take, at most until ctx or the session ends.
func (d *Door) Login(ctx context.Context, s *session.Session, user, password string) (*storage.Account, error) {
	panic("stub")
}

// PlaintextAllowed tells whether s may send a password as it is now: it has TLS, or the policy allows its peer.
// Protocols use it to decide what to announce (LOGINDISABLED, AUTH=...).
func (d *Door) PlaintextAllowed(s *session.Session) bool { panic("stub") }

// Mechanisms are the SASL mechanisms (RFC 4422) that s may use now, strongest first:
// SCRAM-SHA-256-PLUS (TLS only), SCRAM-SHA-256, PLAIN, LOGIN; none without TLS where the policy forbids it.
func (d *Door) Mechanisms(s *session.Session) []string { panic("stub") }

// Exchange is one SASL dialogue. After done without error the session is logged in and Account is who.
// The errors of Next are those of Login.
type Exchange interface {
	sasl.Server
	Account() *storage.Account
}

// SASL starts mechanism mech (case-insensitive) for s; ErrMechanism, ErrPlaintext.
func (d *Door) SASL(ctx context.Context, s *session.Session, mech string) (Exchange, error) {
	panic("stub")
}

// Credentials derives what is stored for a password: an argon2id hash (PHC string) and the SCRAM-SHA-256 keys.
// An empty password, one over 1,024 bytes or one with control characters (RFC 8265 section 4.2) is refused.
func Credentials(password string) ([]storage.Credential, error) { panic("stub") }

// SetPassword stores a new password, empties the cache and ends the account's sessions.
func (d *Door) SetPassword(ctx context.Context, account int64, password string) error { panic("stub") }

// Revoke is to be called after an account was disabled, removed or its credentials changed: cache emptied, sessions ended.
func (d *Door) Revoke(account int64) { panic("stub") }
