package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// TestProxyProtocols: a header of a front end goes before everything, in every protocol, and the session is its client's.
func TestProxyProtocols(t *testing.T) {
	b := base(t)
	dir := serving(t, b, "proxy.listeners=mx,submission,submissions,imap,imaps,ftp,ftps", "proxy.trusted=127.0.0.1", "limits.per_address=7")
	var open []net.Conn
	defer func() {
		for _, c := range open {
			c.Close()
		}
	}()
	connect := func(standard int, client string) *bufio.Reader {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b+standard))
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "PROXY TCP4 %s 203.0.113.1 40000 %d\r\n", client, standard)
		switch standard {
		case 465, 993, 990:
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		return bufio.NewReader(conn)
	}
	greetings := map[int]string{25: "220 ", 587: "220 ", 465: "220 ", 143: "* OK ", 993: "* OK ", 21: "220 ", 990: "220 "}
	for standard, want := range greetings {
		if line, err := connect(standard, "192.0.2.7").ReadString('\n'); err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("%d: %q %v", standard, line, err)
		}
	}
	// The next one from there is over the limit; somebody else behind the same front end is not.
	if line, err := connect(143, "192.0.2.7").ReadString('\n'); err != nil || !strings.Contains(line, "limits.per_address") {
		t.Errorf("over the limit: %q %v", line, err)
	}
	if line, err := connect(143, "192.0.2.8").ReadString('\n'); err != nil || !strings.HasPrefix(line, "* OK") {
		t.Errorf("somebody else: %q %v", line, err)
	}
	// Plaintext passwords are for clients on this machine, which this one is not.
	imap := connect(143, "192.0.2.9")
	if line, err := imap.ReadString('\n'); err != nil || !strings.Contains(line, "LOGINDISABLED") {
		t.Errorf("no LOGINDISABLED in %q %v", line, err)
	}
	var out, errs strings.Builder
	if code := run([]string{"session", "list", "--data", dir}, nil, &out, &errs); code != exitOK || strings.Count(out.String(), "192.0.2.7") != len(greetings) {
		t.Errorf("%d\n%s%s", code, &out, &errs)
	}
}
