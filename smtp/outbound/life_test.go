package outbound

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/blob"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// When what did not work is tried again, and when its time is over.
func TestSchedule(t *testing.T) {
	s := Schedule{}.withDefaults()
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for attempts, want := range []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 8 * time.Hour, 8 * time.Hour} {
		due, ok := s.next(&storage.Leased{Created: start, Attempts: attempts}, start.Add(time.Hour))
		if got := due.Sub(start) - time.Hour; !ok || got < want || got > want+want/jitter {
			t.Errorf("after %d attempts: %v, %t", attempts+1, got, ok)
		}
	}
	end := start.Add(5 * 24 * time.Hour)
	for _, c := range []struct {
		name string
		l    storage.Leased
		now  time.Time
		due  time.Time // zero: it has failed
	}{
		{"the last attempt is at the end", storage.Leased{Created: start, Attempts: 20}, end.Add(-time.Hour), end},
		{"and then it is over", storage.Leased{Created: start, Attempts: 21}, end, time.Time{}},
		{"a message that was to leave later has a second try", storage.Leased{Created: start}, end.Add(time.Hour), end.Add(time.Hour + 5*time.Minute)},
		{"what was held all the time has none", storage.Leased{Created: start, LastReply: "held"}, end.Add(time.Hour), time.Time{}},
		{"a deadline comes before", storage.Leased{Created: start, ByMode: "R", By: start.Add(time.Hour)}, start.Add(59 * time.Minute), start.Add(time.Hour)},
		{"and ends it", storage.Leased{Created: start, ByMode: "RT", By: start.Add(time.Hour)}, start.Add(time.Hour), time.Time{}},
		{"one that only wants to know does not", storage.Leased{Created: start, ByMode: "N", By: start.Add(time.Hour)}, start.Add(time.Hour), start.Add(time.Hour + 5*time.Minute)},
	} {
		due, ok := s.next(&c.l, c.now)
		if ok != !c.due.IsZero() || ok && (due.Before(c.due) || due.Sub(c.due) > 5*time.Minute/jitter) {
			t.Errorf("%s: %v, %t, want %v", c.name, due, ok, c.due)
		}
	}
	for _, c := range []struct {
		l    storage.Leased
		at   time.Duration
		want bool
	}{
		{storage.Leased{From: "a"}, 4*time.Hour - time.Second, false},
		{storage.Leased{From: "a"}, 4 * time.Hour, true},
		{storage.Leased{From: "a", Delayed: true}, 5 * time.Hour, false},
		{storage.Leased{}, 5 * time.Hour, false},
		{storage.Leased{From: "a", Notify: "FAILURE"}, 5 * time.Hour, false},
		{storage.Leased{From: "a", Notify: "FAILURE,DELAY"}, 5 * time.Hour, true},
		{storage.Leased{From: "a", ByMode: "N", By: start.Add(time.Minute)}, time.Minute, true},
	} {
		c.l.Created = start
		if got := s.delayed(&c.l, start.Add(c.at)); got != c.want {
			t.Errorf("%+v after %v: %t", c.l, c.at, got)
		}
	}
}

// A delay is told once, the end of the time as a failure; a notice that cannot be delivered is told to nobody.
func TestTooLate(t *testing.T) {
	var ahead atomic.Int64
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if strings.HasPrefix(line, "RCPT") {
				return "450 4.2.1 not today"
			}
			return ""
		}
	})
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	h := empty(t, storage.Options{Now: now})
	h.run(func(o *Options, r *dns.MockResolver) {
		o.Port, o.Now = f.port(), now
		o.Schedule.Retry = []time.Duration{time.Second}
		mx(r, "example.org", "127.0.0.1")
	})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	h.send(storage.Outgoing{From: "ann@example.test", Account: ann.ID}, hello, "joe@example.org")
	h.tried()
	ahead.Store(int64(5 * time.Hour))
	h.until("a notice of the delay", func() bool { return len(h.notices(ann)) == 1 })
	if n := h.notices(ann)[0]; !strings.Contains(n, "Action: delayed") || !strings.Contains(n, "450 4.2.1 not today") {
		t.Errorf("%s", n)
	}
	h.until("a third attempt", func() bool { return len(h.items()) == 1 && h.items()[0].Attempts > 2 })
	ahead.Store(int64(6 * 24 * time.Hour))
	h.empty()
	n := h.notices(ann)
	if len(n) != 2 || !strings.Contains(n[1], "Action: failed") || !strings.Contains(n[1], "Status: 4.4.7") || !strings.Contains(n[1], "450 4.2.1 not today") {
		t.Errorf("%d notices: %s", len(n), n[len(n)-1])
	}
}

// A failure of mail from the null sender is told to nobody (RFC 5321 section 4.5.5), one to a foreign sender goes out as a message of its own.
func TestBounce(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if strings.HasPrefix(line, "RCPT TO:<nobody@") {
				return "550 5.1.1 nobody"
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "nobody@example.org")
	h.empty()
	if len(f.all()) != 0 {
		t.Errorf("a bounce of a bounce: %+v", f.all())
	}
	h.send(storage.Outgoing{From: "sender@example.org", EnvelopeID: "e1"}, hello, "nobody@example.org")
	h.empty()
	all := f.all()
	if len(all) != 1 || all[0].from != "" || !strings.HasPrefix(all[0].to[0], "<sender@example.org>") || !strings.Contains(all[0].body, "Original-Envelope-Id: e1") || !strings.Contains(all[0].body, "Status: 5.1.1") {
		t.Errorf("%+v", all)
	}
}

// What an administrator, or the list of suppressed addresses, has judged fails without an attempt.
func TestVerdict(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	if _, err := h.store.Suppress(t.Context(), "joe@example.org", "complained"); err != nil {
		t.Fatal(err)
	}
	h.send(storage.Outgoing{From: "ann@example.test"}, hello, "joe@example.org")
	h.empty()
	if n := h.notices(ann); len(n) != 1 || !strings.Contains(n[0], "complained") || len(f.all()) != 0 {
		t.Errorf("%q", n)
	}
}

// Mail for a domain that is ours goes into the mailbox (it became ours while the mail waited, or the mail was to wait).
func TestLocal(t *testing.T) {
	h := build(t, nil)
	ann := storagetest.Account(t, h.store, "ann@example.test")
	h.send(storage.Outgoing{From: "x@example.org"}, hello, "ann@example.test")
	h.empty()
	if n := h.notices(ann); len(n) != 1 || !strings.HasPrefix(n[0], "Return-Path: <x@example.org>\r\nFrom: ann") {
		t.Errorf("%q", n)
	}
	h.send(storage.Outgoing{From: "ann@example.test"}, hello, "nobody@example.test")
	h.empty()
	if n := h.notices(ann); len(n) != 2 || !strings.Contains(n[1], "Status: 5.1.1") {
		t.Errorf("%q", n)
	}
}

// Where nothing may leave, mail waits and the queue tells why; what has a route leaves.
func TestHeld(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		o.Held = func() string { return "switched off" }
		o.Routes, _ = ParseRoutes(fmt.Sprintf("domain routed.test: 127.0.0.1:%d", f.port()))
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org", "joe@routed.test")
	h.until("it waits", func() bool {
		all := h.items()
		return len(all) == 1 && all[0].LastReply == "switched off" && all[0].Attempts == 0 && all[0].State == storage.QueueWaiting
	})
	if all := f.all(); len(all) != 1 || all[0].to[0] != "<joe@routed.test>" {
		t.Errorf("%+v", all)
	}
}

// A connection that the server closed while it lay idle says nothing of the next message; ours that lie for too long say QUIT.
func TestIdle(t *testing.T) {
	var first net.Conn
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.Idle = f.port(), time.Hour
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.empty()
	f.mu.Lock()
	for first = range f.open {
	}
	f.mu.Unlock()
	if first == nil {
		t.Fatal("the connection was not kept")
	}
	first.Close()
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.empty()
	if all := f.all(); len(all) != 2 || all[1].conn != 2 {
		t.Errorf("%+v", all)
	}
}

func TestIdleTooLong(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.Idle = f.port(), 400*time.Millisecond
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.empty()
	h.until("the pool is empty", func() bool { return len(h.registry.List()) == 0 })
	if !strings.HasSuffix(f.said(), "QUIT") {
		t.Errorf("no goodbye: %s", f.said())
	}
}

// At the end, what is under way comes to its end, and what was leased waits again.
func TestDrain(t *testing.T) {
	held := make(chan struct{})
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if line == "end" {
				<-held
			}
			return ""
		}
	})
	h := empty(t, storage.Options{})
	mx(h.dns, "example.org", "127.0.0.1")
	registry := session.New(session.Options{})
	w := NewWorker(h.store, registry, h.dns, NewPolicies(h.store, h.dns, PolicyOptions{NoSTS: true}), NewSigner(h.store, SignOptions{}),
		Options{Port: f.port(), PerDomain: 1, Family: IPv4Only, Name: "a.test"})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for range 3 {
		h.send(storage.Outgoing{}, hello, "joe@example.org")
	}
	busy := func() bool {
		for _, i := range registry.List() {
			if i.State == session.Busy && strings.HasPrefix(i.Activity, "sending") {
				return true
			}
		}
		return false
	}
	h.until("a message is under way", busy)
	cancel()
	drained := make(chan error, 1)
	go func() { drained <- registry.Drain(t.Context()) }()
	close(held)
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	all := h.items()
	if len(f.all()) != 1 || len(all) != 2 {
		t.Fatalf("%d delivered, %d left", len(f.all()), len(all))
	}
	for _, i := range all {
		if i.State != storage.QueueWaiting || i.Attempts != 0 {
			t.Errorf("left as %s after %d attempts", i.State, i.Attempts)
		}
	}
}

// A server that does not answer before the message itself is sent does not delay the end of ours, and the message waits as if nothing had been tried.
func TestDrainEarly(t *testing.T) {
	for _, stage := range []string{"connect", "EHLO", "MAIL", "RCPT", "DATA"} {
		t.Run(stage, func(t *testing.T) {
			held, there := make(chan struct{}), make(chan struct{})
			var once sync.Once
			f := serve(t, "127.0.0.1:0", func(f *fake) {
				f.say = func(_ int, line string) string {
					if strings.HasPrefix(line, stage) {
						once.Do(func() { close(there) })
						<-held
					}
					return ""
				}
			})
			defer close(held)
			h := empty(t, storage.Options{})
			mx(h.dns, "example.org", "127.0.0.1")
			registry := session.New(session.Options{Grace: time.Second})
			w := NewWorker(h.store, registry, h.dns, NewPolicies(h.store, h.dns, PolicyOptions{NoSTS: true}), NewSigner(h.store, SignOptions{}),
				Options{Port: f.port(), Family: IPv4Only, Name: "a.test"})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			h.send(storage.Outgoing{}, hello, "joe@example.org")
			<-there
			cancel()
			soon, stop := context.WithTimeout(t.Context(), patience) // without the drain it were minutes
			defer stop()
			if err := registry.Drain(soon); err != nil {
				t.Error(err)
			}
			if err := <-done; err != nil {
				t.Error(err)
			}
			if all := h.items(); len(all) != 1 || all[0].State != storage.QueueWaiting || all[0].Attempts != 0 {
				t.Errorf("%+v", all)
			}
		})
	}
}

// A domain that hangs holds its own mail alone.
func TestFairness(t *testing.T) {
	held := make(chan struct{})
	slow, fast := serveTwo(t, func(f *fake) {
		f.say = func(_ int, line string) string {
			if line == "connect" {
				<-held
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain, o.Concurrency = slow.port(), 2, 4
		mx(r, "slow.example.org", "127.0.0.1")
		mx(r, "fast.example.org", "127.0.0.2")
	})
	defer close(held)
	for i := range 200 {
		h.send(storage.Outgoing{}, hello, fmt.Sprintf("a%d@slow.example.org", i))
	}
	for range 20 {
		h.send(storage.Outgoing{}, hello, "b@fast.example.org")
	}
	h.until("the other domain's mail is through", func() bool { return len(fast.all()) == 20 })
	if n := len(slow.all()); n != 0 {
		t.Errorf("%d messages", n)
	}
	slow.mu.Lock()
	defer slow.mu.Unlock()
	if slow.conns > 2 {
		t.Errorf("%d connections to one domain, where 2 are allowed", slow.conns)
	}
}

// A domain whose host is silent has few connections; they become more with each that is answered.
func TestSlowStart(t *testing.T) {
	silent, busy := make(chan struct{}), make(chan struct{})
	slow, fast := serveTwo(t, func(f *fake) {
		f.say = func(_ int, line string) string {
			switch line {
			case "connect":
				<-silent
			case "end":
				<-busy
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.Timeouts = slow.port(), Timeouts{}
		mx(r, "slow.example.org", "127.0.0.1")
		mx(r, "fast.example.org", "127.0.0.2")
	})
	conns := func() int {
		slow.mu.Lock()
		defer slow.mu.Unlock()
		return slow.conns
	}
	for i := range 40 {
		h.send(storage.Outgoing{}, hello, fmt.Sprintf("a%d@slow.example.org", i))
	}
	h.until("the first connections", func() bool { return conns() == firstRunners })
	for range 20 {
		h.send(storage.Outgoing{}, hello, "b@fast.example.org")
	}
	h.until("the other domain's mail is through", func() bool { return len(fast.all()) == 20 })
	if n := conns(); n != firstRunners {
		t.Errorf("%d connections to a host that says nothing", n)
	}
	close(silent)
	h.until("as many as a domain may have", func() bool { return conns() == 10 })
	close(busy)
	h.empty()
	if n := conns(); n != 10 || len(slow.all()) != 40 {
		t.Errorf("%d messages on %d connections", len(slow.all()), n)
	}
}

// Of one lane's messages the important ones go first, and then one account's and another's in turn.
func TestTurns(t *testing.T) {
	l := &lane{}
	for _, j := range []storage.Leased{{ID: 1, Account: 1}, {ID: 2, Account: 1}, {ID: 3, Account: 1}, {ID: 4, Account: 2}, {ID: 5, Account: 3}, {ID: 6, Account: 3, Priority: 5}, {ID: 7, Account: 3, Priority: -1}} {
		l.put(&job{to: []storage.Leased{j}})
	}
	var got []int64
	for j := l.next(); j != nil; j = l.next() {
		got = append(got, j.to[0].ID)
	}
	if fmt.Sprint(got) != "[6 1 4 5 2 3 7]" {
		t.Errorf("%v", got)
	}
}

// A server that says one byte now and then has no more time than one that says nothing; one that takes no bytes is cut as well.
func TestSlow(t *testing.T) {
	for _, what := range []string{"greeting", "reply", "silent"} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				if what == "reply" {
					fmt.Fprint(c, "220 hello\r\n")
				}
				for what != "silent" {
					if _, err := c.Write([]byte("2")); err != nil {
						break
					}
					time.Sleep(20 * time.Millisecond)
				}
				if what == "silent" {
					c.Read(make([]byte, 1))
				}
				c.Close()
			}
		}()
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = ln.Addr().(*net.TCPAddr).Port
			o.Timeouts.Greeting, o.Timeouts.Command = 300*time.Millisecond, 300*time.Millisecond
			mx(r, "example.org", "127.0.0.1")
		})
		h.send(storage.Outgoing{}, hello, "joe@example.org")
		if q := h.tried(); !strings.Contains(q, "no answer in time") {
			t.Errorf("%s: %s", what, q)
		}
		h.until("no session is left", func() bool { return len(h.registry.List()) == 0 })
		ln.Close()
		<-done
	}
}

// fullDisk takes no new file while it is full.
type fullDisk struct {
	blob.Store
	full atomic.Bool
}

func (d *fullDisk) Stage(ctx context.Context) (blob.Staged, error) {
	if d.full.Load() {
		return nil, syscall.ENOSPC
	}
	return d.Store.Stage(ctx)
}

// A notice for which there is no room on the disk keeps no other mail from leaving, and is sent when there is.
func TestNoRoomForNotice(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if strings.HasPrefix(line, "RCPT TO:<nobody") {
				return "550 5.1.1 nobody"
			}
			return ""
		}
	})
	files, err := blob.OpenDisk(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	disk := &fullDisk{Store: files}
	h := empty(t, storage.Options{Blobs: disk, InlineMax: 1})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	for i := range 3 {
		h.send(storage.Outgoing{From: "ann@example.test"}, hello, fmt.Sprintf("nobody%d@example.org", i))
	}
	h.send(storage.Outgoing{From: "ann@example.test"}, hello, "joe@example.org", "nobody3@example.org")
	disk.full.Store(true)
	h.run(func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain = f.port(), 1
		mx(r, "example.org", "127.0.0.1")
	})
	h.until("what can be delivered is", func() bool { return len(f.all()) == 1 && len(h.items()) == 4 })
	for _, i := range h.items() {
		if !strings.HasPrefix(i.Address, "nobody") {
			t.Errorf("%s is left", i.Address)
		}
	}
	disk.full.Store(false)
	if _, err := h.store.RetryNow(t.Context(), storage.QueueFilter{}); err != nil {
		t.Fatal(err)
	}
	h.empty()
	if n := h.notices(ann); len(n) != 4 || len(f.all()) != 1 {
		t.Errorf("%d notices, %d messages", len(n), len(f.all()))
	}
}

// A session that a drain has ended sends no message any more: its reply would not be read, and it would arrive twice.
func TestDrainBetween(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	registry := session.New(session.Options{Grace: time.Second})
	for _, c := range []struct {
		name  string
		first func(*client) error
		ended bool
	}{
		{"before the message", func(*client) error { return nil }, true},
		{"while it is sent", (*client).busy, false},
	} {
		conn, err := registry.Dial(t.Context(), session.DialOptions{Protocol: session.SMTP, Address: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(f.port()))})
		if err != nil {
			t.Fatal(err)
		}
		x := &client{wire: wire{conn: conn}, ses: conn.Session(), doing: "sending"}
		x.ses.Park(x.doing)
		if err := c.first(x); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		x.ses.Kill(session.ErrDrain)
		if !c.ended {
			if x.ses.Context().Err() != nil {
				t.Errorf("%s: interrupted", c.name)
			}
		} else if f, ok := x.busy().(*failure); !ok || !ending(f) {
			t.Errorf("%s: %v", c.name, f)
		}
		x.close()
	}
	if err := registry.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// A store that cannot write (its disk is full) when the worker begins does not end the worker, and so the server.
func TestBeginsLater(t *testing.T) {
	h := empty(t, storage.Options{})
	w := NewWorker(h.store, session.New(session.Options{}), h.dns, NewPolicies(h.store, h.dns, PolicyOptions{NoSTS: true}), NewSigner(h.store, SignOptions{}), Options{})
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := w.Run(ctx); err != nil || ctx.Err() == nil {
		t.Errorf("it ended by itself: %v", err)
	}
}
