package session

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Limits are numbers of sessions at a time; 0 means no limit.
type Limits struct {
	Total       int
	PerAddress  int // IPv6: per /64. Loopback counts like any other address.
	PerAccount  int
	PerProtocol map[Protocol]int
}

// Options of a Registry. The zero value is usable and limits nothing.
type Options struct {
	Limits  Limits
	Grace   time.Duration // between Kill and the forced close; 0 means 5 s
	Logger  *slog.Logger  // nil: discard
	Now     func() time.Time
	History func(Info) // called once a session, after its end, from a goroutine of the registry's; nil: nobody
}

// Registry holds the sessions of all protocols.
type Registry struct{}

// New returns an empty registry.
func New(o Options) *Registry { panic("stub") }

// ListenerOptions say how the connections of one listener are treated.
type ListenerOptions struct {
	Name     string // "imaps"
	Protocol Protocol
	// Refusal renders the line with which a connection over a limit is turned away ("421 4.7.0 ...\r\n");
	// nil (and always for implicit TLS): closed without a word. Written with a deadline of 1 s, never in the accept loop.
	Refusal func(reason string) []byte

	LoginTimeout time.Duration // from accept to Login; 0: 60 s. Ends when the session is logged in; MX (no login ever) sets -1: none.
	IdleTimeout  time.Duration // without a byte read; 0: 30 min
	StallTimeout time.Duration // a write in which the peer takes nothing; 0: 2 min
	MaxDuration  time.Duration // absolute; 0: none
}

// Listen wraps ln: its Accept returns *Conn, each with a Session that is in the registry.
// Accept retries temporary errors, and never blocks on a refused peer. Closing it closes ln.
func (r *Registry) Listen(ln net.Listener, o ListenerOptions) net.Listener { panic("stub") }

// List is a snapshot of all sessions, oldest first.
func (r *Registry) List() []Info { panic("stub") }

// Get finds a session by its id.
func (r *Registry) Get(id string) (*Session, bool) { panic("stub") }

// Of are the sessions of an account.
func (r *Registry) Of(account int64) []*Session { panic("stub") }

// KillAccount kills every session of an account and says how many there were.
func (r *Registry) KillAccount(account int64, cause error) int { panic("stub") }

// Drain kills every session with ErrDrain (an idle one says goodbye at once, a busy one
// finishes its command first), waits until all have ended or ctx ends, then closes what is left. New connections are refused from the call on.
func (r *Registry) Drain(ctx context.Context) error { panic("stub") }

// Conn is the connection of a session. It counts bytes, keeps the deadlines of its
// listener by progress (each byte read restarts idle, each byte written restarts stall)
// whatever deadlines a library above sets (an earlier one set from above holds too), and
// keeps sendfile: ReadFrom hands an *os.File to the *net.TCPConn below.
// RemoteAddr carries the session (FromAddr); its String is the plain address:port.
type Conn struct {
	net.Conn
}

// Session of the connection.
func (c *Conn) Session() *Session { panic("stub") }
