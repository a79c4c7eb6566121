package storage

import (
	"slices"
	"testing"
)

// TestNames: what is kept is what the rows say, after each kind of change.
func TestNames(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a, b := newAccount(t, s, "ann@example.test", 0), newAccount(t, s, "joe@example.test", 0)
	check := func() {
		t.Helper()
		for _, account := range []int64{a.ID, b.ID} {
			names, err := s.Names(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			boxes, err := s.Mailboxes(t.Context(), account)
			if err != nil {
				t.Fatal(err)
			}
			var want []Name
			for _, m := range boxes {
				want = append(want, Name{ID: m.ID, Name: m.Name, Role: m.Role, NoSelect: m.NoSelect, Subscribed: m.Subscribed, Children: m.Children})
			}
			if !slices.Equal(names, want) {
				t.Fatalf("%+v\nwant %+v", names, want)
			}
			if _, _, ok := s.names.get(account); !ok {
				t.Fatal("not kept")
			}
		}
	}
	check()
	for what, step := range []func() error{
		func() error { _, err := s.CreateMailbox(t.Context(), a.ID, "x/y/z", ""); return err },
		func() error { return s.DeleteMailbox(t.Context(), a.ID, "x/y", false) },
		func() error { return s.RenameMailbox(t.Context(), a.ID, "x", "INBOX/x") },
		func() error { return s.Subscribe(t.Context(), a.ID, "INBOX/x", true) },
		func() error { return s.Subscribe(t.Context(), a.ID, "Sent", false) },
		func() error { _, err := s.CreateMailbox(t.Context(), a.ID, "INBOX/x/y", ""); return err },
		func() error { return s.DeleteMailbox(t.Context(), a.ID, "Junk", false) },
		func() error { return s.RenameMailbox(t.Context(), b.ID, "INBOX", "old") },
	} {
		if err := step(); err != nil {
			t.Fatal(what, err)
		}
		check()
	}
	// What was read before a change is not kept after it.
	_, turn, _ := s.names.get(99)
	if err := s.Subscribe(t.Context(), a.ID, "Sent", true); err != nil {
		t.Fatal(err)
	}
	s.names.put(a.ID, []Name{{Name: "stale"}}, turn)
	check()
}
