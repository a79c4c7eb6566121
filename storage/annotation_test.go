package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"

	"github.com/packetboat/packetboat/storage/sqldb"
)

func note(name, value string) AnnotationChange {
	return AnnotationChange{Annotation: Annotation{Name: name, Value: []byte(value)}}
}

// annotate sets entries of INBOX.
func annotate(t *testing.T, s *Store, a *Account, list ...AnnotationChange) error {
	t.Helper()
	_, _, err := s.SetAnnotations(t.Context(), a.ID, a.ID, mailboxNamed(t, s, a.ID, "INBOX").ID, list, nil)
	return err
}

// Entries are bounded in number and bytes, all or none are set, and what is removed makes room (RFC 5464 section 4.1).
func TestAnnotationLimits(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	var list []AnnotationChange
	for i := range maxAnnotations {
		list = append(list, note(fmt.Sprintf("/private/vendor/x/%d", i), "v"))
	}
	if err := annotate(t, s, a, list...); err != nil {
		t.Fatal(err)
	}
	if err := annotate(t, s, a, note("/private/vendor/x/1", "new"), note("/private/vendor/x/more", "v")); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	if v, err := s.AnnotationsNamed(t.Context(), in, a.ID, []string{"/private/vendor/x/1"}); err != nil || string(v["/private/vendor/x/1"]) != "v" {
		t.Fatal(v, err)
	}
	gone := note("/private/vendor/x/0", "")
	gone.Remove = true
	if err := annotate(t, s, a, gone, note("/private/vendor/x/more", "v"), note("/shared/comment", "v")); err != nil {
		t.Fatal(err)
	}
	big := note("/shared/vendor/x/big", string(bytes.Repeat([]byte("x"), AnnotationMax)))
	for i := 0; ; i++ {
		big.Name = fmt.Sprintf("/shared/vendor/x/%d", i)
		if err := annotate(t, s, a, big); err != nil {
			if !errors.Is(err, ErrLimit) || i < maxAnnotationBytes/AnnotationMax-2 {
				t.Fatal(i, err)
			}
			break
		}
	}
	if _, _, err := s.SetAnnotations(t.Context(), a.ID, a.ID, 1<<40, list[:1], nil); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

// Changes are found by their sequence, also after a restart and when they are many; removed entries are told of for a while.
func TestAnnotationsSince(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	was := s.AnnotationSeq()
	const batch = 90
	for i := range 7 {
		var list []AnnotationChange
		for j := range batch {
			list = append(list, note(fmt.Sprintf("/private/vendor/x/%d", j), fmt.Sprint(i)))
		}
		list = append(list, note(fmt.Sprintf("/shared/vendor/x/%d", i), "v"))
		if err := annotate(t, s, a, list...); err != nil {
			t.Fatal(err)
		}
	}
	for i := range maxAnnotationTombs + 20 {
		gone := note(fmt.Sprintf("/private/vendor/x/%d", i), "")
		gone.Remove = true
		if err := annotate(t, s, a, gone); err != nil {
			t.Fatal(err)
		}
	}
	all := func(s *Store, account int64) (names []string) {
		for seq := was; seq < s.AnnotationSeq(); {
			notes, last, err := s.AnnotationsSince(t.Context(), account, seq)
			if err != nil || last <= seq {
				t.Fatal(last, err)
			}
			for _, n := range notes {
				if n.Mailbox != "INBOX" {
					t.Fatal(n)
				}
				names = append(names, n.Entry)
			}
			seq = last
		}
		slices.Sort(names)
		return slices.Compact(names)
	}
	if n := len(all(s, a.ID)); n < batch-20 || n > batch+7 {
		t.Fatal(n)
	}
	if n := all(s, b.ID); len(n) != 0 {
		t.Fatal("another's:", n)
	}
	seq := s.AnnotationSeq()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{})
	if s.AnnotationSeq() != seq {
		t.Fatal(s.AnnotationSeq(), seq)
	}
}

// Entries and their counting go with the mailbox and with the account.
func TestAnnotationsGo(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	in, box := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Archive").ID
	for _, mailbox := range []int64{in, box} {
		for _, by := range []int64{a.ID, b.ID} {
			if _, _, err := s.SetAnnotations(t.Context(), by, a.ID, mailbox, []AnnotationChange{note("/private/comment", "x"), note("/shared/comment", "x")}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() (n int) {
		if err := s.db.Row(`SELECT COUNT(*) FROM annotation`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := s.DeleteMailbox(t.Context(), a.ID, "Archive", false); err != nil || left() != 3 {
		t.Fatal(err, left())
	}
	if err := s.RemoveAccount(t.Context(), b.ID); err != nil || left() != 2 {
		t.Fatal(err, left())
	}
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil || left() != 0 {
		t.Fatal(err, left())
	}
}

// The limit of messages holds for whatever puts messages in; -1 allows none.
func TestMessageQuota(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in, archive := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Archive")
	limit := func(n int64) {
		t.Helper()
		if got, err := s.UpdateAccount(t.Context(), a.ID, AccountChange{MessageQuota: &n}); err != nil || got.MessageQuota != n {
			t.Fatal(got, err)
		}
	}
	deliver := func() error {
		u := newMessage(t, s, 0, "A: b\r\n\r\n")
		defer u.Abort()
		done, err := s.Deliver(t.Context(), u, []Target{{Account: a.ID, Mailbox: in}})
		if err != nil {
			t.Fatal(err)
		}
		return done[0].Err
	}
	batch := func(n int) error {
		b := batchOf(t, s, a.ID, in, slices.Repeat([]int{20}, n)...)
		defer b.Abort()
		_, err := s.DeliverBatch(t.Context(), b)
		return err
	}
	limit(3)
	for i, want := range []error{nil, nil, nil, ErrQuota} {
		if err := deliver(); !errors.Is(err, want) {
			t.Fatal(i, err)
		}
	}
	u, err := s.NewReplacement(t.Context(), a.ID, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Abort()
	if _, err := u.Write([]byte("A: c\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replace(t.Context(), u, Target{Account: a.ID, Mailbox: in}, a.ID, in, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), a.ID, in, []uint32{2}, archive.Destination()); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	if _, err := s.Move(t.Context(), a.ID, in, []uint32{2}, archive.Destination()); err != nil {
		t.Fatal(err)
	}
	limit(5)
	if err := batch(3); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	if err := batch(2); err != nil {
		t.Fatal(err)
	}
	limit(-1)
	if _, err := s.Expunge(t.Context(), a.ID, archive.ID, []uint32{1}, true); err != nil {
		t.Fatal(err)
	}
	if err := deliver(); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	limit(0)
	if err := deliver(); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
}

// A database of the first schema has no limit of messages and no entries, and takes both (schema/0004.sql).
func TestAnnotationsInOldDatabase(t *testing.T) {
	dir := t.TempDir()
	texts, err := migrations()
	if err != nil {
		t.Fatal(err)
	}
	db, err := sqldb.Open(t.Context(), dir, texts[:1], sqldb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := db.Writer()
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{
		`INSERT INTO counter (name, value) VALUES ('id', 100)`,
		`INSERT INTO account (id, name, admin, disabled, quota, epoch, created, home, mail, bytes, messages, files, modseq, uidvalidity) VALUES (2, 'ann@example.test', 0, 0, 0, 1, 0, 3, 4, 0, 0, 0, 9, 9)`,
		`INSERT INTO node (id, account, parent, kind, name, size, modified, created, mode, blob, modseq) VALUES (3, 2, NULL, 1, '', 0, 0, 0, 448, 0, 1), (4, 2, 3, 1, 'Mail', 0, 0, 0, 448, 0, 1), (5, 2, 4, 2, 'INBOX', 0, 0, 0, 448, 0, 1)`,
		`INSERT INTO mailbox (id, account, name, noselect, role, uidvalidity, uidnext, highestmodseq, messages, unseen, deleted, size, floor, tombs) VALUES (5, 2, 'INBOX', 0, '', 5, 1, 1, 0, 0, 0, 0, 0, 0)`,
	} {
		if err := w.Exec(q); err != nil {
			t.Fatal(q, err)
		}
	}
	if err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s := openTest(t, dir, Options{})
	a, err := s.Account(t.Context(), 2)
	if err != nil || a.MessageQuota != 0 || s.AnnotationSeq() != 0 {
		t.Fatal(a, err)
	}
	if err := annotate(t, s, a, note("/shared/comment", "x")); err != nil || s.AnnotationSeq() == 0 {
		t.Fatal(err, s.AnnotationSeq())
	}
	n := int64(7)
	if a, err = s.UpdateAccount(t.Context(), 2, AccountChange{MessageQuota: &n}); err != nil || a.MessageQuota != 7 {
		t.Fatal(a, err)
	}
}
