package ftp

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// clientCertificate makes a certificate that vouches for itself and names addresses.
func clientCertificate(t *testing.T, addresses ...string) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "client"}, EmailAddresses: addresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, leaf
}

// TestClientCertificate: USER is enough for who shows one of the account's certificates (232); others go on with a password. The data connections of
// such a session resume, or show the same certificate.
func TestClientCertificate(t *testing.T) {
	named, namedLeaf := clientCertificate(t, "ann@example.test")
	pinned, pinnedLeaf := clientCertificate(t)
	stranger, strangerLeaf := clientCertificate(t)
	pool := x509.NewCertPool()
	for _, c := range []*x509.Certificate{namedLeaf, pinnedLeaf, strangerLeaf} {
		pool.AddCert(c)
	}
	h := newHouse(t, func(o *Options) {
		base := o.TLS
		o.TLS = base.Clone()
		o.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			conf := base.Clone()
			conf.ClientAuth, conf.ClientCAs = tls.VerifyClientCertIfGiven, pool
			return conf, nil
		}
		o.DataTLSReuse = ReuseRequire
	})
	h.put("/a", "content")
	storagetest.Account(t, h.store, "joe@example.test")
	if _, err := h.door.AddCertificate(context.Background(), h.ann.ID, auth.NewToken{Name: "laptop"}, sha256.Sum256(pinnedLeaf.Raw)); err != nil {
		t.Fatal(err)
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, test := range []struct {
			name string
			cert *tls.Certificate
			user string
			want int
		}{
			{"named", &named, "ann@example.test", 232},
			{"registered", &pinned, "Ann@Example.test", 232},
			{"of somebody else", &named, "joe@example.test", 331},
			{"of nobody", &stranger, "ann@example.test", 331},
			{"none", nil, "ann@example.test", 331},
			{"for nobody", &named, "nobody@example.test", 331},
		} {
			p := h.dial()
			if test.cert != nil {
				h.client.Certificates = []tls.Certificate{*test.cert}
			}
			h.secure(p, version)
			h.client.Certificates = nil
			p.cmd(test.want, "USER %s", test.user)
			if test.want != 232 {
				if test.user == "ann@example.test" {
					p.cmd(230, "PASS secret")
				}
				continue
			}
			p.cmd(503, "PASS secret")
			p.cmd(200, "PBSZ 0")
			p.cmd(200, "PROT P")
			p.prot = true
			for _, resume := range []bool{true, false} {
				if !resume {
					p.tls.ClientSessionCache = nil
				}
				conn := p.open("RETR a").(*tls.Conn)
				if got := conn.ConnectionState().DidResume; got != resume {
					t.Errorf("%s, TLS %x: resumed %v", test.name, version, got)
				}
				if b, _ := io.ReadAll(conn); string(b) != "content" {
					t.Errorf("%s, TLS %x: %q", test.name, version, b)
				}
				p.expect(226)
			}
			p.tls.Certificates = nil
			io.Copy(io.Discard, p.open("RETR a"))
			p.expect(522)
		}
	}
}
