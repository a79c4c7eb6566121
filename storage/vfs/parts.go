package vfs

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// MaxParts is how many parts Parts looks at.
const MaxParts = 1000

// Part is what was kept of an upload that was cut.
type Part struct {
	Path    string // where the file was to go, or is (Old)
	Size    int64  // bytes that were kept: where to resume
	Cut     time.Time
	Expires time.Time // then it is swept
	Old     bool      // there is a file of that name, untouched by the upload

	folder int64 // 0 on a mount
}

// Parts are the parts that the account's cut uploads left in this tree, the latest first, at most limit (at most MaxParts). others is how many there are
// beside them, of the latest MaxParts in the tree and of those on each mount; more tells that there may be older ones. Those in folders that may not be listed,
// or where nothing may be uploaded, are left out, and the anonymous see none.
func (t *Tree) Parts(ctx context.Context, limit int) (parts []Part, others int, more bool, err error) {
	v, err := t.view(ctx)
	if err != nil || v.guest {
		return nil, 0, false, fail("parts", "/", err)
	}
	parts, more, err = t.partsInTree(ctx, &v)
	if err != nil {
		return nil, 0, false, fail("parts", "/", err)
	}
	onMounts, moreThere, err := t.partsOnMounts(ctx, &v)
	if err != nil {
		return nil, 0, false, fail("parts", "/", err)
	}
	if len(onMounts) > 0 {
		parts = append(parts, onMounts...)
		slices.SortStableFunc(parts, func(a, b Part) int { return b.Cut.Compare(a.Cut) })
	}
	if others = len(parts) - min(limit, MaxParts); others > 0 {
		parts = parts[:len(parts)-others]
	}
	for i, p := range parts {
		if p.folder == 0 {
			continue // on a mount
		}
		if _, err = t.store.Lookup(ctx, t.account, p.folder, path.Base(p.Path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, false, fail("parts", "/", err)
		}
		parts[i].Old = err == nil
	}
	return parts, max(others, 0), more || moreThere, nil
}

// partsInTree is Parts of what the store keeps, but for Old.
func (t *Tree) partsInTree(ctx context.Context, v *view) (parts []Part, more bool, err error) {
	rows, err := t.store.Partials(ctx, t.account, MaxParts+1)
	if err != nil {
		return nil, false, err
	}
	if more = len(rows) > MaxParts; more {
		rows = rows[:MaxParts]
	}
	known := folders{home: t.home, names: map[int64][]string{}}
	for _, r := range rows {
		names, err := known.path(ctx, t, r.Parent, storage.MaxDepth)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the folder was removed a moment ago
		}
		if err != nil {
			return nil, false, err
		}
		if v.showsPart(names, r.Name) {
			parts = append(parts, Part{Path: join(append(slices.Clip(names[len(v.root):]), r.Name)), Size: r.Size, Cut: r.Modified,
				Expires: r.Modified.Add(t.store.PartialAge()), folder: r.Parent})
		}
	}
	return parts, more, nil
}

// showsPart tells whether it may be said that there is a part of a name in a folder.
func (v *view) showsPart(folder []string, name string) bool {
	if !under(v.root, folder) {
		return false
	}
	names := append(slices.Clip(folder), name)
	return v.rights(folder)&storage.CanList != 0 && v.rights(names)&storage.CanUpload != 0 && v.sees(names)
}

// folders remembers the names that lead to folders.
type folders struct {
	home  int64
	names map[int64][]string
}

// path is the way from home to a folder, at most deep names long; fs.ErrNotExist when there is none.
func (f *folders) path(ctx context.Context, t *Tree, id int64, deep int) ([]string, error) {
	if id == f.home {
		return nil, nil
	}
	if names, ok := f.names[id]; ok {
		return names, nil
	}
	n, err := t.store.Node(ctx, t.account, id)
	if err != nil {
		return nil, err
	}
	if n.Parent == 0 || deep == 0 {
		return nil, fs.ErrNotExist
	}
	names, err := f.path(ctx, t, n.Parent, deep-1)
	if err != nil {
		return nil, err
	}
	names = append(slices.Clip(names), n.Name)
	f.names[id] = names
	return names, nil
}

// DropPart throws the part of path away; a file of that name stays. fs.ErrNotExist, fs.ErrPermission.
func (t *Tree) DropPart(ctx context.Context, path string) error {
	_, names, err := t.allowed(ctx, path, storage.CanDelete)
	if err == nil && (len(names) == 0 || inMail(names)) {
		err = fs.ErrNotExist
	}
	if err != nil {
		return fail("drop part", path, err)
	}
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return fail("drop part", path, change(h, err, (*hosted).dropPart))
	}
	into, err := t.parent(ctx, names)
	if err == nil {
		err = t.store.DropPartial(ctx, t.account, into.ID, names[len(names)-1])
	}
	return fail("drop part", path, err)
}
