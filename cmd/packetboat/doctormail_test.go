package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// told are findings as text.
func told(found []finding) string {
	var all strings.Builder
	for _, f := range found {
		fmt.Fprintf(&all, "%s %s: %s\n", f.State, f.Check, f.What)
	}
	return all.String()
}

func expect(t *testing.T, all string, want, not []string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(all, w) {
			t.Errorf("no %q in\n%s", w, all)
		}
	}
	for _, n := range not {
		if strings.Contains(all, n) {
			t.Errorf("%q in\n%s", n, all)
		}
	}
}

// Of a stopped server the DNS, the certificate and the addresses are looked at.
func TestDoctorMail(t *testing.T) {
	examine := func(t *testing.T, g *registered) string {
		t.Helper()
		s, err := g.control.survey(t.Context(), "example.test")
		if err != nil {
			t.Fatal(err)
		}
		trusted := x509.NewCertPool()
		trusted.AddCert(s.chain[len(s.chain)-1])
		d := &mailDoctor{control: g.control, survey: s, resolver: g.control.config.freshResolver(slog.New(slog.DiscardHandler)), roots: trusted}
		return told(d.examine(t.Context(), nil))
	}
	t.Run("all is well", func(t *testing.T) {
		g := newRegistered(t, published)
		g.dns.Set(g.ask(t, "example.test", false).text(true))
		g.dns.Set(". NS ns.test.")
		g.dns.Authentic(true)
		expect(t, examine(t, g), []string{"OK resolver: " + g.dns.Addr() + " answers and validates", "records are as they should be", "OK certificate: has all the names", "OK certificate: is trusted", "postmaster@example.test is nobody's", "INFO server: is not running", "WARN sending: mail to other domains is not sent", "OK queue: 0 messages wait"},
			[]string{"FAIL", "WARN dns", "WARN set-up"})
	})
	t.Run("nothing is published", func(t *testing.T) {
		g := newRegistered(t, "mta_sts.mode = \"enforce\"")
		expect(t, examine(t, g), []string{"FAIL dns: MX example.test is missing", "WARN dns: TXT _mta-sts.example.test is missing", "WARN set-up: Port 25", "does not validate"}, []string{"_imaps"})
	})
	t.Run("no DNS", func(t *testing.T) {
		g := newRegistered(t, published)
		g.dns.Down()
		expect(t, examine(t, g), []string{"FAIL resolver: none answers"}, []string{"dns:"})
	})
	t.Run("a certificate of nobody, enforced", func(t *testing.T) {
		g := newRegistered(t, published+"mta_sts.mode = \"enforce\"")
		s, err := g.control.survey(t.Context(), "example.test")
		if err != nil {
			t.Fatal(err)
		}
		d := &mailDoctor{control: g.control, survey: s, roots: x509.NewCertPool()}
		d.certificate()
		expect(t, told(d.found), []string{"FAIL certificate: is none that others trust"}, nil)
		s.domain = "example.net"
		d.found = nil
		d.certificate()
		expect(t, told(d.found), []string{"WARN certificate: lacks the names mta-sts.example.net"}, nil)
	})
}

// A running server reaches itself as others do, and says so where another answers.
func TestDoctorMailRunning(t *testing.T) {
	d := resolvetest.New(t)
	b := base(t)
	dir := serving(t, b, "dns.servers="+d.Addr(), "public_addresses=127.0.0.1", fmt.Sprintf("clients.ports=mx=%d", b+25))
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	go func() {
		for {
			c, err := other.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "220 other ESMTP\r\n250 other\r\n221 bye\r\n")
			c.Close()
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	d.Set("mx.example.net. A 127.0.0.1")
	var out, errs strings.Builder
	code := run([]string{"doctor", "mail", "example.test", "--data", dir, "--json",
		"--to", fmt.Sprintf("mx.example.net:%d", b+25), "--to", other.Addr().String(), "--to", closed.Addr().String(), "--to", "nobody.example.net"}, nil, &out, &errs)
	var found []finding
	if err := json.Unmarshal([]byte(out.String()), &found); err != nil {
		t.Fatalf("%v: %s%s", err, &out, &errs)
	}
	expect(t, told(found), []string{
		fmt.Sprintf("OK port 25: 127.0.0.1:%d leads here, with STARTTLS", b+25), fmt.Sprintf("OK port 443: 127.0.0.1:%d serves the MTA-STS policy", b+443),
		fmt.Sprintf("OK outgoing: 127.0.0.1:%d answers, with STARTTLS", b+25), "WARN outgoing: " + other.Addr().String() + " answers and offers no STARTTLS",
		"FAIL outgoing: " + closed.Addr().String() + " cannot be reached", "FAIL outgoing: nobody.example.net: ", "OK postmaster", "FAIL dns: MX example.test is missing",
	}, nil)
	if code != exitFailed || !strings.Contains(errs.String(), "mail does not work") {
		t.Errorf("%d %s", code, &errs)
	}
	out.Reset()
	if code := run([]string{"domain", "dns", "--check", "--data", dir}, nil, &out, &errs); code != exitFailed || !strings.Contains(out.String(), "missing  needed ") {
		t.Errorf("%d %s", code, &out)
	}
	out.Reset()
	if code := run([]string{"domain", "dns", "--zone", "--data", dir}, nil, &out, &errs); code != exitOK {
		t.Fatal(code, &errs)
	}
	d.Set(out.String())
	out.Reset()
	if code := run([]string{"domain", "dns", "--check", "--data", dir}, nil, &out, &errs); code != exitOK {
		t.Errorf("%d %s", code, &out)
	}
}

// Another server at our address is seen by its certificate and its policy.
func TestDoctorMailElsewhere(t *testing.T) {
	dns := resolvetest.New(t)
	b := base(t)
	serving(t, b, "dns.servers="+dns.Addr())
	g := newRegistered(t, published+"mta_sts.max_age = \"1h\"")
	s, err := g.control.survey(t.Context(), "example.test")
	if err != nil {
		t.Fatal(err)
	}
	d := &mailDoctor{control: g.control, survey: s}
	ctx := context.WithoutCancel(t.Context())
	d.reachMX(ctx, fmt.Sprintf("127.0.0.1:%d", b+25))
	d.reachPolicy(ctx, fmt.Sprintf("127.0.0.1:%d", b+443))
	d.reachPolicy(ctx, fmt.Sprintf("127.0.0.1:%d", b+24))
	expect(t, told(d.found), []string{"shows another certificate", "does not serve this server's MTA-STS policy", "WARN port 443: 127.0.0.1:" + fmt.Sprint(b+24) + " cannot be reached from here: connect: connection refused"}, nil)
}
