package storage

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"
)

// states are selector and state of each key of a domain.
func states(t *testing.T, s *Store, domain string) []string {
	t.Helper()
	all, err := s.DKIMKeys(t.Context(), domain)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, k := range all {
		list = append(list, k.Selector+" "+string(k.State))
		signer, err := k.Signer()
		if k.State == DKIMRetired {
			if !errors.Is(err, fs.ErrNotExist) || len(k.Private) != 0 {
				t.Errorf("%s: a retired key has a private half (%v)", k.Name(), err)
			}
			continue
		}
		if err != nil || signer.Public() == nil {
			t.Errorf("%s: %v", k.Name(), err)
		}
	}
	return list
}

// TestDKIMKeys: a domain has keys from its first moment, and they go through their states.
func TestDKIMKeys(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	want := func(list ...string) {
		t.Helper()
		if got := states(t, s, "Example.test."); !slices.Equal(got, list) {
			t.Fatalf("%q, want %q", got, list)
		}
	}
	want("pb202611r active", "pb202611e active")
	epoch := s.DKIMEpoch()
	if err := s.ActivateDKIMKeys(ctx, "example.test"); !errors.Is(err, fs.ErrNotExist) {
		t.Error("without a next pair:", err)
	}
	if err := s.AddDKIMKeys(ctx, "example.test"); err != nil {
		t.Fatal(err)
	}
	want("pb202611r active", "pb202611e active", "pb202611r2 next", "pb202611e2 next")
	if err := s.AddDKIMKeys(ctx, "example.test"); !errors.Is(err, fs.ErrExist) {
		t.Error("a second next pair:", err)
	}
	if err := s.SeenDKIMKey(ctx, "example.test", "pb202611r2", true); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	if err := s.SeenDKIMKey(ctx, "example.test", "pb202611r2", true); err != nil {
		t.Fatal(err)
	}
	all, err := s.DKIMKeys(ctx, "example.test")
	if err != nil || !all[2].Seen.Equal(now.Add(-time.Hour)) || !all[3].Seen.IsZero() {
		t.Error("seen:", all[2].Seen, all[3].Seen, err)
	}
	if err := s.ActivateDKIMKeys(ctx, "example.test"); err != nil {
		t.Fatal(err)
	}
	want("pb202611r2 active", "pb202611e2 active", "pb202611r retired", "pb202611e retired")
	if s.DKIMEpoch() == epoch {
		t.Error("the epoch did not move")
	}
	if err := s.RemoveDKIMKey(ctx, "example.test", "pb202611r2"); !errors.Is(err, fs.ErrPermission) {
		t.Error("removing an active key:", err)
	}
	if err := s.RemoveDKIMKey(ctx, "example.test", "pb202611e"); err != nil {
		t.Error(err)
	}
	if names, err := s.DropRetiredDKIMKeys(ctx, now); err != nil || len(names) != 0 {
		t.Error("too early:", names, err)
	}
	if names, err := s.DropRetiredDKIMKeys(ctx, now.Add(time.Second)); err != nil || !slices.Equal(names, []string{"pb202611r._domainkey.example.test"}) {
		t.Error(names, err)
	}
	want("pb202611r2 active", "pb202611e2 active")
	if _, err := s.DKIMKeys(ctx, "foreign.test"); !errors.Is(err, ErrNotLocal) {
		t.Error("a foreign domain:", err)
	}
	if err := s.AddDKIMKeys(ctx, "foreign.test"); !errors.Is(err, ErrNotLocal) {
		t.Error("a foreign domain:", err)
	}
}

// TestDKIMRecord: what is to be published (RFC 6376 section 3.6.1, RFC 8463 section 3).
func TestDKIMRecord(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	all, err := s.DKIMKeys(t.Context(), "example.test")
	if err != nil {
		t.Fatal(err)
	}
	if r := all[0].Record(); !strings.HasPrefix(r, "v=DKIM1; k=rsa; p=MIIB") {
		t.Error(r)
	}
	if r := all[1].Record(); !strings.HasPrefix(r, "v=DKIM1; k=ed25519; p=") || len(r) != len("v=DKIM1; k=ed25519; p=")+44 {
		t.Error(r)
	}
}

// TestDKIMLater: a domain that is older than keys gets its own when they are first asked for, a removed one loses them.
func TestDKIMLater(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, downgraded(t, dir, 12), Options{})
	if got := states(t, s, "example.test"); len(got) != 2 {
		t.Error(got)
	}
	if err := s.AddDomain(t.Context(), "other.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveDomain(t.Context(), "other.test"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.db.Row(`SELECT COUNT(*) FROM dkim_key WHERE domain = 'other.test'`).Scan(&n); err != nil || n != 0 {
		t.Error(n, err)
	}
}
