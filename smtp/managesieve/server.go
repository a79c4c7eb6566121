package managesieve

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
)

// Options of a Server; the zero value is usable, without TLS.
type Options struct {
	Version      string              // in IMPLEMENTATION; "" tells none
	TLS          *tls.Config         // for STARTTLS; nil: there is none
	Limits       storage.SieveLimits // of scripts
	MaxRedirects int                 // what MAXREDIRECTS tells; 0 means 5
	Logger       *slog.Logger        // nil: discard
}

// Server serves ManageSieve over one account store.
type Server struct {
	store *storage.Store
	door  *auth.Door
	o     Options
}

// New returns a Server.
func New(store *storage.Store, door *auth.Door, o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxRedirects == 0 {
		o.MaxRedirects = 5
	}
	if o.Limits.Size == 0 {
		o.Limits.Size = 64 << 10
	}
	return &Server{store: store, door: door, o: o}
}

// Refusal is the line for a connection that is turned away (RFC 5804 section 1.3).
func Refusal(reason string) []byte {
	return append(append([]byte("BYE (TRYLATER) "), quote(reason)...), crlf...)
}

// Serve serves the connections of ln, which comes from session.Registry.Listen, until ctx ends or ln fails, and then waits until all of them have ended. It is the
// registry that ends sessions.
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

func (s *Server) serve(conn net.Conn) {
	ses := session.From(conn)
	if ses == nil {
		s.o.Logger.Error("connection without a session")
		_ = conn.Close()
		return
	}
	c := &client{srv: s, ses: ses, log: s.o.Logger.With("session", ses.ID())}
	c.reader.conn = conn
	c.run()
	_ = c.reader.conn.Close()
}
