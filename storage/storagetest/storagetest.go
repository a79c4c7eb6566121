// Package storagetest gives tests a real store.
package storagetest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// New opens a store in t.TempDir with the domain example.test; it is closed when the test ends.
func New(t testing.TB) *storage.Store { return Open(t, t.TempDir(), storage.Options{}) }

// Open is New in a folder and with options of the caller's. The store may be closed before the test ends.
func Open(t testing.TB, dir string, o storage.Options) *storage.Store {
	t.Helper()
	if o.RSAKey == nil {
		o.RSAKey = testRSA
	}
	s, err := storage.Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AddDomain(context.Background(), "example.test"); err != nil {
		t.Fatal(err)
	}
	return s
}

// testRSA is the RSA key of every domain, made once: finding one takes a while.
var testRSA = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Account makes an account (with what credentials the caller gives) and fails the test if it cannot.
func Account(t testing.TB, s *storage.Store, name string, c ...storage.Credential) *storage.Account {
	t.Helper()
	a, err := s.CreateAccount(context.Background(), storage.NewAccount{Name: name, Credentials: c})
	if err != nil {
		t.Fatal(err)
	}
	return a
}
