package storage

import "testing"

// An annotation advances the mailbox's mod-sequence, in rows and in the picture, and no message's (RFC 7162 section 3.2).
func TestAnnotationAdvancesModSeq(t *testing.T) {
	s := openTest(t, t.TempDir(), Options{})
	a := newAccount(t, s, "ann@example.test", 0)
	deliverTo(t, s, a.ID, "INBOX", 2)
	in := mailboxNamed(t, s, a.ID, "INBOX")
	before, err := s.Snapshot(t.Context(), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.SetAnnotations(t.Context(), a.ID, a.ID, in.ID, []AnnotationChange{{Annotation: Annotation{Name: "/shared/comment", Value: []byte("x")}}}, nil); err != nil {
		t.Fatal(err)
	}
	after, err := s.Snapshot(t.Context(), in.ID)
	if err != nil {
		t.Fatal(err)
	}
	if row := mailboxNamed(t, s, a.ID, "INBOX").HighestModSeq; row <= before.HighestModSeq() || row != after.HighestModSeq() {
		t.Errorf("%d before; %d in the row and %d in the picture after", before.HighestModSeq(), row, after.HighestModSeq())
	}
	if gone, changed, added := after.Diff(before); len(gone)+len(changed)+added != 0 {
		t.Error(gone, changed, added)
	}
}
