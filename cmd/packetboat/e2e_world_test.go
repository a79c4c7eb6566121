//go:build e2e

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// world is three mail servers with a DNS of their own: two packetboats and Debian's Postfix, each on an address of its own and all on the same port, which
// stands for 25.
type world struct {
	t     *testing.T
	dns   *resolvetest.DNS
	port  int
	alpha *boat // alpha.test on 127.0.0.11: ann, carl
	beta  *boat // beta.test on 127.0.0.12: bob
	third *postfix
	dkim  *opendkim
}

const (
	alphaHost = "127.0.0.11"
	betaHost  = "127.0.0.12"
	thirdHost = "127.0.0.13"
)

func startWorld(t *testing.T) *world {
	t.Helper()
	base := freeBase(t)
	w := newWorld(t, base)
	w.alpha = w.boat("alpha.test", alphaHost, base)
	w.beta = w.boat("beta.test", betaHost, base)
	w.settle()
	return w
}

// newWorld is one without servers.
func newWorld(t *testing.T, base int) *world {
	return &world{t: t, dns: resolvetest.New(t), port: base + 25}
}

// settle gives the packetboats their accounts and everybody a zone, and starts the third.
func (w *world) settle() {
	t := w.t
	t.Helper()
	w.account(w.alpha, "ann@alpha.test", annPassword)
	w.account(w.alpha, "carl@alpha.test", annPassword)
	w.account(w.beta, "bob@beta.test", joePassword)
	keys := map[string]string{}
	for _, b := range []struct {
		boat         *boat
		domain, host string
	}{{w.alpha, "alpha.test", alphaHost}, {w.beta, "beta.test", betaHost}} {
		zone := b.boat.run("", "domain", "dns", b.domain, "--zone")
		w.dns.Set(zone)
		w.dns.Set(fmt.Sprintf("mail.%[1]s. A %[2]s\n%[3]s PTR mail.%[1]s.\n", b.domain, b.host, reverse(b.host)))
		for name, record := range dkimRecords(zone) {
			keys[name] = record
		}
	}
	if len(keys) != 4 {
		t.Fatalf("%d DKIM records in the zones, want two of each domain: %v", len(keys), keys)
	}
	w.dkim = startOpenDKIM(t, "third.test", keys)
	w.third = startPostfix(t, "third.test", thirdHost, w.port,
		fmt.Sprintf("transport_maps = inline:{ {alpha.test = smtp:[%s]:%d}, {beta.test = smtp:[%s]:%d} }", alphaHost, w.port, betaHost, w.port),
		"smtp_tls_security_level = may", "message_size_limit = 200000",
		"smtpd_milters = "+w.dkim.milter(), "non_smtpd_milters = "+w.dkim.milter())
	w.dns.Set(fmt.Sprintf("third.test. MX 10 mx.third.test.\nmx.third.test. A %s\nthird.test. TXT \"v=spf1 ip4:%[1]s -all\"\nmx.third.test. TXT \"v=spf1 a -all\"\n_dmarc.third.test. TXT \"v=DMARC1; p=reject\"\n%[2]s PTR mx.third.test.\n", thirdHost, reverse(thirdHost)))
	w.dns.Text(opendkimSelector+"._domainkey.third.test", w.dkim.publicText)
}

// boat starts a packetboat for a domain on an address, with more arguments.
func (w *world) boat(domain, host string, base int, more ...string) *boat {
	w.t.Helper()
	b := &boat{t: w.t, data: filepath.Join(w.t.TempDir(), domain), host: host, base: base, args: append([]string{"--domain", domain, "--listen", host,
		"--set", "dns.servers=" + w.dns.Addr(), "--set", "outbound.port=" + fmt.Sprint(w.port), "--set", "outbound.bind=" + host, "--set", "outbound.enabled=on",
		"--set", "public_addresses=" + host, "--set", "auth.plaintext=always"}, more...)}
	b.start()
	w.t.Cleanup(b.stop)
	return b
}

func (w *world) account(b *boat, name, password string) {
	w.t.Helper()
	b.run(password+"\n", "account", "add", name, "--password-stdin")
}

// reverse is the name of an address in in-addr.arpa.
func reverse(host string) string {
	p := strings.Split(host, ".")
	return fmt.Sprintf("%s.%s.%s.%s.in-addr.arpa.", p[3], p[2], p[1], p[0])
}

// dkimRecords are the DKIM keys in a zone file, whose strings are joined.
func dkimRecords(zone string) map[string]string {
	keys := map[string]string{}
	for line := range strings.Lines(strings.NewReplacer("(", " ", ")", " ").Replace(zone)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || !strings.Contains(name, "._domainkey.") || strings.HasPrefix(name, ";") {
			continue
		}
		record := ""
		for i, part := range strings.Split(rest, `"`) {
			if i%2 == 1 {
				record += part
			}
		}
		keys[strings.TrimSuffix(name, ".")] = record
	}
	return keys
}

// mail sends a message as an account of a packetboat does: swaks over STARTTLS with AUTH.
func (w *world) mail(b *boat, user, password, to, subject string, more ...string) {
	w.t.Helper()
	args := append([]string{"--server", b.host, "--port", b.port(587), "-tls", "--auth", "PLAIN", "--auth-user", user, "--auth-password", password,
		"--from", user, "--to", to, "--h-Subject", subject, "--helo", "client.example.net", "--timeout", "20"}, more...)
	b.must("", "swaks", args...)
}

// contains says what a text lacks.
func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, want := range wanted {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %q in:\n%.4000s", want, text)
		}
	}
}

// The real outbound path: two packetboats and a Postfix exchange signed mail.
func TestEndToEndWorld(t *testing.T) {
	w := startWorld(t)
	t.Run("signed mail from one packetboat to the other is genuine", func(t *testing.T) {
		w.mail(w.alpha, "ann@alpha.test", annPassword, "bob@beta.test", "first-to-bob")
		m := w.beta.message(t, "bob@beta.test", joePassword, "first-to-bob")
		results := field(t, m, "Authentication-Results")
		contains(t, results, "mail.beta.test;", "spf=pass", "dmarc=pass", "iprev=pass", "header.from=alpha.test")
		if n := strings.Count(results, "dkim=pass"); n != 2 {
			t.Errorf("%d signatures pass, want RSA and Ed25519: %s", n, results)
		}
		contains(t, m, "Return-Path: <ann@alpha.test>", "with ESMTPS id")
		if n := strings.Count(m, "DKIM-Signature: "); n != 2 {
			t.Errorf("%d signatures", n)
		}
	})
	t.Run("and back", func(t *testing.T) {
		w.mail(w.beta, "bob@beta.test", joePassword, "ann@alpha.test", "answer-to-ann")
		contains(t, field(t, w.alpha.message(t, "ann@alpha.test", annPassword, "answer-to-ann"), "Authentication-Results"), "dmarc=pass", "spf=pass")
	})
	t.Run("nobody there: the notice says so", func(t *testing.T) {
		w.mail(w.alpha, "ann@alpha.test", annPassword, "nobody@beta.test", "to-nobody")
		notice := w.alpha.found(t, "ann@alpha.test", annPassword, "INBOX", `TEXT "nobody@beta.test"`)
		contains(t, notice, "multipart/report", "Final-Recipient: rfc822; nobody@beta.test", "Action: failed", "Status: 5.1.1", "Return-Path: <>", "Auto-Submitted: auto-replied", "to-nobody")
	})
	t.Run("Postfix takes our mail, and OpenDKIM finds it signed by us", func(t *testing.T) {
		w.mail(w.alpha, "ann@alpha.test", annPassword, "paul@third.test", "to-postfix")
		m := w.third.message("paul", "to-postfix")
		contains(t, m, "Authentication-Results: mx.third.test", "dkim=pass", "header.d=alpha.test", "TLS")
	})
	t.Run("mail of Postfix, signed by OpenDKIM, is genuine here", func(t *testing.T) {
		w.third.send("From: paul@third.test\nTo: bob@beta.test\nSubject: from-postfix\n\nhello\n", "-f", "paul@third.test", "bob@beta.test")
		contains(t, field(t, w.beta.message(t, "bob@beta.test", joePassword, "from-postfix"), "Authentication-Results"), "spf=pass", "dkim=pass", "dmarc=pass", "header.d=third.test")
	})
	t.Run("a message that Postfix finds too large comes back", func(t *testing.T) {
		file := writeOwn(t, filepath.Join(t.TempDir(), "big"), strings.Repeat("0123456789abcdef0123456789abcdef\n", 10_000))
		w.mail(w.alpha, "ann@alpha.test", annPassword, "paul@third.test", "too-large", "--body", "@"+file)
		contains(t, w.alpha.found(t, "ann@alpha.test", annPassword, "INBOX", `TEXT "too-large" HEADER Content-Type "report"`), "Status: 5.3.4", "Final-Recipient: rfc822; paul@third.test")
	})
	t.Run("Postfix refuses for now, then takes it", func(t *testing.T) {
		w.third.set("smtpd_recipient_restrictions = check_recipient_access inline:{ {late@third.test = 450 4.7.1 not now} }, permit_mynetworks, reject_unauth_destination")
		w.mail(w.alpha, "ann@alpha.test", annPassword, "late@third.test", "comes-late")
		eventually(t, "the queue tells why it waits", func() bool { return strings.Contains(w.alpha.run("", "queue", "list"), "not now") })
		w.third.set("smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination")
		if n := len(w.third.messages("late")); n != 0 {
			t.Fatalf("%d messages came before they were taken", n)
		}
		w.alpha.run("", "queue", "retry", "--to", "late@third.test")
		w.third.message("late", "comes-late")
		eventually(t, "the queue is empty", func() bool { return !strings.Contains(w.alpha.run("", "queue", "list"), "late@third.test") })
	})
	t.Run("SMTPUTF8 to Postfix", func(t *testing.T) {
		w.alpha.python(t, `
import smtplib
s = smtplib.SMTP("`+alphaHost+`", PORT+587); s.starttls(context=ssl._create_unverified_context()); s.login("ann@alpha.test", ANN)
s.sendmail("ann@alpha.test", ["jörg@third.test"], "From: ann@alpha.test\r\nTo: jörg@third.test\r\nSubject: grüße\r\n\r\nutf8-for-jörg\r\n".encode(), ["SMTPUTF8", "BODY=8BITMIME"])
s.quit()
`)
		w.third.message("jörg", "utf8-for-jörg")
	})
	t.Run("DSN: Postfix tells that it has delivered", func(t *testing.T) {
		w.alpha.python(t, `
import smtplib
s = smtplib.SMTP("`+alphaHost+`", PORT+587); s.starttls(context=ssl._create_unverified_context()); s.login("ann@alpha.test", ANN)
s.sendmail("ann@alpha.test", ["paul@third.test"], "From: ann@alpha.test\r\nSubject: success-wanted\r\n\r\nx\r\n", ["RET=HDRS", "ENVID=env+2B17"], ["NOTIFY=SUCCESS", "ORCPT=rfc822;paul@third.test"])
s.quit()
`)
		w.third.message("paul", "success-wanted")
		contains(t, w.alpha.found(t, "ann@alpha.test", annPassword, "INBOX", `TEXT "Original-Envelope-Id"`), "Original-Envelope-Id: env+17", "Action: delivered", "paul@third.test")
	})
	t.Run("DSN: we tell Postfix's user that we have delivered", func(t *testing.T) {
		w.third.send("From: sue@third.test\nTo: bob@beta.test\nSubject: sue-wants-to-know\n\nhello\n", "-f", "sue@third.test", "-N", "success,failure", "-V", "env-18", "bob@beta.test")
		contains(t, w.third.message("sue", "Action: delivered"), "Original-Envelope-Id: env-18", "bob@beta.test", "dkim=pass")
	})
	t.Run("a forward is sealed, and its sender rewritten; its bounce goes back", func(t *testing.T) {
		w.alpha.run("", "forward", "set", "carl@alpha.test", "bob@beta.test")
		w.third.send("From: paul@third.test\nTo: carl@alpha.test\nSubject: goes-on\n\nhello\n", "-f", "paul@third.test", "carl@alpha.test")
		m := w.beta.message(t, "bob@beta.test", joePassword, "goes-on")
		contains(t, m, "ARC-Seal: i=1;", "d=alpha.test", "Return-Path: <SRS0=")
		contains(t, field(t, m, "Authentication-Results"), "arc=pass", "spf=pass", "dkim=pass", "dmarc=pass")
		w.alpha.run("", "forward", "set", "carl@alpha.test", "nobody@beta.test")
		w.third.send("From: rita@third.test\nTo: carl@alpha.test\nSubject: comes-back\n\nhello\n", "-f", "rita@third.test", "carl@alpha.test")
		contains(t, w.third.message("rita", "nobody@beta.test"), "Status: 5.1.1", "multipart/report")
	})
	t.Run("whoever pretends to be a domain that rejects is refused", func(t *testing.T) {
		out, err := w.beta.client("", "swaks", "--server", betaHost, "--port", w.beta.port(25), "--local-interface", "127.0.0.66", "--helo", "mail.evil.test",
			"--from", "x@evil.test", "--to", "bob@beta.test", "--h-From", "paul@third.test", "--h-Subject", "spoofed")
		if err == nil || !strings.Contains(out, "550 5.7.1") {
			t.Errorf("a message that is not from third.test: %v\n%s", err, out)
		}
	})
	t.Run("the sessions to other servers are in the list", func(t *testing.T) {
		w.mail(w.alpha, "ann@alpha.test", annPassword, "bob@beta.test", "while-listed")
		w.beta.message(t, "bob@beta.test", joePassword, "while-listed")
		contains(t, w.alpha.run("", "session", "list"), "outbound", betaHost)
	})
}
