package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// batchOf makes a batch of messages of those sizes, each different.
func batchOf(t testing.TB, s *Store, account, mailbox int64, sizes ...int) *Batch {
	t.Helper()
	b := s.NewBatch()
	for i, n := range sizes {
		u := newMessage(t.(fataler), s, 0, batchText(i, n))
		if err := b.Add(t.Context(), u, Target{Account: account, Mailbox: mailbox}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// appendAll delivers us[i] to targets[i], as many at a time as can be.
func appendAll(t testing.TB, s *Store, us []*Upload, targets []Target) error {
	b := s.NewBatch()
	for i, u := range us {
		if err := b.Add(t.Context(), u, targets[i]); err != nil {
			return err
		}
		if b.Len() < BatchMessages && i < len(us)-1 {
			continue
		}
		if _, err := s.DeliverBatch(t.Context(), b); err != nil {
			return err
		}
		b = s.NewBatch()
	}
	return nil
}

func batchText(i, size int) string {
	h := fmt.Sprintf("A: %05d\r\n\r\n", i)
	return h + strings.Repeat(string(rune('a'+i%26)), size-len(h))
}

// A batch is all or none (RFC 3502), and quota is asked for the sum.
func TestBatch(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 100)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	b := batchOf(t, s, a.ID, in, 50, 51)
	if _, err := s.DeliverBatch(t.Context(), b); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	b.Abort()
	if m := mailboxNamed(t, s, a.ID, "INBOX"); m.Messages != 0 || m.UIDNext != 1 {
		t.Fatal(m)
	}
	b = batchOf(t, s, a.ID, in, 50, 50)
	if res, err := s.DeliverBatch(t.Context(), b); err != nil || res[0].UID != 1 || res[1].UID != 2 {
		t.Fatal(res, err)
	}
	b.Abort()
	verifyStore(t, s)
}

// Messages that do not fit into the batch's memory, small ones and large, come out as they went in, and the memory stays bounded.
func TestBatchParks(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{InlineMax: 20 << 10})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	var sizes []int
	for i := range 100 {
		sizes = append(sizes, 10<<10+i)
	}
	sizes[50], sizes[80] = 100<<10, 30<<10
	b := batchOf(t, s, a.ID, in, sizes...)
	var held int64
	for _, u := range b.mails {
		held += u.inMemory()
	}
	if held > batchHeld {
		t.Fatal("in memory:", held)
	}
	res, err := s.DeliverBatch(t.Context(), b)
	if err != nil || len(res) != len(sizes) {
		t.Fatal(err)
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for i, m := range s.Mail(t.Context(), p, upTo(len(sizes)), WantHeader|WantEnvelope|WantStructure|WantIndex) {
		wantBody(t, s, p.At(i).Blob, batchText(i, sizes[i]))
		if x, err := m.Index(); m.Err != nil || err != nil || x.Size != int64(sizes[i]) || string(m.Header) != fmt.Sprintf("A: %05d\r\n\r\n", i) || len(m.Envelope) == 0 {
			t.Fatal(i, m.Err, err, string(m.Header))
		}
	}
	verifyStore(t, s)
	if left := staged(t, s); len(left) > 0 {
		t.Fatal("staging files are left:", left)
	}
}

// What is staged of a batch that is given up goes.
func TestBatchAborts(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{InlineMax: 4 << 10})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX")
	b := batchOf(t, s, a.ID, in.ID, append(slices.Repeat([]int{4 << 10}, 200), 20<<10, 30<<10)...)
	if err := s.DeleteMailbox(t.Context(), a.ID, "Archive", false); err != nil {
		t.Fatal(err)
	}
	b.targets[0].Mailbox = 1 << 40
	if _, err := s.DeliverBatch(t.Context(), b); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	b.Abort()
	if left := staged(t, s); len(left) > 0 {
		t.Fatal("files are left:", left)
	}
	verifyStore(t, s)
}

// staged are the blob files that no row refers to.
func staged(t *testing.T, s *Store) (left []string) {
	t.Helper()
	known := map[string]bool{}
	rows, err := s.db.Query(`SELECT key FROM blob WHERE key IS NOT NULL`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var k string
		if err := rows.Scan(&k); err != nil {
			t.Fatal(err)
		}
		known[k] = true
	}
	err = filepath.WalkDir(filepath.Join(s.dirOf(t), "blobs"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !known[filepath.Base(p)] {
			left = append(left, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func (s *Store) dirOf(t *testing.T) string {
	var n int
	var name, file string
	if err := s.db.Row(`PRAGMA database_list`).Scan(&n, &name, &file); err != nil {
		t.Fatal(err)
	}
	return filepath.Dir(file)
}

// A batch has a limit of messages.
func TestBatchLimit(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	b := batchOf(t, s, a.ID, in, slices.Repeat([]int{20}, BatchMessages)...)
	u := newMessage(t, s, 0, "A: b\r\n\r\n")
	defer u.Abort()
	if err := b.Add(t.Context(), u, Target{Account: a.ID, Mailbox: in}); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	if res, err := s.DeliverBatch(t.Context(), b); err != nil || res[BatchMessages-1].UID != BatchMessages {
		t.Fatal(err)
	}
}

// Keywords of all messages together are refused when there are too many, and nothing is stored.
func TestBatchKeywords(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX")
	b := s.NewBatch()
	defer b.Abort()
	first := batchOf(t, s, a.ID, in.ID, 20)
	first.targets[0].Keywords = []string{"other"}
	if _, err := s.DeliverBatch(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	add := func(word string) error {
		u := newMessage(t, s, 0, "A: b\r\n\r\n")
		err := b.Add(t.Context(), u, Target{Account: a.ID, Mailbox: in.ID, Keywords: []string{word}})
		if err != nil {
			u.Abort()
		}
		return err
	}
	for i := range maxKeywords {
		if err := add(fmt.Sprint("k", i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(add("K0"), add("more")); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	if _, err := s.DeliverBatch(t.Context(), b); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	if p, err := s.Snapshot(t.Context(), in.ID); err != nil || p.Len() != 1 || len(p.Keywords()) != 1 {
		t.Fatal(p.Len(), err)
	}
	verifyStore(t, s)
}

// A message takes another's place, or nothing happens (RFC 8508); quota is asked for the difference.
func TestReplace(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 100)
	in, other := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Archive").ID
	if _, err := s.DeliverBatch(t.Context(), batchOf(t, s, a.ID, in, 40, 40)); err != nil {
		t.Fatal(err)
	}
	replace := func(size int, uid uint32, to int64) (Appended, error) {
		u, err := s.NewReplacement(t.Context(), a.ID, int64(size), 40)
		if err != nil {
			return Appended{}, err
		}
		defer u.Abort()
		if _, err := u.Write([]byte(batchText(7, size))); err != nil {
			t.Fatal(err)
		}
		return s.Replace(t.Context(), u, Target{Account: a.ID, Mailbox: to, Keywords: []string{"k"}}, a.ID, in, uid)
	}
	if _, err := replace(61, 1, in); !errors.Is(err, ErrQuota) {
		t.Fatal(err)
	}
	if _, err := replace(30, 9, in); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	if m := mailboxNamed(t, s, a.ID, "INBOX"); m.Messages != 2 || m.UIDNext != 3 {
		t.Fatal(m)
	}
	if d, err := replace(60, 1, in); err != nil || d.UID != 3 {
		t.Fatal(d, err)
	}
	if d, err := replace(40, 2, other); err != nil || d.UID != 1 {
		t.Fatal(d, err)
	}
	if m := mailboxNamed(t, s, a.ID, "INBOX"); m.Messages != 1 || m.Size != 60 {
		t.Fatal(m)
	}
	if use, err := s.Usage(t.Context(), a.ID); err != nil || use.Bytes != 100 || use.Messages != 2 {
		t.Fatal(use, err)
	}
	verifyStore(t, s)
}
