package ftp

import (
	"io"
	"net"
	"testing"
	"time"
)

// The kernel's buffer is full and gives no room for a long time, but a reader who takes a little is seen.
func TestDrained(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	reader, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	slow := 0
	w := &wire{tcp: conn.(*net.TCPConn), stall: time.Minute, stop: make(chan struct{}), slow: func() { slow++ }}
	for idle, block := 0, make([]byte, 1<<20); idle < 3; {
		conn.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
		if n, _ := conn.Write(block); n == 0 {
			idle++
		}
	}
	w.writeBy()
	if w.drained() {
		t.Fatal("nobody read anything")
	}
	reader.SetReadDeadline(time.Now().Add(10 * time.Second))
	for !w.drained() {
		if _, err := io.CopyN(io.Discard, reader, 64<<10); err != nil {
			t.Fatal(err)
		}
	}
	if slow != 1 {
		t.Fatal("the session was not told")
	}
}
