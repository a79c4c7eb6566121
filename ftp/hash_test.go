package ftp

import (
	"context"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// TestHashCached: a digest is computed once as long as the bytes are the same, whatever the file is called.
func TestHashCached(t *testing.T) {
	h := newHouse(t)
	srv := New(h.fs, h.door, Options{PassivePorts: h.pool})
	p := h.dialAt(h.serve(srv))
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	count := func(want int) {
		t.Helper()
		srv.hashing.mu.Lock()
		defer srv.hashing.mu.Unlock()
		if n := len(srv.hashing.known); n != want || srv.hashing.used.Len() != want {
			t.Fatalf("%d digests are remembered, want %d", n, want)
		}
	}
	h.put("/f", strings.Repeat("x", 1000))
	first := p.cmd(213, "HASH f")
	count(1)
	if got := p.cmd(213, "HASH f"); got != first {
		t.Errorf("%q", got)
	}
	p.cmd(250, "XSHA256 f")
	count(1)
	p.cmd(350, "RNFR f")
	p.cmd(250, "RNTO g")
	p.cmd(213, "HASH g")
	count(1)
	p.cmd(250, "XMD5 g 0 999") // a part is not remembered
	count(1)
	p.cmd(250, "XMD5 g")
	count(2)
	h.put("/g", "other")
	if got := p.cmd(213, "HASH g"); got == first || !strings.Contains(got, "SHA-256 0-4 ") {
		t.Errorf("%q", got)
	}
	count(3)
}

func (h *house) serve(srv *Server) string {
	return sessiontest.Serve(h.t, h.reg, session.ListenerOptions{Name: "ftp", Protocol: session.FTP, Refusal: Refusal}, srv.Serve)
}

// TestHashEndless: a digest that takes long can be aborted, STAT tells of it, and the end of the client ends it.
func TestHashEndless(t *testing.T) {
	h := newHouse(t)
	srv := New(h.fs, h.door, Options{PassivePorts: h.pool})
	addr := h.serve(srv)
	login := func() *peer {
		p := h.dialAt(addr)
		p.cmd(331, "USER ann@example.test")
		p.cmd(230, "PASS secret")
		return p
	}
	h.put("/f", "content")
	for range cap(srv.hashing.slots) { // nobody comes to compute
		srv.hashing.slots <- struct{}{}
	}
	p := login()
	p.send("XSHA512 f")
	if text := p.cmd(211, "STAT"); !strings.Contains(text, "XSHA512 /f: 0 bytes") {
		t.Errorf("%q", text)
	}
	p.send("NOOP")
	p.send("ABOR")
	p.expect(426)
	p.expect(200)
	p.expect(226)
	gone := login()
	gone.send("HASH f")
	gone.cmd(211, "STAT")
	gone.conn.Close()
	for range cap(srv.hashing.slots) {
		<-srv.hashing.slots
	}
	if got, want := p.cmd(250, "XSHA512 f"), fmt.Sprintf("250 %X\r\n", sha512.Sum512([]byte("content"))); got != want {
		t.Errorf("%q", got)
	}
	eventually(t, "nobody waits", func() bool {
		srv.hashing.mu.Lock()
		defer srv.hashing.mu.Unlock()
		return len(srv.hashing.accounts) == 0 && len(srv.hashing.slots) == 0
	})
	// The data connection that was prepared is still good for the transfer after it.
	p.send("EPSV")
	_, text := p.reply()
	p.cmd(213, "HASH f")
	if !strings.Contains(text, "|||") {
		t.Fatal(text)
	}
	if got := p.retr("RETR f"); got != "content" {
		t.Errorf("%q", got)
	}
}

// One account computes one digest at a time, and who waits too long is told to come again.
func TestHashTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHashing()
		ctx := context.Background()
		seat, err := h.enter(ctx, 1)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = h.enter(ctx, 1)
		var a *errorAnswer
		if !errors.As(err, &a) || a.code != 450 || time.Since(start) != digestWait {
			t.Fatal(err, time.Since(start))
		}
		done := make(chan error)
		go func() {
			seat, err := h.enter(ctx, 1)
			if err == nil {
				seat.leave()
			}
			done <- err
		}()
		synctest.Wait()
		seat.leave()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithCancel(ctx)
		cancel()
		for len(h.slots) < cap(h.slots) {
			h.slots <- struct{}{}
		}
		if _, err := h.enter(ended, 2); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if len(h.accounts) != 0 {
			t.Error("an account is remembered that nobody has a use for")
		}
	})
}

func TestHashForgets(t *testing.T) {
	h := newHashing()
	for i := range int64(maxDigests + 10) {
		h.remember(digestKey{i, &algorithms[0]}, []byte{1})
		h.recall(digestKey{0, &algorithms[0]})
	}
	if len(h.known) != maxDigests || h.recall(digestKey{0, &algorithms[0]}) == nil || h.recall(digestKey{5, &algorithms[0]}) != nil {
		t.Error(len(h.known))
	}
}

func FuzzUnquote(f *testing.F) {
	for _, s := range []string{`"a"`, `"a""b" 1 2`, `"`, `""`, `"a"b`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, arg string) {
		name, rest, ok := unquote(arg)
		if ok && quote(name)+rest != arg {
			t.Errorf("%q: %q %q", arg, name, rest)
		}
	})
}

// TestHashPass: who computes for long lets those who wait in between.
func TestHashPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHashing()
		h.slots = make(chan struct{}, 1)
		first, err := h.enter(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			seat, err := h.enter(context.Background(), 2)
			if err != nil {
				t.Error(err)
				return
			}
			seat.leave()
		}()
		synctest.Wait()
		if err := first.pass(t.Context()); err != nil {
			t.Error(err)
		}
		<-done
		first.leave()
		if len(h.slots) != 0 || len(h.accounts) != 0 {
			t.Error("something is held")
		}

		// Who is aborted while others compute waits no longer, and holds nothing.
		ctx, cancel := context.WithCancel(t.Context())
		if first, err = h.enter(ctx, 1); err != nil {
			t.Fatal(err)
		}
		other := make(chan *seat)
		go func() {
			s, err := h.enter(context.Background(), 2)
			if err != nil {
				t.Error(err)
			}
			other <- s
		}()
		synctest.Wait()
		failed := make(chan error)
		go func() { failed <- first.pass(ctx) }()
		second := <-other
		synctest.Wait()
		cancel()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		first.leave()
		if len(h.slots) != 1 {
			t.Error("the other lost its slot")
		}
		second.leave()
		if len(h.slots) != 0 || len(h.accounts) != 0 {
			t.Error("something is held")
		}
	})
}

// TestHashForNobody: digests that wait behind another are not computed when the client has gone; for one that said QUIT and still reads they are.
func TestHashForNobody(t *testing.T) {
	h := newHouse(t)
	srv := New(h.fs, h.door, Options{PassivePorts: h.pool})
	addr := h.serve(srv)
	h.put("/f", "content")
	for range cap(srv.hashing.slots) { // nobody comes to compute
		srv.hashing.slots <- struct{}{}
	}
	login := func() *peer {
		p := h.dialAt(addr)
		p.cmd(331, "USER ann@example.test")
		p.cmd(230, "PASS secret")
		return p
	}
	gone := login()
	gone.send("EPSV\r\nHASH f\r\nXMD5 f\r\nXSHA512 f\r\nNLST\r\nXCRC f")
	gone.raw.Close()
	eventually(t, "it is gone", func() bool { return len(h.reg.List()) == 0 })
	polite := login()
	polite.send("TYPE I\r\nHASH f\r\nXMD5 f\r\nXSHA512 f\r\nQUIT")
	polite.raw.CloseWrite()
	polite.expect(200)
	for range cap(srv.hashing.slots) {
		<-srv.hashing.slots
	}
	for _, code := range []int{213, 250, 250, 221} {
		polite.expect(code)
	}
}
