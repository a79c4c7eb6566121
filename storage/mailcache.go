package storage

import (
	"container/list"
	"sync"
	"time"
)

// mailCached is the smallest batch of rows that the cache keeps: those who walk over a mailbox come again, with their other device or the next
// sorting; who looks at a few messages is served by the database's own cache.
const mailCached = 16

// mailCache keeps batches of Mail rows that were read lately, whole and in the order in which they were wanted, with headers as they were
// filtered. What a message was parsed
// into never changes and ids are never given twice, so nothing in it goes stale; what is no more in a mailbox is not asked for.
//
// A batch is one allocation without pointers beside its list of rows, so that the garbage collector has little to look at.
type mailCache struct {
	mu    sync.Mutex
	max   int // bytes
	bytes int
	order *list.List // of *mailBatchKept, the latest used first
	at    map[mailKey]*list.Element
}

// mailRest is how long a batch must have been unused for another of its mailbox to push it out.
const mailRest = 5 * time.Minute

// mailKey finds a batch; whether it is the one that is wanted, its rows tell.
type mailKey struct {
	mailbox     int64
	want        MailWant
	n           int
	first, last int64
	filter      string // mime.Filter.Key
}

type mailBatchKept struct {
	key  mailKey
	used time.Time
	rows mailRows // never changed
}

// mailRowBytes is what a row costs beside its columns.
const mailRowBytes = 48

func (b *mailBatchKept) bytes() int {
	return cap(b.rows.arena) + mailRowBytes*cap(b.rows.rows) + len(b.key.filter)
}

func (c *mailCache) init(max int) {
	c.max, c.bytes = max, 0
	c.order, c.at = list.New(), map[mailKey]*list.Element{}
}

// filterKeyMax is the longest list of fields of which filtered headers are kept.
const filterKeyMax = 1 << 10

func keyOf(p *Snapshot, indexes []int, want mailWanted) mailKey {
	k := mailKey{p.mailbox.ID, want.MailWant, len(indexes), p.at(indexes[0]).blob, p.at(indexes[len(indexes)-1]).blob, ""}
	if want.filter != nil {
		k.filter = want.filter.Key()
	}
	return k
}

// get is the batch of exactly these entries; nil if it is not there. It must not be changed.
func (c *mailCache) get(p *Snapshot, indexes []int, want mailWanted) *mailRows {
	k := keyOf(p, indexes, want)
	c.mu.Lock()
	e := c.at[k]
	if e == nil {
		c.mu.Unlock()
		return nil
	}
	c.order.MoveToFront(e)
	b := e.Value.(*mailBatchKept)
	b.used = time.Now()
	c.mu.Unlock()
	for n, i := range indexes {
		if b.rows.rows[n].blob != p.at(i).blob {
			return nil
		}
	}
	return &b.rows
}

// put keeps a copy of the rows of these entries if they are all there.
func (c *mailCache) put(rows *mailRows, p *Snapshot, indexes []int, want mailWanted) {
	key := keyOf(p, indexes, want)
	if rows.cut || len(rows.arena) > c.max/4 || len(key.filter) > filterKeyMax {
		return
	}
	b := &mailBatchKept{key: key, rows: mailRows{want: mailWanted{want.MailWant, nil}, short: rows.short}}
	b.rows.rows = make([]mailAt, 0, len(indexes))
	size := 0
	for n, i := range indexes {
		r := rows.at(n, p.at(i).blob)
		if r == nil || want.MailWant&WantKeys != 0 && r.len[5] < 0 || want.MailWant&WantPreview != 0 && r.len[6] < 0 {
			return // what is not worked out yet may be in a moment
		}
		b.rows.rows = append(b.rows.rows, *r)
		size += r.size()
	}
	b.rows.arena = make([]byte, 0, size)
	for n := range b.rows.rows {
		r := &b.rows.rows[n]
		from := r.from
		r.from = len(b.rows.arena)
		b.rows.arena = append(b.rows.arena, rows.arena[from:from+r.size()]...)
	}
	c.keep(b)
}

// keep keeps a batch if there is room, or can be made: others give way to it, the longest unused first; but a mailbox does not push out what
// was just read of itself, for who walks over one that does not fit would find nothing of it the next time.
func (c *mailCache) keep(b *mailBatchKept) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.at[b.key]; e != nil {
		c.drop(e)
	}
	b.used = time.Now()
	for c.bytes+b.bytes() > c.max {
		last := c.order.Back()
		if last == nil {
			return
		}
		if l := last.Value.(*mailBatchKept); l.key.mailbox == b.key.mailbox && b.used.Sub(l.used) < mailRest {
			return
		}
		c.drop(last)
	}
	c.at[b.key] = c.order.PushFront(b)
	c.bytes += b.bytes()
}

func (c *mailCache) drop(e *list.Element) {
	b := c.order.Remove(e).(*mailBatchKept)
	delete(c.at, b.key)
	c.bytes -= b.bytes()
}
