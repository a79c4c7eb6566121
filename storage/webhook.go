package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// The events that a webhook can be told of.
const (
	EventAccepted   = "accepted"   // a message was taken into the queue
	EventDelivered  = "delivered"  // a recipient's next server took it; relayed and expanded count as it
	EventDeferred   = "deferred"   // an attempt failed, another will follow
	EventFailed     = "failed"     // given up
	EventSuppressed = "suppressed" // not sent, because the address is on the suppression list
)

// Event is what a webhook is told: one thing that happened to one recipient, or the acceptance of one message.
type Event struct {
	ID       int64           // grows; the same when it is told again
	At       time.Time       // when it happened, to the millisecond
	Kind     string          // EventAccepted, ...
	Queue    string          // the id that the 250 named
	Body     json.RawMessage // the eventBody
	Attempts int             // before this one
}

// eventBody is what an event says, as JSON.
type eventBody struct {
	ID         int64    `json:"id"`
	Event      string   `json:"event"`
	At         string   `json:"at"` // RFC 3339, UTC, with milliseconds
	Queue      string   `json:"queue"`
	Account    int64    `json:"account,omitempty"`
	From       string   `json:"from"`
	Recipient  string   `json:"recipient,omitempty"`
	Recipients []string `json:"recipients,omitempty"` // of accepted; at most 100
	Count      int      `json:"count,omitempty"`      // of accepted: of recipients
	EnvelopeID string   `json:"envelope_id,omitempty"`
	Size       int64    `json:"size,omitempty"`
	Status     string   `json:"status,omitempty"`
	Reply      string   `json:"reply,omitempty"`
	Remote     string   `json:"remote,omitempty"`
	Due        string   `json:"due,omitempty"` // of deferred: the next attempt
}

// events is what is known in memory of them.
type events struct {
	changed chan struct{} // capacity 1: there are new ones
	waiting atomic.Int64
	dropped atomic.Int64
}

// add counts n events more, or fewer.
func (e *events) add(n int) {
	e.waiting.Add(int64(n))
	if n <= 0 {
		return
	}
	select {
	case e.changed <- struct{}{}:
	default:
	}
}

// eventTime is a time as events tell it.
func eventTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// wants tells whether events of a kind are written.
func (s *Store) wants(kind string) bool { return slices.Contains(s.o.Events, kind) }

// putEvent adds an event. When EventsMax wait already it is dropped, and counted.
func (t *tx) putEvent(b eventBody) error {
	if t.s.events.waiting.Load() >= int64(t.s.o.EventsMax) {
		t.s.events.dropped.Add(1)
		return nil
	}
	id, err := t.newID()
	if err != nil {
		return err
	}
	now := t.s.o.Now()
	b.ID, b.At = id, eventTime(now)
	body, err := json.Marshal(b)
	if err != nil {
		return err
	}
	t.after = append(t.after, func() { t.s.events.add(1) })
	return t.exec(`INSERT INTO webhook_event (id, at, kind, queue, body, due, attempts, reply) VALUES (?, ?, ?, ?, ?, ?, 0, '')`, id, now.UnixMilli(), b.Event, b.Queue, body, now.Unix())
}

// Arrival is what is known of a message that a client or another server handed in.
type Arrival struct {
	Queue      string // the id that the 250 names
	Account    int64  // who sent it; 0: somebody outside
	From       string
	EnvelopeID string
	Recipients []string
}

// Arrived lets Enqueue tell the webhook of the message as a whole: that it was accepted, for these recipients, and that it was delivered to the targets. Without it
// each Outgoing is told by itself.
func (u *Upload) Arrived(a Arrival) {
	if len(u.s.o.Events) > 0 {
		u.arrival = &a
	}
}

// tellArrival writes the events of a message that was taken.
func (t *tx) tellArrival(a *Arrival, size int64, targets []Target) error {
	if t.s.wants(EventAccepted) {
		b := eventBody{Event: EventAccepted, Queue: a.Queue, Account: a.Account, From: a.From, EnvelopeID: a.EnvelopeID, Size: size, Count: len(a.Recipients),
			Recipients: a.Recipients[:min(len(a.Recipients), 100)]}
		if err := t.putEvent(b); err != nil {
			return err
		}
	}
	if !t.s.wants(EventDelivered) {
		return nil
	}
	for _, g := range targets {
		to, err := t.account(g.Account)
		if err != nil {
			return err
		}
		if err := t.putEvent(eventBody{Event: EventDelivered, Queue: a.Queue, Account: a.Account, From: a.From, Recipient: to.Name, Status: "2.0.0"}); err != nil {
			return err
		}
	}
	return nil
}

// tellAccepted writes the event of a message that was taken.
func (t *tx) tellAccepted(l letter, size int64) error {
	if !t.s.wants(EventAccepted) {
		return nil
	}
	b := eventBody{Event: EventAccepted, Queue: l.Queue, Account: l.Account, From: l.From, EnvelopeID: l.EnvelopeID, Size: size, Count: len(l.Recipients)}
	for _, r := range l.Recipients[:min(len(l.Recipients), 100)] {
		b.Recipients = append(b.Recipients, r.Address)
	}
	return t.putEvent(b)
}

// tellSettled writes the event of an outcome.
func (t *tx) tellSettled(w *settled) error {
	kind := EventDelivered
	switch {
	case w.State == Deferred:
		kind = EventDeferred
	case w.State == Failed && w.Suppressed:
		kind = EventSuppressed
	case w.State == Failed:
		kind = EventFailed
	}
	if !t.s.wants(kind) {
		return nil
	}
	b := eventBody{Event: kind, Queue: w.queue, Account: w.account, From: w.sender, Recipient: w.address, Status: w.Status, Reply: cut(w.Reply, replyMax), Remote: w.Remote}
	if w.State == Deferred {
		b.Due = eventTime(w.Due)
	}
	return t.putEvent(b)
}

// DropEvents gives up events from before a time, and tells how many there were.
func (s *Store) DropEvents(ctx context.Context, before time.Time) (total int, err error) {
	err = s.untilDone(ctx, func(t *tx) (bool, error) {
		n, err := t.db.Changed(`DELETE FROM webhook_event WHERE id IN (SELECT id FROM webhook_event WHERE at < ? ORDER BY id LIMIT ?)`, before.UnixMilli(), sweepStep)
		t.wrote = t.wrote || n > 0
		total += int(n)
		t.after = append(t.after, func() { t.s.events.add(-int(n)) })
		return n == sweepStep, err
	})
	return total, fail("drop events", err)
}

// NextEvents are events that are due, in the order in which they happened, at most max; next says when the next is due if there is none now, zero when there is none at all.
// Events of one queue id that wait for another attempt hold back those behind them.
func (s *Store) NextEvents(ctx context.Context, max int) (due []Event, next time.Time, err error) {
	if s.events.waiting.Load() == 0 {
		return nil, time.Time{}, nil
	}
	now := s.o.Now().Unix()
	rows, err := s.db.Query(`SELECT id, at, kind, queue, body, attempts FROM webhook_event e WHERE due <= ?
		AND NOT EXISTS (SELECT 1 FROM webhook_event b WHERE b.queue = e.queue AND b.id < e.id AND b.attempts > 0 AND b.due > ?) ORDER BY id LIMIT ?`, now, now, max)
	if err != nil {
		return nil, time.Time{}, fail("events", err)
	}
	defer rows.Close()
	for rows.Next() {
		var e Event
		var at int64
		if err := rows.Scan(&e.ID, &at, &e.Kind, &e.Queue, &e.Body, &e.Attempts); err != nil {
			return nil, time.Time{}, fail("events", err)
		}
		e.At = time.UnixMilli(at)
		due = append(due, e)
	}
	if err := rows.Err(); err != nil || len(due) > 0 {
		return due, time.Time{}, fail("events", err)
	}
	var first int64
	if err := s.db.Row(`SELECT COALESCE(MIN(due), 0) FROM webhook_event WHERE due > ?`, now).Scan(&first); err != nil {
		return nil, time.Time{}, fail("events", err)
	}
	if first > 0 {
		next = unix(first)
	}
	return nil, next, nil
}

// EventOutcome is what became of telling an event.
type EventOutcome struct {
	ID    int64
	Done  bool      // taken, or given up: the row goes
	Due   time.Time // else: when it is told again
	Reply string    // why it was not taken
}

// SettleEvents says what became of events. It need not be on disk when it returns: after a failure of the machine an event may be told once more.
func (s *Store) SettleEvents(ctx context.Context, all []EventOutcome) error {
	err := s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		gone := 0
		for _, o := range all {
			if !o.Done {
				if err := t.exec(`UPDATE webhook_event SET due = ?, attempts = attempts + 1, reply = ? WHERE id = ?`, o.Due.Unix(), oneLine(cut(o.Reply, replyMax)), o.ID); err != nil {
					return err
				}
				continue
			}
			t.wrote = true
			n, err := t.db.Changed(`DELETE FROM webhook_event WHERE id = ?`, o.ID)
			if err != nil {
				return err
			}
			gone += int(n)
		}
		t.after = append(t.after, func() { t.s.events.add(-gone) })
		return nil
	}})
	return fail("settle events", err)
}

// EventCounts are how many events wait, and how many were dropped since the store was opened because too many waited.
func (s *Store) EventCounts() (waiting, dropped int64) {
	return s.events.waiting.Load(), s.events.dropped.Load()
}

// EventsChanged is a hint, of capacity 1, that there are new events.
func (s *Store) EventsChanged() <-chan struct{} { return s.events.changed }

// readEvents counts those that wait.
func (s *Store) readEvents() error {
	s.events.changed = make(chan struct{}, 1)
	var n int64
	if err := s.db.Row(`SELECT COUNT(*) FROM webhook_event`).Scan(&n); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	s.events.waiting.Store(n)
	return nil
}
