// Package storagetest gives tests a real store.
package storagetest

import (
	"testing"

	"github.com/packetboat/packetboat/storage"
)

// New opens a store in t.TempDir with the domain example.test; it is closed when the test ends.
func New(t testing.TB) *storage.Store { panic("stub") }

// Account makes an account (with what credentials the caller gives) and fails the test if it cannot.
func Account(t testing.TB, s *storage.Store, name string, c ...storage.Credential) *storage.Account {
	panic("stub")
}
