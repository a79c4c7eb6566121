//go:build e2e

package main

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
	"github.com/packetboat/packetboat/smtp/verify"
)

// gtube is what rspamd takes for junk of a kind: X is refused, Y gets a header, A nothing.
func gtube(kind string) string {
	return kind + "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
}

func TestEndToEndRspamd(t *testing.T) {
	d := resolvetest.New(t)
	d.Set("example.net. 300 IN TXT \"v=spf1 ip4:127.0.0.1 -all\"\nstrict.example. 300 IN TXT \"v=spf1 -all\"\n_dmarc.strict.example. 300 IN TXT \"v=DMARC1; p=reject\"\n")
	b := launch(t, "--set", "dns.servers="+d.Addr(), "--set", "filter.rspamd.url=http://"+startRspamd(t, d.Addr()), "--set", "filter.rspamd.fail=closed")
	send := func(from, subject, body string) (string, error) {
		return b.client("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--helo", "client.example.net", "--timeout", "20", "--from", from,
			"--to", "ann@example.test", "--header", "Subject: "+subject, "--body", body)
	}
	id := regexp.MustCompile(`\(([0-9A-Z]{26})\)|delivered as ([0-9A-Z]{26})`)
	why := func(out string, words ...string) {
		t.Helper()
		m := id.FindStringSubmatch(out)
		if m == nil {
			t.Fatalf("no id in\n%s", out)
		}
		told := b.run("", "why", m[1]+m[2])
		for _, w := range words {
			if !strings.Contains(told, w) {
				t.Errorf("why does not say %q:\n%s", w, told)
			}
		}
	}

	out, err := send("someone@example.net", "harmless", "hello")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := b.message(t, "ann@example.test", annPassword, "harmless")
	if !strings.Contains(m, "X-Spam-Status: No, score=") || !strings.Contains(m, "spf=pass") {
		t.Errorf("the message lacks what was found of it:\n%s", m)
	}
	why(out, "was delivered\n", "because rspamd: no action", "spf=pass")

	out, err = send("someone@example.net", "junk", gtube("X"))
	if err == nil || !strings.Contains(out, "<** 55") {
		t.Errorf("rspamd's reject is no refusal: %v\n%s", err, out)
	}
	why(out, "was refused for good", "because rspamd: reject")

	out, err = send("someone@example.net", "suspicious", gtube("Y"))
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	why(out, "was delivered to Junk", "because rspamd: add header")

	out, err = send("someone@strict.example", "forged", "hello")
	if err == nil || !strings.Contains(out, "550 5.7.1 rejected per DMARC policy for strict.example") {
		t.Errorf("DMARC's reject is no refusal: %v\n%s", err, out)
	}
	why(out, "was refused for good", "whose domain asks for reject", "dmarc=fail")
}

// OpenDKIM, which speaks the milter protocol as most filters do (libmilter), signs what our MX shows it; the signature holds for what was delivered.
func TestEndToEndMilterSigns(t *testing.T) {
	d := resolvetest.New(t)
	o := startOpenDKIM(t, "signed.example", nil)
	d.Text(opendkimSelector+"._domainkey.signed.example", o.publicText)
	b := launch(t, "--set", "dns.servers="+d.Addr(), "--set", "filter.milters="+o.addr, "--set", "filter.milter_fail=closed")
	out, err := b.client("", "swaks", "--server", "127.0.0.1", "--port", b.port(25), "--helo", "client.example.net", "--timeout", "20", "--from", "joe@signed.example",
		"--to", "ann@example.test", "--header", "Subject: signed-by-milter", "--body", "hello\n..\n\n\n")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	m := b.message(t, "ann@example.test", annPassword, "signed-by-milter")
	if !strings.Contains(m, "DKIM-Signature: ") || !strings.Contains(m, "d=signed.example") {
		t.Fatalf("nobody signed:\n%s", m)
	}
	m = m[:strings.LastIndex(m, ")\r\n")] // the end of FETCH
	head, body, _ := strings.Cut(m, "\r\n\r\n")
	r := verify.New(resolve.New(resolve.Options{Servers: []string{d.Addr()}}), verify.Options{}).Check(t.Context(), verify.Message{
		Remote: netip.MustParseAddr("127.0.0.1"), MailFrom: "joe@signed.example", Header: []byte(head + "\r\n"), Body: strings.NewReader(body), Size: int64(len(body)),
	})
	if len(r.DKIM) != 1 || r.DKIM[0].Status != verify.Pass {
		t.Errorf("the signature does not hold: %+v\n%s", r.DKIM, m)
	}
}
