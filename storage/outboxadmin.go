package storage

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// QueueFilter says which recipients of the queue are meant: those that all of its fields fit. The zero value means all.
type QueueFilter struct {
	ID      string        // a queue id, or the number of a recipient
	From    string        // the envelope sender, "<>" the null sender; * stands for anything, and case is of no account
	To      string        // the recipient's address, likewise
	Domain  string        // the recipient's domain
	Account int64         // who sends it; 0: whoever
	State   string        // QueueWaiting, ...; "": whichever
	Older   time.Duration // it was taken at least so long ago
	After   int64         // recipients behind this one (paging)
}

// QueueItem is a recipient in the queue.
type QueueItem struct {
	Leased
	State      string
	Due        time.Time // of waiting: when it is tried; of held: when it would be
	Owner      string    // of leased: by whom
	LeasedTill time.Time // of leased
	History    []Attempt // the last ones, the latest at the end
}

// Attempt is what came of one.
type Attempt struct {
	At                    time.Time
	Status, Remote, Reply string
}

const queueColumns = leasedColumns + `, r.state, r.owner, r.lease, r.history`

// The arguments are those of QueueFilter.args. It looks at all rows behind the cursor: it is for administrators.
const queueWhere = ` FROM outbox_recipient r JOIN outbox o ON o.id = r.outbox WHERE r.id > ? AND (? = '' OR o.queue = ?) AND (? = 0 OR r.id = ?)
	AND (? = '' OR o.sender LIKE ? ESCAPE '\') AND (? = '' OR r.address LIKE ? ESCAPE '\') AND (? = '' OR r.domain = ?) AND (? = 0 OR o.account = ?)
	AND (? = '' OR r.state = ?) AND o.created <= ? ORDER BY r.id LIMIT ?`

func (f *QueueFilter) args(now time.Time, limit int) ([]any, error) {
	queue, id := f.ID, int64(0)
	if n, err := strconv.ParseInt(f.ID, 10, 64); err == nil {
		queue, id = "", n
	}
	domain := ""
	if f.Domain != "" {
		d, err := parseDomain(strings.TrimSuffix(f.Domain, "."))
		if err != nil {
			return nil, err
		}
		domain = d
	}
	switch f.State {
	case "", QueueWaiting, QueueLeased, QueueHeld:
	default:
		return nil, fmt.Errorf("%w: %q is no state of the queue: waiting, leased or held", ErrInvalid, f.State)
	}
	from, isFrom := likePattern(strings.Trim(f.From, "<>")), mark(f.From)
	to, isTo := likePattern(strings.Trim(f.To, "<>")), mark(f.To)
	created := int64(1<<62 - 1)
	if f.Older > 0 {
		created = now.Add(-f.Older).Unix()
	}
	return []any{f.After, queue, queue, id, id, isFrom, from, isTo, to, domain, domain, f.Account, f.Account, f.State, f.State, created, limit}, nil
}

// mark is "" for what is not asked for.
func mark(s string) string {
	if s == "" {
		return ""
	}
	return "1"
}

func likePattern(s string) string {
	return strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`, `*`, `%`).Replace(s)
}

// Queue lists recipients that are not delivered yet, oldest first, at most limit; QueueFilter.After goes on. Their histories are left out. ErrInvalid.
func (s *Store) Queue(ctx context.Context, f QueueFilter, limit int) ([]QueueItem, error) {
	all, err := s.queue(f, limit)
	for i := range all {
		all[i].History = nil
	}
	return all, fail("queue", err)
}

// QueueEntry are the recipients of a queue id that are not delivered yet, with their histories; also that of a recipient's number. fs.ErrNotExist.
func (s *Store) QueueEntry(ctx context.Context, id string) ([]QueueItem, error) {
	if id == "" {
		return nil, fail("queue entry", fs.ErrNotExist)
	}
	all, err := s.queue(QueueFilter{ID: id}, 10_000)
	if err == nil && len(all) == 0 {
		err = fmt.Errorf("%s: %w", id, fs.ErrNotExist)
	}
	return all, fail("queue entry", err)
}

func (s *Store) queue(f QueueFilter, limit int) ([]QueueItem, error) {
	args, err := f.args(s.o.Now(), limit)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.Query(`SELECT `+queueColumns+queueWhere, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []QueueItem
	for rows.Next() {
		i, err := scanQueueItem(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, rows.Err()
}

func scanQueueItem(rows *sql.Rows) (i QueueItem, err error) {
	var due, lease int64
	var history string
	if err := scanLeased(rows, &i.Leased, &due, &i.State, &i.Owner, &lease, &history); err != nil {
		return i, err
	}
	i.Due = unix(due)
	if lease != 0 {
		i.LeasedTill = unix(lease)
	}
	for line := range strings.Lines(history) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), "\t", 4)
		if at, err := strconv.ParseInt(f[0], 10, 64); err == nil && len(f) == 4 {
			i.History = append(i.History, Attempt{unix(at), f[1], f[2], f[3]})
		}
	}
	return i, nil
}

// queueStep is how many rows an administrator's act changes in one transaction.
const queueStep = 500

// Hold keeps what fits from being sent. What is leased may be delivered still. It tells how many recipients it changed.
func (s *Store) Hold(ctx context.Context, f QueueFilter) (int, error) {
	return s.actOnQueue(ctx, "hold", f, func(t *tx, r *queueRow) (bool, error) {
		if r.state == QueueHeld {
			return false, nil
		}
		if err := t.exec(`UPDATE outbox_recipient SET state = 'held', owner = '', lease = 0 WHERE id = ?`, r.id); err != nil {
			return false, err
		}
		return true, t.lookIfWaiting(r)
	})
}

// Release lets what is held wait again, until when it was due.
func (s *Store) Release(ctx context.Context, f QueueFilter) (int, error) {
	return s.actOnQueue(ctx, "release", f, func(t *tx, r *queueRow) (bool, error) {
		if r.state != QueueHeld {
			return false, nil
		}
		t.dueAt(r.dueKey, r.due)
		return true, t.exec(`UPDATE outbox_recipient SET state = 'waiting' WHERE id = ?`, r.id)
	})
}

// RetryNow makes what waits due. What is held stays held.
func (s *Store) RetryNow(ctx context.Context, f QueueFilter) (int, error) {
	return s.actOnQueue(ctx, "retry", f, func(t *tx, r *queueRow) (bool, error) {
		if r.state != QueueWaiting {
			return false, nil
		}
		due := min(r.due, t.now())
		t.dueAt(r.dueKey, due)
		return true, t.exec(`UPDATE outbox_recipient SET due = ? WHERE id = ?`, due, r.id)
	})
}

// Fail gives up on what fits: the worker tells the senders why, without another attempt, as soon as it runs.
func (s *Store) Fail(ctx context.Context, f QueueFilter, why string) (int, error) {
	if why = oneLine(cut(strings.TrimSpace(why), replyMax)); why == "" {
		why = "the administrator of this server has given up on this message"
	}
	return s.actOnQueue(ctx, "fail", f, func(t *tx, r *queueRow) (bool, error) {
		if r.state == QueueLeased {
			return true, t.exec(`UPDATE outbox_recipient SET verdict = ? WHERE id = ?`, why, r.id)
		}
		due := min(r.due, t.now())
		t.dueAt(r.dueKey, due)
		return true, t.exec(`UPDATE outbox_recipient SET state = 'waiting', due = ?, verdict = ? WHERE id = ?`, due, why, r.id)
	})
}

// Drop removes what fits, and nobody is told.
func (s *Store) Drop(ctx context.Context, f QueueFilter) (int, error) {
	return s.actOnQueue(ctx, "drop", f, func(t *tx, r *queueRow) (bool, error) {
		if err := t.exec(`DELETE FROM outbox_recipient WHERE id = ?`, r.id); err != nil {
			return false, err
		}
		if err := t.lookIfWaiting(r); err != nil {
			return false, err
		}
		return true, t.finishLetter(r.outbox)
	})
}

// queueRow is what an administrator's act must know of a recipient.
type queueRow struct {
	dueKey
	id, outbox, due int64
	state           string
}

// lookIfWaiting finds out what is due first when a row that waited does so no more.
func (t *tx) lookIfWaiting(r *queueRow) error {
	if r.state != QueueWaiting {
		return nil
	}
	return t.look(r.dueKey)
}

// actOnQueue calls act for each recipient that fits, in steps between which others write. It counts those for which act says true.
func (s *Store) actOnQueue(ctx context.Context, what string, f QueueFilter, act func(*tx, *queueRow) (bool, error)) (total int, err error) {
	for {
		args, err := f.args(s.o.Now(), queueStep)
		if err != nil {
			return total, fail(what, err)
		}
		var rows []queueRow
		n := 0
		err = s.do(ctx, func(t *tx) (err error) {
			n = 0
			if rows, err = t.queueRows(args); err != nil {
				return err
			}
			for i := range rows {
				changed, err := act(t, &rows[i])
				if err != nil {
					return err
				}
				n += truth(changed)
			}
			return nil
		})
		if err != nil {
			return total, fail(what, err)
		}
		total += n
		if len(rows) < queueStep {
			return total, nil
		}
		f.After = rows[len(rows)-1].id
	}
}

func (t *tx) queueRows(args []any) (all []queueRow, err error) {
	rows, err := t.db.Query(`SELECT r.id, r.outbox, r.account, r.domain, r.priority, r.due, r.state`+queueWhere, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r queueRow
		if err := rows.Scan(&r.id, &r.outbox, &r.account, &r.domain, &r.priority, &r.due, &r.state); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}
