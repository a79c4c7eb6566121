//go:build e2e

package main

import (
	"fmt"
	"net/smtp"
	"strconv"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// What an account sends is signed with both keys; OpenDKIM behind Debian's Postfix verifies them, before and after a rotation.
func TestEndToEndSigned(t *testing.T) {
	d := resolvetest.New(t)
	port := freePort(t)
	d.Set("third.test. MX 10 mx.third.test.\nmx.third.test. A 127.0.0.13\n")
	b := launch(t, "--set", "outbound.enabled=on", "--set", "outbound.port="+strconv.Itoa(port), "--set", "outbound.bind=127.0.0.21", "--set", "dns.servers="+d.Addr())
	keys := func(verb ...string) (all []dkimJSON) {
		b.json(&all, append(append([]string{"domain", "dkim"}, verb...), "example.test")...)
		return all
	}
	keys("rotate")
	known := map[string]string{}
	for _, k := range keys("list") {
		known[k.Name] = k.Record
		d.Text(k.Name+".", k.Record)
	}
	if len(known) != 4 {
		t.Fatal(known)
	}
	dkim := startOpenDKIM(t, "third.test", known)
	p := startPostfix(t, "third.test", "127.0.0.13", port, "smtpd_milters = "+dkim.milter())
	send := func(subject string) string {
		t.Helper()
		c, err := smtp.Dial(b.addr(587))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.StartTLS(b.tls()); err != nil {
			t.Fatal(err)
		}
		if err := c.Auth(smtp.PlainAuth("", "ann@example.test", annPassword, "127.0.0.1")); err != nil {
			t.Fatal(err)
		}
		if err := c.Mail("ann@example.test"); err != nil {
			t.Fatal(err)
		}
		if err := c.Rcpt("paul@third.test"); err != nil {
			t.Fatal(err)
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(w, "From: ann@example.test\r\nTo: paul@third.test\r\nSubject: %s\r\n\r\nhello  there \r\n.dot\r\n\r\n\r\n", subject)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return p.message("paul", subject)
	}
	signedBy := func(m string, state string) {
		t.Helper()
		for _, k := range keys("list") {
			if got := strings.Contains(m, "header.s="+k.Selector+" ") || strings.Contains(m, "s="+k.Selector+";"); got != (k.State == state) {
				t.Errorf("%s, which is %s: signed is %v\n%s", k.Selector, k.State, got, m)
			}
		}
		if n := strings.Count(m, "dkim=pass"); n != 2 {
			t.Errorf("%d signatures pass:\n%s", n, m)
		}
	}
	signedBy(send("first"), "active")
	keys("activate")
	signedBy(send("second"), "active")
}
