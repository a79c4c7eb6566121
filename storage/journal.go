package storage

import (
	"context"
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

// Journal adds records; it may return before they are durable and drops (counting) under overload rather than wait.
func (s *Store) Journal(r Record) { panic("stub") }

// Records are the latest of a kind first, at most limit; account 0 means all; before 0 means from the newest (paging by ID).
func (s *Store) Records(ctx context.Context, kind string, account int64, before int64, limit int) ([]Record, error) {
	panic("stub")
}
