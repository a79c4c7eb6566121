package storage

import (
	"errors"
	"testing"
	"time"
)

// TestTells: what tells of a message, and what filters remember of it, enters with it or not at all.
func TestTells(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	s := openTest(t, t.TempDir(), Options{Now: func() time.Time { return now }})
	a := newAccount(t, s, "ann@example.test", 0)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	mark := SieveMark{a.ID, "told joe", time.Hour}
	var sent []*Upload
	message := func() *Upload {
		sent = sent[:0]
		u := newMessage(t, s, 0, "Subject: message\r\n\r\n")
		var all []Notice
		for _, n := range []Notice{{Outgoing: new(outgoing("", "joe@far.test")), Once: &mark}, {Targets: []Target{{Account: a.ID, Mailbox: inbox}}}} {
			n.Upload = newMessage(t, s, 0, "Subject: notice\r\n\r\n")
			n.Upload.SentOn(map[int64]int{a.ID: 1})
			sent = append(sent, n.Upload)
			all = append(all, n)
		}
		u.Tells(all)
		u.Remembers([]SieveMark{{a.ID, "seen", time.Hour}})
		return u
	}
	check := func(when string, messages, queued int, remembered bool, sentOn int64) {
		t.Helper()
		snap, err := s.Snapshot(t.Context(), inbox)
		if err != nil || snap.Len() != messages || s.QueueSize() != queued {
			t.Errorf("%s: %d messages and %d in the queue, want %d and %d (%v)", when, snap.Len(), s.QueueSize(), messages, queued, err)
		}
		for _, m := range []string{"told joe", "seen"} {
			if got, err := s.SieveSeen(t.Context(), a.ID, m); got != remembered || err != nil {
				t.Errorf("%s: %q is remembered: %t %v", when, m, got, err)
			}
		}
		if n, err := s.SentOn(t.Context(), a.ID); n != sentOn || err != nil {
			t.Errorf("%s: %d sent on, want %d (%v)", when, n, sentOn, err)
		}
	}
	target := []Target{{Account: a.ID, Mailbox: inbox}}

	u := message()
	together(t, s, func(t *tx) error { t.w.commit = func() error { return errors.New("no space left") }; return nil })
	if _, err := s.Enqueue(t.Context(), u, nil, target); !errors.Is(err, ErrTemporary) {
		t.Fatal(err)
	}
	check("a commit that fails", 0, 0, false, 0)
	together(t, s, func(t *tx) error { t.w.commit = t.db.Commit; return nil })
	if _, err := s.Enqueue(t.Context(), u, nil, []Target{{Account: a.ID, Mailbox: 999}}); err == nil {
		t.Fatal("a mailbox that is not there was taken")
	}
	check("a target that refuses", 0, 0, false, 0)
	if _, err := s.Enqueue(t.Context(), u, nil, target); err != nil {
		t.Fatal(err)
	}
	check("the commit", 2, 1, true, 2)
	for i, n := range sent {
		if !n.ended {
			t.Errorf("notice %d was not taken", i)
		}
	}

	// Who was told is not told again, and is as soon as ever.
	now = now.Add(30 * time.Minute)
	if _, err := s.Enqueue(t.Context(), message(), nil, target); err != nil {
		t.Fatal(err)
	}
	check("told already", 4, 1, true, 3)
	now = now.Add(31 * time.Minute)
	if got, _ := s.SieveSeen(t.Context(), a.ID, "told joe"); got {
		t.Error("a message that was not answered put the next answer off")
	}

	// For nobody.
	if _, err := s.Enqueue(t.Context(), message(), nil, nil); err != nil {
		t.Fatal(err)
	}
	check("discarded", 5, 2, true, 5)
	if _, err := s.Enqueue(t.Context(), newMessage(t, s, 0, "x"), nil, nil); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
	verifyStore(t, s)
}

// TestTellsFull: when the outbox is full what nobody needs is left out, and what tells of mail that is lost enters.
func TestTellsFull(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{QueueMax: 1})
	a := newAccount(t, s, "ann@example.test", 1)
	inbox := mailboxNamed(t, s, a.ID, "INBOX").ID
	enqueue(t, s, outgoing("", "x@far.test"))
	for i, n := range []Notice{
		{Outgoing: new(outgoing("", "joe@far.test")), Spare: true},
		{Outgoing: new(outgoing("", "joe@far.test"))},
		{Targets: []Target{{Account: a.ID, Mailbox: inbox}, {Account: a.ID, Mailbox: 999}}}, // a full mailbox, and none
	} {
		u := newMessage(t, s, 0, "")
		n.Upload = newMessage(t, s, 0, "Subject: notice\r\n\r\n")
		u.Tells([]Notice{n})
		if _, err := s.Enqueue(t.Context(), u, nil, nil); err != nil {
			t.Fatal(err)
		}
		snap, err := s.Snapshot(t.Context(), inbox)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := [2]int{s.QueueSize(), snap.Len()}, [][2]int{{1, 0}, {2, 0}, {2, 1}}[i]; got != want {
			t.Errorf("%d: %v, want %v", i, got, want)
		}
	}
	verifyStore(t, s)
}
