package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// maxAccessRules is how many paths of an account have rights of their own.
const maxAccessRules = 1000

// AccessRule is what may be done with a path and what is below it.
type AccessRule struct {
	Path   string // clean, as CleanPath makes it
	Rights PathRights
}

// Access is what an account may do with its tree as those see it who come by path. It never changes: after a change there is another one.
type Access struct {
	Jail  string       // the folder that is shown as "/"; "/" is the whole tree
	Rules []AccessRule // by path

	at map[string]PathRights
}

// wholeAccess is that of the accounts that nobody restricted.
var wholeAccess = &Access{Jail: "/"}

// Ruled tells whether any path has rights of its own: without one everything may be done.
func (a *Access) Ruled() bool { return len(a.Rules) > 0 }

// At are the rights on a clean path: those of the most specific rule that is for it or for a folder above it; without one all.
func (a *Access) At(path string) PathRights {
	if len(a.Rules) == 0 {
		return CanAll
	}
	for {
		if r, ok := a.at[path]; ok {
			return r
		}
		i := strings.LastIndexByte(path, '/')
		switch {
		case path == "/" || i < 0:
			return CanAll
		case i == 0:
			path = "/"
		default:
			path = path[:i]
		}
	}
}

// Below are the rules for what is below a clean path, not those for the path itself.
func (a *Access) Below(path string) []AccessRule {
	if len(a.Rules) == 0 {
		return nil
	}
	if path == "/" {
		path = ""
	}
	first, _ := slices.BinarySearchFunc(a.Rules, path+"/", byPath)
	if path == "" && first < len(a.Rules) && a.Rules[first].Path == "/" {
		first++
	}
	last, _ := slices.BinarySearchFunc(a.Rules, path+"0", byPath) // "0" is the sign after "/"
	return a.Rules[first:last]
}

func byPath(r AccessRule, path string) int { return strings.Compare(r.Path, path) }

// Has tells whether a clean path has rights of its own.
func (a *Access) Has(path string) bool { _, ok := a.at[path]; return ok }

// CleanPath checks and normalises an absolute path: each name as CleanName does, no empty one, INBOX below /Mail in capitals; ErrInvalid.
func CleanPath(path string) (string, error) {
	if path == "/" {
		return path, nil
	}
	if !strings.HasPrefix(path, "/") || len(path) > 4*MaxPath {
		return "", fmt.Errorf("%w: a path begins with / and has at most %d bytes", ErrInvalid, MaxPath)
	}
	names := strings.Split(strings.TrimSuffix(path[1:], "/"), "/")
	if len(names) > MaxDepth {
		return "", fmt.Errorf("%w: more than %d levels", ErrInvalid, MaxDepth)
	}
	for i, name := range names {
		c, err := CleanName(name)
		if err != nil {
			return "", err
		}
		// RFC 9051 section 5.1: INBOX is INBOX in any case.
		if i == 1 && names[0] == "Mail" && strings.EqualFold(c, "INBOX") {
			c = "INBOX"
		}
		names[i] = c
	}
	if path = "/" + strings.Join(names, "/"); len(path) > MaxPath {
		return "", fmt.Errorf("%w: longer than %d bytes", ErrInvalid, MaxPath)
	}
	return path, nil
}

// Access of an account, from memory as a rule: cheap enough for each operation. It is shared and must not be changed. That of an account that is not there is
// the whole tree, which has nothing in it.
func (s *Store) Access(ctx context.Context, account int64) (*Access, error) {
	a, turn := s.access.get(account)
	if a != nil {
		return a, nil
	}
	err := s.db.View(ctx, func(v *sqldb.View) (err error) {
		a, err = readAccess(v, account)
		return err
	})
	if err != nil {
		return nil, fail("access", err)
	}
	s.access.put(account, a, turn)
	return a, nil
}

func readAccess(q sqldb.Querier, account int64) (*Access, error) {
	a := &Access{Jail: "/"}
	jails, err := readAll[string](q, `SELECT path FROM jail WHERE account = ?`, account)
	if err != nil {
		return nil, err
	}
	if len(jails) > 0 {
		a.Jail = jails[0]
	}
	rows, err := q.Query(`SELECT path, rights FROM access WHERE account = ?`, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var r AccessRule
		if err := rows.Scan(&r.Path, &r.Rights); err != nil {
			return nil, err
		}
		r.Rights &= CanAll
		a.Rules = append(a.Rules, r)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(a.Rules) == 0 && a.Jail == "/" {
		return wholeAccess, nil
	}
	slices.SortFunc(a.Rules, func(x, y AccessRule) int { return byPath(x, y.Path) })
	a.at = make(map[string]PathRights, len(a.Rules))
	for _, r := range a.Rules {
		a.at[r.Path] = r.Rights
	}
	return a, nil
}

// SetPathRights says what an account may do with a path of its tree (not of its jail) and with what is below. It counts from the next operation of each session
// on, and for uploads under way when they end. There need be nothing under the path. ErrInvalid; ErrLimit when too many paths have rights of their own.
func (s *Store) SetPathRights(ctx context.Context, account int64, path string, r PathRights) error {
	return fail("set rights", s.changeAccess(ctx, account, path, func(t *tx, path string) error {
		var n int64
		if err := t.db.Row(`SELECT COUNT(*) FROM access WHERE account = ? AND path <> ?`, account, path).Scan(&n); err != nil {
			return err
		}
		if n >= maxAccessRules {
			return fmt.Errorf("%w: %d paths have rights of their own", ErrLimit, maxAccessRules)
		}
		return t.exec(`INSERT INTO access (account, path, rights) VALUES (?, ?, ?) ON CONFLICT (account, path) DO UPDATE SET rights = excluded.rights`,
			account, path, int64(r&CanAll))
	}))
}

// DropPathRights takes away the rights that a path has of its own: those of the folders above it hold again. fs.ErrNotExist when it has none.
func (s *Store) DropPathRights(ctx context.Context, account int64, path string) error {
	return fail("drop rights", s.changeAccess(ctx, account, path, func(t *tx, path string) error {
		var n int64
		if err := t.db.Row(`SELECT COUNT(*) FROM access WHERE account = ? AND path = ?`, account, path).Scan(&n); err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("rights of its own for %q: %w", path, fs.ErrNotExist)
		}
		return t.exec(`DELETE FROM access WHERE account = ? AND path = ?`, account, path)
	}))
}

// SetJail makes a folder of the account's tree the "/" of those who come by path; "/" frees them. There need be nothing under the path.
// Sessions that are open see another tree from their next operation on: the caller ends them.
func (s *Store) SetJail(ctx context.Context, account int64, path string) error {
	return fail("set jail", s.changeAccess(ctx, account, path, func(t *tx, path string) error {
		if path == "/" {
			return t.exec(`DELETE FROM jail WHERE account = ?`, account)
		}
		return t.exec(`INSERT INTO jail (account, path) VALUES (?, ?) ON CONFLICT (account) DO UPDATE SET path = excluded.path`, account, path)
	}))
}

func (s *Store) changeAccess(ctx context.Context, account int64, path string, change func(*tx, string) error) error {
	path, err := CleanPath(path)
	if err != nil {
		return err
	}
	return s.do(ctx, func(t *tx) error {
		if _, err := t.account(account); err != nil {
			return err
		}
		if err := change(t, path); err != nil {
			return err
		}
		t.forgetAccess(account)
		t.change(watch.Change{Account: account, Kind: watch.AccountChanged})
		return nil
	})
}

// dropAccess takes the rows of an account that is removed.
func (t *tx) dropAccess(account int64) error {
	for _, q := range []string{`DELETE FROM access WHERE account = ?`, `DELETE FROM jail WHERE account = ?`} {
		if err := t.exec(q, account); err != nil {
			return err
		}
	}
	t.forgetAccess(account)
	return nil
}

func (t *tx) forgetAccess(account int64) {
	t.after = append(t.after, func() { t.s.access.forget(account) })
}

// maxAccess is how much of all accounts is kept in memory, in rules and accounts. When there is more all is forgotten.
const maxAccess = 100_000

// accessCache keeps what accounts may do, which each operation on a path asks for.
type accessCache struct {
	mu   sync.RWMutex
	turn uint64 // counts what was forgotten, so that what was read before is not kept after
	n    int
	of   map[int64]*Access
}

func (c *accessCache) get(account int64) (a *Access, turn uint64) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.of[account], c.turn
}

func (c *accessCache) put(account int64, a *Access, turn uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turn != turn || c.of[account] != nil {
		return
	}
	n := 1 + len(a.Rules)
	if c.of == nil || c.n+n > maxAccess {
		c.of, c.n = map[int64]*Access{}, 0
	}
	c.of[account] = a
	c.n += n
}

func (c *accessCache) forget(account int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn++
	if a := c.of[account]; a != nil {
		c.n -= 1 + len(a.Rules)
		delete(c.of, account)
	}
}
