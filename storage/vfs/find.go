package vfs

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/packetboat/packetboat/storage"
)

// place is where a path leads.
type place struct {
	names   []string
	node    storage.Node // of a message: the mailbox it is in
	message bool
	entry   storage.Entry // of a message
	name    string        // of a message: its own name, also when an alias led to it
	alias   bool
}

// path is the canonical one; an alias stays one.
func (p *place) path() string { return join(p.names) }

func (p *place) folder() bool { return !p.message && p.node.Kind != storage.KindFile }

// fixed tells whether it is a folder that every account has and keeps.
func (p *place) fixed() bool { return len(p.names) == 0 || isMailRoot(p.names) }

// find follows names.
func (t *Tree) find(ctx context.Context, names []string) (*place, error) {
	p := &place{names: names}
	var err error
	if len(names) == 0 {
		p.node, err = t.store.Node(ctx, t.account, t.home)
		return p, err
	}
	if !inMail(names) || len(names) < 3 || !t.maybeMessage(names) {
		p.node, err = t.store.Walk(ctx, t.account, names)
		return p, err
	}
	last := len(names) - 1
	if p.node, err = t.store.Walk(ctx, t.account, names[:last]); err != nil {
		return nil, err
	}
	// A mailbox that has a message's name hides it.
	child, err := t.store.Lookup(ctx, t.account, p.node.ID, names[last])
	if err == nil {
		p.node = child
		return p, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || p.node.Kind != storage.KindMailbox {
		return nil, err
	}
	return p, t.findMessage(ctx, p)
}

func (t *Tree) maybeMessage(names []string) bool {
	_, ok := messageUID(names[len(names)-1])
	return ok || t.hasAlias(join(names))
}

// findMessage looks for the message in p.node that has p's last name, or for which it is an alias.
func (t *Tree) findMessage(ctx context.Context, p *place) error {
	snap, err := t.store.Snapshot(ctx, p.node.ID)
	if err != nil {
		return err
	}
	name := p.names[len(p.names)-1]
	if uid, ok := messageUID(name); ok {
		found, err := t.message(ctx, snap, uid, p)
		if err != nil || found && p.name == name {
			return err
		}
	}
	if uid, ok := t.aliased(p.path(), p.node.ID); ok {
		if found, err := t.message(ctx, snap, uid, p); err != nil || found {
			p.alias = true
			return err
		}
	}
	return fs.ErrNotExist
}

// message fills p with the message uid of snap, if it is there.
func (t *Tree) message(ctx context.Context, snap *storage.Snapshot, uid uint32, p *place) (bool, error) {
	i, ok := snap.Find(uid)
	if !ok {
		return false, nil
	}
	for _, row := range t.store.Mail(ctx, snap, []int{i}, storage.WantEnvelope) {
		if row.Err != nil {
			return false, row.Err
		}
		p.message = true
		p.entry = snap.At(i)
		p.name = messageName(p.entry.InternalDate, envelopeSubject(row.Envelope), uid)
		return true, nil
	}
	return false, nil
}

// parent follows all names but the last to a folder.
func (t *Tree) parent(ctx context.Context, names []string) (storage.Node, error) {
	p, err := t.find(ctx, names[:len(names)-1])
	if err != nil {
		return storage.Node{}, err
	}
	if !p.folder() {
		return storage.Node{}, errNotFolder
	}
	return p.node, nil
}

// Stat tells what a path is. Errors: fs.ErrNotExist, storage.ErrInvalid; *fs.PathError with the virtual path, never a path of the host.
// The Info of an alias has the message's own name.
func (t *Tree) Stat(ctx context.Context, path string) (Info, error) {
	v, names, err := t.allowed(ctx, path, 0)
	if err != nil {
		return Info{}, fail("stat", path, err)
	}
	i, err := t.stat(ctx, names)
	return v.shown(names, i), fail("stat", path, err)
}

func (t *Tree) stat(ctx context.Context, names []string) (Info, error) {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return on(h, err, (*hosted).stat)
	}
	p, err := t.find(ctx, names)
	if err != nil {
		return Info{}, err
	}
	return t.info(ctx, p)
}

func (t *Tree) info(ctx context.Context, p *place) (Info, error) {
	if p.message {
		return messageInfo(p.name, p.entry), nil
	}
	role := ""
	if p.node.Kind == storage.KindMailbox {
		m, err := t.store.MailboxByID(ctx, t.account, p.node.ID)
		if err != nil {
			return Info{}, err
		}
		role = m.Role
	}
	return t.nodeInfo(p.node, len(p.names), inMail(p.names), role), nil
}

// alias is a name under which a message was uploaded.
type alias struct {
	path    string
	mailbox int64
	uid     uint32
}

const maxAliases = 64 // a session remembers this many

func (t *Tree) remember(path string, mailbox int64, uid uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(path)
	if len(t.aliases) == maxAliases {
		t.aliases = slices.Delete(t.aliases, 0, 1)
	}
	t.aliases = append(t.aliases, alias{path, mailbox, uid})
}

func (t *Tree) forget(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked(path)
}

func (t *Tree) forgetLocked(path string) {
	t.aliases = slices.DeleteFunc(t.aliases, func(a alias) bool { return a.path == path })
}

func (t *Tree) hasAlias(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.aliases, func(a alias) bool { return a.path == path })
}

// aliased is the UID to which path leads in a mailbox.
func (t *Tree) aliased(path string, mailbox int64) (uint32, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.aliases {
		if a.path == path && a.mailbox == mailbox {
			return a.uid, true
		}
	}
	return 0, false
}
