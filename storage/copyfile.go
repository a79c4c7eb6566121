package storage

import (
	"context"
	"fmt"

	"github.com/packetboat/packetboat/storage/watch"
)

// CopyFile makes or atomically replaces the file parent/name with a copy of the file id; a partial upload of that name is forgotten. No bytes are moved, as both
// share the blob; the copy counts in the quota like any file. With exclusive nothing may be there: else fs.ErrExist. A file copied over
// itself stays as it is. fs.ErrExist when a folder has the name, fs.ErrNotExist, ErrQuota, ErrEntries; ErrInvalid when id is no file.
func (s *Store) CopyFile(ctx context.Context, account, id, parent int64, name string, exclusive bool) (n Node, err error) {
	if name, err = CleanName(name); err != nil {
		return Node{}, fail("copy file", err)
	}
	err = s.do(ctx, func(t *tx) error {
		n, err = t.copyFile(account, id, parent, name, exclusive)
		return err
	})
	return n, fail("copy file", err)
}

func (t *tx) copyFile(account, id, parent int64, name string, exclusive bool) (Node, error) {
	from, err := readNode(t.db, account, id)
	if err != nil {
		return Node{}, err
	}
	if from.Kind != KindFile {
		return Node{}, fmt.Errorf("%w: only files are copied", ErrInvalid)
	}
	a, old, part, err := t.placeFor(account, parent, name, from.Size, exclusive)
	switch {
	case err != nil:
		return Node{}, err
	case old.ID == id:
		return old, nil
	}
	if err := t.dropPartial(a, part); err != nil {
		return Node{}, err
	}
	if from.Blob != 0 {
		if err := t.share(from.Blob, 1); err != nil {
			return Node{}, err
		}
	}
	seq, now := t.nextModSeq(a), unix(t.now())
	copied := old.ID
	if copied == 0 {
		if err := t.charge(a, from.Size, 0, 1); err != nil {
			return Node{}, err
		}
		copied, err = t.putNode(Node{Account: account, Parent: parent, Kind: KindFile, Name: name, Size: from.Size, Modified: now, Mode: from.Mode, Blob: from.Blob, ModSeq: seq}, 0)
	} else {
		err = t.replaceFile(a, old, from.Size, from.Blob, now, seq)
	}
	if err != nil {
		return Node{}, err
	}
	t.change(watch.Change{Account: account, Node: copied, Kind: watch.NodePut, ModSeq: seq})
	return readNode(t.db, account, copied)
}
