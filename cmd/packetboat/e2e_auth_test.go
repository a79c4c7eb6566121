//go:build e2e

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/packetboat/packetboat/auth/session"
)

// issue makes an OpenID Connect issuer on loopback and a signer of its tokens.
func issue(t *testing.T) (issuer string, sign func(claims map[string]any) string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
			return
		}
		json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	}))
	t.Cleanup(s.Close)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.URL, func(claims map[string]any) string {
		t.Helper()
		all := map[string]any{"iss": s.URL, "aud": "packetboat", "exp": time.Now().Add(time.Hour).Unix(), "email": "ann@example.test", "email_verified": true}
		for k, v := range claims {
			all[k] = v
		}
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign(text)
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
}

// clientCertificates makes a CA of clients and certificates for two of them with the tools that an administrator has: ann.pem names her address,
// other.pem none.
func clientCertificates(t *testing.T, b *boat) string {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"}
	openssl := func(args ...string) {
		t.Helper()
		b.must("", "openssl", args...)
	}
	openssl(append([]string{"req", "-x509", "-keyout", in("ca.key"), "-out", in("ca.pem"), "-subj", "/CN=clients", "-days", "2"}, ec...)...)
	for name, extensions := range map[string]string{
		"ann":   "subjectAltName=email:ann@example.test\nextendedKeyUsage=clientAuth\n",
		"other": "extendedKeyUsage=clientAuth\n",
	} {
		if err := os.WriteFile(in(name+".ext"), []byte(extensions), 0o600); err != nil {
			t.Fatal(err)
		}
		openssl(append([]string{"req", "-keyout", in(name + ".key"), "-out", in(name + ".csr"), "-subj", "/CN=" + name}, ec...)...)
		openssl("x509", "-req", "-in", in(name+".csr"), "-CA", in("ca.pem"), "-CAkey", in("ca.key"), "-CAcreateserial", "-days", "2",
			"-extfile", in(name+".ext"), "-out", in(name+".pem"))
	}
	return dir
}

// mailFile is a message for curl to send.
func mailFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mail.eml")
	if err := os.WriteFile(file, []byte("From: ann@example.test\r\nTo: joe@example.test\r\nSubject: hello\r\n\r\nhello\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Tokens of our own and of an issuer, in the hands of clients that know bearer tokens and of those that know passwords.
func TestEndToEndTokens(t *testing.T) {
	issuer, sign := issue(t)
	b := launch(t, "--set", "auth.oidc.issuer="+issuer, "--set", "auth.oidc.audience=packetboat")
	var made, files passJSON
	b.json(&made, "token", "add", "ann", "--name", "phone", "--scope", "imap,smtp", "--expires", "90d")
	b.json(&files, "token", "add", "ann", "--name", "scanner", "--scope", "ftp")
	file := mailFile(t)
	imap, smtp, ftp := "imaps://localhost:"+b.port(993)+"/", "smtps://localhost:"+b.port(465), "ftps://localhost:"+b.port(990)+"/"
	for name, token := range map[string]string{"own": made.Token, "issued": sign(nil)} {
		t.Run("curl, "+name, func(t *testing.T) {
			for _, mech := range []string{"OAUTHBEARER", "XOAUTH2"} {
				args := []string{"-sS", "--cacert", b.ca(), "--oauth2-bearer", token, "-u", "ann@example.test:", "--login-options", "AUTH=" + mech}
				if out := b.must("", "curl", append(args, imap)...); !strings.Contains(out, "INBOX") {
					t.Errorf("%s: %s", mech, out)
				}
				b.must("", "curl", append(args, smtp, "--mail-from", "ann@example.test", "--mail-rcpt", "joe@example.test", "-T", file)...)
				// The second try of SASL: with a challenge before the response.
				b.must("", "curl", append(args, "--sasl-ir", imap)...)
			}
		})
	}
	for name, token := range map[string]string{
		"unknown": "pbt_" + strings.Repeat("a", 52), "scope": files.Token, "expired": sign(map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}),
		"audience": sign(map[string]any{"aud": "other"}), "account": sign(map[string]any{"email": "carol@example.test"}),
	} {
		t.Run("curl is refused: "+name, func(t *testing.T) {
			out, err := b.client("", "curl", "-sS", "--cacert", b.ca(), "--oauth2-bearer", token, "-u", "ann@example.test:", imap)
			if err == nil || !strings.Contains(out, "curl: (67)") {
				t.Errorf("%v %s", err, out)
			}
		})
	}
	t.Run("python", func(t *testing.T) {
		b.python(t, fmt.Sprintf(`
import imaplib, smtplib
def xoauth2(user, token):
    return "user=%%s\x01auth=Bearer %%s\x01\x01" %% (user, token)
for token in (%q, %q):
    c = imaplib.IMAP4_SSL("localhost", PORT+993, ssl_context=ctx)
    c.authenticate("XOAUTH2", lambda challenge: xoauth2("ann@example.test", token).encode())
    assert c.select("INBOX")[0] == "OK"
    c.logout()
    s = smtplib.SMTP("localhost", PORT+587); s.starttls(context=ctx); s.ehlo()
    s.auth("XOAUTH2", lambda challenge=None: xoauth2("ann@example.test", token))
    s.sendmail("ann@example.test", ["joe@example.test"], "Subject: x\r\n\r\nx\r\n")
    s.quit()
c = imaplib.IMAP4_SSL("localhost", PORT+993, ssl_context=ctx)
seen = []
def wrong(challenge):
    seen.append(challenge)
    return xoauth2("ann@example.test", "wrong").encode() if not challenge else b""
try:
    c.authenticate("XOAUTH2", wrong)
    raise SystemExit("let in")
except imaplib.IMAP4.error as e:
    assert "AUTHENTICATIONFAILED" in str(e), e
assert b'"status":"400"' in seen[-1], seen
s = smtplib.SMTP_SSL("localhost", PORT+465, context=ctx); s.ehlo()
try:
    s.auth("XOAUTH2", lambda challenge=None: "" if challenge else xoauth2("ann@example.test", "wrong"))
    raise SystemExit("let in")
except smtplib.SMTPAuthenticationError as e:
    assert e.smtp_code == 535, e
`, made.Token, sign(nil)))
	})
	t.Run("msmtp, mutt, neomutt", func(t *testing.T) {
		for _, mech := range []string{"oauthbearer", "xoauth2"} {
			b.must("Subject: hi\n\nhi\n", "msmtp", "--host=localhost", "--port="+b.port(587), "--tls=on", "--tls-trust-file="+b.ca(), "--auth="+mech,
				"--user=ann@example.test", "--passwordeval=echo "+made.Token, "--from=ann@example.test", "joe@example.test")
			for _, mutt := range []string{"mutt", "neomutt"} {
				rc := filepath.Join(t.TempDir(), "rc")
				text := fmt.Sprintf("set ssl_ca_certificates_file=%[1]s certificate_file=%[1]s ssl_force_tls=yes quit=yes folder=/tmp\nset imap_user=ann@example.test\n"+
					"set imap_authenticators=%[2]s smtp_authenticators=%[2]s\nset imap_oauth_refresh_command=\"echo %[3]s\" smtp_oauth_refresh_command=\"echo %[3]s\"\n"+
					"set smtp_url=smtp://ann@example.test@localhost:%[4]s/ from=ann@example.test\n", b.ca(), mech, made.Token, b.port(587))
				if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				b.must("hello\n", mutt, "-n", "-F", rc, "-s", "hello", "joe@example.test")
				if out, err := b.onTerminal(mutt, "-n", "-F", rc, "-e", "push q", "-f", "imaps://ann@example.test@localhost:"+b.port(993)+"/INBOX"); err != nil || !strings.Contains(out, "[Msgs:") {
					t.Errorf("%s: %v\n%q", mutt, err, out)
				}
			}
		}
	})
	t.Run("as a password", func(t *testing.T) {
		b.must("", "swaks", "--server", "localhost", "--port", b.port(587), "-tls", "--tls-ca-path", b.ca(), "--auth", "PLAIN", "--auth-user", "ann@example.test",
			"--auth-password", made.Token, "--from", "ann@example.test", "--to", "joe@example.test")
		b.must("", "swaks", "--server", "localhost", "--port", b.port(465), "-tlsc", "--tls-ca-path", b.ca(), "--auth", "LOGIN", "--auth-user", "ann@example.test",
			"--auth-password", made.Token, "--from", "ann@example.test", "--to", "joe@example.test")
		b.must("", "curl", "-sS", "--cacert", b.ca(), "-u", "ann@example.test:"+made.Token, "--login-options", "AUTH=PLAIN", imap)
		b.must("", "curl", "-sS", "--cacert", b.ca(), "-u", "ann@example.test:"+files.Token, ftp)
		if out, err := b.client("", "curl", "-sS", "--cacert", b.ca(), "-u", "ann@example.test:"+made.Token, ftp); err == nil {
			t.Errorf("a token for mail opens files: %s", out)
		}
	})
	t.Run("revoked", func(t *testing.T) {
		l, out := b.login(t, "ann@example.test", made.Token)
		if !strings.Contains(out, "a OK") {
			t.Fatal(out)
		}
		mine := b.find(t, "ann@example.test", "imaps")
		if mine.Via != "token phone" {
			t.Errorf("%+v", mine)
		}
		other, _ := b.login(t, "ann@example.test", annPassword)
		if out := b.run("", "token", "list", "ann"); !strings.Contains(out, "phone") || strings.Contains(out, made.Token) {
			t.Error(out)
		}
		b.run("", "token", "revoke", "ann", "phone")
		if out, err := l.until("", "* BYE"); err != nil || !strings.Contains(strings.ToLower(out), "token") {
			t.Errorf("no BYE: %v %s", err, out)
		}
		if out, err := other.until("b NOOP", "b OK"); err != nil {
			t.Errorf("another session ended with it: %v %s", err, out)
		}
		if _, out := b.login(t, "ann@example.test", made.Token); !strings.Contains(out, "AUTHENTICATIONFAILED") {
			t.Error(out)
		}
		l.Close()
		recorded := func() bool {
			var all []session.Info
			b.json(&all, "session", "history", "--account", "ann")
			return slices.ContainsFunc(all, func(i session.Info) bool {
				return i.ID == mine.ID && i.EndReason == session.ErrPass.Error() && i.Via == mine.Via
			})
		}
		for deadline := time.Now().Add(10 * time.Second); !recorded(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the session is not in the history")
			}
		}
	})
	b.stop()
	b.run("", "token", "add", "joe", "--name", "later")
	b.run("", "token", "revoke", "joe", "later")
	if log := b.stderr.String(); strings.Contains(log, "pbt_") || strings.Contains(log, "eyJ") {
		t.Error("a token is in the log")
	}
}

// EXTERNAL with certificates that openssl made and curl shows.
func TestEndToEndCertificates(t *testing.T) {
	dir := clientCertificates(t, &boat{t: t})
	b := launch(t, "--set", "tls.client_ca="+filepath.Join(dir, "ca.pem"))
	file := mailFile(t)
	curl := func(name string, args ...string) (string, error) {
		return b.client("", "curl", append([]string{"-sS", "--cacert", b.ca(), "--cert", filepath.Join(dir, name+".pem"), "--key", filepath.Join(dir, name+".key"),
			"-u", "ann@example.test:", "--login-options", "AUTH=EXTERNAL"}, args...)...)
	}
	all := map[string][]string{
		"imaps":       {"imaps://localhost:" + b.port(993) + "/"},
		"imap":        {"--ssl-reqd", "imap://localhost:" + b.port(143) + "/"},
		"submissions": {"smtps://localhost:" + b.port(465), "--mail-from", "ann@example.test", "--mail-rcpt", "joe@example.test", "-T", file},
		"submission":  {"--ssl-reqd", "smtp://localhost:" + b.port(587), "--mail-from", "ann@example.test", "--mail-rcpt", "joe@example.test", "-T", file},
	}
	for name, args := range all {
		if out, err := curl("ann", args...); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
		if out, err := curl("other", args...); err == nil {
			t.Errorf("%s: a certificate of nobody's is taken: %s", name, out)
		}
	}
	b.run("", "account", "cert", "add", "ann", filepath.Join(dir, "other.pem"), "--name", "laptop")
	for name, args := range all {
		if out, err := curl("other", args...); err != nil {
			t.Errorf("%s: %v %s", name, err, out)
		}
	}
	var list []passJSON
	b.json(&list, "account", "cert", "list", "ann")
	if len(list) != 1 || list[0].Name != "laptop" || list[0].Used.IsZero() {
		t.Errorf("%+v", list)
	}
	b.run("", "account", "cert", "remove", "ann", "laptop")
	if out, err := curl("other", all["imaps"]...); err == nil {
		t.Error(out)
	}
	// Who shows none logs in as ever, and other servers are not asked for one.
	if out, err := b.client("", "curl", "-sS", "--cacert", b.ca(), "-u", "ann@example.test:"+annPassword, "imaps://localhost:"+b.port(993)+"/"); err != nil {
		t.Error(out, err)
	}
	out, _ := b.client("QUIT\r\n", "openssl", "s_client", "-starttls", "smtp", "-connect", "127.0.0.1:"+b.port(25))
	if !strings.Contains(out, "No client certificate CA names sent") {
		t.Errorf("the MX asks for certificates: %s", out)
	}
}
