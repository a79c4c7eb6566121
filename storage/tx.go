package storage

import (
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// rows are the rows that nearly every transaction needs, kept by the writer from batch to batch: it alone
// changes them. A rollback forgets them all.
type rows struct {
	accounts  map[int64]*accountRow
	mailboxes map[int64]*mailboxRow
	lastID    int64 // 0: not read yet
	idsTo     int64 // the counter that is or will be committed: ids up to it may be given
	seenRoom  int64 // how many rows may be added to seen before they are counted again
}

// idBlock is how many ids the counter goes ahead of those that were given, so that it is not written each time. After a start, or when
// a transaction was undone, the rest of a block is never given.
const idBlock = 1000

// rowsMax bounds each map; one that is full is emptied between batches.
const rowsMax = 10_000

func (r *rows) reset() {
	r.accounts = map[int64]*accountRow{}
	r.mailboxes = map[int64]*mailboxRow{}
	r.lastID, r.idsTo = 0, 0
	r.seenRoom = 0
}

// accountRow is an account with its counters.
type accountRow struct {
	Account
	Usage
	modseq      uint64
	uidvalidity uint32
	dirty       bool // its counters are written at the end of the batch
}

// mailboxRow is a mailbox with what clients do not see of it.
type mailboxRow struct {
	Mailbox
	floor    uint64
	tombs    int
	keywords []string // by bit
	known    bool     // keywords was read
	dirty    bool
}

// tx is the transaction of a batch, as its jobs see it. Jobs run one after the other.
type tx struct {
	s  *Store
	w  *writer
	db *sqldb.Writer

	// wrote tells whether the job that runs has changed anything, in the database or in the rows in memory.
	wrote bool
	by    any // who asked for it: watch.Origin

	idDirty   bool
	accounts  []*accountRow    // dirty ones
	mailboxes []*mailboxRow    // dirty ones
	edited    map[int64]*edits // by mailbox: what happened to its messages
	changes   []watch.Change
	after     []func() // run after the commit
	routed    bool     // mail may go another way
	mails     int      // messages that are new, for the text index
	mailBytes int64
}

func newTx(w *writer) *tx {
	if len(w.accounts) > rowsMax || len(w.mailboxes) > rowsMax {
		w.rows.reset()
	}
	return &tx{s: w.s, w: w, db: w.db, edited: map[int64]*edits{}}
}

// exec changes the database.
func (t *tx) exec(query string, args ...any) error {
	t.wrote = true
	t.routed = t.routed || t.w.routing(query)
	return t.db.Exec(query, args...)
}

// now is the time of the transaction in Unix seconds.
func (t *tx) now() int64 { return t.s.o.Now().Unix() }

// newID gives an id that none had before.
func (t *tx) newID() (int64, error) { return t.newIDs(1) }

// newIDs gives the first of n ids in a row.
func (t *tx) newIDs(n int) (int64, error) {
	t.wrote = true
	if t.w.lastID == 0 {
		err := t.db.Row("SELECT value FROM counter WHERE name = 'id'").Scan(&t.w.lastID)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, err
		}
		t.w.idsTo = t.w.lastID
	}
	id := t.w.lastID + 1
	if t.w.lastID += int64(n); t.w.lastID > t.w.idsTo {
		t.w.idsTo, t.idDirty = t.w.lastID+idBlock, true
	}
	return id, nil
}

// account is the row of an account that exists.
func (t *tx) account(id int64) (*accountRow, error) {
	if a := t.w.accounts[id]; a != nil {
		return a, nil
	}
	a, err := readAccountRow(t.db, id)
	if err != nil {
		return nil, err
	}
	t.w.accounts[id] = a
	return a, nil
}

// touch marks counters of an account as changed.
func (t *tx) touch(a *accountRow) {
	t.wrote = true
	if !a.dirty {
		a.dirty = true
		t.accounts = append(t.accounts, a)
	}
}

// charge changes what an account is charged with. It fails before it changes anything when bytes or messages, if positive, do not fit.
func (t *tx) charge(a *accountRow, bytes int64, messages, files int64) error {
	if err := a.fits(bytes, messages); err != nil {
		return err
	}
	t.touch(a)
	a.Bytes += bytes
	a.Messages += messages
	a.Files += files
	return nil
}

func (a *accountRow) fits(bytes, messages int64) error {
	if a.Quota > 0 && bytes > 0 && bytes > a.Quota-a.Bytes {
		return ErrQuota
	}
	if a.MessageQuota != 0 && messages > 0 && messages > max(a.MessageQuota, 0)-a.Messages {
		return ErrQuota
	}
	return nil
}

// mayAdd tells whether an account may have n more entries; ErrEntries.
func (s *Store) mayAdd(n int, u *Usage) error {
	if limit := int64(s.o.MaxEntries); n > 0 && limit > 0 && int64(n) > limit-u.Entries {
		return ErrEntries
	}
	return nil
}

// enter counts n entries more, or fewer.
func (t *tx) enter(a *accountRow, n int) {
	t.touch(a)
	a.Entries += int64(n)
}

// nextModSeq advances the account's change number.
func (t *tx) nextModSeq(a *accountRow) uint64 {
	t.touch(a)
	a.modseq++
	return a.modseq
}

// nextUIDValidity gives one that is greater than all that mailboxes of the account had.
func (t *tx) nextUIDValidity(a *accountRow) uint32 {
	t.touch(a)
	a.uidvalidity = max(a.uidvalidity+1, uint32(t.now()))
	return a.uidvalidity
}

// mailbox is the row of a mailbox of the account; fs.ErrNotExist for a name that holds no messages too.
func (t *tx) mailbox(account, id int64) (*mailboxRow, error) {
	m := t.w.mailboxes[id]
	if m == nil {
		var err error
		if m, err = readMailboxRow(t.db, id); err != nil {
			return nil, err
		}
		t.w.mailboxes[id] = m
	}
	if m.Account != account || m.NoSelect {
		return nil, fmt.Errorf("mailbox: %w", fs.ErrNotExist)
	}
	return m, nil
}

// touchMailbox marks counters of a mailbox as changed by modseq.
func (t *tx) touchMailbox(m *mailboxRow, modseq uint64) {
	t.wrote = true
	m.HighestModSeq = max(m.HighestModSeq, modseq)
	if !m.dirty {
		m.dirty = true
		t.mailboxes = append(t.mailboxes, m)
	}
}

// count adds n (1 or -1) messages like e to the counters.
func (m *mailboxRow) count(e *packed, n int) {
	d := uint32(n) // two's complement: adding it subtracts
	m.Messages += d
	m.Size += int64(n) * int64(e.size)
	if e.flags&Seen == 0 {
		m.Unseen += d
	}
	if e.flags&Deleted != 0 {
		m.Deleted += d
	}
}

// flush writes the rows in memory that changed.
func (t *tx) flush() error {
	if t.idDirty {
		if err := t.db.Exec(`INSERT INTO counter (name, value) VALUES ('id', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, t.w.idsTo); err != nil {
			return err
		}
	}
	for _, a := range t.accounts {
		a.dirty = false
		if err := t.db.Exec(`UPDATE account SET bytes = ?, messages = ?, files = ?, entries = ?, modseq = ?, uidvalidity = ? WHERE id = ?`,
			a.Bytes, a.Messages, a.Files, a.Entries, int64(a.modseq), int64(a.uidvalidity), a.ID); err != nil {
			return err
		}
	}
	for _, m := range t.mailboxes {
		m.dirty = false
		if err := t.db.Exec(`UPDATE mailbox SET uidvalidity = ?, uidnext = ?, highestmodseq = ?, messages = ?, unseen = ?, deleted = ?, size = ?, floor = ?, tombs = ? WHERE id = ?`,
			int64(m.UIDValidity), int64(m.UIDNext), int64(m.HighestModSeq), int64(m.Messages), int64(m.Unseen), int64(m.Deleted), m.Size, int64(m.floor), m.tombs, m.ID); err != nil {
			return err
		}
	}
	return nil
}

// maxNamed is how many UIDs a change names.
const maxNamed = 64

// change is told to others after the commit. UIDs of one kind in one mailbox gather in one change.
func (t *tx) change(c watch.Change) {
	c.By = t.by
	if len(t.changes) > 0 {
		l := &t.changes[len(t.changes)-1]
		if l.Account == c.Account && l.Mailbox == c.Mailbox && l.Kind == c.Kind && l.Node == c.Node && l.By == c.By {
			l.ModSeq = max(l.ModSeq, c.ModSeq)
			l.UIDs = append(l.UIDs, c.UIDs...)
			l.More = l.More || c.More
			t.trim(l)
			return
		}
	}
	c.UIDs = slices.Clone(c.UIDs)
	t.trim(&c)
	t.changes = append(t.changes, c)
}

func (t *tx) trim(c *watch.Change) {
	slices.Sort(c.UIDs)
	c.UIDs = slices.Compact(c.UIDs)
	if len(c.UIDs) > maxNamed {
		c.UIDs, c.More = c.UIDs[:maxNamed], true
	}
}

// publish makes the pictures of mailboxes what was committed, then tells the listeners.
func (t *tx) publish() {
	t.s.commits.Add(1)
	if t.routed {
		t.s.routes.forget()
	}
	if t.mails > 0 {
		t.s.texts.note(t.mails, t.mailBytes)
	}
	for id, e := range t.edited {
		e.mailbox, e.keywords = e.row.Mailbox, e.row.keywords
		t.s.snaps.commit(id, e)
	}
	t.s.counted.commit(t.edited)
	for _, f := range t.after {
		f()
	}
	if len(t.changes) > 0 {
		t.s.names.forget(t.changes)
		t.s.hub.Publish(t.changes)
	}
}

func truth(b bool) int {
	if b {
		return 1
	}
	return 0
}

func unix(sec int64) time.Time { return time.Unix(sec, 0) }
