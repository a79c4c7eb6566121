package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

func TestEnqueue(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	sent := mailboxNamed(t, s, a.ID, "Sent").ID
	out := Outgoing{Account: a.ID, From: a.Name, Recipients: []OutgoingRecipient{{Address: "joe@elsewhere.test"}, {Address: "sue@b\u00fccher.test"}}}
	u := newMessage(t, s, a.ID, "Subject: x\r\n\r\n")
	if _, err := s.Enqueue(t.Context(), u, Outgoing{Recipients: []OutgoingRecipient{{Address: "nobody"}}}, nil); !errors.Is(err, ErrInvalid) {
		t.Fatal(err)
	}
	res, err := s.Enqueue(t.Context(), u, out, []Target{{Account: a.ID, Mailbox: sent, Flags: Seen}, {Account: a.ID, Mailbox: 9999}})
	if err != nil || res[0].Err != nil || !errors.Is(res[1].Err, fs.ErrNotExist) {
		t.Fatal(res, err)
	}
	// The copy in Sent goes; the outbox still has the bytes.
	if _, err := s.Expunge(t.Context(), a.ID, sent, []uint32{res[0].UID}, true); err != nil {
		t.Fatal(err)
	}
	s.o.GarbageAge = -time.Minute
	if err := s.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
	var n int
	if err := s.db.Row(`SELECT COUNT(*) FROM outbox_recipient r JOIN outbox o ON o.id = r.outbox JOIN blob b ON b.id = o.blob WHERE r.state = 'waiting'`).Scan(&n); err != nil || n != 2 {
		t.Fatal(n, err)
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
