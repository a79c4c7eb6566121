package resolve

import (
	"container/list"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// How long answers are kept at most, whatever they say themselves.
const (
	longest         = 24 * time.Hour
	longestNegative = 15 * time.Minute // RFC 2308 section 5: one to three hours are sensible; mail that waits for a repaired record wants less
)

// cache keeps answers until they expire, the least used go first when there are too many or they are too large.
type cache struct {
	max, maxBytes int
	now           func() time.Time

	mu      sync.Mutex
	entries map[question]*list.Element // of *entry
	used    *list.List                 // the last used first
	bytes   int
}

type entry struct {
	q       question
	a       *answer
	bytes   int
	expires time.Time
}

func newCache(max int, now func() time.Time) *cache {
	return &cache{max: max, maxBytes: max * 1024, now: now, entries: map[question]*list.Element{}, used: list.New()}
}

// get gives what is known of q, nil when nothing is.
func (c *cache) get(q question) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[q]
	if !ok {
		return nil
	}
	v := e.Value.(*entry)
	if !c.now().Before(v.expires) {
		c.drop(e)
		return nil
	}
	c.used.MoveToFront(e)
	return v.a
}

// put remembers an answer for its TTL. One that is larger than a sixteenth of the whole is not kept.
func (c *cache) put(q question, a *answer) {
	ttl := min(a.ttl, longest)
	if a.missing != present {
		ttl = min(ttl, longestNegative)
	}
	if ttl <= 0 {
		return
	}
	size := 128 + 2*len(q.name)
	for _, rr := range a.records {
		size += 64 + dns.Len(rr)
	}
	if size > c.maxBytes/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[q]; ok {
		c.drop(e)
	}
	c.entries[q] = c.used.PushFront(&entry{q, a, size, c.now().Add(ttl)})
	c.bytes += size
	for len(c.entries) > c.max || c.bytes > c.maxBytes {
		c.drop(c.used.Back())
	}
}

func (c *cache) drop(e *list.Element) {
	v := c.used.Remove(e).(*entry)
	delete(c.entries, v.q)
	c.bytes -= v.bytes
}
