package session

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// flaky fails a few times as a system without file descriptors does.
type flaky struct {
	net.Listener
	fails int
	err   error
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fails > 0 {
		f.fails--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", f.err)}
	}
	return f.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		below := make(oneListener, 1)
		client, server := net.Pipe()
		defer client.Close()
		below <- server
		ln := New(Options{}).Listen(&flaky{below, 10, syscall.EMFILE}, ListenerOptions{})
		start := time.Now()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if took := time.Since(start); took < time.Second || took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAcceptEnds(t *testing.T) {
	ln := New(Options{}).Listen(&flaky{nil, 1, syscall.EBADF}, ListenerOptions{})
	if _, err := ln.Accept(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a broken listener: %v", err)
	}
	synctest.Test(t, func(t *testing.T) {
		ln := New(Options{}).Listen(&flaky{make(oneListener), 1 << 30, syscall.ENFILE}, ListenerOptions{})
		time.AfterFunc(time.Minute, func() { ln.Close() })
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed listener: %v", err)
		}
	})
}

// Peers that do not take their refusal hold nobody up: neither the next one nor, when there are many, memory.
func TestRefusalDoesNotBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const many = maxRefusals + 10
		below := make(oneListener, many+1)
		r := New(Options{Limits: Limits{Total: 1}})
		ln := r.Listen(below, ListenerOptions{Refusal: func(reason string) []byte { return []byte(reason) }})
		var clients []net.Conn
		put := func() {
			client, server := net.Pipe()
			below <- server
			clients = append(clients, client)
		}
		put()
		c, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		for range many {
			put()
		}
		start := time.Now()
		go ln.Accept()
		synctest.Wait()
		open := 0
		for _, client := range clients[1:] {
			client.SetReadDeadline(start)
			if _, err := client.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				open++
			}
		}
		if open != maxRefusals || time.Since(start) != 0 {
			t.Errorf("%d refusals are being written after %v", open, time.Since(start))
		}
		r.Wait()
		if took := time.Since(start); took != refusalTime {
			t.Errorf("the refusals took %v", took)
		}
		if n := r.Stats().Refused; n != many {
			t.Errorf("%d were refused", n)
		}
		ln.Close()
		c.Close()
	})
}

func TestDrainRefuses(t *testing.T) {
	r := New(Options{})
	ln := listen(t, r, ListenerOptions{Refusal: func(reason string) []byte { return []byte("421 " + reason + "\r\n") }})
	if err := r.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted := make(chan error)
	go func() { _, err := ln.Accept(); accepted <- err }()
	io.WriteString(client, "EHLO early\r\n") // must not turn the refusal into a reset
	if got, err := io.ReadAll(client); string(got) != "421 server is shutting down\r\n" || err != nil {
		t.Errorf("refused with %q, %v", got, err)
	}
	client.Close()
	ln.Close()
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	r.Wait()
}

func TestLimitsInWords(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8:1:2::1")
	c := newCounts()
	l := Limits{Total: 5, PerAddress: 2, PerProtocol: map[Protocol]int{FTP: 1}}
	for i, step := range []struct {
		protocol Protocol
		remote   netip.Addr
		want     string
	}{
		{IMAP, v4, ""},
		{IMAP, netip.MustParseAddr("::ffff:192.0.2.1"), ""},
		{IMAP, v4, "too many sessions from your address (limit 2, limits.per_address)"},
		{FTP, v6, ""},
		{FTP, netip.MustParseAddr("2001:db8:9::1"), "too many sessions of this protocol (limit 1, limits.ftp)"},
		{IMAP, netip.MustParseAddr("2001:db8:1:2:ffff::9"), ""},
		{IMAP, netip.MustParseAddr("2001:db8:1:2:3::4"), "too many sessions from your address (limit 2, limits.per_address)"},
		{IMAP, netip.MustParseAddr("2001:db8:1:3::1"), ""},
		{IMAP, netip.MustParseAddr("198.51.100.1"), "too many sessions on this server (limit 5, limits.total)"},
	} {
		got := ""
		if err := c.add(l, step.protocol, step.remote); err != nil {
			got = err.Error()
			if !errors.Is(err, ErrLimit) {
				t.Errorf("step %d: %v is no ErrLimit", i, err)
			}
		}
		if got != step.want {
			t.Errorf("step %d: %q, want %q", i, got, step.want)
		}
	}
	c.remove(IMAP, v4)
	c.remove(IMAP, v4)
	if len(c.peer) != 2 || c.total != 3 {
		t.Errorf("what is left: %+v", c)
	}
}

func TestHandshakeFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		client func(net.Conn)
		ctx    func(context.Context) context.Context
		o      ListenerOptions
		reason string
	}{
		{"not TLS", func(c net.Conn) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }, nil, ListenerOptions{},
			"TLS handshake failed: tls: first record"},
		{"gone", func(c net.Conn) { c.Close() }, nil, ListenerOptions{}, "TLS handshake failed: "},
		{"silent", func(c net.Conn) {}, nil, ListenerOptions{LoginTimeout: 20 * time.Millisecond}, ErrLogin.Error()},
		{"context", func(c net.Conn) {}, func(ctx context.Context) context.Context {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			t.Cleanup(cancel)
			return ctx
		}, ListenerOptions{}, "TLS handshake failed: "},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, client := pair(t, New(Options{}), test.o)
			test.client(client)
			ctx := t.Context()
			if test.ctx != nil {
				ctx = test.ctx(ctx)
			}
			done := make(chan error)
			go func() { _, err := Handshake(ctx, c, &tls.Config{}); done <- err }()
			if _, err := io.ReadAll(client); err != nil && test.name != "gone" && !errors.Is(err, syscall.ECONNRESET) {
				t.Error(err)
			}
			client.Close()
			if err := <-done; err == nil {
				t.Error("no error")
			}
			if i := c.s.Info(); i.State != Ended || !strings.HasPrefix(i.EndReason, test.reason) {
				t.Errorf("state %s, reason %q, want %q", i.State, i.EndReason, test.reason)
			}
		})
	}
}
