//go:build e2e

package main

import (
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// A milter judges what comes to our MX: Debian's OpenDKIM.
func TestEndToEndMilter(t *testing.T) {
	d := resolvetest.New(t)
	dkim := startOpenDKIM(t, "third.test", nil)
	b := launch(t, "--set", "dns.servers="+d.Addr(), "--set", "filter.milter_fail=closed", "--set", "filter.milters="+strings.Replace(dkim.milter(), "inet:", "tcp:", 1))
	b.must("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--helo", "mail.example.net", "--from", "someone@example.net",
		"--to", "ann@example.test", "--h-Subject", "by-milter")
	contains(t, b.message(t, "ann@example.test", annPassword, "by-milter"), "Authentication-Results: mx.third.test; dkim=none")
}

// LMTP and XCLIENT: for those who put something before us.
func TestEndToEndFrontEnds(t *testing.T) {
	b := launch(t, "--set", "ports.lmtp=auto", "--set", "smtp.xclient=127.0.0.1")
	t.Run("swaks over LMTP: a reply for each recipient", func(t *testing.T) {
		out, err := b.client("", "swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", b.port(2033), "--helo", "mta.example.test", "--from", "someone@example.net",
			"--to", "ann@example.test,nobody@example.test,joe@example.test", "--h-Subject", "by-lmtp")
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if n := strings.Count(out, "<-  250 2.0.0 "); n < 2 {
			t.Errorf("%d replies to the message, want one for each of two recipients\n%s", n, out)
		}
		contains(t, out, "550 5.1.1")
		contains(t, b.message(t, "ann@example.test", annPassword, "by-lmtp"), "with LMTP id")
		b.message(t, "joe@example.test", joePassword, "by-lmtp")
	})
	t.Run("swaks with XCLIENT: the client is whom the front end names", func(t *testing.T) {
		b.must("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--helo", "front.example.test", "--xclient-addr", "192.0.2.77", "--xclient-name", "real.example.net",
			"--xclient-helo", "real.example.net", "--from", "someone@example.net", "--to", "ann@example.test", "--h-Subject", "by-xclient")
		contains(t, b.message(t, "ann@example.test", annPassword, "by-xclient"), "[192.0.2.77]")
	})
	t.Run("XCLIENT of others is refused", func(t *testing.T) {
		other := launch(t)
		l := other.dial(25)
		if out, err := l.until("", "220 "); err != nil {
			t.Fatal(out, err)
		}
		out, err := l.until("EHLO a.example", "250 ")
		if err != nil || strings.Contains(out, "XCLIENT") {
			t.Errorf("XCLIENT is announced to everybody: %v\n%s", err, out)
		}
		if out, err := l.until("XCLIENT ADDR=192.0.2.1", "5"); err != nil {
			t.Errorf("XCLIENT of anybody: %v\n%s", err, out)
		}
	})
}
