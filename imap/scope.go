package imap

import (
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// scope is a mailbox specifier of ESEARCH and NOTIFY (RFC 5465 section 6) other than SELECTED, ready to be asked about many mailboxes: each
// name that it holds is made a storage's once, and what a mailbox costs does not grow with them.
type scope struct {
	kind  string
	names map[string]bool
}

func scopeOf(f wire.MailboxFilter) scope {
	s := scope{kind: f.Kind}
	if len(f.Names) == 0 {
		return s
	}
	s.names = make(map[string]bool, len(f.Names))
	for _, name := range f.Names {
		if clean, err := storage.CleanMailbox(name); err == nil {
			s.names[clean] = true
		}
		if s.kind == "MAILBOXES" {
			s.names[name] = true // one from before names were made so
		}
	}
	return s
}

// has tells whether the specifier means a mailbox.
func (s *scope) has(b *storage.Mailbox) bool {
	switch s.kind {
	case "PERSONAL":
		return b.Owner == ""
	case "INBOXES": // where mail is delivered to
		return b.Owner == "" && b.Name == "INBOX"
	case "SUBSCRIBED":
		return b.Subscribed
	}
	if s.names[b.Name] {
		return true
	}
	if s.kind == "MAILBOXES" {
		return false
	}
	for up := range above(b.Name) {
		if s.names[up] {
			return true
		}
		if s.kind == "SUBTREE-ONE" {
			break
		}
	}
	return false
}
