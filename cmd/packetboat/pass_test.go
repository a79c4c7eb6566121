package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
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

// What an administrator does with tokens and certificates is in the journal, and no secret is.
func TestPassAPI(t *testing.T) {
	store := storagetest.New(t)
	ann := storagetest.Account(t, store, "ann@example.test")
	registry := session.New(session.Options{})
	h := (&control{store: store, door: auth.New(store, registry, auth.Options{}), registry: registry}).handler()
	call := func(method, path string, in, out any) int {
		t.Helper()
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(in); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, &b))
		if w.Code == http.StatusOK && out != nil {
			if err := json.Unmarshal(w.Body.Bytes(), out); err != nil {
				t.Fatal(err)
			}
		}
		return w.Code
	}
	var made, cert passJSON
	if code := call("POST", "/accounts/ann/tokens", newPassJSON{Name: "a/b phone", Scopes: []string{"imap"}}, &made); code != 200 || len(made.Token) != 56 {
		t.Fatal(code, made)
	}
	sum := strings.Repeat("ab", 32)
	if code := call("POST", "/accounts/ann/certificates", newPassJSON{Name: "laptop", Fingerprint: sum}, &cert); code != 200 || cert.Fingerprint != sum || cert.Token != "" {
		t.Fatal(code, cert)
	}
	for _, c := range []struct {
		method, path string
		in           any
		want         int
	}{
		{"POST", "/accounts/ann/tokens", newPassJSON{Name: "a/b phone"}, 409},
		{"POST", "/accounts/ann/tokens", newPassJSON{}, 400},
		{"POST", "/accounts/ann/tokens", newPassJSON{Name: "x", Scopes: []string{"pop3"}}, 400},
		{"POST", "/accounts/ann/tokens", newPassJSON{Name: "x", Expires: time.Unix(1, 0)}, 400},
		{"POST", "/accounts/ann/tokens", "x", 400},
		{"POST", "/accounts/joe/tokens", newPassJSON{Name: "x"}, 404},
		{"POST", "/accounts/ann/certificates", newPassJSON{Name: "x", Fingerprint: "ab"}, 400},
		{"POST", "/accounts/ann/certificates", newPassJSON{Name: "x", Fingerprint: sum}, 409},
		{"GET", "/accounts/joe/tokens", nil, 404},
		{"DELETE", "/accounts/ann/tokens/laptop", nil, 404},
		{"DELETE", "/accounts/ann/tokens/a%2Fb%20phone", nil, 200},
		{"DELETE", "/accounts/ann/tokens/a%2Fb%20phone", nil, 404},
	} {
		if code := call(c.method, c.path, c.in, nil); code != c.want {
			t.Errorf("%s %s %v: %d, want %d", c.method, c.path, c.in, code, c.want)
		}
	}
	var tokens, certs []passJSON
	if call("GET", "/accounts/ann/tokens", nil, &tokens); len(tokens) != 0 {
		t.Error(tokens)
	}
	if call("GET", "/accounts/ann/certificates", nil, &certs); len(certs) != 1 || certs[0].Name != "laptop" {
		t.Error(certs)
	}
	var all []storage.Record
	for deadline := time.Now().Add(10 * time.Second); len(all) < 3 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		var err error
		if all, err = store.Records(t.Context(), "account", ann.ID, 0, 10); err != nil {
			t.Fatal(err)
		}
	}
	var what []string
	for _, r := range all {
		what = append(what, r.Subject)
		if bytes.Contains(r.Detail, []byte(made.Token)) || bytes.Contains(r.Detail, []byte("pbt_")) {
			t.Errorf("a token in the journal: %s", r.Detail)
		}
	}
	if !slices.Equal(what, []string{"token revoked", "certificate added", "token added"}) {
		t.Errorf("journal: %v", what)
	}
}
