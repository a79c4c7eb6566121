package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"
)

func TestSieveScripts(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	a := newAccount(t, s, "ann@example.test", 1000)
	id := a.ID
	limits := SieveLimits{Scripts: 2, Size: 600, Total: 900}
	put := func(name string, size int) error {
		return s.PutSieve(ctx, id, name, []byte(strings.Repeat("#", size)), limits)
	}
	bytes := func() int64 {
		u, err := s.Usage(ctx, id)
		must(t, err)
		return u.Bytes
	}
	epoch := s.SieveEpoch()
	must(t, put("one", 100), put("one", 200), put("two", 300))
	if got := bytes(); got != 500 || s.SieveEpoch() != epoch+3 {
		t.Error("charged", got)
	}
	for _, c := range []struct{ err, want error }{
		{put("three", 1), ErrSieveScripts}, {put("one", 601), ErrSieveSize}, {put("two", 599), nil}, {put("one", 400), ErrSieveSize}, {put("", 1), ErrInvalid}, {put("a\nb", 1), ErrInvalid},
		{put(strings.Repeat("x", 513), 1), ErrInvalid}, {s.RemoveSieve(ctx, id, "none"), fs.ErrNotExist}, {s.ActivateSieve(ctx, id, "none"), fs.ErrNotExist}, {s.ActivateSieve(ctx, id, "one"), nil},
		{s.RemoveSieve(ctx, id, "one"), ErrSieveActive}, {s.RenameSieve(ctx, id, "one", "two"), fs.ErrExist}, {s.RenameSieve(ctx, id, "none", "x"), fs.ErrNotExist}, {s.RenameSieve(ctx, id, "one", "é 1"), nil},
		{s.MayPutSieve(ctx, id, "two", 601, limits), ErrSieveSize},
		{s.MayPutSieve(ctx, id, "two", 900, SieveLimits{}), ErrQuota},
		{s.PutSieve(ctx, id, "two", make([]byte, 900), SieveLimits{}), ErrQuota},
	} {
		if !errors.Is(c.err, c.want) || c.want == nil && c.err != nil {
			t.Errorf("%v; want %v", c.err, c.want)
		}
	}
	if text, err := s.ActiveSieve(ctx, id); err != nil || len(text) != 200 {
		t.Error(len(text), err)
	}
	must(t, s.ActivateSieve(ctx, id, ""))
	if _, err := s.ActiveSieve(ctx, id); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	must(t, s.RemoveSieve(ctx, id, "two"))
	if all, err := s.SieveScripts(ctx, id); err != nil || len(all) != 1 || all[0].Name != "é 1" || all[0].Active || bytes() != 200 {
		t.Error(all, err, bytes())
	}
	for i, want := range []bool{true, false, true} {
		if got, err := s.SieveRemember(ctx, id, "x", time.Hour); err != nil || got != want {
			t.Error(i, got, err)
		}
		if seen, err := s.SieveSeen(ctx, id, "x"); err != nil || !seen {
			t.Error(i, err)
		}
		if i == 1 {
			now = now.Add(time.Hour)
			if seen, _ := s.SieveSeen(ctx, id, "x"); seen {
				t.Error("remembered for ever")
			}
		}
	}
	for i := range 3 {
		if _, err := s.SieveRemember(ctx, id, fmt.Sprint(i), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	must(t, s.RemoveAccount(ctx, id))
	var n int
	must(t, s.db.Row(`SELECT (SELECT COUNT(*) FROM sieve_memory) + (SELECT COUNT(*) FROM sieve_script)`).Scan(&n))
	if n != 0 {
		t.Error(n, "rows are left")
	}
}
