package session

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Protocol is what a listener speaks.
type Protocol string

// The protocols.
const (
	SMTP Protocol = "smtp" // RFC 5321, MX and submission
	IMAP Protocol = "imap" // RFC 9051
	FTP  Protocol = "ftp"  // RFC 959
	HTTP Protocol = "http" // the console
)

// State is where a session is in its life.
type State string

// The states, in the order in which a session goes through them. Idle and busy alternate.
const (
	Connected     State = "connected"     // accepted, nothing known yet
	TLS           State = "tls"           // handshake done, nobody logged in
	Authenticated State = "authenticated" // logged in, no command since
	Idle          State = "idle"          // between commands
	Busy          State = "busy"          // a command runs
	Draining      State = "draining"      // told to end, not yet ended
	Ended         State = "ended"         // the socket is closed
)

// Reasons for which a session ends before its client wants it to. They are the
// cause of the session's context; a wrapped error holds details in its text.
var (
	ErrKilled   = errors.New("session killed by the administrator")
	ErrRevoked  = errors.New("credentials of the account changed")
	ErrDrain    = errors.New("server is shutting down")
	ErrIdle     = errors.New("idle for too long")
	ErrDeadline = errors.New("session lasted too long")
	ErrLogin    = errors.New("no login in time")
	ErrStalled  = errors.New("peer stopped reading")
	ErrClosed   = errors.New("connection closed")
)

// ErrLimit is returned (wrapped, the text names the limit) when a limit on sessions refuses one.
var ErrLimit = errors.New("too many sessions")

// Account is whose session it is. The registry knows no more of an account than this.
type Account struct {
	ID    int64
	Name  string
	Limit int // sessions at a time; 0 means the registry's own limit per account
}

// Session is one TCP connection from accept to close. All methods may be called
// from any goroutine.
type Session struct {
	// filled in by the registry helper
}

// From returns the session that carries c, which may be a *Conn, a *tls.Conn over one, or
// anything whose RemoteAddr is the one of such a connection; nil if there is none.
func From(c net.Conn) *Session { panic("stub") }

// FromAddr returns the session in an address that came from Conn.RemoteAddr, or nil.
func FromAddr(a net.Addr) *Session { panic("stub") }

// ID is the session's ULID, the same in the list, the log and the journal.
func (s *Session) ID() string { panic("stub") }

// Protocol, Listener, Remote and Local never change. Listener is the name given to Listen ("imaps").
func (s *Session) Protocol() Protocol     { panic("stub") }
func (s *Session) Listener() string       { panic("stub") }
func (s *Session) Remote() netip.AddrPort { panic("stub") }
func (s *Session) Local() netip.AddrPort  { panic("stub") }
func (s *Session) Started() time.Time     { panic("stub") }

// Context ends when the session is killed, drained, expired or closed; context.Cause tells why.
func (s *Session) Context() context.Context { panic("stub") }

// Kill ends the session with manners: its context ends with cause, a Read that waits returns
// os.ErrDeadlineExceeded at once so that the protocol can say goodbye, and after the
// registry's Grace the socket is closed whatever the protocol does. Kill does not wait.
func (s *Session) Kill(cause error) { panic("stub") }

// Ending is the cause when the session was told to end, nil while it may go on.
func (s *Session) Ending() error { panic("stub") }

// SetTLS notes that the connection is encrypted now. TLS returns what was noted; ok false on a plaintext connection.
func (s *Session) SetTLS(cs tls.ConnectionState)          { panic("stub") }
func (s *Session) TLS() (cs tls.ConnectionState, ok bool) { panic("stub") }

// Handshake runs the server side of TLS on c (deadline: the login deadline of the listener, at most 30 s),
// calls SetTLS of c's session and returns the encrypted connection. On error c is closed.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config) (*tls.Conn, error) { panic("stub") }

// SetClient notes the client's name as it tells it (EHLO, IMAP ID, FTP CLNT); cut to 200 bytes, control characters replaced.
func (s *Session) SetClient(name string) { panic("stub") }

// Login makes the session a's. It is called by package auth alone, after the password
// was proved. ErrLimit when the account has all the sessions it may have.
func (s *Session) Login(a Account) error { panic("stub") }

// Logout takes the account away again (SMTP and FTP can start anew on one connection).
func (s *Session) Logout() { panic("stub") }

// Account is whose session it is; the zero Account before login.
func (s *Session) Account() Account { panic("stub") }

// Begin notes that a command runs now and in words what it does ("FETCH 12 messages",
// "STOR /scans/a.pdf"), counts the command and makes the state busy. It must be cheap: no
// allocation beyond the string. Done makes the state idle and keeps the last activity's words.
func (s *Session) Begin(activity string) { panic("stub") }
func (s *Session) Done()                 { panic("stub") }

// SetActivity changes the words while a command runs.
func (s *Session) SetActivity(activity string) { panic("stub") }

// Open notes which mailbox or file is open; "" means none.
func (s *Session) Open(name string) { panic("stub") }

// Count adds bytes of another connection that belongs to this session (FTP data). It also counts as being active.
func (s *Session) Count(in, out int64) { panic("stub") }

// Info is a session as the list shows it.
type Info struct {
	ID         string    `json:"id"`
	Protocol   Protocol  `json:"protocol"`
	Listener   string    `json:"listener"`
	Remote     string    `json:"remote"` // address:port
	Local      string    `json:"local"`
	TLS        string    `json:"tls,omitempty"` // "TLS 1.3 TLS_AES_128_GCM_SHA256", "" in plaintext
	Client     string    `json:"client,omitempty"`
	AccountID  int64     `json:"account_id,omitempty"`
	Account    string    `json:"account,omitempty"`
	State      State     `json:"state"`
	Activity   string    `json:"activity,omitempty"`
	Open       string    `json:"open,omitempty"`
	BytesIn    int64     `json:"bytes_in"`
	BytesOut   int64     `json:"bytes_out"`
	Commands   int64     `json:"commands"`
	Started    time.Time `json:"started"`
	LastActive time.Time `json:"last_active"`
	Ended      time.Time `json:"ended,omitzero"`
	EndReason  string    `json:"end_reason,omitempty"`
}

// Info is a snapshot of the session.
func (s *Session) Info() Info { panic("stub") }
