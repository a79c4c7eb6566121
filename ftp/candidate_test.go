package ftp

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// TestProvenAmongThieves: where reuse is required, others at the client's own address that come first, whether they say nothing, shake hands without its
// ticket or speak something else, keep it from nothing; and there may be more of them than are looked at side by side.
func TestProvenAmongThieves(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.DataTLSReuse, o.ConnectTimeout = ReuseRequire, 20*time.Second })
	h.put("/a", "content")
	p := h.secureLogin(0)
	thief := h.client.Clone()
	for _, command := range []string{"RETR a", "STOR b", "MLSD"} {
		addr := p.epsv()
		dial := func() net.Conn {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			conn.SetDeadline(time.Now().Add(10 * time.Second))
			return conn
		}
		dial() // says nothing
		dial().Write([]byte("GET / HTTP/1.1\r\n\r\n"))
		p.send("%s", command)
		p.expect(150)
		for range 3 * maxCandidates {
			if conn, err := net.Dial("tcp", addr.String()); err == nil { // some have given way at once
				defer conn.Close()
			}
		}
		stolen := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(tls.Client(dial(), thief))
			stolen <- b
		}()
		if b := <-stolen; len(b) > 0 {
			t.Errorf("%s: stolen %q", command, b)
		}
		conn := tls.Client(dial(), p.tls)
		if err := conn.Handshake(); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
		if command == "STOR b" {
			io.WriteString(conn, "mine")
			conn.CloseWrite()
		}
		if b, err := io.ReadAll(conn); err != nil || command == "RETR a" && string(b) != "content" {
			t.Errorf("%s: %q %v", command, b, err)
		}
		conn.Close()
		p.expect(226)
	}
	if got, _ := h.get("/b"); got != "mine" {
		t.Errorf("%q", got)
	}
	if _, waiting := h.pool.Usage(); waiting != 0 {
		t.Errorf("%d still wait", waiting)
	}
}

// TestUnprovenEnds: without the client, the transfer ends soon after the last who came in its place, and by its time when nobody says anything.
func TestUnprovenEnds(t *testing.T) {
	h := newHouse(t, func(o *Options) { o.DataTLSReuse, o.ConnectTimeout = ReuseRequire, 2*time.Second })
	h.put("/a", "content")
	p := h.secureLogin(0)
	p.epsv()
	p.cmd(150, "RETR a")
	p.expect(425)
	addr := p.epsv()
	silent, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p.cmd(150, "RETR a")
	if code, text := p.reply(); code != 425 && code != 522 {
		t.Errorf("a silent one: %s", text)
	}
	addr = p.epsv()
	silent, err = net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	p.cmd(150, "RETR a")
	fmt.Fprint(p.conn, "ABOR\r\n")
	p.expect(426) // and not 425, as when the wait for the connection ends by itself
	p.expect(226)
	// The plan may be made before PROT: then one connection has to do.
	p.cmd(200, "PROT C")
	addr = p.epsv()
	p.cmd(200, "PROT P")
	conn, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p.cmd(150, "RETR a")
	if b, err := io.ReadAll(tls.Client(conn, p.tls)); string(b) != "content" {
		t.Errorf("%q %v", b, err)
	}
	p.expect(226)
}
