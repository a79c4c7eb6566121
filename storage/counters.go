package storage

import (
	"context"
	"sync"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// maxCounted is how many mailboxes' counters are kept in memory. When there are more all are forgotten.
const maxCounted = 20_000

// counterCache keeps the rows of mailboxes whose counters somebody asked for: who is told of each change of a mailbox asks after each.
type counterCache struct {
	mu sync.Mutex
	of map[int64]*counted
}

// counted is one of them. It is there, without a row, while the row is being read.
type counted struct {
	row Mailbox
	ok  bool
}

// Counters are a mailbox's row, whosever it is, as of the last commit, without what an account sees of it (Subscribed, Children, Owner, Rights).
// fs.ErrNotExist.
func (s *Store) Counters(ctx context.Context, mailbox int64) (Mailbox, error) {
	c := &s.counted
	c.mu.Lock()
	e := c.of[mailbox]
	if e != nil && e.ok {
		defer c.mu.Unlock()
		return e.row, nil
	}
	if e == nil {
		if c.of == nil || len(c.of) >= maxCounted {
			c.of = map[int64]*counted{}
		}
		e = &counted{}
		c.of[mailbox] = e
	}
	c.mu.Unlock()
	var m Mailbox
	err := s.db.View(ctx, func(v *sqldb.View) error {
		return noRows(v.Row(`SELECT `+mailboxColumns+` FROM mailbox m WHERE m.id = ?`, mailbox).Scan(m.dest()...))
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case e.ok: // committed meanwhile
		return e.row, nil
	case err != nil:
		if c.of[mailbox] == e {
			delete(c.of, mailbox)
		}
		return m, fail("counters", err)
	}
	e.row, e.ok = m, true
	return m, nil
}

// commit takes the rows of a batch that was committed, before it is published.
func (c *counterCache) commit(edited map[int64]*edits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range edited {
		switch held := c.of[id]; {
		case held == nil:
		case e.removed:
			delete(c.of, id)
		default:
			held.row, held.ok = e.row.Mailbox, true
		}
	}
}
