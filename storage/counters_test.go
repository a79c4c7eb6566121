package storage

import (
	"errors"
	"io/fs"
	"sync"
	"testing"
)

// Counters agree with the rows after each commit, however reading and writing meet, and end with the mailbox.
func TestCounters(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	box, err := s.CreateMailbox(t.Context(), a.ID, "box", "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Counters(t.Context(), box.ID+1000); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for range 20 {
		s.counted.mu.Lock()
		s.counted.of = nil // the next one reads
		s.counted.mu.Unlock()
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				if _, err := s.Counters(t.Context(), box.ID); err != nil {
					t.Error(err)
				}
			})
		}
		deliverTo(t, s, a.ID, "box", 1)
		readers.Wait()
		want, err := s.MailboxByID(t.Context(), a.ID, box.ID)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Counters(t.Context(), box.ID)
		if err != nil || got.Messages != want.Messages || got.UIDNext != want.UIDNext || got.HighestModSeq != want.HighestModSeq || got.UIDValidity != want.UIDValidity || got.Unseen != want.Unseen {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
	}
	if err := s.DeleteMailbox(t.Context(), a.ID, "box", false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Counters(t.Context(), box.ID); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
