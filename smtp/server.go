package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// Mode is what a listener is for.
type Mode uint8

// The modes.
const (
	MX         Mode = iota // mail from other servers for our accounts, port 25; no AUTH, no relay
	Submission             // mail of our accounts, ports 587 and 465 (RFC 6409); AUTH first
	LMTP                   // mail for our accounts from an MTA in front of us (RFC 2033); no AUTH, no relay
)

// hello are the commands that begin a session.
func (m Mode) hello() string {
	if m == LMTP {
		return "LHLO"
	}
	return "EHLO"
}

// Options of a Server; the zero value is usable, as an MX without TLS.
type Options struct {
	Name        string      // the server's name in the greeting, in EHLO and in Received; "" means localhost
	Mode        Mode        //
	TLS         *tls.Config // for STARTTLS or ImplicitTLS; nil: neither
	ImplicitTLS bool        // TLS begins with the connection (RFC 8314 section 3.3)
	// MaxMessage is the largest message in bytes as it comes in; 0 means 50 MiB.
	MaxMessage int64
	// MaxRecipients of one message; 0 means 1000. RFC 5321 section 4.5.3.1.8 asks for 100 at least.
	MaxRecipients int
	BareNewline   BareNewline // "": Reject on MX and LMTP, Normalize on submission
	// Send is what each account may send; zero values: any number. Accounts may have limits of their own (storage.SetSendLimits).
	Send storage.SendLimits
	// Stays: no mail leaves for other domains by any way; it waits. So nothing is promised about when it leaves.
	Stays bool
	// Trusted are whom an LMTP server serves: it asks nobody for a password. nil: this machine.
	Trusted session.FrontEnds
	// XClient are the front ends whose word about their clients is believed (XCLIENT); nil: nobody's.
	XClient session.FrontEnds
	// Patience is how long a line may take from when it is waited for until its end, and each 64 KiB of a message; 0 means
	// 10 min, negative: for ever. RFC 5321 section 4.5.3.2.7 wants 5 min between commands, which is the listener's idle timeout; this is for
	// who sends a byte before each of those is over.
	Patience time.Duration
	Judge    *Judge   // decides about messages before they are taken; nil: nobody does
	Filters  *Filters // of the accounts; nil: a Filters of its own
	Logger   *slog.Logger
	Now      func() time.Time
}

// Server serves SMTP over one account store. Several listeners may be served at a time.
type Server struct {
	store *storage.Store
	door  *auth.Door
	o     Options
}

// New returns a Server.
func New(store *storage.Store, door *auth.Door, o Options) *Server {
	if o.Name == "" {
		o.Name = "localhost"
	}
	if o.MaxMessage == 0 {
		o.MaxMessage = 50 << 20
	}
	if o.MaxRecipients == 0 {
		o.MaxRecipients = 1000
	}
	if o.Patience == 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Mode == LMTP && o.Trusted == nil {
		o.Trusted = session.FrontEnds{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	}
	if o.BareNewline == "" && o.Mode == Submission {
		o.BareNewline = Normalize
	}
	if o.BareNewline != Normalize {
		o.BareNewline = Reject
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Filters == nil {
		o.Filters = NewFilters(store, FilterOptions{Logger: o.Logger})
	}
	return &Server{store: store, door: door, o: o}
}

// Serve serves the connections of ln, which comes from session.Registry.Listen, until ctx ends or ln fails, and then waits until
// all of them have ended. It is the registry that ends sessions.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	e := s.engine()
	err := e.Serve(&entrance{Listener: ln, srv: s})
	// Shutdown waits for the connections, without a limit of its own; that ln is closed twice is no news.
	_ = e.Shutdown(context.Background())
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// entrance makes a client of each connection.
type entrance struct {
	net.Listener
	srv *Server
}

// Accept gives the engine a *client.
func (e *entrance) Accept() (net.Conn, error) {
	for {
		conn, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		ses := session.From(conn)
		if ses == nil {
			e.srv.o.Logger.Error("connection without a session")
			_ = conn.Close()
			continue
		}
		c := &client{srv: e.srv, ses: ses, log: e.srv.o.Logger.With("session", ses.ID())}
		c.wire.conn = conn
		c.wire.patience = e.srv.o.Patience
		if e.srv.o.Mode == LMTP {
			c.instead = say(220, "", "%s LMTP Service Ready", e.srv.o.Name).append(nil)
		}
		if e.srv.o.ImplicitTLS {
			c.wire.begin = c.implicit
		}
		if c.strange() {
			c.wire.begin = c.turnAway
		} else if r := c.admit(); r != nil {
			c.turnOut(r)
		}
		return c, nil
	}
}

// implicit is the handshake that comes first.
func (c *client) implicit() error {
	conn, err := session.Handshake(c.context(), c.wire.conn, c.srv.o.TLS)
	if err != nil {
		c.log.Debug("tls handshake failed", "error", err)
		c.wire.out = nil
		c.over = true
		return err
	}
	c.wire.conn = conn
	return nil
}
