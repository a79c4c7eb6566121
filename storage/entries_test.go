package storage

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

// beginning is how many entries every account begins with: home, /Mail and the mailboxes for special uses.
const beginning = 8

func saveCut(t *testing.T, s *Store, a *Account, parent int64, name string) error {
	t.Helper()
	u, err := s.NewUpload(t.Context(), a.ID, -1)
	if err != nil {
		return err
	}
	defer u.Abort()
	if _, err := u.Write([]byte("part")); err != nil {
		return err
	}
	return s.SavePartial(t.Context(), a.ID, parent, name, u)
}

// TestEntries: an account has at most so many files, folders, mailboxes and cut uploads. Each way to one more is refused at the limit, what takes nothing more works, and
// what goes makes room.
func TestEntries(t *testing.T) {
	ctx := t.Context()
	const room = 4
	s := openTest(t, t.TempDir(), Options{MaxEntries: beginning + room})
	a := newAccount(t, s, "ann@example.test", 0)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	entries := func(want int64) {
		t.Helper()
		if u, err := s.Usage(ctx, a.ID); err != nil || u.Entries != want {
			t.Fatal(u, err)
		}
		verifyStore(t, s)
	}
	f, err := putText(t, s, a, a.Home, "f", "text")
	must(err)
	d, err := s.MakeFolder(ctx, a.ID, a.Home, "d")
	must(err)
	_, err = s.CreateMailbox(ctx, a.ID, "box", "")
	must(err)
	more := map[string]func(i int) error{
		"file":   func(i int) error { _, err := putText(t, s, a, d.ID, fmt.Sprint("file", i), ""); return err },
		"folder": func(i int) error { _, err := s.MakeFolder(ctx, a.ID, d.ID, fmt.Sprint("folder", i)); return err },
		"copy": func(i int) error {
			_, err := s.CopyFile(ctx, a.ID, f.ID, d.ID, fmt.Sprint("copy", i), false)
			return err
		},
		"cut upload": func(i int) error { return saveCut(t, s, a, d.ID, fmt.Sprint("part", i)) },
		"mailbox":    func(i int) error { _, err := s.CreateMailbox(ctx, a.ID, fmt.Sprint("mailbox", i), ""); return err },
		"name above": func(i int) error { return s.RenameMailbox(ctx, a.ID, "box", fmt.Sprintf("above%d/box", i)) },
		"mount point": func(i int) error {
			_, err := s.AddMount(ctx, a.ID, fmt.Sprint("/mount", i), t.TempDir(), false)
			return err
		},
		"at once": func(i int) error {
			u, err := s.NewFile(ctx, a.ID, d.ID, fmt.Sprint("late", i), -1, true)
			if err == nil {
				u.Abort()
				_, err = s.MakeFolder(ctx, a.ID, d.ID, fmt.Sprint("late", i))
			}
			return err
		},
	}
	i := 0
	for what, one := range more {
		i++
		entries(beginning + room - 1)
		if what != "name above" {
			must(one(i))
			entries(beginning + room)
			if err := one(i + 100); !errors.Is(err, ErrEntries) || !errors.Is(err, ErrLimit) {
				t.Fatal(what, err)
			}
		} else {
			must(one(i))
			must(s.RenameMailbox(ctx, a.ID, fmt.Sprintf("above%d/box", i), "box"))
			if err := one(i + 100); !errors.Is(err, ErrEntries) {
				t.Fatal(what, err)
			}
		}
		entries(beginning + room)
		// What is in the place of something else takes no more.
		_, err := putText(t, s, a, a.Home, "f", "longer text")
		must(err)
		_, err = s.Rename(ctx, a.ID, f.ID, d.ID, "g", true)
		must(err)
		_, err = s.Rename(ctx, a.ID, f.ID, a.Home, "f", true)
		must(err)
		must(drop(t, s, a, d.ID, i))
	}
	// A cut upload gives its place to the file that it becomes.
	must(saveCut(t, s, a, a.Home, "p"))
	_, err = putText(t, s, a, a.Home, "p", "whole")
	must(err)
	entries(beginning + room)
	// A mailbox with others below goes, where its name stays; one without leaves room for one more.
	must(s.RenameMailbox(ctx, a.ID, "box", "box2"))
	must(s.DeleteMailbox(ctx, a.ID, "box2", false))
	must(more["folder"](1000))
	entries(beginning + room)
	// Others are not meant.
	newAccount(t, s, "joe@example.test", 0)
}

// drop removes what was made last: whichever of these it is.
func drop(t *testing.T, s *Store, a *Account, folder int64, i int) error {
	t.Helper()
	ctx := t.Context()
	all, err := s.Children(ctx, a.ID, folder, "", 10)
	if err != nil {
		return err
	}
	for _, n := range all {
		return s.Remove(ctx, a.ID, n.ID)
	}
	if n, err := s.DropPartials(ctx, a.ID, time.Now().Add(time.Hour)); n > 0 || err != nil {
		return err
	}
	for _, name := range []string{fmt.Sprint("mailbox", i), fmt.Sprint("above", i)} {
		if err := s.DeleteMailbox(ctx, a.ID, name, false); err == nil {
			return nil
		}
	}
	_, err = s.RemoveMount(ctx, a.ID, fmt.Sprint("/mount", i))
	return err
}

// TestEntriesUnlimited: with MaxEntries below 0 nothing is refused; a limit that came later refuses what adds and lets everything go.
func TestEntriesUnlimited(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	s := openTest(t, dir, Options{MaxEntries: -1})
	a := newAccount(t, s, "ann@example.test", 0)
	d, err := s.MakeFolder(ctx, a.ID, a.Home, "d")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.CreateMailbox(ctx, a.ID, "a/b", ""); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openTest(t, dir, Options{MaxEntries: 3})
	if _, err := s.MakeFolder(ctx, a.ID, a.Home, "e"); !errors.Is(err, ErrEntries) {
		t.Fatal(err)
	}
	if err := errors.Join(s.DeleteMailbox(ctx, a.ID, "a", false), s.Remove(ctx, a.ID, d.ID)); err != nil {
		t.Fatal(err)
	}
	verifyStore(t, s)
	newAccount(t, s, "joe@example.test", 0)
}
