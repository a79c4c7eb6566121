package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// snapshots are the pictures of the mailboxes that were looked at lately.
//
// A slot that is loading collects what is committed meanwhile. The load reads one picture of the database, which
// holds a batch of writes whole or not at all; by the mailbox's modseq it is known which, and what it does not hold is
// applied afterwards. So nobody waits: the writer not for loads, and loads not for the writer.
type snapshots struct {
	now   func() time.Time
	max   int
	mu    sync.RWMutex
	slots map[int64]*slot
	// about is how many entries there were when they were last counted, and those loaded since.
	about, loads int
}

// slot is the place of one mailbox's picture.
type slot struct {
	snap    atomic.Pointer[Snapshot]
	used    atomic.Int64 // Unix nanoseconds
	load    sync.Mutex   // held by the one who loads
	mu      sync.Mutex   // guards what follows, and stores to snap
	loading bool
	pending []*edits // committed since the load began
	evicted bool     // no longer in slots: begin anew
}

// edits are what a batch did to one mailbox.
type edits struct {
	row      *mailboxRow // the writer's
	mailbox  Mailbox     // as it is after the batch
	keywords []string    // nil: as they were
	steps    []edit
	removed  bool // the mailbox is no more

	// view is the picture with the first seen steps, if a job of the batch wanted one.
	view *Snapshot
	seen int
}

func (c *snapshots) init(max int, now func() time.Time) {
	c.max, c.now, c.slots, c.about = max, now, map[int64]*slot{}, 0
}

func (c *snapshots) slot(id int64) *slot {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.slots[id]
}

// warm is the newest committed picture, or nil.
func (c *snapshots) warm(id int64) *Snapshot {
	sl := c.slot(id)
	if sl == nil {
		return nil
	}
	p := sl.snap.Load()
	if p != nil {
		sl.used.Store(c.now().UnixNano())
	}
	return p
}

// commit is called by the writer after each batch, for each mailbox it changed.
func (c *snapshots) commit(id int64, e *edits) {
	sl := c.slot(id)
	if sl == nil {
		return
	}
	if sl.commit(e) {
		c.drop(id, sl)
	}
}

// commit tells whether the slot is to be forgotten.
func (sl *slot) commit(e *edits) (drop bool) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	p := sl.snap.Load()
	switch {
	case sl.loading:
		sl.pending = append(sl.pending, e)
	case e.removed:
		sl.snap.Store(nil)
		return true
	case p != nil && p.mailbox.HighestModSeq >= e.mailbox.HighestModSeq:
		// Loaded between the commit and here, so its steps are in the picture, or there are none.
		sl.snap.Store(p.with(e.mailbox, e.keywords, nil))
	case p != nil:
		sl.snap.Store(e.apply(p))
	}
	return false
}

// apply gives the picture after the batch; p is the one before.
func (e *edits) apply(p *Snapshot) *Snapshot {
	if e.view != nil {
		return e.view.with(e.mailbox, e.keywords, e.steps[e.seen:])
	}
	return p.with(e.mailbox, e.keywords, e.steps)
}

// Snapshot of a mailbox as of now: every commit that returned is in it. An atomic load when the mailbox is warm. fs.ErrNotExist once the mailbox is gone.
// What is read of rows (Mailbox, Mailboxes, Expunged) may for a moment be newer: a commit is in them before it is published here.
func (s *Store) Snapshot(ctx context.Context, mailbox int64) (*Snapshot, error) {
	if p := s.snaps.warm(mailbox); p != nil {
		return p, nil
	}
	p, err := s.loadSnapshot(ctx, mailbox)
	return p, fail("snapshot", err)
}

func (s *Store) loadSnapshot(ctx context.Context, mailbox int64) (*Snapshot, error) {
	c := &s.snaps
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.mu.Lock()
		sl := c.slots[mailbox]
		if sl == nil {
			sl = &slot{}
			c.slots[mailbox] = sl
		}
		c.mu.Unlock()
		p, err := sl.fill(func() (*Snapshot, error) { return s.readSnapshot(ctx, mailbox) })
		if err != nil {
			c.drop(mailbox, sl)
			return nil, err
		}
		if p != nil {
			sl.used.Store(c.now().UnixNano())
			c.loaded(mailbox, p)
			return p, nil
		}
	}
}

// fill loads the picture by read, unless another did meanwhile. nil, nil: the slot was evicted.
func (sl *slot) fill(read func() (*Snapshot, error)) (*Snapshot, error) {
	sl.load.Lock()
	defer sl.load.Unlock()
	sl.mu.Lock()
	if p := sl.snap.Load(); p != nil || sl.evicted {
		sl.mu.Unlock()
		return p, nil
	}
	sl.loading = true
	sl.mu.Unlock()

	p, err := read()

	sl.mu.Lock()
	defer sl.mu.Unlock()
	pending := sl.pending
	sl.loading, sl.pending = false, nil
	if err != nil {
		return nil, err
	}
	for _, e := range pending {
		switch {
		case e.removed:
			return nil, fmt.Errorf("mailbox: %w", fs.ErrNotExist)
		case e.mailbox.HighestModSeq > p.mailbox.HighestModSeq:
			p = p.with(e.mailbox, e.keywords, e.steps)
		default:
			// Its steps are in the picture, its name perhaps not: renaming does not advance the modseq.
			p.mailbox.Name, p.mailbox.Role = e.mailbox.Name, e.mailbox.Role
		}
	}
	sl.snap.Store(p)
	return p, nil
}

// drop forgets a slot that could not be filled.
func (c *snapshots) drop(id int64, sl *slot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if c.slots[id] == sl && !sl.loading && sl.snap.Load() == nil {
		sl.evicted = true
		delete(c.slots, id)
	}
}

// weight is what a picture counts as: an empty one takes room too.
func (p *Snapshot) weight() int { return p.n + 8 }

// loaded counts a picture that was loaded. Now and then, and when there may be too many, all are counted.
func (c *snapshots) loaded(id int64, p *Snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.about += p.weight()
	if c.loads++; c.about > c.max || c.loads%1024 == 0 {
		c.evict(id)
	}
}

// evict forgets pictures that were not used for longest, until the rest has at most max entries. keep stays.
func (c *snapshots) evict(keep int64) {
	type candidate struct {
		id   int64
		used int64
		n    int
	}
	total := 0
	all := make([]candidate, 0, len(c.slots))
	for id, sl := range c.slots {
		if p := sl.snap.Load(); p != nil {
			total += p.weight()
			all = append(all, candidate{id, sl.used.Load(), p.weight()})
		}
	}
	defer func() { c.about = total }()
	if total <= c.max {
		return
	}
	slices.SortFunc(all, func(a, b candidate) int { return int(min(1, max(-1, a.used-b.used))) })
	// A tenth more, so that this is not done again at the next load.
	for _, k := range all {
		if total <= c.max-c.max/10 {
			return
		}
		if k.id != keep && c.evictOne(k.id) {
			total -= k.n
		}
	}
}

func (c *snapshots) evictOne(id int64) bool {
	sl := c.slots[id]
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.loading {
		return false
	}
	sl.evicted = true
	delete(c.slots, id)
	return true
}

// readSnapshot reads the rows in one picture of the database.
func (s *Store) readSnapshot(ctx context.Context, mailbox int64) (p *Snapshot, err error) {
	err = s.db.View(ctx, func(v *sqldb.View) error {
		p, err = readSnapshotFrom(v, mailbox)
		return err
	})
	return p, err
}

func readSnapshotFrom(q sqldb.Querier, mailbox int64) (*Snapshot, error) {
	m, err := readMailboxRow(q, mailbox)
	if err != nil {
		return nil, err
	}
	if m.NoSelect {
		return nil, fmt.Errorf("mailbox: %w", fs.ErrNotExist)
	}
	keywords, err := readKeywords(q, mailbox)
	if err != nil {
		return nil, err
	}
	rows, err := q.Query(`SELECT uid, flags, keywords, size, internal_date, zone, save_date, modseq, blob, id FROM message WHERE mailbox = ? ORDER BY uid`, mailbox)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var chunks [][]packed
	chunk := make([]packed, 0, min(chunkLen, int(m.Messages)))
	// Values as the driver gives them: Scan into other types goes through text, which takes longer than the query.
	var v [10]any
	dest := []any{&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9]}
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return nil, err
		}
		if len(chunk) == chunkLen {
			chunks = append(chunks, chunk)
			chunk = make([]packed, 0, chunkLen)
		}
		chunk = append(chunk, packed{uid: uint32(v[0].(int64)), flags: Flags(v[1].(int64)), keywords: uint64(v[2].(int64)), size: uint32(v[3].(int64)),
			date: v[4].(int64), zone: int16(v[5].(int64)), saved: uint32(v[6].(int64)), modseq: uint64(v[7].(int64)), blob: v[8].(int64), id: v[9].(int64)})
	}
	if len(chunk) > 0 {
		chunks = append(chunks, chunk)
	}
	return newSnapshot(m.Mailbox, keywords, chunks), rows.Err()
}

func readKeywords(q sqldb.Querier, mailbox int64) ([]string, error) {
	return readAll[string](q, `SELECT name FROM keyword WHERE mailbox = ? ORDER BY bit`, mailbox)
}

// edits of a mailbox in this batch; each one who changes the row's messages, name or keywords asks for it.
func (t *tx) edits(m *mailboxRow) *edits {
	e := t.edited[m.ID]
	if e == nil {
		e = &edits{row: m}
		t.edited[m.ID] = e
	}
	return e
}

// view is the picture of a mailbox with all that the batch did to it so far.
func (t *tx) view(m *mailboxRow) (*Snapshot, error) {
	e := t.edits(m)
	if e.view == nil {
		if p := t.s.snaps.warm(m.ID); p != nil {
			e.view = p
		} else {
			p, err := readSnapshotFrom(t.db, m.ID)
			if err != nil {
				return nil, err
			}
			// The rows hold the batch's steps already, the mailbox's row does not yet.
			e.view, e.seen = p, len(e.steps)
		}
	}
	if e.seen < len(e.steps) {
		e.view, e.seen = e.view.with(m.Mailbox, m.keywords, e.steps[e.seen:]), len(e.steps)
	}
	return e.view, nil
}
