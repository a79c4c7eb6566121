package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/vfs"
)

// noise is n bytes that do not repeat, with every kind of line end among them.
func noise(n int) string {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return string(b)
}

// TestTransfer: bytes come and go unchanged, by every kind of data connection.
func TestTransfer(t *testing.T) {
	h := newHouse(t)
	logins := map[string]func() *peer{
		"plain":  h.login,
		"tls1.3": func() *peer { return h.secureLogin(tls.VersionTLS13) },
		"tls1.2": func() *peer { return h.secureLogin(tls.VersionTLS12) },
	}
	for name, login := range logins {
		t.Run(name, func(t *testing.T) {
			p := login()
			p.t = t
			for _, size := range []int{0, 1, 4096, 100_000, 3_000_000} {
				data := noise(size)
				path := fmt.Sprintf("/%s-%d", name, size)
				if code := p.stor(data, "STOR %s", path); code != 226 {
					t.Fatal(size, code)
				}
				if got, ok := h.get(path); got != data || !ok {
					t.Fatalf("%d: stored %d bytes, %v", size, len(got), ok)
				}
				p.cmd(200, "TYPE A") // changes nothing
				if got := p.retr("RETR %s", path); got != data {
					t.Fatalf("%d: %d bytes came back", size, len(got))
				}
				p.cmd(200, "TYPE I")
				p.cmd(350, "REST %d", size/2)
				if got := p.retr("RETR %s", path); got != data[size/2:] {
					t.Fatalf("%d: REST: %d bytes came back", size, len(got))
				}
				p.cmd(213, "SIZE %s", path)
			}
			if code := p.stor("tail", "APPE /%s-4096", name); code != 226 {
				t.Fatal(code)
			}
			if got, _ := h.get("/" + name + "-4096"); got != noise(4096)+"tail" {
				t.Fatal("APPE")
			}
			p.cmd(221, "QUIT")
		})
	}
}

func TestStou(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "old")
	p := h.login()
	if code := p.stor("one", "STOU a"); code != 226 {
		t.Fatal(code)
	}
	if got, _ := h.get("/a"); got != "old" {
		t.Fatal("STOU replaced a file")
	}
	if got, _ := h.get("/a.1"); got != "one" {
		t.Fatal(got)
	}
	conn := p.open("STOU")
	conn.Close()
	p.expect(226)
}

// TestActive: the server connects to the client.
func TestActive(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
		p := login()
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		port := ln.Addr().(*net.TCPAddr).Port
		p.cmd(200, "PORT 127,0,0,1,%d,%d", port>>8, port&255)
		p.cmd(150, "RETR a")
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if p.prot {
			conn = tls.Client(conn, p.tls)
		}
		if b, err := io.ReadAll(conn); string(b) != "content" || err != nil {
			t.Fatal(b, err)
		}
		conn.Close()
		p.expect(226)
		// nobody listens
		ln.Close()
		p.cmd(200, "EPRT |1|127.0.0.1|%d|", port)
		p.cmd(150, "STOR b")
		p.expect(425)
	}
	if _, ok := h.get("/b"); ok {
		t.Fatal("STOR without a data connection made a file")
	}
}

// TestNothingWithoutData: STOR changes nothing until a data connection has brought something.
func TestNothingWithoutData(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout = 200 * time.Millisecond })
	h.put("/a", "old")
	p := h.login()
	p.cmd(425, "STOR a")
	p.epsv()
	p.cmd(150, "STOR a")
	p.expect(425)
	p.cmd(213, "SIZE a")
	if got, _ := h.get("/a"); got != "old" {
		t.Fatal(got)
	}
	if _, err := h.fs.Tree(h.ann).Partial(context.Background(), "/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal("a part of nothing was kept")
	}
}

// cutUpload begins an upload of half of data over old, lets cut end it, and waits until the part is kept.
func cutUpload(t *testing.T, h *house, p *peer, cut func(data net.Conn)) {
	t.Helper()
	ctx := context.Background()
	tree := h.fs.Tree(h.ann)
	h.put("/a", "old")
	conn := p.open("STOR a")
	if _, err := io.WriteString(conn, noise(200_000)[:100_000]); err != nil {
		t.Fatal(err)
	}
	eventually(t, "bytes are counted", func() bool { return strings.Contains(p.cmd(211, "STAT"), ": 100000 bytes") })
	cut(conn)
	eventually(t, "part kept", func() bool { n, err := tree.Partial(ctx, "/a"); return err == nil && n == 100_000 })
	if got, _ := h.get("/a"); got != "old" {
		t.Fatalf("the old file was touched: %d bytes", len(got))
	}
}

// TestCutUpload: an upload that is cut, in whatever way, leaves the old file and a part that can be resumed.
func TestCutUpload(t *testing.T) {
	reset := func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }
	raw := func(c net.Conn) *net.TCPConn { return c.(*tls.Conn).NetConn().(*net.TCPConn) }
	plain := func(h *house) *peer { return h.login() }
	tls12 := func(h *house) *peer { return h.secureLogin(tls.VersionTLS12) }
	tls13 := func(h *house) *peer { return h.secureLogin(tls.VersionTLS13) }
	tests := []struct {
		name  string
		login func(*house) *peer
		cut   func(h *house, p *peer, c net.Conn)
		code  int // 0: no reply is read
	}{
		{"plain reset", plain, func(_ *house, _ *peer, c net.Conn) { reset(c) }, 426},
		{"plain, client dies", plain, func(_ *house, p *peer, c net.Conn) { p.raw.Close(); c.Close() }, 0},
		{"plain, control is reset", plain, func(_ *house, p *peer, c net.Conn) { reset(p.raw); c.Close() }, 0},
		{"tls 1.2 truncated", tls12, func(_ *house, _ *peer, c net.Conn) { raw(c).CloseWrite() }, 426},
		{"tls 1.3 truncated", tls13, func(_ *house, _ *peer, c net.Conn) { raw(c).CloseWrite() }, 426},
		{"tls reset", tls13, func(_ *house, _ *peer, c net.Conn) { reset(raw(c)) }, 426},
		{"abort", plain, func(_ *house, p *peer, c net.Conn) { p.send("ABOR") }, 426},
		{"kill", plain, func(h *house, _ *peer, _ net.Conn) { kill(h) }, 426},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := newHouse(t)
			p := tt.login(h)
			cutUpload(t, h, p, func(c net.Conn) { tt.cut(h, p, c) })
			if tt.code == 0 {
				return
			}
			p.expect(tt.code)
			switch tt.name {
			case "kill":
				p.expect(421)
				return
			case "abort":
				p.expect(226)
			}
			data := noise(200_000)
			if strings.HasPrefix(tt.name, "tls") {
				p.cmd(350, "REST 100000")
				if code := p.stor(data[100_000:], "STOR a"); code != 226 {
					t.Fatal(code)
				}
				if got, _ := h.get("/a"); got != data {
					t.Fatalf("resumed: %d bytes", len(got))
				}
			}
		})
	}
}

// TestResumeNewFile: where there is no file yet, SIZE tells where to go on.
func TestResumeNewFile(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	data := noise(50_000)
	conn := p.open("STOR new")
	io.WriteString(conn, data[:20_000])
	eventually(t, "bytes are counted", func() bool { return h.reg.List()[0].BytesIn >= 20_000 })
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	p.expect(426)
	p.cmd(550, "MDTM new")
	if text := p.cmd(213, "SIZE new"); text != "213 20000\r\n" {
		t.Fatal(text)
	}
	if code := p.stor(data[20_000:], "APPE new"); code != 226 {
		t.Fatal(code)
	}
	if got, _ := h.get("/new"); got != data {
		t.Fatalf("%d bytes", len(got))
	}
}

// TestDeletePart: what was kept of a cut upload counts in the quota and is nowhere to be seen, so DELE takes it away, alone or with the file.
func TestDeletePart(t *testing.T) {
	h := newHouse(t)
	h.put("/old", "old")
	p := h.login()
	tree, ctx := h.fs.Tree(h.ann), t.Context()
	for _, name := range []string{"new", "old"} {
		w, err := tree.Create(ctx, "/"+name, vfs.CreateOptions{Expect: -1})
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, "part")
		if err := w.Abort(ctx, true); err != nil {
			t.Fatal(err)
		}
		p.cmd(250, "DELE %s", name)
		p.cmd(550, "SIZE %s", name)
		p.cmd(550, "DELE %s", name)
	}
	if used, _, err := tree.Usage(ctx); err != nil || used != 0 {
		t.Fatal(used, err)
	}
}

// TestAppendBesideAPart: APPE appends to the file that is there (RFC 959 section 4.1.3), whatever was to replace it and was cut.
func TestAppendBesideAPart(t *testing.T) {
	h := newHouse(t)
	h.put("/log", "one,")
	w, err := h.fs.Tree(h.ann).Create(t.Context(), "/log", vfs.CreateOptions{Expect: -1})
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "X")
	if err := w.Abort(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	p := h.login()
	if code := p.stor("two", "APPE log"); code != 226 {
		t.Fatal(code)
	}
	if got, _ := h.get("/log"); got != "one,two" {
		t.Fatal(got)
	}
	p.cmd(350, "REST 100")
	p.epsv()
	p.cmd(554, "STOR log")
}

// TestDownloadCut: a download that ends early never looks whole, and the session goes on.
func TestDownloadCut(t *testing.T) {
	h := newHouse(t)
	h.put("/big", noise(20_000_000))
	p := h.login()
	conn := p.open("RETR big")
	io.CopyN(io.Discard, conn, 100_000)
	p.send("NOOP")
	p.send("ABOR")
	p.expect(426)
	p.expect(200)
	p.expect(226)
	if _, err := io.Copy(io.Discard, conn); err == nil {
		t.Error("an aborted download ends like a whole one")
	}
	// The client goes away.
	conn = p.open("RETR big")
	io.CopyN(io.Discard, conn, 100_000)
	conn.(*net.TCPConn).SetLinger(0)
	conn.Close()
	p.expect(426)
	p.cmd(350, "REST 20000001")
	p.epsv()
	p.cmd(554, "RETR big")
}

// TestStall: a peer that takes nothing, or sends nothing, is cut.
func TestStall(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.StallTimeout = 200 * time.Millisecond })
	h.put("/big", noise(20_000_000))
	for _, p := range []*peer{h.login(), h.secureLogin(0)} {
		p.open("RETR big")
		p.expect(426)
		p.open("STOR silent")
		p.expect(426)
	}
}

// TestStatusDuringTransfer: STAT is answered at once and in the session list the transfer is seen.
func TestStatusDuringTransfer(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	conn := p.open("STOR a")
	io.WriteString(conn, "12345")
	eventually(t, "bytes are counted", func() bool { return strings.Contains(p.cmd(211, "STAT"), "STOR /a: 5 bytes") })
	info := h.reg.List()[0]
	if info.State != session.Busy || info.Open != "/a" || !strings.HasPrefix(info.Activity, "STOR ") {
		t.Fatalf("%+v", info)
	}
	conn.Close()
	p.expect(226)
	eventually(t, "idle", func() bool { return h.reg.List()[0].State == session.Idle })
}

// TestStatusInTurn: STAT is answered during a transfer, but not before its 150, nor before commands that wait already.
func TestStatusInTurn(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "12345")
	p := h.login()
	p.epsv()
	io.WriteString(p.conn, "RETR missing\r\nSTAT\r\nNOOP\r\n")
	p.expect(550)
	p.expect(211)
	p.expect(200)
	conn := p.open("STOR b")
	io.WriteString(p.conn, "SIZE a\r\nSTAT\r\nNOOP\r\n")
	conn.Close()
	p.expect(226)
	p.expect(213)
	p.expect(211)
	p.expect(200)
}

// TestQueue: lines sent during a transfer wait for it, more than the queue holds too, and QUIT comes last.
func TestQueue(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	conn := p.open("STOR a")
	lines := strings.Repeat("NOOP\r\n", 600) + strings.Repeat("NOOP "+strings.Repeat("x", 1000)+"\r\nNONSENSE\r\n", 150) + "QUIT\r\n"
	io.WriteString(p.conn, lines)
	io.WriteString(conn, "12345")
	conn.Close()
	p.expect(226)
	for range 600 {
		p.expect(200)
	}
	for range 150 {
		p.expect(200)
		p.expect(500)
	}
	p.expect(221)
	if _, _, err := p.tryReply(); err != io.EOF {
		t.Fatal(err)
	}
	if got, _ := h.get("/a"); got != "12345" {
		t.Fatal(got)
	}
}

// TestQuitBeforeEnd: a device that says QUIT and goes, without waiting for the reply, has meant what it sent.
func TestQuitBeforeEnd(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	conn := p.open("STOR a")
	before := h.reg.List()[0].BytesIn
	io.WriteString(p.conn, "QUIT\r\n")
	eventually(t, "QUIT was read", func() bool { return h.reg.List()[0].BytesIn > before })
	io.WriteString(conn, "12345")
	p.raw.CloseWrite()
	conn.Close()
	p.expect(226)
	p.expect(221)
	if got, _ := h.get("/a"); got != "12345" {
		t.Fatal(got)
	}
}

// TestStranger: a connection from another address gets nothing, and the right client is still served.
func TestStranger(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "content")
	p := h.login()
	addr := p.epsv()
	if !turnedAway("127.0.0.9", int(addr.Port())) {
		t.Fatal("a stranger was served")
	}
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	p.cmd(150, "RETR a")
	if b, _ := io.ReadAll(conn); string(b) != "content" {
		t.Fatalf("%q", b)
	}
	p.expect(226)
}

// TestReuse: with require, a data connection without the control connection's TLS session is refused; another session's does
// not help.
func TestReuse(t *testing.T) {
	for reuse, want := range map[Reuse][3]int{ReuseRequire: {226, 522, 522}, ReusePrefer: {226, 226, 226}, ReuseOff: {226, 226, 226}} {
		h := newHouse(t, func(o *Options) { o.DataTLSReuse = reuse })
		h.put("/a", "content")
		own, none, foreign := h.secureLogin(0), h.secureLogin(0), h.secureLogin(0)
		none.tls.ClientSessionCache = nil
		foreign.tls.ClientSessionCache = own.tls.ClientSessionCache
		for i, p := range []*peer{own, none, foreign} {
			conn := p.open("RETR a").(*tls.Conn)
			if i == 0 && conn.ConnectionState().DidResume != (reuse != ReuseOff) {
				t.Errorf("%s: resumed: %v", reuse, conn.ConnectionState().DidResume)
			}
			io.Copy(io.Discard, conn)
			p.expect(want[i])
		}
	}
}

func TestDataPolicy(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.RequireDataTLS, o.NoActiveMode = true, true })
	p := h.secureLogin(0)
	p.cmd(534, "PROT C")
	p.cmd(502, "PORT 127,0,0,1,200,1")
	q := h.login()
	q.epsv()
	q.cmd(521, "STOR a")
}

func TestALPN(t *testing.T) {
	h := newHouse(t)
	implicit := h.listen(func(o *Options) { o.ImplicitTLS = true })
	conf := h.client.Clone()
	conf.NextProtos = []string{"ftp"}
	conn, err := tls.Dial("tcp", implicit, conf)
	if err != nil || conn.ConnectionState().NegotiatedProtocol != "ftp" {
		t.Fatal(err)
	}
	conn.Close()
	conf.NextProtos = []string{"h2", "http/1.1"}
	if _, err := tls.Dial("tcp", implicit, conf); err == nil {
		t.Fatal("another protocol was let in")
	}
}

// TestQuota: what does not fit is refused and the old file stays.
func TestQuota(t *testing.T) {
	h := newHouse(t)
	h.put("/a", "old")
	quota := int64(50_000)
	if _, err := h.store.UpdateAccount(context.Background(), h.ann.ID, storage.AccountChange{Quota: &quota}); err != nil {
		t.Fatal(err)
	}
	p := h.login()
	p.cmd(552, "ALLO 60000")
	p.cmd(213, "AVBL")
	conn := p.open("STOR a")
	io.WriteString(conn, noise(100_000))
	conn.Close()
	p.expect(552)
	if got, _ := h.get("/a"); got != "old" {
		t.Fatalf("%d bytes", len(got))
	}
	if code := p.stor(noise(10_000), "STOR b"); code != 226 {
		t.Fatal(code)
	}
}

// TestDrain: a transfer that runs when the server goes down may end.
func TestDrain(t *testing.T) {
	h := newHouse(t)
	p := h.login()
	idle := h.login()
	conn := p.open("STOR a")
	io.WriteString(conn, "123")
	waiting := h.login() // for a data connection that never comes: the drain does not
	waiting.cmd(229, "EPSV")
	waiting.cmd(150, "STOR b")
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		drained <- h.reg.Drain(ctx)
	}()
	idle.expect(421)
	io.WriteString(conn, "45")
	conn.Close()
	p.expect(226)
	p.expect(421)
	waiting.expect(425)
	waiting.expect(421)
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	if got, _ := h.get("/a"); got != "12345" {
		t.Fatal(got)
	}
}

// cutSoon fails the test if the server does not close a data connection long before the transfer would have stalled.
func cutSoon(t *testing.T, conn net.Conn) {
	t.Helper()
	conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the data connection is still open:", err)
	}
}

// TestDrainCuts: a drain that has waited long enough cuts a transfer that stands still.
func TestDrainCuts(t *testing.T) {
	h := newHouse(t)
	conn := h.login().open("STOR a")
	io.WriteString(conn, "123")
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	if err := h.reg.Drain(ctx); err == nil {
		t.Error("the transfer ended by itself")
	}
	cutSoon(t, conn)
}

// TestControlLost: RFC 959 section 4.1.1: a control connection that is lost takes the transfer along, or the wait for its data connection; after a QUIT
// the transfer is completed.
func TestControlLost(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout = time.Minute })
	p := h.login()
	conn := p.open("STOR a")
	io.WriteString(conn, "123")
	p.raw.Close()
	cutSoon(t, conn)
	waits := h.login()
	waits.epsv()
	waits.send("LIST")
	waits.raw.Close()
	quits := h.login()
	conn = quits.open("STOR b")
	quits.send("QUIT")
	quits.raw.CloseWrite()
	io.WriteString(conn, "whole")
	conn.Close()
	quits.expect(226)
	quits.expect(221)
	for deadline := time.Now().Add(20 * time.Second); len(h.reg.List()) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still there: %+v", h.reg.List())
		}
	}
	if _, ok := h.get("/a"); ok {
		t.Error("an upload that was cut is there")
	}
	if got, _ := h.get("/b"); got != "whole" {
		t.Error("b is", got)
	}
}

// kill ends all sessions as an administrator would.
func kill(h *house) {
	for _, i := range h.reg.List() {
		if s, ok := h.reg.Get(i.ID); ok {
			s.Kill(session.ErrKilled)
		}
	}
}
