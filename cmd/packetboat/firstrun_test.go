//go:build e2e

package main

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

func TestEndToEndFirstRun(t *testing.T) {
	b := launch(t)
	out := b.stdout.String()
	password := regexp.MustCompile(`Password +(\S+) `).FindStringSubmatch(out)
	if password == nil || !strings.HasSuffix(out, "\npacketboat: ready\n") {
		t.Fatalf("the first run printed\n%s", out)
	}
	for _, want := range []string{"localhost", b.port(993), b.port(465), b.port(21), "admin@example.test", b.ca()} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	t.Run("what was printed works", func(t *testing.T) {
		l := b.dialTLS(993)
		l.until("", "* OK")
		if out, err := l.until("a LOGIN admin@example.test "+password[1], "a OK"); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("the certificate has the names", func(t *testing.T) {
		for _, name := range []string{"localhost", "127.0.0.1", "::1", "example.test", "mail.example.test", "ftp.example.test"} {
			l := b.dialTLS(993)
			if err := tlsState(l).PeerCertificates[0].VerifyHostname(name); err != nil {
				t.Error(err)
			}
			l.Close()
		}
	})
	t.Run("the data folder is closed to others", func(t *testing.T) {
		for name, mode := range map[string]os.FileMode{"": 0o700, "packetboat.toml": 0o600, "control.sock": 0o600, "tls/ca.key": 0o600, "tls/server.key": 0o600} {
			info, err := os.Stat(filepath.Join(b.data, name))
			if err != nil || info.Mode().Perm()&^mode != 0 {
				t.Errorf("%s: %v %v, want at most %v", name, info.Mode(), err, mode)
			}
		}
	})
	t.Run("a second server on the folder is refused", func(t *testing.T) {
		out, err := b.try("", "serve", "--base-port", strconv.Itoa(freeBase(t)))
		if err == nil || !strings.Contains(out, "already runs") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	t.Run("a second start finds everything", func(t *testing.T) {
		before, _ := os.ReadFile(b.ca())
		b.stop()
		if list := b.run("", "account", "list"); !strings.Contains(list, "ann@example.test") {
			t.Errorf("a stopped server lists\n%s", list)
		}
		b.run("again again\n", "account", "add", "eve", "--password-stdin", "--quota", "5GiB", "--alias", "evelyn")
		b.start()
		after, _ := os.ReadFile(b.ca())
		if string(before) != string(after) || strings.Contains(b.stdout.String(), "shown this once") {
			t.Error("the second start made something anew")
		}
		var a accountJSON
		b.json(&a, "account", "show", "evelyn@example.test")
		if a.Name != "eve@example.test" || a.Quota != 5<<30 || len(a.Aliases) != 1 {
			t.Errorf("eve is %+v", a)
		}
		b.run("", "account", "set", "eve", "--quota", "none", "--messages", "1000", "--admin", "--alias", "eva", "--remove-alias", "evelyn")
		b.json(&a, "account", "show", "eva@example.test")
		if a.Quota != 0 || a.Limit != 1000 || !a.Admin || len(a.Aliases) != 1 || a.Aliases[0] != "eva@example.test" {
			t.Errorf("eve is %+v after the change", a)
		}
	})
}

// The flags of the first start are kept, what --set said is for one start.
func TestEndToEndFlagsKept(t *testing.T) {
	b := launch(t, "--set", "auth.throttle=off")
	var all map[string]struct{ Value, From string }
	b.json(&all, "config", "print")
	if all["auth.throttle"].Value != "on" || all["domain"].Value != "example.test" || all["base_port"].Value != strconv.Itoa(b.base) {
		t.Errorf("kept: throttle %v, domain %v, base port %v", all["auth.throttle"], all["domain"], all["base_port"])
	}
}

func TestEndToEndMistakes(t *testing.T) {
	code := func(err error) int {
		if ee, ok := err.(interface{ ExitCode() int }); ok {
			return ee.ExitCode()
		}
		return 0
	}
	dir := t.TempDir()
	b := &boat{t: t, data: dir}
	toml := filepath.Join(dir, "packetboat.toml")
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	taken := strconv.Itoa(busy.Addr().(*net.TCPAddr).Port)
	for name, c := range map[string]struct {
		file string
		args []string
		want []string
		code int
	}{
		"unknown key":      {"domain = \"a.test\"\n[auth]\nthrotle = \"on\"\n", []string{"config", "check"}, []string{toml + ":3", "auth.throtle"}, 1},
		"unknown section":  {"[foo]\nbar = 1\n", []string{"serve"}, []string{toml + ":2", "foo.bar"}, 1},
		"bad value":        {"\n[auth]\nplaintext = \"sometimes\"\n", []string{"serve"}, []string{toml + ":3", "auth.plaintext", "loopback"}, 1},
		"bad TOML":         {"[auth\n", []string{"config", "check"}, []string{toml + ":"}, 1},
		"bad --set":        {"", []string{"config", "check", "--set", "auth.plaintext=sometimes"}, []string{"auth.plaintext", "loopback"}, 2},
		"unknown --set":    {"", []string{"config", "print", "--set", "auth.foo=1"}, []string{"auth.foo"}, 2},
		"unknown verb":     {"", []string{"serv"}, []string{"serv"}, 2},
		"unknown flag":     {"", []string{"serve", "--foo"}, []string{"--foo"}, 2},
		"missing argument": {"", []string{"account", "add"}, []string{"arg"}, 2},
		"port in use":      {"[ports]\nimap = " + taken + "\n", []string{"serve", "--listen", "127.0.0.1", "--base-port", strconv.Itoa(freeBase(t))}, []string{"ports.imap", toml + ":2", taken, "in use"}, 1},
		"bad domain":       {"", []string{"serve", "--domain", "-bad-.test"}, []string{"--domain", "-bad-.test"}, 2},
		"bad hostname":     {"hostname = \"a\\r\\nb\"\n", []string{"config", "check"}, []string{toml + ":1", "hostname"}, 1},
		"one port twice":   {"[ports]\nimap = 10993\n", []string{"config", "check"}, []string{toml + ":2", "ports.imap", "ports.imaps", "10993"}, 1},
		"port in range":    {"[ports]\nimap = 11105\n", []string{"config", "check"}, []string{"ports.imap", "ftp.passive_ports", "11105"}, 1},
		"no certificate":   {"[tls]\ncert = \"/none\"\nkey = \"/none\"\n", []string{"config", "check"}, []string{toml + ":2", "tls.cert", "/none"}, 1},
		"no data folder":   {"", []string{"account", "list"}, []string{"packetboat serve"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(toml, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := b.try("", c.args...)
			if code(err) != c.code {
				t.Errorf("exit code %d, want %d\n%s", code(err), c.code, out)
			}
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("no %q in\n%s", want, out)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, databaseName)); err == nil {
				t.Error("a mistake made a database")
			}
		})
	}
	t.Run("precedence", func(t *testing.T) {
		if err := os.WriteFile(toml, []byte("domain = \"file.test\"\nlisten = [\"127.0.0.1\"]\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PACKETBOAT_DOMAIN", "env.test")
		for want, args := range map[string][]string{"env.test": nil, "flag.test": {"--set", "domain=flag.test"}} {
			var all map[string]struct{ Value, From string }
			b.json(&all, append([]string{"config", "print"}, args...)...)
			if all["domain"].Value != want || all["listen"].Value != "127.0.0.1" || all["base_port"].Value != "10000" {
				t.Errorf("with %v: %+v", args, all["domain"])
			}
		}
	})
}
