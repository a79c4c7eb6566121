package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"math/big"
	"slices"
	"testing"
	"time"
)

// RFC 5929 section 4.1: the hash is that of the certificate's signature.
func TestEndPoint(t *testing.T) {
	curve := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		key  crypto.Signer
		want func(der []byte) []byte
	}{
		{curve(elliptic.P256()), func(der []byte) []byte { h := sha256.Sum256(der); return h[:] }},
		{curve(elliptic.P384()), func(der []byte) []byte { h := sha512.Sum384(der); return h[:] }},
		{curve(elliptic.P521()), func(der []byte) []byte { h := sha512.Sum512(der); return h[:] }},
		{ed, func([]byte) []byte { return nil }},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, c.key.Public(), c.key)
		if err != nil {
			t.Fatal(err)
		}
		if got := endPoint(der); !slices.Equal(got, c.want(der)) {
			t.Errorf("%T: %x", c.key, got)
		}
	}
	if endPoint(nil) != nil || endPoint([]byte("rubbish")) != nil {
		t.Error("what is no certificate has an end point")
	}
}
