package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A tree is renamed with all below it and nothing beside it, whatever the names are made of, and names that were known get a greater UIDVALIDITY
// (RFC 9051 section 2.3.1.1).
func TestRenameTree(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	for _, n := range []string{"neu/süß/x", "grün/süß/x", "grün/süß", "grünz", "grün0", "grün.", "grün"} {
		if _, err := s.CreateMailbox(t.Context(), a.ID, n, ""); err != nil && n != "grün" && n != "grün/süß" {
			t.Fatal(n, err)
		}
	}
	before := map[string]uint32{}
	for range 3 {
		// Each time the names were known with the UIDVALIDITYs of the time before.
		for _, step := range [][2]string{{"neu", "alt"}, {"grün", "neu"}, {"neu", "grün"}, {"alt", "neu"}} {
			if err := s.RenameMailbox(t.Context(), a.ID, step[0], step[1]); err != nil {
				t.Fatal(step, err)
			}
			all, err := s.Mailboxes(t.Context(), a.ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range all {
				if was := before[m.Name]; was > m.UIDValidity {
					t.Fatal(step, m.Name, m.UIDValidity, "after", was)
				}
				before[m.Name] = m.UIDValidity
			}
			verifyStore(t, s)
		}
	}
	names := mailboxNames(t, s, a.ID)
	for _, n := range []string{"neu", "neu/süß", "neu/süß/x", "grün", "grün/süß", "grün/süß/x", "grünz", "grün0", "grün."} {
		if !slices.Contains(names, n) {
			t.Error(n, "is not in", names)
		}
	}
}

// A tree of nearly 10,000 mailboxes is renamed in one transaction: who looks meanwhile sees all old names or all new ones.
func TestRenameLargeTree(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	groups, each := 99, 99 // and the groups themselves: nearly as many as an account may have
	if raced {
		groups = 2
	}
	var wg sync.WaitGroup
	for g := range groups {
		wg.Go(func() {
			for n := range each {
				if _, err := s.CreateMailbox(t.Context(), a.ID, fmt.Sprintf("old/%d/%d", g, n), ""); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	names := func() (old, renamed int) {
		all, err := s.Names(t.Context(), a.ID)
		if err != nil {
			t.Error(err)
		}
		for _, n := range all {
			switch {
			case n.Name == "old" || strings.HasPrefix(n.Name, "old/"):
				old++
			case n.Name == "new" || strings.HasPrefix(n.Name, "new/"):
				renamed++
			}
		}
		return old, renamed
	}
	all := groups*each + groups + 1
	if old, _ := names(); old != all {
		t.Fatal(old)
	}
	done := make(chan error, 1)
	go func() { done <- s.RenameMailbox(t.Context(), a.ID, "old", "new") }()
	for ended := false; !ended; {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			ended = true
		default:
		}
		old, renamed := names()
		if old+renamed != all || old > 0 && renamed > 0 || ended && old > 0 {
			t.Fatalf("%d old names and %d new ones", old, renamed)
		}
	}
	verifyStore(t, s)
}

// TestWalk: every depth there may be is one query; what is not there is not found from another account's home either.
func TestWalk(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	ann, joe := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	ctx := t.Context()
	n, err := s.Walk(ctx, ann.ID, nil)
	if err != nil || n.ID != ann.Home {
		t.Fatal(n, err)
	}
	var names []string
	for i := range MaxDepth {
		name := fmt.Sprintf("it's %d", i)
		made, err := s.MakeFolder(ctx, ann.ID, n.ID, name)
		if err != nil {
			t.Fatal(i, err)
		}
		names = append(names, name)
		if n, err = s.Walk(ctx, ann.ID, names); err != nil || n.ID != made.ID || n.Name != name {
			t.Fatal(i, n, err)
		}
		if _, err := s.Walk(ctx, joe.ID, names); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(i, err)
		}
	}
	for range 3 {
		names = append(names, "x")
		if _, err := s.Walk(ctx, ann.ID, names); !errors.Is(err, fs.ErrNotExist) {
			t.Error(len(names), err)
		}
	}
	if _, err := s.Walk(ctx, 999, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}
