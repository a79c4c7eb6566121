package storage

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// dueKey is what waits for one domain with one priority.
type dueKey struct {
	domain   string
	priority int
}

// dueItem says when the first of them is due.
type dueItem struct {
	dueKey
	due   int64
	index int // in the heap
}

// outbox is what is known in memory of the queue: for each domain when the first of its waiting recipients is due, so that a worker finds what
// is due without reading what is not, however much that is; and how many messages there are. The table is the truth: what is here changes after each commit, in the order
// of the commits, and is read anew when the store is opened.
type outbox struct {
	changed chan struct{} // capacity 1: something may be due earlier than before

	mu      sync.Mutex
	byKey   map[dueKey]*dueItem
	heap    dueHeap
	counts  map[int64]int // queueUnits by account
	units   int           // all of them
	checked time.Time     // when leases that are over were looked for
	total   int           // messages
}

type dueHeap []*dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due < h[j].due }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push and Pop are heap.Interface's.
func (h *dueHeap) Push(x any) {
	i := x.(*dueItem)
	i.index = len(*h)
	*h = append(*h, i)
}

func (h *dueHeap) Pop() any {
	last := len(*h) - 1
	i := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return i
}

func (o *outbox) init() {
	o.changed = make(chan struct{}, 1)
	o.byKey, o.counts = map[dueKey]*dueItem{}, map[int64]int{}
}

func (o *outbox) hint() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// OutboxChanged is a hint, of capacity 1, that something is or will be due earlier than NextDue said before.
func (s *Store) OutboxChanged() <-chan struct{} { return s.outbox.changed }

// NextDue is when the first waiting recipient is due, of a domain that is not left out; false when none waits. busy must
// not use the store.
func (s *Store) NextDue(busy func(domain string) bool) (time.Time, bool) {
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	var first *dueItem
	o.walk(func(i *dueItem) bool {
		if busy == nil || !busy(i.domain) {
			first = i
		}
		return first == nil
	})
	if first == nil {
		return time.Time{}, false
	}
	return unix(first.due), true
}

// walk visits items in the order in which they are due, the first of them first, until fn returns false.
func (o *outbox) walk(fn func(*dueItem) bool) {
	if len(o.heap) == 0 {
		return
	}
	next := frontier{o.heap, append(make([]int, 0, 16), 0)}
	for len(next.at) > 0 {
		n := heap.Pop(&next).(int)
		if !fn(o.heap[n]) {
			return
		}
		for c := 2*n + 1; c <= 2*n+2 && c < len(o.heap); c++ {
			heap.Push(&next, c)
		}
	}
}

// frontier are the indexes of items that may be next: a heap of its own.
type frontier struct {
	items dueHeap
	at    []int
}

func (f *frontier) Len() int           { return len(f.at) }
func (f *frontier) Less(i, j int) bool { return f.items[f.at[i]].due < f.items[f.at[j]].due }
func (f *frontier) Swap(i, j int)      { f.at[i], f.at[j] = f.at[j], f.at[i] }

// Push and Pop are heap.Interface's.
func (f *frontier) Push(x any) { f.at = append(f.at, x.(int)) }

func (f *frontier) Pop() any {
	last := len(f.at) - 1
	n := f.at[last]
	f.at = f.at[:last]
	return n
}

// due are keys that have something due at now and are not busy, the highest priority first, of those the longest due; at most most, of the
// longest due ones, of which it looks at somewhat more.
func (o *outbox) due(now int64, most int, busy func(string) bool) []dueKey {
	o.mu.Lock()
	limit := max(4*most, 256)
	found := make([]dueItem, 0, min(limit, len(o.heap)))
	o.walk(func(i *dueItem) bool {
		if i.due > now || len(found) >= limit {
			return false
		}
		if busy == nil || !busy(i.domain) {
			found = append(found, *i)
		}
		return true
	})
	o.mu.Unlock()
	slices.SortFunc(found, func(a, b dueItem) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.due, b.due), cmp.Compare(a.domain, b.domain))
	})
	keys := make([]dueKey, min(len(found), most))
	for i := range keys {
		keys[i] = found[i].dueKey
	}
	return keys
}

// note says that something of the key is due at that time.
func (o *outbox) note(k dueKey, due int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.byKey[k]
	switch {
	case i == nil:
		i = &dueItem{dueKey: k, due: due}
		o.byKey[k] = i
		heap.Push(&o.heap, i)
	case due < i.due:
		i.due = due
		heap.Fix(&o.heap, i.index)
	}
}

// set says when the first of the key is due; there is false: none waits.
func (o *outbox) set(k dueKey, due int64, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.byKey[k]
	switch {
	case i == nil && there:
		i = &dueItem{dueKey: k, due: due}
		o.byKey[k] = i
		heap.Push(&o.heap, i)
	case i == nil:
	case there:
		i.due = due
		heap.Fix(&o.heap, i.index)
	default:
		delete(o.byKey, k)
		heap.Remove(&o.heap, i.index)
	}
}

// dueAt tells of something that waits, after the commit.
func (t *tx) dueAt(k dueKey, due int64) {
	t.after = append(t.after, func() {
		t.s.outbox.note(k, due)
		t.s.outbox.hint()
	})
}

func (o *outbox) readDue(q sqldb.Querier) error {
	rows, err := q.Query(`SELECT domain, priority, MIN(due) FROM outbox_recipient WHERE state = 'waiting' GROUP BY domain, priority`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k dueKey
		var due int64
		if err := rows.Scan(&k.domain, &k.priority, &due); err != nil {
			return err
		}
		o.note(k, due)
	}
	return rows.Err()
}

func (o *outbox) readCounts(q sqldb.Querier) error {
	rows, err := q.Query(`SELECT account, COUNT(*), SUM(1 + (last - id) / 10) FROM outbox GROUP BY account`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var account int64
		var n, units int
		if err := rows.Scan(&account, &n, &units); err != nil {
			return err
		}
		o.count(account, n, units)
	}
	return rows.Err()
}

// count adds n messages of an account, which are so many queueUnits.
func (o *outbox) count(account int64, n, units int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.total += n
	o.units += units
	if o.counts[account] += units; o.counts[account] <= 0 {
		delete(o.counts, account)
	}
}

// mayAdd tells whether n queueUnits more of an account are within the limits; account 0, the server, has no share of its own. Messages of one batch of the
// writer are not counted yet: the limits may be passed by those.
func (o *outbox) mayAdd(account int64, n, most, share int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return (most <= 0 || o.units+n <= most) && (account == 0 || share <= 0 || o.counts[account]+n <= share)
}

// QueueSize is how many messages are in the outbox.
func (s *Store) QueueSize() int {
	s.outbox.mu.Lock()
	defer s.outbox.mu.Unlock()
	return s.outbox.total
}
