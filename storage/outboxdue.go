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
	index int // in the pile of its account
}

func (i *dueItem) before(j *dueItem) bool {
	return i.due < j.due || i.due == j.due && i.domain < j.domain
}

func (i *dueItem) at(n int) { i.index = n }

// queued are an account's items, never none.
type queued struct {
	account int64
	items   pile[*dueItem]
	index   int // in the pile of accounts
}

func (q *queued) before(p *queued) bool { return q.items[0].due < p.items[0].due }

func (q *queued) at(n int) { q.index = n }

// outbox is what is known in memory of the queue: for each account and domain when the first of its waiting recipients is due, so that a worker finds what
// is due, of each account some, without reading what is not, however much that is; and how many messages there are. The table is the truth: what is here changes after each commit, in the order
// of the commits, and is read anew when the store is opened.
type outbox struct {
	changed chan struct{} // capacity 1: something may be due earlier than before

	mu      sync.Mutex
	byKey   map[dueKey]*dueItem
	queued  map[int64]*queued // by account
	first   pile[*queued]     // the account with what is due first is the first
	counts  map[int64]int     // queueUnits by account
	units   int               // all of them
	checked time.Time         // when leases that are over were looked for
	total   int               // messages
}

func (o *outbox) init() {
	o.changed = make(chan struct{}, 1)
	o.byKey, o.queued, o.counts = map[dueKey]*dueItem{}, map[int64]*queued{}, map[int64]int{}
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
	o.first.walk(func(q *queued) bool {
		if first != nil && q.items[0].due >= first.due {
			return false
		}
		if spent != nil && spent(q.account) {
			return true
		}
		q.items.walk(func(i *dueItem) bool {
			switch {
			case first != nil && i.due >= first.due:
				return false
			case busy == nil || !busy(i.domain):
				first = i
				return false
			}
			return true
		})
		return true
	})
	if first == nil {
		return time.Time{}, false
	}
	return unix(first.due), true
}

// dueTurn is a key that is due, and how many of its account and priority come before it.
type dueTurn struct {
	dueItem
	turn int
}

// due are keys that have something due at now and are not left out: the highest priority first; of those one of each account, then a second one of each, and so on, an
// account's own in the order in which they are due. There are at most most.
func (o *outbox) due(now int64, most int, r *LeaseRequest) []dueKey {
	found := o.candidates(now, max(most, 256), r)
	slices.SortFunc(found, func(a, b dueTurn) int {
		return cmp.Or(cmp.Compare(b.priority, a.priority), cmp.Compare(a.turn, b.turn), cmp.Compare(a.due, b.due), cmp.Compare(a.domain, b.domain), cmp.Compare(a.account, b.account))
	})
	keys := make([]dueKey, min(len(found), most))
	for i := range keys {
		keys[i] = found[i].dueKey
	}
	return keys
}

// candidates are what due chooses from: of each account at most limit, and of many accounts fewer of each, one at least.
func (o *outbox) candidates(now int64, limit int, r *LeaseRequest) (found []dueTurn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var accounts []*queued
	o.first.walk(func(q *queued) bool {
		if q.items[0].due > now {
			return false
		}
		if r.Spent == nil || !r.Spent(q.account) {
			accounts = append(accounts, q)
		}
		return true
	})
	limit = max(1, min(limit, 16*limit/max(1, len(accounts))))
	for _, q := range accounts {
		n, turns := 0, map[int]int{}
		q.items.walk(func(i *dueItem) bool {
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
	return found
}

// push adds an item.
func (o *outbox) push(k dueKey, due int64) {
	i := &dueItem{dueKey: k, due: due}
	o.byKey[k] = i
	if q := o.queued[k.account]; q != nil {
		heap.Push(&q.items, i)
		heap.Fix(&o.first, q.index)
		return
	}
	q := &queued{account: k.account, items: pile[*dueItem]{i}}
	o.queued[k.account] = q
	heap.Push(&o.first, q)
}

// move gives an item another time.
func (o *outbox) move(i *dueItem, due int64) {
	i.due = due
	q := o.queued[i.account]
	heap.Fix(&q.items, i.index)
	heap.Fix(&o.first, q.index)
}

// remove takes an item out.
func (o *outbox) remove(i *dueItem) {
	delete(o.byKey, i.dueKey)
	q := o.queued[i.account]
	if len(q.items) == 1 {
		delete(o.queued, i.account)
		heap.Remove(&o.first, q.index)
		return
	}
	heap.Remove(&q.items, i.index)
	heap.Fix(&o.first, q.index)
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
		o.move(i, due)
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
		o.move(i, due)
	default:
		o.remove(i)
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
