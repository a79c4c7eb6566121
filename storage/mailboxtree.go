package storage

import (
	"cmp"
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/watch"
)

// DeleteMailbox expunges its messages and removes it; with children it becomes \NoSelect (RFC 3501 section 6.3.4). INBOX: fs.ErrPermission; so is
// a \NoSelect name with children. onlyEmpty: fs.ErrPermission when it holds messages or mailboxes (FTP's RMD).
func (s *Store) DeleteMailbox(ctx context.Context, account int64, name string, onlyEmpty bool) error {
	return s.deleteNamed(ctx, account, name, onlyEmpty, 0)
}

// DeleteMailboxIf is DeleteMailbox of a name that still is the mailbox's with that id, on which somebody's rights were looked at; otherwise fs.ErrNotExist.
func (s *Store) DeleteMailboxIf(ctx context.Context, account, id int64, name string) error {
	return s.deleteNamed(ctx, account, name, false, id)
}

func (s *Store) deleteNamed(ctx context.Context, account int64, name string, onlyEmpty bool, id int64) error {
	name, err := CleanMailbox(name)
	if err != nil {
		return fail("delete mailbox", fmt.Errorf("%w: %w", fs.ErrNotExist, err))
	}
	if name == "INBOX" {
		return fail("delete mailbox", fmt.Errorf("%w: INBOX stays", fs.ErrPermission))
	}
	err = s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		m, err := t.namedMailbox(account, name)
		if err != nil {
			return err
		}
		if id != 0 && m.ID != id {
			return fs.ErrNotExist
		}
		return t.deleteMailbox(a, m, onlyEmpty)
	})
	return fail("delete mailbox", err)
}

func (t *tx) deleteMailbox(a *accountRow, m *mailboxRow, onlyEmpty bool) error {
	var parent, children int64
	if err := t.db.Row(`SELECT parent, (SELECT COUNT(*) FROM node WHERE parent = ?) FROM node WHERE id = ?`, m.ID, m.ID).Scan(&parent, &children); err != nil {
		return noRows(err)
	}
	switch {
	case onlyEmpty && m.Messages > 0:
		return fmt.Errorf("%w: the mailbox holds messages", fs.ErrPermission)
	case onlyEmpty && children > 0, m.NoSelect && children > 0:
		return fmt.Errorf("%w: the mailbox has mailboxes below it", fs.ErrPermission)
	}
	if err := t.charge(a, -m.Size, -int64(m.Messages), 0); err != nil {
		return err
	}
	if err := t.retire(m.Account, m); err != nil {
		return err
	}
	if err := t.dropMailboxRow(m); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM node WHERE id = ?`, m.ID); err != nil {
		return err
	}
	t.enter(a, -1)
	t.change(watch.Change{Account: a.ID, Mailbox: m.ID, Node: m.ID, Kind: watch.Mailboxes, ModSeq: t.nextModSeq(a)})
	t.after = append(t.after, t.s.wakeSweeper)
	if children == 0 {
		return nil
	}
	// The name that stays is another node, so that the sweeper can take its time with the messages of the old one.
	name, err := t.makeMailbox(a, parent, m.Name, m.Name[strings.LastIndexByte(m.Name, '/')+1:], "", true)
	if err != nil {
		return err
	}
	return t.exec(`UPDATE node SET parent = ? WHERE parent = ?`, name.ID, m.ID)
}

// dropMailboxRow removes the mailbox's row and leaves its messages to the sweeper.
func (t *tx) dropMailboxRow(m *mailboxRow) error {
	if err := t.exec(`DELETE FROM mailbox WHERE id = ?`, m.ID); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM annotation WHERE mailbox = ?`, m.ID); err != nil {
		return err
	}
	if err := t.exec(`INSERT INTO purge (id, kind) VALUES (?, ?)`, m.ID, purgeMessages); err != nil {
		return err
	}
	if err := t.exec(`DELETE FROM acl WHERE mailbox = ?`, m.ID); err != nil {
		return err
	}
	t.edits(m).removed = true
	delete(t.w.mailboxes, m.ID)
	return nil
}

// maxRetired is how many names given up are remembered for an account. Of more, the oldest are forgotten.
const maxRetired = 1000

// retire remembers the UIDVALIDITYs that names had when they are given up: the greatest ones, when there are many.
func (t *tx) retire(account int64, tree ...*mailboxRow) error {
	tree = slices.DeleteFunc(slices.Clone(tree), func(m *mailboxRow) bool { return m.NoSelect })
	slices.SortFunc(tree, func(a, b *mailboxRow) int { return cmp.Compare(b.UIDValidity, a.UIDValidity) })
	for _, m := range tree[:min(len(tree), maxRetired)] {
		if err := t.exec(`INSERT INTO retired (account, name, uidvalidity) VALUES (?, ?, ?) ON CONFLICT (account, name) DO UPDATE SET uidvalidity =
			CASE WHEN excluded.uidvalidity > retired.uidvalidity THEN excluded.uidvalidity ELSE retired.uidvalidity END`, account, m.Name, int64(m.UIDValidity)); err != nil {
			return err
		}
	}
	return t.exec(`DELETE FROM retired WHERE account = ? AND uidvalidity < (SELECT uidvalidity FROM retired WHERE account = ? ORDER BY uidvalidity DESC LIMIT 1 OFFSET ?)`,
		account, account, maxRetired)
}

// retired are the UIDVALIDITYs that names had which were given up.
func (t *tx) retired(account int64) (map[string]uint32, error) {
	rows, err := t.db.Query(`SELECT name, uidvalidity FROM retired WHERE account = ?`, account)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	had := map[string]uint32{}
	for rows.Next() {
		var name string
		var v uint32
		if err := rows.Scan(&name, &v); err != nil {
			return nil, err
		}
		had[name] = v
	}
	return had, rows.Err()
}

// RenameMailbox renames it with all below it; INBOX: its messages move into a new mailbox and INBOX stays (RFC 9051 section 6.3.6).
// Access control lists stay as they are. fs.ErrExist; ErrInvalid for a name below its own; fs.ErrPermission for Shared and below it.
func (s *Store) RenameMailbox(ctx context.Context, account int64, from, to string) error {
	return s.renameNamed(ctx, account, from, to, 0)
}

// RenameMailboxIf is RenameMailbox of a name that still is the mailbox's with that id, on which somebody's rights were looked at; otherwise fs.ErrNotExist.
func (s *Store) RenameMailboxIf(ctx context.Context, account, id int64, from, to string) error {
	return s.renameNamed(ctx, account, from, to, id)
}

func (s *Store) renameNamed(ctx context.Context, account int64, from, to string, id int64) error {
	to, err := CleanMailbox(to)
	if err == nil {
		err = reserved(to)
	}
	if err != nil {
		return fail("rename mailbox", err)
	}
	if from, err = CleanMailbox(from); err != nil {
		return fail("rename mailbox", fmt.Errorf("%w: %w", fs.ErrNotExist, err))
	}
	if from == "INBOX" {
		// Its messages move. Loaded here if it is cold, so that the writer need not.
		m, err := s.Mailbox(ctx, account, from)
		if err == nil {
			_, err = s.loadWarm(ctx, m.ID)
		}
		if err != nil {
			return fail("rename mailbox", err)
		}
	}
	err = s.do(ctx, func(t *tx) error {
		a, err := t.account(account)
		if err != nil {
			return err
		}
		m, err := t.namedMailbox(account, from)
		if err != nil {
			return err
		}
		if id != 0 && m.ID != id {
			return fs.ErrNotExist
		}
		if _, err := t.namedMailbox(account, to); err == nil {
			return fs.ErrExist
		} else if !isNotExist(err) {
			return err
		}
		if from == "INBOX" {
			return t.renameInbox(a, m, to)
		}
		if strings.HasPrefix(to, from+"/") {
			return fmt.Errorf("%w: a mailbox cannot go below itself", ErrInvalid)
		}
		return t.renameMailbox(a, m, to)
	})
	return fail("rename mailbox", err)
}

func (t *tx) renameInbox(a *accountRow, inbox *mailboxRow, to string) error {
	m, err := t.createMailbox(a, to, "")
	if err != nil {
		return err
	}
	if err := t.copyAnnotations(inbox.ID, m.ID); err != nil {
		return err
	}
	p, err := t.view(inbox)
	if err != nil {
		return err
	}
	_, err = t.move(side{a, inbox}, side{a, m}, slicesOf(p, nil), AllRights)
	return err
}

func (t *tx) renameMailbox(a *accountRow, m *mailboxRow, to string) error {
	from := m.Name
	tree, err := t.mailboxRows(treeRange, treeArgs(a.ID, from)...)
	if err != nil {
		return err
	}
	for _, b := range tree {
		if name := to + b.Name[len(from):]; len(name) > MaxPath || strings.Count(name, "/")+1 >= MaxDepth {
			return fmt.Errorf("%w: a name below it would be too long or too deep", ErrLimit)
		}
	}
	if err := t.room(a, strings.Count(to, "/")); err != nil {
		return err
	}
	parent, err := t.parents(a, to)
	if err != nil {
		return err
	}
	seq := t.nextModSeq(a)
	if err := t.exec(`UPDATE node SET parent = ?, name = ?, modseq = ? WHERE id = ?`, parent, to[strings.LastIndexByte(to, '/')+1:], int64(seq), m.ID); err != nil {
		return err
	}
	if err := t.renameTree(a, tree, from, to); err != nil {
		return err
	}
	t.change(watch.Change{Account: a.ID, Mailbox: m.ID, Node: m.ID, Kind: watch.Mailboxes, ModSeq: seq})
	return nil
}

// renameTree gives a mailbox and those below it their new names, with few statements, however many they are: others wait meanwhile.
func (t *tx) renameTree(a *accountRow, tree []*mailboxRow, from, to string) error {
	if err := t.retire(a.ID, tree...); err != nil {
		return err
	}
	had, err := t.retired(a.ID)
	if err != nil {
		return err
	}
	args := append([]any{to, int64(utf8.RuneCountInString(from) + 1)}, treeArgs(a.ID, from)...)
	if err := t.exec(`UPDATE mailbox SET name = ? || SUBSTR(name, ?) WHERE `+treeRange, args...); err != nil {
		return err
	}
	for _, b := range tree {
		b.Name = to + b.Name[len(from):]
		t.edits(b)
		// RFC 9051 section 2.3.1.1: what was once known by this name had a greater UIDVALIDITY, so this needs one greater still.
		if before, ok := had[b.Name]; ok && before >= b.UIDValidity {
			b.UIDValidity = t.nextUIDValidity(a)
			t.touchMailbox(b, 0)
		}
	}
	return nil
}
