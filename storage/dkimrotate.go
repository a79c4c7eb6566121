package storage

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"
)

// AddDKIMKeys makes the pair that will sign next. fs.ErrExist when there is one already, ErrNotLocal.
func (s *Store) AddDKIMKeys(ctx context.Context, domain string) error {
	pair, err := s.makeDKIM()
	if err != nil {
		return fail("add dkim keys", err)
	}
	return s.changeDKIM(ctx, "add dkim keys", domain, func(t *tx, d string, all []DKIMKey) error {
		for _, k := range all {
			if k.State == DKIMNext {
				return fmt.Errorf("%s waits to be used: %w", k.Name(), fs.ErrExist)
			}
		}
		return t.putDKIM(d, pair, DKIMNext)
	})
}

// SeenDKIMKey notes that the DNS shows the record of a key, or no longer does. Only the first time of several in a row counts.
func (s *Store) SeenDKIMKey(ctx context.Context, domain, selector string, shown bool) error {
	return s.changeDKIM(ctx, "seen dkim key", domain, func(t *tx, d string, all []DKIMKey) error {
		for _, k := range all {
			if k.Selector != selector || shown == !k.Seen.IsZero() {
				continue
			}
			at := int64(0)
			if shown {
				at = t.now()
			}
			t.dkimChanged()
			return t.exec(`UPDATE dkim_key SET seen = ? WHERE domain = ? AND selector = ?`, at, d, selector)
		}
		return nil
	})
}

// ActivateDKIMKeys lets the next pair sign and retires the one that did: its private halves are gone then. fs.ErrNotExist when there is no next pair. Whether
// the DNS shows it is the caller's to know.
func (s *Store) ActivateDKIMKeys(ctx context.Context, domain string) error {
	return s.changeDKIM(ctx, "activate dkim keys", domain, func(t *tx, d string, all []DKIMKey) error {
		next := 0
		for _, k := range all {
			if k.State == DKIMNext {
				next++
			}
		}
		if next == 0 {
			return fmt.Errorf("next keys of %s: %w", d, fs.ErrNotExist)
		}
		if err := t.exec(`UPDATE dkim_key SET state = 'retired', private = ?, changed = ? WHERE domain = ? AND state = 'active'`, []byte{}, t.now(), d); err != nil {
			return err
		}
		t.dkimChanged()
		return t.exec(`UPDATE dkim_key SET state = 'active', changed = ? WHERE domain = ? AND state = 'next'`, t.now(), d)
	})
}

// RemoveDKIMKey removes a key that does not sign: one that shall never do, or a retired one before its time. fs.ErrNotExist; fs.ErrPermission for an active one.
func (s *Store) RemoveDKIMKey(ctx context.Context, domain, selector string) error {
	return s.changeDKIM(ctx, "remove dkim key", domain, func(t *tx, d string, all []DKIMKey) error {
		for _, k := range all {
			switch {
			case k.Selector != selector:
			case k.State == DKIMActive:
				return fmt.Errorf("%s signs: %w", k.Name(), fs.ErrPermission)
			default:
				t.dkimChanged()
				return t.exec(`DELETE FROM dkim_key WHERE domain = ? AND selector = ?`, d, selector)
			}
		}
		return fmt.Errorf("key %s of %s: %w", selector, d, fs.ErrNotExist)
	})
}

// DropRetiredDKIMKeys removes keys that were retired before a time and returns what they were, so that it can be said that their records may go.
func (s *Store) DropRetiredDKIMKeys(ctx context.Context, before time.Time) ([]string, error) {
	const which = ` FROM dkim_key WHERE state = 'retired' AND changed < ?`
	var names []string
	err := s.do(ctx, func(t *tx) (err error) {
		names, err = readAll[string](t.db, `SELECT selector || '._domainkey.' || domain`+which, before.Unix())
		if err != nil || len(names) == 0 {
			return err
		}
		t.dkimChanged()
		return t.exec(`DELETE`+which, before.Unix())
	})
	return names, fail("drop dkim keys", err)
}

// changeDKIM runs f in a transaction with the keys of one of our domains.
func (s *Store) changeDKIM(ctx context.Context, what, domain string, f func(t *tx, domain string, all []DKIMKey) error) error {
	d, err := parseDomain(strings.TrimSuffix(domain, "."))
	if err != nil {
		return fail(what, err)
	}
	return fail(what, s.do(ctx, func(t *tx) error {
		if err := t.local(d); err != nil {
			return err
		}
		all, err := readDKIM(t.db, d)
		if err != nil {
			return err
		}
		return f(t, d, all)
	}))
}
