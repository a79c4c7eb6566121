//go:build e2e

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Behind another mail server: Debian's Postfix delivers to us by LMTP, swaks is a front end with XCLIENT.
func TestEndToEndBehindAnother(t *testing.T) {
	port := strconv.Itoa(freePort(t))
	socket := filepath.Join(openDir(t), "lmtp")
	b := launch(t, "--set", "ports.lmtp="+port, "--set", "lmtp.socket="+socket, "--set", "smtp.xclient=127.0.0.9", "--set", "limits.send_messages_per_day=2")
	p := startPostfix(t, "third.test", "127.0.0.14", freePort(t),
		fmt.Sprintf("transport_maps = inline:{ {example.test = lmtp:inet:127.0.0.1:%s} }", port), "lmtp_tls_security_level = may", "lmtp_bind_address = 127.0.0.14")
	mail := func(subject string) string {
		return "From: paul@third.test\nTo: ann@example.test\nSubject: " + subject + "\n\nhello\n.dot\n"
	}
	t.Run("Postfix delivers, each recipient for itself", func(t *testing.T) {
		b.run("", "account", "set", "joe@example.test", "--messages", "0")
		p.send(mail("by-lmtp"), "-f", "paul@third.test", "ann@example.test", "joe@example.test", "nobody@example.test")
		m := b.message(t, "ann@example.test", annPassword, "by-lmtp")
		if !strings.Contains(m, " with LMTPS id ") || !strings.Contains(m, "Return-Path: <paul@third.test>") {
			t.Errorf("message:\n%s", m)
		}
		if bounce := p.message("paul", "nobody@example.test"); !strings.Contains(bounce, "Status: 5.1.1") {
			t.Errorf("bounce:\n%s", bounce)
		}
		eventually(t, "the message for joe waits at Postfix", func() bool {
			q := p.queue()
			return strings.Contains(q, "mailbox of joe@example.test is full") && !strings.Contains(q, "ann@example.test\"")
		})
		b.run("", "account", "set", "joe@example.test", "--messages", "none")
		b.message(t, "joe@example.test", joePassword, "by-lmtp")
		eventually(t, "Postfix has nothing left to deliver", func() bool { return p.queue() == "" })
	})
	swaks := func(args ...string) (string, error) {
		return b.client("", "swaks", append([]string{"--server", "127.0.0.1", "--helo", "front.example.net", "--timeout", "10", "--from", "a@example.net"}, args...)...)
	}
	t.Run("swaks LMTP", func(t *testing.T) {
		out, err := swaks("--protocol", "LMTP", "--port", port, "--to", "ann@example.test,joe@example.test", "--header", "Subject: swaks-lmtp")
		if err != nil || strings.Count(out, "250 2.0.0 delivered as") != 2 {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("swaks LMTP over a socket", func(t *testing.T) {
		if i, err := os.Stat(socket); err != nil || i.Mode().Perm() != 0o660 {
			t.Fatal(i.Mode(), err)
		}
		out, err := b.client("", "swaks", "--protocol", "LMTP", "--socket", socket, "--helo", "front.example.net", "--timeout", "10", "--from", "a@example.net",
			"--to", "ann@example.test", "--header", "Subject: swaks-socket")
		if err != nil || strings.Count(out, "250 2.0.0 delivered as") != 1 {
			t.Fatalf("%v\n%s", err, out)
		}
		if m := b.message(t, "ann@example.test", annPassword, "swaks-socket"); !strings.Contains(m, "Received: from front.example.net (unknown)") {
			t.Errorf("message:\n%s", m)
		}
	})
	t.Run("swaks XCLIENT", func(t *testing.T) {
		out, err := swaks("--port", b.port(25), "--local-interface", "127.0.0.9", "--xclient-addr", "192.0.2.77", "--xclient-name", "client.example.org", "--xclient-helo", "client.example.org",
			"--to", "ann@example.test", "--header", "Subject: by-xclient")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if m := b.message(t, "ann@example.test", annPassword, "by-xclient"); !strings.Contains(m, "Received: from client.example.org ([192.0.2.77])") {
			t.Errorf("message:\n%s", m)
		}
		if out, err := swaks("--port", b.port(25), "--xclient-no-verify", "--xclient-addr", "192.0.2.77", "--to", "ann@example.test"); err == nil || !strings.Contains(out, "Host did not advertise XCLIENT") {
			t.Errorf("XCLIENT of a stranger: %v\n%s", err, out)
		}
	})
	t.Run("sending limits survive kill -9", func(t *testing.T) {
		send := func() (string, error) {
			return b.client("", "swaks", "--server", "127.0.0.1", "--port", b.port(587), "-tls", "--tls-ca-path", b.ca(), "--auth", "PLAIN", "--auth-user", "ann@example.test", "--auth-password", annPassword,
				"--from", "ann@example.test", "--to", "joe@example.test", "--timeout", "10")
		}
		for range 2 {
			if out, err := send(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
		}
		b.kill()
		b.start()
		if out, err := send(); err == nil || !strings.Contains(out, "450 4.7.1 this account may send 2 messages per day (limits.send_messages_per_day), again from ") {
			t.Fatalf("the third: %v\n%s", err, out)
		}
		if out := b.run("", "account", "show", "ann@example.test"); !strings.Contains(out, "by the configuration (2 to 2 in the last hour, 2 to 2 in the last day)") {
			t.Errorf("account show:\n%s", out)
		}
		b.run("", "account", "set", "ann@example.test", "--send-messages-per-day", "none", "--send-recipients-per-hour", "50")
		if out, err := send(); err != nil {
			t.Fatalf("with a limit of her own: %v\n%s", err, out)
		}
		if out := b.run("", "account", "show", "ann@example.test"); !strings.Contains(out, "50 recipients per hour, any number of messages per day") {
			t.Errorf("account show:\n%s", out)
		}
	})
	t.Run("BINARYMIME", func(t *testing.T) {
		b.python(t, `
import smtplib
s = smtplib.SMTP("127.0.0.1", PORT+25)
assert s.ehlo("py")[0] == 250 and s.has_extn("binarymime") and s.has_extn("chunking")
assert s.docmd("MAIL", "FROM:<a@example.net> BODY=BINARYMIME")[0] == 250
assert s.docmd("RCPT", "TO:<ann@example.test>")[0] == 250
m = b"Subject: in-binary\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(range(256)) * 1000
s.sock.sendall(b"BDAT %d LAST\r\n" % len(m) + m)
assert s.getreply()[0] == 250
s.quit()
`)
		if m := b.message(t, "ann@example.test", annPassword, "in-binary"); !strings.Contains(m, "Content-Transfer-Encoding: base64\r\n\r\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4\r\n") {
			t.Errorf("message:\n%.2000s", m)
		}
	})
}
