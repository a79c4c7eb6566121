package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// Options of a Server; the zero value is usable, without TLS.
type Options struct {
	Name          string        // in the greeting; "" means packetboat
	Version       string        // in ID; "" means none is told
	TLS           *tls.Config   // for STARTTLS or ImplicitTLS; nil: neither
	ImplicitTLS   bool          // TLS begins with the connection (RFC 8314 section 3.2)
	MaxAppend     int64         // bytes of a message; 0 means 50 MiB
	IdleKeepalive time.Duration // between two signs of life in IDLE; 0 means 2 min
	SearchTimeout time.Duration // after which a search is given up; 0 means 60 s
	Searches      int           // searches that read messages at a time; the others take turns; 0 means as many as there are processors
	Progress      time.Duration // between two signs of life of a long command (RFC 9585); 0 means 10 s
	Logger        *slog.Logger  // nil: discard
	Recents       *Recents      // what the Servers of one store share of \Recent; nil: the Server's own
	MessageLimit  int           // messages that one command processes (RFC 9738); 0 means 1,000,000, less than 0 any number
	SaveLimit     int           // messages that one COPY or APPEND saves, when that is to be less; 0 means any number
	Withhold      []Withhold    // what is not offered to whom; at most MaxWithhold rules
}

// Server serves IMAP over one account store. Several listeners may be served at a time.
type Server struct {
	store *storage.Store
	door  *auth.Door
	o     Options
	heavy turns // of searches that work

	inside func() string // the capabilities after login of those from whom nothing is withheld
}

// New returns a Server.
func New(store *storage.Store, door *auth.Door, o Options) *Server {
	if o.Name == "" {
		o.Name = "packetboat"
	}
	if o.MaxAppend == 0 {
		o.MaxAppend = 50 << 20
	}
	if o.IdleKeepalive == 0 {
		o.IdleKeepalive = 2 * time.Minute
	}
	if o.SearchTimeout == 0 {
		o.SearchTimeout = time.Minute
	}
	if o.Searches == 0 {
		o.Searches = runtime.GOMAXPROCS(0)
	}
	if o.Progress == 0 {
		o.Progress = 10 * time.Second
	}
	if o.MessageLimit == 0 {
		o.MessageLimit = defaultMessageLimit
	}
	if o.Recents == nil {
		o.Recents = NewRecents()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{store: store, door: door, o: o, heavy: turns{free: o.Searches}}
	s.inside = sync.OnceValue(func() string {
		list := &capabilityList{b: []byte("CAPABILITY")}
		list.always(&s.o)
		return string(list.b)
	})
	return s
}

// Refusal is the line for a connection that is turned away before it gets a session's rights (RFC 9051 section 7.1.5).
func Refusal(reason string) []byte {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, reason)
	return []byte("* BYE [UNAVAILABLE] " + clean + "\r\n")
}

// Serve serves the connections of ln, which comes from session.Registry.Listen, until ctx ends or ln fails, and then waits until
// all of them have ended. It is the registry that ends sessions.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	defer conns.Wait()
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			return err
		}
		conns.Go(func() { s.serve(conn) })
	}
}

// serve is the life of one connection. What lies on the stack here and in run and loop lies there for as long as
// the connection is open: with few frames of few bytes a waiting goroutine makes do with 4 KiB.
func (s *Server) serve(conn net.Conn) {
	if c := s.client(conn); c != nil {
		c.run()
		_ = c.conn.Close()
	}
}

// client makes the client of a connection, with TLS if it begins with that; nil, and the connection closed, when it cannot.
//
//go:noinline
func (s *Server) client(conn net.Conn) *client {
	ses := session.From(conn)
	if ses == nil {
		s.o.Logger.Error("connection without a session")
		_ = conn.Close()
		return nil
	}
	if s.o.ImplicitTLS {
		t, err := session.Handshake(ses.Context(), conn, s.o.TLS)
		if err != nil {
			s.o.Logger.Debug("tls handshake failed", "session", ses.ID(), "error", err)
			_ = conn.Close()
			return nil
		}
		conn = t
	}
	c := &client{srv: s, conn: conn, ses: ses, state: notAuthenticated}
	c.r.Reset(c)
	c.e.Reset(conn)
	c.d = wire.NewDecoder(&c.r)
	c.d.Continue = c.leave
	c.withhold()
	return c
}
