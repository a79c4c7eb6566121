package storage

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// SieveScript is a mail filter of an account. Its text is opaque here.
type SieveScript struct {
	Name     string
	Active   bool // at most one is
	Size     int64
	Modified time.Time
}

// SieveLimits of an account's filters; zeroes are the defaults.
type SieveLimits struct {
	Scripts int   // how many; 0 means 32
	Size    int64 // bytes of one; 0 means 64 KiB
	Total   int64 // bytes of all; 0 means 1 MiB
}

func (l SieveLimits) withDefaults() SieveLimits {
	def(&l.Scripts, 32)
	def(&l.Size, 64<<10)
	def(&l.Total, 1<<20)
	return l
}

// The ErrLimits of SieveLimits, and what else PutSieve and its like refuse.
var (
	ErrSieveScripts = fmt.Errorf("%w: no more scripts", ErrLimit)
	ErrSieveSize    = fmt.Errorf("%w: the script is too large", ErrLimit)
	ErrSieveActive  = fmt.Errorf("%w: the script is active", fs.ErrPermission)
)

// cleanScript checks a script's name: RFC 5804 section 1.6: up to 512 bytes of UTF-8 without control characters.
func cleanScript(name string) error {
	if name == "" || len(name) > 512 || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
	}) {
		return fmt.Errorf("%w: name of a script", ErrInvalid)
	}
	return nil
}

// SieveScripts are those of an account by name.
func (s *Store) SieveScripts(ctx context.Context, account int64) ([]SieveScript, error) {
	rows, err := s.db.Query(`SELECT name, active, length(script), modified FROM sieve_script WHERE account = ? ORDER BY name`, account)
	if err != nil {
		return nil, fail("scripts", err)
	}
	defer rows.Close()
	var all []SieveScript
	for rows.Next() {
		var x SieveScript
		var at int64
		if err := rows.Scan(&x.Name, &x.Active, &x.Size, &at); err != nil {
			return nil, fail("scripts", err)
		}
		x.Modified = unix(at)
		all = append(all, x)
	}
	return all, fail("scripts", rows.Err())
}

// SieveScript is the text of one. fs.ErrNotExist.
func (s *Store) SieveScript(ctx context.Context, account int64, name string) ([]byte, error) {
	var text []byte
	err := s.db.Row(`SELECT script FROM sieve_script WHERE account = ? AND name = ?`, account, name).Scan(&text)
	return text, fail("script", err)
}

// ActiveSieve is the text of the active script. fs.ErrNotExist when none is.
func (s *Store) ActiveSieve(ctx context.Context, account int64) ([]byte, error) {
	var text []byte
	err := s.db.Row(`SELECT script FROM sieve_script WHERE account = ? AND active = 1`, account).Scan(&text)
	return text, fail("active script", err)
}

// SieveEpoch grows with every change of anybody's scripts: what was read before it may be old.
func (s *Store) SieveEpoch() uint64 { return s.sieveEpoch.Load() }

// changeSieve runs a change of an account's scripts.
func (s *Store) changeSieve(ctx context.Context, account int64, what string, f func(t *tx, a *accountRow) error) error {
	return fail(what, s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		if err := f(t, a); err != nil {
			return err
		}
		t.after = append(t.after, func() { s.sieveEpoch.Add(1) })
		return nil
	}))
}

// sieveSize is how large a script is and whether it is active. fs.ErrNotExist.
func (t *tx) sieveSize(account int64, name string) (size int64, active bool, err error) {
	err = t.db.Row(`SELECT length(script), active FROM sieve_script WHERE account = ? AND name = ?`, account, name).Scan(&size, &active)
	return size, active, noRows(err)
}

// PutSieve stores a script, in the place of one of that name, which stays active if it was. ErrInvalid for the name, ErrQuota, ErrSieveScripts, ErrSieveSize.
func (s *Store) PutSieve(ctx context.Context, account int64, name string, text []byte, l SieveLimits) error {
	if err := s.MayPutSieve(ctx, account, name, int64(len(text)), l); err != nil {
		return err
	}
	l = l.withDefaults()
	return s.changeSieve(ctx, account, "put script", func(t *tx, a *accountRow) error {
		old, active, err := t.sieveSize(account, name)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := t.sieveRoom(account, old, errors.Is(err, fs.ErrNotExist), int64(len(text)), l); err != nil {
			return err
		}
		if err := t.charge(a, int64(len(text))-old, 0, 0); err != nil {
			return err
		}
		return t.exec(`INSERT INTO sieve_script (account, name, script, active, modified) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (account, name) DO UPDATE SET script = excluded.script, modified = excluded.modified`, account, name, text, truth(active), t.now())
	})
}

func (t *tx) sieveRoom(account, old int64, fresh bool, size int64, l SieveLimits) error {
	var n int
	var total int64
	if err := t.db.Row(`SELECT COUNT(*), COALESCE(SUM(length(script)), 0) FROM sieve_script WHERE account = ?`, account).Scan(&n, &total); err != nil {
		return err
	}
	switch {
	case size > l.Size:
		return ErrSieveSize
	case fresh && n >= l.Scripts:
		return ErrSieveScripts
	case total-old+size > l.Total:
		return ErrSieveSize
	}
	return nil
}

// MayPutSieve tells whether PutSieve of so many bytes would be refused now, and why (HAVESPACE, RFC 5804 section 2.5).
func (s *Store) MayPutSieve(ctx context.Context, account int64, name string, size int64, l SieveLimits) error {
	if err := cleanScript(name); err != nil {
		return fail("put script", err)
	}
	l = l.withDefaults()
	all, err := s.SieveScripts(ctx, account)
	if err != nil {
		return err
	}
	a, err := s.Account(ctx, account)
	if err != nil {
		return err
	}
	usage, err := s.Usage(ctx, account)
	if err != nil {
		return err
	}
	n, total, old := 0, int64(0), int64(0)
	for _, x := range all {
		if x.Name == name {
			old = x.Size
			continue
		}
		n++
		total += x.Size
	}
	switch {
	case size > l.Size, total+size > l.Total:
		return fail("put script", ErrSieveSize)
	case n >= l.Scripts:
		return fail("put script", ErrSieveScripts)
	case a.Quota > 0 && size > old && usage.Bytes+size-old > a.Quota:
		return fail("put script", ErrQuota)
	}
	return nil
}

// ActivateSieve makes a script the active one; "" makes none active. fs.ErrNotExist.
func (s *Store) ActivateSieve(ctx context.Context, account int64, name string) error {
	return s.changeSieve(ctx, account, "activate script", func(t *tx, _ *accountRow) error {
		if name != "" {
			if _, _, err := t.sieveSize(account, name); err != nil {
				return err
			}
		}
		return t.exec(`UPDATE sieve_script SET active = (name = ?) WHERE account = ?`, name, account)
	})
}

// RemoveSieve removes a script. fs.ErrNotExist; ErrSieveActive.
func (s *Store) RemoveSieve(ctx context.Context, account int64, name string) error {
	return s.changeSieve(ctx, account, "remove script", func(t *tx, a *accountRow) error {
		size, active, err := t.sieveSize(account, name)
		if err != nil {
			return err
		}
		if active {
			return ErrSieveActive // RFC 5804 section 2.10
		}
		if err := t.charge(a, -size, 0, 0); err != nil {
			return err
		}
		return t.exec(`DELETE FROM sieve_script WHERE account = ? AND name = ?`, account, name)
	})
}

// RenameSieve gives a script another name; it stays active if it was. fs.ErrNotExist, fs.ErrExist, ErrInvalid.
func (s *Store) RenameSieve(ctx context.Context, account int64, name, to string) error {
	if err := cleanScript(to); err != nil {
		return fail("rename script", err)
	}
	return s.changeSieve(ctx, account, "rename script", func(t *tx, _ *accountRow) error {
		if _, _, err := t.sieveSize(account, name); err != nil {
			return err
		}
		if _, _, err := t.sieveSize(account, to); err == nil {
			return fs.ErrExist
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return t.exec(`UPDATE sieve_script SET name = ? WHERE account = ? AND name = ?`, to, account, name)
	})
}

// sieveMemoryMax is how many marks are remembered for an account; the ones that end first go first.
const sieveMemoryMax = 10_000

func sieveHash(mark string) []byte {
	sum := sha256.Sum256([]byte(mark))
	return sum[:]
}

// SieveSeen tells whether an account's filter has remembered a mark that is not over yet.
func (s *Store) SieveSeen(ctx context.Context, account int64, mark string) (bool, error) {
	var until int64
	err := s.db.Row(`SELECT until FROM sieve_memory WHERE account = ? AND hash = ?`, account, sieveHash(mark)).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return until > s.now(), fail("filter's memory", err)
}

// SieveRemember remembers a mark for a while, which begins anew if it is there already; fresh tells that it was not.
func (s *Store) SieveRemember(ctx context.Context, account int64, mark string, d time.Duration) (fresh bool, err error) {
	m := SieveMark{account, mark, d}
	err = s.do(ctx, func(t *tx) (err error) {
		if _, err := t.account(account); err != nil {
			return err
		}
		if fresh, err = t.sieveFresh(&m); err != nil {
			return err
		}
		return t.sieveRemember(&m)
	})
	return fresh && err == nil, fail("filter's memory", err)
}

// sieveFresh tells whether a mark is not remembered.
func (t *tx) sieveFresh(m *SieveMark) (bool, error) {
	var until int64
	err := t.db.Row(`SELECT COALESCE(MAX(until), 0) FROM sieve_memory WHERE account = ? AND hash = ?`, m.Account, sieveHash(m.Mark)).Scan(&until)
	return until <= t.now(), err
}

// sieveRemember remembers a mark, unless its account is gone.
func (t *tx) sieveRemember(m *SieveMark) error {
	if _, err := t.account(m.Account); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var n int
	if err := t.db.Row(`SELECT COUNT(*) FROM sieve_memory WHERE account = ?`, m.Account).Scan(&n); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM sieve_memory WHERE account = ? AND until <= ?`, m.Account, t.now()); err != nil {
		return err
	}
	if n >= sieveMemoryMax {
		if err := t.exec(`DELETE FROM sieve_memory WHERE account = ?1 AND hash IN (SELECT hash FROM sieve_memory WHERE account = ?1 ORDER BY until LIMIT ?2)`, m.Account, n-sieveMemoryMax+1); err != nil {
			return err
		}
	}
	return t.exec(`INSERT INTO sieve_memory (account, hash, until) VALUES (?, ?, ?) ON CONFLICT (account, hash) DO UPDATE SET until = excluded.until`,
		m.Account, sieveHash(m.Mark), t.now()+int64(m.For/time.Second))
}
