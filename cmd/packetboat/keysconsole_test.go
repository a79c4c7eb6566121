package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// What clients are told, by what the configuration says.
func TestToldClients(t *testing.T) {
	for _, test := range []struct{ toml, host, services string }{
		{"", "localhost", "imaps 10993, imap 10143, submissions 10465, submission 10587, ftp 10021, ftps 10990"},
		{"domain = \"example.org\"", "localhost", ""},
		{"domain = \"example.org\"\nlisten = \"all\"", "mail.example.org", ""},
		{"domain = \"example.org\"\nlisten = \"127.0.0.1, 203.0.113.7\"", "mail.example.org", ""},
		{"listen = \"all\"", "localhost", ""},
		{"listen = \"all\"\n[clients]\nhost = \"Box.example.net\"", "box.example.net", ""},
		{"[clients]\nports = \"imaps=993, imap=off, submissions = 465, submission=off, ftp=off\"\n[ports]\nftps = \"off\"", "localhost", "imaps 993, submissions 465"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(test.toml), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := (&configFlags{}).load(dir)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for i, v := range c.offered() {
			if v.Protocol == "sieve" {
				continue
			}
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprint(v.Listener, " ", v.Port)
		}
		if c.clientHost() != test.host || test.services != "" && got != test.services {
			t.Errorf("%q: %s, %s", test.toml, c.clientHost(), got)
		}
	}
	for key, bad := range map[string][]string{
		"clients.ports":    {"imap3=143", "imaps", "imaps=0", "imaps=70000"},
		"clients.host":     {"a b", "-"},
		"public_addresses": {"0.0.0.0", "224.0.0.1", "example.org", "fe80::1%eth0"},
		"mta_sts.mode":     {"enforced"},
		"mta_sts.mx":       {"*", "a..b", "*.*.example.org"},
		"mta_sts.max_age":  {"1s", "10000h", "week"},
		"dmarc.policy":     {"perhaps"},
	} {
		for _, v := range bad {
			if _, _, err := (&configFlags{set: []string{key + "=" + v}}).load(t.TempDir()); err == nil {
				t.Errorf("%s = %q was taken", key, v)
			}
		}
	}
}
