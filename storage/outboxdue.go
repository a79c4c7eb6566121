package storage

import (
	"cmp"
	"container/heap"
	"slices"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// dueKey is what waits of one account for one domain with one priority.
type dueKey struct {
	account  int64
	domain   string
	priority int
}

// dueItem says when the first of them is due.
type dueItem struct {
	dueKey
	due   int64
	index int // in the heap of its account
}

// outbox is what is known in memory of the queue: for each account and domain when the first of its waiting recipients is due, so that a worker finds what
// is due, of each account some, without reading what is not, however much that is; and how many messages there are. The table is the truth: what is here changes after each commit, in the order
// of the commits, and is read anew when the store is opened.
type outbox struct {
	changed chan struct{} // capacity 1: something may be due earlier than before

	mu      sync.Mutex
	byKey   map[dueKey]*dueItem
	heaps   map[int64]*dueHeap // by account; none is empty
	counts  map[int64]int      // queueUnits by account
	units   int                // all of them
	checked time.Time          // when leases that are over were looked for
	total   int                // messages
}

// before is the order within an account.
func (i *dueItem) before(j *dueItem) bool {
	return i.due < j.due || i.due == j.due && i.domain < j.domain
}

type dueHeap []*dueItem

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].before(h[j]) }
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
	o.byKey, o.heaps, o.counts = map[dueKey]*dueItem{}, map[int64]*dueHeap{}, map[int64]int{}
}

func (o *outbox) hint() {
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// OutboxChanged is a hint, of capacity 1, that something is or will be due earlier than NextDue said before.
func (s *Store) OutboxChanged() <-chan struct{} { return s.outbox.changed }

// NextDue is when the first waiting recipient is due, of a domain and an account that are not left out (LeaseRequest); false when none waits. busy and spent must
// not use the store; nil leaves none out.
func (s *Store) NextDue(busy func(domain string) bool, spent func(account int64) bool) (time.Time, bool) {
	o := &s.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	var first *dueItem
	for account, h := range o.heaps {
		if first != nil && (*h)[0].due >= first.due || spent != nil && spent(account) {
			continue
		}
		h.walk(func(i *dueItem) bool {
			switch {
			case first != nil && i.due >= first.due:
				return false
			case busy == nil || !busy(i.domain):
				first = i
				return false
			}
			return true
		})
	}
	if first == nil {
		return time.Time{}, false
	}
	return unix(first.due), true
}

// walk visits items in the order in which they are due, the first of them first, until fn returns false.
func (h dueHeap) walk(fn func(*dueItem) bool) {
	if len(h) == 0 {
		return
	}
	next := frontier{h, append(make([]int, 0, 16), 0)}
	for len(next.at) > 0 {
		n := heap.Pop(&next).(int)
		if !fn(h[n]) {
			return
		}
		for c := 2*n + 1; c <= 2*n+2 && c < len(h); c++ {
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
func (f *frontier) Less(i, j int) bool { return f.items[f.at[i]].before(f.items[f.at[j]]) }
func (f *frontier) Swap(i, j int)      { f.at[i], f.at[j] = f.at[j], f.at[i] }

// Push and Pop are heap.Interface's.
func (f *frontier) Push(x any) { f.at = append(f.at, x.(int)) }

func (f *frontier) Pop() any {
	last := len(f.at) - 1
	n := f.at[last]
	f.at = f.at[:last]
	return n
}

// dueTurn is a key that is due, and how many of its account and priority come before it.
type dueTurn struct {
	dueItem
	turn int
}

// due are keys that have something due at now and are not left out: the highest priority first; of those one of each account, then a second one of each, and so on, an
// account's own in the order in which they are due. There are at most most; of each account somewhat more are looked at.
func (o *outbox) due(now int64, most int, r *LeaseRequest) []dueKey {
	limit := max(most, 256)
	var found []dueTurn
	o.mu.Lock()
	for account, h := range o.heaps {
		if (*h)[0].due > now || r.Spent != nil && r.Spent(account) {
			continue
		}
		n, turns := 0, map[int]int{}
		h.walk(func(i *dueItem) bool {
			if i.due > now || n >= limit {
				return false
			}
			if r.Busy == nil || !r.Busy(i.domain) {
				found = append(found, dueTurn{*i, turns[i.priority]})
				turns[i.priority]++
				n++
			}
			return true
		})
	}
	o.mu.Unlock()
	slices.SortFunc(found, func(a, b dueTurn) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.turn, b.turn), cmp.Compare(a.due, b.due), cmp.Compare(a.domain, b.domain), cmp.Compare(a.account, b.account))
	})
	keys := make([]dueKey, min(len(found), most))
	for i := range keys {
		keys[i] = found[i].dueKey
	}
	return keys
}

// push adds an item to the heap of its account.
func (o *outbox) push(k dueKey, due int64) {
	i := &dueItem{dueKey: k, due: due}
	o.byKey[k] = i
	h := o.heaps[k.account]
	if h == nil {
		h = &dueHeap{}
		o.heaps[k.account] = h
	}
	heap.Push(h, i)
}

// note says that something of the key is due at that time.
func (o *outbox) note(k dueKey, due int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.byKey[k]
	switch {
	case i == nil:
		o.push(k, due)
	case due < i.due:
		i.due = due
		heap.Fix(o.heaps[k.account], i.index)
	}
}

// set says when the first of the key is due; there is false: none waits.
func (o *outbox) set(k dueKey, due int64, there bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.byKey[k]
	switch {
	case i == nil && there:
		o.push(k, due)
	case i == nil:
	case there:
		i.due = due
		heap.Fix(o.heaps[k.account], i.index)
	default:
		h := o.heaps[k.account]
		delete(o.byKey, k)
		if heap.Remove(h, i.index); h.Len() == 0 {
			delete(o.heaps, k.account)
		}
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
	rows, err := q.Query(`SELECT account, domain, priority, MIN(due) FROM outbox_recipient WHERE state = 'waiting' GROUP BY domain, priority, account`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var k dueKey
		var due int64
		if err := rows.Scan(&k.account, &k.domain, &k.priority, &due); err != nil {
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
