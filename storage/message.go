package storage

import (
	"context"
	"iter"
	"time"

	"github.com/packetboat/packetboat/storage/mime"
)

// Flags are the system flags (RFC 9051 section 2.3.2).
type Flags uint8

// The system flags. There is no \Recent: it is always 0, as RFC 9051 appendix D allows.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
)

// Entry is a message in a mailbox. Keywords are bits; Snapshot.Keywords names them.
type Entry struct {
	UID          uint32
	Flags        Flags
	Keywords     uint64
	Size         uint32 // messages are limited to below 4 GiB
	ModSeq       uint64
	InternalDate int64 // Unix seconds
	SaveDate     int64 // Unix seconds: when it came into this mailbox
	Blob         int64 // its bytes; shared by copies
	ID           int64 // unique and for ever; a copy has another (RFC 8474 EMAILID is the blob's id)
}

// Snapshot is an immutable picture of a mailbox. Sessions share it: it costs a session nothing but a pointer. Sequence number n is At(n-1).
// Built in chunks; two snapshots of one mailbox share the chunks that are equal, so that Diff is cheap.
type Snapshot struct{}

func (p *Snapshot) Mailbox() Mailbox   { panic("stub") } // name, counters, UIDNEXT, HIGHESTMODSEQ at this picture
func (p *Snapshot) Len() int           { panic("stub") }
func (p *Snapshot) At(i int) Entry     { panic("stub") }
func (p *Snapshot) UID(i int) uint32   { panic("stub") }
func (p *Snapshot) Keywords() []string { panic("stub") } // index = bit; as first written; compared without case
func (p *Snapshot) FirstUnseen() int   { panic("stub") } // index of the first without \Seen, -1 if none

// Find is the index of uid, or of where it would be, and whether it is there.
func (p *Snapshot) Find(uid uint32) (int, bool) { panic("stub") }

// Diff tells what a holder of old must be told: gone are indexes in old, descending (as EXPUNGE wants them); changed are indexes in p of
// messages that old has with other flags, keywords or modseq; added is how many at p's end are new.
func (p *Snapshot) Diff(old *Snapshot) (gone, changed []int, added int) { panic("stub") }

// Snapshot of a mailbox as of now: every commit that returned is in it. An atomic load when the mailbox is warm. fs.ErrNotExist once the mailbox is gone.
func (s *Store) Snapshot(ctx context.Context, mailbox int64) (*Snapshot, error) { panic("stub") }

// UIDRange is first <= last.
type UIDRange struct{ First, Last uint32 }

// Expunged are the UIDs that went since modseq, merged and ascending, for QRESYNC (RFC 7162 section 3.2.10). known false: tombstones that old were swept, all UIDs
// not in the mailbox may have gone.
func (s *Store) Expunged(ctx context.Context, mailbox int64, since uint64) (gone []UIDRange, known bool, err error) {
	panic("stub")
}

// Target is a mailbox that a message goes into.
type Target struct {
	Account      int64
	Mailbox      int64
	Flags        Flags
	Keywords     []string
	InternalDate time.Time // zero: now
}

// Appended is what became of one Target. Err is ErrQuota, fs.ErrNotExist (mailbox gone), ErrLimit (keywords) or nil.
type Appended struct {
	UIDValidity, UID uint32
	ID               int64
	Err              error
}

// Deliver puts one message into several mailboxes: one blob, one transaction. A target that is refused does not harm the others. It
// returns when all that succeeded is durable and published. err is for faults that concern all.
func (s *Store) Deliver(ctx context.Context, u *Upload, targets []Target) ([]Appended, error) {
	panic("stub")
}

// AppendAll puts several messages into one mailbox, all or none (RFC 3502).
func (s *Store) AppendAll(ctx context.Context, us []*Upload, targets []Target) ([]Appended, error) {
	panic("stub")
}

// FlagOp is how SetFlags changes flags.
type FlagOp uint8

// The ways of STORE.
const (
	FlagsSet FlagOp = iota
	FlagsAdd
	FlagsRemove
)

// FlagChange is a STORE.
type FlagChange struct {
	Op             FlagOp
	Flags          Flags
	Keywords       []string
	UnchangedSince uint64 // RFC 7162 section 3.1.3; meaningful when Conditional
	Conditional    bool
}

// SetFlags changes the messages named (ascending UIDs; those gone are left out). failed are those that changed since UnchangedSince.
// A message whose flags are already so keeps its modseq.
func (s *Store) SetFlags(ctx context.Context, account, mailbox int64, uids []uint32, c FlagChange) (modseq uint64, failed []uint32, err error) {
	panic("stub")
}

// Copied pairs source and new UIDs, both ascending.
type Copied struct {
	UIDValidity uint32
	From, To    []uint32
}

// Copy and Move; all or nothing. Flags, keywords and internal date go along; the blob is shared. Move is one transaction. Messages gone meanwhile are left out.
func (s *Store) Copy(ctx context.Context, account, from int64, uids []uint32, to int64) (Copied, error) {
	panic("stub")
}
func (s *Store) Move(ctx context.Context, account, from int64, uids []uint32, to int64) (Copied, error) {
	panic("stub")
}

// Expunge removes the messages of uids that have \Deleted (uids nil: all that have), or with force whatever their flags. It returns those that went.
func (s *Store) Expunge(ctx context.Context, account, mailbox int64, uids []uint32, force bool) ([]uint32, error) {
	panic("stub")
}

// Mail is what was parsed of a message when it was stored; the slices must not be changed and live until the next turn of the iterator only.
type Mail struct {
	Blob      int64
	Envelope  []byte // as IMAP writes it
	Structure []byte // BODYSTRUCTURE as IMAP writes it
	Header    []byte // the header block with the empty line; nil when it is over 64 KiB: read the blob
	index     []byte
}

// Index is the part index.
func (m *Mail) Index() (*mime.Index, error) { panic("stub") }

// MailWant says which columns are wanted; what is not wanted is nil.
type MailWant uint8

// The columns.
const (
	WantEnvelope MailWant = 1 << iota
	WantStructure
	WantHeader
	WantIndex
)

// Mail gives the rows of the entries of p at the indexes (ascending), in that order, in few queries. i is the index in p.
func (s *Store) Mail(ctx context.Context, p *Snapshot, indexes []int, want MailWant) iter.Seq2[int, MailRow] {
	panic("stub")
}

// MailRow is a Mail or why it could not be had.
type MailRow struct {
	Mail
	Err error
}
