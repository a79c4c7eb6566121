package auth

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"io/fs"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/storage"
)

// clientCA signs certificates of clients.
type clientCA struct {
	t    testing.TB
	cert tls.Certificate
	pool *x509.CertPool
}

func newClientCA(t testing.TB) *clientCA {
	ca := &clientCA{t: t, pool: x509.NewCertPool()}
	ca.cert = ca.make(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, nil)
	ca.pool.AddCert(ca.cert.Leaf)
	return ca
}

func (ca *clientCA) make(template *x509.Certificate, parent *tls.Certificate) tls.Certificate {
	ca.t.Helper()
	key := newEC(ca.t)
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer, by := any(key), template
	if parent != nil {
		signer, by = parent.PrivateKey, parent.Leaf
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by, key.Public(), signer)
	if err != nil {
		ca.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		ca.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// client makes a certificate that names addresses.
func (ca *clientCA) client(addresses ...string) tls.Certificate {
	return ca.make(&x509.Certificate{
		Subject: pkix.Name{CommonName: "client"}, EmailAddresses: addresses, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, &ca.cert)
}

// certified is a session of a client that shows a certificate, or none.
func (r *rig) certified(ca *clientCA, version uint16, certs ...tls.Certificate) (*session.Session, error) {
	r.t.Helper()
	server, client := r.connect("192.0.2.1")
	sc, cc := sessiontest.TLS(r.t)
	sc.ClientAuth, sc.ClientCAs, sc.MaxVersion = tls.VerifyClientCertIfGiven, ca.pool, version
	cc.Certificates = certs
	if len(certs) > 0 { // also when it is of no CA that the server names
		cc.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &certs[0], nil }
	}
	secured := tls.Client(client, cc)
	done := make(chan struct{})
	go func() { // it reads on, for what the server says of its certificate
		defer close(done)
		if secured.HandshakeContext(context.Background()) == nil {
			secured.Read(make([]byte, 1))
		}
	}()
	_, err := session.Handshake(r.t.Context(), server, sc)
	if err == nil {
		r.t.Cleanup(func() { client.Close(); <-done })
	}
	return session.From(server), err
}

func TestExternal(t *testing.T) {
	r, ann := newRig(t, Options{}, session.Limits{})
	bob := accountOf(t, r, "bob")
	if err := r.store.AddAlias(t.Context(), ann.ID, "info@example.test"); err != nil {
		t.Fatal(err)
	}
	ca := newClientCA(t)
	pinned, limited, shared := ca.client(), ca.client("ann@example.test"), ca.client("bob@example.test")
	for _, p := range []struct {
		cert    tls.Certificate
		account int64
		n       NewToken
	}{
		{pinned, ann.ID, NewToken{Name: "laptop"}},
		{limited, ann.ID, NewToken{Name: "printer", Scopes: []string{"smtp"}}},
		{shared, ann.ID, NewToken{Name: "of bob"}},
	} {
		if _, err := r.door.AddCertificate(t.Context(), p.account, p.n, sha256.Sum256(p.cert.Certificate[0])); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.door.AddCertificate(t.Context(), bob.ID, NewToken{Name: "x"}, sha256.Sum256(pinned.Certificate[0])); !errors.Is(err, fs.ErrExist) {
		t.Errorf("two have one certificate: %v", err)
	}
	for _, c := range []struct {
		name      string
		cert      tls.Certificate
		responses []string
		via       string
		want      error
	}{
		{"names ann", ca.client("ann@example.test"), []string{""}, viaIssued, nil},
		{"names ann otherwise", ca.client("INFO@example.test"), []string{""}, viaIssued, nil},
		{"asked for", ca.client("ann@example.test"), []string{absent, ""}, viaIssued, nil},
		{"as ann", ca.client("ann@example.test"), []string{"ann"}, viaIssued, nil},
		{"as ann's alias", ca.client("ann@example.test"), []string{"info@example.test"}, viaIssued, nil},
		{"as bob", ca.client("ann@example.test"), []string{"bob@example.test"}, "", ErrAuthorization},
		{"as nobody", ca.client("ann@example.test"), []string{"carol@example.test"}, "", ErrAuthorization},
		{"NUL", ca.client("ann@example.test"), []string{"ann\x00"}, "", ErrCredentials},
		{"not UTF-8", ca.client("ann@example.test"), []string{"\xff"}, "", ErrCredentials},
		{"names both", ca.client("ann@example.test", "bob@example.test"), []string{""}, "", ErrCredentials},
		{"names both, as ann", ca.client("bob@example.test", "ann@example.test"), []string{"ann"}, viaIssued, nil},
		{"names ann twice", ca.client("info@example.test", "ann@example.test"), []string{""}, viaIssued, nil},
		{"names nobody", ca.client("carol@example.test"), []string{""}, "", ErrCredentials},
		{"names no address", ca.client("ann"), []string{""}, "", ErrCredentials},
		{"names nothing", ca.client(), []string{""}, "", ErrCredentials},
		{"registered", pinned, []string{""}, "certificate laptop", nil},
		{"registered, as ann", pinned, []string{"ann@example.test"}, "certificate laptop", nil},
		{"registered, as bob", pinned, []string{"bob@example.test"}, "", ErrAuthorization},
		{"registered for something else", limited, []string{""}, "", ErrCredentials},
		{"registered for somebody else", shared, []string{""}, "certificate of bob", nil},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name+" "+tls.VersionName(version), func(t *testing.T) {
				s, err := r.certified(ca, version, c.cert)
				if err != nil {
					t.Fatal(err)
				}
				if got := r.door.Mechanisms(s); got[0] != "EXTERNAL" {
					t.Errorf("offered %v", got)
				}
				e, _, done, err := r.say(s, "EXTERNAL", c.responses...)
				if !errors.Is(err, c.want) || done != (c.want == nil) {
					t.Errorf("done %v, %v", done, err)
				}
				if done && (e.Account().ID != ann.ID || s.Account().Via != c.via) {
					t.Errorf("account %v, session's %v", e.Account(), s.Account())
				}
			})
		}
	}
}

// RFC 4422 appendix A: without a certificate that was verified there is no EXTERNAL.
func TestExternalIsNotOffered(t *testing.T) {
	r, _ := newRig(t, Options{}, session.Limits{})
	ca := newClientCA(t)
	s, err := r.certified(ca, tls.VersionTLS13)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(r.door.Mechanisms(s), "EXTERNAL") {
		t.Error("offered without a certificate")
	}
	if _, err := r.door.SASL(t.Context(), s, "EXTERNAL"); err != ErrMechanism {
		t.Error(err)
	}
	if _, err := r.door.SASL(t.Context(), r.local(), "EXTERNAL"); err != ErrMechanism {
		t.Error(err)
	}
	if s, err := r.certified(ca, tls.VersionTLS13, newClientCA(t).client("ann@example.test")); err == nil || s.Ending() == nil && slices.Contains(r.door.Mechanisms(s), "EXTERNAL") {
		t.Error("a certificate of another CA is taken")
	}
	server := ca.make(&x509.Certificate{EmailAddresses: []string{"ann@example.test"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &ca.cert)
	if _, err := r.certified(ca, tls.VersionTLS13, server); err == nil {
		t.Error("a server's certificate is taken")
	}
}

func TestCertificateIsRemoved(t *testing.T) {
	r, ann := newRig(t, Options{PinnedOnly: true}, session.Limits{})
	ca := newClientCA(t)
	mine := ca.client()
	sum := sha256.Sum256(mine.Certificate[0])
	if _, err := r.door.AddCertificate(t.Context(), ann.ID, NewToken{Name: "laptop", Expires: r.clock.now().Add(time.Hour)}, sum); err != nil {
		t.Fatal(err)
	}
	login := func(cert tls.Certificate) (*session.Session, error) {
		s, err := r.certified(ca, tls.VersionTLS13, cert)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _, err = r.say(s, "EXTERNAL", "")
		return s, err
	}
	s, err := login(mine)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := login(ca.client("ann@example.test")); !errors.Is(err, ErrCredentials) {
		t.Errorf("one that is not registered is taken: %v", err)
	}
	r.clock.advance(time.Hour)
	if _, err := login(mine); !errors.Is(err, ErrCredentials) {
		t.Errorf("one that is over is taken: %v", err)
	}
	if _, err := r.door.RemovePass(t.Context(), ann.ID, storage.PassCertificate, "laptop"); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(s.Ending(), session.ErrPass) {
		t.Error(s.Ending())
	}
	yes := true
	if _, err := r.door.AddCertificate(t.Context(), ann.ID, NewToken{Name: "again"}, sum); err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.UpdateAccount(t.Context(), ann.ID, storage.AccountChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	if _, err := login(mine); !errors.Is(err, ErrCredentials) {
		t.Errorf("a disabled account is let in: %v", err)
	}
}

func TestFingerprint(t *testing.T) {
	want := sha256.Sum256([]byte("x"))
	plain := hex.EncodeToString(want[:])
	var colons []string
	for i := 0; i < len(plain); i += 2 {
		colons = append(colons, strings.ToUpper(plain[i:i+2]))
	}
	for _, in := range []string{plain, strings.Join(colons, ":"), " " + plain + "\n"} {
		if got, err := Fingerprint(in); err != nil || got != want {
			t.Errorf("%q: %x, %v", in, got, err)
		}
	}
	for _, in := range []string{"", plain[1:], plain + "00", strings.Repeat("x", 64), strings.Repeat("é", 32)} {
		if _, err := Fingerprint(in); !errors.Is(err, ErrPass) {
			t.Errorf("%q: %v", in, err)
		}
	}
}
