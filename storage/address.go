package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Domain is one whose mail we take. The first one made is the default domain.
type Domain struct {
	Name    string // lowercase A-label form
	Default bool
}

// noRows makes fs.ErrNotExist of the database's word for it.
func noRows(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fs.ErrNotExist
	}
	return err
}

// readAll reads the only column of a query's rows.
func readAll[T any](q sqldb.Querier, query string, args ...any) (all []T, err error) {
	rows, err := q.Query(query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var one T
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// readSet is readAll for those who look things up in it.
func readSet[T comparable](q sqldb.Querier, query string, args ...any) (map[T]bool, error) {
	all, err := readAll[T](q, query, args...)
	set := make(map[T]bool, len(all))
	for _, one := range all {
		set[one] = true
	}
	return set, err
}

// AddDomain adds one of ours, with the keys that its mail is signed with; no error when it is one already. ErrInvalid.
func (s *Store) AddDomain(ctx context.Context, name string) error {
	d, err := parseDomain(strings.TrimSuffix(name, "."))
	if err != nil {
		return fail("add domain", err)
	}
	if s.local(d) == nil {
		return nil
	}
	keys, err := s.makeDKIM()
	if err != nil {
		return fail("add domain", err)
	}
	err = s.do(ctx, func(t *tx) error {
		var n, have int
		if err := t.db.Row(`SELECT COUNT(*), COALESCE(MAX(CASE WHEN name = ? THEN 1 ELSE 0 END), 0) FROM domain`, d).Scan(&n, &have); err != nil {
			return err
		}
		if have > 0 {
			return nil
		}
		id, err := t.newID()
		if err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO domain (name, is_default, id) VALUES (?, ?, ?)`, d, truth(n == 0), id); err != nil {
			return err
		}
		return t.putDKIM(d, keys, DKIMActive)
	})
	return fail("add domain", err)
}

// RemoveDomain removes one: fs.ErrPermission while an account or a group has an address in it, fs.ErrNotExist. The oldest of the others
// becomes the default domain if this was it.
func (s *Store) RemoveDomain(ctx context.Context, name string) error {
	d, err := parseDomain(strings.TrimSuffix(name, "."))
	if err != nil {
		return fail("remove domain", err)
	}
	err = s.do(ctx, func(t *tx) error {
		var wasDefault bool
		if err := t.db.Row(`SELECT is_default FROM domain WHERE name = ?`, d).Scan(&wasDefault); err != nil {
			return noRows(err)
		}
		var used int
		if err := t.db.Row(`SELECT (SELECT COUNT(*) FROM address WHERE domain = ?1) + (SELECT COUNT(*) FROM mail_group WHERE domain = ?1)`, d).Scan(&used); err != nil {
			return err
		}
		if used > 0 {
			return fmt.Errorf("%w: %d addresses are in it", fs.ErrPermission, used)
		}
		t.dkimChanged()
		for _, q := range []string{`DELETE FROM dkim_key WHERE domain = ?`, `DELETE FROM catchall WHERE domain = ?`, `DELETE FROM domain_alias WHERE ?1 IN (domain, target)`, `DELETE FROM domain WHERE name = ?`} {
			if err := t.exec(q, d); err != nil {
				return err
			}
		}
		if !wasDefault {
			return nil
		}
		return t.exec(`UPDATE domain SET is_default = 1 WHERE id = (SELECT MIN(id) FROM domain)`)
	})
	return fail("remove domain", err)
}

// Domains are all of ours, the default one first.
func (s *Store) Domains(ctx context.Context) ([]Domain, error) {
	rows, err := s.db.Query(`SELECT name, is_default FROM domain ORDER BY is_default DESC, name`)
	if err != nil {
		return nil, fail("domains", err)
	}
	defer rows.Close()
	var all []Domain
	for rows.Next() {
		var d Domain
		if err := rows.Scan(&d.Name, &d.Default); err != nil {
			return nil, fail("domains", err)
		}
		all = append(all, d)
	}
	return all, fail("domains", rows.Err())
}

// defaultDomain is "" before there is one.
func (s *Store) defaultDomain() (string, error) {
	var d string
	err := s.db.Row(`SELECT name FROM domain WHERE is_default = 1`).Scan(&d)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return d, err
}

// address is one of ours in the form in which it is stored.
type address struct{ local, domain string }

func (a address) String() string { return a.local + "@" + a.domain }

// parseOwn parses an address that an account shall have. Ours have no need of quotes.
func parseOwn(addr string) (address, error) {
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return address{}, err
	}
	local = foldLocal(local)
	if !isDotString(local) || strings.ContainsAny(local, "/%*") {
		return address{}, fmt.Errorf("%w: what stands before the @ of %q cannot stand there", ErrInvalid, addr)
	}
	return address{local, domain}, nil
}

// free tells whether an address of a local domain can be given to an account.
func (t *tx) free(a address) error {
	var local, taken int
	err := t.db.Row(`SELECT (SELECT COUNT(*) FROM domain WHERE name = ?1), (SELECT COUNT(*) FROM address WHERE domain = ?1 AND local = ?2)
		+ (SELECT COUNT(*) FROM mail_group WHERE domain = ?1 AND local = ?2)`, a.domain, a.local).Scan(&local, &taken)
	switch {
	case err != nil:
		return err
	case local == 0:
		return fmt.Errorf("%w: %s", ErrNotLocal, a.domain)
	case taken > 0:
		return fmt.Errorf("%s: %w", a, fs.ErrExist)
	}
	return nil
}

func (t *tx) putAddress(account int64, a address, position int) error {
	return t.exec(`INSERT INTO address (domain, local, account, position) VALUES (?, ?, ?, ?)`, a.domain, a.local, account, position)
}

// AddAlias gives the account one more address. fs.ErrExist when somebody has it, ErrNotLocal, ErrInvalid.
func (s *Store) AddAlias(ctx context.Context, account int64, addr string) error {
	a, err := parseOwn(addr)
	if err != nil {
		return fail("add alias", err)
	}
	err = s.do(ctx, func(t *tx) error {
		if _, err := t.account(account); err != nil {
			return err
		}
		if err := t.free(a); err != nil {
			return err
		}
		var last int
		if err := t.db.Row(`SELECT COALESCE(MAX(position), 0) FROM address WHERE account = ?`, account).Scan(&last); err != nil {
			return err
		}
		t.change(watch.Change{Account: account, Kind: watch.AccountChanged})
		return t.putAddress(account, a, last+1)
	})
	return fail("add alias", err)
}

// RemoveAlias takes an address away. fs.ErrNotExist; fs.ErrPermission for the primary one.
func (s *Store) RemoveAlias(ctx context.Context, account int64, addr string) error {
	a, err := parseOwn(addr)
	if err != nil {
		return fail("remove alias", err)
	}
	err = s.do(ctx, func(t *tx) error {
		var position int
		if err := t.db.Row(`SELECT position FROM address WHERE domain = ? AND local = ? AND account = ?`, a.domain, a.local, account).Scan(&position); err != nil {
			return noRows(err)
		}
		if position == 0 {
			return fmt.Errorf("%w: it is the account's name", fs.ErrPermission)
		}
		t.change(watch.Change{Account: account, Kind: watch.AccountChanged})
		if err := t.exec(`DELETE FROM forward WHERE account = ? AND address = ?`, account, a.String()); err != nil {
			return err
		}
		return t.exec(`DELETE FROM address WHERE domain = ? AND local = ?`, a.domain, a.local)
	})
	return fail("remove alias", err)
}

// Addresses are all addresses of an account, the primary one first.
func (s *Store) Addresses(ctx context.Context, account int64) ([]string, error) {
	rows, err := s.db.Query(`SELECT local, domain FROM address WHERE account = ? ORDER BY position`, account)
	if err != nil {
		return nil, fail("addresses", err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var a address
		if err := rows.Scan(&a.local, &a.domain); err != nil {
			return nil, fail("addresses", err)
		}
		all = append(all, a.String())
	}
	return all, fail("addresses", rows.Err())
}

// admin is who gets the mail of postmaster where nobody has that address.
func (s *Store) admin() (*Account, error) {
	a, err := scanAccount(s.db.Row(`SELECT ` + accountColumns + ` FROM account WHERE admin = 1 AND disabled = 0 ORDER BY id LIMIT 1`))
	return a, noRows(err)
}

// Owns tells whether the account may send as addr: one of its addresses, with any +detail, or one of a group whose members may send as it. What is no
// address is nobody's.
func (s *Store) Owns(ctx context.Context, account int64, addr string) (bool, error) {
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return false, nil
	}
	p, err := s.place(local, domain)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		return false, fail("owns", err)
	}
	if p.account != nil {
		return p.account.ID == account, nil
	}
	if p.detail != "" {
		return false, nil
	}
	member, err := s.mayAsGroup(account, p)
	return member, fail("owns", err)
}
