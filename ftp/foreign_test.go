package ftp

import (
	"errors"
	"fmt"
	"os"
	"testing"
)

func TestForeign(t *testing.T) {
	for line, want := range map[string]bool{
		"GET / HTTP/1.1": true, "HEAD /": true, "put /x": true, "OPTIONS *": true, "CONNECT a:1": true, "TRACE /": true, "PATCH /": true,
		"PRI * HTTP/2.0": true, "Host: x": true, "Host:x": true, "Content-Length: 5": true, "BREW /pot HTCPCP/1.0": false, "BREW /pot HTTP/1.0": true,
		"SETUP rtsp://x RTSP/1.0": true, "REGISTER sip:x SIP/2.0": true,
		"SSH-2.0-OpenSSH_9": true, "\x16\x03\x01\x02": true, "\x16\x03\x03": true, "\x16": false,
		"EHLO x": true, "helo x": true, "RCPT TO:<x>": true, "STARTTLS": true,
		"a1 LOGIN ann secret": true, "A001 capability": true, ". STARTTLS": true,
		"RETR a": false, "": false, ":": false, "HOST ftp.example.org": false, "MAIL x": false, "FOO a: b": false,
	} {
		if verb, arg := parseLine([]byte(line)); foreign(verb, arg) != want {
			t.Errorf("%q: not %v", line, want)
		}
	}
}

// TestForeignIsCut: each gets one answer and is cut at once, before and after login, whatever follows; nothing of that is done.
func TestForeignIsCut(t *testing.T) {
	h := newHouse(t)
	h.put("/kept", "content")
	for _, first := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\n", "Host: x\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "SSH-2.0-x\r\n", "EHLO x\r\n", "a1 LOGIN a b\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // no end of a line comes
	} {
		for _, p := range []*peer{h.dial(), h.login(), h.secureLogin(0)} {
			fmt.Fprint(p.conn, first)
			p.expect(500)
			fmt.Fprint(p.conn, "DELE kept\r\n")
			if code, text, err := p.tryReply(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%q: %d %s %v", first, code, text, err)
			}
		}
	}
	if _, ok := h.get("/kept"); !ok {
		t.Error("a command behind was run")
	}
}
