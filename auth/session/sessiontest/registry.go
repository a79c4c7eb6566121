package sessiontest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/auth/session"
)

// patience is for what a test must wait for.
const patience = 20 * time.Second

// New returns a registry for a test. At the end of the test, after the cleanups that were registered
// later, it drains the registry and fails the test for each session that does not end within 20
// seconds and for each goroutine that has come since New and is still there.
// It is not for tests that run in parallel with others, whose goroutines it would find.
func New(t testing.TB, o session.Options) *session.Registry {
	t.Helper()
	before := goleak.IgnoreCurrent()
	r := session.New(o)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		for _, i := range r.List() {
			t.Logf("session open at the end of the test: %+v", i)
		}
		if err := r.Drain(ctx); err != nil {
			t.Errorf("sessions that did not end: %v", err)
		}
		if err := goleak.Find(before); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
	})
	return r
}

// Listen opens a port on 127.0.0.1 for r. It is closed at the end of the test.
func Listen(t testing.TB, r *session.Registry, o session.ListenerOptions) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return r.Listen(ln, o)
}

// Serve runs serve on a new port of 127.0.0.1 until the test ends and returns the port's address. At the end it
// drains r, cancels the context of serve, closes the listener and waits for serve to return; an error of serve other than that of its
// context or of the closed listener fails the test.
func Serve(t testing.TB, r *session.Registry, o session.ListenerOptions, serve func(context.Context, net.Listener) error) string {
	t.Helper()
	ln := Listen(t, r, o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ln) }()
	t.Cleanup(func() {
		drain, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		if err := r.Drain(drain); err != nil {
			t.Errorf("drain: %v", err)
		}
		cancel()
		ln.Close()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, net.ErrClosed) {
				t.Errorf("serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("serve does not return")
		}
	})
	return ln.Addr().String()
}

// TCP dials addr, for Env.Dial.
func TCP(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

// OverTLS dials addr and begins with a TLS handshake, for Env.Dial.
func OverTLS(addr string, config *tls.Config) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		d := tls.Dialer{Config: config}
		return d.DialContext(ctx, "tcp", addr)
	}
}
