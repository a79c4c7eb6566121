package ftp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
	"github.com/packetboat/packetboat/storage/vfs"
)

func TestClientAddress(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.7": "192.0.2.7", "::ffff:192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "fe80::1%eth0": "fe80::/64", "::1": "::/64",
	} {
		if got := clientAddress(netip.MustParseAddr(in)); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
	if got := clientAddress(netip.Addr{}); got != "" {
		t.Errorf("no address: %q", got)
	}
}

func TestPartLine(t *testing.T) {
	cut := time.Date(2026, 11, 23, 9, 8, 7, 0, time.UTC)
	p := vfs.Part{Path: `/a; b "c"`, Size: 1 << 40, Cut: cut, Expires: cut.Add(48 * time.Hour)}
	const head = `1099511627776 /a; b "c"; cut 2026-11-23 09:08 UTC, kept until 2026-11-25 09:08 UTC; resume with REST 1099511627776 and STOR`
	for _, test := range []struct {
		old, converted bool
		want           string
	}{{false, false, ", or with APPE"}, {true, false, ""}, {false, true, ", or with APPE, in TYPE I"}, {true, true, ", in TYPE I"}} {
		p.Old = test.old
		if got := partLine(p, test.converted); got != head+test.want {
			t.Errorf("%+v: %s", test, got)
		}
	}
}

// back logs in where logins begin in the folder of the last session, and returns the reply.
func (h *house) back(addr, clnt string) (*peer, string) {
	h.t.Helper()
	p := h.dialAt(addr)
	if clnt != "" {
		p.cmd(200, "CLNT %s", clnt)
	}
	p.cmd(331, "USER ann@example.test")
	return p, strings.TrimSpace(p.cmd(230, "PASS secret"))
}

// TestRestore: whichever way a session ends, the next one of that program begins where it was; the name of a client can be anything.
func TestRestore(t *testing.T) {
	h := newHouse(t)
	addr := h.serveWith(h.door, Options{RestoreFolder: true}, session.ListenerOptions{IdleTimeout: 1500 * time.Millisecond})
	for name, end := range map[string]func(p *peer){
		"QUIT":   func(p *peer) { p.cmd(221, "QUIT") },
		"FIN":    func(p *peer) { p.conn.Close() },
		"RST":    func(p *peer) { p.raw.SetLinger(0); p.conn.Close() },
		"idle":   func(p *peer) { p.expect(421) },
		"kill":   func(p *peer) { h.reg.KillAccount(h.ann.ID, session.ErrKilled); p.expect(421) },
		"drain":  func(p *peer) { h.reg.KillAccount(h.ann.ID, session.ErrDrain); p.expect(421) },
		"queued": func(p *peer) { p.send("NOOP\r\nPWD\r\nQUIT"); p.expect(200); p.expect(257); p.expect(221) },
	} {
		folder := `/of "` + name + `"`
		if err := h.fs.Tree(h.ann).Mkdir(t.Context(), folder); err != nil {
			t.Fatal(err)
		}
		for _, clnt := range []string{name, name + strings.Repeat(" \u00e9", 200), "\xff\xfe" + name, ""} {
			if name == "idle" && clnt != name {
				continue // it takes long enough
			}
			p, _ := h.back(addr, clnt)
			p.cmd(250, "CWD %s", folder)
			end(p)
			p.conn.Close()
			eventually(t, "the session is gone", func() bool { return len(h.reg.List()) == 0 })
			p, got := h.back(addr, clnt)
			if want := "230 Welcome back, in " + quote(folder) + "."; got != want {
				t.Errorf("%s, %.20q: %q, want %q", name, clnt, got, want)
			}
			p.cmd(257, "PWD")
			p.cmd(250, "CWD /")
			p.cmd(221, "QUIT")
			eventually(t, "the session is gone", func() bool { return len(h.reg.List()) == 0 })
			p, got = h.back(addr, clnt)
			if clnt != "" && got != "230 Welcome." {
				t.Errorf("%s, %.20q: %q after a session at home", name, clnt, got)
			}
			p.conn.Close()
			eventually(t, "the session is gone", func() bool { return len(h.reg.List()) == 0 })
		}
	}
}

// TestRestoreForbidden: where the account may not be any more it does not begin; nor does one account where another was, nor a client where another program was.
func TestRestoreForbidden(t *testing.T) {
	h := newHouse(t)
	creds, err := auth.Credentials("secret")
	if err != nil {
		t.Fatal(err)
	}
	storagetest.Account(t, h.store, "joe@example.test", creds...)
	addr := h.listen(func(o *Options) { o.RestoreFolder = true })
	tree := h.fs.Tree(h.ann)
	for _, f := range []string{"/a", "/a/b", "/jail"} {
		if err := tree.Mkdir(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	p, _ := h.back(addr, "one 1.0")
	p.cmd(250, "CWD /a/b")
	p.cmd(200, "TYPE A")
	p.cmd(221, "QUIT")
	welcome := func(clnt, want string) *peer {
		t.Helper()
		p, got := h.back(addr, clnt)
		if got != want {
			t.Errorf("%s: %q, want %q", clnt, got, want)
		}
		return p
	}
	const there, home = `230 Welcome back, in "/a/b".`, "230 Welcome."
	welcome("two", home)
	welcome("one 2.0", there)
	welcome("", there)
	p = h.dialAt(addr)
	p.cmd(200, "CLNT one 1.0")
	p.cmd(331, "USER joe@example.test")
	if got := p.cmd(230, "PASS secret"); got != home+"\r\n" {
		t.Errorf("joe: %q", got)
	}
	if got := p.cmd(200, "SITE RESUME"); strings.Contains(got, "/a") {
		t.Errorf("joe is told %q", got)
	}
	p.cmd(550, "SITE RESUME CWD")

	set := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	set(h.store.SetPathRights(t.Context(), h.ann.ID, "/a", 0))
	p = welcome("one 1.0", home)
	p.cmd(550, "SITE RESUME CWD")
	p.cmd(257, "PWD")
	set(h.store.SetPathRights(t.Context(), h.ann.ID, "/a", storage.CanAll))
	welcome("one 1.0", there)
	set(h.store.SetJail(t.Context(), h.ann.ID, "/jail"))
	welcome("one 1.0", home)
}

// TestManyParts: the list of parts is bounded, one line for each.
func TestManyParts(t *testing.T) {
	h := newHouse(t)
	for i := range maxShown + 7 {
		h.part(fmt.Sprintf("/p%d; 230 ok", i), "x")
	}
	p := h.login()
	got := p.cmd(200, "SITE RESUME")
	if n := strings.Count(got, "; resume with REST 1 and STOR, or with APPE\r\n"); n != maxShown || !strings.Contains(got, " ... and 7 more\r\n") {
		t.Errorf("%d lines in\n%s", n, got)
	}
	for line := range strings.Lines(got) {
		if !strings.HasPrefix(line, "200") && !strings.HasPrefix(line, " ") || !strings.HasSuffix(line, "\r\n") {
			t.Errorf("the line %q", line)
		}
	}
}

// TestAnonymousVisit: the anonymous are told of nobody's place and parts, and leave none.
func TestAnonymousVisit(t *testing.T) {
	h := newHouse(t)
	if err := h.fs.Tree(h.ann).Mkdir(t.Context(), "/pub"); err != nil {
		t.Fatal(err)
	}
	h.part("/pub/secret.bin", "123")
	addr := h.listen(func(o *Options) { o.Anonymous, o.RestoreFolder = "ann", true })
	p, _ := h.back(addr, "lftp")
	p.cmd(250, "CWD /pub")
	p.cmd(221, "QUIT")
	for range 2 {
		p := h.dialAt(addr)
		p.cmd(200, "CLNT lftp")
		p.cmd(331, "USER anonymous")
		if got := p.cmd(230, "PASS x@example.net"); strings.Contains(got, "pub") {
			t.Errorf("%q", got)
		}
		if got := p.cmd(200, "SITE RESUME"); !strings.Contains(got, "Nothing is remembered") || !strings.Contains(got, "No interrupted uploads") {
			t.Errorf("%q", got)
		}
		p.cmd(550, "SITE RESUME CWD")
		p.cmd(550, "SITE RESUME FORGET")
		p.cmd(550, "SITE RESUME DROP /pub/secret.bin")
		p.cmd(257, "PWD")
		p.cmd(221, "QUIT")
	}
	if _, got := h.back(addr, "lftp"); got != `230 Welcome back, in "/pub".` {
		t.Errorf("ann: %q", got)
	}
}
