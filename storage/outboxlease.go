package storage

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"
)

// LeaseRequest says what a worker can take.
type LeaseRequest struct {
	Owner     string                   // who takes it
	For       time.Duration            // how long, unless ExtendLease; 0 means 10 minutes
	Max       int                      // recipients; 0 means 100
	PerDomain int                      // of one domain and priority, some of each account that has any; 0 means Max
	Busy      func(domain string) bool // domains to leave; it must be quick and not use the store; nil: none
	Spent     func(account int64) bool // accounts to leave, likewise
}

// Leased is a recipient that a worker has taken, with what it must know of the message.
type Leased struct {
	ID, Outbox                        int64 // of the recipient, of the message
	Queue                             string
	Account                           int64
	From                              string
	Address, Domain                   string // Domain is lowercase, in A-labels
	EnvelopeID, Return                string
	Notify, Original                  string
	UTF8, RequireTLS                  bool
	Seal                              bool
	Priority                          int
	ByMode                            string
	By                                time.Time // zero without ByMode
	Attempts                          int       // before this one
	Created                           time.Time // when the message was taken
	Tried                             time.Time // the last attempt; zero: there was none
	Delayed                           bool      // the sender was told of the delay
	Blob, Size                        int64
	LastReply, LastStatus, LastRemote string // of the last attempt

	// Verdict is not "" for a recipient that must fail without an attempt: why, in words for the sender. VerdictStatus is the status to give (RFC 3463).
	Verdict, VerdictStatus string
	Suppressed             bool // the verdict is that of the suppression list; to be said in Outcome
}

// leaseCheck is how often leases that are over are looked for.
const leaseCheck = 5 * time.Second

const leasedColumns = `r.id, r.outbox, r.address, r.domain, r.notify, r.original, r.priority, r.due, r.attempts, r.tried, r.delayed, r.reply, r.status, r.remote, r.verdict,
	o.queue, o.account, o.sender, o.envelope_id, o.ret, o.utf8, o.require_tls, o.seal, o.by_mode, o.deadline, o.created, o.blob, o.size`

const leaseWhere = ` FROM outbox_recipient r JOIN outbox o ON o.id = r.outbox WHERE r.state = 'waiting' AND r.domain = ? AND r.priority = ? AND r.account = ? AND r.due <= ? ORDER BY r.due, r.id LIMIT ?`

// Lease takes recipients that are due, the highest priority first and of those some of each account, an account's own in the order in which they are due: who sends much does not keep
// others waiting. What it gives is sorted by domain and message. It costs what it gives, not what
// waits. It need not be on disk: when the machine fails, what was leased waits again, as after a crash. A lease that is over waits again too, so that a worker
// must extend one that takes long, or somebody else delivers a second time.
func (s *Store) Lease(ctx context.Context, r LeaseRequest) ([]Leased, error) {
	def(&r.For, 10*time.Minute)
	def(&r.Max, 100)
	def(&r.PerDomain, r.Max)
	if err := s.expireLeases(ctx); err != nil {
		return nil, fail("lease", err)
	}
	keys := s.outbox.due(s.o.Now().Unix(), r.Max, &r)
	if len(keys) == 0 {
		return nil, nil
	}
	share := map[dueKey]int{} // how many keys a domain and priority has
	for _, k := range keys {
		share[dueKey{0, k.domain, k.priority}]++
	}
	var all []Leased
	err := s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		all = all[:0]
		for _, k := range keys {
			n := min(r.Max-len(all), max(1, r.PerDomain/share[dueKey{0, k.domain, k.priority}]))
			if n <= 0 {
				break
			}
			some, err := t.lease(k, n, &r)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
		return t.condemn(all)
	}})
	if err != nil {
		return nil, fail("lease", err)
	}
	slices.SortStableFunc(all, func(a, b Leased) int {
		return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Outbox, b.Outbox), cmp.Compare(a.ID, b.ID))
	})
	return all, nil
}

// lease takes at most n of a key.
func (t *tx) lease(k dueKey, n int, r *LeaseRequest) ([]Leased, error) {
	now := t.now()
	rows, err := t.db.Query(`SELECT `+leasedColumns+leaseWhere, k.domain, k.priority, k.account, now, n)
	if err != nil {
		return nil, err
	}
	all, err := readLeased(rows)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	until := t.s.o.Now().Add(r.For).Unix()
	if len(all) == 1 {
		err = t.exec(`UPDATE outbox_recipient SET state = 'leased', owner = ?, lease = ? WHERE id = ?`, r.Owner, until, all[0].ID)
	} else {
		err = t.exec(`UPDATE outbox_recipient SET state = 'leased', owner = ?, lease = ? WHERE id IN (SELECT r.id`+leaseWhere+`)`, r.Owner, until, k.domain, k.priority, k.account, now, n)
	}
	if err != nil {
		return nil, err
	}
	return all, t.look(k)
}

// look finds out when the first of a key is due now.
func (t *tx) look(k dueKey) error {
	var first sql.NullInt64
	if err := t.db.Row(`SELECT MIN(due) FROM outbox_recipient WHERE state = 'waiting' AND domain = ? AND priority = ? AND account = ?`, k.domain, k.priority, k.account).Scan(&first); err != nil {
		return err
	}
	t.after = append(t.after, func() { t.s.outbox.set(k, first.Int64, first.Valid) })
	return nil
}

func readLeased(rows *sql.Rows) (all []Leased, err error) {
	defer rows.Close()
	for rows.Next() {
		var l Leased
		var due int64
		if err := scanLeased(rows, &l, &due); err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return all, rows.Err()
}

// scanLeased reads leasedColumns, and more.
func scanLeased(rows *sql.Rows, l *Leased, due *int64, more ...any) error {
	var tried, deadline, created int64
	all := []any{&l.ID, &l.Outbox, &l.Address, &l.Domain, &l.Notify, &l.Original, &l.Priority, due, &l.Attempts, &tried, &l.Delayed, &l.LastReply, &l.LastStatus, &l.LastRemote, &l.Verdict,
		&l.Queue, &l.Account, &l.From, &l.EnvelopeID, &l.Return, &l.UTF8, &l.RequireTLS, &l.Seal, &l.ByMode, &deadline, &created, &l.Blob, &l.Size}
	if err := rows.Scan(append(all, more...)...); err != nil {
		return err
	}
	l.Created = unix(created)
	if tried != 0 {
		l.Tried = unix(tried)
	}
	if l.ByMode != "" {
		l.By = unix(deadline)
	}
	return nil
}

// condemn gives verdicts: those of an administrator are in the rows, those of suppressed addresses are looked up.
func (t *tx) condemn(all []Leased) error {
	for i := range all {
		l := &all[i]
		if l.Verdict != "" {
			l.VerdictStatus = "5.7.0"
			continue
		}
		why, err := t.suppressed(l.Address)
		if err != nil {
			return err
		}
		if why != "" {
			l.Verdict, l.VerdictStatus, l.Suppressed = why, "5.1.0", true
		}
	}
	return nil
}

// expireLeases makes what was leased for too long wait again.
func (s *Store) expireLeases(ctx context.Context) error {
	now := s.o.Now()
	s.outbox.mu.Lock()
	last := s.outbox.checked
	if now.Sub(last) < leaseCheck && !now.Before(last) {
		s.outbox.mu.Unlock()
		return nil
	}
	s.outbox.checked = now
	s.outbox.mu.Unlock()
	var over bool
	if err := s.db.Row(`SELECT EXISTS (SELECT 1 FROM outbox_recipient WHERE state = 'leased' AND lease <= ?)`, now.Unix()).Scan(&over); err != nil || !over {
		return err
	}
	return s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		return t.unlease(`SELECT id, account, domain, priority, due FROM outbox_recipient WHERE state = 'leased' AND lease <= ?`, t.now())
	}})
}

// unlease makes the rows of a query wait again.
func (t *tx) unlease(query string, args ...any) error {
	type row struct {
		dueKey
		id, due int64
	}
	rows, err := t.db.Query(query, args...)
	if err != nil {
		return err
	}
	var all []row
	for rows.Next() {
		var r row
		if err := rows.Scan(&r.id, &r.account, &r.domain, &r.priority, &r.due); err != nil {
			rows.Close()
			return err
		}
		all = append(all, r)
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return err
	}
	for _, r := range all {
		if err := t.exec(`UPDATE outbox_recipient SET state = 'waiting', owner = '', lease = 0 WHERE id = ?`, r.id); err != nil {
			return err
		}
		t.dueAt(r.dueKey, r.due)
	}
	return nil
}

// ReleaseLeases makes what a worker has leased wait again: at its start what it left when it ended, or crashed. owner "" is whoever it was.
func (s *Store) ReleaseLeases(ctx context.Context, owner string) error {
	err := s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		return t.unlease(`SELECT id, account, domain, priority, due FROM outbox_recipient WHERE state = 'leased' AND (? = '' OR owner = ?)`, owner, owner)
	}})
	return fail("release leases", err)
}

// ExtendLease gives leases of the owner until so long from now. It tells which of them are still the owner's: what is not there was dropped, held or
// leased by somebody else, and must not be sent any more if that can be helped.
func (s *Store) ExtendLease(ctx context.Context, owner string, d time.Duration, ids []int64) (kept []int64, err error) {
	err = s.done(&job{ctx: ctx, relaxed: true, run: func(t *tx) error {
		kept = kept[:0]
		until := t.s.o.Now().Add(d).Unix()
		for _, id := range ids {
			n, err := t.db.Changed(`UPDATE outbox_recipient SET lease = ? WHERE id = ? AND state = 'leased' AND owner = ?`, until, id, owner)
			if err != nil {
				return err
			}
			if n > 0 {
				t.wrote, kept = true, append(kept, id)
			}
		}
		return nil
	}})
	return kept, fail("extend lease", err)
}
