package outbound

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// with is the usual extensions and more.
func with(more ...string) []string { return append(usual[:len(usual):len(usual)], more...) }

// TLS is used when it is offered, whoever's certificate it is; where it fails and nothing forbids it, mail goes in clear.
func TestOpportunistic(t *testing.T) {
	config, _ := sessiontest.TLS(t)
	for _, c := range []struct {
		name   string
		set    func(*fake)
		secure bool
		conns  int
	}{
		{"offered", func(f *fake) { f.tls = config }, true, 1},
		{"not offered", func(f *fake) {}, false, 1},
		{"refused", func(f *fake) {
			f.tls = config
			f.say = func(_ int, line string) string {
				if line == "STARTTLS" {
					return "454 4.7.0 not now"
				}
				return ""
			}
		}, false, 1},
		{"broken", func(f *fake) { // it says 220 and closes
			f.ext = with("STARTTLS")
			f.say = func(_ int, line string) string {
				if line == "STARTTLS" {
					return "last 220 go on"
				}
				return ""
			}
		}, false, 2},
	} {
		f := serve(t, "127.0.0.1:0", c.set)
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
		})
		h.send(storage.Outgoing{}, hello, "joe@example.org")
		h.empty()
		if all := f.all(); len(all) != 1 || all[0].secure != c.secure {
			t.Errorf("%s: %+v", c.name, all)
		}
		f.mu.Lock()
		if f.conns != c.conns {
			t.Errorf("%s: %d connections", c.name, f.conns)
		}
		f.mu.Unlock()
	}
}

// What a stranger puts behind the 220 of STARTTLS is no reply of the server (RFC 3207 section 4.2), and what EHLO offered in clear does not hold.
func TestInjection(t *testing.T) {
	config, _ := sessiontest.TLS(t)
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.tls = config
		f.say = func(_ int, line string) string {
			if line == "STARTTLS" {
				return "220 go on\n250-evil\n250 SIZE 1"
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1")
	})
	h.send(storage.Outgoing{}, hello, "joe@example.org")
	h.empty()
	if all := f.all(); len(all) != 1 || !all[0].secure {
		t.Errorf("%+v", all)
	}
}

// A route's server must prove what the route says, and gets the password only then.
func TestRoute(t *testing.T) {
	config, client := sessiontest.TLS(t)
	pass := filepath.Join(t.TempDir(), "pass")
	os.WriteFile(pass, []byte("secret\n"), 0o600)
	for _, c := range []struct {
		route, ext, want string
		tls, roots       bool
	}{
		{"smtp://joe@localhost:%d?password_file=" + pass, "AUTH PLAIN LOGIN", "AUTH PLAIN AGpvZQBzZWNyZXQ=", true, true},
		{"smtp://joe@localhost:%d?password_file=" + pass, "AUTH LOGIN", "AUTH LOGIN", true, true},
		{"smtp://joe@localhost:%d?password_file=" + pass, "AUTH PLAIN", "certificate", true, false},
		{"smtp://joe@localhost:%d?password_file=" + pass, "AUTH PLAIN", "does not offer STARTTLS", false, true},
		{"smtp://joe:secret@localhost:%d?tls=opportunistic", "AUTH PLAIN", "no mechanism that hides the password", false, true},
		{"smtp://localhost:%d?tls=required", "", "MAIL FROM", true, false},
		{"localhost:%d", "", "MAIL FROM", false, false},
		{"[127.0.0.1]:%d", "", "MAIL FROM", false, false},
	} {
		f := serve(t, "127.0.0.1:0", func(f *fake) {
			f.ext = with(c.ext)
			if c.tls {
				f.tls = config
			}
			f.say = func(_ int, line string) string {
				switch line {
				case "AUTH LOGIN":
					return "334 VXNlcm5hbWU6"
				case "am9l":
					return "334 UGFzc3dvcmQ6"
				case "c2VjcmV0", "AUTH PLAIN AGpvZQBzZWNyZXQ=":
					return "235 2.7.0 yes"
				}
				return ""
			}
		})
		h := build(t, func(o *Options, r *dns.MockResolver) {
			routes, err := ParseRoutes("*: " + fmt.Sprintf(c.route, f.port()))
			if err != nil {
				t.Fatal(err)
			}
			o.Routes = routes
			r.A["localhost."] = []string{"127.0.0.1"}
			if c.roots {
				o.Roots = client.RootCAs
			}
		})
		h.send(storage.Outgoing{}, hello, "joe@example.org")
		if strings.HasPrefix(c.want, "AUTH") || c.want == "MAIL FROM" {
			h.empty()
			if len(f.all()) != 1 || !strings.Contains(f.said(), c.want) || f.all()[0].secure != c.tls {
				t.Errorf("%s (%s): %s", c.route, c.ext, f.said())
			}
			continue
		}
		if q := h.tried(); !strings.Contains(q, c.want) || strings.Contains(f.said(), "AUTH") || len(f.all()) > 0 {
			t.Errorf("%s (%s): %s\n%s", c.route, c.ext, q, f.said())
		}
	}
}

// Rules of routes, and what is none.
func TestRoutes(t *testing.T) {
	r, err := ParseRoutes("domain example.com: smtp://[10.0.0.1]:25, domain *.example.net: lmtp://10.0.0.2, sender our.test: smtps://joe:pa%2Css@relay.test, account ann@our.test: 10.0.0.3:2525, account *@other.test: direct, *: relay2.test:587")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ domain, sender, account, want string }{
		{"example.com", "x@our.test", "", "10.0.0.1:25"},
		{"a.example.net", "", "", "10.0.0.2:24"},
		{"example.net", "", "", "relay2.test:587"},
		{"x.test", "x@OUR.test", "ann@our.test", "relay.test:465"},
		{"x.test", "x@y.test", "Ann@our.test", "10.0.0.3:2525"},
		{"x.test", "x@y.test", "eve@other.test", "direct"},
		{"x.test", "x@y.test", "", "relay2.test:587"},
	} {
		way := r.For(c.domain, c.sender, c.account)
		got := fmt.Sprintf("%s:%d", way.Host, way.Port)
		if way.Direct {
			got = "direct"
		}
		if got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if w := r.For("x.test", "x@our.test", ""); w.Password != "pa,ss" || w.TLS != Verified || !w.Implicit {
		t.Errorf("%+v", w)
	}
	if Routes(nil).For("x.test", "", "") != &direct {
		t.Error("no rules, and not direct")
	}
	for _, bad := range []string{"example.com", "domain: x:25", "host x: y:25", "*: http://x", "*: smtp://", "*: x:0", "*: x:99999", "*: smtp://u@x", "*: smtp://x?tls=maybe", "*: smtp://x?y=z",
		"*: smtp://x/path", "*: smtp://u@x?password_file=/nonexistent", "*: smtp://u@x?password_env=PACKETBOAT_NONE"} {
		if _, err := ParseRoutes(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
	if _, err := ParseRoutes("*: ftp://u:secret@x"); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("an error tells the password: %v", err)
	}
}

// Parameters go to servers that know them, and only there.
func TestParameters(t *testing.T) {
	by := time.Now().Add(time.Hour)
	full := storage.Outgoing{From: "ann@packetboat.test", EnvelopeID: "a b+=", Return: "HDRS", Priority: 3, ByMode: "NT", By: by,
		Recipients: []storage.OutgoingRecipient{{Address: "joe@example.org", Notify: "SUCCESS,FAILURE", Original: "rfc822;joe+x@example.org"}}}
	for _, c := range []struct {
		ext  []string
		out  storage.Outgoing
		mail string
		rcpt string
	}{
		{[]string{"PIPELINING"}, full, "", "<joe@example.org>"},
		{[]string{"SIZE", "DSN", "MT-PRIORITY", "DELIVERBY 30"}, full, " SIZE=57 RET=HDRS ENVID=a+20b+2B+3D MT-PRIORITY=3 BY=", "<joe@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;joe+2Bx@example.org"},
		{[]string{"dsn", "size 5000"}, storage.Outgoing{Recipients: []storage.OutgoingRecipient{{Address: "joe@bücher.test"}}}, " SIZE=57", "<joe@xn--bcher-kva.test>"},
		{usual, storage.Outgoing{UTF8: true, Recipients: []storage.OutgoingRecipient{{Address: "jösé@example.org", Original: "utf-8;jösé@example.org"}}}, " SIZE=57 SMTPUTF8", `<jösé@example.org> ORCPT=utf-8;j\x{F6}s\x{E9}@example.org`},
	} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = c.ext })
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
			mx(r, "xn--bcher-kva.test", "127.0.0.1")
		})
		storagetest.Account(t, h.store, "ann@example.test")
		h.send(c.out, "From: ann@packetboat.test\nSubject: hello\n\nline\n.dot\n")
		h.empty()
		all := f.all()
		if len(all) != 1 || !strings.HasPrefix(all[0].args, c.mail) || c.mail == "" && all[0].args != "" || all[0].to[0] != c.rcpt {
			t.Errorf("%v: %+v", c.ext, all)
		}
	}
}

// What a server cannot take comes back, with the status that says why.
func TestCannot(t *testing.T) {
	late := time.Now().Add(-time.Minute)
	for _, c := range []struct {
		ext  []string
		out  storage.Outgoing
		body string
		to   string
		want string
	}{
		{[]string{"PIPELINING", "8BITMIME"}, storage.Outgoing{UTF8: true}, hello, "jösé@example.org", "Status: 5.6.7"},
		{[]string{"PIPELINING", "8BITMIME"}, storage.Outgoing{UTF8: true}, "Subject: Grüße\n\nx\n", "joe@example.org", "Status: 5.6.7"},
		{[]string{"SIZE 20"}, storage.Outgoing{}, hello, "joe@example.org", "Status: 5.3.4"},
		{[]string{"PIPELINING"}, storage.Outgoing{}, "Content-Type: multipart/signed; boundary=x\n\n--x\nContent-Type: text/plain\n\nGrüße\n--x\n\nsig\n--x--\n", "joe@example.org", "Status: 5.6.3"},
		{usual, storage.Outgoing{ByMode: "R", By: time.Now().Add(time.Hour)}, hello, "joe@example.org", "Status: 5.4.7"},
		{with("DELIVERBY 7200"), storage.Outgoing{ByMode: "R", By: time.Now().Add(time.Hour)}, hello, "joe@example.org", "Status: 5.4.7"},
		{with("DELIVERBY"), storage.Outgoing{ByMode: "R", By: late}, hello, "joe@example.org", "Status: 5.4.7"},
	} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = c.ext })
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
		})
		ann := storagetest.Account(t, h.store, "ann@example.test")
		c.out.From, c.out.Account = "ann@example.test", ann.ID
		h.send(c.out, c.body, c.to)
		if got := h.ends(ann, 0); !strings.HasPrefix(got, "failed") || !strings.Contains(got, c.want) || len(f.all()) > 0 {
			t.Errorf("%v %q: want %s, got %s", c.ext, c.body, c.want, got)
		}
	}
}

// RFC 3461 section 5.2.2: behind a server that knows no DSN nobody else tells the sender. One that does know it tells itself.
func TestRelayed(t *testing.T) {
	for _, ext := range [][]string{usual, {"PIPELINING"}} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = ext })
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
		})
		ann := storagetest.Account(t, h.store, "ann@example.test")
		h.send(storage.Outgoing{From: "ann@example.test", Recipients: []storage.OutgoingRecipient{{Address: "joe@example.org", Notify: "SUCCESS"}}}, hello)
		h.empty()
		n := h.notices(ann)
		if len(ext) > 1 && len(n) != 0 || len(ext) == 1 && (len(n) != 1 || !strings.Contains(n[0], "Action: relayed")) {
			t.Errorf("%v: %q", ext, n)
		}
	}
}

// RFC 2852 section 4.1: who asks for a trace hears of each server that the message went on to, and with mode N of one that knows no BY.
func TestRelayedBy(t *testing.T) {
	for _, c := range []struct {
		ext          []string
		mode, notify string
		want         bool
	}{
		{with("DELIVERBY"), "NT", "", true},
		{with("DELIVERBY"), "RT", "", true},
		{with("DELIVERBY"), "RT", "NEVER", false},
		{with("DELIVERBY"), "RT", "FAILURE", false},
		{with("DELIVERBY"), "N", "", false},
		{with("DELIVERBY"), "R", "", false},
		{usual, "N", "", true},
		{usual, "N", "DELAY,FAILURE", true},
		{usual, "N", "NEVER", false},
		{usual, "", "", false},
	} {
		f := serve(t, "127.0.0.1:0", func(f *fake) { f.ext = c.ext })
		h := build(t, func(o *Options, r *dns.MockResolver) {
			o.Port = f.port()
			mx(r, "example.org", "127.0.0.1")
		})
		ann := storagetest.Account(t, h.store, "ann@example.test")
		h.send(storage.Outgoing{From: "ann@example.test", ByMode: c.mode, By: time.Now().Add(time.Hour),
			Recipients: []storage.OutgoingRecipient{{Address: "joe@example.org", Notify: c.notify}}}, hello)
		h.empty()
		if n := h.notices(ann); c.want != (len(n) == 1 && strings.Contains(n[0], "Action: relayed")) || len(f.all()) != 1 {
			t.Errorf("BY mode %q, NOTIFY %q, %v: %q", c.mode, c.notify, c.ext, n)
		}
	}
}

// LMTP: a reply for each recipient (RFC 2033 section 4.2).
func TestLMTP(t *testing.T) {
	f := serve(t, "127.0.0.1:0", func(f *fake) {
		f.lmtp = true
		f.say = func(_ int, line string) string {
			if line == "end" {
				return "250 2.1.5 a\n452 4.2.2 full\n250 2.1.5 c"
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Routes, _ = ParseRoutes(fmt.Sprintf("*: lmtp://127.0.0.1:%d", f.port()))
	})
	h.send(storage.Outgoing{}, hello, "a@example.org", "b@example.org", "c@example.org")
	if q := h.tried(); !strings.Contains(q, "b@example.org waiting attempts 1: 4.2.2") || len(f.all()) != 2 || !strings.Contains(f.said(), "LHLO ") {
		t.Errorf("%s %+v", q, f.all())
	}
}

// Sessions to other servers are in the list while mail is under way, with whose it is; killing one puts the message off, and it is not sent elsewhere at once.
func TestSessions(t *testing.T) {
	held := make(chan struct{})
	f, g := serveTwo(t, func(f *fake) {
		f.say = func(_ int, line string) string {
			if line == "end" {
				<-held
			}
			return ""
		}
	})
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "example.org", "127.0.0.1", "127.0.0.2")
	})
	defer close(held)
	ann := storagetest.Account(t, h.store, "ann@example.test")
	h.send(storage.Outgoing{From: "ann@example.test", Account: ann.ID, Queue: "01QUEUE"}, hello, "joe@example.org")
	var i session.Info
	h.until("a session", func() bool {
		for _, x := range h.registry.List() {
			i = x
		}
		return strings.HasPrefix(i.Activity, "sending")
	})
	if i.Direction != "out" || i.Protocol != session.SMTP || i.Account != "ann@example.test" || i.Activity != "sending 01QUEUE to joe@example.org" || i.Client != "mx1.example.org" {
		t.Errorf("%+v", i)
	}
	s, _ := h.registry.Get(i.ID)
	s.Kill(nil)
	if q := h.tried(); !strings.Contains(q, "4.3.2 the connection was ended here: session killed") || len(g.all()) != 0 {
		t.Errorf("%s %+v", q, g.all())
	}
}
