package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"testing"
)

func mailboxNames(t *testing.T, s *Store, account int64) []string {
	t.Helper()
	all, err := s.Mailboxes(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range all {
		n := m.Name
		if m.NoSelect {
			n += " (noselect)"
		}
		names = append(names, n)
	}
	return names
}

func deliverTo(t *testing.T, s *Store, account int64, name string, n int) {
	t.Helper()
	m := mailboxNamed(t, s, account, name)
	for range n {
		res, err := s.Deliver(t.Context(), newMessage(t, s, account, "Subject: x\r\n\r\nbody\r\n"), []Target{{Account: account, Mailbox: m.ID, Keywords: []string{"Word"}}})
		if err != nil || res[0].Err != nil {
			t.Fatal(res, err)
		}
	}
}

func TestMailboxTree(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	wantErr := func(err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%v, want %v", err, want)
		}
	}
	want := func(names ...string) {
		t.Helper()
		if got := mailboxNames(t, s, a.ID); !slices.Equal(got, names) {
			t.Fatalf("%q, want %q", got, names)
		}
	}
	want("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash")
	_, err := s.CreateMailbox(ctx, a.ID, "x/y/z", "")
	must(err)
	want("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "x", "x/y", "x/y/z")
	_, err = s.CreateMailbox(ctx, a.ID, "x/y", "")
	wantErr(err, fs.ErrExist)
	_, err = s.CreateMailbox(ctx, a.ID, "inbox", "")
	wantErr(err, fs.ErrExist)
	_, err = s.CreateMailbox(ctx, a.ID, "x//y", "")
	wantErr(err, ErrInvalid)
	_, err = s.CreateMailbox(ctx, a.ID, "Bin", "Trash")
	wantErr(err, ErrConflict)

	deliverTo(t, s, a.ID, "x/y", 3)
	old := mailboxNamed(t, s, a.ID, "x/y")
	wantErr(s.DeleteMailbox(ctx, a.ID, "INBOX", false), fs.ErrPermission)
	wantErr(s.DeleteMailbox(ctx, a.ID, "x/y", true), fs.ErrPermission)
	must(s.DeleteMailbox(ctx, a.ID, "x/y", false))
	want("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "x", "x/y (noselect)", "x/y/z")
	wantErr(s.DeleteMailbox(ctx, a.ID, "x/y", false), fs.ErrPermission)
	_, err = s.Snapshot(ctx, old.ID)
	wantErr(err, fs.ErrNotExist)
	m, err := s.CreateMailbox(ctx, a.ID, "x/y", "")
	must(err)
	if m.UIDValidity <= old.UIDValidity || m.Messages != 0 || !m.Children {
		t.Fatalf("made anew: %+v, before %+v", m, old)
	}
	must(s.RenameMailbox(ctx, a.ID, "x", "q/w"))
	want("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash", "q", "q/w", "q/w/y", "q/w/y/z")
	if again := mailboxNamed(t, s, a.ID, "q/w/y"); again.ID != m.ID || again.UIDValidity != m.UIDValidity {
		t.Fatal("a renamed mailbox is another", again)
	}
	wantErr(s.RenameMailbox(ctx, a.ID, "q", "q/w/below"), ErrInvalid)
	wantErr(s.RenameMailbox(ctx, a.ID, "q", "Trash"), fs.ErrExist)
	wantErr(s.RenameMailbox(ctx, a.ID, "none", "some"), fs.ErrNotExist)
	n, err := s.Walk(ctx, a.ID, []string{"Mail", "q", "w", "y", "z"})
	must(err)
	if n.Kind != KindMailbox {
		t.Fatal(n)
	}
	must(s.Sweep(ctx))
	verifyStore(t, s)
}

// TestRenameInbox: RFC 9051 section 6.3.6.
func TestRenameInbox(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 5)
	if err := s.RenameMailbox(t.Context(), a.ID, "Inbox", "old/mail"); err != nil {
		t.Fatal(err)
	}
	in, old := mailboxNamed(t, s, a.ID, "INBOX"), mailboxNamed(t, s, a.ID, "old/mail")
	if in.Messages != 0 || in.UIDNext != 6 || old.Messages != 5 {
		t.Fatal(in, old)
	}
	p, err := s.Snapshot(t.Context(), old.ID)
	if err != nil || p.Len() != 5 || p.Keywords()[0] != "Word" || p.At(4).Keywords != 1 {
		t.Fatal(err)
	}
	deliverTo(t, s, a.ID, "INBOX", 1)
	verifyStore(t, s)
}

// TestUIDValidityGrows: whatever happens to a name, the mailbox that has it later has a greater UIDVALIDITY or is the same.
func TestUIDValidityGrows(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	ctx := t.Context()
	create := func(name string) uint32 {
		t.Helper()
		m, err := s.CreateMailbox(ctx, a.ID, name, "")
		if err != nil {
			t.Fatal(err)
		}
		return m.UIDValidity
	}
	x1, y1 := create("x"), create("y")
	if err := s.RenameMailbox(ctx, a.ID, "x", "away"); err != nil {
		t.Fatal(err)
	}
	x2 := create("x")
	if x2 <= x1 {
		t.Errorf("renamed away and made anew: %d after %d", x2, x1)
	}
	if err := s.DeleteMailbox(ctx, a.ID, "y", false); err != nil {
		t.Fatal(err)
	}
	if err := s.RenameMailbox(ctx, a.ID, "away", "y"); err != nil {
		t.Fatal(err)
	}
	if y2 := mailboxNamed(t, s, a.ID, "y").UIDValidity; y2 <= y1 {
		t.Errorf("an older mailbox renamed to the name: %d after %d", y2, y1)
	}
	seen := map[uint32]bool{}
	for i := range 50 {
		v := create(fmt.Sprintf("z%d", i))
		if seen[v] {
			t.Fatal("given twice:", v)
		}
		seen[v] = true
	}
}

func TestSubscriptions(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	for _, c := range []struct {
		name string
		on   bool
	}{{"Junk", false}, {"gone", true}, {"gone", true}, {"never", false}, {"inbox", true}} {
		if err := s.Subscribe(t.Context(), a.ID, c.name, c.on); err != nil {
			t.Fatal(err)
		}
	}
	names, err := s.Subscriptions(t.Context(), a.ID)
	if err != nil || !slices.Equal(names, []string{"Archive", "Drafts", "INBOX", "Sent", "Trash", "gone"}) {
		t.Fatal(names, err)
	}
	if mailboxNamed(t, s, a.ID, "Junk").Subscribed || !mailboxNamed(t, s, a.ID, "Sent").Subscribed {
		t.Error("Subscribed is wrong")
	}
}

// TestKeywordsLimit: 64 in a mailbox, compared without case, shown as first written.
func TestKeywordsLimit(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 1)
	in := mailboxNamed(t, s, a.ID, "INBOX").ID
	set := func(words ...string) error {
		_, _, err := s.SetFlags(t.Context(), a.ID, in, []uint32{1}, FlagChange{Op: FlagsAdd, Keywords: words})
		return err
	}
	for i := range 63 {
		if err := set(fmt.Sprintf("k%d", i), "WORD"); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := set("one", "more"); !errors.Is(err, ErrLimit) {
		t.Fatal(err)
	}
	if err := set("not an atom"); !errors.Is(err, ErrLimit) && !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	p, err := s.Snapshot(t.Context(), in)
	if err != nil || len(p.Keywords()) != 64 || p.Keywords()[0] != "Word" || p.At(0).Keywords != 1<<64-1 {
		t.Fatal(p.Keywords(), err)
	}
	to := mailboxNamed(t, s, a.ID, "Archive")
	if c, err := s.Copy(t.Context(), a.ID, in, []uint32{1}, Destination{a.ID, to.ID, AllRights}); err != nil || len(c.To) != 1 {
		t.Fatal(c, err)
	}
	q, err := s.Snapshot(t.Context(), to.ID)
	if err != nil || len(q.Keywords()) != 64 || q.At(0).Keywords != 1<<64-1 {
		t.Fatal(q.Keywords(), err)
	}
}

// TestConditionalStore: RFC 7162 section 3.1.3.
func TestConditionalStore(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 3)
	in := mailboxNamed(t, s, a.ID, "INBOX")
	seq, _, err := s.SetFlags(t.Context(), a.ID, in.ID, []uint32{2}, FlagChange{Op: FlagsAdd, Flags: Seen})
	if err != nil || seq <= in.HighestModSeq {
		t.Fatal(seq, err)
	}
	_, failed, err := s.SetFlags(t.Context(), a.ID, in.ID, []uint32{1, 2, 3, 9}, FlagChange{Op: FlagsAdd, Flags: Flagged, Conditional: true, UnchangedSince: in.HighestModSeq})
	if err != nil || !slices.Equal(failed, []uint32{2}) {
		t.Fatal(failed, err)
	}
	p, err := s.Snapshot(t.Context(), in.ID)
	if err != nil || p.At(0).Flags != Flagged || p.At(1).Flags != Seen || p.At(2).Flags != Flagged {
		t.Fatal(err)
	}
}

// TestTombstonesAreBounded: of very many the older are forgotten, and that is said.
func TestTombstonesAreBounded(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	in := mailboxNamed(t, s, a.ID, "INBOX")
	err := s.do(t.Context(), func(t *tx) error {
		m, err := t.mailbox(a.ID, in.ID)
		for i := range maxTombs + 1 {
			if err == nil {
				err = t.leave(m, []packed{{uid: uint32(2*i + 1), flags: Seen}}, uint64(100+i))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	p, err := s.Snapshot(t.Context(), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, known, err := s.Expunged(t.Context(), p, 50); err != nil || known {
		t.Error(known, err)
	}
	gone, known, err := s.Expunged(t.Context(), p, 100+maxTombs-1)
	if err != nil || !known || len(gone) != 1 || gone[0].First != 2*maxTombs+1 {
		t.Error(gone, known, err)
	}
}

// TestUIDsInAnyOrder: a list that is not as it should be does not spoil the counters.
func TestUIDsInAnyOrder(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 4)
	in, to := mailboxNamed(t, s, a.ID, "INBOX").ID, mailboxNamed(t, s, a.ID, "Archive").ID
	if _, _, err := s.SetFlags(t.Context(), a.ID, in, []uint32{3, 1, 3}, FlagChange{Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.Copy(t.Context(), a.ID, in, []uint32{2, 1, 2}, Destination{a.ID, to, AllRights}); err != nil || !slices.Equal(c.From, []uint32{1, 2}) {
		t.Fatal(c, err)
	}
	if gone, err := s.Expunge(t.Context(), a.ID, in, []uint32{4, 3, 4}, true); err != nil || !slices.Equal(gone, []uint32{3, 4}) {
		t.Fatal(gone, err)
	}
	if m := mailboxNamed(t, s, a.ID, "INBOX"); m.Messages != 2 || m.Unseen != 1 {
		t.Fatal(m)
	}
	if c, err := s.Move(t.Context(), a.ID, in, nil, Destination{a.ID, to, AllRights}); err != nil || len(c.To) != 0 {
		t.Fatal("no UIDs are not all:", c, err)
	}
	verifyStore(t, s)
}

// TestLargeStructures: rows of many megabytes come one by one, and all of them.
func TestLargeStructures(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 5)
	if err := s.do(t.Context(), func(t *tx) error { return t.exec(`UPDATE mail SET structure = ?`, make([]byte, 3<<20)) }); err != nil {
		t.Fatal(err)
	}
	p, err := s.Snapshot(t.Context(), mailboxNamed(t, s, a.ID, "INBOX").ID)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for i, m := range s.Mail(t.Context(), p, upTo(5), WantStructure|WantEnvelope) {
		if m.Err != nil || len(m.Structure) != 3<<20 || m.Blob != p.At(i).Blob || i != n {
			t.Fatal(i, len(m.Structure), m.Err)
		}
		n++
	}
	if n != 5 {
		t.Fatal(n)
	}
}
