package storage

import (
	"context"
	"sync"
	"time"
)

// Record is a line of the journal: what happened and is over (a session, an administrator's act). Bounded in number and age.
type Record struct {
	ID      int64
	At      time.Time
	Kind    string // "session", "account", ...
	Account int64  // 0: nobody's
	Subject string // e.g. the session's id
	Detail  []byte // JSON
}

// journalWaiting is how many records wait for the writer at most, and journalBatch how many go with one transaction.
const (
	journalWaiting = 4096
	journalBatch   = 256
)

// Records wait, so that many share a transaction: each transaction that has any changes three pages more. They go with a job's when they have waited for
// half of journalDelay or are no longer few, and by themselves after all of it.
const (
	journalDelay = 50 * time.Millisecond
	journalFew   = 64
)

// journal are the records that are not written yet.
type journal struct {
	hint    chan struct{} // capacity 1: there are some, and were none
	mu      sync.Mutex
	waiting []Record
	since   time.Time // when the first of them came
	dropped int64
	used    map[int64]int64 // passes that were used: when, in Unix seconds
}

func (j *journal) init() { j.hint = make(chan struct{}, 1) }

// Journal adds records; it may return before they are durable and drops (counting) under overload rather than wait.
func (s *Store) Journal(r Record) {
	if r.At.IsZero() {
		r.At = s.o.Now()
	}
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= journalWaiting {
		j.dropped++
		return
	}
	j.waiting = append(j.waiting, r)
	if len(j.waiting) == 1 {
		j.since = time.Now()
		j.wake()
	}
}

// wake tells the writer that there are records.
func (j *journal) wake() {
	select {
	case j.hint <- struct{}{}:
	default:
	}
}

// JournalDropped is how many records were dropped since the store was opened.
func (s *Store) JournalDropped() int64 {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return s.journal.dropped
}

// take gives records to the writer: when they have waited long enough, or now. What is left gives the hint again.
func (j *journal) take(now bool) []Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	n := min(len(j.waiting), journalBatch)
	if n == 0 {
		return nil
	}
	if !now && n < journalFew && time.Since(j.since) < journalDelay/2 {
		return nil
	}
	r := append([]Record(nil), j.waiting[:n]...)
	j.waiting = append(j.waiting[:0], j.waiting[n:]...)
	if len(j.waiting) > 0 {
		j.wake()
	}
	return r
}

func (j *journal) empty() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waiting) == 0 && len(j.used) == 0
}

func (t *tx) addRecords(all []Record) error {
	for _, r := range all {
		id, err := t.newID()
		if err != nil {
			return err
		}
		if r.Detail == nil {
			r.Detail = []byte("{}")
		}
		if err := t.exec(`INSERT INTO journal (id, at, kind, account, subject, detail) VALUES (?, ?, ?, ?, ?, ?)`,
			id, r.At.UnixMilli(), r.Kind, r.Account, r.Subject, r.Detail); err != nil {
			return err
		}
	}
	return nil
}

// Records are the latest of a kind first, at most limit; kind "" and account 0 mean all; before 0 means from the newest (paging by ID).
func (s *Store) Records(ctx context.Context, kind string, account int64, before int64, limit int) ([]Record, error) {
	if before <= 0 {
		before = 1<<63 - 1
	}
	query, args := `SELECT id, at, kind, account, subject, detail FROM journal WHERE id < ?`, []any{before}
	if kind != "" {
		query, args = query+` AND kind = ?`, append(args, kind)
	}
	if account != 0 {
		query, args = query+` AND account = ?`, append(args, account)
	}
	rows, err := s.db.Query(query+` ORDER BY id DESC LIMIT ?`, append(args, limit)...)
	if err != nil {
		return nil, fail("journal", err)
	}
	defer rows.Close()
	var all []Record
	for rows.Next() {
		var r Record
		var at int64
		if err := rows.Scan(&r.ID, &at, &r.Kind, &r.Account, &r.Subject, &r.Detail); err != nil {
			return nil, fail("journal", err)
		}
		r.At = time.UnixMilli(at)
		all = append(all, r)
	}
	return all, fail("journal", rows.Err())
}
