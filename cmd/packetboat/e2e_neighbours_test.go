//go:build e2e

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Debian's Postfix sends to us: what a server of somebody else's does with our MX.
func TestEndToEndPostfixSends(t *testing.T) {
	b := launch(t, "--set", "limits.message_size=1MiB")
	dkim := startOpenDKIM(t, "third.test", nil)
	p := startPostfix(t, "third.test", "127.0.0.13", freePort(t),
		fmt.Sprintf("transport_maps = inline:{ {example.test = smtp:[127.0.0.1]:%s} }", b.port(25)),
		"smtp_tls_security_level = encrypt", "smtp_tls_loglevel = 1",
		"smtpd_milters = "+dkim.milter(), "non_smtpd_milters = "+dkim.milter())
	mail := func(subject, body string) string {
		return "From: paul@third.test\nTo: ann@example.test\nSubject: " + subject + "\n\n" + body + "\n"
	}
	t.Run("over TLS and signed", func(t *testing.T) {
		p.send(mail("by-postfix", "hello\n.dot\n"), "-f", "paul@third.test", "ann@example.test")
		m := b.message(t, "ann@example.test", annPassword, "by-postfix")
		for _, want := range []string{"Return-Path: <paul@third.test>", "with ESMTPS id", "TLS 1.3", "DKIM-Signature: v=1; a=rsa-sha256;", "\r\n.dot\r\n"} {
			if !strings.Contains(m, want) {
				t.Errorf("message lacks %q:\n%s", want, m)
			}
		}
	})
	t.Run("several recipients, one unknown: the bounce names it", func(t *testing.T) {
		p.send(mail("partly", "hello"), "-f", "paul@third.test", "ann@example.test", "nobody@example.test", "joe@example.test")
		b.message(t, "ann@example.test", annPassword, "partly")
		b.message(t, "joe@example.test", joePassword, "partly")
		bounce := p.message("paul", "nobody@example.test")
		for _, want := range []string{"Action: failed", "Status: 5.1.1", "Final-Recipient: rfc822; nobody@example.test"} {
			if !strings.Contains(bounce, want) {
				t.Errorf("bounce lacks %q:\n%s", want, bounce)
			}
		}
	})
	t.Run("too large", func(t *testing.T) {
		p.send(mail("too-large", strings.Repeat("0123456789abcdef0123456789abcdef\n", 40_000)), "-f", "lara@third.test", "ann@example.test")
		if bounce := p.message("lara", "ann@example.test"); !strings.Contains(bounce, "Status: 5.3.4") {
			t.Errorf("bounce of a message that is too large:\n%s", bounce)
		}
	})
	t.Run("SMTPUTF8", func(t *testing.T) {
		p.send("From: jörg@third.test\nTo: ann@example.test\nSubject: grüße aus bökel\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nähm\n", "-f", "jörg@third.test", "ann@example.test")
		if m := b.message(t, "ann@example.test", annPassword, "aus"); !strings.Contains(m, "with UTF8SMTPS id") || !strings.Contains(m, "Return-Path: <jörg@third.test>") {
			t.Errorf("message with an address in UTF-8:\n%s", m)
		}
	})
	t.Run("a full mailbox is refused for now, and taken when there is room", func(t *testing.T) {
		b.run("", "account", "set", "joe@example.test", "--quota", "1KiB")
		p.send(mail("later", "hello"), "-f", "paul@third.test", "joe@example.test")
		eventually(t, "the message waits at Postfix", func() bool { return strings.Contains(p.queue(), "mailbox of joe@example.test is full") })
		b.run("", "account", "set", "joe@example.test", "--quota", "1GiB")
		b.message(t, "joe@example.test", joePassword, "later")
		eventually(t, "Postfix has nothing left to deliver", func() bool { return p.queue() == "" })
	})
	t.Run("DSN: success is relayed to us or told by Postfix", func(t *testing.T) {
		p.send(mail("with-success", "hello"), "-f", "sue@third.test", "-N", "success,failure", "-V", "env-17", "ann@example.test")
		b.message(t, "ann@example.test", annPassword, "with-success")
	})
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it never came to be: %s", what)
		}
	}
}
