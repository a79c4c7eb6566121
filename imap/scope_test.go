package imap

import (
	"fmt"
	"testing"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

func TestScope(t *testing.T) {
	for _, test := range []struct {
		kind  string
		names []string
		box   storage.Mailbox
		want  bool
	}{
		{"PERSONAL", nil, storage.Mailbox{Name: "a"}, true},
		{"PERSONAL", nil, storage.Mailbox{Name: "Shared/bob/a", Owner: "bob"}, false},
		{"INBOXES", nil, storage.Mailbox{Name: "INBOX"}, true},
		{"INBOXES", nil, storage.Mailbox{Name: "INBOX/a"}, false},
		{"SUBSCRIBED", nil, storage.Mailbox{Name: "a", Subscribed: true}, true},
		{"SUBSCRIBED", nil, storage.Mailbox{Name: "a"}, false},
		{"MAILBOXES", []string{"b", "a"}, storage.Mailbox{Name: "a"}, true},
		{"MAILBOXES", []string{"a"}, storage.Mailbox{Name: "a/b"}, false},
		{"MAILBOXES", []string{"inbox"}, storage.Mailbox{Name: "INBOX"}, true},
		{"MAILBOXES", []string{"u\u0308"}, storage.Mailbox{Name: "\u00fc"}, true},
		{"MAILBOXES", []string{"a//b"}, storage.Mailbox{Name: "a"}, false},
		{"SUBTREE", []string{"a"}, storage.Mailbox{Name: "a"}, true},
		{"SUBTREE", []string{"x", "a"}, storage.Mailbox{Name: "a/b/c"}, true},
		{"SUBTREE", []string{"a/b"}, storage.Mailbox{Name: "a/b/c/d"}, true},
		{"SUBTREE", []string{"a"}, storage.Mailbox{Name: "ab/c"}, false},
		{"SUBTREE", []string{"a/b"}, storage.Mailbox{Name: "a"}, false},
		{"SUBTREE", []string{"InBox"}, storage.Mailbox{Name: "INBOX/c"}, true},
		{"SUBTREE-ONE", []string{"a"}, storage.Mailbox{Name: "a"}, true},
		{"SUBTREE-ONE", []string{"a"}, storage.Mailbox{Name: "a/b"}, true},
		{"SUBTREE-ONE", []string{"a"}, storage.Mailbox{Name: "a/b/c"}, false},
		{"SUBTREE-ONE", []string{""}, storage.Mailbox{Name: "a"}, false},
	} {
		s := scopeOf(wire.MailboxFilter{Kind: test.kind, Names: test.names})
		if got := s.has(&test.box); got != test.want {
			t.Errorf("%s %q has %q: %v", test.kind, test.names, test.box.Name, got)
		}
	}
}

// BenchmarkScope asks about 10,000 mailboxes by as many names as a command may hold.
func BenchmarkScope(b *testing.B) {
	f := wire.MailboxFilter{Kind: "SUBTREE"}
	for i := range 999 {
		f.Names = append(f.Names, fmt.Sprintf("m%d/x%d", i/100, i))
	}
	boxes := make([]storage.Mailbox, 10000)
	for i := range boxes {
		boxes[i].Name = fmt.Sprintf("m%d/x%d", i/100, i)
	}
	for b.Loop() {
		s := scopeOf(f)
		n := 0
		for i := range boxes {
			if s.has(&boxes[i]) {
				n++
			}
		}
		if n != len(f.Names) {
			b.Fatal(n)
		}
	}
}
