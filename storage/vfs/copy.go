package vfs

import (
	"context"
	"errors"
	"slices"

	"github.com/packetboat/packetboat/storage"
)

var errCopy = &refusal{storage.ErrInvalid, "only files that are neither mail nor on a mount are copied: download and upload"}

// Copy makes a copy of a file, which may replace another. It moves no bytes, so that it takes no time: both share them until one changes. Mail and
// what is on a mount: storage.ErrInvalid.
func (t *Tree) Copy(ctx context.Context, from, to string) error {
	_, a, err := t.allowed(ctx, from, storage.CanDownload)
	if err != nil {
		return fail("copy", from, err)
	}
	b, o, err := t.mayCreate(ctx, to, CreateOptions{})
	if err == nil {
		err = t.copy(ctx, a, b, o)
	}
	return fail("copy", to, err)
}

func (t *Tree) copy(ctx context.Context, a, b []string, o CreateOptions) error {
	for _, names := range [][]string{a, b} {
		if inMail(names) || o.blind {
			return errCopy
		}
		if m, err := t.mountOf(ctx, names); m != nil || err != nil {
			return errors.Join(err, unless(err, errCopy))
		}
	}
	p, err := t.find(ctx, a)
	switch {
	case err != nil:
		return err
	case p.folder():
		return errIsFolder
	case len(b) == 0:
		return errFolderExists
	case slices.Equal(a, b):
		return nil
	}
	into, err := t.parent(ctx, b)
	if err != nil {
		return err
	}
	_, err = t.store.CopyFile(ctx, t.account, p.node.ID, into.ID, b[len(b)-1], o.Exclusive)
	return err
}
