package main

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// registered is a server for example.test on 203.0.113.7 and 2001:db8::7, with a DNS of the test.
type registered struct {
	control *control
	dns     *resolvetest.DNS
}

func newRegistered(t *testing.T, toml string) *registered {
	t.Helper()
	d := resolvetest.New(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(toml), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := (&configFlags{data: dir, domain: "example.test", set: []string{"dns.servers=" + d.Addr(), "dns.timeout=500ms"}}).load(dir)
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	cs, err := openCertificates(dir, c, logger)
	if err != nil {
		t.Fatal(err)
	}
	store := storagetest.New(t)
	if err := store.AddDomain(t.Context(), "example.test"); err != nil {
		t.Fatal(err)
	}
	return &registered{&control{store: store, config: c, chain: cs.chain, logger: logger}, d}
}

const published = "base_port = 0\nlisten = \"all\"\npublic_addresses = \"203.0.113.7, 2001:db8::7\"\n"

// ask is what the verb asks.
func (g *registered) ask(t *testing.T, domain string, check bool) *zone {
	t.Helper()
	path := "/domains/" + domain + "/dns"
	if check {
		path += "?check=1"
	}
	w := httptest.NewRecorder()
	g.control.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	var z zone
	if err := json.Unmarshal(w.Body.Bytes(), &z); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d %v: %s", w.Code, err, w.Body)
	}
	return &z
}

func (z *zone) find(t *testing.T, kind, name string) *record {
	t.Helper()
	for _, r := range z.Records {
		if r.Type == kind && strings.TrimSuffix(r.Name, ".") == name {
			return r
		}
	}
	t.Fatalf("no %s %s in\n%s", kind, name, z.text(false))
	return nil
}

// The zone is one that a parser of zone files reads; publishing it makes every check content.
func TestDomainDNS(t *testing.T) {
	g := newRegistered(t, published)
	z := g.ask(t, "Example.Test", false)
	if len(z.Notes) != 0 || z.Checked {
		t.Errorf("%+v", z)
	}
	for _, want := range []struct{ kind, name, data string }{
		{"MX", "example.test", "10 mail.example.test."},
		{"A", "mail.example.test", "203.0.113.7"},
		{"AAAA", "mail.example.test", "2001:db8::7"},
		{"PTR", "7.113.0.203.in-addr.arpa", "mail.example.test."},
		{"TXT", "example.test", `"v=spf1 ip4:203.0.113.7 ip6:2001:db8::7 -all"`},
		{"TXT", "_dmarc.example.test", `"v=DMARC1; p=quarantine; rua=mailto:postmaster@example.test"`},
		{"TXT", "_smtp._tls.example.test", `"v=TLSRPTv1; rua=mailto:postmaster@example.test"`},
		{"CNAME", "mta-sts.example.test", "mail.example.test."},
		{"SRV", "_imaps._tcp.example.test", "0 1 993 mail.example.test."},
		{"SRV", "_submission._tcp.example.test", "10 1 587 mail.example.test."},
		{"SRV", "_autodiscover._tcp.example.test", "0 0 443 mail.example.test."},
		{"CNAME", "autoconfig.example.test", "mail.example.test."},
	} {
		if r := z.find(t, want.kind, want.name); r.Data != want.data {
			t.Errorf("%s %s: %s, want %s", want.kind, want.name, r.Data, want.data)
		}
	}
	if r := z.find(t, "TLSA", "_25._tcp.mail.example.test"); !strings.HasPrefix(r.Data, "3 1 1 ") || len(r.Data) != 6+64 {
		t.Errorf("%+v", r)
	}
	p := dns.NewZoneParser(strings.NewReader(z.text(false)), "", "")
	n := 0
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		n++
		if txt, ok := rr.(*dns.TXT); ok {
			for _, s := range txt.Txt {
				if len(s) > 255 {
					t.Errorf("%d bytes in one string", len(s))
				}
			}
		}
	}
	if err := p.Err(); err != nil || n != len(z.Records) {
		t.Fatalf("%d of %d records read: %v\n%s", n, len(z.Records), err, z.text(false))
	}
	g.dns.Set(z.text(true))
	g.dns.Authentic(true)
	z = g.ask(t, "example.test", true)
	for _, r := range z.Records {
		if r.State != verdictOK || r.Note != "" && !strings.Contains(r.Note, "ALL") {
			t.Errorf("%s: %s %v %s", r.line(), r.State, r.Found, r.Note)
		}
	}
	if n, _ := z.failing(); n != 0 {
		t.Errorf("%d fail", n)
	}
}

// Records are compared by what they mean.
func TestDomainDNSCheck(t *testing.T) {
	g := newRegistered(t, published)
	bare := g.ask(t, "example.test", false).text(true)
	selector := ""
	for _, r := range g.ask(t, "example.test", false).Records {
		if strings.Contains(r.Data, "k=rsa") {
			selector = strings.TrimSuffix(r.Name, ".")
		}
	}
	keys, err := g.control.store.DKIMKeys(t.Context(), "example.test")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name       string
		set        string // records in place of those that are right
		remove     string // TYPE NAME
		kind, at   string
		want       verdict
		note       string
		failing    int
		unanswered bool
	}{
		{name: "MX by another name", set: "example.test. MX 5 mx.example.test.\nmx.example.test. A 203.0.113.7", kind: "MX", at: "example.test", want: verdictOK, note: "the MTA-STS policy does not name mx.example.test."},
		{name: "MX by an alias", set: "example.test. MX 5 mx.example.test.\nmx.example.test. CNAME mail.example.test.", kind: "MX", at: "example.test", want: verdictOK, note: "is an alias of mail.example.test."},
		{name: "MX of another", set: "example.test. MX 5 mx.example.net.\nmx.example.net. A 203.0.113.9", kind: "MX", at: "example.test", want: verdictDiffers, note: "elsewhere", failing: 1},
		{name: "MX beside another", set: "example.test. MX 5 mx.example.net.\nexample.test. MX 9 mail.example.test.", kind: "MX", at: "example.test", want: verdictOK, note: "others too: mx.example.net."},
		{name: "null MX", set: "example.test. MX 0 .", kind: "MX", at: "example.test", want: verdictDiffers, note: "RFC 7505", failing: 1},
		{name: "no MX", remove: "MX example.test", kind: "MX", at: "example.test", want: verdictMissing, failing: 1},
		{name: "no MX but an address", remove: "MX example.test", set: "example.test. A 203.0.113.7", kind: "MX", at: "example.test", want: verdictOK, note: "there is none"},
		{name: "no answer for MX", set: "fail example.test", kind: "MX", at: "example.test", want: verdictUnknown, note: "cannot ask", failing: 2, unanswered: true},

		{name: "another address", set: "mail.example.test. A 203.0.113.9", kind: "A", at: "mail.example.test", want: verdictDiffers, failing: 2},
		{name: "one address more", set: "mail.example.test. A 203.0.113.7\nmail.example.test. A 203.0.113.9", kind: "A", at: "mail.example.test", want: verdictOK, note: "203.0.113.9"},
		{name: "no IPv6", remove: "AAAA mail.example.test", kind: "AAAA", at: "mail.example.test", want: verdictMissing, failing: 2}, // and the PTR does not lead back
		{name: "no PTR", remove: "PTR 7.113.0.203.in-addr.arpa", kind: "PTR", at: "7.113.0.203.in-addr.arpa", want: verdictMissing, failing: 1},
		{name: "a PTR that does not lead back", set: "7.113.0.203.in-addr.arpa. PTR host7.example.net.", kind: "PTR", at: "7.113.0.203.in-addr.arpa", want: verdictDiffers, note: "does not lead back", failing: 1},
		{name: "a PTR of another name", set: "7.113.0.203.in-addr.arpa. PTR host7.example.net.\nhost7.example.net. A 203.0.113.7", kind: "PTR", at: "7.113.0.203.in-addr.arpa", want: verdictOK, note: "another name"},

		{name: "SPF by include", set: "example.test. TXT \"v=spf1 include:_spf.example.net ~all\"\n_spf.example.net. TXT \"v=spf1 ip4:203.0.113.0/24 ip6:2001:db8::/32 -all\"", kind: "TXT", at: "example.test", want: verdictOK},
		{name: "SPF by mx", set: "example.test. TXT \"v=spf1 mx -all\"", kind: "TXT", at: "example.test", want: verdictOK},
		{name: "SPF beside other texts", set: "example.test. TXT \"v=spf1 mx -all\"\nexample.test. TXT \"verification=1\"", kind: "TXT", at: "example.test", want: verdictOK},
		{name: "SPF without IPv6", set: "example.test. TXT \"v=spf1 ip4:203.0.113.7 -all\"", kind: "TXT", at: "example.test", want: verdictDiffers, note: "mail from 2001:db8::7", failing: 1},
		{name: "SPF for everybody", set: "example.test. TXT \"v=spf1 +all\"", kind: "TXT", at: "example.test", want: verdictOK, note: "everybody"},
		{name: "two SPF", set: "example.test. TXT \"v=spf1 mx -all\"\nexample.test. TXT \"v=spf1 a -all\"", kind: "TXT", at: "example.test", want: verdictDiffers, note: "several", failing: 1},
		{name: "wrong SPF", set: "example.test. TXT \"v=spf1 ip4:203.0.113.777 -all\"", kind: "TXT", at: "example.test", want: verdictDiffers, note: "wrong", failing: 1},
		{name: "no SPF", set: "example.test. TXT \"hello\"", kind: "TXT", at: "example.test", want: verdictMissing, failing: 1},

		{name: "DKIM in other words", set: selector + ". TXT " + quoted("k=rsa;t=s; p="+strings.Split(keys[0].Record(), "p=")[1]), kind: "TXT", at: selector, want: verdictOK},
		{name: "DKIM in the bare form", set: selector + ". TXT " + quoted("v=DKIM1; p="+bareRSA(t, keys[0].Public)), kind: "TXT", at: selector, want: verdictOK},
		{name: "DKIM revoked", set: selector + ". TXT \"v=DKIM1; p=\"", kind: "TXT", at: selector, want: verdictDiffers, note: "revoked", failing: 1},
		{name: "DKIM of another", set: selector + ". TXT " + quoted(keys[1].Record()), kind: "TXT", at: selector, want: verdictDiffers, note: "another key", failing: 1},
		{name: "DKIM not for mail", set: selector + ". TXT " + quoted(keys[0].Record()+"; s=tlsrpt"), kind: "TXT", at: selector, want: verdictDiffers, note: "not for mail", failing: 1},
		{name: "DKIM tested", set: selector + ". TXT " + quoted(keys[0].Record()+"; t=y"), kind: "TXT", at: selector, want: verdictOK, note: "tested"},
		{name: "no DKIM", remove: "TXT " + selector, kind: "TXT", at: selector, want: verdictMissing, failing: 1},

		{name: "DMARC of any kind", set: "_dmarc.example.test. TXT \"v=DMARC1; p=reject; sp=none\"", kind: "TXT", at: "_dmarc.example.test", want: verdictOK},
		{name: "DMARC none", set: "_dmarc.example.test. TXT \"v=DMARC1; p=none\"", kind: "TXT", at: "_dmarc.example.test", want: verdictOK, note: "nothing is done"},
		{name: "wrong DMARC", set: "_dmarc.example.test. TXT \"v=DMARC1; p=perhaps\"", kind: "TXT", at: "_dmarc.example.test", want: verdictDiffers, failing: 1},
		{name: "no DMARC", remove: "TXT _dmarc.example.test", kind: "TXT", at: "_dmarc.example.test", want: verdictMissing, failing: 1},

		{name: "STS of another policy", set: "_mta-sts.example.test. TXT \"v=STSv1; id=1;\"", kind: "TXT", at: "_mta-sts.example.test", want: verdictDiffers, note: "another policy"},
		{name: "STS host by address", remove: "CNAME mta-sts.example.test", set: "mta-sts.example.test. A 203.0.113.7", kind: "CNAME", at: "mta-sts.example.test", want: verdictOK},
		{name: "STS host elsewhere", set: "mta-sts.example.test. CNAME www.example.net.", kind: "CNAME", at: "mta-sts.example.test", want: verdictDiffers},
		{name: "no TLS reports", remove: "TXT _smtp._tls.example.test", kind: "TXT", at: "_smtp._tls.example.test", want: verdictMissing},
		{name: "TLS reports elsewhere", set: "_smtp._tls.example.test. TXT \"v=TLSRPTv1;rua=https://reports.example.net/\"", kind: "TXT", at: "_smtp._tls.example.test", want: verdictOK},
		{name: "no TLSA", remove: "TLSA _25._tcp.mail.example.test", kind: "TLSA", at: "_25._tcp.mail.example.test", want: verdictMissing},
		{name: "TLSA of another key", set: "_25._tcp.mail.example.test. TLSA 3 1 1 " + strings.Repeat("ab", 32), kind: "TLSA", at: "_25._tcp.mail.example.test", want: verdictDiffers, note: "deliver nothing", failing: 1},
		{name: "TLSA not for SMTP", set: "_25._tcp.mail.example.test. TLSA 1 1 1 " + strings.Repeat("ab", 32), kind: "TLSA", at: "_25._tcp.mail.example.test", want: verdictDiffers, note: "usable"},
		{name: "SRV with another port", set: "_imaps._tcp.example.test. SRV 0 1 994 mail.example.test.", kind: "SRV", at: "_imaps._tcp.example.test", want: verdictDiffers},
		{name: "SRV with another weight", set: "_imaps._tcp.example.test. SRV 7 3 993 MAIL.example.test.", kind: "SRV", at: "_imaps._tcp.example.test", want: verdictOK},
		{name: "autoconfig missing", remove: "CNAME autoconfig.example.test", kind: "CNAME", at: "autoconfig.example.test", want: verdictMissing},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, l := range strings.Split(strings.TrimSpace(bare), "\n") {
				g.dns.Remove(strings.Fields(l)[0], "")
			}
			g.dns.Set(bare)
			g.dns.Authentic(true)
			if kind, name, ok := strings.Cut(test.remove, " "); ok {
				g.dns.Remove(name, kind)
			}
			if name, ok := strings.CutPrefix(test.set, "fail "); ok {
				g.dns.Fail(name)
				defer g.dns.Heal(name)
			} else if test.set != "" {
				g.dns.Set(test.set)
			}
			z := g.ask(t, "example.test", true)
			r := z.find(t, test.kind, test.at)
			if r.State != test.want || !strings.Contains(r.Note, test.note) || test.note == "" && r.Note != "" && test.want == verdictOK {
				t.Errorf("%s %q %v", r.State, r.Note, r.Found)
			}
			n, unanswered := z.failing()
			if n != test.failing || n > 0 && unanswered != test.unanswered {
				var b bytes.Buffer
				(&program{stdout: &b}).showZone(z, false)
				t.Errorf("%d fail (unanswered %v), want %d\n%s", n, unanswered, test.failing, &b)
			}
		})
	}
}

// bareRSA is a key without what says that it is RSA.
func bareRSA(t *testing.T, der []byte) string {
	t.Helper()
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PublicKey(key.(*rsa.PublicKey)))
}

// A DNS that is down is no reason to say that anything is missing.
func TestDomainDNSDown(t *testing.T) {
	g := newRegistered(t, published)
	g.dns.Down()
	z := g.ask(t, "example.test", true)
	for _, r := range z.Records {
		if r.State != verdictUnknown {
			t.Errorf("%s: %s %s", r.line(), r.State, r.Note)
		}
	}
	var b bytes.Buffer
	if err := (&program{stdout: &b}).showZone(z, false); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("%v", err)
	}
}

// What the records cannot do, as the server is set up, is said above them.
func TestDomainDNSNotes(t *testing.T) {
	g := newRegistered(t, "clients.ports = \"https=443\"\n")
	text := g.ask(t, "example.test", false).text(false)
	for _, want := range []string{"for this machine alone", "Port 25 is what other servers deliver to, and this server has 10025", "set public_addresses", `"v=spf1 a:mail.example.test -all"`, "; mail.example.test. A ..."} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if strings.Contains(text, "Port 443") {
		t.Error(text)
	}
	w := httptest.NewRecorder()
	g.control.handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/domains/example.net/dns", nil))
	if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "domain add") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// A policy that nobody could follow is warned of.
func TestEnforcedInVain(t *testing.T) {
	g := newRegistered(t, published+"[mta_sts]\nmode = \"enforce\"\n")
	if z := g.ask(t, "example.test", false); len(z.Notes) != 1 || !strings.Contains(z.Notes[0], "local CA") {
		t.Errorf("%q", z.Notes)
	}
	c := g.control.config
	c.TLSCert, c.STSMX = "cert.pem", []string{"mail.example.test", "mx.example.net", "*.example.net"}
	if faults := c.enforcedInVain(g.control.chain()); len(faults) != 1 || !strings.Contains(faults[0], "not for mx.example.net") {
		t.Errorf("%q", faults)
	}
	c.STSMode = "testing"
	if faults := c.enforcedInVain(g.control.chain()); len(faults) != 0 {
		t.Errorf("%q", faults)
	}
}

// Mail that goes out through another host is not judged by this server's addresses; another name in HELO has records of its own.
func TestDomainDNSRelay(t *testing.T) {
	g := newRegistered(t, published+"[outbound]\nsmarthost = \"relay.example.net:587\"\nhostname = \"out.example.test\"\n")
	z := g.ask(t, "example.test", false)
	if len(z.Notes) != 1 || !strings.Contains(z.Notes[0], "through relay.example.net") {
		t.Errorf("%q", z.Notes)
	}
	if r := z.find(t, "PTR", "7.113.0.203.in-addr.arpa"); r.Data != "out.example.test." {
		t.Errorf("%+v", r)
	}
	z.find(t, "AAAA", "out.example.test")
	g.dns.Set(z.text(true))
	g.dns.Set("example.test. TXT \"v=spf1 include:_spf.example.net -all\"\n_spf.example.net. TXT \"v=spf1 ip4:198.51.100.0/24 -all\"")
	if r := g.ask(t, "example.test", true).find(t, "TXT", "example.test"); r.State != verdictOK || !strings.Contains(r.Note, "relay.example.net") {
		t.Errorf("%+v", r)
	}
}

// Without public_addresses those of the server's name stand for them.
func TestDomainDNSByName(t *testing.T) {
	g := newRegistered(t, "base_port = 0\nlisten = \"all\"\n")
	g.dns.Set(g.ask(t, "example.test", false).text(true))
	g.dns.Set("mail.example.test. A 203.0.113.7\n7.113.0.203.in-addr.arpa. PTR mail.example.test.")
	z := g.ask(t, "example.test", true)
	if n, _ := z.failing(); n != 0 {
		var b bytes.Buffer
		(&program{stdout: &b}).showZone(z, false)
		t.Error(b.String())
	}
	g.dns.Set("mail.example.test. A 10.0.0.7")
	if r := g.ask(t, "example.test", true).find(t, "A", "mail.example.test"); r.State != verdictDiffers {
		t.Errorf("%+v", r)
	}
}

// What the DNS has is others' words: cut, and kept from steering the terminal.
func TestDomainDNSHostile(t *testing.T) {
	g := newRegistered(t, published)
	g.dns.Set(g.ask(t, "example.test", false).text(true))
	g.dns.Text("example.test", "v=spf1 \x1b[2J"+strings.Repeat("x", 3000))
	z := g.ask(t, "example.test", true)
	if r := z.find(t, "TXT", "example.test"); r.State != verdictDiffers || len(r.Found) != 1 || len(r.Found[0]) > 1010 {
		t.Errorf("%s %d", r.State, len(r.Found))
	}
	if strings.Contains(z.report(), "\x1b") {
		t.Error("an escape reaches the terminal")
	}
}

func TestQuoted(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		`a"b\`:                   `"a\"b\\"`,
		strings.Repeat("x", 256): `"` + strings.Repeat("x", 255) + `" "x"`,
	} {
		if got := quoted(text); got != want {
			t.Errorf("%s", got)
		}
	}
}
