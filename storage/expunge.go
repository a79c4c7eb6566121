package storage

import (
	"context"
	"fmt"
	"slices"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// expungeStep is how many messages one transaction removes, so that others get their turn.
const expungeStep = 2000

// Expunge removes the messages of uids that have \Deleted (uids nil: all that have), or with force whatever their flags. It returns those that went,
// ascending, also when an error ends it. Many messages go in several transactions.
func (s *Store) Expunge(ctx context.Context, account, mailbox int64, uids []uint32, force bool) ([]uint32, error) {
	p, err := s.loadWarm(ctx, mailbox)
	if err != nil {
		return nil, fail("expunge", err)
	}
	uids = candidates(p, uids, force)
	var gone []uint32
	// Also without any: the mailbox must be the account's.
	for first := true; first || len(uids) > 0; first = false {
		n := min(len(uids), expungeStep)
		part := uids[:n]
		uids = uids[n:]
		var went []uint32
		err := s.do(ctx, func(t *tx) (err error) {
			went, err = t.expunge(account, mailbox, part, force)
			return err
		})
		if err != nil {
			return gone, fail("expunge", err)
		}
		gone = append(gone, went...)
	}
	return gone, nil
}

// candidates are the messages that may go: those of want (nil: all) that are there and, without force, have \Deleted.
func candidates(p *Snapshot, want []uint32, force bool) []uint32 {
	if p.mailbox.Deleted == 0 && !force {
		return nil
	}
	if want != nil {
		want = ascending(want)
	}
	var uids []uint32
	for _, e := range slicesOf(p, want) {
		if force || e.flags&Deleted != 0 {
			uids = append(uids, e.uid)
		}
	}
	return uids
}

func (t *tx) expunge(account, mailbox int64, uids []uint32, force bool) ([]uint32, error) {
	a, err := t.account(account)
	if err != nil {
		return nil, err
	}
	m, err := t.mailbox(account, mailbox)
	if err != nil || len(uids) == 0 {
		return nil, err
	}
	p, err := t.view(m)
	if err != nil {
		return nil, err
	}
	list := slicesOf(p, uids)
	if !force {
		list = slices.DeleteFunc(list, func(e packed) bool { return e.flags&Deleted == 0 })
	}
	if len(list) == 0 {
		return nil, nil
	}
	var size int64
	gone := make([]uint32, len(list))
	for i := range list {
		size += int64(list[i].size)
		gone[i] = list[i].uid
	}
	if err := t.charge(a, -size, -int64(len(list)), 0); err != nil {
		return nil, err
	}
	if err := t.leave(m, list, t.nextModSeq(a)); err != nil {
		return nil, err
	}
	for first, last := range ranges(gone) {
		if err := t.removeMessages(m.ID, first, last); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// ranges are the runs of UIDs that follow one another.
func ranges(uids []uint32) func(yield func(first, last uint32) bool) {
	return func(yield func(first, last uint32) bool) {
		for i := 0; i < len(uids); {
			j := i + 1
			for j < len(uids) && uids[j] == uids[j-1]+1 {
				j++
			}
			if !yield(uids[i], uids[j-1]) {
				return
			}
			i = j
		}
	}
}

// leave keeps m's counters, tombstones and picture for messages that go; their rows are left to the caller.
func (t *tx) leave(m *mailboxRow, list []packed, modseq uint64) error {
	uids := make([]uint32, len(list))
	for i := range list {
		uids[i] = list[i].uid
		m.count(&list[i], -1)
	}
	t.touchMailbox(m, modseq)
	ed := t.edits(m)
	for first, last := range ranges(uids) {
		ed.steps = append(ed.steps, edit{first: first, last: last})
		if err := t.exec(`INSERT INTO expunged (mailbox, modseq, first, last) VALUES (?, ?, ?, ?)`, m.ID, int64(modseq), int64(first), int64(last)); err != nil {
			return err
		}
		m.tombs++
	}
	t.change(watch.Change{Account: m.Account, Mailbox: m.ID, Kind: watch.Expunged, ModSeq: modseq, UIDs: named(uids), More: len(uids) > maxNamed})
	return t.sweepTombs(m)
}

// maxTombs is how many ranges of expunged UIDs are remembered for a mailbox. Of more, the older half is forgotten.
const maxTombs = 8192

func (t *tx) sweepTombs(m *mailboxRow) error {
	if m.tombs <= maxTombs {
		return nil
	}
	var floor int64
	if err := t.db.Row(`SELECT modseq FROM expunged WHERE mailbox = ? ORDER BY modseq LIMIT 1 OFFSET ?`, m.ID, m.tombs/2).Scan(&floor); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM expunged WHERE mailbox = ? AND modseq <= ?`, m.ID, floor); err != nil {
		return err
	}
	m.floor = uint64(floor)
	return t.db.Row(`SELECT COUNT(*) FROM expunged WHERE mailbox = ?`, m.ID).Scan(&m.tombs)
}

// removeMessages removes rows and gives back their references to blobs.
func (t *tx) removeMessages(mailbox int64, first, last uint32) error {
	// Most blobs have no other reference.
	if err := t.exec(`INSERT INTO garbage (blob, since) SELECT m.blob, ? FROM message m WHERE m.mailbox = ? AND m.uid BETWEEN ? AND ?
		AND NOT EXISTS (SELECT 1 FROM blob_shared s WHERE s.blob = m.blob)`, t.now(), mailbox, int64(first), int64(last)); err != nil {
		return err
	}
	shared, err := readAll[int64](t.db, `SELECT m.blob FROM message m JOIN blob_shared s ON s.blob = m.blob WHERE m.mailbox = ? AND m.uid BETWEEN ? AND ?`, mailbox, int64(first), int64(last))
	if err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM message WHERE mailbox = ? AND uid BETWEEN ? AND ?`, mailbox, int64(first), int64(last)); err != nil {
		return err
	}
	for _, b := range shared {
		if err := t.release(b); err != nil {
			return err
		}
	}
	return nil
}

// UIDRange is first <= last.
type UIDRange struct{ First, Last uint32 }

// Expunged are the UIDs that went after since and up to the picture p, merged and ascending, for QRESYNC (RFC 7162 section 3.2.10). So none of them is in p. known
// false: tombstones that old were swept; all UIDs below p's UIDNEXT that are not in p may have gone since.
func (s *Store) Expunged(ctx context.Context, p *Snapshot, since uint64) (gone []UIDRange, known bool, err error) {
	m := &p.mailbox
	if since >= m.HighestModSeq {
		return nil, true, nil
	}
	err = s.db.View(ctx, func(v *sqldb.View) error {
		var floor uint64
		if err := v.Row(`SELECT floor FROM mailbox WHERE id = ? AND noselect = 0`, m.ID).Scan(&floor); err != nil {
			return fmt.Errorf("mailbox: %w", noRows(err))
		}
		// Rows may be newer than p, and the floor with them: then the answer is "not known", which is right for p too.
		if known = since >= floor; !known {
			return nil
		}
		gone, err = readTombs(v, m.ID, since, m.HighestModSeq)
		return err
	})
	if err != nil {
		return nil, false, fail("expunged", err)
	}
	return gone, known, nil
}

func readTombs(q sqldb.Querier, mailbox int64, since, until uint64) (gone []UIDRange, err error) {
	rows, err := q.Query(`SELECT first, last FROM expunged WHERE mailbox = ? AND modseq > ? AND modseq <= ? ORDER BY first`, mailbox, int64(since), int64(until))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r UIDRange
		if err := rows.Scan(&r.First, &r.Last); err != nil {
			return nil, err
		}
		if n := len(gone) - 1; n >= 0 && gone[n].Last+1 >= r.First {
			gone[n].Last = max(gone[n].Last, r.Last)
			continue
		}
		gone = append(gone, r)
	}
	return gone, rows.Err()
}
