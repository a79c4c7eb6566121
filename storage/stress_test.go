package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestManySessions: whatever sessions do to one account at once, rows, counters and pictures agree in the end.
func TestManySessions(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SnapshotEntries: 300})
	a := newAccount(t, s, "ann@example.test", 30_000)
	for _, n := range []string{"one", "two"} {
		if _, err := s.CreateMailbox(t.Context(), a.ID, n, ""); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for range 60 {
				if err := s.oneAct(t, a, r); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, fs.ErrExist) && !errors.Is(err, ErrQuota) {
					t.Error(err)
				}
			}
		})
	}
	ended := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() { s.watchPictures(t, a, ended) })
	}
	wg.Wait()
	close(ended)
	readers.Wait()
	verifyStore(t, s)
	all, err := s.Mailboxes(t.Context(), a.ID)
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range all {
		p, err := s.Snapshot(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		cold, err := s.readSnapshot(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(flat(cold), flat(p)); d != "" {
			t.Errorf("%s: rows and picture differ: %s", m.Name, d)
		}
		var unseen, deleted uint32
		for i := range p.Len() {
			if p.At(i).Flags&Seen == 0 {
				unseen++
			}
			if p.At(i).Flags&Deleted != 0 {
				deleted++
			}
		}
		if m.Unseen != unseen || m.Deleted != deleted {
			t.Errorf("%s: %+v, want unseen %d, deleted %d", m.Name, m, unseen, deleted)
		}
		total += p.Len()
	}
	if total == 0 {
		t.Error("nothing is left to compare")
	}
}

// watchPictures looks at the pictures while others work: each is whole, and none is older than the one before.
func (s *Store) watchPictures(t *testing.T, a *Account, ended <-chan struct{}) {
	last := map[int64]*Snapshot{}
	for {
		select {
		case <-ended:
			return
		default:
		}
		all, err := s.Mailboxes(t.Context(), a.ID)
		if err != nil {
			t.Error(err)
			return
		}
		for _, row := range all {
			p, err := s.Snapshot(t.Context(), row.ID)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			m, old := p.Mailbox(), last[row.ID]
			if old != nil && m.HighestModSeq < old.mailbox.HighestModSeq {
				t.Errorf("%s: a picture of modseq %d after one of %d", m.Name, m.HighestModSeq, old.mailbox.HighestModSeq)
			}
			sum := mailboxRow{}
			for i := range p.Len() {
				e := p.at(i)
				sum.count(e, 1)
				if i > 0 && p.UID(i-1) >= e.uid || e.uid >= m.UIDNext || e.modseq > m.HighestModSeq || e.keywords>>len(p.Keywords()) != 0 {
					t.Errorf("%s: message %d of %d is %+v, UIDNEXT %d, HIGHESTMODSEQ %d", m.Name, i+1, p.Len(), *e, m.UIDNext, m.HighestModSeq)
				}
			}
			if sum.Messages != m.Messages || sum.Unseen != m.Unseen || sum.Deleted != m.Deleted || sum.Size != m.Size {
				t.Errorf("%s: counters %+v, counted %+v", m.Name, m, sum.Mailbox)
			}
			if old != nil {
				gone, _, added := p.Diff(old)
				if old.Len()-len(gone)+added != p.Len() {
					t.Errorf("%s: %d - %d gone + %d added is not %d", m.Name, old.Len(), len(gone), added, p.Len())
				}
			}
			last[row.ID] = p
		}
	}
}

// oneAct is what a session may do.
func (s *Store) oneAct(t *testing.T, a *Account, r *rand.Rand) error {
	ctx := t.Context()
	all, err := s.Mailboxes(ctx, a.ID)
	if err != nil {
		return err
	}
	m, to := all[r.IntN(len(all))], all[r.IntN(len(all))]
	uids := []uint32{}
	for u := uint32(1); u < m.UIDNext; u++ {
		if r.IntN(3) == 0 {
			uids = append(uids, u)
		}
	}
	switch r.IntN(11) {
	case 0:
		_, err = s.Copy(ctx, a.ID, m.ID, uids, Destination{a.ID, to.ID, AllRights})
	case 1:
		_, err = s.Move(ctx, a.ID, m.ID, uids, Destination{a.ID, to.ID, AllRights})
	case 2:
		_, err = s.Expunge(ctx, a.ID, m.ID, nil, false)
	case 3, 4:
		_, _, err = s.SetFlags(ctx, a.ID, m.ID, uids, FlagChange{Op: FlagOp(r.IntN(3)), Flags: Flags(r.IntN(32)), Keywords: []string{fmt.Sprint("k", r.IntN(5))}})
	case 5:
		names := []string{"one", "two", "three", "a/b"}
		err = s.RenameMailbox(ctx, a.ID, names[r.IntN(4)], names[r.IntN(4)])
	case 6:
		if _, err = s.CreateMailbox(ctx, a.ID, "brief", ""); err == nil {
			err = s.DeleteMailbox(ctx, a.ID, "brief", false)
		}
	case 7:
		b := batchOf(t, s, a.ID, m.ID, 30, 40, 50)
		defer b.Abort()
		_, err = s.DeliverBatch(ctx, b)
	case 8:
		u := newMessage(t, s, 0, fmt.Sprintf("Subject: %d\r\n\r\nnew\r\n", r.Uint64()))
		defer u.Abort()
		_, err = s.Replace(ctx, u, Target{Account: a.ID, Mailbox: to.ID}, a.ID, m.ID, 1+uint32(r.IntN(int(m.UIDNext))))
		if errors.Is(err, ErrConflict) {
			err = nil
		}
	default:
		u := newMessage(t, s, 0, fmt.Sprintf("Subject: %d\r\n\r\nbody\r\n", r.Uint64()))
		defer u.Abort()
		var res []Appended
		if res, err = s.Deliver(ctx, u, []Target{{Account: a.ID, Mailbox: m.ID}, {Account: a.ID, Mailbox: to.ID, Flags: Seen}}); err == nil {
			err = errors.Join(res[0].Err, res[1].Err)
		}
	}
	return err
}
