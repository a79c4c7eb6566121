package storage

import (
	"context"
	"fmt"
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
// A target that is refused harms neither the others nor the outbox. ErrInvalid for a recipient that is no address.
func (s *Store) Enqueue(ctx context.Context, u *Upload, out Outgoing, targets []Target) ([]Appended, error) {
	domains := make([]string, len(out.Recipients))
	for i, r := range out.Recipients {
		_, d, err := ParseAddress(r.Address)
		if err != nil {
			return nil, fail("enqueue", err)
		}
		domains[i] = d
	}
	if len(domains) == 0 {
		return s.Deliver(ctx, u, targets)
	}
	if err := u.Prepare(ctx); err != nil {
		return nil, fail("enqueue", err)
	}
	var res []Appended
	err := s.do(ctx, func(t *tx) (err error) {
		res, err = t.enqueue(u, out, domains, targets)
		return err
	})
	if err != nil {
		return nil, fail("enqueue", err)
	}
	u.taken()
	return res, nil
}

func (t *tx) enqueue(u *Upload, out Outgoing, domains []string, targets []Target) ([]Appended, error) {
	if _, err := t.account(out.Account); err != nil && out.Account != 0 {
		return nil, fmt.Errorf("sender: %w", err)
	}
	blob, err := t.putBlob(u)
	if err != nil {
		return nil, err
	}
	id, err := t.newID()
	if err != nil {
		return nil, err
	}
	if err := t.exec(`INSERT INTO outbox (id, account, sender, envelope_id, ret, blob, size, created) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		id, out.Account, out.From, out.EnvelopeID, out.Return, blob, u.size, t.now()); err != nil {
		return nil, err
	}
	for i, r := range out.Recipients {
		rid, err := t.newID()
		if err != nil {
			return nil, err
		}
		due := t.now()
		if !r.Due.IsZero() {
			due = r.Due.Unix()
		}
		if err := t.exec(`INSERT INTO outbox_recipient (id, outbox, address, domain, notify, original, state, due, attempts, owner, lease, reply)
			VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, 0, '', 0, '')`, rid, id, r.Address, domains[i], r.Notify, r.Original, due); err != nil {
			return nil, err
		}
	}
	return t.appendAll(u.size, blob, 1, targets)
}
