package vfs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/packetboat/packetboat/storage"
)

// partName is the name of what a cut upload of a name left in the same folder.
func (m *mount) partName(name string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "packetboat part\x00%d\x00%s\x00%s", m.Account, m.Owner, name))
	return hiddenPrefix + "part-" + hex.EncodeToString(sum[:16])
}

// recover makes a part of one that an upload went on with when the server crashed. fs.ErrNotExist when one goes on with it now.
func (m *mount) recover(d *hostDir, part string) error {
	st, err := d.lstat(part + ".up")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case m.holds(fileID{uint64(st.Dev), uint64(st.Ino)}):
		return fs.ErrNotExist
	}
	return d.rename(part+".up", d, part)
}

// part finds what a cut upload left; fs.ErrNotExist also while an upload goes on with it.
func (h *hosted) part() (st unix.Stat_t, err error) {
	if h.point() {
		return st, fs.ErrNotExist
	}
	d, name, err := h.r.parent(h.rel)
	if err != nil {
		return st, hostError(err)
	}
	defer d.close()
	part := h.m.partName(name)
	st, err = d.lstat(part)
	if errors.Is(err, fs.ErrNotExist) {
		st, err = d.lstat(part + ".up")
		if err == nil && h.m.holds(fileID{uint64(st.Dev), uint64(st.Ino)}) {
			err = fs.ErrNotExist
		}
	}
	if err == nil && !isRegular(uint32(st.Mode)) {
		err = fs.ErrNotExist
	}
	return st, hostError(err)
}

// partial is its size.
func (h *hosted) partial() (int64, error) {
	st, err := h.part()
	return st.Size, err
}

// dropPartial throws away what a cut upload of a name left; fs.ErrNotExist.
func (h *hosted) dropPartial(d *hostDir, name string) error {
	h.m.claims.Lock()
	defer h.m.claims.Unlock()
	part := h.m.partName(name)
	if err := h.m.recover(d, part); err != nil {
		return err
	}
	return d.unlink(part)
}

// dropPart is dropPartial of the path itself.
func (h *hosted) dropPart() error { return h.change(h.dropPartial) }

// below is the path below the mount, as the tree has it.
func (h *hosted) below() string { return strings.Join(h.names[len(h.m.names):], "/") }

// partsOnMounts is Parts of what lies on mounts. more: there may be others.
func (t *Tree) partsOnMounts(ctx context.Context, v *view) (parts []Part, more bool, err error) {
	all, err := t.fs.mountsOf(ctx, t.account)
	if err != nil {
		return nil, false, err
	}
	for _, m := range all {
		noted, err := t.store.MountParts(ctx, m.ID, "", MaxParts+1)
		if err != nil {
			return nil, false, err
		}
		if len(noted) > MaxParts {
			noted, more = noted[:MaxParts], true
		}
		for _, below := range noted {
			names := append(m.names[:len(m.names):len(m.names)], strings.Split(below, "/")...)
			last := len(names) - 1
			if !v.showsPart(names[:last], names[last]) {
				continue
			}
			p, err := t.partOnMount(ctx, m, names)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrTemporary) {
				continue // it was used up, or the host folder is not there now
			}
			if err != nil {
				return nil, false, err
			}
			p.Path = join(names[len(v.root):])
			parts = append(parts, p)
		}
	}
	return parts, more, nil
}

// forgetPart forgets a part that was noted and is not there any more. An upload that is cut in this moment notes its part when it is there, so looking once
// more afterwards misses none. One that an upload goes on with stays noted: it is a part again when the upload, or the server, is cut.
func (h *hosted) forgetPart(ctx context.Context) error {
	if h.keepsPart() {
		return nil
	}
	err := h.m.fs.store.ForgetMountPart(ctx, h.m.ID, h.below())
	if err == nil && h.keepsPart() {
		err = h.m.fs.store.NoteMountPart(ctx, h.m.ID, h.below())
	}
	return err
}

// keepsPart tells whether there is a part, or an upload that goes on with one.
func (h *hosted) keepsPart() bool {
	d, name, err := h.r.parent(h.rel)
	if err != nil {
		return false
	}
	defer d.close()
	part := h.m.partName(name)
	for _, f := range []string{part, part + ".up", part} { // it may go from one name to the other meanwhile
		if _, err := d.lstat(f); err == nil {
			return true
		}
	}
	return false
}

// partOnMount forgets one that is not there any more.
func (t *Tree) partOnMount(ctx context.Context, m *mount, names []string) (Part, error) {
	h, err := t.hosted(ctx, names)
	if h == nil && err == nil {
		err = fs.ErrNotExist // the mount was removed meanwhile
	}
	return on(h, err, func(h *hosted) (p Part, err error) {
		st, err := h.part()
		if errors.Is(err, fs.ErrNotExist) {
			return p, errors.Join(err, h.forgetPart(ctx))
		}
		if err != nil {
			return p, err
		}
		p.Size = st.Size
		p.Cut = modified(&st)
		p.Expires = p.Cut.Add(t.store.PartialAge())
		_, err = h.look()
		p.Old = err == nil
		return p, nil
	})
}
