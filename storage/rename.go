package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/packetboat/packetboat/storage/watch"
)

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// Rename moves a file or folder (outside /Mail; there use RenameMailbox). An existing file at the new name is replaced if the
// moved node is a file and replace is set, else fs.ErrExist. A folder cannot go below itself: ErrInvalid.
func (s *Store) Rename(ctx context.Context, account, node, newParent int64, newName string, replace bool) (Node, error) {
	var n Node
	newName, err := CleanName(newName)
	if err == nil {
		err = s.do(ctx, func(t *tx) error {
			n, err = t.rename(account, node, newParent, newName, replace)
			return err
		})
	}
	return n, fail("rename", err)
}

func (t *tx) rename(account, id, parent int64, name string, replace bool) (Node, error) {
	a, n, err := t.ownNode(account, id)
	if err != nil {
		return Node{}, err
	}
	if n.Parent == parent && n.Name == name {
		return n, nil
	}
	if err := t.mayMove(a, n, parent); err != nil {
		return Node{}, err
	}
	there, err := readChild(t.db, account, parent, name)
	switch {
	case err == nil && (there.Kind != KindFile || n.Kind != KindFile || !replace):
		return Node{}, fs.ErrExist
	case err == nil:
		if err := t.removeNode(a, there); err != nil {
			return Node{}, err
		}
	case !isNotExist(err):
		return Node{}, err
	}
	seq := t.nextModSeq(a)
	if err := t.exec(`UPDATE node SET parent = ?, name = ?, modseq = ? WHERE id = ?`, parent, name, int64(seq), id); err != nil {
		return Node{}, err
	}
	t.change(watch.Change{Account: account, Node: id, Kind: watch.NodeMoved, ModSeq: seq})
	return readNode(t.db, account, id)
}

// mayMove checks that n can go into the folder parent: a folder for files, not below n, and not too deep.
func (t *tx) mayMove(a *accountRow, n Node, parent int64) error {
	if _, err := t.folder(a, parent); err != nil {
		return err
	}
	if n.Kind == KindFile {
		return nil
	}
	if err := t.notMounted(a, n.ID); err != nil {
		return err
	}
	d, err := t.depth(parent, n.ID)
	if err != nil {
		return err
	}
	below, err := t.height(n.ID, MaxDepth-d)
	if err != nil {
		return err
	}
	if d+below > MaxDepth {
		return fmt.Errorf("%w: the tree is %d deep", ErrLimit, MaxDepth)
	}
	return nil
}

// height is how many levels of folders a folder makes, itself included; counting ends beyond limit.
func (t *tx) height(id int64, limit int) (int, error) {
	level := []int64{id}
	for h := 1; ; h++ {
		var next []int64
		for _, f := range level {
			ids, err := t.subfolders(f)
			if err != nil {
				return 0, err
			}
			next = append(next, ids...)
		}
		if len(next) == 0 || h > limit {
			return h, nil
		}
		level = next
	}
}

func (t *tx) subfolders(id int64) ([]int64, error) {
	return readAll[int64](t.db, `SELECT id FROM node WHERE parent = ? AND kind = 1`, id)
}
