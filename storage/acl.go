package storage

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// SharedRoot is the first level of the names that mailboxes of others have: Shared/<name of the owner's account>/<name of the mailbox>. Nobody
// can make a mailbox of this name; one that is there from before there was an ACL keeps working.
const SharedRoot = "Shared"

// anyone is the identifier of all who are logged in (RFC 4314 section 2).
const anyone = 0

// Anyone is how it is written.
const Anyone = "anyone"

// maxACL is how many entries the list of one mailbox has.
const maxACL = 1000

// Grant is an entry of a mailbox's access control list.
type Grant struct {
	Account  int64  // 0: anyone
	Name     string // of the account, or "anyone"
	Negative bool   // the rights are taken away from what the other entries give
	Rights   Rights
}

// Identifier is the entry's name as RFC 4314 section 2 writes it.
func (g Grant) Identifier() string {
	if g.Negative {
		return "-" + g.Name
	}
	return g.Name
}

// Identifier finds whom an identifier names: "anyone", or whatever the account may log in with; a "-" before it makes the entry negative
// (RFC 4314 section 2). fs.ErrNotExist.
func (s *Store) Identifier(ctx context.Context, name string) (Grant, error) {
	var g Grant
	name, g.Negative = strings.CutPrefix(name, "-")
	if name == Anyone {
		g.Name = Anyone
		return g, nil
	}
	a, err := s.AccountByLogin(ctx, name)
	if err != nil {
		return g, err
	}
	g.Account, g.Name = a.ID, a.Name
	return g, nil
}

// Rights are what an account may do with a mailbox: with its own all; else what the entries for it and for anyone give, less what
// the negative ones take away. A mailbox that is not there gives none.
func (s *Store) Rights(ctx context.Context, account, mailbox int64) (Rights, error) {
	r, err := readRights(s.db, account, mailbox)
	return r, fail("rights", err)
}

func readRights(q sqldb.Querier, account, mailbox int64) (Rights, error) {
	rows, err := q.Query(`SELECT m.account, COALESCE(x.negative, 0), COALESCE(x.rights, 0) FROM mailbox m
		LEFT JOIN acl x ON x.mailbox = m.id AND x.identifier IN (0, ?) WHERE m.id = ?`, account, mailbox)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	var sum rightsSum
	for rows.Next() {
		var owner int64
		var negative bool
		var r Rights
		if err := rows.Scan(&owner, &negative, &r); err != nil {
			return 0, err
		}
		if owner == account {
			return AllRights, nil
		}
		sum.add(negative, r)
	}
	return sum.rights(), rows.Err()
}

// rightsSum adds up entries that hold for one account.
type rightsSum struct{ given, taken Rights }

func (s *rightsSum) add(negative bool, r Rights) {
	if negative {
		s.taken |= r
	} else {
		s.given |= r
	}
}

func (s *rightsSum) rights() Rights { return s.given &^ s.taken & AllRights }

// ACL is the access control list of a mailbox: the owner first, then the others by name, each positive entry before its negative one. fs.ErrNotExist.
func (s *Store) ACL(ctx context.Context, account, mailbox int64) ([]Grant, error) {
	var owner Grant
	owner.Rights = AllRights
	err := s.db.Row(`SELECT a.id, a.name FROM mailbox m JOIN account a ON a.id = m.account WHERE m.id = ? AND m.account = ?`, mailbox, account).Scan(&owner.Account, &owner.Name)
	if err != nil {
		return nil, fail("acl", err)
	}
	rows, err := s.db.Query(`SELECT x.identifier, COALESCE(a.name, 'anyone'), x.negative, x.rights FROM acl x LEFT JOIN account a ON a.id = x.identifier
		WHERE x.mailbox = ? AND (x.identifier = 0 OR a.id IS NOT NULL) ORDER BY 2, 3`, mailbox)
	if err != nil {
		return nil, fail("acl", err)
	}
	defer rows.Close()
	all := []Grant{owner}
	for rows.Next() {
		var g Grant
		if err := rows.Scan(&g.Account, &g.Name, &g.Negative, &g.Rights); err != nil {
			return nil, fail("acl", err)
		}
		all = append(all, g)
	}
	return all, fail("acl", rows.Err())
}

// RightsOp is how SetACL changes the rights of an entry.
type RightsOp uint8

// The ways of SETACL.
const (
	RightsSet RightsOp = iota
	RightsAdd
	RightsRemove
)

// ACLChange is a SETACL or DELETEACL.
type ACLChange struct {
	By     int64 // the account that does it, for the journal; 0: an administrator
	Grant        // whose entry; Rights with Op
	Op     RightsOp
	Delete bool // the entry goes; so does one that is left without rights
}

// SetACL changes the access control list of a mailbox of the account. What it gives or takes holds from its return on. fs.ErrNotExist: the mailbox, or the
// account that is named, is gone; fs.ErrPermission: the entry would be the owner's, who has all rights always; ErrLimit beyond 1,000 entries.
func (s *Store) SetACL(ctx context.Context, account, mailbox int64, c ACLChange) error {
	err := s.do(ctx, func(t *tx) error {
		m, err := t.mailboxRow(mailbox)
		if err != nil {
			return err
		}
		if m.Account != account {
			return fmt.Errorf("mailbox: %w", fs.ErrNotExist)
		}
		return t.setACL(m, &c)
	})
	return fail("set acl", err)
}

func (t *tx) setACL(m *mailboxRow, c *ACLChange) error {
	if c.Account != anyone {
		if _, err := t.account(c.Account); err != nil {
			return err
		}
	}
	if c.Account == m.Account {
		// RFC 4314 section 2: rights may be forced to be granted always. What changes nothing is no error.
		if !c.Negative && !c.Delete && c.Op != RightsRemove && (c.Op == RightsAdd || c.Rights == AllRights) {
			return nil
		}
		return fmt.Errorf("%w: all rights are the owner's always", fs.ErrPermission)
	}
	var count int
	var old Rights
	if err := t.db.Row(`SELECT COUNT(*), COALESCE(SUM(CASE WHEN identifier = ? AND negative = ? THEN rights ELSE 0 END), 0) FROM acl WHERE mailbox = ?`,
		c.Account, truth(c.Negative), m.ID).Scan(&count, &old); err != nil {
		return err
	}
	now := c.Rights
	switch {
	case c.Delete:
		now = 0
	case c.Op == RightsAdd:
		now |= old
	case c.Op == RightsRemove:
		now = old &^ c.Rights
	}
	if now == old {
		return nil
	}
	if old == 0 && count >= maxACL {
		return fmt.Errorf("%w: %d entries in an access control list", ErrLimit, maxACL)
	}
	if err := t.putACL(m.ID, c.Account, c.Negative, now); err != nil {
		return err
	}
	t.rightsChanged(m, c.Account)
	return t.recordACL(m, c, now)
}

// putACL writes an entry; without rights it goes.
func (t *tx) putACL(mailbox, identifier int64, negative bool, r Rights) error {
	if r == 0 {
		return t.exec(`DELETE FROM acl WHERE mailbox = ? AND identifier = ? AND negative = ?`, mailbox, identifier, truth(negative))
	}
	return t.exec(`INSERT INTO acl (mailbox, identifier, negative, rights) VALUES (?, ?, ?, ?) ON CONFLICT (mailbox, identifier, negative) DO UPDATE SET rights = excluded.rights`,
		mailbox, identifier, truth(negative), int64(r))
}

// rightsChanged tells those who have the mailbox open, and the account that is concerned if it is one.
func (t *tx) rightsChanged(m *mailboxRow, identifier int64) {
	t.after = append(t.after, func() { t.s.aclEpoch.Add(1) })
	t.change(watch.Change{Account: m.Account, Mailbox: m.ID, Kind: watch.Mailboxes})
	if identifier != anyone {
		t.change(watch.Change{Account: identifier, Kind: watch.Mailboxes})
	}
}

func (t *tx) recordACL(m *mailboxRow, c *ACLChange, now Rights) error {
	detail, err := json.Marshal(map[string]any{"mailbox": m.Name, "by": c.By, "identifier": c.Identifier(), "rights": now.String()})
	if err != nil {
		return err
	}
	return t.addRecords([]Record{{At: t.s.o.Now(), Kind: "acl", Account: m.Account, Subject: m.Name, Detail: detail}})
}

// ACLEpoch grows whenever anybody's rights change. Who keeps rights asks for them again when it did.
func (s *Store) ACLEpoch() uint64 { return s.aclEpoch.Load() }

// inheritACL gives a new mailbox the list of the one above it (RFC 4314 section 4).
func (t *tx) inheritACL(parent, id int64) error {
	return t.exec(`INSERT INTO acl (mailbox, identifier, negative, rights) SELECT ?, identifier, negative, rights FROM acl WHERE mailbox = ?`, id, parent)
}

// reserved tells whether a name is kept for the mailboxes of others.
func reserved(name string) error {
	if IsShared(name) {
		return fmt.Errorf("%w: %s holds the mailboxes of others", fs.ErrPermission, SharedRoot)
	}
	return nil
}

// IsShared tells whether a name is kept for the mailboxes of others.
func IsShared(name string) bool { return name == SharedRoot || strings.HasPrefix(name, SharedRoot+"/") }

// SharedName is how others name a mailbox of an account.
func SharedName(owner, path string) string { return SharedRoot + "/" + owner + "/" + path }

// SplitShared takes a name of another's mailbox apart: whose it is and its name there, as they are written. It is not looked whether it is one.
func SplitShared(name string) (owner, path string, ok bool) {
	rest, ok := strings.CutPrefix(name, SharedRoot+"/")
	if !ok {
		return "", "", false
	}
	owner, path, ok = strings.Cut(rest, "/")
	return owner, path, ok
}

// Path is the mailbox's name in its owner's tree.
func (m *Mailbox) Path() string {
	if m.Owner == "" {
		return m.Name
	}
	return m.Name[len(SharedRoot)+1+len(m.Owner)+1:]
}

// share makes of a row of its owner's what another sees.
func (m *Mailbox) share(owner string, r Rights) {
	m.Owner, m.Rights = owner, r
	m.Name = SharedName(owner, m.Name)
	m.Role = "" // the owner's Drafts and Trash are not those of who looks
	m.Subscribed, m.Children = false, false
}

// Find is the mailbox that a name stands for when the account uses it: one of its own, or Shared/OWNER/NAME if it has any right on it. Rights are
// those of the account, Account is the owner's. Children is not told of a shared one. fs.ErrNotExist.
func (s *Store) Find(ctx context.Context, account int64, name string) (Mailbox, error) {
	m, err := s.Mailbox(ctx, account, name)
	if err == nil || !isNotExist(err) {
		return m, err
	}
	level, path, ok := SplitShared(name)
	if !ok {
		return m, err
	}
	m, err = s.findShared(account, level, path)
	return m, fail("mailbox", err)
}

func (s *Store) findShared(account int64, level, path string) (Mailbox, error) {
	owner, err := CleanName(level)
	if err != nil {
		return Mailbox{}, fs.ErrNotExist
	}
	if path, err = CleanMailbox(path); err != nil {
		return Mailbox{}, fs.ErrNotExist
	}
	var m Mailbox
	err = s.db.Row(`SELECT `+mailboxColumns+` FROM mailbox m WHERE m.account = (SELECT id FROM account WHERE name = ?) AND m.name = ?`, owner, path).Scan(m.dest()...)
	if err != nil {
		return Mailbox{}, noRows(err)
	}
	r, err := readRights(s.db, account, m.ID)
	if err != nil {
		return Mailbox{}, err
	}
	if m.Account == account || r == 0 {
		return Mailbox{}, fs.ErrNotExist
	}
	m.share(owner, r)
	err = s.db.Row(`SELECT EXISTS (SELECT 1 FROM subscription WHERE account = ? AND name = ?)`, account, m.Name).Scan(&m.Subscribed)
	return m, err
}

// maxShared is how many mailboxes Shared gives of those that name the account, and of those that name anyone: nobody fills the lists of all others
// by sharing what he has with anyone.
const maxShared = 10_000

// Shared are the mailboxes of others on which the account has any right, by name, with Rights. At most 10,000 by entries that name the account and 10,000 by those that name anyone. Children tells of those that it can look up.
func (s *Store) Shared(ctx context.Context, account int64) ([]Mailbox, error) {
	all, err := s.readShared(account)
	if err != nil || len(all) == 0 {
		return nil, fail("shared mailboxes", err)
	}
	subs, err := s.subscribedShared(account)
	if err != nil {
		return nil, fail("shared mailboxes", err)
	}
	at := make(map[string]int, len(all))
	for i := range all {
		all[i].Subscribed = subs[all[i].Name]
		at[all[i].Name] = i
	}
	for i := range all {
		if !all[i].Rights.Has(MayLookup) {
			continue
		}
		for n, j := all[i].Name, 0; ; {
			if j = strings.LastIndexByte(n, '/'); j < 0 {
				break
			}
			n = n[:j]
			if k, ok := at[n]; ok {
				all[k].Children = true
			}
		}
	}
	return all, nil
}

func (s *Store) readShared(account int64) (all []Mailbox, err error) {
	have := map[int64]bool{}
	for _, identifier := range []int64{account, anyone} {
		if all, err = s.addShared(all, have, account, identifier); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Mailbox) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// addShared adds mailboxes that are found by the entries of one identifier. What the account may do with them all entries tell that hold for it.
func (s *Store) addShared(all []Mailbox, have map[int64]bool, account, identifier int64) ([]Mailbox, error) {
	other := anyone + account - identifier // the other one of the two
	rows, err := s.db.Query(`SELECT `+mailboxColumns+`, a.name, c.rights | COALESCE(o.rights, 0), COALESCE(n.rights, 0) | COALESCE(u.rights, 0)
		FROM (SELECT mailbox, rights FROM acl WHERE identifier = ? AND negative = 0 ORDER BY mailbox LIMIT ?) c
		JOIN mailbox m ON m.id = c.mailbox JOIN account a ON a.id = m.account
		LEFT JOIN acl o ON o.mailbox = m.id AND o.identifier = ? AND o.negative = 0
		LEFT JOIN acl n ON n.mailbox = m.id AND n.identifier = ? AND n.negative = 1
		LEFT JOIN acl u ON u.mailbox = m.id AND u.identifier = 0 AND u.negative = 1
		WHERE m.account <> ?`, identifier, maxShared, other, account, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var m Mailbox
		var owner string
		var sum rightsSum
		if err := rows.Scan(m.dest(&owner, &sum.given, &sum.taken)...); err != nil {
			return nil, err
		}
		if r := sum.rights(); r != 0 && !have[m.ID] {
			have[m.ID] = true
			m.share(owner, r)
			all = append(all, m)
		}
	}
	return all, rows.Err()
}

func (s *Store) subscribedShared(account int64) (map[string]bool, error) {
	return readSet[string](s.db, `SELECT name FROM subscription WHERE account = ? AND name > 'Shared/' AND name < 'Shared0'`, account)
}
