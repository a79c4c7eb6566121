package storage

import "context"

// Mailbox is a mailbox or a name above one, with its counters, which are kept and never counted.
type Mailbox struct {
	ID            int64
	Account       int64
	Name          string // path below /Mail: "INBOX", "Archive/2026"; UTF-8, NFC
	NoSelect      bool   // a name only (KindFolder)
	Role          string // special use without the backslash: "Drafts", "Sent", "Archive", "Junk", "Trash"; "" else
	Subscribed    bool
	Children      bool
	UIDValidity   uint32
	UIDNext       uint32
	HighestModSeq uint64
	Messages      uint32
	Unseen        uint32
	Deleted       uint32
	Size          int64
}

// Mailboxes are all mailboxes of an account by name, INBOX first.
func (s *Store) Mailboxes(ctx context.Context, account int64) ([]Mailbox, error) { panic("stub") }

// Mailbox by name (INBOX in any case) or by id. fs.ErrNotExist.
func (s *Store) Mailbox(ctx context.Context, account int64, name string) (Mailbox, error) {
	panic("stub")
}
func (s *Store) MailboxByID(ctx context.Context, account, id int64) (Mailbox, error) { panic("stub") }

// CleanMailbox checks and normalises a mailbox name: each level by CleanName, INBOX uppercased, no empty level; ErrInvalid.
func CleanMailbox(name string) (string, error) { panic("stub") }

// CreateMailbox makes a mailbox and the mailboxes above it that do not exist yet (RFC 9051 section 6.3.4). A \NoSelect name becomes a mailbox. fs.ErrExist.
// A new mailbox of an old name gets a greater UIDVALIDITY.
func (s *Store) CreateMailbox(ctx context.Context, account int64, name, role string) (Mailbox, error) {
	panic("stub")
}

// DeleteMailbox expunges its messages and removes it; with children it becomes \NoSelect (RFC 3501 section 6.3.4). INBOX: fs.ErrPermission.
// onlyEmpty: fs.ErrPermission when it holds messages or mailboxes (FTP's RMD).
func (s *Store) DeleteMailbox(ctx context.Context, account int64, name string, onlyEmpty bool) error {
	panic("stub")
}

// RenameMailbox renames it with all below it; INBOX: its messages move into a new mailbox and INBOX stays (RFC 9051 section 6.3.6).
func (s *Store) RenameMailbox(ctx context.Context, account int64, from, to string) error {
	panic("stub")
}

// Subscribe; a name need not exist to be unsubscribed. Subscriptions are the names subscribed to, existing or not.
func (s *Store) Subscribe(ctx context.Context, account int64, name string, on bool) error {
	panic("stub")
}
func (s *Store) Subscriptions(ctx context.Context, account int64) ([]string, error) { panic("stub") }
