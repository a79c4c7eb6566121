package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/storage/mime"
)

// keysOfAll are the rows of a walk, copied.
func keysOfAll(t *testing.T, s *Store, mailbox int64, indexes func(n int) []int) (list []string) {
	t.Helper()
	p, err := s.Snapshot(t.Context(), mailbox)
	if err != nil {
		t.Fatal(err)
	}
	want := indexes(p.Len())
	for i, r := range s.Keys(t.Context(), p, want) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		if i != want[len(list)] || r.Blob != p.At(i).Blob {
			t.Fatal("row", i, "of", want[len(list)])
		}
		list = append(list, fmt.Sprintf("%s %x", r.Value(mime.SortSubject), r.Thread()))
	}
	if len(list) != len(want) {
		t.Fatal(len(list), "rows of", len(want))
	}
	return list
}

func every(step int) func(n int) []int {
	return func(n int) (list []int) {
		for i := 0; i < n; i += step {
			list = append(list, i)
		}
		return list
	}
}

// TestKeys: what comes from memory is what the database has, whatever was asked for before and whatever happened to the mailbox meanwhile.
func TestKeys(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in, sent := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Sent").ID
	add := func(n int) {
		t.Helper()
		var us []*Upload
		var targets []Target
		for i := range n {
			us = append(us, newMessage(t, s, 0, fmt.Sprintf("Subject: Re: number %d\r\nMessage-ID: <%d@x>\r\n\r\nbody\r\n", i*7, i)))
			targets = append(targets, Target{Account: a.ID, Mailbox: in})
		}
		if err := appendAll(t, s, us, targets); err != nil {
			t.Fatal(err)
		}
	}
	compare := func(what string) {
		t.Helper()
		for _, mailbox := range []int64{in, sent} {
			for _, step := range []int{1, 3, 700} {
				warm := keysOfAll(t, s, mailbox, every(step))
				kept := s.keys.max
				s.keys.init(-1)
				cold := keysOfAll(t, s, mailbox, every(step))
				s.keys.init(kept)
				if fmt.Sprint(warm) != fmt.Sprint(cold) {
					t.Fatal(what, step, "differs")
				}
			}
			keysOfAll(t, s, mailbox, every(2))
		}
	}
	add(1500)
	compare("first")
	add(1200)
	compare("more")
	var uids []uint32
	for u := uint32(2); u < 2000; u += 5 {
		uids = append(uids, u)
	}
	if _, err := s.Expunge(t.Context(), a.ID, in, uids[:200], true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Copy(t.Context(), a.ID, in, uids[200:], Destination{Account: a.ID, Mailbox: sent, Rights: AllRights}); err != nil {
		t.Fatal(err)
	}
	add(1)
	compare("changed")
	if b := s.keys.bytes; b == 0 || b > 3000*200 {
		t.Error("bytes", b)
	}
}

// TestKeysCacheIsBounded: it never holds more than it may, and a mailbox that does not fit is not read in vain each time.
func TestKeysCacheIsBounded(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{KeysCache: 150 << 10})
	a := newAccount(t, s, "ann@example.test", 0)
	in, sent := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Sent").ID
	for _, mailbox := range []int64{in, sent} {
		var us []*Upload
		var targets []Target
		for i := range 2100 {
			us = append(us, newMessage(t, s, 0, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", i)))
			targets = append(targets, Target{Account: a.ID, Mailbox: mailbox})
		}
		if err := appendAll(t, s, us, targets); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			keysOfAll(t, s, mailbox, every(1))
		}
		if b := s.keys.bytes; b <= 0 || b > s.keys.max {
			t.Error("bytes", b)
		}
		if s.keys.get(keysKey{mailbox, 0}) == nil {
			t.Error("a walk pushed out its own beginning, or the other mailbox did not give way")
		}
	}
}

// TestKeysOfOldMessages: messages that were stored before keys were kept have them when they are asked for, and the background fills the rows.
func TestKeysOfOldMessages(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for i := range 70 {
		text := fmt.Sprintf("Subject: Re: number %d\r\nFrom: joe%d@a.example\r\n\r\nbody %d\r\n", i, i, i)
		if i == 30 {
			text = strings.Replace(text, "From", "X-Long: "+strings.Repeat("x", 70<<10)+"\r\nFrom", 1) + strings.Repeat("more\r\n", 30_000)
		}
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, text), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	preview := func(s *Store) (list []string, late int) {
		p, err := s.Snapshot(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range s.Mail(t.Context(), p, every(1)(p.Len()), WantPreview|WantEnvelope) {
			if m.Err != nil {
				t.Fatal(m.Err)
			}
			if m.Preview == nil {
				if m.Preview, m.Err = s.Preview(t.Context(), p.At(i).Blob); m.Err != nil {
					t.Fatal(m.Err)
				}
				late++
			}
			list = append(list, string(m.Preview))
		}
		return list, late
	}
	keys := keysOfAll(t, s, in, every(1))
	texts, _ := preview(s)
	if len(texts) != 70 || texts[7] != "body 7" {
		t.Fatalf("%q", texts)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	old := downgraded(t, dir, 1)
	s = openTest(t, old, Options{Blobs: s.blobs})
	if got := keysOfAll(t, s, in, every(1)); fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Fatal("keys made late differ", got)
	}
	if got, late := preview(s); late != 70 || fmt.Sprint(got) != fmt.Sprint(texts) {
		t.Fatal("previews made late differ", late, got)
	}
	for n := 0; s.fillSome(t.Context()); n++ {
		if n > 3 {
			t.Fatal("the filling does not end")
		}
	}
	var empty int
	if err := s.db.Row(`SELECT COUNT(*) FROM mail WHERE keys IS NULL OR preview IS NULL`).Scan(&empty); err != nil || empty != 0 {
		t.Fatal(empty, "rows are empty", err)
	}
	s.keys.init(s.keys.max)
	if got := keysOfAll(t, s, in, every(1)); fmt.Sprint(got) != fmt.Sprint(keys) {
		t.Fatal("keys differ", got)
	}
	if got, late := preview(s); late != 0 || fmt.Sprint(got) != fmt.Sprint(texts) {
		t.Fatal("previews differ", late, got)
	}
	if s.fillSome(t.Context()) {
		t.Error("there is more to fill")
	}
}

// TestKeysOfWhatIsGone: a message that was swept is fs.ErrNotExist, and the others come.
func TestKeysOfWhatIsGone(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{GarbageAge: 1})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	for range 20 {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: x\r\n\r\nbody\r\n"), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Expunge(t.Context(), a.ID, in, []uint32{5}, true); err != nil {
		t.Fatal(err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, indexes := range [][]int{every(1)(20), {3, 4, 5}} {
		for i, r := range s.Keys(t.Context(), p, indexes) {
			if errors.Is(r.Err, fs.ErrNotExist) != (i == 4) {
				t.Error(i, r.Err)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.keys.init(s.keys.max)
	for _, r := range s.Keys(ctx, p, every(1)(20)) {
		if !errors.Is(r.Err, context.Canceled) {
			t.Error(r.Err)
		}
	}
	if b := s.keys.get(keysKey{in, 0}); b != nil && len(b.uids) > 0 {
		t.Error("what failed is kept")
	}
}

// TestKeysByMany: sessions that walk over a mailbox while it grows see each message's own keys.
func TestKeysByMany(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{KeysCache: 60 << 10})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 30 {
				p, err := s.Snapshot(t.Context(), in)
				if err != nil {
					t.Error(err)
					return
				}
				for i, r := range s.Keys(t.Context(), p, every(1+p.Len()%3)(p.Len())) {
					if r.Err != nil || string(r.Value(mime.SortSubject)) != fmt.Sprintf("NUMBER %d", i) {
						t.Errorf("%d: %q %v", i, r.Value(mime.SortSubject), r.Err)
						return
					}
				}
			}
		})
	}
	for i := range 300 {
		if _, err := s.Deliver(t.Context(), newMessage(t, s, 0, fmt.Sprintf("Subject: Re: number %d\r\n\r\nbody\r\n", i)), []Target{{Account: a.ID, Mailbox: in}}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
}
