package storage

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// Visit is where a client of an account was when its last session ended. It is a convenience: one that cannot be kept is dropped.
type Visit struct {
	Account int64
	Address string    // of the client, without its port; up to 64 bytes
	Name    string    // what the client called itself, "" for nothing; up to 64 bytes
	Epoch   int64     // of the account (Account.Epoch) when the client logged in
	Folder  string    // an absolute path in the account's tree, "/" for home
	Type    string    // the TYPE of RFC 959 that the client asked for, "" when it did not; up to 8 bytes
	At      time.Time // set by NoteVisit, to the second
}

// The limits of what is remembered.
const (
	maxVisits    = 16   // of an account; the oldest go
	maxVisitText = 64   // bytes of Address and of Name
	maxVisitType = 8    // bytes of Type
	visitWaiting = 4096 // visits that wait for the writer; more are dropped
	visitStep    = time.Minute
	visitAge     = 30 * 24 * time.Hour
	visitSkew    = 24 * time.Hour // how far the clock may have gone back since a row was written
)

// valid tells whether v can be kept, and whether a row can be believed.
func (v *Visit) valid() bool {
	ok := func(s string, limit int) bool {
		return len(s) <= limit && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
	}
	return v.Account > 0 && v.Address != "" && ok(v.Address, maxVisitText) && ok(v.Name, maxVisitText) && ok(v.Type, maxVisitType) &&
		strings.HasPrefix(v.Folder, "/") && ok(v.Folder, MaxPath)
}

// empty tells whether there is nothing that a next session would not begin with anyway.
func (v *Visit) empty() bool { return v.Folder == "/" && v.Type == "" }

type visitKey struct {
	account       int64
	address, name string
}

func (v *Visit) key() visitKey { return visitKey{v.Account, v.Address, v.Name} }

// visits are those that are not written yet, and a hint who has some.
//
//	NoteVisit --> waiting --take--> flying --commit--> row
//
// An empty one removes the row. Who reads looks at all three, in this order.
type visits struct {
	once    sync.Once // fills some
	mu      sync.Mutex
	waiting map[visitKey]Visit
	flying  map[visitKey]Visit // with the writer
	some    [visitBits / 8]byte
}

// visitBits is the size of the hint: a bit is set for each account that may have a row, so that sessions with nothing to say need no look at the
// database, and none of those that never had something to say.
const visitBits = 1 << 20

func visitBit(account int64) (at int, mask byte) {
	h := uint64(account) * 0x9e3779b97f4a7c15 >> 44 // the upper 20 bits
	return int(h / 8), 1 << (h % 8)
}

func (k *visits) mark(account int64) {
	at, mask := visitBit(account)
	k.some[at] |= mask
}

// marked tells whether the account may have a row.
func (s *Store) marked(account int64) bool {
	k := &s.visits
	k.once.Do(func() {
		all, err := readAll[int64](s.db, `SELECT DISTINCT account FROM visit`)
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, a := range all {
			k.mark(a)
		}
		if err != nil { // then everybody may have some
			for i := range k.some {
				k.some[i] = 0xff
			}
		}
	})
	at, mask := visitBit(account)
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.some[at]&mask != 0
}

// NoteVisit remembers v in place of what was remembered of that client. It does not wait: the row is written with the next transaction of whatever kind,
// and is lost when the process is killed before. It costs nothing when nothing is to be said and nothing was said before, and no transaction when what is
// there says the same and is not a minute old. What is not valid, and what comes in while too many others wait, is dropped.
func (s *Store) NoteVisit(v Visit) {
	if !v.valid() || v.empty() && !s.marked(v.Account) {
		return
	}
	v.At = unix(s.o.Now().Unix())
	was, known := s.visit(v.key())
	same := was.Folder == v.Folder && was.Type == v.Type && was.Epoch == v.Epoch && v.At.Sub(was.At).Abs() < visitStep
	if !known && v.empty() || known && same {
		return
	}
	k := &s.visits
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, there := k.waiting[v.key()]; !there && len(k.waiting) >= visitWaiting {
		return
	}
	if k.waiting == nil {
		k.waiting = map[visitKey]Visit{}
	}
	k.waiting[v.key()] = v
	k.mark(v.Account)
}

// visit is what there is under a key, of whatever epoch and age.
func (s *Store) visit(key visitKey) (v Visit, known bool) {
	k := &s.visits
	k.mu.Lock()
	v, known = k.waiting[key]
	if !known {
		v, known = k.flying[key]
	}
	k.mu.Unlock()
	if known {
		return v, !v.empty()
	}
	v, err := scanVisit(s.db.Row(visitColumns+` WHERE account = ? AND address = ? AND name = ?`, key.account, key.address, key.name))
	// A row that cannot be read is to be written over.
	return v, err == nil || !errors.Is(noRows(err), fs.ErrNotExist)
}

// visitColumns has nothing long in it, whatever is in the table: a row that is not valid is one without a folder.
const visitColumns = `SELECT account, address, name, epoch, CASE WHEN OCTET_LENGTH(folder) <= 4096 AND OCTET_LENGTH(type) <= 8 THEN folder ELSE '' END,
	CASE WHEN OCTET_LENGTH(type) <= 8 THEN type ELSE '' END, at FROM visit`

func scanVisit(r scanner) (v Visit, err error) {
	var at int64
	err = r.Scan(&v.Account, &v.Address, &v.Name, &v.Epoch, &v.Folder, &v.Type, &at)
	v.At = unix(at)
	return v, err
}

// Visits are what is remembered of an account's clients at an address, the latest first. Those of another epoch, those
// that are older than 30 days and rows that NoteVisit could not have written are left out. The folder may be gone, or be something else by now.
func (s *Store) Visits(ctx context.Context, account, epoch int64, address string) ([]Visit, error) {
	if !s.marked(account) {
		return nil, nil
	}
	late := map[visitKey]Visit{}
	k := &s.visits
	k.mu.Lock()
	for _, m := range []map[visitKey]Visit{k.flying, k.waiting} {
		for key, v := range m {
			if key.account == account && key.address == address {
				late[key] = v
			}
		}
	}
	k.mu.Unlock()
	all, err := s.readVisits(account, address)
	if err != nil {
		return nil, fail("visits", err)
	}
	all = slices.DeleteFunc(all, func(v Visit) bool { _, ok := late[v.key()]; return ok })
	for _, v := range late {
		if !v.empty() {
			all = append(all, v)
		}
	}
	now := s.o.Now()
	all = slices.DeleteFunc(all, func(v Visit) bool {
		return v.Epoch != epoch || !v.valid() || v.At.Before(now.Add(-visitAge)) || v.At.After(now.Add(visitSkew))
	})
	slices.SortFunc(all, func(a, b Visit) int {
		if c := b.At.Compare(a.At); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return all, nil
}

func (s *Store) readVisits(account int64, address string) ([]Visit, error) {
	rows, err := s.db.Query(visitColumns+` WHERE account = ? AND address = ? AND OCTET_LENGTH(name) <= ? ORDER BY at DESC LIMIT ?`, account, address, maxVisitText, 2*maxVisits)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Visit
	for rows.Next() {
		v, err := scanVisit(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// ForgetVisits removes what is remembered of an account's clients at an address ("": at all of them).
func (s *Store) ForgetVisits(ctx context.Context, account int64, address string) error {
	return fail("forget", s.do(ctx, func(t *tx) error {
		return t.exec(`DELETE FROM visit WHERE account = ? AND (address = ? OR ? = '')`, account, address, address)
	}))
}

// take gives the writer what waits.
func (k *visits) take() map[visitKey]Visit {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flying, k.waiting = k.waiting, nil
	return k.flying
}

// landed is told that what was taken is committed.
func (k *visits) landed() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flying = nil
}

func (k *visits) idle() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.waiting) == 0
}

// putVisits writes visits, but for those of accounts that are gone or whose credentials have changed since.
func (t *tx) putVisits(all map[visitKey]Visit) error {
	t.after = append(t.after, t.s.visits.landed)
	for _, v := range all {
		a, err := t.account(v.Account)
		if isNotExist(err) || err == nil && a.Epoch != v.Epoch {
			continue
		}
		if err == nil {
			err = t.putVisit(v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) putVisit(v Visit) error {
	if v.empty() {
		return t.exec(`DELETE FROM visit WHERE account = ? AND address = ? AND name = ?`, v.Account, v.Address, v.Name)
	}
	err := t.exec(`INSERT INTO visit (account, address, name, epoch, folder, type, at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (account, address, name) DO UPDATE SET epoch = excluded.epoch, folder = excluded.folder, type = excluded.type, at = excluded.at`,
		v.Account, v.Address, v.Name, v.Epoch, v.Folder, v.Type, v.At.Unix())
	if err != nil {
		return err
	}
	return t.exec(`DELETE FROM visit WHERE account = ? AND (address, name) IN (SELECT address, name FROM visit WHERE account = ? ORDER BY at DESC, address, name LIMIT 1000 OFFSET ?)`,
		v.Account, v.Account, maxVisits)
}

// advanceEpoch ends what older credentials gave: what is remembered of sessions that they opened.
func (t *tx) advanceEpoch(a *accountRow) error {
	if err := t.exec(`UPDATE account SET epoch = epoch + 1 WHERE id = ?`, a.ID); err != nil {
		return err
	}
	a.Epoch++
	return t.exec(`DELETE FROM visit WHERE account = ?`, a.ID)
}

// trimVisits removes those that are old, that come from the future, or that are nobody's any more.
func (t *tx) trimVisits() (more bool, err error) {
	now := t.s.o.Now()
	n, err := t.db.Changed(`DELETE FROM visit WHERE (account, address, name) IN (SELECT account, address, name FROM visit v
		WHERE at < ? OR at > ? OR NOT EXISTS (SELECT 1 FROM account a WHERE a.id = v.account AND a.epoch = v.epoch) LIMIT ?)`,
		now.Add(-visitAge).Unix(), now.Add(visitSkew).Unix(), sweepStep)
	t.wrote = t.wrote || n > 0
	return n == sweepStep, err
}

// Partials are the cut uploads of an account, the latest first, at most limit.
func (s *Store) Partials(ctx context.Context, account int64, limit int) ([]Partial, error) {
	rows, err := s.db.Query(partialColumns+` WHERE account = ? ORDER BY modified DESC, parent, name LIMIT ?`, account, limit)
	if err != nil {
		return nil, fail("partial uploads", err)
	}
	defer rows.Close()
	var all []Partial
	for rows.Next() {
		p, err := scanPartial(rows)
		if err != nil {
			return nil, fail("partial uploads", err)
		}
		all = append(all, p)
	}
	return all, fail("partial uploads", rows.Err())
}

// PartialAge is how long cut uploads are kept.
func (s *Store) PartialAge() time.Duration { return s.o.PartialAge }
