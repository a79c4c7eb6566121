package storage

import (
	"context"
	"time"
)

// Outgoing is a message that must leave, for one or more recipients of foreign domains.
type Outgoing struct {
	Account    int64
	From       string // envelope sender, "" is the null sender
	EnvelopeID string // DSN ENVID (RFC 3461)
	Return     string // DSN RET: "FULL", "HDRS" or ""
	Recipients []OutgoingRecipient
}

// OutgoingRecipient is one of them.
type OutgoingRecipient struct {
	Address  string
	Notify   string // DSN NOTIFY
	Original string // DSN ORCPT
	Due      time.Time
}

// Enqueue puts a message into the outbox and delivers it to local targets in the same transaction. The worker that drains the outbox comes later.
func (s *Store) Enqueue(ctx context.Context, u *Upload, out Outgoing, targets []Target) ([]Appended, error) {
	panic("stub")
}
