package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Forwarding is where mail of an account goes on to.
type Forwarding struct {
	Address string   // the one of the account's addresses that this is about; "" is all of them
	Targets []string // where its mail goes
	Keep    bool     // a copy stays
}

// maxTargets is how many addresses a forward may name.
const maxTargets = 50

// SetForward sends the mail of an account on, in the place of what was said for the same address. Without targets it ends that. What is said for an address goes before
// what is said for all. ErrInvalid, ErrLimit beyond 50 targets, fs.ErrNotExist when the address is not the account's.
func (s *Store) SetForward(ctx context.Context, account int64, f Forwarding) error {
	return fail("forward", s.setForward(ctx, account, f))
}

func (s *Store) setForward(ctx context.Context, account int64, f Forwarding) error {
	if len(f.Targets) > maxTargets {
		return fmt.Errorf("%w: %d addresses", ErrLimit, maxTargets)
	}
	var own address
	if f.Address != "" {
		var err error
		if own, err = parseOwn(f.Address); err != nil {
			return err
		}
		f.Address = own.String()
	}
	targets := []string{}
	for _, a := range f.Targets {
		c, err := s.memberAddress(a)
		if err != nil {
			return err
		}
		if !slices.Contains(targets, c) {
			targets = append(targets, c)
		}
	}
	return s.do(ctx, func(t *tx) error {
		if _, err := t.account(account); err != nil {
			return err
		}
		if f.Address != "" {
			var n int
			if err := t.db.Row(`SELECT COUNT(*) FROM address WHERE domain = ? AND local = ? AND account = ?`, own.domain, own.local, account).Scan(&n); err != nil {
				return err
			}
			if n == 0 {
				return fmt.Errorf("address %s of the account: %w", own, fs.ErrNotExist)
			}
		}
		if err := t.exec(`DELETE FROM forward WHERE account = ? AND address = ?`, account, f.Address); err != nil || len(targets) == 0 {
			return err
		}
		return t.exec(`INSERT INTO forward (account, address, targets, keep) VALUES (?, ?, ?, ?)`, account, f.Address, strings.Join(targets, " "), truth(f.Keep))
	})
}

// Forwards are what is said of an account's mail, what is said for all of it first.
func (s *Store) Forwards(ctx context.Context, account int64) ([]Forwarding, error) {
	rows, err := s.db.Query(`SELECT address, targets, keep FROM forward WHERE account = ? ORDER BY address`, account)
	if err != nil {
		return nil, fail("forwards", err)
	}
	defer rows.Close()
	var all []Forwarding
	for rows.Next() {
		var f Forwarding
		var targets string
		if err := rows.Scan(&f.Address, &targets, &f.Keep); err != nil {
			return nil, fail("forwards", err)
		}
		f.Targets = strings.Fields(targets)
		all = append(all, f)
	}
	return all, fail("forwards", rows.Err())
}

// forwardOf is where mail for an account by one of its addresses goes; none: nowhere else.
func (s *Store) forwardOf(account int64, a address) (targets []string, keep bool, err error) {
	var all string
	err = s.db.Row(`SELECT targets, keep FROM forward WHERE account = ? AND address IN (?, '') ORDER BY address DESC LIMIT 1`, account, a.String()).Scan(&all, &keep)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, true, nil
	}
	return strings.Fields(all), keep, err
}
