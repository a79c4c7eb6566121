package storage

import (
	"context"
	"database/sql"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage/sqldb"
)

// The kinds of rows in seen.
const (
	seenTriplet = 1 // greylisting: network, sender and recipient
	seenNetwork = 2 // greylisting: a network whose mail came again often enough
	seenSender  = 3 // a sender whose mail an account took before
)

// maxSeen bounds seen: beyond it the rows that would go first make room.
const maxSeen = 200_000

// maxSeenName bounds a row: what is longer is cut, which at worst makes two senders one.
const maxSeenName = 512

// GreylistCheck asks whether mail of a sender for these recipients may come in, or must come again.
type GreylistCheck struct {
	Network    netip.Prefix // of the peer: a /24 or a /64, as big senders retry from a neighbour
	Sender     string
	Recipients []string      // as they were resolved, in any case
	Delay      time.Duration // how long the first attempt must wait
	Window     time.Duration // and how long it may at most
	Keep       time.Duration // how long what passed passes again
	Trust      int           // a network from which so many passed is not asked any more; 0: never
}

// Greylist notes the attempt, and tells how long the peer must wait yet; 0: it may come in. One transaction.
func (s *Store) Greylist(ctx context.Context, c GreylistCheck) (wait time.Duration, err error) {
	err = s.do(ctx, func(t *tx) (err error) {
		wait, err = t.greylist(c)
		return err
	})
	return wait, fail("greylist", err)
}

func (t *tx) greylist(c GreylistCheck) (wait time.Duration, err error) {
	now := t.s.o.Now()
	network, err := t.seen(seenNetwork, c.Network.String())
	if err != nil {
		return 0, err
	}
	if network.alive(now) && c.Trust > 0 && network.count >= int64(c.Trust) {
		return 0, t.renew(seenNetwork, c.Network.String(), network, now, c.Keep)
	}
	passed := false
	for _, r := range c.Recipients {
		name := seenName(c.Network.String(), c.Sender, r)
		row, err := t.seen(seenTriplet, name)
		if err != nil {
			return 0, err
		}
		switch age := now.Sub(time.Unix(row.first, 0)); {
		case row.alive(now) && row.count > 0:
			err = t.renew(seenTriplet, name, row, now, c.Keep)
		case !row.alive(now) || age < 0:
			row = seenRow{first: now.Unix(), until: now.Add(c.Window).Unix()}
			wait = max(wait, c.Delay)
			err = t.putSeen(seenTriplet, name, row)
		case age < c.Delay:
			wait = max(wait, c.Delay-age)
		default:
			passed = true
			err = t.putSeen(seenTriplet, name, seenRow{row.first, now.Add(c.Keep).Unix(), 1})
		}
		if err != nil {
			return 0, err
		}
	}
	if passed && wait == 0 {
		if !network.alive(now) {
			network = seenRow{first: now.Unix()}
		}
		err = t.putSeen(seenNetwork, c.Network.String(), seenRow{network.first, now.Add(c.Keep).Unix(), network.count + 1})
	}
	return wait, err
}

// Acquainted tells whether each of the accounts took mail of the sender before (Acquaint).
func (s *Store) Acquainted(ctx context.Context, accounts []int64, sender string) (bool, error) {
	for _, a := range accounts {
		row, err := readSeen(s.db, seenSender, senderName(a, sender))
		if err != nil {
			return false, fail("sender", err)
		}
		if !row.alive(s.o.Now()) {
			return false, nil
		}
	}
	return true, nil
}

// Acquaint notes that the accounts took mail of the sender; it is known for so long. One transaction.
func (s *Store) Acquaint(ctx context.Context, accounts []int64, sender string, keep time.Duration) error {
	err := s.do(ctx, func(t *tx) error {
		for _, a := range accounts {
			name := senderName(a, sender)
			row, err := t.seen(seenSender, name)
			if err != nil {
				return err
			}
			now := t.s.o.Now()
			if row.alive(now) {
				err = t.renew(seenSender, name, row, now, keep)
			} else {
				err = t.putSeen(seenSender, name, seenRow{now.Unix(), now.Add(keep).Unix(), 1})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	return fail("sender", err)
}

func senderName(account int64, sender string) string {
	return seenName(strconv.FormatInt(account, 10), sender)
}

// seenName makes a key of pieces; a blank stands in none of them unquoted.
func seenName(pieces ...string) string {
	s := strings.ToValidUTF8(strings.ToLower(strings.Join(pieces, " ")), "?")
	return strings.ReplaceAll(s[:min(len(s), maxSeenName)], "\x00", "?")
}

// seenRow is a row; the zero value is none.
type seenRow struct{ first, until, count int64 }

func (r seenRow) alive(now time.Time) bool { return r.until > now.Unix() }

func (t *tx) seen(kind int, name string) (seenRow, error) { return readSeen(t.db, kind, name) }

func readSeen(q sqldb.Querier, kind int, name string) (r seenRow, err error) {
	err = q.Row(`SELECT first, until, count FROM seen WHERE kind = ? AND name = ?`, kind, name).Scan(&r.first, &r.until, &r.count)
	if errors.Is(err, sql.ErrNoRows) {
		return seenRow{}, nil
	}
	return r, err
}

// renew lets a row live longer, at most once in a twentieth of its life: most mail changes nothing.
func (t *tx) renew(kind int, name string, r seenRow, now time.Time, keep time.Duration) error {
	if until := now.Add(keep); until.Sub(time.Unix(r.until, 0)) >= keep/20 {
		r.until = until.Unix()
		return t.putSeen(kind, name, r)
	}
	return nil
}

func (t *tx) putSeen(kind int, name string, r seenRow) error {
	if err := t.boundSeen(); err != nil {
		return err
	}
	return t.exec(`INSERT INTO seen (kind, name, first, until, count) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (kind, name) DO UPDATE SET first = excluded.first, until = excluded.until, count = excluded.count`, kind, name, r.first, r.until, r.count)
}

// boundSeen makes room. How many rows there are is counted once in a while: in between it is known how many more there can be.
func (t *tx) boundSeen() error {
	if t.w.seenRoom > 0 {
		t.w.seenRoom--
		return nil
	}
	var n int64
	if err := t.db.Row(`SELECT COUNT(*) FROM seen`).Scan(&n); err != nil {
		return err
	}
	if keep := int64(maxSeen - maxSeen/10); n > keep {
		if err := t.exec(`DELETE FROM seen WHERE (kind, name) IN (SELECT kind, name FROM seen ORDER BY until LIMIT ?)`, n-keep); err != nil {
			return err
		}
		n = keep
	}
	t.w.seenRoom = maxSeen - n
	return nil
}

// trimSeen removes the rows whose time is over.
func (t *tx) trimSeen() (more bool, err error) {
	n, err := t.db.Changed(`DELETE FROM seen WHERE (kind, name) IN (SELECT kind, name FROM seen WHERE until <= ? LIMIT ?)`, t.now(), sweepStep)
	t.wrote = t.wrote || n > 0
	return n == sweepStep, err
}
