package outbound

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage/storagetest"
)

// authority is a CA of the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(240 * time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// issue makes a certificate for names, with the CA's behind it.
func (a *authority) issue(t testing.TB, until time.Time, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, NotBefore: time.Now().Add(-time.Hour), NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
}

// handshake makes one under a policy with a server that has a certificate, and tells the name that it was asked for.
func handshake(t testing.TB, c *tls.Config, cert tls.Certificate) (sni string, err error) {
	t.Helper()
	ours, theirs := net.Pipe()
	defer ours.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		tls.Server(theirs, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			sni = h.ServerName
			return &cert, nil
		}}).HandshakeContext(t.Context())
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = tls.Client(ours, c).HandshakeContext(ctx)
	ours.Close()
	<-done
	return sni, err
}

func spki(c tls.Certificate, usage adns.TLSAUsage) adns.TLSA {
	sum := sha256.Sum256(c.Leaf.RawSubjectPublicKeyInfo)
	return adns.TLSA{Usage: usage, Selector: adns.TLSASelectorSPKI, MatchType: adns.TLSAMatchTypeSHA256, CertAssoc: sum[:]}
}

// TestPolicy: what is needed where, and which certificates will do.
func TestPolicy(t *testing.T) {
	ca := newAuthority(t)
	later := time.Now().Add(time.Hour)
	good := ca.issue(t, later, "mx.remote.example")
	other := ca.issue(t, later, "other.example")
	expired := ca.issue(t, time.Now().Add(-time.Minute), "mx.remote.example")
	forDomain := ca.issue(t, later, "remote.example")
	foreign := newAuthority(t).issue(t, later, "mx.remote.example")
	site := newSTSSite(t, ca)

	secure := Hop{Domain: "remote.example", HaveMX: true, Secure: true, ExpandedSecure: true}
	plain := Hop{Domain: "remote.example", HaveMX: true}
	mx := Host{Name: "mx.remote.example"}
	secureMX := Host{Name: "mx.remote.example", Secure: true, ExpandedSecure: true}
	ta := adns.TLSA{Usage: adns.TLSAUsageDANETA, Selector: adns.TLSASelectorCert, MatchType: adns.TLSAMatchTypeSHA256}
	sum := sha256.Sum256(ca.cert.Raw)
	ta.CertAssoc = sum[:]
	with := func(h Hop, f func(*Hop)) Hop { f(&h); return h }
	requireTLS := func(h *Hop) { h.RequireTLS = true }
	optional := func(h *Hop) { h.OptionalTLS = true }

	const enforce, testing_ = "enforce", "testing"
	for _, c := range []struct {
		name    string
		hop     Hop
		host    Host
		sts     string // mode; "": no policy
		stsMX   string // "" means mx.remote.example
		tlsa    []adns.TLSA
		fail    string // a lookup that fails
		need    Need
		refused string // its status, or
		must    bool
		ok, bad []tls.Certificate
		sni     string
	}{
		{name: "nothing known", hop: plain, host: mx, need: Opportunistic, ok: []tls.Certificate{good, other, expired, foreign}},
		{name: "mta-sts", hop: plain, host: mx, sts: enforce, need: ByMTASTS, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other, expired, foreign, forDomain}},
		{name: "mta-sts, by a wildcard", hop: plain, host: mx, sts: enforce, stsMX: "*.remote.example", need: ByMTASTS, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other}},
		{name: "mta-sts, a wildcard is one label", hop: plain, host: Host{Name: "a.b.remote.example"}, sts: enforce, stsMX: "*.remote.example", refused: "4.7.5"},
		{name: "mta-sts does not name the host", hop: plain, host: mx, sts: enforce, stsMX: "mx2.remote.example", refused: "4.7.5"},
		{name: "mta-sts in testing", hop: plain, host: mx, sts: testing_, need: ByMTASTS, ok: []tls.Certificate{good, other, expired, foreign}},
		{name: "mta-sts in testing does not name the host", hop: plain, host: mx, sts: testing_, stsMX: "mx2.remote.example", need: ByMTASTS, ok: []tls.Certificate{good, other}},
		{name: "mta-sts switched off", hop: plain, host: mx, sts: "none", need: Opportunistic, ok: []tls.Certificate{other}},
		{name: "dane-ee", hop: secure, host: secureMX, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{other}, bad: []tls.Certificate{good}, sni: "mx.remote.example"},
		{name: "dane-ee looks at no dates", hop: secure, host: secureMX, tlsa: []adns.TLSA{spki(expired, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{expired}},
		{name: "dane-ta", hop: secure, host: secureMX, tlsa: []adns.TLSA{ta}, need: ByDANE, must: true, ok: []tls.Certificate{good, forDomain}, bad: []tls.Certificate{other, expired, foreign}},
		{name: "dane, one of several", hop: secure, host: secureMX, tlsa: []adns.TLSA{spki(foreign, adns.TLSAUsageDANEEE), spki(good, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{good, foreign}, bad: []tls.Certificate{other}},
		{name: "dane, nothing usable", hop: secure, host: secureMX, tlsa: []adns.TLSA{spki(good, adns.TLSAUsagePKIXEE), {Usage: 3, Selector: 1, MatchType: 1, CertAssoc: []byte("short")}, {Usage: 3, Selector: 9, MatchType: 1, CertAssoc: make([]byte, 32)}, {Usage: 3, Selector: 0, MatchType: 0, CertAssoc: []byte("no certificate")}}, need: Encrypted, must: true, ok: []tls.Certificate{good, other, expired, foreign}},
		{name: "dane behind insecure MX records", hop: plain, host: secureMX, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: Opportunistic, ok: []tls.Certificate{good}},
		{name: "dane with insecure addresses", hop: secure, host: mx, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: Opportunistic, ok: []tls.Certificate{good}},
		{name: "dane behind an insecure CNAME of the domain", hop: with(secure, func(h *Hop) { h.Expanded, h.ExpandedSecure = "elsewhere.example", false }), host: secureMX, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: Opportunistic, ok: []tls.Certificate{good}},
		{name: "dane at the host's canonical name", hop: secure, host: Host{Name: "alias.remote.example", Expanded: "mx.remote.example", Secure: true, ExpandedSecure: true}, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{other}, bad: []tls.Certificate{good}, sni: "mx.remote.example"},
		{name: "dane: no answer", hop: secure, host: secureMX, fail: "tlsa _25._tcp.mx.remote.example.", refused: "4.7.5"},
		{name: "no answer where it would not be believed", hop: plain, host: secureMX, fail: "tlsa _25._tcp.mx.remote.example.", need: Opportunistic, ok: []tls.Certificate{good}},
		{name: "dane and mta-sts", hop: secure, host: secureMX, sts: enforce, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{other}, bad: []tls.Certificate{good}},
		{name: "dane, and an mta-sts that does not name the host", hop: secure, host: secureMX, sts: enforce, stsMX: "mx2.remote.example", tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{other}},
		{name: "requiretls without DNSSEC and MTA-STS", hop: with(plain, requireTLS), host: mx, refused: "5.7.10"},
		{name: "requiretls by DNSSEC", hop: with(secure, requireTLS), host: secureMX, need: Verified, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other, expired, foreign}},
		{name: "requiretls by mta-sts", hop: with(plain, requireTLS), host: mx, sts: enforce, need: ByMTASTS, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other}},
		{name: "requiretls by mta-sts in testing", hop: with(plain, requireTLS), host: mx, sts: testing_, need: ByMTASTS, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other}},
		{name: "requiretls, mta-sts in testing names another host", hop: with(plain, requireTLS), host: mx, sts: testing_, stsMX: "mx2.remote.example", refused: "5.7.10"},
		{name: "requiretls by dane", hop: with(secure, requireTLS), host: secureMX, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, must: true, ok: []tls.Certificate{other}, bad: []tls.Certificate{good}},
		{name: "requiretls, no record usable", hop: with(secure, requireTLS), host: secureMX, tlsa: []adns.TLSA{spki(good, adns.TLSAUsagePKIXEE)}, need: Verified, must: true, ok: []tls.Certificate{good}, bad: []tls.Certificate{other}},
		{name: "tls-required: no, mta-sts", hop: with(plain, optional), host: mx, sts: enforce, need: ByMTASTS, ok: []tls.Certificate{good, other, expired}},
		{name: "tls-required: no, another host", hop: with(plain, optional), host: mx, sts: enforce, stsMX: "mx2.remote.example", need: ByMTASTS, ok: []tls.Certificate{other}},
		{name: "tls-required: no, dane", hop: with(secure, optional), host: secureMX, tlsa: []adns.TLSA{spki(other, adns.TLSAUsageDANEEE)}, need: ByDANE, ok: []tls.Certificate{good}},
		{name: "tls-required: no, no answer", hop: with(secure, optional), host: secureMX, fail: "tlsa _25._tcp.mx.remote.example.", need: Opportunistic, ok: []tls.Certificate{good}},
		{name: "tls-required: no beside requiretls", hop: with(with(plain, requireTLS), optional), host: mx, refused: "5.7.10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := dns.MockResolver{AllAuthentic: true, TXT: map[string][]string{}, A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}},
				TLSA: map[string][]adns.TLSA{}}
			if c.fail != "" {
				r.Fail = []string{c.fail}
			}
			if c.tlsa != nil {
				r.TLSA["_25._tcp.mx.remote.example."] = c.tlsa
			}
			if c.sts != "" {
				r.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=1;"}
				name := c.stsMX
				if name == "" {
					name = "mx.remote.example"
				}
				site.serve("version: STSv1\r\nmode: " + c.sts + "\r\nmx: " + name + "\r\nmax_age: 86400\r\n")
			}
			p := NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port})
			d := p.For(t.Context(), c.hop)
			hp, err := d.Host(t.Context(), c.host)
			if c.refused != "" {
				var refusal *Refusal
				if !errors.As(err, &refusal) || refusal.Status != c.refused || refusal.Permanent != strings.HasPrefix(c.refused, "5") {
					t.Fatalf("%+v", err)
				}
				return
			}
			if err != nil || hp.Need != c.need || hp.MustTLS() != c.must || hp.RequireTLS != c.hop.RequireTLS {
				t.Fatalf("%+v %v, want %s", hp, err, c.need)
			}
			for i, cert := range c.ok {
				sni, err := handshake(t, hp.Config(), cert)
				if err != nil || c.sni != "" && sni != c.sni {
					t.Errorf("certificate %d: %q %v", i, sni, err)
				}
			}
			for i, cert := range c.bad {
				if _, err := handshake(t, hp.Config(), cert); err == nil {
					t.Errorf("bad certificate %d will do", i)
				}
			}
		})
	}
}

// TestTLSA: what we publish of ourselves is what others accept of us.
func TestTLSA(t *testing.T) {
	ca := newAuthority(t)
	c := ca.issue(t, time.Now().Add(time.Hour), "mx.example.test")
	if got, want := TLSA(c.Leaf), spki(c, adns.TLSAUsageDANEEE).Record(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
