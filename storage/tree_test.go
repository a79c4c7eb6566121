package storage

import (
	"slices"
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
