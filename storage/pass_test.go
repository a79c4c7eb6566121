package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

func passOf(account int64, name string) Pass {
	return Pass{Account: account, Kind: PassToken, Name: name, Hash: sha256.Sum256([]byte(name)), Scopes: []string{"imap", "smtp"}}
}

func TestPass(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	ann, err := s.CreateAccount(t.Context(), NewAccount{Name: "ann@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	bob, err := s.CreateAccount(t.Context(), NewAccount{Name: "bob@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	in := passOf(ann.ID, "phone")
	in.Expires = now.Add(time.Hour)
	made, err := s.AddPass(t.Context(), in)
	if err != nil || made.ID == 0 || !made.Created.Equal(now) {
		t.Fatal(made, err)
	}
	got, err := s.PassByHash(t.Context(), PassToken, in.Hash)
	if err != nil || got.ID != made.ID || got.Account != ann.ID || !got.Expires.Equal(in.Expires) || !got.Used.IsZero() || !slices.Equal(got.Scopes, in.Scopes) {
		t.Fatal(got, err)
	}
	if got.ExpiredAt(now) || !got.ExpiredAt(now.Add(time.Hour)) || !got.Covers("imap") || got.Covers("ftp") {
		t.Error("expiry or scopes are wrong")
	}
	if _, err := s.PassByHash(t.Context(), PassCertificate, in.Hash); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a token is a certificate:", err)
	}
	other := passOf(bob.ID, "phone")
	other.Hash[0]++
	for _, c := range []struct {
		what string
		p    Pass
		want error
	}{
		{"same name", Pass{Account: ann.ID, Kind: PassToken, Name: "phone", Hash: other.Hash}, fs.ErrExist},
		{"same hash", Pass{Account: bob.ID, Kind: PassToken, Name: "x", Hash: in.Hash}, fs.ErrExist},
		{"same name of another", other, nil},
		{"same of another kind", Pass{Account: ann.ID, Kind: PassCertificate, Name: "phone", Hash: in.Hash}, nil},
		{"no name", passOf(ann.ID, ""), ErrInvalid},
		{"control", passOf(ann.ID, "a\nb"), ErrInvalid},
		{"long", passOf(ann.ID, strings.Repeat("x", 65)), ErrInvalid},
		{"blank", passOf(ann.ID, " x"), ErrInvalid},
		{"scope", Pass{Account: ann.ID, Kind: PassToken, Name: "y", Scopes: []string{"a b"}}, ErrInvalid},
		{"nobody", passOf(99, "x"), fs.ErrNotExist},
	} {
		if _, err := s.AddPass(t.Context(), c.p); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
	s.UsePass(got)
	now = now.Add(time.Second)
	if err := s.AddDomain(t.Context(), "later.test"); err != nil { // what was used is written with the next transaction
		t.Fatal(err)
	}
	if got, err = s.PassByHash(t.Context(), PassToken, in.Hash); err != nil || !got.Used.Equal(now.Add(-time.Second)) {
		t.Error(got, err)
	}
	s.UsePass(got) // within the minute: not again
	if !s.journal.empty() {
		t.Error("the same minute is written twice")
	}
	gone, err := s.RemovePass(t.Context(), ann.ID, PassToken, "phone")
	if err != nil || gone.ID != made.ID {
		t.Error(gone, err)
	}
	if _, err := s.RemovePass(t.Context(), ann.ID, PassToken, "phone"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if a, err := s.Account(t.Context(), ann.ID); err != nil || a.Epoch != ann.Epoch+1 {
		t.Error(a, err)
	}
	if err := s.RemoveAccount(t.Context(), bob.ID); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Passes(t.Context(), bob.ID, PassToken); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
}

func TestPassesAreBounded(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, err := s.CreateAccount(t.Context(), NewAccount{Name: "ann@example.test"})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxPasses + 1 {
		_, err = s.AddPass(t.Context(), passOf(ann.ID, fmt.Sprint(i)))
		if (err != nil) != (i == maxPasses) {
			t.Fatal(i, err)
		}
	}
	if !errors.Is(err, ErrLimit) {
		t.Error(err)
	}
	if all, err := s.Passes(t.Context(), ann.ID, PassToken); err != nil || len(all) != maxPasses || all[0].Name != "0" {
		t.Error(len(all), err)
	}
}

// A database of the first schema, with an account in it, takes passes.
func TestPassInOldDatabase(t *testing.T) {
	dir := t.TempDir()
	texts, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	old, err := sqldb.Open(t.Context(), dir, texts[:1], sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := old.Writer()
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO counter (name, value) VALUES ('id', 10)`,
		`INSERT INTO domain (name, is_default, id) VALUES ('example.test', 1, 1)`,
		`INSERT INTO account VALUES (2, 'ann@example.test', 0, 0, 0, 1, 1700000000, 3, 4, 0, 0, 0, 0, 0)`,
		`INSERT INTO address (domain, local, account, position) VALUES ('example.test', 'ann', 2, 0)`,
		`INSERT INTO node VALUES (3, 2, NULL, 1, '', 0, 0, 0, 448, 0, 0)`,
		`INSERT INTO node VALUES (4, 2, 3, 1, 'Mail', 0, 0, 0, 448, 0, 0)`,
	} {
		if err := w.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Commit(), old.Close()); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir, Options{})
	ann, err := s.AccountByLogin(t.Context(), "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.AddPass(t.Context(), passOf(ann.ID, "phone")); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Passes(t.Context(), ann.ID, PassToken); err != nil || len(all) != 1 {
		t.Error(all, err)
	}
}
