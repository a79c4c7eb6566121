package console

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/mox/mtasts"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
)

// rig is a server in clear and one with TLS, over one registry.
type rig struct {
	registry    *session.Registry
	clear, tls  string // addresses
	client      *http.Client
	conf        *tls.Config
	domainError error
}

var services = []Service{
	{"imaps", "imap", 10993, true}, {"imap", "imap", 10143, false},
	{"submissions", "smtp", 10465, true}, {"submission", "smtp", 10587, false},
	{"ftp", "ftp", 10021, false}, {"ftps", "ftp", 10990, true}, {"managesieve", "sieve", 14190, false},
}

func newRig(t *testing.T, o session.Options) *rig { return newRigWith(t, o, services) }

func newRigWith(t *testing.T, o session.Options, services []Service) *rig {
	t.Helper()
	g := &rig{registry: sessiontest.New(t, o)}
	server, client := sessiontest.TLS(t)
	g.conf = client
	options := Options{
		Name: "mail.example.test", HTTPS: 10443, Services: services,
		Policy: Policy{Mode: Enforce, MX: []string{"mail.example.test"}, MaxAge: 24 * time.Hour},
		Domains: func(context.Context) ([]string, error) {
			return []string{"example.test", "xn--bcher-kva.test"}, g.domainError
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	g.clear = sessiontest.Serve(t, g.registry, session.ListenerOptions{Name: "http", Protocol: session.HTTP, Refusal: Refusal, LoginTimeout: -1, IdleTimeout: time.Minute}, New(options).Serve)
	options.TLS = server
	g.tls = sessiontest.Serve(t, g.registry, session.ListenerOptions{Name: "https", Protocol: session.HTTP, LoginTimeout: -1, IdleTimeout: time.Minute}, New(options).Serve)
	tr := &http.Transport{TLSClientConfig: client.Clone(), ForceAttemptHTTP2: true, DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
		to := g.clear
		if strings.HasSuffix(addr, ":443") {
			to = g.tls
		}
		return new(net.Dialer).DialContext(ctx, "tcp", to)
	}}
	tr.TLSClientConfig.ServerName = "localhost"
	t.Cleanup(tr.CloseIdleConnections)
	g.client = &http.Client{Transport: tr, Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return g
}

// ask sends a request and returns the answer with its body.
func (g *rig) ask(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, url, b)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// discover is a request of Outlook's for an address.
func discover(address string) string {
	return `<?xml version="1.0" encoding="utf-8"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>` +
		address + `</EMailAddress><AcceptableResponseSchema>` + nsOutlook + `</AcceptableResponseSchema></Request></Autodiscover>`
}

// Each document, by path, host and method; and what is refused.
func TestDocuments(t *testing.T) {
	g := newRig(t, session.Options{})
	for _, test := range []struct {
		name, method, url, body string
		status                  int
		want                    string // in the body
	}{
		{"policy", "GET", "https://mta-sts.example.test/.well-known/mta-sts.txt", "", 200, "mode: enforce\r\nmx: mail.example.test\r\nmax_age: 86400\r\n"},
		{"policy, case and last dot", "GET", "https://MTA-STS.Example.Test./.well-known/mta-sts.txt", "", 200, "STSv1"},
		{"policy in clear", "GET", "http://mta-sts.example.test/.well-known/mta-sts.txt", "", 404, ""},
		{"policy of another", "GET", "https://mta-sts.example.net/.well-known/mta-sts.txt", "", 404, ""},
		{"policy of the bare domain", "GET", "https://example.test/.well-known/mta-sts.txt", "", 404, ""},
		{"policy by POST", "POST", "https://mta-sts.example.test/.well-known/mta-sts.txt", "x", 405, ""},

		{"autoconfig", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=ann%40example.test", "", 200, "<port>10993</port>"},
		{"autoconfig without an address", "GET", "https://autoconfig.example.test/mail/config-v1.1.xml", "", 200, "<domain>example.test</domain>"},
		{"autoconfig, well-known", "GET", "https://example.test/.well-known/autoconfig/mail/config-v1.1.xml", "", 200, "<domain>example.test</domain>"},
		{"autoconfig, an international domain", "GET", "https://x.test/mail/config-v1.1.xml?emailaddress=ann@b%C3%BCcher.test", "", 200, "<domain>xn--bcher-kva.test</domain>"},
		{"autoconfig of nobody", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=nobody@example.test", "", 200, "%EMAILADDRESS%"},
		{"autoconfig of another domain", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=ann@example.net", "", 404, ""},
		{"autoconfig, no address", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=ann", "", 404, ""},
		{"autoconfig, hostile", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=x@%3Cevil%3E", "", 404, ""},
		{"autoconfig, long", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml?emailaddress=x@" + strings.Repeat("a", 2000), "", 404, ""},
		{"autoconfig, other case", "GET", "http://autoconfig.example.test/mail/Config-v1.1.xml", "", 404, ""},
		{"autoconfig with a body", "GET", "http://autoconfig.example.test/mail/config-v1.1.xml", "body", 413, ""},

		{"autodiscover", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", discover("ann@example.test"), 200, "<LoginName>ann@example.test</LoginName>"},
		{"autodiscover, other case", "POST", "https://autodiscover.example.test/Autodiscover/Autodiscover.XML", discover("ann@EXAMPLE.test"), 200, "<LoginName>ann@example.test</LoginName>"},
		{"autodiscover in clear", "GET", "http://autodiscover.example.test/autodiscover/autodiscover.xml", "", 302, ""},
		{"autodiscover by GET", "GET", "https://autodiscover.example.test/autodiscover/autodiscover.xml", "", 405, ""},
		{"autodiscover of another", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", discover("ann@example.net"), 404, ""},
		{"autodiscover of no address", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", discover("ann"), 200, "<ErrorCode>600</ErrorCode>"},
		{"autodiscover for phones", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", strings.ReplaceAll(discover("ann@example.test"), "outlook/responseschema/2006a", "mobilesync/responseschema/2006"), 200, "<ErrorCode>601</ErrorCode>"},
		{"autodiscover with entities", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", `<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>` + discover("&x;@example.test"), 200, "<ErrorCode>600</ErrorCode>"},
		{"autodiscover, deep", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", strings.Repeat("<a>", 1000), 200, "<ErrorCode>600</ErrorCode>"},
		{"autodiscover, long", "POST", "https://autodiscover.example.test/autodiscover/autodiscover.xml", strings.Repeat(" ", maxBody) + discover("ann@example.test"), 413, ""},
		{"autodiscover, JSON", "GET", "https://autodiscover.example.test/autodiscover/autodiscover.json?Email=a@example.test&Protocol=AutodiscoverV1", "", 200, `"Url":"https://mail.example.test:10443/autodiscover/autodiscover.xml"`},
		{"autodiscover, JSON with version", "GET", "https://x.test/autodiscover/autodiscover.json/v1.0/a@example.test?Protocol=autodiscoverv1", "", 200, `"Protocol":"AutodiscoverV1"`},
		{"autodiscover, JSON for phones", "GET", "https://autodiscover.example.test/autodiscover/autodiscover.json?Email=a@example.test&Protocol=ActiveSync", "", 400, "InvalidProtocol"},
		{"autodiscover, JSON of another", "GET", "https://autodiscover.example.test/autodiscover/autodiscover.json?Email=a@example.net&Protocol=AutodiscoverV1", "", 404, ""},

		{"profile", "GET", "https://mail.example.test/mobileconfig?email=ann@example.test", "", 200, "<string>ann@example.test</string>"},
		{"profile in clear", "GET", "http://mail.example.test/mobileconfig?email=ann@example.test", "", 302, ""},
		{"profile of another", "GET", "https://mail.example.test/mobileconfig?email=ann@example.net", "", 404, ""},
		{"profile of none", "GET", "https://mail.example.test/mobileconfig", "", 400, ""},
		{"profile, hostile", "GET", "https://mail.example.test/mobileconfig?email=%3C%2Fstring%3E%0d%0a@example.test", "", 400, ""},

		{"page", "GET", "http://whatever.test/", "", 200, "<code>10993</code>"},
		{"health", "GET", "http://whatever.test/health", "", 200, "ok"},
		{"settings", "GET", "http://x.test/settings.json?domain=example.test", "", 200, `"_submissions"`},
		{"settings of another", "GET", "http://x.test/settings.json?domain=example.net", "", 404, ""},
		{"nothing", "GET", "http://x.test/etc/passwd", "", 404, ""},
		{"upwards", "GET", "http://x.test/../health", "", 404, ""},
		{"twice", "GET", "http://x.test//health", "", 404, ""},
		{"another method", "DELETE", "http://x.test/health", "", 405, ""},
		{"TRACE", "TRACE", "http://x.test/", "", 405, ""},
		{"OPTIONS", "OPTIONS", "http://x.test/", "", 405, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp, body := g.ask(t, test.method, test.url, test.body)
			if resp.StatusCode != test.status || !strings.Contains(body, test.want) {
				t.Fatalf("%s, want %d with %q\n%s", resp.Status, test.status, test.want, body)
			}
			for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Referrer-Policy": "no-referrer", "Server": ""} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s: %q", name, got)
				}
			}
			if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
				t.Errorf("Content-Security-Policy: %q", csp)
			}
			if resp.StatusCode == 302 && resp.Header.Get("Location") != "https://mail.example.test:10443"+strings.TrimPrefix(strings.TrimPrefix(test.url, "http://autodiscover.example.test"), "http://mail.example.test") {
				t.Errorf("sent to %s", resp.Header.Get("Location"))
			}
			if resp.StatusCode == 405 && resp.Header.Get("Allow") == "" {
				t.Error("405 without Allow")
			}
			if test.method == "GET" && resp.StatusCode == 200 {
				head, body := g.ask(t, "HEAD", test.url, "")
				if head.StatusCode != 200 || body != "" || head.ContentLength != resp.ContentLength && resp.ContentLength >= 0 {
					t.Errorf("HEAD: %s, %d bytes, length %d", head.Status, len(body), head.ContentLength)
				}
			}
		})
	}
}

// Nothing tells whether an address exists: nothing is even asked but the domain, and answers for two local parts differ in these alone.
func TestNoAddressIsTold(t *testing.T) {
	g := newRig(t, session.Options{})
	for _, url := range []string{"http://x.test/mail/config-v1.1.xml?emailaddress=NAME@example.test", "https://x.test/autodiscover/autodiscover.json?Protocol=AutodiscoverV1&Email=NAME@example.test"} {
		_, one := g.ask(t, "GET", strings.Replace(url, "NAME", "ann", 1), "")
		_, two := g.ask(t, "GET", strings.Replace(url, "NAME", "joe", 1), "")
		if one != two || one == "" {
			t.Errorf("%s\n%s", one, two)
		}
	}
}

// RFC 8461 section 3.2: the policy is read by another's parser; its id is another when it is another.
func TestPolicy(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range []Policy{
		{None, []string{"mail.example.test"}, time.Hour},
		{Testing, []string{"mail.example.test"}, time.Hour},
		{Enforce, []string{"mail.example.test", "*.mx.example.test"}, 31557600 * time.Second},
	} {
		got, err := mtasts.ParsePolicy(string(p.Text()))
		if err != nil {
			t.Fatalf("%v\n%s", err, p.Text())
		}
		if string(got.Mode) != string(p.Mode) || len(got.MX) != len(p.MX) || got.MaxAgeSeconds != int(p.MaxAge/time.Second) {
			t.Errorf("%+v", got)
		}
		record, is, err := mtasts.ParseRecord("v=STSv1; id=" + p.ID() + ";")
		if err != nil || !is || record.ID != p.ID() || seen[p.ID()] {
			t.Errorf("id %s: %v", p.ID(), err)
		}
		seen[p.ID()] = true
	}
}

// RFC 8461 section 4.1.
func TestPolicyMatches(t *testing.T) {
	p := Policy{MX: []string{"mail.example.test", "*.mx.example.test"}}
	for host, want := range map[string]bool{"MAIL.example.test.": true, "a.mx.example.test": true, "a.b.mx.example.test": false, "mx.example.test": false, "example.test": false, "": false} {
		if p.Matches(host) != want {
			t.Errorf("%s: %v", host, !want)
		}
	}
}

// What Thunderbird reads: servers in the order of preference, with this instance's ports.
func TestAutoconfig(t *testing.T) {
	g := newRig(t, session.Options{})
	resp, body := g.ask(t, "GET", "https://autoconfig.example.test/mail/config-v1.1.xml", "")
	if resp.Header.Get("Content-Type") != "text/xml; charset=utf-8" {
		t.Error(resp.Header)
	}
	var c clientConfig
	if err := xml.Unmarshal([]byte(body), &c); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, v := range append(c.Provider.Incoming, c.Provider.Outgoing...) {
		got = append(got, fmt.Sprint(v.Type, " ", v.Host, " ", v.Port, " ", v.Socket, " ", v.Auth, " ", v.User))
	}
	want := "imap mail.example.test 10993 SSL password-cleartext %EMAILADDRESS%|imap mail.example.test 10143 STARTTLS password-cleartext %EMAILADDRESS%|" +
		"smtp mail.example.test 10465 SSL password-cleartext %EMAILADDRESS%|smtp mail.example.test 10587 STARTTLS password-cleartext %EMAILADDRESS%"
	if c.Version != "1.1" || strings.Join(got, "|") != want {
		t.Errorf("%s\n%s", c.Version, strings.Join(got, "\n"))
	}
}

// The namespaces and values that Outlook wants.
func TestAutodiscover(t *testing.T) {
	g := newRig(t, session.Options{})
	_, body := g.ask(t, "POST", "https://x.test/autodiscover/autodiscover.xml", discover("o'neil&amp;co@example.test"))
	var d discovery
	if err := xml.Unmarshal([]byte(body), &d); err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if len(d.Response.Protocols) != 2 || d.Response.Action != "settings" || d.Response.Type != "email" {
		t.Fatalf("%+v", d)
	}
	for i, want := range []discoverProtocol{
		{"IMAP", "mail.example.test", 10993, "off", "o'neil&co@example.test", "off", "on", "SSL", "on", "", ""},
		{"SMTP", "mail.example.test", 10465, "off", "o'neil&co@example.test", "off", "on", "SSL", "on", "off", "off"},
	} {
		if d.Response.Protocols[i] != want {
			t.Errorf("%+v", d.Response.Protocols[i])
		}
	}
}

// A profile is the same twice, another for another address, and each UUID in it is its own.
func TestProfile(t *testing.T) {
	g := newRig(t, session.Options{})
	get := func(address string) string {
		resp, body := g.ask(t, "GET", "https://mail.example.test/mobileconfig?email="+address, "")
		if resp.Header.Get("Content-Type") != kindProfile || !strings.Contains(resp.Header.Get("Content-Disposition"), `filename="example.test.mobileconfig"`) {
			t.Error(resp.Header)
		}
		return body
	}
	one, again, two := get("a%26b@example.test"), get("a%26b@example.test"), get("b@example.test")
	if one != again || one == two || !strings.Contains(one, "a&amp;b@example.test") {
		t.Error(one)
	}
	uuids := map[string]bool{}
	for _, text := range []string{one, two} {
		for _, after := range strings.Split(text, "<key>PayloadUUID</key>\n<string>")[1:] {
			id, _, _ := strings.Cut(after, "<")
			if len(id) != 36 || id[14] != '8' || uuids[id] {
				t.Errorf("UUID %s", id)
			}
			uuids[id] = true
		}
	}
	if len(uuids) != 4 {
		t.Errorf("%d UUIDs", len(uuids))
	}
	if err := xml.Unmarshal([]byte(one), new(struct{ XMLName xml.Name })); err != nil {
		t.Error(err)
	}
}

// The page's only style is the one that its policy allows by digest.
func TestPage(t *testing.T) {
	g := newRig(t, session.Options{})
	resp, body := g.ask(t, "GET", "http://mail.example.test/", "")
	_, after, _ := strings.Cut(body, "<style>")
	style, _, ok := strings.Cut(after, "</style>")
	if !ok || style != pageCSS || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "'sha256-") {
		t.Errorf("%s\n%s", resp.Header.Get("Content-Security-Policy"), style)
	}
	if strings.Contains(body, "example.test<") && strings.Contains(body, "xn--") {
		t.Error("the page lists domains")
	}
}

// RFC 6186, RFC 8314: what is offered, TLS from the start first; what is not, as ".".
func TestHints(t *testing.T) {
	var got []string
	for _, v := range Hints("mail.example.test", services[1:4], 443) {
		got = append(got, fmt.Sprintf("%s %d %d %d %s", v.Service, v.Priority, v.Weight, v.Port, v.Target))
	}
	want := "_imaps 0 0 0 .|_submissions 0 1 10465 mail.example.test|_imap 10 1 10143 mail.example.test|_submission 10 1 10587 mail.example.test|_autodiscover 0 0 443 mail.example.test|_pop3 0 0 0 .|_pop3s 0 0 0 ."
	if strings.Join(got, "|") != want {
		t.Errorf("%s", strings.Join(got, "\n"))
	}
	var s struct{ Services []map[string]any }
	g := newRig(t, session.Options{})
	_, body := g.ask(t, "GET", "http://x.test/settings.json", "")
	if err := json.Unmarshal([]byte(body), &s); err != nil || len(s.Services) != len(services) || s.Services[0]["security"] != "tls" {
		t.Errorf("%v\n%s", err, body)
	}
}

// The store that does not answer is not taken for a domain that is not ours.
func TestStoreFails(t *testing.T) {
	g := newRig(t, session.Options{})
	g.domainError = errors.New("no")
	for _, url := range []string{"http://x.test/health", "http://autoconfig.example.test/mail/config-v1.1.xml", "https://mta-sts.example.test/.well-known/mta-sts.txt"} {
		if resp, _ := g.ask(t, "GET", url, ""); resp.StatusCode != 503 {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
}

// raw sends text to the clear listener and returns what comes until the connection ends or a whole answer has come.
func (g *rig) raw(t *testing.T, text string) string {
	t.Helper()
	c, err := net.Dial("tcp", g.clear)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSpace(line)
}

// What is no HTTP, or HTTP that two readers could read in two ways, is refused.
func TestHostile(t *testing.T) {
	g := newRig(t, session.Options{})
	for name, test := range map[string]struct{ text, want string }{
		"two lengths":               {"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", "HTTP/1.1 400"},
		"a length and chunks":       {"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 405"},
		"an unknown encoding":       {"POST /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 501"},
		"no host":                   {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400"},
		"two hosts":                 {"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "HTTP/1.1 400"},
		"a host with a slash":       {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "HTTP/1.1 400"},
		"a space before the colon":  {"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "HTTP/1.1 400"},
		"a header of many bytes":    {"GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", "HTTP/1.1 431"},
		"another server's protocol": {"EHLO mail.example.test\r\n", "HTTP/1.1 400"},
		"CONNECT":                   {"CONNECT example.test:25 HTTP/1.1\r\nHost: example.test:25\r\n\r\n", "HTTP/1.1 404"},
		"a proxy's request":         {"GET http://example.net/health HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200"},
		"OPTIONS *":                 {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
		"HTTP/1.0":                  {"GET /health HTTP/1.0\r\n\r\n", "HTTP/1.0 200"},
		"HTTP/2 in clear":           {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 404"},
	} {
		if got := g.raw(t, test.text); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s: %q, want %s", name, got, test.want)
		}
	}
}

// A connection is a session: it is in the list with what it asked for and how, and is idle between requests.
func TestSessions(t *testing.T) {
	g := newRig(t, session.Options{Limits: session.Limits{PerProtocol: map[session.Protocol]int{session.HTTP: 2}}})
	for _, url := range []string{"http://x.test/health", "https://x.test/settings.json"} {
		if resp, _ := g.ask(t, "GET", url, ""); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
	idle := func(listener string) (i session.Info) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			for _, i = range g.registry.List() {
				if i.Listener == listener && i.State == session.Idle {
					return i
				}
			}
		}
		t.Fatalf("%+v", g.registry.List())
		return i
	}
	if i := idle("http"); i.Activity != "GET /health" || i.Commands != 1 || i.TLS != "" || !strings.Contains(i.Client, "Go-http-client") {
		t.Errorf("%+v", i)
	}
	i := idle("https")
	if i.Activity != "GET /settings.json" || !strings.HasPrefix(i.TLS, "TLS 1.3") {
		t.Errorf("%+v", i)
	}
	if got := g.raw(t, "GET /health HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503") {
		t.Errorf("over the limit: %s", got)
	}
	s, err := g.registry.Find(i.ID)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(session.ErrKilled)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, there := g.registry.Get(i.ID); !there {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a killed session stays")
		}
	}
	if resp, _ := g.ask(t, "GET", "https://x.test/health", ""); resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("after that: %s %s", resp.Proto, resp.Status)
	}
}

// A server of files alone tells mail programs that it is none of theirs.
func TestNoMail(t *testing.T) {
	g := newRigWith(t, session.Options{}, services[4:])
	for _, url := range []string{"https://autoconfig.example.test/mail/config-v1.1.xml", "https://x.test/mobileconfig?email=ann@example.test"} {
		if resp, _ := g.ask(t, "GET", url, ""); resp.StatusCode != 404 {
			t.Errorf("%s: %s", url, resp.Status)
		}
	}
	if _, body := g.ask(t, "POST", "https://x.test/autodiscover/autodiscover.xml", discover("ann@example.test")); !strings.Contains(body, "<ErrorCode>601</ErrorCode>") {
		t.Error(body)
	}
	if _, body := g.ask(t, "GET", "https://x.test/", ""); strings.Contains(body, "mobileconfig") || !strings.Contains(body, "10021") {
		t.Error(body)
	}
}

// A request that never ends is ended with its session.
func TestKillBusy(t *testing.T) {
	g := newRig(t, session.Options{})
	c, err := tls.Dial("tcp", g.tls, g.conf)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /autodiscover/autodiscover.xml HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n<Autodiscover>")
	busy := ""
	for deadline := time.Now().Add(10 * time.Second); busy == ""; time.Sleep(time.Millisecond) {
		for _, i := range g.registry.List() {
			if i.State == session.Busy && i.Activity == "POST /autodiscover/autodiscover.xml" {
				busy = i.ID
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", g.registry.List())
		}
	}
	s, err := g.registry.Find(busy)
	if err != nil {
		t.Fatal(err)
	}
	s.Kill(session.ErrKilled)
	c.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection stays open")
	}
}

// A client that another protocol's ALPN names is none of ours.
func TestALPN(t *testing.T) {
	g := newRig(t, session.Options{})
	conf := g.conf.Clone()
	conf.NextProtos = []string{"imap"}
	if c, err := tls.Dial("tcp", g.tls, conf); err == nil {
		c.Close()
		t.Error("ALPN imap was taken")
	}
}

func FuzzDiscover(f *testing.F) {
	f.Add([]byte(discover("ann@example.test")))
	f.Add([]byte("<a><b/></a>"))
	f.Add([]byte("<!DOCTYPE x>"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxBody {
			return
		}
		q, err := parseDiscover(body)
		if err == nil && (q.address == "" || !bytes.Contains(body, []byte("EMailAddress"))) {
			t.Errorf("%+v", q)
		}
	})
}
