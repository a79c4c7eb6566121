package ftp

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

// TestRefusedBeforeCut: a client that has connected hears why its transfer is refused before the connection ends, and the port is free again with
// its next command, or without one.
func TestRefusedBeforeCut(t *testing.T) {
	pool := NewPortPool([]string{"127.0.0.1"}, portBase+150, portBase+150)
	h := newHouse(t, func(o *Options) { o.PassivePorts = pool })
	t.Cleanup(func() { pool.Close() })
	p := h.login()
	gone := func(conn net.Conn) bool {
		conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		if err == nil {
			t.Fatal("something was sent")
		}
		return !errors.Is(err, os.ErrDeadlineExceeded)
	}
	for _, line := range []string{"RETR none", "STOR none/file", "STOR bad\u2028name", "NLST none", "MLSD none"} {
		conn, err := net.Dial("tcp", p.epsv().String())
		if err != nil {
			t.Fatal(err)
		}
		p.send("%s", line)
		if code, text := p.reply(); code < 450 || code > 553 {
			t.Fatalf("%s: %d %s", line, code, text)
		}
		if gone(conn) {
			t.Errorf("%s: the data connection ended with the reply", line)
		}
		if line == "MLSD none" { // nothing more is said
			eventually(t, "the end of the data connection", func() bool { return gone(conn) })
		}
		p.cmd(200, "NOOP")
		eventually(t, "the end of the data connection", func() bool { return gone(conn) })
		conn.Close()
		p.epsv() // of one port
	}
}
