package storage

import (
	"context"
	"errors"
	"io/fs"
	"time"
)

// fillPause is how long the filling waits between two steps.
const fillPause = 20 * time.Millisecond

// fillStep is how many rows one transaction of the filling changes: about a millisecond for the others to wait.
const fillStep = 32

// fillSome is one step of the filling; false when it has ended, or failed and may be tried again in a while.
func (s *Store) fillSome(ctx context.Context) bool {
	more, err := s.fill(ctx)
	if err != nil && ctx.Err() == nil {
		s.log.Warn("filling the keys of messages", "error", err)
	}
	return more
}

// fill works out the Keys and previews of the newest messages that have none, and tells whether there may be more.
func (s *Store) fill(ctx context.Context) (more bool, err error) {
	var bound int64
	if err := s.db.Row(`SELECT value FROM counter WHERE name = 'keys'`).Scan(&bound); err != nil || bound == 0 {
		return false, err
	}
	blobs, err := s.withoutKeys(bound)
	if err != nil {
		return false, err
	}
	type made struct{ keys, preview []byte }
	all := make([]made, len(blobs))
	for i, id := range blobs {
		if all[i].keys, all[i].preview, err = s.remake(ctx, id); err != nil {
			return false, err
		}
	}
	err = s.do(ctx, func(t *tx) error {
		next := int64(0)
		for i, id := range blobs {
			next = id - 1
			if all[i].keys == nil {
				continue
			}
			if err := t.exec(`UPDATE mail SET keys = ?, preview = ? WHERE blob = ?`, all[i].keys, all[i].preview, id); err != nil {
				return err
			}
		}
		if len(blobs) < fillStep {
			next = 0
		}
		return t.exec(`UPDATE counter SET value = ? WHERE name = 'keys'`, next)
	})
	return err == nil && len(blobs) == fillStep, err
}

// withoutKeys are the next messages up to bound, the newest first.
func (s *Store) withoutKeys(bound int64) ([]int64, error) {
	return readAll[int64](s.db, `SELECT blob FROM mail WHERE blob <= ? ORDER BY blob DESC LIMIT ?`, bound, fillStep)
}

// remake works out what is kept of a message that is there already; nil for what cannot be had because its bytes are gone or cannot be read: it
// is worked out when it is asked for then.
func (s *Store) remake(ctx context.Context, blob int64) (keys, preview []byte, err error) {
	keys, err = s.makeKeys(ctx, blob)
	if err == nil {
		preview, err = s.makePreview(ctx, blob)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
		s.log.Warn("a message cannot be read for its preview", "blob", blob, "error", err)
	}
	return keys, preview, ctx.Err()
}
