package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// How long certificates of the local CA live, and how long before their end the server's is made anew.
const (
	caLife     = 10 * 365 * 24 * time.Hour
	serverLife = 397 * 24 * time.Hour // the most that clients accept
	renewAhead = 30 * 24 * time.Hour
)

// certificates hands the server's certificate to every handshake and takes a new one when the files change.
type certificates struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	cert    *tls.Certificate
	checked time.Time
	changed time.Time
	domains []string // whose names the local CA's certificate has, beside those of the configuration
}

// openCertificates uses the operator's certificate when the configuration names one, else the local
// CA's in dir/tls, which it makes when there is none, and whose server certificate it renews.
func openCertificates(dir string, c *config, logger *slog.Logger) (*certificates, error) {
	cs := &certificates{certFile: c.TLSCert, keyFile: c.TLSKey, logger: logger}
	if cs.certFile == "" {
		folder := filepath.Join(dir, "tls")
		if err := os.MkdirAll(folder, 0o700); err != nil {
			return nil, fmt.Errorf("making the folder of the certificates: %w", err)
		}
		cs.certFile, cs.keyFile = filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key")
		if err := ensureServer(folder, c, nil); err != nil {
			return nil, fmt.Errorf("making the server's certificate: %w", err)
		}
	}
	if err := cs.read(); err != nil {
		return nil, fmt.Errorf("reading the certificate (tls.cert, tls.key): %w", err)
	}
	return cs, nil
}

func (cs *certificates) read() error {
	cert, err := tls.LoadX509KeyPair(cs.certFile, cs.keyFile)
	if err != nil {
		return err
	}
	if info, err := os.Stat(cs.certFile); err == nil {
		cs.changed = info.ModTime()
	}
	cs.cert = &cert
	return nil
}

// get is tls.Config.GetCertificate. It looks at the file once a minute at most.
func (cs *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if now := time.Now(); now.Sub(cs.checked) > time.Minute {
		cs.checked = now
		if info, err := os.Stat(cs.certFile); err == nil && !info.ModTime().Equal(cs.changed) {
			if err := cs.read(); err != nil {
				cs.logger.Error("cannot read the new certificate, going on with the old one", "file", cs.certFile, "error", err)
			}
		}
	}
	return cs.cert, nil
}

// renew makes the local CA's certificate anew before it ends, looking twice a day until ctx ends; get takes the new one. A certificate of
// the operator's is his to renew.
func (cs *certificates) renew(ctx context.Context, dir string, c *config) error {
	if c.TLSCert != "" {
		return nil
	}
	tick := time.NewTicker(12 * time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		cs.mu.Lock()
		domains := cs.domains
		cs.mu.Unlock()
		if err := ensureServer(filepath.Join(dir, "tls"), c, domains); err != nil {
			cs.logger.Error("cannot renew the server's certificate", "error", err)
		}
	}
}

// maxNamed is how many domains have their names in the local CA's certificate, each with three.
const maxNamed = 30

// cover has the local CA's certificate made anew if it lacks names of the domains. A certificate of the operator's stays what it is.
func (cs *certificates) cover(dir string, c *config, domains []string) error {
	if c.TLSCert != "" {
		return nil
	}
	domains = domains[:min(len(domains), maxNamed)]
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.domains = domains
	if err := ensureServer(filepath.Join(dir, "tls"), c, domains); err != nil {
		return err
	}
	return cs.read()
}

// shown is the certificate that a connection was shown (RFC 5929 section 4: tls-server-end-point). All connections see the same one; one
// made just before it changed fails its channel binding, and the client tries again.
func (cs *certificates) shown(tls.ConnectionState) []byte {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.cert.Certificate[0]
}

// chain is the certificate with those above it, as clients are shown them.
func (cs *certificates) chain() []*x509.Certificate {
	cert, err := cs.get(nil)
	if err != nil {
		return nil
	}
	return parsed(cert)
}

// chainOf is the chain that a server of the data folder would show; nil when it has no certificate yet.
func chainOf(c *config, dir string) []*x509.Certificate {
	certFile, keyFile := c.TLSCert, c.TLSKey
	if certFile == "" {
		certFile, keyFile = filepath.Join(dir, "tls", "server.pem"), filepath.Join(dir, "tls", "server.key")
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil
	}
	return parsed(&cert)
}

func parsed(cert *tls.Certificate) (all []*x509.Certificate) {
	for _, der := range cert.Certificate {
		if c, err := x509.ParseCertificate(der); err == nil {
			all = append(all, c)
		}
	}
	return all
}

// openSecret reads the 32 bytes that nobody outside can know, made at the first start: what is derived from them
// (the salts that SCRAM shows for accounts that do not exist) must stay the same over restarts.
func openSecret(dir string) ([]byte, error) {
	file := filepath.Join(dir, "secret.key")
	secret, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		secret = make([]byte, 32)
		rand.Read(secret)
		if err := writeFile(file, 0o600, secret); err != nil {
			return nil, fmt.Errorf("making the secret key: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("reading the secret key: %w", err)
	case len(secret) != 32:
		return nil, fmt.Errorf("%s is damaged: want 32 bytes; remove it for a new one", file)
	}
	return secret, nil
}

// config is what every listener's TLS starts from. RFC 9325: TLS 1.2 and 1.3 only.
func (cs *certificates) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: cs.get}
}

// askedBelow are the names below a domain under which clients and other servers ask for its settings and policy (RFC 8461 section 3.3).
var askedBelow = []string{"mta-sts.", "autoconfig.", "autodiscover."}

// ensureServer makes the CA and the server's certificate where they are missing, about to expire, or for other names. The key stays, so
// that TLSA records of it do (RFC 7671 section 8).
func ensureServer(folder string, c *config, domains []string) error {
	ca, caKey, err := ensureCA(folder, c.Domain)
	if err != nil {
		return err
	}
	names := []string{"localhost", c.Domain, "mail." + c.Domain, "ftp." + c.Domain, "imap." + c.Domain, "smtp." + c.Domain}
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(c.Hostname)
	for _, d := range append([]string{c.Domain}, domains...) {
		for _, below := range askedBelow {
			add(below + d)
		}
	}
	addresses := []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback}
	for _, a := range c.Listen {
		if ip := net.ParseIP(a); ip != nil && !ip.IsLoopback() && !ip.IsUnspecified() {
			addresses = append(addresses, ip)
		}
	}
	certFile, keyFile := filepath.Join(folder, "server.pem"), filepath.Join(folder, "server.key")
	if old, err := readCertificate(certFile); err == nil {
		if _, err := os.Stat(keyFile); err == nil && serves(old, ca, names, addresses) {
			return nil
		}
	}
	key, err := readKey(keyFile)
	if err != nil {
		if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
		if err := writeKey(keyFile, key); err != nil {
			return err
		}
	}
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: c.Hostname},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(serverLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names,
		IPAddresses: addresses,
	}
	der, err := sign(t, ca, &key.PublicKey, caKey)
	if err != nil {
		return err
	}
	return writeFile(certFile, 0o644, append(pemOf("CERTIFICATE", der), pemOf("CERTIFICATE", ca.Raw)...))
}

// serves tells whether cert still does: of this CA, for a while yet, for all the names.
func serves(cert, ca *x509.Certificate, names []string, addresses []net.IP) bool {
	if cert.CheckSignatureFrom(ca) != nil || time.Until(cert.NotAfter) < renewAhead {
		return false
	}
	for _, n := range names {
		if cert.VerifyHostname(n) != nil {
			return false
		}
	}
	for _, a := range addresses {
		if cert.VerifyHostname(a.String()) != nil {
			return false
		}
	}
	return true
}

func ensureCA(folder, domain string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certFile, keyFile := filepath.Join(folder, "ca.pem"), filepath.Join(folder, "ca.key")
	cert, err := readCertificate(certFile)
	if err == nil {
		key, err := readKey(keyFile)
		if err != nil {
			return nil, nil, fmt.Errorf("%s is there but its key is not readable; remove both for a new CA: %w", certFile, err)
		}
		return cert, key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "packetboat local CA for " + domain, Organization: []string{"packetboat"}},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := sign(t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	// The key first: a certificate without its key would be taken for a CA that lost it.
	if err := writeKey(keyFile, key); err != nil {
		return nil, nil, err
	}
	if err := writeFile(certFile, 0o644, pemOf("CERTIFICATE", der)); err != nil {
		return nil, nil, err
	}
	cert, err = x509.ParseCertificate(der)
	return cert, key, err
}

func sign(t, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, t, parent, pub, key)
}

func readCertificate(file string) (*x509.Certificate, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return x509.ParseCertificate(block.Bytes)
}

func readKey(file string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM key", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s is no ECDSA key", file)
	}
	return ec, nil
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(file, 0o600, pemOf("PRIVATE KEY", der))
}

func pemOf(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

// writeFile puts a whole file in its place or nothing, durably.
func writeFile(file string, mode fs.FileMode, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), file); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}
