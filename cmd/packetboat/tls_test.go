package main

import (
	"bytes"
	"crypto/x509"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// The server's certificate is kept as long as it serves, and made anew for other names, by the same CA.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	c := &config{Domain: "example.test", Hostname: "mail.example.test", Listen: []string{"127.0.0.1"}}
	open := func() *x509.Certificate {
		t.Helper()
		cs, err := openCertificates(dir, c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(cs.cert.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := open()
	ca, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "example.test", "mail.example.test", "ftp.example.test", "mta-sts.example.test", "autoconfig.example.test", "autodiscover.example.test"} {
		if _, err := first.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if again := open(); !again.Equal(first) {
		t.Error("a certificate that serves was made anew")
	}
	c.Hostname = "boat.example.test"
	other := open()
	if _, err := other.Verify(x509.VerifyOptions{Roots: pool, DNSName: c.Hostname}); err != nil || other.Equal(first) {
		t.Errorf("for another name: %v", err)
	}
	if now, _ := os.ReadFile(filepath.Join(dir, "tls", "ca.pem")); string(now) != string(ca) {
		t.Error("the CA was made anew")
	}
	cs, err := openCertificates(dir, c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := cs.cover(dir, c, []string{"example.test", "second.test"}); err != nil {
		t.Fatal(err)
	}
	covering := cs.chain()[0]
	if _, err := covering.Verify(x509.VerifyOptions{Roots: pool, DNSName: "mta-sts.second.test"}); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(covering.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo) {
		t.Error("the key is another: TLSA records no longer match")
	}
	if again := open(); !again.Equal(covering) {
		t.Error("a certificate with more names was made anew")
	}
	if err := os.Remove(filepath.Join(dir, "tls", "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificates(dir, c, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a CA without its key was taken")
	}
}
