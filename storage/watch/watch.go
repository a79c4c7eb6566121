// Package watch carries change notices from whoever commits to whoever waits,
// inside one process. Levels, not edges: a notice is a hint to look at the truth
// again; a listener that falls behind is marked stale and re-reads, and nobody
// ever waits for it.
//
// Who publishes has better things to do than to wake a thousand listeners, and a thousand that wake at once keep it from the processor: beyond a
// few they are woken by and by (see Hub.Start).
package watch

import (
	"context"
	"sync"
)

// Kind of a change.
type Kind uint8

// The kinds.
const (
	Appended       Kind = iota + 1 // messages came (delivery, APPEND, COPY, MOVE): UIDs
	Flagged                        // flags or keywords changed: UIDs
	Expunged                       // messages went: UIDs
	NodePut                        // a file or folder was made or replaced: Node
	NodeGone                       // a file or folder was removed: Node
	NodeMoved                      // renamed or moved
	Mailboxes                      // the set of mailboxes, their names or subscriptions changed
	AccountChanged                 // quota, aliases, credentials, enabled
	Annotated                      // an annotation of a mailbox or, with Mailbox 0, of the server: of Account's, or seen by it alone
)

// Change is one committed fact. Once published nothing of it is changed, as listeners share UIDs.
type Change struct {
	Account int64
	Mailbox int64 // 0 when not of a mailbox
	Node    int64 // file or folder; 0 when not of one
	Kind    Kind
	ModSeq  uint64
	UIDs    []uint32 // at most 64 are named, ascending; More tells that there are more
	More    bool
	By      any // who did it (see WithOrigin); nil: nobody who said so
}

type originKey struct{}

// WithOrigin marks what is done under ctx as done by that one, so that it can tell its own changes. by must be comparable.
func WithOrigin(ctx context.Context, by any) context.Context {
	return context.WithValue(ctx, originKey{}, by)
}

// Origin is what WithOrigin was told, or nil.
func Origin(ctx context.Context) any { return ctx.Value(originKey{}) }

// Topic is what a listener wants to hear of. Account 0 means all accounts; Mailbox 0 all of the account.
type Topic struct {
	Account int64
	Mailbox int64
}

// Hub fans changes out. The zero value is usable. Its methods and those of its Subscriptions may be called from any goroutine.
//
// Subscriptions hang in one list a topic, so that a change costs four lookups and those who listen to it, however many
// listen to something else.
type Hub struct {
	mu     sync.Mutex
	topics map[Topic]*Subscription // first of the list
	turn   uint64                  // counts Publish, so that each subscription is woken once
	pace   *pace                   // nil: who publishes wakes all
}

// wakes are lists of those to wake, kept between calls of Publish.
var wakes = sync.Pool{New: func() any { return new([]*Subscription) }}

// Publish tells all who subscribed to it, now or, where there are many, within tens of milliseconds. It is called once a commit,
// by package storage, after its snapshots are up to date. It never blocks.
func (h *Hub) Publish(changes []Change) {
	list := wakes.Get().(*[]*Subscription)
	due := h.due((*list)[:0], changes)
	// Outside the lock: a wake that breaks the rule and calls the Hub shall not stop everybody.
	for _, s := range due {
		s.wake()
	}
	clear(due)
	*list = due[:0]
	wakes.Put(list)
}

// due hands the changes to those who keep them and appends to list those whose wake must be called.
func (h *Hub) due(list []*Subscription, changes []Change) []*Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.topics) == 0 {
		return list
	}
	h.turn++
	for i := range changes {
		c := &changes[i]
		topics := [4]Topic{{c.Account, c.Mailbox}, {c.Account, 0}, {0, c.Mailbox}, {0, 0}}
		for j, t := range topics {
			if (j == 1 || j == 3) && c.Mailbox == 0 || j >= 2 && c.Account == 0 {
				continue // the same topic as one before
			}
			for s := h.topics[t]; s != nil; s = s.next {
				if s.keep > 0 {
					s.put(*c)
				}
				if s.turn != h.turn && s.wake != nil {
					s.turn = h.turn
					if h.pace != nil && (s.waits || len(list) >= prompt) {
						h.pace.put(s)
					} else {
						list = append(list, s)
					}
				}
			}
		}
	}
	return list
}

// Subscribe calls wake after each Publish that holds a change of t, once for several that come fast. wake runs in the
// publisher's goroutine or the Hub's and must neither block nor call the Hub; nil for one who asks by Take alone. A Subscription
// with keep > 0 also keeps the last keep changes for Take; with 0 it costs nothing but its entry.
func (h *Hub) Subscribe(t Topic, keep int, wake func()) *Subscription {
	s := &Subscription{hub: h, topic: t, keep: max(keep, 0), wake: wake}
	if s.keep > 0 {
		s.backlog = &backlog{}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.topics == nil {
		h.topics = make(map[Topic]*Subscription)
	}
	if first := h.topics[t]; first != nil {
		s.next, first.prev = first, s
	}
	h.topics[t] = s
	return s
}

// Subscription of one listener.
type Subscription struct {
	hub   *Hub
	topic Topic
	keep  int
	wake  func()

	// Under hub.mu: the list of the topic, and the last Publish that woke it.
	prev, next *Subscription
	turn       uint64
	closed     bool
	waits      bool // it is in the Hub's pace

	*backlog // nil when keep is 0
}

// backlog is what a Subscription keeps.
type backlog struct {
	mu    sync.Mutex
	kept  []Change // at most keep; when full a ring that begins at first
	first int
	stale bool
}

// put keeps c, at the cost of the oldest when there is no room.
func (s *Subscription) put(c Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.kept) < s.keep {
		s.kept = append(s.kept, c)
		return
	}
	s.stale = true
	s.kept[s.first] = c
	s.first = (s.first + 1) % s.keep
}

// Take returns and forgets what was kept, oldest first; stale when some was dropped because there was more than keep: re-read.
func (s *Subscription) Take() (changes []Change, stale bool) {
	if s.keep == 0 {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, stale = s.kept, s.stale
	if s.first > 0 {
		changes = make([]Change, 0, len(s.kept))
		changes = append(changes, s.kept[s.first:]...)
		changes = append(changes, s.kept[:s.first]...)
	}
	s.kept, s.first, s.stale = nil, 0, false
	return changes, stale
}

// Close ends it; a second time it does nothing. A wake that runs meanwhile may still return after Close.
func (s *Subscription) Close() {
	h := s.hub
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.next != nil {
		s.next.prev = s.prev
	}
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.next != nil:
		h.topics[s.topic] = s.next
	default:
		delete(h.topics, s.topic)
	}
	s.prev, s.next = nil, nil
}
