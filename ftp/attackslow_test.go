package ftp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// listenTimed is listen with times of the listener's own.
func (h *house) listenTimed(l session.ListenerOptions, change ...func(*Options)) string {
	o := Options{TLS: h.tls, PassivePorts: h.pool, ConnectTimeout: 3 * time.Second}
	for _, c := range change {
		c(&o)
	}
	l.Name, l.Protocol, l.Refusal = "ftp", session.FTP, Refusal
	return sessiontest.Serve(h.t, h.reg, l, New(h.fs, h.door, o).Serve)
}

// footprint is what a process holds on to.
type footprint struct{ goroutines, bytes int }

func measure() footprint {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), int(m.HeapInuse + m.StackInuse)}
}

// TestSilentCrowd: 2,000 who connect and say nothing cost little and keep nobody from being served.
func TestSilentCrowd(t *testing.T) {
	const crowd = 2000
	h := newHouseWith(t, session.Options{Limits: session.Limits{PerAddress: 200}, Grace: 2 * time.Second})
	h.put("/a", "content")
	before := measure()
	silent := make([]net.Conn, 0, crowd)
	for i := range crowd {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(1+i/200))}}
		conn, err := d.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(i, err)
		}
		defer conn.Close()
		silent = append(silent, conn)
	}
	eventually(t, "all are sessions", func() bool { return len(h.reg.List()) == crowd })
	// One address has no more than its share.
	over, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 1, 1)}}).Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer over.Close()
	over.SetDeadline(time.Now().Add(20 * time.Second))
	if text, _ := io.ReadAll(over); !strings.HasPrefix(string(text), "421 ") {
		t.Errorf("one too many got %q", text)
	}
	after := measure()
	// Both ends are in this process: the client's costs are counted too.
	if n := after.goroutines - before.goroutines; n > crowd+50 {
		t.Errorf("%d goroutines for %d silent connections", n, crowd)
	}
	if n := (after.bytes - before.bytes) / crowd; n > 20<<10 {
		t.Errorf("%d bytes for each silent connection", n)
	}
	for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
		p := login()
		data := noise(1_000_000)
		if code := p.stor(data, "STOR up"); code != 226 {
			t.Fatal(code)
		}
		if p.retr("RETR up") != data {
			t.Error("other bytes came back")
		}
		p.cmd(221, "QUIT")
	}
	for _, conn := range silent {
		conn.Close()
	}
	eventually(t, "they are gone", func() bool { return len(h.reg.List()) == 0 })
}

// drip sends text a byte at a time, over and over, until the connection is closed.
func drip(t *testing.T, conn net.Conn, text string) (said string) {
	t.Helper()
	done := make(chan string)
	go func() {
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(conn)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			b = append(b, "(still open)"...)
		}
		done <- string(b)
	}()
	for i := 0; ; i++ {
		select {
		case said := <-done:
			return said
		case <-time.After(5 * time.Millisecond):
			conn.Write([]byte{text[i%len(text)]})
		}
	}
}

// TestSlowloris: who sends a byte now and then is not waited for longer than who sends none, on the control connection and in the TLS handshake.
func TestSlowloris(t *testing.T) {
	h := newHouse(t)
	patience := session.ListenerOptions{LoginTimeout: 300 * time.Millisecond, IdleTimeout: 10 * time.Second}
	hello := "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
	explicit, implicit := h.listenTimed(patience), h.listenTimed(patience, func(o *Options) { o.ImplicitTLS = true })
	for name, c := range map[string]struct{ addr, first, drip, want string }{
		"a line without end":       {explicit, "", "NOOP ", "421 "},
		"lines before login":       {explicit, "", "NOOP\r\n", "421 "},
		"a password without end":   {explicit, "USER ann@example.test\r\nPASS ", "x", "421 "},
		"half a hello, AUTH":       {explicit, "AUTH TLS\r\n", hello[:6], ""},
		"half a hello, implicit":   {implicit, hello, "x", ""},
		"nothing at all, implicit": {implicit, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", c.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if c.first != "" {
				io.WriteString(conn, c.first)
				time.Sleep(20 * time.Millisecond) // AUTH wants nothing behind it
			}
			if c.drip == "" {
				conn.SetReadDeadline(time.Now().Add(20 * time.Second))
				if _, err := io.ReadAll(conn); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("still open")
				}
				return
			}
			said := drip(t, conn, c.drip)
			if !strings.Contains(said, c.want) || strings.Contains(said, "(still open)") {
				t.Errorf("%q", said)
			}
		})
	}
	eventually(t, "all are gone", func() bool { return len(h.reg.List()) == 0 })
}

// TestSlowData: data connections that do not come, do not speak or do not finish their handshake end with a reply, and leave port, session and file as they were.
func TestSlowData(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.ConnectTimeout, o.StallTimeout = 100*time.Millisecond, 100*time.Millisecond })
	h.put("/a", "old")
	h.put("/big", noise(30_000_000))
	before := runtime.NumGoroutine()
	for _, login := range []func() *peer{h.login, func() *peer { return h.secureLogin(0) }} {
		p := login()
		for range 2 {
			for _, verb := range []string{"RETR big", "STOR a", "LIST"} {
				p.epsv()
				if code, text := p.reply2(verb); code == 150 {
					p.expect(425)
				} else if code != 425 {
					t.Fatalf("%s, nobody comes: %s", verb, text)
				}
				if !p.prot {
					continue
				}
				conn := dialFrom(t, "127.0.0.1", int(p.epsv().Port()))
				p.send("%s", verb)
				io.WriteString(conn, "\x16\x03\x01\x02\x00\x01")
				if code, _ := p.reply(); code == 150 {
					p.expect(522)
				} else if code != 522 {
					t.Fatalf("%s, half a hello: %d", verb, code)
				}
				conn.Close()
			}
			silent := p.open("STOR a")
			p.expect(426)
			silent.Close()
			deaf := p.open("RETR big")
			p.expect(426)
			deaf.Close()
		}
		if got, _ := h.get("/a"); got != "old" {
			t.Errorf("a holds %q", got)
		}
		if code := p.stor("new", "STOR b"); code != 226 {
			t.Error(code)
		}
		p.cmd(221, "QUIT")
	}
	eventually(t, "no goroutine is left but those of the open ports", func() bool {
		open, _ := h.pool.Usage()
		return runtime.NumGoroutine() <= before+2*open+2 // each has two addresses
	})
}

// TestDeafControl: who never reads the replies has the server hold a few of them, and then is not read any more, and then is cut.
func TestDeafControl(t *testing.T) {
	h := newHouse(t)
	addr := h.listenTimed(session.ListenerOptions{StallTimeout: 500 * time.Millisecond})
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	// The proof of the password takes 19 MiB, which must be given back before.
	io.WriteString(conn, "USER ann@example.test\r\nPASS secret\r\n")
	for in := bufio.NewScanner(conn); !strings.HasPrefix(in.Text(), "230 "); {
		if !in.Scan() {
			t.Fatal("no login", in.Err())
		}
	}
	before := measure()
	lines, sent := []byte(strings.Repeat("HELP\r\n", 1000)), 0
	most := 0
	conn.SetWriteDeadline(time.Now().Add(20 * time.Second))
	for err == nil && sent < 64<<20 {
		var n int
		n, err = conn.Write(lines)
		if sent += n; sent/(1<<20) != (sent-n)/(1<<20) {
			most = max(most, measure().bytes-before.bytes)
		}
	}
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after %d bytes: %v", sent, err)
	}
	if most > 16<<20 {
		t.Errorf("the server held %d bytes", most)
	}
	eventually(t, "it is gone", func() bool { return len(h.reg.List()) == 0 })
}

// TestHandshakeCrowd: handshakes that never end cost no more than their connections.
func TestHandshakeCrowd(t *testing.T) {
	const crowd = 300
	h := newHouse(t)
	implicit := h.listenTimed(session.ListenerOptions{LoginTimeout: time.Minute}, func(o *Options) { o.ImplicitTLS = true })
	before := measure()
	for i := range crowd {
		conn, err := net.Dial("tcp", implicit)
		if err != nil {
			t.Fatal(i, err)
		}
		defer conn.Close()
		io.WriteString(conn, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
	}
	eventually(t, "all are sessions", func() bool { return len(h.reg.List()) == crowd })
	after := measure()
	if n := after.goroutines - before.goroutines; n > 2*crowd+50 {
		t.Errorf("%d goroutines for %d handshakes", n, crowd)
	}
	if n := (after.bytes - before.bytes) / crowd; n > 40<<10 {
		t.Errorf("%d bytes for each handshake", n)
	}
	conn, err := tls.Dial("tcp", implicit, h.client)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buf := make([]byte, 4)
	if _, err := io.ReadFull(conn, buf); err != nil || string(buf) != "220 " {
		t.Errorf("a real client gets %q, %v", buf, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	h.reg.Drain(ctx) // they need not be waited for
	eventually(t, "all are gone", func() bool { return len(h.reg.List()) == 0 })
}
