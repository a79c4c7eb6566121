//go:build e2e

package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// ownCA makes an authority and a certificate for names, and writes both. The certificate is returned.
func ownCA(t *testing.T, names ...string) (ca, cert, key string, leaf *x509.Certificate) {
	t.Helper()
	dir := t.TempDir()
	make := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if signer == nil {
			signer = k
		}
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &k.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, k
	}
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	root, signer := make(root, root, nil)
	leaf, k := make(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, root, signer)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	ca = writeOwn(t, filepath.Join(dir, "ca.pem"), block("CERTIFICATE", root.Raw))
	cert = writeOwn(t, filepath.Join(dir, "cert.pem"), block("CERTIFICATE", leaf.Raw))
	key = writeOwn(t, filepath.Join(dir, "key.pem"), block("PRIVATE KEY", der))
	return ca, cert, key, leaf
}

// clearServer is somebody on the way: a server in clear that knows no STARTTLS, takes all, and tells of each MAIL.
func clearServer(t *testing.T, address string) <-chan string {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	mails := make(chan string, 100)
	serve := func(c net.Conn) {
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "220 mail.beta.test ESMTP\r\n")
		for in, data := bufio.NewScanner(c), false; in.Scan(); {
			word, _, _ := strings.Cut(strings.ToUpper(in.Text()), " ")
			switch {
			case data && word != ".":
			case word == "DATA":
				data = true
				fmt.Fprint(c, "354 go\r\n")
			case word == "QUIT":
				fmt.Fprint(c, "221 bye\r\n")
				return
			default:
				if word == "MAIL" {
					mails <- in.Text()
				}
				data = false
				fmt.Fprint(c, "250 mail.beta.test\r\n")
			}
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return mails
}

// TestEndToEndTrust: alpha follows beta's MTA-STS policy, which beta's console serves, beta's TLSA records, and the wishes of messages, also when somebody on the
// way answers in beta's place.
func TestEndToEndTrust(t *testing.T) {
	const middle = "127.0.0.14"
	base := freeBase(t)
	w := &world{t: t, dns: resolvetest.New(t), port: base + 25}
	ca, cert, key, leaf := ownCA(t, "mail.beta.test", "mta-sts.beta.test", "localhost")
	w.beta = w.boat("beta.test", betaHost, base, "--set", "tls.cert="+cert, "--set", "tls.key="+key, "--set", "mta_sts.mode=enforce")
	w.alpha = w.boat("alpha.test", alphaHost, base, "--set", "outbound.ca="+ca, "--set", fmt.Sprintf("outbound.mta_sts_port=%d", base+443), "--set", "dns.trust_ad=on")
	text, err := os.ReadFile(ca)
	if err != nil || os.MkdirAll(filepath.Dir(w.beta.ca()), 0o700) != nil {
		t.Fatal(err)
	}
	writeOwn(t, w.beta.ca(), string(text)) // where the clients of the tests look for it
	w.account(w.alpha, "ann@alpha.test", annPassword)
	w.account(w.beta, "bob@beta.test", joePassword)
	for _, b := range []*boat{w.alpha, w.beta} {
		domain := map[string]string{alphaHost: "alpha.test", betaHost: "beta.test"}[b.host]
		w.dns.Set(b.run("", "domain", "dns", domain, "--zone"))
		w.dns.Set(fmt.Sprintf("mail.%[1]s. A %[2]s\n%[3]s PTR mail.%[1]s.\nmta-sts.%[1]s. A %[2]s\n", domain, b.host, reverse(b.host)))
	}
	w.dns.Remove("mta-sts.beta.test", "CNAME")
	tlsa := fmt.Sprintf("_%d._tcp.mail.beta.test", w.port)
	w.dns.Remove(tlsa, "TLSA")
	stolen := clearServer(t, fmt.Sprintf("%s:%d", middle, w.port))
	waits := func(t *testing.T, why string) {
		t.Helper()
		said := ""
		for end := time.Now().Add(8 * time.Second); !strings.Contains(said, why); time.Sleep(50 * time.Millisecond) {
			if said = w.alpha.run("", "queue", "list"); time.Now().After(end) {
				t.Fatalf("the queue does not say %q:\n%s", why, said)
			}
		}
		if len(stolen) > 0 {
			t.Fatalf("the man in the middle got %s", <-stolen)
		}
	}
	// anew: alpha believes for half a minute what it found, and keeps connections for the next message; what a policy says it knows from its store.
	anew := func() { w.alpha.stop(); w.alpha.start() }
	arrives := func(t *testing.T, subject string) {
		t.Helper()
		anew()
		w.alpha.run("", "queue", "retry", "--to", "bob@beta.test")
		contains(t, w.beta.message(t, "bob@beta.test", joePassword, subject), "with ESMTPS id")
	}
	send := func(subject string, more ...string) {
		w.mail(w.alpha, "ann@alpha.test", annPassword, "bob@beta.test", subject, more...)
	}

	t.Run("MTA-STS: the policy is fetched and followed", func(t *testing.T) {
		send("by-policy")
		contains(t, w.beta.message(t, "bob@beta.test", joePassword, "by-policy"), "with ESMTPS id")
		if w.dns.Asked("_mta-sts.beta.test", "TXT") == 0 || w.dns.Asked("mta-sts.beta.test", "A") == 0 {
			t.Error("the policy was not looked for")
		}
	})
	t.Run("MTA-STS: a host that the policy does not name gets nothing", func(t *testing.T) {
		w.dns.Set("beta.test. MX 10 mail.evil.test.\nmail.evil.test. A " + middle)
		anew()
		send("wrong-host")
		waits(t, "none of the hosts that the MTA-STS policy")
		w.dns.Set("beta.test. MX 10 mail.beta.test.")
		arrives(t, "wrong-host")
	})
	t.Run("MTA-STS: the policy holds from the cache when record and site are kept away, and nothing goes in clear", func(t *testing.T) {
		w.dns.Remove("_mta-sts.beta.test", "TXT")
		w.dns.Set("mail.beta.test. A " + middle + "\nmta-sts.beta.test. A " + middle)
		anew()
		send("stripped")
		waits(t, "does not offer STARTTLS")
		w.dns.Set("mail.beta.test. A " + betaHost)
		arrives(t, "stripped")
	})
	w.dns.Authentic(true)
	right := outbound.TLSA(leaf)
	t.Run("DANE: the right certificate", func(t *testing.T) {
		w.dns.Set(tlsa + ". TLSA " + right)
		anew()
		send("by-dane")
		contains(t, w.beta.message(t, "bob@beta.test", joePassword, "by-dane"), "with ESMTPS id")
		if w.dns.Asked(tlsa, "TLSA") == 0 {
			t.Error("no TLSA record was asked for")
		}
	})
	t.Run("DANE: another certificate, however good, gets nothing", func(t *testing.T) {
		w.dns.Set(tlsa + ". TLSA 3 1 1 " + strings.Repeat("ab", 32))
		anew()
		send("not-by-dane")
		waits(t, "TLS:")
		w.dns.Set(tlsa + ". TLSA " + right)
		arrives(t, "not-by-dane")
	})
	t.Run("DANE: no answer is no permission", func(t *testing.T) {
		w.dns.Fail(tlsa)
		anew()
		send("no-answer")
		waits(t, "cannot find out whether mail.beta.test has TLSA records")
		w.dns.Heal(tlsa)
		arrives(t, "no-answer")
	})
	const python = `
import smtplib
s = smtplib.SMTP("` + alphaHost + `", PORT+587); s.starttls(context=ssl._create_unverified_context()); s.login("ann@alpha.test", ANN)
s.sendmail("ann@alpha.test", ["%s"], "From: ann@alpha.test\r\nSubject: %s\r\n\r\nx\r\n", ["REQUIRETLS"])
s.quit()
`
	t.Run("REQUIRETLS: beta promises it", func(t *testing.T) {
		w.alpha.python(t, fmt.Sprintf(python, "bob@beta.test", "required-tls"))
		contains(t, w.beta.message(t, "bob@beta.test", joePassword, "required-tls"), "with ESMTPS id")
	})
	t.Run("REQUIRETLS: where nobody can promise it, it comes back", func(t *testing.T) {
		w.dns.Authentic(false)
		anew()
		w.dns.Set("evil.test. MX 10 mail.evil.test.\nmail.evil.test. A " + middle)
		w.alpha.python(t, fmt.Sprintf(python, "bob@evil.test", "required-tls-nowhere"))
		contains(t, w.alpha.found(t, "ann@alpha.test", annPassword, "INBOX", `TEXT "bob@evil.test"`), "Status: 5.7.", "REQUIRETLS")
		if len(stolen) > 0 {
			t.Errorf("it got %s", <-stolen)
		}
		w.dns.Authentic(true)
		anew()
	})
	t.Run("TLS-Required: No goes where the certificate is wrong", func(t *testing.T) {
		w.dns.Set(tlsa + ". TLSA 3 1 1 " + strings.Repeat("ab", 32))
		anew()
		send("no-tls-required", "--header", "TLS-Required: No")
		contains(t, w.beta.message(t, "bob@beta.test", joePassword, "no-tls-required"), "TLS-Required: No")
	})
}
