package ftp

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// serveWith is a server of the house's trees with a door and listener of its own.
func (h *house) serveWith(door *auth.Door, o Options, l session.ListenerOptions) string {
	o.TLS, o.PassivePorts, o.ConnectTimeout = h.tls, h.pool, 3*time.Second
	l.Name, l.Protocol, l.Refusal = "ftp", session.FTP, Refusal
	return sessiontest.Serve(h.t, h.reg, l, New(h.fs, door, o).Serve)
}

// TestRetryStorm: a device that has an old password and tries it again and again, over one connection and over many, is told each time that it is wrong,
// and is neither slowed down nor refused: who corrects the password is let in at once. Its tries are not those of somebody who guesses.
func TestRetryStorm(t *testing.T) {
	h := newHouse(t)
	addr := h.serveWith(auth.New(h.store, h.reg, auth.Options{}), Options{}, session.ListenerOptions{})
	storm := func() {
		for i := range 30 {
			p := h.dialAt(addr)
			for try := range 3 {
				p.cmd(331, "user ann@example.test")
				p.send("pass the old one")
				code, text := p.reply()
				switch {
				case strings.Contains(text, "later"):
					t.Errorf("connection %d, try %d: %q", i, try, text)
					return
				case try < 2 && code == 530:
				case try == 2 && code == 421: // the third on one connection
				default:
					t.Errorf("connection %d, try %d: %q", i, try, text)
					return
				}
			}
			p.conn.Close()
		}
	}
	storm()
	p := h.dialAt(addr)
	p.cmd(331, "USER ann@example.test")
	p.cmd(230, "PASS secret")
	p.cmd(221, "QUIT")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(storm)
	}
	wg.Wait()
}

// logged is what a server logs at warning and above.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestNoQuit: clients that just go, by FIN or RST, before and after login, in TLS without close_notify, with a passive port that they never used, are ordinary: nothing is
// warned of, and nothing is left of them.
func TestNoQuit(t *testing.T) {
	h := newHouse(t)
	h.put("/file", "0123456789")
	log := &logged{}
	o := Options{Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	addr := h.serveWith(h.door, o, session.ListenerOptions{})
	for name, visit := range map[string]func(p *peer){
		"nothing": func(*peer) {},
		"user":    func(p *peer) { p.cmd(331, "USER ann@example.test") },
		"probe": func(p *peer) {
			p.cmd(331, "user ann@example.test")
			p.cmd(230, "pass secret")
			p.cmd(250, "cwd //")
		},
		"wget": func(p *peer) {
			p.cmd(331, "USER ann@example.test")
			p.cmd(230, "PASS secret")
			p.cmd(215, "SYST")
			p.cmd(257, "PWD")
			p.cmd(200, "TYPE I")
			p.cmd(213, "SIZE file")
			if got := p.retr("RETR file"); got != "0123456789" {
				t.Errorf("%q", got)
			}
		},
		"half a line": func(p *peer) { fmt.Fprint(p.conn, "USE") },
		"tls": func(p *peer) {
			h.secure(p, 0)
			p.cmd(331, "USER ann@example.test")
			p.cmd(230, "PASS secret")
		},
		"epsv": func(p *peer) {
			p.cmd(331, "user ann@example.test")
			p.cmd(230, "pass secret")
			p.cmd(229, "epsv")
		},
	} {
		for _, reset := range []bool{false, true} {
			p := h.dialAt(addr)
			visit(p)
			if reset {
				p.raw.SetLinger(0)
			}
			p.raw.Close()
			eventually(t, name+" is gone", func() bool { return len(h.reg.List()) == 0 })
		}
	}
	if log.String() != "" {
		t.Errorf("the log warns:\n%s", log)
	}
	if _, waiting := h.pool.Usage(); waiting != 0 {
		t.Errorf("%d passive ports are still kept", waiting)
	}
}

// TestEPSVSilence: a camera asks for a port, is silent for a while, and then uses it; or never does, and is said goodbye to.
func TestEPSVSilence(t *testing.T) {
	h := newHouse(t)
	addr := h.serveWith(h.door, Options{}, session.ListenerOptions{IdleTimeout: 1500 * time.Millisecond})
	p := h.dialAt(addr)
	p.cmd(331, "user ann@example.test")
	p.cmd(230, "pass secret")
	p.cmd(200, "type i")
	data := p.epsv()
	conn, err := net.Dial("tcp", data.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	time.Sleep(100 * time.Millisecond)
	p.cmd(150, "stor scan.jpg")
	fmt.Fprint(conn, "picture")
	conn.Close()
	p.expect(226)
	p.epsv()
	p.expect(421)
	if _, _, err := p.tryReply(); err == nil {
		t.Error("the connection stays")
	}
	eventually(t, "the port is free", func() bool { _, waiting := h.pool.Usage(); return waiting == 0 })
	if got, ok := h.get("/scan.jpg"); !ok || got != "picture" {
		t.Errorf("%q", got)
	}
}
