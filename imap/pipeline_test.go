package imap_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/imap"
)

// counting counts the writes of the connections that it accepts.
type counting struct {
	net.Listener
	writes atomic.Int64
}

func (l *counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countedConn{c, l}, nil
}

type countedConn struct {
	net.Conn
	l *counting
}

func (c *countedConn) Write(p []byte) (int, error) {
	c.l.writes.Add(1)
	return c.Conn.Write(p)
}

// counted is a house behind a counting listener, which cuts a peer that takes nothing for a second.
func counted(t *testing.T) (*house, *counting, *line) {
	h := small(t)
	below, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := &counting{Listener: below}
	door := auth.New(h.store, h.registry, auth.Options{NoThrottle: true})
	served := make(chan error, 1)
	wrapped := h.registry.Listen(ln, session.ListenerOptions{Name: "counted", Protocol: session.IMAP, StallTimeout: time.Second})
	go func() { served <- imap.New(h.store, door, imap.Options{}).Serve(t.Context(), wrapped) }()
	t.Cleanup(func() {
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c, err := sessiontest.TCP(below.Addr().String())(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	l := &line{t, c, bufio.NewReaderSize(c, 64<<10)}
	l.until("* OK ")
	l.do("LOGIN ann@example.test secret")
	return h, ln, l
}

// The responses to a batch of commands leave together, however many lines they have.
func TestFlushedOnce(t *testing.T) {
	h, ln, l := counted(t)
	h.many(t, "ann", "INBOX", "50")
	l.do("SELECT INBOX")
	ln.writes.Store(0)
	l.do("FETCH 1:* (FLAGS UID RFC822.SIZE)")
	if n := ln.writes.Load(); n != 1 {
		t.Errorf("%d writes for the response to one command", n)
	}
	ln.writes.Store(0)
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, "p%d UID FETCH 1 (FLAGS)\r\n", i)
	}
	if _, err := io.WriteString(l.Conn, b.String()); err != nil {
		t.Fatal(err)
	}
	l.until("p39 OK")
	if n := ln.writes.Load(); n > 3 { // what one Read of the server's brings is a batch
		t.Errorf("%d writes for the responses to a batch", n)
	}
}

// Ten thousand commands at once from a client that does not read: the server stops reading too, and holds little. Then all are
// answered in their order; or, when the client never reads, the session ends.
func TestPipelineBackPressure(t *testing.T) {
	h, _, l := counted(t)
	h.many(t, "ann", "INBOX", "50")
	l.do("SELECT INBOX")
	const commands = 10000
	written := make(chan error, 1)
	send := func(n int) {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "p%d FETCH 1:* (UID FLAGS INTERNALDATE)\r\n", i)
		}
		_, err := io.WriteString(l.Conn, b.String())
		written <- err
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	go send(commands)
	time.Sleep(500 * time.Millisecond)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := int64(after.HeapAlloc) - int64(before.HeapAlloc); n > 4<<20 { // the commands themselves are half a megabyte of it
		t.Errorf("holds %d KB", n>>10)
	}
	for i := range commands {
		if s := l.until("p"); !strings.HasPrefix(s, fmt.Sprintf("p%d OK", i)) {
			t.Fatal(s)
		}
	}
	if err := <-written; err != nil {
		t.Fatal(err)
	}
	go send(commands)
	ses := h.registry.Of(h.accounts["ann"].ID)
	select {
	case <-ses[0].Context().Done():
	case <-time.After(30 * time.Second):
		t.Fatal("a client that does not read is kept")
	}
	if err := ses[0].Ending(); err != session.ErrStalled {
		t.Error(err)
	}
	l.Close()
	<-written
}
