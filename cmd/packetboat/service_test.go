//go:build e2e

package main

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A service manager is told when the server is ready, and when it ends (sd_notify(3)).
func TestEndToEndNotify(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	t.Setenv("NOTIFY_SOCKET", socket)
	b := launch(t)
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 1000)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := c.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), want) {
			t.Errorf("was told %q, %v; want %s", buf[:n], err, want)
		}
	}
	expect("READY=1")
	b.stop()
	expect("STOPPING=1")
}

// SIGTERM says goodbye in each protocol's manner, and the server ends at once when nobody is busy.
func TestEndToEndGoodbye(t *testing.T) {
	b := launch(t)
	imap, smtp, ftp := b.dialTLS(993), b.dial(25), b.dial(21)
	for l, greeting := range map[*line]string{imap: "* OK", smtp: "220 ", ftp: "220 "} {
		if out, err := l.until("", greeting); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	began := time.Now()
	b.stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("ending took %v", took)
	}
	for l, goodbye := range map[*line]string{imap: "* BYE", smtp: "421 ", ftp: "421 "} {
		if out, err := l.until("", goodbye); err != nil {
			t.Errorf("no goodbye: %v\n%s", err, out)
		}
	}
}
