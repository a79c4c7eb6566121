package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// OutcomeState is what became of a recipient.
type OutcomeState string

// The outcomes. All but Deferred end the row.
const (
	Delivered OutcomeState = "delivered" // the next server took it, and the notices asked for are its
	Relayed   OutcomeState = "relayed"   // the next server took it, and knows no DSN: who asked for NOTIFY=SUCCESS is told so
	Expanded  OutcomeState = "expanded"  // it went on to several addresses
	Failed    OutcomeState = "failed"    // for good
	Deferred  OutcomeState = "deferred"  // to be tried again when due
)

// Outcome is what became of a recipient that was leased.
type Outcome struct {
	Recipient  int64 // Leased.ID
	State      OutcomeState
	Due        time.Time // of Deferred: when it is tried again
	Reply      string    // what the other side said, "" when nobody did; it is kept up to 1,000 bytes
	Status     string    // RFC 3463, as "5.1.1"
	Remote     string    // who said it, as "mx.example (192.0.2.1)"; "" for nobody
	Suppressed bool      // of Failed: because the address is on the suppression list (Leased.Suppressed)
	Delayed    bool      // a notice of the delay goes with it, or went before
	Owner      string    // Lease's: Deferred of what somebody else has leased meanwhile is left out; "" is whoever it is
	NoAttempt  bool      // nothing was tried (worker shutting down, domain busy): attempts stay, and Reply "" leaves what is known of the last attempt
}

// settleWait is how long a Settle waits for a transaction that it can go with: who sends mail brings the next message meanwhile, and one flush is enough for both.
const settleWait = 5 * time.Millisecond

// Settle says what became of recipients that were leased, in one transaction that is durable when it returns: what is done goes, what is deferred waits, notices enter, the
// journal and the webhook's events are written. Rows that are gone already are left out without an error, and an outcome that is final ends a row in whatever state: what was
// delivered was delivered. Deferred leaves what is held held. After an error nothing has happened, and uploads are as they were.
func (s *Store) Settle(ctx context.Context, outcomes []Outcome, notices []Notice) error {
	told, err := s.tidings(ctx, notices)
	if err != nil {
		return fail("settle", err)
	}
	err = s.done(&job{ctx: ctx, until: time.Now().Add(settleWait), run: func(t *tx) error {
		x := settlement{t: t, there: map[int64]bool{}}
		for i := range outcomes {
			if err := x.settle(&outcomes[i]); err != nil {
				return err
			}
		}
		if err := told.enter(t, x.there); err != nil {
			return err
		}
		return x.finish()
	}})
	if err != nil {
		return fail("settle", err)
	}
	told.taken()
	return nil
}

// Settles makes Enqueue settle a recipient in its transaction: a message that waited goes on from there, once. o is final. When the recipient is not leased by o.Owner any more, the
// message does not go on: Enqueue fails with ErrConflict.
func (u *Upload) Settles(o Outcome) { u.settles = &o }

// maySettle looks whether an upload may end the row that it is to end.
func (t *tx) maySettle(u *Upload) error {
	if u.settles == nil {
		return nil
	}
	var state, owner, verdict string
	err := t.db.Row(`SELECT state, owner, verdict FROM outbox_recipient WHERE id = ?`, u.settles.Recipient).Scan(&state, &owner, &verdict)
	if errors.Is(err, sql.ErrNoRows) || err == nil && (state != QueueLeased || owner != u.settles.Owner || verdict != "") {
		return fmt.Errorf("%w: the recipient is not leased any more", ErrConflict)
	}
	return err
}

// settleWith ends it.
func (t *tx) settleWith(u *Upload) error {
	if u.settles == nil {
		return nil
	}
	x := settlement{t: t, there: map[int64]bool{}}
	if err := x.settle(u.settles); err != nil {
		return err
	}
	return x.finish()
}

// settlement is a Settle under way.
type settlement struct {
	t       *tx
	there   map[int64]bool // recipients whose rows were there
	letters []settled
	ended   []int64 // messages of which a recipient went
}

// settled is an outcome with what the journal and the webhook tell of it.
type settled struct {
	*Outcome
	outbox  int64
	address string
	queue   string
	account int64
	sender  string

	attempts int // with this one, if it was one
}

// historyMax bounds what is kept of former attempts, and replyMax what is kept of a reply.
const (
	historyMax = 4 << 10
	replyMax   = 1000
)

func (x *settlement) settle(o *Outcome) error {
	t := x.t
	w := settled{Outcome: o}
	var k dueKey
	var state, owner, history, verdict string
	var attempts int
	err := t.db.Row(`SELECT r.outbox, r.address, r.domain, r.priority, r.state, r.owner, r.attempts, r.history, r.verdict, o.queue, o.account, o.sender
		FROM outbox_recipient r JOIN outbox o ON o.id = r.outbox WHERE r.id = ?`, o.Recipient).
		Scan(&w.outbox, &w.address, &k.domain, &k.priority, &state, &owner, &attempts, &history, &verdict, &w.queue, &k.account, &w.sender)
	w.account = k.account
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	x.there[o.Recipient] = true
	if !o.NoAttempt {
		attempts++
	}
	w.attempts = attempts
	if o.State != Deferred {
		return x.end(w, k, state)
	}
	if state == QueueLeased && o.Owner != "" && owner != o.Owner {
		return nil
	}
	due := o.Due.Unix()
	if verdict != "" {
		due = t.now()
	}
	if state != QueueHeld {
		state = QueueWaiting
		// It may have waited already, if its lease was over.
		t.after = append(t.after, func() { t.s.outbox.hint() })
	}
	if o.NoAttempt && o.Reply == "" {
		err = t.exec(`UPDATE outbox_recipient SET state = ?, due = ?, owner = '', lease = 0 WHERE id = ?`, state, due, o.Recipient)
	} else {
		x.letters = append(x.letters, w)
		reply := cut(o.Reply, replyMax)
		err = t.exec(`UPDATE outbox_recipient SET state = ?, due = ?, owner = '', lease = 0, attempts = ?, reply = ?, status = ?, remote = ?, tried = CASE WHEN ? = 1 THEN tried ELSE ? END,
			delayed = CASE WHEN ? = 1 THEN 1 ELSE delayed END, history = ? WHERE id = ?`, state, due, attempts, reply, o.Status, o.Remote, truth(o.NoAttempt), t.now(), truth(o.Delayed),
			remember(history, fmt.Sprintf("%d\t%s\t%s\t%s\n", t.now(), o.Status, oneLine(o.Remote), oneLine(reply))), o.Recipient)
	}
	if err != nil || state == QueueHeld {
		return err
	}
	return t.look(k)
}

// end removes the row of a recipient whose outcome is final.
func (x *settlement) end(w settled, k dueKey, state string) error {
	x.letters = append(x.letters, w)
	if !slices.Contains(x.ended, w.outbox) {
		x.ended = append(x.ended, w.outbox)
	}
	if err := x.t.exec(`DELETE FROM outbox_recipient WHERE id = ?`, w.Recipient); err != nil {
		return err
	}
	if state == QueueWaiting {
		if err := x.t.look(k); err != nil {
			return err
		}
	}
	return x.t.noteBounce(w.address, w.Outcome)
}

// remember adds a line to the history, which loses its first lines when it is too long.
func remember(history, line string) string {
	history += line
	for len(history) > historyMax {
		_, rest, ok := strings.Cut(history, "\n")
		if !ok || rest == "" {
			break
		}
		history = rest
	}
	return history
}

// oneLine is s without tabs and line ends.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\t", " ").Replace(s)
}

func cut(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// finish removes messages that have no recipient left, and writes down what happened.
func (x *settlement) finish() error {
	for _, id := range x.ended {
		if err := x.t.finishLetter(id); err != nil {
			return err
		}
	}
	return x.t.recordSettled(x.letters)
}
