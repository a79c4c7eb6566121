package storage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// When the disk is nearly full nothing is stored any more, and everything can still be removed.
func TestSpare(t *testing.T) {
	ctx := context.Background()
	var later atomic.Bool
	s, err := Open(ctx, t.TempDir(), Options{Now: func() time.Time {
		if later.Load() {
			return time.Now().Add(time.Hour)
		}
		return time.Now()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.AddDomain(ctx, "example.test"); err != nil {
		t.Fatal(err)
	}
	a, err := s.CreateAccount(ctx, NewAccount{Name: "ann@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	var free atomic.Int64
	s.disk = func(string) (int64, int64, error) { return free.Load(), 1 << 40, nil }
	put := func(name string, size int) (Node, error) {
		t.Helper()
		u, err := s.NewFile(ctx, a.ID, a.Home, name, -1, false)
		if err != nil {
			t.Fatal(err)
		}
		defer u.Abort()
		if _, err := u.ReadFrom(bytes.NewReader(make([]byte, size))); err != nil {
			return Node{}, err
		}
		return s.PutFile(ctx, a.ID, a.Home, name, u, s.o.Now())
	}
	for _, size := range []int{1, 200_000, 9 << 20} {
		free.Store(spareMax)
		n, err := put("f", size)
		if err != nil {
			t.Fatal(err)
		}
		free.Store(spareMax - 1)
		if _, err := put("f", size); !errors.Is(err, syscall.ENOSPC) || !errors.Is(err, ErrTemporary) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if err := s.Remove(ctx, a.ID, n.ID); err != nil {
			t.Error(err)
		}
	}
	// What was removed from the database makes room there, and there only.
	free.Store(spareMax)
	for i := range 20 {
		if _, err := put(fmt.Sprint("small", i), 50_000); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		n, err := s.Lookup(ctx, a.ID, a.Home, fmt.Sprint("small", i))
		if err == nil {
			err = s.Remove(ctx, a.ID, n.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	later.Store(true)
	if err := s.Sweep(ctx); err != nil {
		t.Fatal(err)
	}
	free.Store(spareMax - 500_000)
	if _, err := put("small", 50_000); err != nil {
		t.Error(err)
	}
	if _, err := put("large", 200_000); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	// What was on its way when the disk was found full is kept when there is room for it again.
	free.Store(spareMax)
	u, err := s.NewFile(ctx, a.ID, a.Home, "g", -1, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Write(make([]byte, 200_000)); err != nil {
		t.Fatal(err)
	}
	free.Store(0)
	if _, err := u.ReadFrom(bytes.NewReader(make([]byte, 9<<20))); !errors.Is(err, syscall.ENOSPC) {
		t.Error(err)
	}
	free.Store(spareMax)
	all := u.Size()
	if err := s.SavePartial(ctx, a.ID, a.Home, "g", u); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Partial(ctx, a.ID, a.Home, "g"); err != nil || p.Size != all/2 {
		t.Errorf("%d of %d bytes; %v", p.Size, all, err)
	}
}
