package main

import (
	"crypto/tls"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseEnd(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.Local)
	for in, want := range map[string]time.Time{
		"never": {}, "12h": now.Add(12 * time.Hour), "90d": now.AddDate(0, 0, 90), "2w": now.AddDate(0, 0, 14),
		"2027-01-31": time.Date(2027, 1, 31, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseEnd(in, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "0d", "-1d", "d", "1.5d", "99999999d", "-3h", "0s", "2027-13-01", "soon"} {
		if got, err := parseEnd(in, now); err == nil {
			t.Errorf("%q: %v", in, got)
		}
	}
}

// The keys of logging in, as packetboat.toml has them.
func TestAuthKeys(t *testing.T) {
	dir := t.TempDir()
	load := func(text string) (*config, error) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, configName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, _, err := (&configFlags{}).load(dir)
		return c, err
	}
	c, err := load("[auth]\nmechanisms = [\"scram-sha-256\", \"OAUTHBEARER\"]\nexternal = \"registered\"\n" +
		"oidc.issuer = \"https://login.example.org\"\noidc.audience = \"packetboat\"\n[tls]\nclient_ca = \"/x.pem\"\n")
	if err != nil || !slices.Equal(c.Mechanisms, []string{"SCRAM-SHA-256", "OAUTHBEARER"}) || !c.PinnedOnly ||
		c.OIDC.Issuer != "https://login.example.org" || c.OIDC.Claim != "email" || c.TLSClientCA != "/x.pem" {
		t.Errorf("%+v, %v", c, err)
	}
	if err := checkCertificate(c, settings{}); err == nil || !strings.Contains(err.Error(), "tls.client_ca") {
		t.Error("a file that is not there:", err)
	}
	if c, err = load("[auth.oidc]\nissuer = \"https://login.example.org\"\naudience = \"packetboat\"\nclaim = \"sub\"\n"); err != nil || c.OIDC.Claim != "sub" || c.Mechanisms != nil {
		t.Errorf("%+v, %v", c, err)
	}
	for _, text := range []string{
		"[auth]\nmechanisms = \"PLAIN, CRAM-MD5\"\n", "[auth]\nexternal = \"all\"\n", "[auth]\noidc.issuer = \"http://login.example.org\"\noidc.audience = \"x\"\n",
		"[auth]\noidc.issuer = \"https://login.example.org\"\n",
	} {
		if _, err := load(text); err == nil || !strings.Contains(err.Error(), "auth.") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// The CAs of clients are read anew when their file changes; what cannot be read leaves the old ones.
func TestClientCAs(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := ensureCA(dir, "example.test"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "ca.pem")
	ca, err := openClientCAs(file, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	base := &tls.Config{MinVersion: tls.VersionTLS12}
	get := func() *tls.Config {
		t.Helper()
		conf, err := ca.config(base).GetConfigForClient(nil)
		if err != nil || conf.ClientAuth != tls.VerifyClientCertIfGiven || conf.MinVersion != tls.VersionTLS12 || conf.ClientCAs == nil {
			t.Fatal(conf, err)
		}
		return conf
	}
	first := get()
	if get() != first {
		t.Error("made anew for each connection")
	}
	change := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		ca.mu.Lock()
		ca.checked, ca.changed = time.Time{}, ca.changed.Add(-time.Second)
		ca.mu.Unlock()
	}
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	change("rubbish")
	if get() != first {
		t.Error("rubbish is taken")
	}
	change(string(good))
	if get() == first {
		t.Error("the file is not read anew")
	}
	if _, err := openClientCAs(filepath.Join(dir, "none"), ca.logger); err == nil {
		t.Error("no file is taken")
	}
}
