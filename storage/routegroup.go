package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// Group is an address with members.
type Group struct {
	Address        string
	MembersMaySend bool     // its members may send as it
	Members        []string // addresses in order; of Groups none
	Size           int      // how many members
}

// maxMembers is how many a group has at most.
const maxMembers = 5000

// AddGroup makes a group without members. fs.ErrExist when somebody has the address, ErrNotLocal, ErrInvalid.
func (s *Store) AddGroup(ctx context.Context, addr string, membersMaySend bool) error {
	a, err := parseOwn(addr)
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			if err := t.free(a); err != nil {
				return err
			}
			id, err := t.newID()
			if err != nil {
				return err
			}
			return t.exec(`INSERT INTO mail_group (id, domain, local, members_send) VALUES (?, ?, ?, ?)`, id, a.domain, a.local, truth(membersMaySend))
		})
	}
	return fail("add group", err)
}

// group is the id of a group. fs.ErrNotExist.
func (t *tx) group(addr string) (id int64, err error) {
	a, err := parseOwn(addr)
	if err != nil {
		return 0, err
	}
	err = t.db.Row(`SELECT id FROM mail_group WHERE domain = ? AND local = ?`, a.domain, a.local).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, fmt.Errorf("group %s: %w", a, fs.ErrNotExist)
	}
	return id, err
}

// RemoveGroup removes one; mail for it is refused from now on. fs.ErrNotExist.
func (s *Store) RemoveGroup(ctx context.Context, addr string) error {
	err := s.do(ctx, func(t *tx) error {
		id, err := t.group(addr)
		if err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM group_member WHERE mail_group = ?`, id); err != nil {
			return err
		}
		return t.exec(`DELETE FROM mail_group WHERE id = ?`, id)
	})
	return fail("remove group", err)
}

// memberAddress is an address as members and targets are kept: of ours folded, of others with the local part as it was written.
func (s *Store) memberAddress(addr string) (string, error) {
	local, domain, err := ParseAddress(addr)
	if err != nil {
		return "", err
	}
	ours, err := s.ours(domain)
	if err != nil {
		return "", err
	}
	if ours {
		local = foldLocal(local)
	}
	if !isDotString(local) {
		return "", fmt.Errorf("%w: what stands before the @ of %q cannot stand there", ErrInvalid, addr) // targets are kept with a space between
	}
	return local + "@" + domain, nil
}

// ChangeMembers adds members and takes others away; who is one already, or is none, is no error. ErrLimit beyond 5,000, fs.ErrNotExist, ErrInvalid.
func (s *Store) ChangeMembers(ctx context.Context, group string, add, remove []string) error {
	var err error
	clean := func(all []string) (out []string) {
		for _, m := range all {
			c, e := s.memberAddress(m)
			if err == nil {
				err = e
			}
			out = append(out, c)
		}
		return out
	}
	if add, remove = clean(add), clean(remove); err != nil {
		return fail("change members", err)
	}
	err = s.do(ctx, func(t *tx) error {
		id, err := t.group(group)
		if err != nil {
			return err
		}
		var n int
		if err := t.db.Row(`SELECT COUNT(*) FROM group_member WHERE mail_group = ?`, id).Scan(&n); err != nil {
			return err
		}
		if n+len(add) > maxMembers {
			return fmt.Errorf("%w: %d members", ErrLimit, maxMembers)
		}
		for _, m := range add {
			if err := t.exec(`INSERT INTO group_member (mail_group, address) VALUES (?, ?) ON CONFLICT DO NOTHING`, id, m); err != nil {
				return err
			}
		}
		for _, m := range remove {
			if err := t.exec(`DELETE FROM group_member WHERE mail_group = ? AND address = ?`, id, m); err != nil {
				return err
			}
		}
		return nil
	})
	return fail("change members", err)
}

// LetMembersSend says whether who is a member of the group may send as it. fs.ErrNotExist.
func (s *Store) LetMembersSend(ctx context.Context, group string, may bool) error {
	return fail("group", s.do(ctx, func(t *tx) error {
		id, err := t.group(group)
		if err != nil {
			return err
		}
		return t.exec(`UPDATE mail_group SET members_send = ? WHERE id = ?`, truth(may), id)
	}))
}

// Groups are all of them by address, without their members.
func (s *Store) Groups(ctx context.Context) ([]Group, error) {
	rows, err := s.db.Query(`SELECT g.local || '@' || g.domain, g.members_send, (SELECT COUNT(*) FROM group_member m WHERE m.mail_group = g.id) FROM mail_group g ORDER BY g.domain, g.local`)
	if err != nil {
		return nil, fail("groups", err)
	}
	defer rows.Close()
	var all []Group
	for rows.Next() {
		var g Group
		if err := rows.Scan(&g.Address, &g.MembersMaySend, &g.Size); err != nil {
			return nil, fail("groups", err)
		}
		all = append(all, g)
	}
	return all, fail("groups", rows.Err())
}

// Group is one with its members. fs.ErrNotExist.
func (s *Store) Group(ctx context.Context, addr string) (Group, error) {
	a, err := parseOwn(addr)
	if err != nil {
		return Group{}, fail("group", err)
	}
	g := Group{Address: a.String()}
	var id int64
	if err = s.db.Row(`SELECT id, members_send FROM mail_group WHERE domain = ? AND local = ?`, a.domain, a.local).Scan(&id, &g.MembersMaySend); err != nil {
		return Group{}, fail("group "+g.Address, err)
	}
	g.Members, err = readAll[string](s.db, `SELECT address FROM group_member WHERE mail_group = ? ORDER BY address`, id)
	g.Size = len(g.Members)
	return g, fail("group", err)
}

// mayAsGroup tells whether an account is named by a group whose members may send as it. Members of its members are not asked.
func (s *Store) mayAsGroup(account int64, p place) (bool, error) {
	if !p.anyone {
		return false, nil
	}
	var n int
	err := s.db.Row(`SELECT COUNT(*) FROM group_member m JOIN address a ON m.address = a.local || '@' || a.domain WHERE m.mail_group = ? AND a.account = ?`, p.group, account).Scan(&n)
	return n > 0, err
}

// Alias is an address of an account beside its name.
type Alias struct{ Address, Account string }

// Aliases are all of them, or those of one account (0: of all).
func (s *Store) Aliases(ctx context.Context, account int64) ([]Alias, error) {
	rows, err := s.db.Query(`SELECT x.local || '@' || x.domain, a.name FROM address x JOIN account a ON a.id = x.account
		WHERE x.position > 0 AND (?1 = 0 OR x.account = ?1) ORDER BY x.domain, x.local`, account)
	if err != nil {
		return nil, fail("aliases", err)
	}
	defer rows.Close()
	var all []Alias
	for rows.Next() {
		var a Alias
		if err := rows.Scan(&a.Address, &a.Account); err != nil {
			return nil, fail("aliases", err)
		}
		all = append(all, a)
	}
	return all, fail("aliases", rows.Err())
}

// SetCatchAll says who gets the mail for addresses of a domain that nobody has: an address of ours, or "" for nobody. ErrNotLocal, ErrInvalid, and fs.ErrNotExist when
// nobody has the address either.
func (s *Store) SetCatchAll(ctx context.Context, domain, addr string) error {
	d, err := parseDomain(strings.TrimSuffix(domain, "."))
	if err == nil {
		err = s.setOfDomain(ctx, d, `DELETE FROM catchall WHERE domain = ?`, `INSERT INTO catchall (domain, address) VALUES (?, ?)`, addr, s.reachable)
	}
	return fail("catch-all", err)
}

// reachable is addr as it is kept when an account or a group has it.
func (s *Store) reachable(addr string) (string, error) {
	a, err := parseOwn(addr)
	if err != nil {
		return "", err
	}
	if _, err := s.place(a.local, a.domain); err != nil {
		return "", fmt.Errorf("%s: %w", a, err)
	}
	return a.String(), nil
}

// SetDomainAlias makes the addresses of target addresses of domain too, beside its own; "" ends that. Both are domains of ours, and target is no alias itself. ErrNotLocal, ErrInvalid.
func (s *Store) SetDomainAlias(ctx context.Context, domain, target string) error {
	d, err := parseDomain(strings.TrimSuffix(domain, "."))
	if err == nil {
		err = s.setOfDomain(ctx, d, `DELETE FROM domain_alias WHERE domain = ?`, `INSERT INTO domain_alias (domain, target) VALUES (?, ?)`, target, func(target string) (string, error) {
			to, err := parseDomain(strings.TrimSuffix(target, "."))
			if err != nil {
				return "", err
			}
			var ours, alias, aimed int
			if err := s.db.Row(`SELECT (SELECT COUNT(*) FROM domain WHERE name = ?1), (SELECT COUNT(*) FROM domain_alias WHERE domain = ?1), (SELECT COUNT(*) FROM domain_alias WHERE target = ?2)`,
				to, d).Scan(&ours, &alias, &aimed); err != nil {
				return "", err
			}
			switch {
			case ours == 0:
				return "", fmt.Errorf("%w: %s", ErrNotLocal, to)
			case to == d || alias > 0 || aimed > 0:
				return "", fmt.Errorf("%w: an alias of an alias", ErrInvalid)
			}
			return to, nil
		})
	}
	return fail("domain alias", err)
}

// setOfDomain puts what a domain of ours has one of.
func (s *Store) setOfDomain(ctx context.Context, d, remove, insert, value string, check func(string) (string, error)) error {
	ours, err := s.ours(d)
	if err != nil {
		return err
	}
	if !ours {
		return fmt.Errorf("%w: %s", ErrNotLocal, d)
	}
	if value != "" {
		if value, err = check(value); err != nil {
			return err
		}
	}
	return s.do(ctx, func(t *tx) error {
		if err := t.exec(remove, d); err != nil || value == "" {
			return err
		}
		return t.exec(insert, d, value)
	})
}

// DomainRoute is what a domain does with addresses that nobody has: CatchAll, or Target's, "" for neither. fs.ErrNotExist is never told.
func (s *Store) DomainRoute(ctx context.Context, domain string) (catchAll, target string, err error) {
	err = s.db.Row(`SELECT COALESCE((SELECT address FROM catchall WHERE domain = ?1), ''), COALESCE((SELECT target FROM domain_alias WHERE domain = ?1), '')`,
		strings.ToLower(domain)).Scan(&catchAll, &target)
	return catchAll, target, fail("domain", err)
}
