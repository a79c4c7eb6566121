package storage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// Outgoing is a message that must leave, for one or more recipients of foreign domains. Several of one Enqueue share the bytes: each
// forward has an envelope of its own.
type Outgoing struct {
	Queue      string    // the id that the 250 names; "" makes one
	Account    int64     // who sends it; 0: the server (notices, forwards of what came from outside)
	From       string    // envelope sender, "" is the null sender
	EnvelopeID string    // DSN ENVID (RFC 3461), decoded
	Return     string    // DSN RET: "FULL", "HDRS" or ""
	UTF8       bool      // SMTPUTF8 (RFC 6531)
	RequireTLS bool      // REQUIRETLS (RFC 8689)
	Priority   int       // MT-PRIORITY (RFC 6710), -9 to 9
	ByMode     string    // DELIVERBY (RFC 2852): "R", "N", "RT", "NT" or "" for none
	By         time.Time // its deadline
	Seal       bool      // it came from outside and is forwarded: to be sealed (ARC)
	Recipients []OutgoingRecipient
}

// OutgoingRecipient is one of them.
type OutgoingRecipient struct {
	Address  string
	Notify   string    // DSN NOTIFY, "" when the client did not say
	Original string    // DSN ORCPT as "rfc822;address", "" when the client did not say
	Due      time.Time // not before (FUTURERELEASE, RFC 4865); zero: now
}

// The states of a recipient in the queue. What is delivered, relayed, expanded, failed or dropped has no row any more.
//
//	Enqueue --> waiting <---- lease over, worker's end, deferred ---- leased --delivered, relayed, expanded, failed--> gone
//	             |  ^  |                                               ^  |
//	             |  |  +------------------- Lease (when due) ----------+  |
//	           Hold |                                                     |
//	             v Release                                                |
//	            held <------------------------ Hold ----------------------+
//
// Drop removes a row in any state. Fail gives it a verdict and makes it due, so that the worker that leases it next sends the notice and
// settles it as failed without another attempt. RetryNow makes it due.
const (
	QueueWaiting = "waiting"
	QueueLeased  = "leased"
	QueueHeld    = "held"
)

// ErrQueueFull is the ErrLimit of a message more than the outbox, or the account's share of it, may hold.
var ErrQueueFull = fmt.Errorf("%w: the queue holds as many messages as it may", ErrLimit)

// TargetError says which target of an Enqueue was refused.
type TargetError struct {
	Index int
	Err   error
}

func (e *TargetError) Error() string { return fmt.Sprintf("target %d: %v", e.Index, e.Err) }
func (e *TargetError) Unwrap() error { return e.Err }

// letter is an Outgoing that was checked.
type letter struct {
	*Outgoing
	domains []string // of its recipients
}

func newLetter(o *Outgoing) (letter, error) {
	l := letter{o, make([]string, len(o.Recipients))}
	if len(o.Recipients) == 0 {
		return l, fmt.Errorf("%w: a message without recipients", ErrInvalid)
	}
	for i, r := range o.Recipients {
		_, d, err := ParseAddress(r.Address)
		if err != nil {
			return l, err
		}
		l.domains[i] = d
	}
	return l, nil
}

// Enqueue puts a message into the outbox for each of outs and delivers it to local targets, all or none, in one transaction. It returns when that is durable. When a target
// refuses (ErrQuota, fs.ErrNotExist, ErrLimit for keywords), the error is a *TargetError. ErrInvalid for a recipient that is no address, ErrQueueFull when the
// outbox or the account's share of it is full. After an error the Upload is as it was. A message for nobody, neither outs nor targets, may tell, remember and settle (Tells, Remembers,
// Settles); without any of these it is ErrInvalid.
//
// Queued mail is not charged to the account's quota: it is mail of others by and by, and a full mailbox must not keep its owner from sending. It is bounded by
// Options.QueueMax and QueueAccountMax, for which each ten recipients of a message count as one more, and by the space that is left on the disk (ErrTemporary).
func (s *Store) Enqueue(ctx context.Context, u *Upload, outs []Outgoing, targets []Target) ([]Appended, error) {
	letters := make([]letter, len(outs))
	for i := range outs {
		var err error
		if letters[i], err = newLetter(&outs[i]); err != nil {
			return nil, fail("enqueue", err)
		}
	}
	nobody := len(outs) == 0 && len(targets) == 0
	if nobody && len(u.notices) == 0 && len(u.marks) == 0 && u.settles == nil {
		return nil, fail("enqueue", fmt.Errorf("%w: a message for nobody", ErrInvalid))
	}
	told, err := s.tidings(ctx, u.notices)
	if err == nil && !nobody {
		err = u.Prepare(ctx)
	}
	if err != nil {
		return nil, fail("enqueue", err)
	}
	var res []Appended
	err = s.done(&job{ctx: ctx, look: u.look, run: func(t *tx) (err error) {
		if !nobody {
			res, err = t.enqueue(u, letters, targets)
		} else if err = t.maySettle(u); err == nil {
			err = t.settleWith(u)
		}
		if err != nil {
			return err
		}
		for i := range u.marks {
			if err := t.sieveRemember(&u.marks[i]); err != nil {
				return err
			}
		}
		return told.enter(t, nil)
	}})
	if err != nil {
		return nil, fail("enqueue", err)
	}
	if nobody {
		u.Abort()
	} else {
		u.taken()
	}
	told.taken()
	return res, nil
}

// enqueue does it. What it can find out before it writes it does: see Store.do.
func (t *tx) enqueue(u *Upload, letters []letter, targets []Target) ([]Appended, error) {
	if err := t.maySettle(u); err != nil {
		return nil, err
	}
	if err := t.countSent(u); err != nil {
		return nil, err
	}
	if err := t.mayEnqueue(letters); err != nil {
		return nil, err
	}
	for i := range targets {
		if _, err := t.admit(&targets[i], u.size, 1); err != nil {
			return nil, refused(i, err)
		}
	}
	blob, err := t.putOutgoing(u, len(targets) > 0)
	if err != nil {
		return nil, err
	}
	if err := t.countSentOn(u); err != nil {
		return nil, err
	}
	for _, l := range letters {
		if err := t.putLetter(l, blob, u.size); err != nil {
			return nil, err
		}
		if u.arrival != nil {
			continue
		}
		if err := t.tellAccepted(l, u.size); err != nil {
			return nil, err
		}
	}
	if u.arrival != nil {
		if err := t.tellArrival(u.arrival, u.size, targets); err != nil {
			return nil, err
		}
	}
	if err := t.settleWith(u); err != nil {
		return nil, err
	}
	res := make([]Appended, len(targets))
	for i := range targets {
		// Anew: what the targets before it took counts.
		d, err := t.admit(&targets[i], u.size, 1)
		if err != nil {
			return nil, refused(i, err)
		}
		if res[i], err = t.append(d, &targets[i], u.size, blob); err != nil {
			return nil, err
		}
	}
	if refs := int64(len(letters) + len(targets)); refs > 1 {
		return res, t.share(blob, refs-1)
	}
	return res, nil
}

// refused is the error of a target, unless it concerns all.
func refused(i int, err error) error {
	if isRefusal(err) {
		return &TargetError{i, err}
	}
	return err
}

// mayEnqueue tells whether the outbox has room for messages of accounts that exist.
func (t *tx) mayEnqueue(letters []letter) error {
	all := 0
	for _, l := range letters {
		all += queueUnits(len(l.Recipients))
	}
	for _, l := range letters {
		if l.Account != 0 {
			if _, err := t.account(l.Account); err != nil {
				return fmt.Errorf("sender: %w", err)
			}
		}
		if !t.s.outbox.mayAdd(l.Account, all, t.s.o.QueueMax, t.s.o.QueueAccountMax) {
			return ErrQueueFull
		}
	}
	return nil
}

// queueUnits is as how many messages one with n recipients counts for the limits, as each recipient is a row.
func queueUnits(n int) int { return 1 + n/10 }

// putOutgoing is putBlob. What stays in no mailbox needs no index.
func (t *tx) putOutgoing(u *Upload, stays bool) (int64, error) {
	if stays || !u.mail {
		return t.putBlob(u)
	}
	bare := *u
	bare.bare = true
	return t.putBlob(&bare)
}

// putLetter adds the rows of a message that must leave; it holds one reference to the blob.
func (t *tx) putLetter(l letter, blob, size int64) error {
	id, err := t.newID()
	if err != nil {
		return err
	}
	if l.Queue == "" {
		l.Queue = newQueueID(t.s.o.Now())
	}
	now, last := t.now(), id+int64(len(l.Recipients))
	var deadline int64
	if l.ByMode != "" {
		deadline = l.By.Unix()
	}
	if err := t.exec(`INSERT INTO outbox (id, account, sender, envelope_id, ret, blob, size, created, queue, utf8, require_tls, by_mode, deadline, seal, last)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, l.Account, l.From, l.EnvelopeID, l.Return, blob, size, now, l.Queue,
		truth(l.UTF8), truth(l.RequireTLS), l.ByMode, deadline, truth(l.Seal), last); err != nil {
		return err
	}
	for i, r := range l.Recipients {
		rid, err := t.newID()
		if err != nil {
			return err
		}
		due := now
		if !r.Due.IsZero() {
			due = r.Due.Add(time.Second - 1).Unix() // rounded up: not before
		}
		if err := t.exec(`INSERT INTO outbox_recipient (id, outbox, address, domain, notify, original, state, due, attempts, owner, lease, reply, priority, account)
			VALUES (?, ?, ?, ?, ?, ?, 'waiting', ?, 0, '', 0, '', ?, ?)`, rid, id, r.Address, l.domains[i], r.Notify, r.Original, due, l.Priority, l.Account); err != nil {
			return err
		}
		t.dueAt(dueKey{l.Account, l.domains[i], l.Priority}, due)
	}
	t.after = append(t.after, func() { t.s.outbox.count(l.Account, 1, queueUnits(len(l.Recipients))) })
	return nil
}

// newQueueID is one that nobody had.
func newQueueID(now time.Time) string {
	return ulid.MustNew(ulid.Timestamp(now), ulid.DefaultEntropy()).String()
}

// finishLetter removes the row of a message that has no recipient left, and gives its bytes back.
func (t *tx) finishLetter(outbox int64) error {
	var account, blob, n int64
	var more bool
	err := t.db.Row(`SELECT o.account, o.blob, o.last - o.id, EXISTS (SELECT 1 FROM outbox_recipient r WHERE r.id > o.id AND r.id <= o.last) FROM outbox o WHERE o.id = ?`, outbox).Scan(&account, &blob, &n, &more)
	if err != nil || more {
		return err
	}
	if err := t.exec(`DELETE FROM outbox WHERE id = ?`, outbox); err != nil {
		return err
	}
	t.after = append(t.after, func() { t.s.outbox.count(account, -1, -queueUnits(int(n))) })
	return t.release(blob)
}

// OpenOutgoing opens the bytes of a message in the outbox, by Leased.Outbox. fs.ErrNotExist when it has left.
func (s *Store) OpenOutgoing(ctx context.Context, outbox int64) (Body, error) {
	var blob int64
	if err := s.db.Row(`SELECT blob FROM outbox WHERE id = ?`, outbox).Scan(&blob); err != nil {
		return nil, fail("open outgoing", noRows(err))
	}
	return s.OpenBlob(ctx, blob)
}

// openOutbox reads what is known in memory of the outbox.
func (s *Store) openOutbox() error {
	s.outbox.init()
	return errors.Join(s.outbox.readCounts(s.db), s.outbox.readDue(s.db), s.readSuppressions(), s.readEvents())
}
