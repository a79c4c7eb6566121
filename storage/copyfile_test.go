package storage

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"
)

// TestCopyFile: a copy is charged and lives on without what it was made of; the bytes are there once, until the last name of them is gone.
func TestCopyFile(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ctx := t.Context()
	for name, size := range map[string]int{"none": 0, "row": 10, "file": 200_000} {
		a := newAccount(t, s, name+"@example.test", 500_000)
		put := func(name string, n int) Node {
			t.Helper()
			u, err := s.NewFile(ctx, a.ID, a.Home, name, int64(n), false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := u.Write([]byte(strings.Repeat("x", n))); err != nil {
				t.Fatal(err)
			}
			node, err := s.PutFile(ctx, a.ID, a.Home, name, u, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			return node
		}
		used := func(want int64) {
			t.Helper()
			if u, err := s.Usage(ctx, a.ID); err != nil || u.Bytes != want {
				t.Fatalf("%d bytes are used, want %d: %v", u.Bytes, want, err)
			}
		}
		n := int64(size)
		from := put("from", size)
		to, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "to", true)
		if err != nil || to.ID == from.ID || to.Blob != from.Blob || to.Size != n || to.Name != "to" {
			t.Fatal(to, err)
		}
		used(2 * n)
		if _, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "to", true); !errors.Is(err, fs.ErrExist) {
			t.Error(err)
		}
		if same, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "from", false); err != nil || same.ModSeq != from.ModSeq {
			t.Error(same, err)
		}
		put("to", 7)
		used(n + 7)
		if _, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "to", false); err != nil {
			t.Fatal(err)
		}
		used(2 * n)
		if size > 150_000 {
			if _, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "third", false); !errors.Is(err, ErrQuota) {
				t.Error(err)
			}
		}
		if err := s.Remove(ctx, a.ID, from.ID); err != nil {
			t.Fatal(err)
		}
		used(n)
		b, err := s.OpenBlob(ctx, to.Blob)
		if err != nil || b.Size() != n {
			t.Fatal(err)
		}
		b.Close()
		if err := s.Remove(ctx, a.ID, to.ID); err != nil {
			t.Fatal(err)
		}
		used(0)
		if _, err := s.CopyFile(ctx, a.ID, from.ID, a.Home, "late", false); !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
		if _, err := s.CopyFile(ctx, a.ID, a.Home, a.Home, "home", false); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	}
}
