package storage

import (
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestSnapshotEdits: pictures of many chunks, changed in any way, are what a plain list would be; older ones do not change, and
// Diff between any two leads from one to the other.
func TestSnapshotEdits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newSnapshot(Mailbox{}, nil, nil)
		var list []packed
		next, seq := uint32(1), uint64(1)
		pictures, lists := []*Snapshot{p}, [][]packed{nil}
		for range rapid.IntRange(1, 8).Draw(t, "commits") {
			var steps []edit
			for range rapid.IntRange(1, 4).Draw(t, "steps") {
				seq++
				switch kind := rapid.IntRange(0, 3).Draw(t, "kind"); {
				case kind == 0 || len(list) == 0:
					for range rapid.IntRange(1, 1500).Draw(t, "appended") {
						e := packed{uid: next, modseq: seq, size: next}
						next += uint32(rapid.IntRange(1, 2).Draw(t, "gap"))
						list, steps = append(list, e), append(steps, edit{put: e})
					}
				case kind == 1:
					i := rapid.IntRange(0, len(list)-1).Draw(t, "index")
					list[i].flags, list[i].modseq = Flags(seq), seq
					steps = append(steps, edit{put: list[i]})
				default:
					first := rapid.Uint32Range(1, next).Draw(t, "first")
					last := first + rapid.Uint32Range(0, 700).Draw(t, "length")
					list = slices.DeleteFunc(list, func(e packed) bool { return first <= e.uid && e.uid <= last })
					steps = append(steps, edit{first: first, last: last})
				}
			}
			p = p.with(Mailbox{HighestModSeq: seq}, nil, steps)
			pictures, lists = append(pictures, p), append(lists, slices.Clone(list))
		}
		for i := range pictures {
			if !slices.Equal(slicesOf(pictures[i], nil), lists[i]) {
				t.Fatalf("picture %d is another", i)
			}
			for _, k := range []int{0, len(lists[i]) / 2, len(lists[i]) - 1} {
				if k >= 0 && k < len(lists[i]) && *pictures[i].at(k) != lists[i][k] {
					t.Fatalf("at(%d) of picture %d", k, i)
				}
			}
			checkLeads(t, pictures[i], pictures[len(pictures)-1])
		}
	})
}

func checkLeads(t *rapid.T, old, p *Snapshot) {
	have := slicesOf(old, nil)
	gone, changed, added := p.Diff(old)
	checkKeeping(t, old, p, gone, len(changed), added)
	for _, i := range gone {
		have = slices.Delete(have, i, i+1)
	}
	for _, i := range changed {
		have[i] = *p.at(i)
	}
	for i := p.Len() - added; i < p.Len(); i++ {
		have = append(have, *p.at(i))
	}
	if !slices.Equal(have, slicesOf(p, nil)) {
		t.Fatalf("Diff leads elsewhere: gone %v changed %v added %d", gone, changed, added)
	}
}

// checkKeeping: what Keeping makes has lost nothing of old, differs from p in what went alone, and finds all it has.
func checkKeeping(t *rapid.T, old, p *Snapshot, gone []int, changed, added int) {
	q := p.Keeping(old, gone)
	if g, c, a := q.Diff(old); len(g) != 0 || len(c) != changed || a != added {
		t.Fatalf("from old: gone %v changed %d added %d, want none, %d, %d", g, len(c), a, changed, added)
	}
	if g, c, a := p.Diff(q); len(g) != len(gone) || len(c) != 0 || a != 0 {
		t.Fatalf("to the newest: gone %v changed %v added %d, want %v", g, c, a, gone)
	}
	if q.HighestModSeq() != old.HighestModSeq() || q.Latest() != p.Latest() {
		t.Fatalf("mod-sequences %d %d", q.HighestModSeq(), q.Latest())
	}
	for i := range q.Len() {
		if k, ok := q.Find(q.UID(i)); !ok || k != i {
			t.Fatalf("UID %d is at %d and found at %d", q.UID(i), i, k)
		}
	}
}

// TestOneFlagCopiesOneChunk holds the cost of a changed flag in a large mailbox.
func TestOneFlagCopiesOneChunk(t *testing.T) {
	var steps []edit
	for i := range uint32(10 * chunkLen) {
		steps = append(steps, edit{put: packed{uid: i + 1}})
	}
	p := newSnapshot(Mailbox{}, nil, nil).with(Mailbox{}, nil, steps)
	q := p.with(Mailbox{}, nil, []edit{{put: packed{uid: 3*chunkLen + 5, flags: Seen, modseq: 1}}})
	var other []int
	for c := range p.chunks {
		if &p.chunks[c][0] != &q.chunks[c][0] {
			other = append(other, c)
		}
	}
	if d := cmp.Diff([]int{3}, other); d != "" {
		t.Error(d)
	}
}

// TestColdLoads: sessions that load a mailbox while others write neither lose nor double anything. The cache is so small that every load is cold.
func TestColdLoads(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{SnapshotEntries: 1})
	a := newAccount(t, s, "ann@example.test", 0)
	inbox, trash := mailboxNamed(t, s, a.ID, "INBOX"), mailboxNamed(t, s, a.ID, "Trash")
	var wg sync.WaitGroup
	const writers, each = 4, 40
	for range writers {
		wg.Go(func() {
			for range each {
				res, err := s.Deliver(t.Context(), newMessage(t, s, 0, "Subject: x\r\n\r\n"), []Target{{Account: a.ID, Mailbox: inbox.ID}})
				if err != nil {
					t.Error(err)
					return
				}
				p, err := s.Snapshot(t.Context(), inbox.ID)
				if err != nil {
					t.Error(err)
					return
				}
				if _, ok := p.Find(res[0].UID); !ok {
					t.Error("a message that was acknowledged is not in the picture")
				}
			}
		})
	}
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			last := 0
			for {
				select {
				case <-done:
					return
				default:
				}
				p, err := s.Snapshot(t.Context(), inbox.ID)
				if err != nil || p.Len() < last || int(p.Mailbox().Messages) != p.Len() {
					t.Errorf("%d messages after %d, %v", p.Len(), last, err)
					return
				}
				last = p.Len()
				if _, err := s.Snapshot(t.Context(), trash.ID); err != nil { // pushes the other out
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(done)
	readers.Wait()
	p, err := s.Snapshot(t.Context(), inbox.ID)
	if err != nil || p.Len() != writers*each {
		t.Fatal(p.Len(), err)
	}
}

// TestSnapshotKeepsKeywords: a change that names no keyword leaves the picture its keywords, also when it is the first one since the store was opened and
// the writer has not read them.
func TestSnapshotKeepsKeywords(t *testing.T) {
	for what, change := range map[string]func(*Store, *Account, int64) error{
		"flags": func(s *Store, a *Account, box int64) error {
			_, _, err := s.SetFlags(t.Context(), a.ID, box, []uint32{1}, FlagChange{Op: FlagsAdd, Flags: Seen})
			return err
		},
		"delivery": func(s *Store, a *Account, box int64) error {
			_, err := s.Deliver(t.Context(), newMessage(t, s, a.ID, "Subject: x\r\n\r\n"), []Target{{Account: a.ID, Mailbox: box}})
			return err
		},
		"copy": func(s *Store, a *Account, box int64) error {
			_, err := s.Copy(t.Context(), a.ID, box, []uint32{1}, Destination{a.ID, box, AllRights})
			return err
		},
		"expunge": func(s *Store, a *Account, box int64) error {
			_, err := s.Expunge(t.Context(), a.ID, box, []uint32{2}, true)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := openTest(t, dir, Options{})
			a := newAccount(t, s, "ann@example.test", 0)
			deliverTo(t, s, a.ID, "INBOX", 2)
			box := mailboxNamed(t, s, a.ID, "INBOX").ID
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = openTest(t, dir, Options{})
			if _, err := s.Snapshot(t.Context(), box); err != nil {
				t.Fatal(err)
			}
			if err := change(s, a, box); err != nil {
				t.Fatal(err)
			}
			p, err := s.Snapshot(t.Context(), box)
			if err != nil || !slices.Equal(p.Keywords(), []string{"Word"}) {
				t.Error(p.Keywords(), err)
			}
		})
	}
}
