package storage

import (
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
)

// TestReserve: a full disk is met by a file that goes, once, and comes back when there is room.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{Reserve: 1 << 20})
	name := filepath.Join(dir, reserveName)
	there := func() bool {
		i, err := os.Stat(name)
		return err == nil && i.Size() == 1<<20
	}
	var free atomic.Int64
	s.disk = func(string) (int64, int64, error) { return free.Load(), 1 << 40, nil }
	sweep := func(n int64, want bool) {
		t.Helper()
		free.Store(n)
		if err := s.Sweep(t.Context()); err != nil || there() != want {
			t.Fatalf("with %d bytes free: %t, %v", n, there(), err)
		}
	}
	sweep(0, there()) // it is made when the store is opened, if this machine has room
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	sweep(spareMax+2<<20-1, false)
	sweep(spareMax+2<<20, true)

	// The disk has room as long as the file is not there.
	together(t, s, func(t *tx) error {
		t.w.commit = func() error {
			if there() {
				return syscall.ENOSPC
			}
			return t.db.Commit()
		}
		return nil
	})
	a := newAccount(t, s, "ann@example.test", 0)
	if there() {
		t.Error("the room was not given")
	}
	if _, err := s.AccountByLogin(t.Context(), a.Name); err != nil {
		t.Error(err)
	}
	verifyStore(t, s)
}
