package vfs

import (
	"context"
	"errors"
	"io/fs"
	"iter"

	"github.com/packetboat/packetboat/storage"
)

const (
	childPage   = 1000 // nodes read at a time
	messagePage = 1000 // messages whose rows are read at a time
)

// ReadDir streams a folder in bounded memory; the last element may be an error. Files and folders come by name (by byte), of a mailbox first
// its sub-mailboxes by name, then its messages by UID. A listing of messages is one snapshot; files that are added meanwhile may be left out.
func (t *Tree) ReadDir(ctx context.Context, path string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		err := t.readDir(ctx, path, func(i Info) bool { return yield(i, nil) })
		if err != nil && !errors.Is(err, errStop) {
			yield(Info{}, fail("readdir", path, err))
		}
	}
}

// errStop is that nobody listens any more.
var errStop = errors.New("stop")

func (t *Tree) readDir(ctx context.Context, path string, yield func(Info) bool) error {
	v, names, err := t.allowed(ctx, path, storage.CanList)
	if err != nil {
		return err
	}
	yield = v.filter(names, yield)
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, func(h *hosted) error { return h.readDir(ctx, yield) })
	}
	p, err := t.find(ctx, names)
	if err != nil {
		return err
	}
	if !p.folder() {
		return errNotFolder
	}
	var snap *storage.Snapshot
	if p.node.Kind == storage.KindMailbox {
		// Before the first entry is told, so that a mailbox that goes is an error and not an empty one.
		if snap, err = t.store.Snapshot(ctx, p.node.ID); err != nil {
			return err
		}
	}
	hidden, err := t.readNodes(ctx, p, yield)
	if err != nil || snap == nil {
		return err
	}
	return t.readMessages(ctx, snap, hidden, yield)
}

// readNodes tells the children of p. hidden are those whose names have the form of a message's.
func (t *Tree) readNodes(ctx context.Context, p *place, yield func(Info) bool) (hidden map[string]bool, err error) {
	var roles map[int64]string
	mail, after := inMail(p.names), ""
	points, err := t.points(ctx)
	if err != nil {
		return nil, err
	}
	for {
		nodes, err := t.store.Children(ctx, t.account, p.node.ID, after, childPage)
		if err != nil {
			return nil, err
		}
		if mail && len(nodes) > 0 && roles == nil {
			if roles, err = t.roles(ctx); err != nil {
				return nil, err
			}
		}
		for _, n := range nodes {
			if _, ok := messageUID(n.Name); ok && mail {
				if hidden == nil {
					hidden = make(map[string]bool)
				}
				hidden[n.Name] = true
			}
			below := mail || len(p.names) == 0 && n.Name == mailFolder
			i := t.nodeInfo(n, len(p.names)+1, below, roles[n.ID])
			if m := points[n.ID]; m != nil {
				i = t.pointInfo(m, n)
			}
			if !yield(i) {
				return nil, errStop
			}
		}
		if len(nodes) < childPage {
			return hidden, nil
		}
		after = nodes[len(nodes)-1].Name
	}
}

// roles are the special uses by mailbox.
func (t *Tree) roles(ctx context.Context) (map[int64]string, error) {
	boxes, err := t.store.Mailboxes(ctx, t.account)
	if err != nil {
		return nil, err
	}
	roles := make(map[int64]string)
	for _, m := range boxes {
		if m.Role != "" {
			roles[m.ID] = m.Role
		}
	}
	return roles, nil
}

func (t *Tree) readMessages(ctx context.Context, snap *storage.Snapshot, hidden map[string]bool, yield func(Info) bool) error {
	indexes := make([]int, 0, min(messagePage, snap.Len()))
	for first := 0; first < snap.Len(); first += messagePage {
		indexes = indexes[:0]
		for i := first; i < min(first+messagePage, snap.Len()); i++ {
			indexes = append(indexes, i)
		}
		for i, row := range t.store.Mail(ctx, snap, indexes, storage.WantEnvelope) {
			if errors.Is(row.Err, fs.ErrNotExist) {
				continue // expunged and swept since the snapshot
			}
			if row.Err != nil {
				return row.Err
			}
			e := snap.At(i)
			name := messageName(e.InternalDate, envelopeSubject(row.Envelope), e.UID)
			if hidden[name] {
				continue
			}
			if !yield(messageInfo(name, e)) {
				return errStop
			}
		}
	}
	return nil
}

// Open opens a file or message for reading.
func (t *Tree) Open(ctx context.Context, path string) (*File, error) {
	v, names, err := t.allowed(ctx, path, storage.CanDownload)
	if err != nil {
		return nil, fail("open", path, err)
	}
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		f, err := on(h, err, (*hosted).open)
		if err != nil {
			return nil, fail("open", path, err)
		}
		f.Info = v.shown(names, f.Info)
		return f, nil
	}
	p, err := t.find(ctx, names)
	if err != nil {
		return nil, fail("open", path, err)
	}
	if p.folder() {
		return nil, fail("open", path, errIsFolder)
	}
	id := p.node.Blob
	if p.message {
		id = p.entry.Blob
	}
	i, err := t.info(ctx, p)
	if err != nil {
		return nil, fail("open", path, err)
	}
	body, err := t.store.OpenBlob(ctx, id)
	if err != nil {
		return nil, fail("open", path, err)
	}
	return &File{Body: body, Info: v.shown(names, i), Blob: id}, nil
}

// File is open for reading: storage.Body with its Info. It shows the bytes as they were when it was opened, whatever happens to the path;
// on a mount as they are, of the size that they had.
type File struct {
	storage.Body
	Info Info
	Blob int64 // names the bytes for ever, for who remembers something about them; 0 when there is no such name, and for an empty file
}
