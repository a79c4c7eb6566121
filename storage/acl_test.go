package storage

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

func TestParseRights(t *testing.T) {
	for _, test := range []struct {
		in, out string
		bad     bool
	}{
		{in: "", out: ""},
		{in: "lr", out: "lr"},
		{in: "rl", out: "lr"},
		{in: "d", out: "ted"},
		{in: "c", out: "kxc"},
		{in: "k", out: "kc"},
		{in: "e", out: "ed"},
		{in: "cd", out: "kxtecd"},
		{in: "aetxkpiwsrl", out: "lrswipkxtecda"},
		{in: "lrL", bad: true},
		{in: "q", bad: true},
		{in: "0", bad: true},
		{in: "l r", bad: true},
		{in: "é", bad: true},
	} {
		r, err := ParseRights(test.in)
		if test.bad != errors.Is(err, ErrInvalid) || r.String() != test.out {
			t.Errorf("%q: %q, %v", test.in, r, err)
		}
	}
}

// What is written is read again.
func TestRightsAgain(t *testing.T) {
	for r := Rights(0); r <= AllRights; r++ {
		if again, err := ParseRights(r.String()); err != nil || again&^r&^(createRights|deleteRights) != 0 || again&r != r {
			t.Errorf("%b is %q, read as %b, %v", r, r, again, err)
		}
	}
}

func grant(t *testing.T, s *Store, m Mailbox, c ACLChange) {
	t.Helper()
	if err := s.SetACL(t.Context(), m.Account, m.ID, c); err != nil {
		t.Fatal(err)
	}
}

func TestRights(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, joe, eve := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0), newAccount(t, s, "eve@example.test", 0)
	box := mailboxNamed(t, s, ann.ID, "Archive")
	rights := func(a *Account, want string) {
		t.Helper()
		r, err := s.Rights(t.Context(), a.ID, box.ID)
		if err != nil || r.String() != want {
			t.Errorf("%s has %q, want %q, %v", a.Name, r, want, err)
		}
	}
	rights(ann, AllRights.String())
	rights(joe, "")
	toJoe, toAll := Grant{Account: joe.ID, Name: joe.Name}, Grant{Name: Anyone}
	with := func(g Grant, r Rights) Grant { g.Rights = r; return g }
	epoch := s.ACLEpoch()
	told := s.Watch().Subscribe(watch.Topic{Account: joe.ID}, 10, nil)
	defer told.Close()
	grant(t, s, box, ACLChange{Grant: with(toJoe, MayLookup|MayRead|MayWrite)})
	if changes, _ := told.Take(); len(changes) != 1 || s.ACLEpoch() == epoch {
		t.Errorf("%v was told, epoch %d", changes, s.ACLEpoch())
	}
	grant(t, s, box, ACLChange{Grant: with(toAll, MayInsert), Op: RightsAdd})
	rights(joe, "lrwi")
	rights(eve, "i")
	minus := toJoe
	minus.Negative = true
	grant(t, s, box, ACLChange{Grant: with(minus, MayWrite|MayInsert)})
	rights(joe, "lr")
	rights(eve, "i")
	grant(t, s, box, ACLChange{Grant: with(toJoe, MayRead), Op: RightsRemove})
	rights(joe, "l")
	list, err := s.ACL(t.Context(), ann.ID, box.ID)
	var got []string
	for _, g := range list {
		got = append(got, g.Identifier()+" "+g.Rights.String())
	}
	want := []string{"ann@example.test lrswipkxtecda", "anyone i", "joe@example.test lw", "-joe@example.test wi"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	// The owner's rights are all, always; what is not there gives none; another's mailbox is not the account's.
	toAnn := Grant{Account: ann.ID, Name: ann.Name, Rights: MayLookup}
	if err := s.SetACL(t.Context(), ann.ID, box.ID, ACLChange{Grant: toAnn}); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.SetACL(t.Context(), joe.ID, box.ID, ACLChange{Grant: toAll}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.SetACL(t.Context(), ann.ID, box.ID, ACLChange{Grant: Grant{Account: 9999, Rights: MayRead}}); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if r, err := s.Rights(t.Context(), joe.ID, 9999); err != nil || r != 0 {
		t.Error(r, err)
	}
	records, err := s.Records(t.Context(), "acl", ann.ID, 0, 10)
	if err != nil || len(records) != 4 || string(records[0].Detail) != `{"by":0,"identifier":"joe@example.test","mailbox":"Archive","rights":"lw"}` {
		t.Errorf("%+v, %v", records, err)
	}
	// An account that is removed leaves no entries, nor does a mailbox.
	if err := s.RemoveAccount(t.Context(), joe.ID); err != nil {
		t.Fatal(err)
	}
	if list, err := s.ACL(t.Context(), ann.ID, box.ID); err != nil || len(list) != 2 {
		t.Error(list, err)
	}
	if err := s.DeleteMailbox(t.Context(), ann.ID, "Archive", false); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := s.db.Row(`SELECT COUNT(*) FROM acl`).Scan(&n); err != nil || n != 0 {
		t.Error(n, err)
	}
	rights(eve, "")
}

func TestShared(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, joe, eve := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0), newAccount(t, s, "eve@example.test", 0)
	for _, name := range []string{"Team/a", "Team/b"} {
		if _, err := s.CreateMailbox(t.Context(), ann.ID, name, ""); err != nil {
			t.Fatal(err)
		}
	}
	for name, r := range map[string]Rights{"Team": MayLookup | MayRead, "Team/a": MayLookup, "Team/b": MayInsert} {
		grant(t, s, mailboxNamed(t, s, ann.ID, name), ACLChange{Grant: Grant{Account: joe.ID, Rights: r}})
	}
	grant(t, s, mailboxNamed(t, s, eve.ID, "Sent"), ACLChange{Grant: Grant{Rights: MayLookup}})
	all, err := s.Shared(t.Context(), joe.ID)
	var got []string
	for _, m := range all {
		c := ""
		if m.Children {
			c = "+"
		}
		got = append(got, m.Name+c+" "+m.Path()+" "+m.Rights.String()+m.Role)
	}
	want := []string{"Shared/ann@example.test/Team+ Team lr", "Shared/ann@example.test/Team/a Team/a l",
		"Shared/ann@example.test/Team/b Team/b i", "Shared/eve@example.test/Sent Sent l"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	// Listed and asked for one by one, the rights are the same, whatever entries there are.
	entries := []Rights{0, MayLookup, MayRead, MayLookup | MayRead}
	box := mailboxNamed(t, s, eve.ID, "Junk")
	for n := range 256 {
		for i := range 4 {
			g := Grant{Negative: i >= 2, Rights: entries[n>>(2*i)&3]}
			if i%2 == 1 {
				g.Account = joe.ID
			}
			grant(t, s, box, ACLChange{Grant: g})
		}
		want, err := s.Rights(t.Context(), joe.ID, box.ID)
		if err != nil {
			t.Fatal(err)
		}
		all, err := s.Shared(t.Context(), joe.ID)
		var got Rights
		for _, m := range all {
			if m.ID == box.ID {
				got |= m.Rights
			}
		}
		if err != nil || got != want {
			t.Fatalf("entries %b: listed with %q, has %q, %v", n, got, want, err)
		}
	}
	if own, err := s.Shared(t.Context(), eve.ID); err != nil || len(own) != 0 {
		t.Error(own, err)
	}
	for name, there := range map[string]bool{
		"Shared/ann@example.test/Team": true, "Shared/ann@example.test/Team/b": true, "Shared/ann@example.test/INBOX": false, "INBOX": true,
		"Shared/eve@example.test/Sent": true, "Shared/joe@example.test/INBOX": false, "Shared": false, "Shared/": false, "Shared/ann@example.test": false,
		"Shared/ann@example.test/": false, "Shared//Team": false, "shared/ann@example.test/Team": false, "Shared/../ann@example.test/Team": false,
	} {
		m, err := s.Find(t.Context(), joe.ID, name)
		if there && (err != nil || m.Name != name) || !there && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	for _, name := range []string{"Shared", "Shared/x", "Shared/ann@example.test/Team"} {
		if _, err := s.CreateMailbox(t.Context(), joe.ID, name, ""); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("made %s: %v", name, err)
		}
		if err := s.RenameMailbox(t.Context(), joe.ID, "Archive", name); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("renamed to %s: %v", name, err)
		}
	}
}

// TestNameChangedHands: what was allowed for one mailbox is not done to another that got its name meanwhile.
func TestNameChangedHands(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann := newAccount(t, s, "ann@example.test", 0)
	old := mailboxNamed(t, s, ann.ID, "Archive")
	if err := s.RenameMailbox(t.Context(), ann.ID, "Archive", "Old"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateMailbox(t.Context(), ann.ID, "Archive", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMailboxIf(t.Context(), ann.ID, old.ID, "Archive"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.RenameMailboxIf(t.Context(), ann.ID, old.ID, "Archive", "New"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := s.RenameMailboxIf(t.Context(), ann.ID, old.ID, "Old", "New"); err != nil {
		t.Error(err)
	}
	if err := s.DeleteMailboxIf(t.Context(), ann.ID, old.ID, "New"); err != nil {
		t.Error(err)
	}
}

// TestTransferBetweenAccounts: each account is charged with what it has and gets its own modseq; a move keeps ids, bytes are shared.
func TestTransferBetweenAccounts(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	from, to := mailboxNamed(t, s, ann.ID, "INBOX"), mailboxNamed(t, s, joe.ID, "INBOX")
	deliverTo(t, s, ann.ID, "INBOX", 3)
	if _, _, err := s.SetFlags(t.Context(), ann.ID, from.ID, []uint32{1, 2, 3}, FlagChange{Flags: Seen | Deleted | Draft, Keywords: []string{"word"}}); err != nil { // known as Word
		t.Fatal(err)
	}
	usage := func(a *Account) Usage {
		u, err := s.Usage(t.Context(), a.ID)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	picture := func(m Mailbox) *Snapshot {
		p, err := s.Snapshot(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	size := usage(ann).Bytes / 3
	ids, blob := []int64{picture(from).At(1).ID, picture(from).At(2).ID}, picture(from).At(0).Blob
	before := picture(from).Mailbox().HighestModSeq
	if _, err := s.Copy(t.Context(), ann.ID, from.ID, []uint32{1}, Destination{joe.ID, to.ID, MayInsert | MaySee}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Move(t.Context(), ann.ID, from.ID, []uint32{2, 3}, Destination{joe.ID, to.ID, MayInsert | MayWrite}); err != nil {
		t.Fatal(err)
	}
	p, q := picture(to), picture(from)
	if p.Len() != 3 || q.Len() != 1 || p.At(1).ID != ids[0] || p.At(2).ID != ids[1] || p.At(0).Blob != blob || p.At(0).ID == q.At(0).ID {
		t.Errorf("%d and %d messages", p.Len(), q.Len())
	}
	if p.At(0).Flags != Seen || p.At(0).Keywords != 0 || p.At(1).Flags != Draft || p.At(1).Keywords != 1 || !slices.Equal(p.Keywords(), []string{"Word"}) {
		t.Errorf("flags %v %v, %v %v of %q", p.At(0).Flags, p.At(0).Keywords, p.At(1).Flags, p.At(1).Keywords, p.Keywords())
	}
	if m := p.Mailbox(); m.Unseen != 2 || m.Deleted != 0 {
		t.Errorf("%+v", m)
	}
	if a, j := usage(ann), usage(joe); a.Bytes != size || a.Messages != 1 || j.Bytes != 2*size+size || j.Messages != 3 {
		t.Errorf("%+v, %+v", a, j)
	}
	if now := q.Mailbox().HighestModSeq; now <= before || p.At(2).ModSeq <= p.At(0).ModSeq {
		t.Errorf("modseq %d after %d; %d, %d", now, before, p.At(0).ModSeq, p.At(2).ModSeq)
	}
	// What is in memory is what is in the database.
	s.forget()
	if r := picture(to); r.At(0) != p.At(0) || r.At(2) != p.At(2) {
		t.Errorf("%+v, %+v", r.At(0), p.At(0))
	}
	// Over the quota of the one who would get it: nothing changes.
	limit := usage(joe).Bytes + size - 1
	if _, err := s.UpdateAccount(t.Context(), joe.ID, AccountChange{Quota: &limit}); err != nil {
		t.Fatal(err)
	}
	for _, fn := range []func(context.Context, int64, int64, []uint32, Destination) (Copied, error){s.Copy, s.Move} {
		if _, err := fn(t.Context(), ann.ID, from.ID, []uint32{1}, Destination{joe.ID, to.ID, AllRights}); !errors.Is(err, ErrQuota) {
			t.Error(err)
		}
	}
	if _, err := s.Copy(t.Context(), ann.ID, from.ID, []uint32{1}, Destination{ann.ID, to.ID, AllRights}); !errors.Is(err, fs.ErrNotExist) {
		t.Error("into a mailbox that is not the account's:", err)
	}
	verifyStore(t, s)
}

// TestOldShared: a database from before there was an ACL may have mailboxes called Shared. They stay as they are.
func TestOldShared(t *testing.T) {
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
		`INSERT INTO domain (name, is_default, id) VALUES ('example.test', 1, 1)`,
		`INSERT INTO address (domain, local, account, position) VALUES ('example.test', 'ann', 2, 0)`,
		`INSERT INTO account (id, name, admin, disabled, quota, epoch, created, home, mail, bytes, messages, files, modseq, uidvalidity) VALUES (2, 'ann@example.test', 0, 0, 0, 1, 0, 3, 4, 0, 0, 0, 9, 9)`,
		`INSERT INTO node (id, account, parent, kind, name, size, modified, created, mode, blob, modseq) VALUES (3, 2, NULL, 1, '', 0, 0, 0, 448, 0, 1), (4, 2, 3, 1, 'Mail', 0, 0, 0, 448, 0, 1), (5, 2, 4, 2, 'Shared', 0, 0, 0, 448, 0, 1), (6, 2, 5, 2, 'old', 0, 0, 0, 448, 0, 1)`,
		`INSERT INTO mailbox (id, account, name, noselect, role, uidvalidity, uidnext, highestmodseq, messages, unseen, deleted, size, floor, tombs) VALUES (5, 2, 'Shared', 0, '', 5, 1, 1, 0, 0, 0, 0, 0, 0), (6, 2, 'Shared/old', 0, '', 6, 1, 1, 0, 0, 0, 0, 0, 0)`,
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
	s, err := Open(t.Context(), filepath.Clean(dir), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	joe := newAccount(t, s, "joe@example.test", 0)
	grant(t, s, mailboxNamed(t, s, joe.ID, "Archive"), ACLChange{Grant: Grant{Account: 2, Rights: MayLookup | MayRead}})
	for _, name := range []string{"Shared", "Shared/old"} {
		if m, err := s.Find(t.Context(), 2, name); err != nil || m.Owner != "" || m.Rights != AllRights {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	if m, err := s.Find(t.Context(), 2, "Shared/joe@example.test/Archive"); err != nil || m.Owner == "" {
		t.Errorf("%+v, %v", m, err)
	}
	if _, err := s.CreateMailbox(t.Context(), 2, "Shared/more", ""); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	if err := s.RenameMailbox(t.Context(), 2, "Shared", "Mine"); err != nil {
		t.Error(err)
	}
	if m, err := s.Find(t.Context(), 2, "Mine/old"); err != nil || m.ID != 6 {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestTransferRandom moves and copies between mailboxes of two accounts in any order: what is counted and what is in memory stays what is in the rows.
func TestTransferRandom(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 700)
	var boxes []Mailbox
	for _, a := range []*Account{ann, joe} {
		for _, name := range []string{"INBOX", "Archive"} {
			boxes = append(boxes, mailboxNamed(t, s, a.ID, name))
		}
	}
	deliverTo(t, s, ann.ID, "INBOX", 20)
	deliverTo(t, s, joe.ID, "INBOX", 20)
	r := rand.New(rand.NewPCG(7, 7))
	full := 0
	for range 400 {
		from, to := boxes[r.IntN(len(boxes))], boxes[r.IntN(len(boxes))]
		p, err := s.Snapshot(t.Context(), from.ID)
		if err != nil {
			t.Fatal(err)
		}
		uids := []uint32{}
		for i := range p.Len() {
			if r.IntN(4) == 0 {
				uids = append(uids, p.UID(i))
			}
		}
		dst := Destination{to.Account, to.ID, Rights(r.IntN(int(AllRights) + 1))}
		switch r.IntN(5) {
		case 0, 1:
			_, err = s.Move(t.Context(), from.Account, from.ID, uids, dst)
		case 2:
			_, err = s.Copy(t.Context(), from.Account, from.ID, uids[:min(len(uids), 3)], dst)
		case 3:
			_, err = s.Expunge(t.Context(), from.Account, from.ID, uids[:min(len(uids), 2)], true)
		case 4:
			_, _, err = s.SetFlags(t.Context(), from.Account, from.ID, uids, FlagChange{Flags: Flags(r.IntN(32)), Keywords: []string{"a", "b"}[:r.IntN(3)], Keep: Flags(r.IntN(32)), KeepKeywords: r.IntN(2) == 0})
		}
		if errors.Is(err, ErrQuota) {
			full++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if full == 0 {
		t.Error("the quota was never reached")
	}
	for _, b := range boxes {
		warm, err := s.Snapshot(t.Context(), b.ID)
		if err != nil {
			t.Fatal(err)
		}
		cold, err := readSnapshotFrom(s.db, b.ID)
		if err != nil {
			t.Fatal(err)
		}
		if warm.Len() != cold.Len() || !slices.Equal(warm.Keywords(), cold.Keywords()) {
			t.Fatalf("%s: %d messages, %d in the rows", b.Name, warm.Len(), cold.Len())
		}
		m := mailboxNamed(t, s, b.Account, b.Name)
		for i := range warm.Len() {
			if warm.At(i) != cold.At(i) {
				t.Errorf("%s: %+v, in the rows %+v", b.Name, warm.At(i), cold.At(i))
			}
			if warm.At(i).Flags&Seen == 0 {
				m.Unseen--
			}
			if warm.At(i).Flags&Deleted != 0 {
				m.Deleted--
			}
		}
		if m.Unseen != 0 || m.Deleted != 0 {
			t.Errorf("%s: unseen and deleted are off by %d and %d", b.Name, int32(m.Unseen), int32(m.Deleted))
		}
	}
	verifyStore(t, s)
}
