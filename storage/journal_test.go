package storage

import (
	"context"
	"fmt"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	now := time.Now()
	s := openTest(t, t.TempDir(), Options{JournalMax: 600, Now: func() time.Time { return now }})
	for i := range 700 {
		s.Journal(Record{Kind: []string{"session", "account"}[i%2], Account: int64(i % 3), Subject: fmt.Sprint(i)})
	}
	// A write that comes later finds them written.
	for {
		if err := s.AddDomain(t.Context(), "later.test"); err != nil {
			t.Fatal(err)
		}
		if s.journal.empty() {
			break
		}
	}
	if err := s.RemoveDomain(t.Context(), "later.test"); err != nil {
		t.Fatal(err)
	}
	r, err := s.Records(t.Context(), "session", 0, 0, 10)
	if err != nil || len(r) != 10 || r[0].Subject != "698" || r[9].Subject != "680" || r[0].At.UnixMilli() != now.UnixMilli() {
		t.Fatal(r, err)
	}
	if r, err = s.Records(t.Context(), "session", 1, r[9].ID, 2); err != nil || len(r) != 2 || r[0].Subject != "676" || r[1].Subject != "670" {
		t.Fatal(r, err)
	}
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err = s.Records(t.Context(), "", 0, 0, 1000); err != nil || len(r) != 600 {
		t.Fatal(len(r), err)
	}
	now = now.Add(91 * 24 * time.Hour)
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r, err = s.Records(t.Context(), "", 0, 0, 1000); err != nil || len(r) != 0 {
		t.Fatal(len(r), err)
	}
}

// TestJournalSurvivesClose: what was recorded before Close is there afterwards; what is too much is dropped and counted.
func TestJournalSurvivesClose(t *testing.T) {
	dir := t.TempDir()
	s := openTest(t, dir, Options{})
	together(t, s, func(*tx) error { // while the writer is held up
		for range journalWaiting + 100 {
			s.Journal(Record{Kind: "x"})
		}
		return nil
	})
	if s.JournalDropped() != 100 {
		t.Error(s.JournalDropped())
	}
	s.Close()
	s = openTest(t, dir, Options{})
	if r, err := s.Records(t.Context(), "x", 0, 0, 10_000); err != nil || len(r) != journalWaiting {
		t.Fatal(len(r), err)
	}
}

// TestRun: the background work ends with its context, and removes what an account left.
func TestRun(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{GarbageAge: time.Nanosecond, InlineMax: 50})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 20)
	f, err := s.MakeFolder(t.Context(), a.ID, a.Home, "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := putText(t, s, a, f.ID, "f", "a file that is a file of the host too, being longer than fifty"); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	if err := s.RemoveAccount(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	for n := 1; n > 0; time.Sleep(10 * time.Millisecond) {
		if err := s.db.Row(`SELECT (SELECT COUNT(*) FROM blob) + (SELECT COUNT(*) FROM node) + (SELECT COUNT(*) FROM purge)`).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	leaveNothing(t, s)
}
