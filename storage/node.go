package storage

import (
	"context"
	"io/fs"
	"time"
)

// Kind of a node.
type Kind uint8

// The kinds. A message is a node too, but has its own table and type (Entry), being of another shape and number.
const (
	KindFolder  Kind = iota + 1 // below /Mail: a name that holds mailboxes but no messages (\NoSelect)
	KindMailbox                 // below /Mail only; holds messages and further mailboxes
	KindFile
)

// Node is a folder, mailbox or file.
type Node struct {
	ID       int64
	Account  int64
	Parent   int64 // 0 for home
	Kind     Kind
	Name     string
	Size     int64 // of a file; of a mailbox: its messages
	Modified time.Time
	Created  time.Time
	Mode     fs.FileMode // permission bits, as SITE CHMOD sets them; shown, not enforced
	Blob     int64       // of a file; 0 for the empty file and for others
	ModSeq   uint64
}

// CleanName checks and normalises one name of the tree: NFC; not empty, ".", ".." ; at most 255 bytes; valid UTF-8; no "/", NUL or other control
// character. ErrInvalid says what is wrong. Names are case-sensitive, except that INBOX below /Mail is INBOX in any case.
func CleanName(name string) (string, error) { panic("stub") }

// MaxDepth is how deep the tree may be, and MaxPath how long a path in bytes.
const (
	MaxDepth = 64
	MaxPath  = 4096
)

// Lookup finds a child by name; fs.ErrNotExist. Walk follows names from home ("Mail" leads to the mailboxes).
func (s *Store) Lookup(ctx context.Context, account, parent int64, name string) (Node, error) {
	panic("stub")
}
func (s *Store) Walk(ctx context.Context, account int64, names []string) (Node, error) { panic("stub") }
func (s *Store) Node(ctx context.Context, account, id int64) (Node, error)             { panic("stub") }

// Children gives up to limit children (not messages) by name, those behind after. Paging keeps memory bounded.
func (s *Store) Children(ctx context.Context, account, parent int64, after string, limit int) ([]Node, error) {
	panic("stub")
}

// MakeFolder makes a folder; below /Mail use CreateMailbox. fs.ErrExist.
func (s *Store) MakeFolder(ctx context.Context, account, parent int64, name string) (Node, error) {
	panic("stub")
}

// Rename moves a file or folder (outside /Mail; there use RenameMailbox). An existing file at the new name is replaced if the
// moved node is a file and replace is set, else fs.ErrExist. A folder cannot go below itself: ErrInvalid.
func (s *Store) Rename(ctx context.Context, account, node, newParent int64, newName string, replace bool) (Node, error) {
	panic("stub")
}

// Remove removes a file or an empty folder; a folder that is not empty, home and /Mail: fs.ErrPermission with a text that says why.
func (s *Store) Remove(ctx context.Context, account, node int64) error { panic("stub") }

// SetModified and SetMode change what FTP's MFMT and SITE CHMOD change.
func (s *Store) SetModified(ctx context.Context, account, node int64, t time.Time) error {
	panic("stub")
}
func (s *Store) SetMode(ctx context.Context, account, node int64, m fs.FileMode) error { panic("stub") }
