package main

import (
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
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "example.test", "mail.example.test", "ftp.example.test"} {
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
	if err := os.Remove(filepath.Join(dir, "tls", "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := openCertificates(dir, c, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a CA without its key was taken")
	}
}
