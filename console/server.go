package console

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

// The deadlines and limits of a connection. What is asked here is small and answered at once.
const (
	headerTime = 10 * time.Second // for the TLS handshake too
	bodyTime   = 20 * time.Second // for a whole request
	writeTime  = 30 * time.Second
	idleTime   = time.Minute // between requests; the listener's own IdleTimeout should be longer
	maxHeader  = 4 << 10     // net/http allows 4 KiB more
	maxBody    = 16 << 10
	maxStreams = 16 // of HTTP/2, at a time in one connection
)

// Options of a Server. The zero value serves no domain and tells of no service.
type Options struct {
	Name      string      // the name of this server that clients are told
	HTTPS     int         // the port of the TLS listener as clients see it; 0: there is none
	Services  []Service   // what else there is, in the order in which clients should try
	Policy    Policy      // MTA-STS, the same for all domains
	TLS       *tls.Config // nil: this listener is in clear
	TrustedCA bool        // the certificate is one that clients trust by themselves

	// Domains are the names of ours, lowercase A-labels. nil: none.
	Domains func(context.Context) ([]string, error)
	Logger  *slog.Logger // nil: discard
}

// Server answers HTTP requests. One serves any number of listeners, all of them in clear or all with TLS.
type Server struct {
	o    Options
	page page
}

// New returns a server for Serve.
func New(o Options) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Domains == nil {
		o.Domains = func(context.Context) ([]string, error) { return nil, nil }
	}
	return &Server{o: o, page: newPage()}
}

// Refusal is the answer to a connection over a limit, in clear.
func Refusal(reason string) []byte {
	clean := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return ' '
		}
		return r
	}, reason) + "\n"
	return fmt.Appendf(nil, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nRetry-After: 60\r\nConnection: close\r\n\r\n%s", len(clean), clean)
}

// Serve serves the connections of ln, which comes from session.Registry.Listen, until ctx ends or ln fails, and then waits until
// all of them have ended. It is the registry that ends sessions.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var conns sync.WaitGroup
	hs := s.server(&conns)
	stop := context.AfterFunc(ctx, func() { _ = ln.Close() })
	defer stop()
	var err error
	if s.o.TLS != nil {
		err = hs.ServeTLS(ln, "", "")
	} else {
		err = hs.Serve(ln)
	}
	_ = ln.Close()
	conns.Wait()
	if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// server is net/http's side of s. Each of its connections is counted in conns from accept to close.
func (s *Server) server(conns *sync.WaitGroup) *http.Server {
	hs := &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            headerTime,
		ReadTimeout:                  bodyTime,
		WriteTimeout:                 writeTime,
		IdleTimeout:                  idleTime,
		MaxHeaderBytes:               maxHeader,
		ErrorLog:                     slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          maxStreams,
			MaxDecoderHeaderTableSize:     4 << 10,
			MaxEncoderHeaderTableSize:     4 << 10,
			MaxReadFrameSize:              16 << 10,
			MaxReceiveBufferPerConnection: 64 << 10,
			MaxReceiveBufferPerStream:     32 << 10,
			WriteByteTimeout:              writeTime,
		},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, sessionKey{}, session.From(c))
		},
		ConnState: func(c net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				conns.Add(1)
			case http.StateActive:
				encrypted(c)
			case http.StateIdle:
				// All requests of the connection are answered, and the answers are on their way.
				if ses := session.From(c); ses != nil {
					ses.Done()
				}
			case http.StateClosed, http.StateHijacked:
				conns.Done()
			}
		},
	}
	if s.o.TLS != nil {
		hs.TLSConfig = s.o.TLS.Clone()
	}
	return hs
}

// sessionKey is under what a request's context has its session.
type sessionKey struct{}

// sessionOf is the session of a request, nil for one that came another way than Serve's.
func sessionOf(r *http.Request) *session.Session {
	ses, _ := r.Context().Value(sessionKey{}).(*session.Session)
	return ses
}

// encrypted tells c's session of its TLS, once.
func encrypted(c net.Conn) {
	t, ok := c.(*tls.Conn)
	ses := session.From(c)
	if !ok || ses == nil {
		return
	}
	if _, told := ses.TLS(); !told {
		ses.SetTLS(t.ConnectionState())
	}
}
