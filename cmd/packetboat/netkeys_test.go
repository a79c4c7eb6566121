package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/ftp"
)

func TestPublicAddresses(t *testing.T) {
	for _, test := range []struct {
		toml string
		want map[string]string // what a client at an address is told, who connected to 192.0.2.1; nil: the file is refused
		err  string
	}{
		{`public_addresses = [{for = "10.0.0.0/8", address = "10.0.0.5"}, {for = "10.9.0.0/16", address = "10.9.0.1"}, {for = "*", address = "203.0.113.7"}]`,
			map[string]string{"10.1.1.1": "10.0.0.5", "10.9.1.1": "10.9.0.1", "198.51.100.1": "203.0.113.7", "127.0.0.1": "192.0.2.1"}, ""},
		{`public_addresses = "*=203.0.113.7, 10.0.0.0/8=local"`, map[string]string{"10.1.1.1": "192.0.2.1", "198.51.100.1": "203.0.113.7"}, ""},
		{`public_addresses = ["10.0.0.7=10.0.0.5", "203.0.113.7"]`, map[string]string{"10.0.0.7": "10.0.0.5", "10.0.0.8": "203.0.113.7"}, ""},
		{"public_address = \"203.0.113.7\"\npublic_addresses = \"10.0.0.0/8=10.0.0.5\"", map[string]string{"10.1.1.1": "10.0.0.5", "8.8.8.8": "203.0.113.7"}, ""},
		{"public_address = \"203.0.113.8\"\npublic_addresses = \"*=203.0.113.7\"", map[string]string{"8.8.8.8": "203.0.113.7"}, ""},
		{"[[ftp.public_addresses]]\nfor = \"10.0.0.0/8\"\naddress = \"10.0.0.5\"", map[string]string{"10.1.1.1": "10.0.0.5", "8.8.8.8": "192.0.2.1"}, ""},
		{`public_addresses = "0.0.0.0/0=203.0.113.7"`, map[string]string{"127.0.0.1": "203.0.113.7"}, ""},
		{`public_addresses = "10.0.0.1/8=10.0.0.5"`, nil, "did you mean 10.0.0.0/8"},
		{`public_addresses = "10.0.0.0/8=10.0.0.5, 10.0.0.0/8=10.0.0.6"`, nil, "two addresses for 10.0.0.0/8"},
		{`public_addresses = "203.0.113.7, 203.0.113.8"`, nil, "two addresses for *"},
		{`public_addresses = "2001:db8::/32=203.0.113.7"`, nil, "EPSV names no address"},
		{`public_addresses = "10.0.0.0/8=2001:db8::1"`, nil, "no IPv4 address"},
		{`public_addresses = "10.0.0.0/8=ftp.example.org"`, nil, "no IPv4 address"},
		{`public_addresses = "10.0.0.0/8=0.0.0.0"`, nil, "nobody can connect"},
		{`public_addresses = "lan=10.0.0.5"`, nil, "is no network"},
		{`public_addresses = [{for = "10.0.0.0/8"}]`, nil, "want {for = NETWORK, address = ADDRESS}"},
		{`public_address = "::1"`, nil, "no IPv4 address"},
	} {
		c, err := loadFile(t, "[ftp]\n"+test.toml)
		if test.want == nil {
			if err == nil || !strings.Contains(err.Error(), test.err) || !strings.Contains(err.Error(), configName+":2: ftp.public_address") {
				t.Errorf("%s: error %v, want %s", test.toml, err, test.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", test.toml, err)
			continue
		}
		for peer, want := range test.want {
			got := ftp.Advertised(c.publicAddresses(), netip.MustParseAddr(peer), netip.MustParseAddr("192.0.2.1"))
			if got.String() != want {
				t.Errorf("%s: %s is told %v, want %s", test.toml, peer, got, want)
			}
		}
	}
}

// loadFile reads a configuration.
func loadFile(t *testing.T, text string) (*config, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, _, err := (&configFlags{}).load(dir)
	return c, err
}

func TestProxyKeys(t *testing.T) {
	for toml, want := range map[string]string{
		`listeners = "ftp, passive"`:           "",
		"listeners = [\"mx\"]\ntrusted = \"\"": "name them in proxy.trusted",
		`listeners = "web"`:                    `"web" is none of mx,`,
		`trusted = "0.0.0.0/0"`:                "is everybody",
		`trusted = "::/0"`:                     "is everybody",
		`trusted = "10.0.0.1/24"`:              "did you mean 10.0.0.0/24, or the address 10.0.0.1",
		`trusted = "haproxy.local"`:            "is no network",
		`trusted = "10.0.0.9, fd00::/64"`:      "",
	} {
		c, err := loadFile(t, "[proxy]\n"+toml)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", toml, err, want)
		case err == nil && c.fronts("imaps") != nil:
			t.Errorf("%s: imaps is behind a front end", toml)
		}
	}
	c, err := loadFile(t, "[proxy]\nlisteners = \"ftp, passive\"\n")
	if err != nil || !c.fronts("ftp").Has(netip.MustParseAddr("::ffff:127.0.0.1")) || c.fronts(passivePorts).Has(netip.MustParseAddr("127.0.0.2")) {
		t.Errorf("%v, %v", c, err)
	}
}
