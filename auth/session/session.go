package session

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// Protocol is what a listener speaks.
type Protocol string

// The protocols.
const (
	SMTP  Protocol = "smtp"  // RFC 5321, MX and submission
	IMAP  Protocol = "imap"  // RFC 9051
	Sieve Protocol = "sieve" // RFC 5804, filters of mail
	FTP   Protocol = "ftp"   // RFC 959
	HTTP  Protocol = "http"  // the console
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
	ErrDisabled = errors.New("account disabled by the administrator")
	ErrRemoved  = errors.New("account removed by the administrator")
	ErrPass     = errors.New("the token or certificate of the login was revoked")
	ErrDrain    = errors.New("server is shutting down")
	ErrHurry    = errors.New("server is shutting down and cannot wait any longer") // after ErrDrain, for a session that is still busy
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
	Limit int    // sessions at a time; 0 means the registry's own limit per account
	Via   string // what proved it beside the password: "token phone", "certificate laptop", "issuer"; "" for the password
	Guest bool   // somebody who is not known: counted apart from the account's own sessions
}

// member is under what the registry counts sessions of a.
func (a Account) member() int64 {
	if a.Guest {
		return -a.ID
	}
	return a.ID
}

// The most bytes that are kept of what a peer or a protocol tells of a session.
const (
	maxClient   = 200
	maxActivity = 400
	maxReason   = 200
)

// Session is one TCP connection from accept to close. All methods may be called
// from any goroutine.
//
// What Info shows as state, and what a Read of the connection does meanwhile:
//
//	             SetTLS         Login
//	 connected ---------> tls ----------> authenticated
//	     |                 |                    |
//	     +-----------------+---------+----------+
//	                                 | Begin
//	                    Done, Park   v
//	              idle <---------- busy            Reads work
//	                |   Begin        |
//	                +--------------> |
//
//	any but busy -- Kill, a deadline, Drain ----> draining    Reads fail at once, the context
//	busy ---------- Kill, a deadline -----------> draining    has ended, the goodbye may be
//	busy ---------- Drain: at the next Done,                  written; Grace runs
//	                Park or Begin --------------> draining
//	any ----------- Close by the protocol, the end of Grace --> ended
//
// SetTLS and Login inside a command (STARTTLS, LOGIN) decide the state that Done leads to.
type Session struct {
	conn     Conn // the one allocation holds both
	registry *Registry
	listener *listener // what all sessions of one listener share
	id       string
	remote   netip.AddrPort
	told     atomic.Pointer[netip.AddrPort] // what Believe said of the peer; written under registry.mu; nil: remote is the client
	started  time.Time
	life     lifetime

	// Counters, written without the lock on each read and write.
	in, out, commands atomic.Int64
	fresh             atomic.Int64 // clock of the last thing that restarts the idle timeout
	wrote             atomic.Int64 // clock of the last write
	halted            atomic.Bool  // set once, under mu: Reads fail, the context has ended

	due    int64 // clock of what comes next of login, absolute and grace; 0: nothing; guarded by registry.alarm
	place  int   // in registry.alarm's heap, guarded by it
	member int64 // the account under which registry.accounts has it, negative: as a guest, 0: none; guarded by registry.mu

	mu       sync.Mutex // guards the rest; never held while a socket may block
	state    State      // never Draining: that is halted
	next     State      // where Done leads: Idle, or what SetTLS or Login said during the command
	account  Account
	tls      *tls.ConnectionState // nil in plaintext
	client   string
	activity string
	open     string
	reason   string // why it ended, in the protocol's words or by what the socket said
	cause    error  // why it was told to end; set before halted while a drained session is busy
	login    int64  // clock by which Login must have happened; 0: no such deadline now
	absolute int64  // clock of the end of MaxDuration; 0: none
	grace    int64  // clock of the forced close; 0: not halted
	ended    int64  // Unix nanoseconds; 0 while the socket is open
}

// From returns the session that carries c, which may be a *Conn, a *tls.Conn over one, or
// anything whose RemoteAddr is the one of such a connection; nil if there is none.
func From(c net.Conn) *Session {
	inner := c
	for range 8 { // a wrapper in a wrapper; more is a wrapper of itself
		switch v := inner.(type) {
		case nil:
			return nil
		case *Conn:
			return v.s
		case interface{ NetConn() net.Conn }:
			inner = v.NetConn()
			continue
		}
		break
	}
	return FromAddr(c.RemoteAddr())
}

// FromAddr returns the session in an address that came from Conn.RemoteAddr, or nil.
func FromAddr(a net.Addr) *Session {
	if a, ok := a.(*addr); ok {
		return (*Session)(a)
	}
	return nil
}

// addr is a Session seen as the address of its peer: Conn.RemoteAddr costs no allocation.
type addr Session

func (a *addr) Network() string          { return "tcp" }
func (a *addr) AddrPort() netip.AddrPort { return (*Session)(a).Remote() }
func (a *addr) String() string {
	if p := a.told.Load(); p != nil {
		if !p.IsValid() {
			return "unknown"
		}
		return p.String()
	}
	if n := a.conn.Conn.RemoteAddr(); n.Network() != "unix" {
		return n.String()
	}
	return "unix" // who connects to such a socket has no name
}

// ID is the session's ULID, the same in the list, the log and the journal.
func (s *Session) ID() string { return s.id }

// Conn is the session's connection, below whatever was put over it: TLS, compression.
func (s *Session) Conn() *Conn { return &s.conn }

// Protocol, Listener and Local never change, and Remote only by Believe. Listener is the name given to Listen ("imaps"). Remote is
// the zero value when nobody knows: for a socket of the machine's own, or when a front end said so.
func (s *Session) Protocol() Protocol    { return s.listener.o.Protocol }
func (s *Session) Listener() string      { return s.listener.o.Name }
func (s *Session) Local() netip.AddrPort { return addrPort(s.conn.LocalAddr()) }
func (s *Session) Remote() netip.AddrPort {
	if p := s.told.Load(); p != nil {
		return *p
	}
	return s.remote
}
func (s *Session) Started() time.Time { return s.started }

// Context ends when the session is killed, drained, expired or closed; context.Cause tells why.
// A drained session that is busy keeps its context until the command is done.
func (s *Session) Context() context.Context { return &s.life }

// Kill ends the session with manners: its context ends with cause, a Read that waits returns
// os.ErrDeadlineExceeded at once so that the protocol can say goodbye, and after the
// registry's Grace the socket is closed whatever the protocol does. Kill does not wait.
//
// With a cause that is ErrDrain a busy session is left in peace until its command is done; with any
// other cause the command is interrupted. The first cause stays, but a drained session that is
// still busy can be killed for another.
func (s *Session) Kill(cause error) {
	if cause == nil {
		cause = ErrKilled
	}
	s.mu.Lock()
	patient := errors.Is(cause, ErrDrain)
	if s.state == Ended || s.halted.Load() || s.cause != nil && patient {
		s.mu.Unlock()
		return
	}
	s.cause = cause
	if patient && s.state == Busy {
		s.mu.Unlock()
		return
	}
	s.haltLocked()
	s.mu.Unlock()
	s.life.end(cause)
}

// haltLocked wakes the reader and starts the time for the goodbye. s.cause is set; the caller
// holds mu and cancels the context afterwards.
func (s *Session) haltLocked() {
	s.halted.Store(true)
	s.grace = s.registry.clock() + int64(s.registry.o.Grace)
	s.conn.wakeLocked()
	s.scheduleLocked()
}

// Ending is the cause when the session was told to end, nil while it may go on.
// A protocol asks between commands: during a drain it is how a busy session learns of it.
func (s *Session) Ending() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cause == nil && s.state == Ended {
		return ErrClosed
	}
	return s.cause
}

// SetEnd notes in words why the session is about to end ("logout", "quit", "too many errors"), for the
// history. The first words stay; a cause given to Kill and deadlines go before them.
func (s *Session) SetEnd(reason string) {
	reason = clean(reason, maxReason)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reason == "" {
		s.reason = reason
	}
}

// SetTLS notes that the connection is encrypted now. TLS returns what was noted; ok false on a plaintext connection.
func (s *Session) SetTLS(cs tls.ConnectionState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tls = &cs
	if s.account == (Account{}) {
		s.enterLocked(TLS)
	}
}

// TLS returns what SetTLS noted; ok is false on a plaintext connection.
func (s *Session) TLS() (cs tls.ConnectionState, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.tls == nil {
		return cs, false
	}
	return *s.tls, true
}

// enterLocked makes state the state, or the next one while a command runs.
func (s *Session) enterLocked(state State) {
	switch s.state {
	case Ended:
	case Busy:
		s.next = state
	default:
		s.state = state
	}
}

// maxHandshake is the longest that a TLS handshake may take.
const maxHandshake = 30 * time.Second

// Handshake runs the server side of TLS on c (deadline: the login deadline of the listener, at most 30 s),
// calls SetTLS of c's session and returns the encrypted connection. On error c is closed.
func Handshake(ctx context.Context, c net.Conn, config *tls.Config) (*tls.Conn, error) {
	// The login deadline is kept by the registry, which ends the session and so wakes the handshake's Read.
	// The context is not given to tls, which would close c before its session knows why.
	s := From(c)
	t := tls.Server(c, config)
	c.SetDeadline(time.Now().Add(maxHandshake))
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	err := t.HandshakeContext(context.WithoutCancel(ctx))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = c.SetDeadline(time.Time{})
	}
	if err != nil {
		if s != nil {
			if cause := s.Ending(); cause != nil {
				err = cause
			}
			s.SetEnd("TLS handshake failed: " + err.Error())
		}
		c.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	if s != nil {
		s.SetTLS(t.ConnectionState())
	}
	return t, nil
}

// SetClient notes the client's name as it tells it (EHLO, IMAP ID, FTP CLNT); cut to 200 bytes, control characters replaced.
func (s *Session) SetClient(name string) {
	name = clean(name, maxClient)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = name
}

// Client is the name that SetClient noted, "" for none.
func (s *Session) Client() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// Login makes the session a's. It is called by package auth alone, after the password
// was proved. ErrLimit when the account has all the sessions it may have; the cause when
// the session was told to end meanwhile.
func (s *Session) Login(a Account) error {
	if cause := s.Ending(); cause != nil {
		return cause
	}
	if err := s.registry.join(s, a); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = a
	s.login = 0
	s.enterLocked(Authenticated)
	s.scheduleLocked()
	return nil
}

// Logout takes the account away again (SMTP and FTP can start anew on one connection).
// The time in which a login must follow starts again.
func (s *Session) Logout() {
	s.registry.leave(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = Account{}
	s.open = ""
	if d := s.listener.o.LoginTimeout; d > 0 {
		s.login = s.registry.clock() + int64(d)
	}
	if s.tls != nil {
		s.enterLocked(TLS)
	} else {
		s.enterLocked(Connected)
	}
	s.scheduleLocked()
}

// Account is whose session it is; the zero Account before login.
func (s *Session) Account() Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account
}

// Begin notes that a command runs now and in words what it does ("FETCH 12 messages",
// "STOR /scans/a.pdf"), counts the command and makes the state busy. It must be cheap: no
// allocation beyond the string. Done makes the state idle and keeps the last activity's words.
func (s *Session) Begin(activity string) {
	s.commands.Add(1)
	s.mu.Lock()
	s.activity = short(activity)
	drained := s.state == Busy && s.drainLocked()
	if s.state != Ended {
		s.state, s.next = Busy, Idle
	}
	cause := s.cause
	s.mu.Unlock()
	if drained {
		s.life.end(cause)
	}
}

// drainLocked halts a session that was told to drain during a command; true when it did, for
// the caller to cancel the context after the lock.
func (s *Session) drainLocked() bool {
	if s.cause == nil || s.halted.Load() || s.state == Ended {
		return false
	}
	s.haltLocked()
	return true
}

// short keeps a long activity from holding on to the buffer that it was cut from.
func short(text string) string {
	if len(text) <= maxActivity {
		return text
	}
	return clean(text, maxActivity)
}

// Done notes that the command which Begin announced has ended. A session that is drained
// is halted here: its context ends and its next Read fails.
func (s *Session) Done() { s.rest() }

// Park is for a command that only waits for something to happen (IMAP IDLE, a WebSocket): the
// state is idle, with words ("IDLE INBOX"), and Drain wakes it as it wakes one between commands.
// Begin or Done ends it.
func (s *Session) Park(activity string) {
	s.mu.Lock()
	s.activity = short(activity)
	s.mu.Unlock()
	s.rest()
}

// rest leaves the state busy.
func (s *Session) rest() {
	s.touch()
	s.mu.Lock()
	if s.state == Busy {
		s.state, s.next = s.next, Idle
	} else if s.state != Ended {
		s.state = Idle
	}
	drained := s.drainLocked()
	cause := s.cause
	s.mu.Unlock()
	if drained {
		s.life.end(cause)
	}
}

// SetActivity changes the words while a command runs.
func (s *Session) SetActivity(activity string) {
	s.mu.Lock()
	s.activity = short(activity)
	s.mu.Unlock()
}

// Open notes which mailbox or file is open; "" means none.
func (s *Session) Open(name string) {
	s.mu.Lock()
	s.open = short(name)
	s.mu.Unlock()
}

// Count adds bytes of another connection that belongs to this session (FTP data). It also counts as being active.
func (s *Session) Count(in, out int64) {
	s.in.Add(in)
	s.out.Add(out)
	s.touch()
}

// touch restarts the idle timeout.
func (s *Session) touch() { s.fresh.Store(s.registry.clock()) }

// Info is a session as the list shows it.
type Info struct {
	ID         string    `json:"id"`
	Protocol   Protocol  `json:"protocol"`
	Listener   string    `json:"listener"`
	Direction  string    `json:"direction,omitempty"` // "out" for a connection of ours to a peer, "" for one that came
	Remote     string    `json:"remote"`              // address:port
	Local      string    `json:"local"`
	Front      string    `json:"front,omitempty"` // address:port of the front end that it came through (Fronted)
	TLS        string    `json:"tls,omitempty"`   // "TLS 1.3 TLS_AES_128_GCM_SHA256", "" in plaintext
	Client     string    `json:"client,omitempty"`
	AccountID  int64     `json:"account_id,omitempty"`
	Account    string    `json:"account,omitempty"`
	Via        string    `json:"via,omitempty"` // Account.Via
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
func (s *Session) Info() Info {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := Info{
		ID:         s.id,
		Protocol:   s.Protocol(),
		Listener:   s.Listener(),
		Remote:     (*addr)(s).String(),
		Local:      s.conn.LocalAddr().String(),
		Client:     s.client,
		AccountID:  s.account.ID,
		Account:    s.account.Name,
		Via:        s.account.Via,
		State:      s.state,
		Activity:   clean(s.activity, maxActivity),
		Open:       clean(s.open, maxActivity),
		BytesIn:    s.in.Load(),
		BytesOut:   s.out.Load(),
		Commands:   s.commands.Load(),
		Started:    s.started,
		LastActive: s.started.Add(time.Duration(max(s.fresh.Load(), s.wrote.Load()) - s.conn.opened)),
	}
	if s.listener.outgoing {
		i.Direction = "out"
	}
	if f := s.Front(); f.IsValid() {
		i.Front = f.String()
	}
	if s.ended != 0 {
		i.Ended = time.Unix(0, s.ended)
	}
	if s.tls != nil {
		i.TLS = tls.VersionName(s.tls.Version) + " " + tls.CipherSuiteName(s.tls.CipherSuite)
	}
	if s.cause != nil {
		i.EndReason = clean(s.cause.Error(), maxReason)
	}
	switch {
	case s.state == Ended && s.cause == nil:
		i.EndReason = s.reason
	case s.state != Ended && s.cause != nil:
		i.State = Draining
	}
	return i
}

// clean makes of what a peer said a piece of text that a terminal and a log can show: valid
// UTF-8 without control or invisible formatting characters, at most limit bytes.
func clean(text string, limit int) string {
	plain := true
	for i := range len(text) {
		plain = plain && text[i] >= ' ' && text[i] < 0x7f
	}
	if plain && len(text) <= limit {
		return strings.Clone(text) // the original may be a piece of a large buffer
	}
	if len(text) > limit {
		for n := 0; n < utf8.UTFMax && limit > 0 && !utf8.RuneStart(text[limit]); n++ {
			limit-- // not in the middle of a character
		}
		text = text[:limit]
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '\u2028' || r == '\u2029' {
			return '?'
		}
		return r
	}, text)
}
