package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/watch"
)

// PassKind is what a Pass is.
type PassKind string

// The kinds.
const (
	PassToken       PassKind = "token"       // a random text that the client sends
	PassCertificate PassKind = "certificate" // of TLS, whose key the client holds
)

// Pass is what proves an account beside its password. It outlives a change of the password.
type Pass struct {
	ID      int64
	Account int64
	Kind    PassKind
	Name    string    // unique for account and kind; up to 64 bytes of printable UTF-8
	Hash    [32]byte  // SHA-256 of the token's text or the certificate's DER form; unique for the kind
	Scopes  []string  // what it is good for ("imap"); none: everything
	Created time.Time // set by AddPass
	Expires time.Time // the zero time: never
	Used    time.Time // last use, to the minute, written with a later transaction; the zero time: never
}

// Covers tells whether the pass is good for a scope.
func (p *Pass) Covers(scope string) bool {
	return len(p.Scopes) == 0 || slices.Contains(p.Scopes, scope)
}

// ExpiredAt tells whether the pass is over at now.
func (p *Pass) ExpiredAt(now time.Time) bool { return !p.Expires.IsZero() && !now.Before(p.Expires) }

const (
	maxPasses   = 100 // of an account and kind
	maxPassName = 64  // bytes
	usedStep    = time.Minute
)

const passColumns = `id, account, kind, name, hash, scopes, created, expires, used`

func scanPass(r scanner) (*Pass, error) {
	var p Pass
	var hash []byte
	var scopes string
	var created, expires, used int64
	if err := r.Scan(&p.ID, &p.Account, &p.Kind, &p.Name, &hash, &scopes, &created, &expires, &used); err != nil {
		return nil, err
	}
	if copy(p.Hash[:], hash) != len(p.Hash) {
		return nil, fmt.Errorf("pass %d is damaged", p.ID)
	}
	p.Scopes = strings.Fields(scopes)
	p.Created, p.Expires, p.Used = unix(created), unixOrZero(expires), unixOrZero(used)
	return &p, nil
}

// unixOrZero is a time of the database in which 0 means none.
func unixOrZero(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return unix(n)
}

func validPassName(name string) bool {
	return name != "" && len(name) <= maxPassName && utf8.ValidString(name) && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}

// AddPass gives an account one more and returns it with ID and Created. fs.ErrExist when the account has one of that name or
// somebody has one of that hash, ErrLimit when it has 100 of the kind, ErrInvalid for a name that is none, fs.ErrNotExist.
func (s *Store) AddPass(ctx context.Context, p Pass) (*Pass, error) {
	err := s.do(ctx, func(t *tx) error { return t.addPass(&p) })
	if err != nil {
		return nil, fail("add "+string(p.Kind), err)
	}
	return &p, nil
}

func (t *tx) addPass(p *Pass) error {
	if !validPassName(p.Name) {
		return fmt.Errorf("%w: a name has 1 to %d bytes and no control characters", ErrInvalid, maxPassName)
	}
	for _, word := range p.Scopes {
		if word == "" || strings.ContainsAny(word, " \t\r\n") {
			return fmt.Errorf("%w: scope %q", ErrInvalid, word)
		}
	}
	if _, err := t.account(p.Account); err != nil {
		return err
	}
	var have, same, taken int
	err := t.db.Row(`SELECT COUNT(*), COALESCE(SUM(CASE WHEN name = ? THEN 1 ELSE 0 END), 0), (SELECT COUNT(*) FROM pass WHERE kind = ? AND hash = ?)
		FROM pass WHERE account = ? AND kind = ?`, p.Name, p.Kind, p.Hash[:], p.Account, p.Kind).Scan(&have, &same, &taken)
	switch {
	case err != nil:
		return err
	case same > 0:
		return fmt.Errorf("%q: %w", p.Name, fs.ErrExist)
	case taken > 0:
		return fmt.Errorf("the %s: %w", p.Kind, fs.ErrExist)
	case have >= maxPasses:
		return fmt.Errorf("%w: an account has at most %d", ErrLimit, maxPasses)
	}
	if p.ID, err = t.newID(); err != nil {
		return err
	}
	p.Created, p.Used = unix(t.now()), time.Time{}
	var expires int64
	if !p.Expires.IsZero() {
		p.Expires = unix(p.Expires.Unix())
		expires = p.Expires.Unix()
	}
	t.change(watch.Change{Account: p.Account, Kind: watch.AccountChanged})
	return t.exec(`INSERT INTO pass (`+passColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)`,
		p.ID, p.Account, p.Kind, p.Name, p.Hash[:], strings.Join(p.Scopes, " "), p.Created.Unix(), expires)
}

// Passes are those of an account and kind, the oldest first.
func (s *Store) Passes(ctx context.Context, account int64, kind PassKind) ([]*Pass, error) {
	rows, err := s.db.Query(`SELECT `+passColumns+` FROM pass WHERE account = ? AND kind = ? ORDER BY id`, account, kind)
	if err != nil {
		return nil, fail("passes", err)
	}
	defer rows.Close()
	var all []*Pass
	for rows.Next() {
		p, err := scanPass(rows)
		if err != nil {
			return nil, fail("passes", err)
		}
		all = append(all, p)
	}
	return all, fail("passes", rows.Err())
}

// PassByHash finds one, expired or not. fs.ErrNotExist.
func (s *Store) PassByHash(ctx context.Context, kind PassKind, hash [32]byte) (*Pass, error) {
	p, err := scanPass(s.db.Row(`SELECT `+passColumns+` FROM pass WHERE kind = ? AND hash = ?`, kind, hash[:]))
	if err != nil {
		return nil, fail(string(kind), err)
	}
	return p, nil
}

// RemovePass takes one away, advances the account's Epoch and returns what it was. fs.ErrNotExist.
func (s *Store) RemovePass(ctx context.Context, account int64, kind PassKind, name string) (*Pass, error) {
	var p *Pass
	err := s.do(ctx, func(t *tx) (err error) {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		if p, err = scanPass(t.db.Row(`SELECT `+passColumns+` FROM pass WHERE account = ? AND kind = ? AND name = ?`, account, kind, name)); err != nil {
			return noRows(err)
		}
		if err := t.exec(`DELETE FROM pass WHERE id = ?`, p.ID); err != nil {
			return err
		}
		if err := t.advanceEpoch(a); err != nil {
			return err
		}
		t.change(watch.Change{Account: account, Kind: watch.AccountChanged})
		return nil
	})
	if err != nil {
		return nil, fail("remove "+string(kind), err)
	}
	return p, nil
}

// UsePass notes that p was used now. It does not wait: the time is written with the next transaction of whatever kind, once a minute at most.
func (s *Store) UsePass(p *Pass) {
	now := s.o.Now()
	if now.Sub(p.Used) < usedStep {
		return
	}
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.used == nil {
		j.used = map[int64]int64{}
	}
	if _, known := j.used[p.ID]; !known && len(j.used) >= journalWaiting {
		return
	}
	j.used[p.ID] = now.Unix()
}

// takeUsed gives the times of use to the writer.
func (j *journal) takeUsed() map[int64]int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	u := j.used
	j.used = nil
	return u
}

func (t *tx) putUsed(at map[int64]int64) error {
	for id, when := range at {
		if err := t.exec(`UPDATE pass SET used = MAX(used, ?) WHERE id = ?`, when, id); err != nil {
			return err
		}
	}
	return nil
}
