package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage/blob"
)

// The kinds of purge rows.
const (
	purgeMessages = 1
	purgeNode     = 2
)

// sweepStep is how many rows one transaction of the sweeper removes: some milliseconds for the others to wait.
const sweepStep = 200

// orphanAge is how old a file without a row, or a staging file that nobody holds, must be to be removed.
const orphanAge = time.Hour

// coarse is how far the times of files may lag behind the clock.
const coarse = 100 * time.Millisecond

func (s *Store) wakeSweeper() {
	select {
	case s.work <- struct{}{}:
	default:
	}
}

// Run does the store's background work (sweeper, journal trim, text index, what older versions did not keep) until ctx ends. What it finds is in the database, so
// that it goes on where it was after a crash.
func (s *Store) Run(ctx context.Context) error {
	var indexing sync.WaitGroup
	defer indexing.Wait()
	indexing.Go(func() { s.runTexts(ctx) })
	short := time.NewTicker(max(time.Second, min(s.o.GarbageAge, s.o.PartialAge)/2))
	defer short.Stop()
	long := time.NewTicker(time.Hour)
	defer long.Stop()
	// What is older than this process, which alone has the store open, was left by a crash.
	all, before := true, s.began.Add(-coarse)
	fill := time.NewTimer(0)
	defer fill.Stop()
	due := true
	for {
		if due {
			if err := s.sweep(ctx, all, before); err != nil && ctx.Err() == nil {
				s.log.Warn("sweeping the store", "error", err)
			}
		}
		due = true
		select {
		case <-fill.C:
			due = false
			if s.fillSome(ctx) {
				fill.Reset(fillPause)
			}
		case <-ctx.Done():
			return nil
		case <-s.stop:
			return nil
		case <-s.work:
			all = false
		case <-short.C:
			all = false
		case <-long.C:
			all, before = true, s.o.Now().Add(-orphanAge)
			fill.Reset(fillPause)
		}
	}
}

// Sweep does once what Run does over time: removes rows that nobody can reach, bytes that nothing refers to, old cut uploads and
// old records of the journal, and fills rows that older versions left empty.
func (s *Store) Sweep(ctx context.Context) error {
	err := s.sweep(ctx, true, s.o.Now().Add(-orphanAge))
	for more := true; more && err == nil; {
		more, err = s.fill(ctx)
	}
	return fail("sweep", err)
}

// sweep does the work of some seconds; with all also what looks at every file: those from before that time which nobody needs go.
func (s *Store) sweep(ctx context.Context, all bool, before time.Time) error {
	_, err := s.DropPartials(ctx, 0, s.o.Now().Add(-s.o.PartialAge))
	errs := []error{err, s.untilDone(ctx, (*tx).purge), s.sweepGarbage(ctx), s.keepReserve()}
	if all {
		errs = append(errs, s.untilDone(ctx, (*tx).trimJournal), s.untilDone(ctx, (*tx).trimVisits), s.untilDone(ctx, (*tx).trimSeen),
			s.untilDone(ctx, (*tx).trimSuppressions), s.sweepOrphans(ctx, before))
		// What is staged and not held by this process, which alone has the store open, was left by a crash, however short ago.
		_, err = s.blobs.SweepStaging(ctx, 0)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// untilDone runs a step in transactions of its own until there is no more to do.
func (s *Store) untilDone(ctx context.Context, step func(*tx) (more bool, err error)) error {
	for {
		var more bool
		err := s.do(ctx, func(t *tx) (err error) {
			more, err = step(t)
			return err
		})
		if err != nil || !more {
			return err
		}
	}
}

// purge removes a step's worth of rows that nobody can reach.
func (t *tx) purge() (more bool, err error) {
	var id int64
	var kind int
	err = t.db.Row(`SELECT id, kind FROM purge LIMIT 1`).Scan(&id, &kind)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	done := false
	if kind == purgeMessages {
		done, err = t.purgeMessages(id)
	} else {
		done, err = t.purgeNode(id)
	}
	if err == nil && done {
		err = t.exec(`DELETE FROM purge WHERE id = ? AND kind = ?`, id, kind)
	}
	return true, err
}

func (t *tx) purgeMessages(mailbox int64) (done bool, err error) {
	uids, err := readAll[int64](t.db, `SELECT uid FROM message WHERE mailbox = ? ORDER BY uid LIMIT ?`, mailbox, sweepStep)
	if err != nil {
		return false, err
	}
	if n := len(uids); n > 0 {
		return false, t.removeMessages(mailbox, uint32(uids[0]), uint32(uids[n-1]))
	}
	for _, q := range []string{`DELETE FROM expunged WHERE mailbox = ?`, `DELETE FROM keyword WHERE mailbox = ?`} {
		if err := t.exec(q, mailbox); err != nil {
			return false, err
		}
	}
	return true, nil
}

// purgeNode removes files below a node; folders below it get rows in purge of their own.
func (t *tx) purgeNode(id int64) (done bool, err error) {
	parts, err := t.partials(` WHERE parent = ? LIMIT 200`, id)
	if err != nil || len(parts) > 0 {
		return false, errors.Join(err, t.dropAll(parts))
	}
	children, err := readAll[int64](t.db, `SELECT id FROM node WHERE parent = ? LIMIT ?`, id, sweepStep)
	if err != nil {
		return false, err
	}
	for _, c := range children {
		var kind, blob int64
		if err := t.db.Row(`SELECT kind, blob FROM node WHERE id = ?`, c).Scan(&kind, &blob); err != nil {
			return false, err
		}
		if Kind(kind) == KindFile {
			if err := t.release(blob); err != nil {
				return false, err
			}
			if err := t.exec(`DELETE FROM node WHERE id = ?`, c); err != nil {
				return false, err
			}
			continue
		}
		// Cut off, so that it is no child any more.
		if err := t.exec(`UPDATE node SET parent = NULL WHERE id = ?`, c); err != nil {
			return false, err
		}
		if err := t.exec(`INSERT INTO purge (id, kind) VALUES (?, ?)`, c, purgeNode); err != nil {
			return false, err
		}
	}
	if len(children) > 0 {
		return false, nil
	}
	return true, t.exec(`DELETE FROM node WHERE id = ?`, id)
}

// sweepGarbage removes bytes that nothing refers to any more. The file goes after its row: a crash between leaves a file without
// a row, which sweepOrphans finds.
func (s *Store) sweepGarbage(ctx context.Context) error {
	before := s.o.Now().Add(-s.o.GarbageAge).Unix()
	for {
		var keys []string
		n := 0
		err := s.do(ctx, func(t *tx) (err error) {
			n, keys, err = t.removeGarbage(before)
			return err
		})
		if err != nil {
			return err
		}
		for _, k := range keys {
			if err := s.blobs.Delete(ctx, blob.Key(k)); err != nil {
				return err
			}
		}
		if n < sweepStep {
			return nil
		}
	}
}

func (t *tx) removeGarbage(before int64) (n int, keys []string, err error) {
	ids, err := readAll[int64](t.db, `SELECT blob FROM garbage WHERE since <= ? ORDER BY blob LIMIT ?`, before, sweepStep)
	if err != nil {
		return 0, nil, err
	}
	var mails []int64
	for _, id := range ids {
		var key sql.NullString
		if err := t.db.Row(`SELECT key FROM blob WHERE id = ?`, id).Scan(&key); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return 0, nil, err
		}
		if key.Valid {
			keys = append(keys, key.String)
		}
		for _, q := range []string{`DELETE FROM blob WHERE id = ?`, `DELETE FROM garbage WHERE blob = ?`} {
			if err := t.exec(q, id); err != nil {
				return 0, nil, err
			}
		}
		n, err := t.db.Changed(`DELETE FROM mail WHERE blob = ?`, id)
		if err != nil {
			return 0, nil, err
		}
		if n > 0 {
			mails = append(mails, id)
		}
	}
	if x := t.s.texts.index; x != nil && len(mails) > 0 {
		t.after = append(t.after, func() { x.Forget(mails) })
	}
	return len(ids), keys, nil
}

// sweepOrphans removes files that no row names: what a crash left, or an upload whose transaction failed.
func (s *Store) sweepOrphans(ctx context.Context, before time.Time) error {
	var old []blob.Key
	flush := func() error {
		orphans, err := s.withoutRow(old)
		old = old[:0]
		for _, k := range orphans {
			if err == nil {
				s.log.Info("removing a blob without a row", "key", string(k))
				err = s.blobs.Delete(ctx, k)
			}
		}
		return err
	}
	err := s.blobs.Walk(ctx, func(k blob.Key, _ int64, modified time.Time) error {
		if !modified.Before(before) {
			return nil
		}
		if old = append(old, k); len(old) < mailBatch {
			return nil
		}
		return flush()
	})
	return errors.Join(err, flush())
}

func (s *Store) withoutRow(keys []blob.Key) ([]blob.Key, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	args := make([]any, mailBatch)
	for i := range args {
		args[i] = string(keys[min(i, len(keys)-1)])
	}
	// Asked before the rows: an upload that is taken meanwhile has its row by then.
	s.mu.Lock()
	keys = slices.DeleteFunc(slices.Clone(keys), func(k blob.Key) bool { _, ok := s.holding[k]; return ok })
	s.mu.Unlock()
	known, err := readAll[blob.Key](s.db, `SELECT key FROM blob WHERE key IN (?`+strings.Repeat(`, ?`, mailBatch-1)+`)`, args...)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(keys, func(k blob.Key) bool { return slices.Contains(known, k) }), nil
}

// trimJournal removes records that are too many or too old.
func (t *tx) trimJournal() (more bool, err error) {
	var keep int64
	err = t.db.Row(`SELECT id FROM journal ORDER BY id DESC LIMIT 1 OFFSET ?`, t.s.o.JournalMax).Scan(&keep)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, err
	}
	before := t.s.o.Now().Add(-t.s.o.JournalAge).UnixMilli()
	n, err := t.db.Changed(`DELETE FROM journal WHERE id IN (SELECT id FROM journal WHERE id <= ? OR at < ? ORDER BY id LIMIT ?)`, keep, before, sweepStep)
	t.wrote = t.wrote || n > 0
	if err != nil {
		return false, fmt.Errorf("trimming the journal: %w", err)
	}
	return n == sweepStep, nil
}
