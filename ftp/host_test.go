package ftp

import (
	"bufio"
	"crypto/tls"
	"io/fs"
	"net/netip"
	"testing"
)

// TestHostTLS: a host named in the ClientHello is the only one that HOST may name (RFC 7151 section 3.2.2), and one that HOST named before counts only if
// it is the same.
func TestHostTLS(t *testing.T) {
	h := newHouse(t)
	start := func(p *peer, name string) {
		t.Helper()
		p.cmd(234, "AUTH TLS")
		conn := tls.Client(p.raw, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := conn.Handshake(); err != nil {
			t.Fatal(err)
		}
		p.conn, p.br = conn, bufio.NewReader(conn)
	}
	p := h.dial()
	start(p, "ftp.Example.test")
	p.cmd(504, "HOST files.example.test")
	p.cmd(504, "HOST 127.0.0.1")
	p.cmd(504, "HOST unknown.example.org")
	p.cmd(220, "HOST FTP.example.TEST")
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")

	if err := h.store.AddDomain(t.Context(), "other.test"); err != nil {
		t.Fatal(err)
	}
	p = h.dial()
	p.cmd(220, "HOST other.test")
	p.cmd(504, "HOST unknown.test") // RFC 7151 section 3.2.2: the one before counts no more
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
	p.cmd(220, "REIN")
	p.cmd(220, "HOST other.test")
	p.cmd(331, "USER ann")
	p.cmd(530, "PASS secret") // who is not of that domain
	p.cmd(220, "HOST other.test")
	start(p, "files.example.test")
	p.cmd(331, "USER ann")
	p.cmd(230, "PASS secret")
}

// TestHostCertificate: who names a host by HOST before AUTH TLS and none in the ClientHello is shown that host's certificate (RFC 7151 section 4).
func TestHostCertificate(t *testing.T) {
	var asked []string
	conf := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked = append(asked, hello.ServerName)
		return nil, nil
	}}
	c := &client{host: &virtualHost{name: "ftp.example.test"}}
	c.hostCertificate(conf)
	conf.GetCertificate(&tls.ClientHelloInfo{})
	conf.GetCertificate(&tls.ClientHelloInfo{ServerName: "other.example.test"})
	if len(asked) != 2 || asked[0] != "ftp.example.test" || asked[1] != "other.example.test" {
		t.Error(asked)
	}
	before := conf.GetCertificate
	(&client{}).hostCertificate(conf)
	if len(asked) != 2 || before == nil {
		t.Error("no host was chosen")
	}
}

func TestParseHost(t *testing.T) {
	for arg, want := range map[string]string{
		"ftp.Example.COM": "ftp.example.com", "xn--e1afmkfd.com": "xn--e1afmkfd.com", "a": "a", "1.2.3": "1.2.3",
		"192.0.2.1": "192.0.2.1", "[2001:DB8::1]": "2001:db8::1", "[::192.0.2.1]": "::c000:201", "[::ffff:192.0.2.1]": "192.0.2.1",
	} {
		name, addr, ok := parseHost(arg)
		if !ok || name != want && addr != netip.MustParseAddr(want) {
			t.Errorf("%s: %q %v %v", arg, name, addr, ok)
		}
	}
	long := "a123456789a123456789a123456789a123456789a123456789a123456789abcd"
	for _, arg := range []string{
		"", ".", "a.", ".a", "a..b", "-a", "a-", "a b", "a_b", "ü.test", "192.0.2.1:21", "[192.0.2.1]", "2001:db8::1", "[2001:db8::1]:21", "[::1%eth0]", "[", "[]", "[::1", "::1]", long,
	} {
		if name, addr, ok := parseHost(arg); ok {
			t.Errorf("%s: %q %v", arg, name, addr)
		}
	}
}

func FuzzParseHost(f *testing.F) {
	f.Add("ftp.example.com")
	f.Add("[::1]")
	f.Fuzz(func(t *testing.T, arg string) {
		name, _, ok := parseHost(arg)
		if !ok {
			return
		}
		if again, _, ok := parseHost(name); ok && again != name || controlIn(name) {
			t.Errorf("%q: %q, %q", arg, name, again)
		}
	})
}

func TestParseMode(t *testing.T) {
	for _, tt := range []struct {
		spec      string
		old, want uint32
		dir       bool
	}{
		{"644", 0, 0o644, false}, {"0755", 0, 0o755, false}, {"4755", 0, 0o755, false}, {"7", 0o777, 0o007, false},
		{"u+x", 0o644, 0o744, false}, {"+x", 0o644, 0o755, false}, {"a-w", 0o666, 0o444, false}, {"u=rw,go=", 0o777, 0o600, false}, {"go+rX", 0o700, 0o755, false},
		{"a+X", 0o644, 0o644, false}, {"a+X", 0o644, 0o755, true}, {"ug=rw,o=r", 0, 0o664, false}, {"=", 0o777, 0, false},
	} {
		got, ok := parseMode(tt.spec, fs.FileMode(tt.old), tt.dir)
		if !ok || got != fs.FileMode(tt.want) {
			t.Errorf("%s of %o: %o, %v", tt.spec, tt.old, got, ok)
		}
	}
	for _, spec := range []string{"", "8", "9", "99999", "0x1", "-1", "u", "x", "u+q", "z+x", "u+x,", "u+x g+x", "10000"} {
		if got, ok := parseMode(spec, 0, false); ok {
			t.Errorf("%q: %o", spec, got)
		}
	}
}
