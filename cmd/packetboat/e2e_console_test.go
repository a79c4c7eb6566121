//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What clients ask for by HTTP, asked by curl and read by Python's parsers of XML and property lists.
func TestEndToEndConsole(t *testing.T) {
	b := launch(t)
	curl := func(args ...string) string {
		t.Helper()
		return b.must("", "curl", append([]string{"-sS", "--fail", "--max-time", "20", "--cacert", b.ca(), "--connect-to", "::localhost:" + b.port(443)}, args...)...)
	}
	dir := t.TempDir()
	t.Run("policy", func(t *testing.T) {
		for _, version := range []string{"--http1.1", "--http2"} {
			if out := curl(version, "https://mta-sts.example.test/.well-known/mta-sts.txt"); !strings.Contains(out, "version: STSv1\r\nmode: testing\r\nmx: mail.example.test\r\n") {
				t.Errorf("%s: %q", version, out)
			}
		}
	})
	t.Run("autoconfig", func(t *testing.T) {
		out := b.must(b.must("", "curl", "-sS", "--fail", "http://localhost:"+b.port(80)+"/mail/config-v1.1.xml?emailaddress=ann%40example.test"), "python3", "-c", `
import sys, xml.etree.ElementTree as E
c = E.fromstring(sys.stdin.read())
assert c.tag == 'clientConfig' and c.get('version') == '1.1'
for s in c.find('emailProvider').iter():
    if s.tag in ('incomingServer', 'outgoingServer'): print(s.get('type'), *[s.find(n).text for n in ('hostname', 'port', 'socketType', 'authentication', 'username')])
`)
		if want := "imap localhost " + b.port(993) + " SSL password-cleartext %EMAILADDRESS%\nimap localhost " + b.port(143) + " STARTTLS"; !strings.HasPrefix(out, want) {
			t.Error(out)
		}
	})
	t.Run("autodiscover", func(t *testing.T) {
		request := filepath.Join(dir, "request.xml")
		text := `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>ann@example.test</EMailAddress><AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`
		if err := os.WriteFile(request, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// Outlook asks in clear last, and is led to where TLS is.
		out := curl("--header", "Content-Type: text/xml", "--data-binary", "@"+request, "https://autodiscover.example.test/AutoDiscover/AutoDiscover.xml")
		if !strings.Contains(out, "<Port>"+b.port(993)+"</Port>") {
			t.Error(out)
		}
		if out := b.must("", "curl", "-sS", "-o", filepath.Join(dir, "none"), "-w", "%{redirect_url}", "http://localhost:"+b.port(80)+"/autodiscover/autodiscover.xml"); out != "https://localhost:"+b.port(443)+"/autodiscover/autodiscover.xml" {
			t.Error(out)
		}
	})
	t.Run("profile", func(t *testing.T) {
		out := b.must(curl("https://localhost:"+b.port(443)+"/mobileconfig?email=ann%40example.test"), "python3", "-c", `
import sys, plistlib, uuid
p = plistlib.loads(sys.stdin.buffer.read())
m = p['PayloadContent'][0]
uuid.UUID(p['PayloadUUID']); uuid.UUID(m['PayloadUUID'])
print(m['EmailAddress'], m['IncomingMailServerPortNumber'], m['OutgoingMailServerPortNumber'], m['IncomingMailServerUseSSL'], p['PayloadType'])
`)
		if want := "ann@example.test " + b.port(993) + " " + b.port(465) + " True Configuration\n"; out != want {
			t.Error(out)
		}
	})
	t.Run("names of the certificate follow the domains", func(t *testing.T) {
		b.run("", "domain", "add", "later.test")
		if out := curl("https://mta-sts.later.test/.well-known/mta-sts.txt"); !strings.Contains(out, "STSv1") {
			t.Error(out)
		}
	})
	t.Run("records", func(t *testing.T) {
		if out := b.run("", "domain", "dns", "example.test"); !strings.Contains(out, "example.test. 3600 IN MX 10 mail.example.test.") || !strings.Contains(out, "_domainkey.example.test.") {
			t.Error(out)
		}
		b.stop()
		if out := b.run("", "domain", "dns", "example.test", "--zone"); !strings.Contains(out, "_25._tcp.mail.example.test. 3600 IN TLSA 3 1 1 ") {
			t.Error(out)
		}
	})
}

// Behind a front end that sends PROXY headers.
func TestEndToEndConsoleProxy(t *testing.T) {
	b := launch(t, "--set", "proxy.listeners=http")
	url := "http://localhost:" + b.port(80) + "/health"
	if out := b.must("", "curl", "-sS", "--fail", "--haproxy-protocol", url); out != "ok\n" {
		t.Error(out)
	}
	if out, err := b.client("", "curl", "-sS", "--fail", "--max-time", "20", url); err == nil {
		t.Errorf("without a PROXY header: %s", out)
	}
}
