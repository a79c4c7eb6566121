package storage

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/storage/sqldb"
	"github.com/packetboat/packetboat/storage/watch"
)

// Mailbox is a mailbox or a name above one, with its counters, which are kept and never counted.
type Mailbox struct {
	ID            int64
	Account       int64
	Name          string // path below /Mail: "INBOX", "Archive/2026"; UTF-8, NFC
	NoSelect      bool   // a name only (KindFolder)
	Role          string // special use without the backslash: "Drafts", "Sent", "Archive", "Junk", "Trash"; "" else
	Subscribed    bool
	Children      bool
	UIDValidity   uint32
	UIDNext       uint32
	HighestModSeq uint64
	Messages      uint32
	Unseen        uint32
	Deleted       uint32
	Size          int64

	// As the account sees it that asked for it. Pictures (Snapshot.Mailbox) have neither.
	Owner  string // "" for an own one; else the name of the account whose it is, and Name is Shared/OWNER/...
	Rights Rights // what the account may do with it
}

// maxMailboxes is how many an account may have.
const maxMailboxes = 10_000

const mailboxColumns = `m.id, m.account, m.name, m.noselect, m.role, m.uidvalidity, m.uidnext, m.highestmodseq, m.messages, m.unseen, m.deleted, m.size`

func (m *Mailbox) dest(more ...any) []any {
	return append([]any{&m.ID, &m.Account, &m.Name, &m.NoSelect, &m.Role, &m.UIDValidity, &m.UIDNext, &m.HighestModSeq, &m.Messages, &m.Unseen, &m.Deleted, &m.Size}, more...)
}

func readMailboxRow(q sqldb.Querier, id int64) (*mailboxRow, error) {
	var m mailboxRow
	err := q.Row(`SELECT `+mailboxColumns+`, m.floor, m.tombs FROM mailbox m WHERE m.id = ?`, id).Scan(m.dest(&m.floor, &m.tombs)...)
	if err != nil {
		return nil, fmt.Errorf("mailbox: %w", noRows(err))
	}
	return &m, nil
}

const mailboxQuery = `SELECT ` + mailboxColumns + `, EXISTS (SELECT 1 FROM subscription s WHERE s.account = m.account AND s.name = m.name),
	EXISTS (SELECT 1 FROM node c WHERE c.parent = m.id) FROM mailbox m`

// Mailboxes are all mailboxes of an account by name, INBOX first.
func (s *Store) Mailboxes(ctx context.Context, account int64) ([]Mailbox, error) {
	rows, err := s.db.Query(mailboxQuery+` WHERE m.account = ? ORDER BY m.name`, account)
	if err != nil {
		return nil, fail("mailboxes", err)
	}
	defer rows.Close()
	var all []Mailbox
	for rows.Next() {
		var m Mailbox
		if err := rows.Scan(m.dest(&m.Subscribed, &m.Children)...); err != nil {
			return nil, fail("mailboxes", err)
		}
		m.Rights = AllRights
		all = append(all, m)
	}
	if i := slices.IndexFunc(all, func(m Mailbox) bool { return m.Name == "INBOX" }); i > 0 {
		inbox := all[i]
		copy(all[1:i+1], all[:i])
		all[0] = inbox
	}
	return all, fail("mailboxes", rows.Err())
}

// Mailbox by name (INBOX in any case). fs.ErrNotExist.
func (s *Store) Mailbox(ctx context.Context, account int64, name string) (Mailbox, error) {
	var m Mailbox
	name, err := CleanMailbox(name)
	if err != nil {
		// A name that cannot be is not there.
		return m, fail("mailbox", fmt.Errorf("%w: %w", fs.ErrNotExist, err))
	}
	err = s.db.Row(mailboxQuery+` WHERE m.account = ? AND m.name = ?`, account, name).Scan(m.dest(&m.Subscribed, &m.Children)...)
	m.Rights = AllRights
	return m, fail("mailbox", err)
}

// MailboxByID is Mailbox by id. fs.ErrNotExist.
func (s *Store) MailboxByID(ctx context.Context, account, id int64) (Mailbox, error) {
	var m Mailbox
	err := s.db.Row(mailboxQuery+` WHERE m.account = ? AND m.id = ?`, account, id).Scan(m.dest(&m.Subscribed, &m.Children)...)
	m.Rights = AllRights
	return m, fail("mailbox", err)
}

// namedMailbox is the row of a name, \NoSelect or not.
func (t *tx) namedMailbox(account int64, name string) (*mailboxRow, error) {
	var id int64
	if err := t.db.Row(`SELECT id FROM mailbox WHERE account = ? AND name = ?`, account, name).Scan(&id); err != nil {
		return nil, noRows(err)
	}
	return t.mailboxRow(id)
}

// mailboxRow is the row, whosever it is.
func (t *tx) mailboxRow(id int64) (*mailboxRow, error) {
	if m := t.w.mailboxes[id]; m != nil {
		return m, nil
	}
	m, err := readMailboxRow(t.db, id)
	if err != nil {
		return nil, err
	}
	t.w.mailboxes[id] = m
	return m, nil
}

// accountMailboxes are the rows of an account's mailboxes by name.
func (t *tx) accountMailboxes(account int64) ([]*mailboxRow, error) {
	return t.mailboxRows(`m.account = ? ORDER BY m.name`, account)
}

// treeRange picks a mailbox and all below it, with its arguments. '0' comes after '/'.
const treeRange = `account = ? AND (name = ? OR name > ? AND name < ?)`

func treeArgs(account int64, name string) []any {
	return []any{account, name, name + "/", name + "0"}
}

// mailboxRows are the rows that a condition picks, in one query.
func (t *tx) mailboxRows(where string, args ...any) ([]*mailboxRow, error) {
	rows, err := t.db.Query(`SELECT `+mailboxColumns+`, m.floor, m.tombs FROM mailbox m WHERE `+where, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []*mailboxRow
	for rows.Next() {
		var m mailboxRow
		if err := rows.Scan(m.dest(&m.floor, &m.tombs)...); err != nil {
			return nil, err
		}
		// The row in memory may be newer.
		known := t.w.mailboxes[m.ID]
		if known == nil {
			known = &m
			t.w.mailboxes[m.ID] = known
		}
		all = append(all, known)
	}
	return all, rows.Err()
}

// CreateMailbox makes a mailbox and the mailboxes above it that do not exist yet (RFC 9051 section 6.3.4). A \NoSelect name becomes a mailbox. fs.ErrExist.
// A new mailbox of an old name gets a greater UIDVALIDITY, and the access control list of the one above it (RFC 4314 section 4). fs.ErrPermission for Shared and below it. ErrConflict when another mailbox has the role already, ErrLimit when there are 10,000.
func (s *Store) CreateMailbox(ctx context.Context, account int64, name, role string) (Mailbox, error) {
	var m Mailbox
	name, err := CleanMailbox(name)
	if err == nil {
		err = reserved(name)
	}
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			a, err := t.account(account)
			if err != nil {
				return err
			}
			row, err := t.createMailbox(a, name, role)
			if err != nil {
				return err
			}
			m = row.Mailbox
			m.Rights = AllRights
			return t.db.Row(`SELECT EXISTS (SELECT 1 FROM subscription WHERE account = ? AND name = ?), EXISTS (SELECT 1 FROM node WHERE parent = ?)`,
				account, name, m.ID).Scan(&m.Subscribed, &m.Children)
		})
	}
	if err != nil {
		return Mailbox{}, fail("create mailbox", err)
	}
	return m, nil
}

func (t *tx) createMailbox(a *accountRow, name, role string) (*mailboxRow, error) {
	there, err := t.namedMailbox(a.ID, name)
	if err == nil && !there.NoSelect {
		return nil, fs.ErrExist
	}
	if err != nil && !isNotExist(err) {
		return nil, err
	}
	if role != "" {
		var taken bool
		if err := t.db.Row(`SELECT EXISTS (SELECT 1 FROM mailbox WHERE account = ? AND role = ?)`, a.ID, role).Scan(&taken); err != nil {
			return nil, err
		}
		if taken {
			return nil, fmt.Errorf("%w: another mailbox is for %s", ErrConflict, role)
		}
	}
	if err := t.room(a, strings.Count(name, "/")+1); err != nil {
		return nil, err
	}
	if there != nil {
		return t.makeSelectable(a, there, role)
	}
	parent, err := t.parents(a, name)
	if err != nil {
		return nil, err
	}
	return t.makeMailbox(a, parent, name, name[strings.LastIndexByte(name, '/')+1:], role, false)
}

// room tells whether an account may have n more mailboxes.
func (t *tx) room(a *accountRow, n int) error {
	if err := t.s.mayAdd(n, &a.Usage); err != nil {
		return err
	}
	var count int
	if err := t.db.Row(`SELECT COUNT(*) FROM mailbox WHERE account = ?`, a.ID).Scan(&count); err != nil {
		return err
	}
	if count+n > maxMailboxes {
		return fmt.Errorf("%w: %d mailboxes", ErrLimit, maxMailboxes)
	}
	return nil
}

// parents makes the mailboxes above name that do not exist and returns the node that name goes into.
func (t *tx) parents(a *accountRow, name string) (int64, error) {
	parent := a.Mail
	for i, c := range name {
		if c != '/' {
			continue
		}
		above := name[:i]
		m, err := t.namedMailbox(a.ID, above)
		if isNotExist(err) {
			m, err = t.makeMailbox(a, parent, above, above[strings.LastIndexByte(above, '/')+1:], "", false)
		}
		if err != nil {
			return 0, err
		}
		parent = m.ID
	}
	return parent, nil
}

// makeMailbox adds the rows of a mailbox, or of a name only.
func (t *tx) makeMailbox(a *accountRow, parent int64, path, name, role string, noselect bool) (*mailboxRow, error) {
	kind := KindMailbox
	if noselect {
		kind = kindName
	}
	seq := t.nextModSeq(a)
	id, err := t.putNode(Node{Account: a.ID, Parent: parent, Name: name, Mode: 0o700, ModSeq: seq}, kind)
	if err != nil {
		return nil, err
	}
	m := &mailboxRow{known: true, Mailbox: Mailbox{ID: id, Account: a.ID, Name: path, NoSelect: noselect, Role: role, UIDNext: 1, HighestModSeq: seq}}
	m.UIDValidity = t.nextUIDValidity(a)
	if err := t.exec(`INSERT INTO mailbox (id, account, name, noselect, role, uidvalidity, uidnext, highestmodseq, messages, unseen, deleted, size, floor, tombs)
		VALUES (?, ?, ?, ?, ?, ?, 1, ?, 0, 0, 0, 0, 0, 0)`,
		id, a.ID, path, truth(noselect), role, int64(m.UIDValidity), int64(seq)); err != nil {
		return nil, err
	}
	t.w.mailboxes[id] = m
	if !noselect && parent != a.Mail {
		if err := t.inheritACL(parent, id); err != nil {
			return nil, err
		}
	}
	t.change(watch.Change{Account: a.ID, Mailbox: id, Node: id, Kind: watch.Mailboxes, ModSeq: seq})
	return m, nil
}

// makeSelectable makes a mailbox of a name that was one above others only.
func (t *tx) makeSelectable(a *accountRow, m *mailboxRow, role string) (*mailboxRow, error) {
	if err := t.exec(`INSERT INTO acl (mailbox, identifier, negative, rights) SELECT n.id, x.identifier, x.negative, x.rights FROM node n JOIN acl x ON x.mailbox = n.parent
		WHERE n.id = ? ON CONFLICT (mailbox, identifier, negative) DO NOTHING`, m.ID); err != nil {
		return nil, err
	}
	if err := t.exec(`UPDATE mailbox SET noselect = 0, role = ? WHERE id = ?`, role, m.ID); err != nil {
		return nil, err
	}
	if err := t.exec(`UPDATE node SET kind = ? WHERE id = ?`, int64(KindMailbox), m.ID); err != nil {
		return nil, err
	}
	m.NoSelect, m.Role = false, role
	m.UIDValidity, m.UIDNext = t.nextUIDValidity(a), 1
	seq := t.nextModSeq(a)
	t.touchMailbox(m, seq)
	t.change(watch.Change{Account: a.ID, Mailbox: m.ID, Node: m.ID, Kind: watch.Mailboxes, ModSeq: seq})
	return m, nil
}

// Subscribe subscribes to a name or ends it; a name need not exist to be unsubscribed, nor to be subscribed to (RFC 9051 section 6.3.7 leaves it open).
// ErrLimit beyond twice the mailboxes that an account may have.
func (s *Store) Subscribe(ctx context.Context, account int64, name string, on bool) error {
	name, err := CleanMailbox(name)
	if err != nil {
		return fail("subscribe", err)
	}
	err = s.do(ctx, func(t *tx) error {
		if _, err := t.account(account); err != nil {
			return err
		}
		var n, have int
		if err := t.db.Row(`SELECT COUNT(*), COALESCE(SUM(CASE WHEN name = ? THEN 1 ELSE 0 END), 0) FROM subscription WHERE account = ?`, name, account).Scan(&n, &have); err != nil {
			return err
		}
		if on == (have > 0) {
			return nil
		}
		if on && n >= 2*maxMailboxes {
			return fmt.Errorf("%w: %d subscriptions", ErrLimit, n)
		}
		t.change(watch.Change{Account: account, Kind: watch.Mailboxes})
		if on {
			return t.exec(`INSERT INTO subscription (account, name) VALUES (?, ?)`, account, name)
		}
		return t.exec(`DELETE FROM subscription WHERE account = ? AND name = ?`, account, name)
	})
	return fail("subscribe", err)
}

// Subscriptions are the names subscribed to, existing or not, in order.
func (s *Store) Subscriptions(ctx context.Context, account int64) ([]string, error) {
	all, err := readSubscriptions(s.db, account)
	return all, fail("subscriptions", err)
}

func readSubscriptions(q sqldb.Querier, account int64) ([]string, error) {
	return readAll[string](q, `SELECT name FROM subscription WHERE account = ? ORDER BY name`, account)
}
