package vfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/packetboat/packetboat/storage"
)

// What an account may do with its tree (storage.Access), looked at where a path enters the Tree: each public method begins with allowed, which makes names of
// the path, below the jail, and refuses what is forbidden before anything is looked up. So a refusal says the same whether there is something or not,
// and what is behind (nodes, mail, folders of the host) knows nothing of rights.
//
// Without CanList nothing is told but what the right itself tells: uploads are taken under new names, and downloads given. All other calls want a path
// that can be seen.

// Refusals of rights, by right.
var errRights = func() map[storage.PathRights]*refusal {
	all := make(map[storage.PathRights]*refusal)
	for r := storage.PathRights(1); r < storage.CanAll; r <<= 1 {
		all[r] = &refusal{fs.ErrPermission, "you have no right to " + r.Words()[0] + " here"}
	}
	return all
}()

var (
	errUnseen  = &refusal{fs.ErrPermission, "you have no right to see this"}
	errReplace = &refusal{fs.ErrPermission, "you have no right to overwrite here"}
	errRuled   = &refusal{fs.ErrPermission, "this folder, or one below it, has rights of its own and stays where it is"}
	errGains   = &refusal{fs.ErrPermission, "there you would have rights that you do not have here"}
	errGuest   = &refusal{fs.ErrPermission, "that is nothing for the anonymous"}
)

// kept are the rights that something must not gain by being moved.
const kept = storage.CanList | storage.CanDownload | storage.CanOverwrite | storage.CanDelete | storage.CanRename

// guestRights are what the anonymous can have at most.
const guestRights = storage.CanList | storage.CanDownload

// view is what an operation may see and do, at the moment when it began.
type view struct {
	access *storage.Access
	root   []string // names of the jail
	guest  bool
}

func (t *Tree) view(ctx context.Context) (v view, err error) {
	if t.whole {
		return view{access: &storage.Access{Jail: "/"}}, nil
	}
	v.guest = t.guest
	if v.access, err = t.store.Access(ctx, t.account); err != nil {
		return v, err
	}
	if v.access.Jail != "/" {
		v.root = strings.Split(v.access.Jail[1:], "/")
	}
	return v, nil
}

// free tells whether there is nothing that could be forbidden.
func (v *view) free() bool { return !v.guest && !v.access.Ruled() }

// rights on a path from home.
func (v *view) rights(names []string) storage.PathRights {
	if v.free() {
		return storage.CanAll
	}
	r := v.access.At(join(names))
	if v.guest {
		if r &= guestRights; inMail(names) {
			r = 0
		}
	}
	return r
}

// leads tells whether a path is one for which, or below which, some rule gives a right: whoever has the right must get there.
func (v *view) leads(names []string) bool {
	if v.guest && inMail(names) {
		return false
	}
	at := join(names)
	if v.access.Has(at) && v.rights(names) != 0 {
		return true
	}
	for _, r := range v.access.Below(at) {
		if r.Rights != 0 && (!v.guest || r.Rights&guestRights != 0 && !strings.HasPrefix(r.Path, "/"+mailFolder+"/")) {
			return true
		}
	}
	return false
}

// sees tells whether it may be said what is under a path.
func (v *view) sees(names []string) bool {
	if v.free() || len(names) <= len(v.root) {
		return true
	}
	r := v.rights(names)
	return r != 0 && (r&storage.CanDownload != 0 || v.rights(names[:len(names)-1])&storage.CanList != 0) || v.leads(names)
}

// check refuses what v has no right to; need is one right, or 0 for being told of what is there.
func (v *view) check(names []string, need storage.PathRights) error {
	if len(v.root) > 0 && len(names) == len(v.root) {
		switch need {
		case storage.CanUpload, storage.CanMkdir:
			return errFolderExists
		case storage.CanDelete, storage.CanRename, storage.CanOverwrite:
			return errFixed
		}
	}
	if v.free() {
		return nil
	}
	r := v.rights(names)
	switch {
	case need == storage.CanList && r&need == 0:
		if len(v.access.Below(join(names))) > 0 && v.leads(names) {
			return nil // shows the way, see filter
		}
		return errRights[need]
	case r&need != need:
		return errRights[need]
	case need&(storage.CanDownload|storage.CanUpload|storage.CanMkdir) == 0 && !v.sees(names):
		return errUnseen
	}
	return nil
}

// allowed makes names from home of a path, and refuses what the account has no right to, as check does.
func (t *Tree) allowed(ctx context.Context, path string, need storage.PathRights) (v view, names []string, err error) {
	if v, err = t.view(ctx); err != nil {
		return v, nil, err
	}
	if names, err = splitBelow(v.root, path); err != nil {
		return v, nil, err
	}
	return v, names, v.check(names, need)
}

// May tells whether the account has a right on a path, for those who ask before they do something: nil, or a *fs.PathError that is fs.ErrPermission. It does not tell whether
// there is something. need is one right, or 0 for being told of what is there.
func (t *Tree) May(ctx context.Context, path string, need storage.PathRights) error {
	_, _, err := t.allowed(ctx, path, need)
	return fail("access", path, err)
}

// unruled refuses to take away what has rights of its own, at or below names: they are the path's, and would be left behind.
func (v *view) unruled(names []string) error {
	if v.free() {
		return nil
	}
	if at := join(names); v.access.Has(at) || len(v.access.Below(at)) > 0 {
		return errRuled
	}
	return nil
}

// mayMove tells whether p, which may be renamed, may go to a path that can be seen, and whether it may replace a file there. Nothing gains rights on the way.
func (v *view) mayMove(p *place, to []string) (replace bool, err error) {
	need := storage.CanUpload
	if p.folder() {
		need = storage.CanMkdir
	}
	if err := v.check(to, need); err != nil {
		return false, err
	}
	if v.free() {
		return true, nil
	}
	if err := v.unruled(p.names); err != nil {
		return false, err
	}
	if p.folder() && len(v.access.Below(join(to))) > 0 {
		return false, errRuled
	}
	r := v.rights(to)
	if r&^v.rights(p.names)&kept != 0 {
		return false, errGains
	}
	return r&storage.CanOverwrite != 0, nil
}

// mayCreate is allowed for an upload, and says in o how it is to go: without CanOverwrite names must be new, and where names are not to be
// seen either, nothing tells whether one is.
func (t *Tree) mayCreate(ctx context.Context, path string, o CreateOptions) ([]string, CreateOptions, error) {
	v, names, err := t.allowed(ctx, path, storage.CanUpload)
	if err != nil || v.rights(names)&storage.CanOverwrite != 0 {
		return names, o, err
	}
	o.blind = !v.sees(names)
	o.Exclusive = true
	return names, o, nil
}

// stillAllowed looks once more, when the upload is to become visible.
func (w *Writer) stillAllowed(ctx context.Context) error {
	v, err := w.t.view(ctx)
	switch {
	case err != nil:
		return err
	case len(v.root) > 0 && !within(v.root, w.names):
		return errUnseen
	}
	if err := v.check(w.names, storage.CanUpload); err != nil {
		return err
	}
	if !w.o.Exclusive && v.rights(w.names)&storage.CanOverwrite == 0 {
		return errReplace
	}
	return w.stillMounted(ctx)
}

// stillMounted looks whether the path leads where it led when the upload began: what is put beside a mount that came, or went, is not seen there.
func (w *Writer) stillMounted(ctx context.Context) error {
	m, err := w.t.mountOf(ctx, w.names)
	if err != nil {
		return err
	}
	if w.host != nil && m != w.host.h.m || w.host == nil && m != nil {
		return errMoved
	}
	return nil
}

// ownPart makes a blind upload go on with a part that was kept, or else begin: never with what is in a file.
func (w *Writer) ownPart(ctx context.Context) error {
	if !w.o.blind || !w.o.Append && w.o.Offset == 0 {
		return nil
	}
	part, err := w.t.store.Partial(ctx, w.t.account, w.into.ID, w.names[len(w.names)-1])
	switch {
	case err != nil && (!w.o.Append || !errors.Is(err, fs.ErrNotExist)):
		return err
	case w.o.Append:
		w.o.Append, w.o.Offset = false, part.Size
	case w.o.Offset > part.Size:
		return ErrBeyond
	}
	return nil
}

// putAside puts a blind upload whose name is taken under one of its own. The client is told the name that it gave.
func (w *Writer) putAside(ctx context.Context) (storage.Node, error) {
	last := w.names[len(w.names)-1]
	n, err := w.t.store.PutNewFile(ctx, w.t.account, w.into.ID, aside(last), w.u, w.o.Modified)
	if err != nil {
		return n, err
	}
	n.Name = last
	if err := w.t.store.DropPartial(ctx, w.t.account, w.into.ID, last); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return n, nil // it is swept later
	}
	return n, nil
}

// aside is a name that nobody has: that of the file with eight random digits before its extension.
func aside(name string) string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	mark := "-" + hex.EncodeToString(b[:])
	ext := path.Ext(name)
	if ext == name || len(ext) > 16 {
		ext = ""
	}
	stem := strings.TrimSuffix(name, ext)
	if over := len(stem) + len(mark) + len(ext) - maxName; over > 0 {
		stem = strings.ToValidUTF8(stem[:len(stem)-over], "")
	}
	return stem + mark + ext
}

// shown is i, which is under names, with the permissions that are left.
func (v *view) shown(names []string, i Info) Info {
	if len(v.root) > 0 && len(names) == len(v.root) {
		i.name, i.perm = "/", strings.Map(func(r rune) rune {
			if r == 'd' || r == 'f' {
				return -1
			}
			return r
		}, i.perm)
	}
	if i.perm != "" && !v.free() {
		i.perm = v.perm(names, i.perm)
	}
	return i
}

// permRights are what the letters of RFC 3659 section 7.5.5 stand for. "e" (enter) needs nothing more than to be seen.
var permRights = map[rune]storage.PathRights{
	'a': storage.CanUpload | storage.CanOverwrite, 'c': storage.CanUpload, 'd': storage.CanDelete, 'f': storage.CanRename, 'l': storage.CanList,
	'm': storage.CanMkdir, 'p': storage.CanDelete, 'r': storage.CanDownload, 'w': storage.CanUpload | storage.CanOverwrite,
}

func (v *view) perm(names []string, perm string) string {
	r, fixed := v.rights(names), v.unruled(names) != nil
	return strings.Map(func(c rune) rune {
		switch {
		case fixed && (c == 'd' || c == 'f'):
			return -1
		case c == 'l' && v.check(names, storage.CanList) == nil:
			return c
		case r&permRights[c] != permRights[c]:
			return -1
		}
		return c
	}, perm)
}

// filter passes on what of a folder may be seen. Where the folder itself may not be listed, that is the way to what has rights of its own.
func (v view) filter(folder []string, yield func(Info) bool) func(Info) bool {
	if v.free() {
		return yield
	}
	special := v.special(folder)
	listed := v.rights(folder)&storage.CanList != 0
	// Most entries have the folder's rights, and few kinds of permissions.
	var from, to string
	names := append(folder[:len(folder):len(folder)], "")
	return func(i Info) bool {
		names[len(folder)] = i.name
		switch {
		case special[i.name]:
			if !v.sees(names) {
				return true
			}
			i.perm = v.perm(names, i.perm)
		case !listed:
			return true
		default:
			if i.perm != from {
				from, to = i.perm, v.perm(names, i.perm)
			}
			i.perm = to
		}
		return yield(i)
	}
}

// special are the names in a folder that have rights of their own, or something below them has.
func (v *view) special(folder []string) map[string]bool {
	at := join(folder)
	if at != "/" {
		at += "/"
	}
	special := make(map[string]bool)
	for _, r := range v.access.Below(join(folder)) {
		name, _, _ := strings.Cut(r.Path[len(at):], "/")
		special[name] = true
	}
	if v.guest && len(folder) == 0 {
		special[mailFolder] = true
	}
	return special
}

// Arrive makes the folder of the jail when it is missing: at the beginning of a session.
func (t *Tree) Arrive(ctx context.Context) error {
	v, err := t.view(ctx)
	if err == nil && !v.guest {
		err = t.makeAll(ctx, v.root)
	}
	return fail("mkdir", "/", err)
}

// makeAll makes the folders of a path that are missing.
func (t *Tree) makeAll(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	folder, err := t.isFolder(ctx, names)
	switch {
	case err == nil && folder:
		return nil
	case err == nil:
		return errNotFolder
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := t.makeAll(ctx, names[:len(names)-1]); err != nil {
		return err
	}
	if err := t.mkdir(ctx, names); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// MkdirAll makes a folder with those above it that are missing.
func (t *Tree) MkdirAll(ctx context.Context, path string) error {
	_, names, err := t.allowed(ctx, path, storage.CanMkdir)
	if err == nil {
		err = t.makeAll(ctx, names)
	}
	return fail("mkdir", path, err)
}
