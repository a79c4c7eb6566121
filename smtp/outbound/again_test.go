package outbound

import (
	"crypto/tls"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// A refusal leaves the connection good for the next message, whatever was sent ahead of it.
func TestAfterRefusal(t *testing.T) {
	for _, ext := range [][]string{usual, with("CHUNKING"), {"8BITMIME"}} {
		for _, at := range []string{"MAIL FROM:<bad@", "RCPT TO:<bad@", "end"} {
			f := serve(t, "127.0.0.1:0", func(f *fake) {
				f.ext = ext
				refused := false
				f.say = func(_ int, line string) string {
					if strings.HasPrefix(line, at) && !refused {
						refused = true
						return "550 5.7.1 not that one"
					}
					return ""
				}
			})
			h := build(t, func(o *Options, r *dns.MockResolver) {
				o.Port, o.PerDomain = f.port(), 1
				mx(r, "example.org", "127.0.0.1")
			})
			storagetest.Account(t, h.store, "bad@example.test")
			h.send(storage.Outgoing{From: "bad@example.test"}, hello, "bad@example.org")
			h.empty()
			h.send(storage.Outgoing{}, hello, "joe@example.org")
			h.empty()
			good := 0
			for _, m := range f.all() {
				if m.body != "" && m.to[0] == "<joe@example.org>" && len(m.to) == 1 {
					good++
				}
			}
			f.mu.Lock()
			if good != 1 || f.conns != 1 {
				t.Errorf("%v, refused at %s: %d connections, %+v", ext, at, f.conns, f.mails)
			}
			f.mu.Unlock()
		}
	}
}

// Put off first and taken later, once.
func TestGreylisted(t *testing.T) {
	n := 0
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.say = func(_ int, line string) string {
			if strings.HasPrefix(line, "RCPT") {
				if n++; n < 3 {
					return "451 4.7.1 greylisted"
				}
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		o.Schedule.Retry = []time.Duration{time.Second}
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.empty()
	if all := f.all(); len(all) != 1 || n != 3 {
		t.Errorf("%d attempts: %+v", n, all)
	}
}

// REQUIRETLS (RFC 8689) is for servers that promise the same; it is not sent in clear.
func TestRequireTLS(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = with("REQUIRETLS") })
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	h.send(storage.Outgoing{From: "ann@example.test", RequireTLS: true}, hello, "joe@example.org")
	if got := h.ends(ann, 0); got == "delivered" || len(f.all()) != 0 {
		t.Errorf("%s: %+v", got, f.all())
	}
}

// What the DNS says is on this machine is no server of others, when that is asked for.
func TestNoLoopback(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.NoLoopback = f.port(), true
		mx(r, "example.org", "127.0.0.1")
		mx(r, "zero.example.org", "0.0.0.0")
	})
	ann := storagetest.Account(t, h.store, "ann@example.test")
	for i, to := range []string{"joe@example.org", "joe@zero.example.org"} {
		h.send(storage.Outgoing{From: "ann@example.test"}, hello, to)
		h.empty()
		if n := h.notices(ann); len(n) != i+1 || !strings.Contains(n[i], "Status: 5.") {
			t.Errorf("%s: %q", to, n)
		}
	}
	if len(f.all()) != 0 {
		t.Errorf("%+v", f.all())
	}
}

// Many recipients of one domain go together, a hundred at a time.
func TestMany(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	var to []string
	for i := range 250 {
		to = append(to, fmt.Sprintf("a%d@example.org", i))
	}
	h.send(storage.Outgoing{}, hello, to...)
	h.empty()
	seen := map[string]int{}
	for _, m := range f.all() {
		for _, a := range m.to {
			seen[a]++
		}
		if len(m.to) > maxBatch {
			t.Errorf("%d recipients at a time", len(m.to))
		}
	}
	if len(seen) != 250 || len(f.all()) > 20 {
		t.Errorf("%d recipients in %d messages", len(seen), len(f.all()))
	}
}

// Where no more connections may be opened, mail waits a little, and nothing is held against the host.
func TestOutgoingLimit(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := empty(t, storage.Options{})
	h.registry = sessiontest.New(t, session.Options{Limits: session.Limits{Outgoing: 1}})
	taken, err := h.registry.Dial(t.Context(), session.DialOptions{Protocol: session.SMTP, Address: netip.MustParseAddrPort(f.ln.Addr().String())})
	if err != nil {
		t.Fatal(err)
	}
	h.run(func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.until("put off", func() bool {
		all := h.items()
		return all[0].State == storage.QueueWaiting && all[0].Due.After(time.Now().Add(2*time.Second))
	})
	if i := h.items()[0]; i.Attempts != 0 || len(h.worker.down) != 0 {
		t.Errorf("%+v, %v", i, h.worker.down)
	}
	taken.Close()
	if _, err := h.store.RetryNow(t.Context(), storage.QueueFilter{}); err != nil {
		t.Fatal(err)
	}
	h.empty()
}

// A server that ends each conversation with 421 is not spoken to again and again.
func TestGoodbye(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.ext = with("LIMITS RCPTMAX=10")
		f.say = func(_ int, line string) string {
			if line == "end" {
				return "421 4.3.2 enough"
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port, o.PerDomain = f.port(), 1
		mx(r, "example.org", "127.0.0.1")
	})
	var to []string
	for i := range 30 {
		to = append(to, fmt.Sprintf("a%d@example.org", i))
	}
	h.send(storage.Outgoing{}, hello, to...)
	h.until("each is put off", func() bool {
		tried := 0
		for _, i := range h.items() {
			if i.State != storage.QueueWaiting || !i.Due.After(time.Now().Add(2*time.Second)) {
				return false
			}
			tried += i.Attempts
		}
		return tried >= 10
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.conns > 3 {
		t.Errorf("%d connections", f.conns)
	}
}

// REQUIRETLS holds on the way to a relay of ours too: it has to prove its name, and to promise the same (RFC 8689 section 4.2.1).
func TestRequireTLSRelay(t *testing.T) {
	ca := newAuthority(t)
	later := time.Now().Add(time.Hour)
	good, bad := ca.issue(t, later, "relay.test"), newAuthority(t).issue(t, later, "relay.test")
	for _, c := range []struct {
		name, route, ext string
		cert             *tls.Certificate
		arrives          bool
	}{
		{"it promises", "smtp://relay.test:%d", "REQUIRETLS", &good, true},
		{"it promises nothing", "smtp://relay.test:%d", "", &good, false},
		{"it is somebody else", "smtp://relay.test:%d", "REQUIRETLS", &bad, false},
		{"it may be anybody for other mail", "smtp://relay.test:%d?tls=required", "REQUIRETLS", &bad, false},
		{"in clear", "smtp://relay.test:%d", "REQUIRETLS", nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, "127.0.0.1:0", func(f *fake) {
				if f.ext = with(c.ext); c.ext == "" {
					f.ext = usual
				}
				if c.cert != nil {
					f.tls = &tls.Config{Certificates: []tls.Certificate{*c.cert}}
				}
			})
			h := build(t, func(o *Options, r *dns.MockResolver) {
				o.Routes, _ = ParseRoutes("*: " + fmt.Sprintf(c.route, f.port()))
				o.Roots = ca.pool
				r.A["relay.test."] = []string{"127.0.0.1"}
			})
			storagetest.Account(t, h.store, "ann@example.test")
			h.send(storage.Outgoing{From: "ann@example.test", RequireTLS: true}, hello, "joe@example.org")
			h.until("tried", func() bool {
				all := h.items()
				return len(all) == 0 || all[0].Attempts > 0
			})
			if all := f.all(); (len(all) == 1) != c.arrives || c.arrives && (!all[0].secure || !strings.Contains(all[0].args, "REQUIRETLS")) {
				t.Errorf("%+v", all)
			}
		})
	}
}

// While a host is known not to answer it is not asked, which counts as no attempt; an administrator's retry asks it all the same.
func TestDownIsNoAttempt(t *testing.T) {
	port, listen := reserve(t)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = port
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.until("tried once", func() bool { return h.items()[0].Attempts == 1 && h.items()[0].State == storage.QueueWaiting })
	first := h.items()[0].Due
	for range 3 {
		if _, err := h.store.RetryNow(t.Context(), storage.QueueFilter{}); err != nil {
			t.Fatal(err)
		}
		h.until("put off", func() bool {
			i := h.items()[0]
			return i.State == storage.QueueWaiting && i.Due.After(time.Now().Add(10*time.Second)) && i.Due.Before(first)
		})
		if i := h.items()[0]; i.Attempts != 1 {
			t.Fatalf("a host that was not asked counts: %+v", i)
		}
	}
	serveOn(t, listen(), nil)
	h.worker.Afresh()
	if _, err := h.store.RetryNow(t.Context(), storage.QueueFilter{}); err != nil {
		t.Fatal(err)
	}
	h.empty()
}
