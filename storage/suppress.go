package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// Suppression is an address that no mail is sent to, because an administrator said so or because it bounced Options.SuppressAfter times.
type Suppression struct {
	Address string
	Manual  bool // it holds whatever Options.SuppressAfter says
	Bounces int
	Since   time.Time // the first bounce, or when an administrator added it
	Last    time.Time // the last bounce; zero: none
	Reason  string    // the administrator's words, or the last bounce
}

// suppressedForm is an address as the list has it. The local part is compared without regard to case, as no server that is used tells them apart.
func suppressedForm(addr string) (string, error) {
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return "", err
	}
	return foldLocal(local) + "@" + domain, nil
}

// readSuppressions tells whether there are any: mostly there are none, and then nothing is looked up.
func (s *Store) readSuppressions() error {
	var n int64
	if err := s.db.Row(`SELECT COUNT(*) FROM suppression`).Scan(&n); err != nil {
		return err
	}
	s.suppressions.Store(n)
	return nil
}

// Suppressed tells why no mail is sent to an address; "" when it is.
func (s *Store) Suppressed(ctx context.Context, addr string) (why string, err error) {
	if s.suppressions.Load() == 0 {
		return "", nil
	}
	a, err := suppressedForm(addr)
	if err != nil {
		return "", nil // no address, and nobody's to suppress
	}
	x, err := scanSuppression(s.db.Row(`SELECT `+suppressionColumns+` FROM suppression WHERE address = ?`, a))
	return s.whySuppressed(x, err, "suppressed")
}

// suppressed is Suppressed in a transaction.
func (t *tx) suppressed(addr string) (string, error) {
	if t.s.suppressions.Load() == 0 {
		return "", nil
	}
	a, err := suppressedForm(addr)
	if err != nil {
		return "", nil
	}
	x, err := scanSuppression(t.db.Row(`SELECT `+suppressionColumns+` FROM suppression WHERE address = ?`, a))
	return t.s.whySuppressed(x, err, "suppressed")
}

func (s *Store) whySuppressed(x suppressionRow, err error, what string) (string, error) {
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return "", nil
	case err != nil:
		return "", fail(what, err)
	case x.Manual:
		return "mail to this address is suppressed by the administrator of this server: " + x.Reason, nil
	case x.suppressed && s.o.SuppressAfter > 0:
		return fmt.Sprintf("mail to this address is suppressed by this server after it was refused for good %d times, at last with: %s", x.Bounces, x.Reason), nil
	}
	return "", nil
}

const suppressionColumns = `address, manual, suppressed, bounces, since, last, reason`

type suppressionRow struct {
	Suppression
	suppressed bool
}

func scanSuppression(row interface{ Scan(...any) error }) (x suppressionRow, err error) {
	var since, last int64
	err = row.Scan(&x.Address, &x.Manual, &x.suppressed, &x.Bounces, &since, &last, &x.Reason)
	x.Since = unix(since)
	if last != 0 {
		x.Last = unix(last)
	}
	return x, err
}

// Suppress puts an address on the list by hand. It tells whether it was not there by hand before. ErrInvalid.
func (s *Store) Suppress(ctx context.Context, addr, reason string) (added bool, err error) {
	a, err := suppressedForm(addr)
	if err != nil {
		return false, fail("suppress", err)
	}
	if reason = oneLine(cut(strings.TrimSpace(reason), replyMax)); reason == "" {
		reason = "no reason was given"
	}
	err = s.do(ctx, func(t *tx) error {
		x, err := scanSuppression(t.db.Row(`SELECT `+suppressionColumns+` FROM suppression WHERE address = ?`, a))
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if added = !x.Manual; err != nil {
			t.after = append(t.after, func() { t.s.suppressions.Add(1) })
		}
		return t.exec(`INSERT INTO suppression (address, manual, suppressed, bounces, since, last, reason) VALUES (?, 1, 1, 0, ?, 0, ?)
			ON CONFLICT (address) DO UPDATE SET manual = 1, suppressed = 1, reason = excluded.reason`, a, t.now(), reason)
	})
	return added, fail("suppress", err)
}

// Unsuppress takes an address off the list, and forgets its bounces. fs.ErrNotExist.
func (s *Store) Unsuppress(ctx context.Context, addr string) error {
	a, err := suppressedForm(addr)
	if err != nil {
		return fail("unsuppress", err)
	}
	err = s.do(ctx, func(t *tx) error {
		n, err := t.db.Changed(`DELETE FROM suppression WHERE address = ?`, a)
		if err == nil && n == 0 {
			err = fmt.Errorf("%s: %w", a, fs.ErrNotExist)
		}
		if n > 0 {
			t.wrote = true
			t.after = append(t.after, func() { t.s.suppressions.Add(-1) })
		}
		return err
	})
	return fail("unsuppress", err)
}

// ListSuppressed is the list after an address, in its order; at most limit. What has bounced, but not often enough, is not on it.
func (s *Store) ListSuppressed(ctx context.Context, after string, limit int) ([]Suppression, error) {
	rows, err := s.db.Query(`SELECT `+suppressionColumns+` FROM suppression WHERE address > ? AND (manual = 1 OR suppressed = 1 AND ? > 0) ORDER BY address LIMIT ?`,
		after, s.o.SuppressAfter, limit)
	if err != nil {
		return nil, fail("suppressions", err)
	}
	defer rows.Close()
	var all []Suppression
	for rows.Next() {
		x, err := scanSuppression(rows)
		if err != nil {
			return nil, fail("suppressions", err)
		}
		all = append(all, x.Suppression)
	}
	return all, fail("suppressions", rows.Err())
}

// noteBounce counts that an address does not exist, and forgets that when mail to it is taken. Only a status that speaks of the address (5.1.x of RFC 3463: X.1.1 mailbox, X.1.6 moved, ...) counts:
// a message that is refused for what it is says nothing of its recipient.
func (t *tx) noteBounce(addr string, o *Outcome) error {
	if t.s.o.SuppressAfter <= 0 {
		return nil
	}
	a, err := suppressedForm(addr)
	if err != nil {
		return nil
	}
	if o.State != Failed {
		if t.s.suppressions.Load() == 0 || o.State == Expanded {
			return nil
		}
		n, err := t.db.Changed(`DELETE FROM suppression WHERE address = ? AND manual = 0`, a)
		if n > 0 {
			t.wrote = true
			t.after = append(t.after, func() { t.s.suppressions.Add(-1) })
		}
		return err
	}
	if !countsAsBounce(o) {
		return nil
	}
	n, err := t.db.Changed(`UPDATE suppression SET bounces = bounces + 1, last = ?, suppressed = CASE WHEN bounces + 1 >= ? THEN 1 ELSE suppressed END,
		reason = CASE WHEN manual = 1 THEN reason ELSE ? END WHERE address = ?`, t.now(), t.s.o.SuppressAfter, oneLine(cut(o.Reply, replyMax)), a)
	t.wrote = t.wrote || n > 0
	if err != nil || n > 0 {
		return err
	}
	t.after = append(t.after, func() { t.s.suppressions.Add(1) })
	return t.exec(`INSERT INTO suppression (address, manual, suppressed, bounces, since, last, reason) VALUES (?, 0, ?, 1, ?, ?, ?)`,
		a, truth(t.s.o.SuppressAfter <= 1), t.now(), t.now(), oneLine(cut(o.Reply, replyMax)))
}

// countsAsBounce tells whether a failure says that the address is none: another server said so, and not we by a verdict.
func countsAsBounce(o *Outcome) bool {
	switch o.Status {
	case "5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1":
		return o.Remote != "" || o.Status == "5.1.10" || o.Status == "5.1.2"
	}
	return false
}

// trimSuppressions forgets bounces that did not go on: after 90 days without another, an address that is not suppressed is like any other.
func (t *tx) trimSuppressions() (more bool, err error) {
	n, err := t.db.Changed(`DELETE FROM suppression WHERE address IN (SELECT address FROM suppression WHERE suppressed = 0 AND last < ? LIMIT ?)`,
		t.s.o.Now().Add(-90*24*time.Hour).Unix(), sweepStep)
	t.wrote = t.wrote || n > 0
	if n > 0 {
		t.after = append(t.after, func() { t.s.suppressions.Add(-n) })
	}
	return n == sweepStep, err
}
