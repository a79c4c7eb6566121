package vfs

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Mkdir makes a folder, or below /Mail a mailbox. The folder above must exist; fs.ErrExist.
func (t *Tree) Mkdir(ctx context.Context, path string) error {
	_, names, err := t.allowed(ctx, path, storage.CanMkdir)
	if err == nil {
		err = t.mkdir(ctx, names)
	}
	return fail("mkdir", path, err)
}

func (t *Tree) mkdir(ctx context.Context, names []string) error {
	if len(names) == 0 || isMailRoot(names) {
		return errFolderExists
	}
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, (*hosted).mkdir)
	}
	into, err := t.parent(ctx, names)
	if err != nil {
		return err
	}
	if !inMail(names) {
		_, err = t.store.MakeFolder(ctx, t.account, into.ID, names[len(names)-1])
		return err
	}
	if err := t.newMailbox(ctx, names); err != nil {
		return err
	}
	_, err = t.store.CreateMailbox(ctx, t.account, mailbox(names), "")
	return err
}

// newMailbox tells whether a mailbox may get the names.
func (t *Tree) newMailbox(ctx context.Context, names []string) error {
	if _, ok := messageUID(names[len(names)-1]); ok {
		return errMessageForm
	}
	p, err := t.find(ctx, names)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && p.alias: // an alias gives way
		return nil
	case err == nil:
		return fs.ErrExist
	}
	return err
}

// RemoveFile removes a file and what was kept of a cut upload of that name, moves a message to Trash or, when it is there or below it, expunges it. A folder: fs.ErrInvalid.
func (t *Tree) RemoveFile(ctx context.Context, path string) error {
	_, names, err := t.allowed(ctx, path, storage.CanDelete)
	if err == nil {
		err = t.removeFile(ctx, names)
	}
	return fail("remove", path, err)
}

func (t *Tree) removeFile(ctx context.Context, names []string) error {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, (*hosted).removeFile)
	}
	p, err := t.find(ctx, names)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return t.dropPartial(ctx, names)
	case err != nil:
		return err
	case p.message:
		return t.removeMessage(ctx, p)
	case p.folder():
		return errIsFolder
	}
	if err := t.store.Remove(ctx, t.account, p.node.ID); err != nil {
		return err
	}
	if err := t.dropPartial(ctx, names); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// dropPartial throws away what came of an upload that was cut: it counts in the quota, and only its name tells where it is.
func (t *Tree) dropPartial(ctx context.Context, names []string) error {
	if len(names) == 0 || inMail(names) {
		return fs.ErrNotExist
	}
	into, err := t.parent(ctx, names)
	if err != nil {
		return err
	}
	last := names[len(names)-1]
	if _, err := t.store.Partial(ctx, t.account, into.ID, last); err != nil { // mostly there is none: no transaction for it
		return err
	}
	return t.store.DropPartial(ctx, t.account, into.ID, last)
}

func (t *Tree) removeMessage(ctx context.Context, p *place) error {
	trash, err := t.trash(ctx)
	if err != nil {
		return err
	}
	from, uids := mailbox(p.names[:len(p.names)-1]), []uint32{p.entry.UID}
	if from != trash.Name && !strings.HasPrefix(from, trash.Name+"/") {
		_, err := t.move(ctx, p, trash.ID)
		return err
	}
	gone, err := t.store.Expunge(ctx, t.account, p.node.ID, uids, true)
	if err == nil && len(gone) == 0 {
		err = fs.ErrNotExist // somebody else was faster
	}
	return err
}

// move moves a message and returns its new UID.
func (t *Tree) move(ctx context.Context, p *place, to int64) (uint32, error) {
	moved, err := t.store.Move(ctx, t.account, p.node.ID, []uint32{p.entry.UID}, storage.Destination{Account: t.account, Mailbox: to, Rights: storage.AllRights})
	if err != nil {
		return 0, err
	}
	if len(moved.To) == 0 {
		return 0, fs.ErrNotExist // somebody else was faster
	}
	return moved.To[0], nil
}

// trash is the mailbox with the special use Trash (RFC 6154), whatever it is called, else one that is called so; made when there is neither.
func (t *Tree) trash(ctx context.Context) (storage.Mailbox, error) {
	named, err := t.store.Mailbox(ctx, t.account, "Trash")
	if err != nil && !errors.Is(err, fs.ErrNotExist) || err == nil && named.Role == "Trash" {
		return named, err
	}
	boxes, err2 := t.store.Mailboxes(ctx, t.account)
	if err2 != nil {
		return storage.Mailbox{}, err2
	}
	if i := slices.IndexFunc(boxes, func(m storage.Mailbox) bool { return m.Role == "Trash" && !m.NoSelect }); i >= 0 {
		return boxes[i], nil
	}
	if err == nil && !named.NoSelect {
		return named, nil
	}
	made, err := t.store.CreateMailbox(ctx, t.account, "Trash", "Trash")
	if errors.Is(err, fs.ErrExist) {
		return t.store.Mailbox(ctx, t.account, "Trash") // another session made it
	}
	return made, err
}

// RemoveDir removes a folder or mailbox that is empty, else fs.ErrPermission. INBOX and special-use mailboxes stay.
func (t *Tree) RemoveDir(ctx context.Context, path string) error {
	v, names, err := t.allowed(ctx, path, storage.CanDelete)
	if err == nil {
		err = v.unruled(names)
	}
	if err == nil {
		err = t.removeDir(ctx, names)
	}
	return fail("rmdir", path, err)
}

func (t *Tree) removeDir(ctx context.Context, names []string) error {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, (*hosted).removeDir)
	}
	p, err := t.find(ctx, names)
	switch {
	case err != nil:
		return err
	case !p.folder():
		return errNotFolder
	case p.fixed():
		return errFixed
	case !inMail(names):
		return t.store.Remove(ctx, t.account, p.node.ID)
	case isInbox(names):
		return errInbox
	}
	i, err := t.info(ctx, p)
	if err != nil {
		return err
	}
	if i.perm == permSpecial {
		return errSpecial
	}
	return t.store.DeleteMailbox(ctx, t.account, mailbox(names), true)
}

func isInbox(names []string) bool { return len(names) == 2 && inMail(names) && names[1] == "INBOX" }

// Rename moves and renames; what can go where is in the package's text. A file replaces a file; everything else that exists: fs.ErrExist.
func (t *Tree) Rename(ctx context.Context, from, to string) error {
	v, a, err := t.allowed(ctx, from, storage.CanRename)
	if err != nil {
		return fail("rename", from, err)
	}
	_, b, err := t.allowed(ctx, to, 0)
	if err != nil {
		return fail("rename", to, err)
	}
	if done, err := t.renameHosted(ctx, &v, a, b); done || err != nil {
		return fail("rename", from, err)
	}
	p, err := t.find(ctx, a)
	if err != nil {
		return fail("rename", from, err)
	}
	replace, err := v.mayMove(p, b)
	switch {
	case err != nil:
	case p.message:
		err = t.renameMessage(ctx, p, b)
	case p.fixed():
		err = errFixed
	case len(b) == 0 || isMailRoot(b):
		err = errFolderExists
	case slices.Equal(a, b):
	case inMail(a):
		err = t.renameMailbox(ctx, a, b)
	case inMail(b) && p.node.Kind == storage.KindFile:
		err = t.fileToMailbox(ctx, p, b)
	case inMail(b):
		err = errFolderIn
	default:
		err = t.renameNode(ctx, p, b, replace)
	}
	return fail("rename", from, err)
}

func (t *Tree) renameNode(ctx context.Context, p *place, to []string, replace bool) error {
	into, err := t.parent(ctx, to)
	if err != nil {
		return err
	}
	if p.folder() && within(p.names, to) {
		return errBelowItself
	}
	_, err = t.store.Rename(ctx, t.account, p.node.ID, into.ID, to[len(to)-1], replace && p.node.Kind == storage.KindFile)
	return err
}

func within(folder, names []string) bool {
	return len(names) > len(folder) && under(folder, names)
}

// under tells whether names lead to a folder or below it.
func under(folder, names []string) bool {
	return len(names) >= len(folder) && slices.Equal(names[:len(folder)], folder)
}

func (t *Tree) renameMailbox(ctx context.Context, from, to []string) error {
	switch {
	case isInbox(from):
		return errInbox
	case !inMail(to):
		return errMailboxOut
	case within(from, to):
		return errBelowItself
	}
	if _, err := t.parent(ctx, to); err != nil {
		return err
	}
	if err := t.newMailbox(ctx, to); err != nil {
		return err
	}
	return t.store.RenameMailbox(ctx, t.account, mailbox(from), mailbox(to))
}

func (t *Tree) renameMessage(ctx context.Context, p *place, to []string) error {
	if !inMail(to) {
		return errMoveOut
	}
	if len(to) < 3 {
		return errMailRoot
	}
	into, err := t.parent(ctx, to)
	if err != nil {
		return err
	}
	if into.Kind != storage.KindMailbox {
		return errNoSelect
	}
	last := to[len(to)-1]
	// A folder of that name: the client means a message in it, which is not what it would get.
	if n, err := t.store.Lookup(ctx, t.account, into.ID, last); err == nil {
		return existing(n)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if into.ID != p.node.ID {
		uid, err := t.move(ctx, p, into.ID)
		if err == nil {
			t.remember(join(to), into.ID, uid)
		}
		return err
	}
	switch {
	case last == p.name:
	case p.alias: // x.eml.part becomes x.eml
		t.forget(p.path())
		t.remember(join(to), into.ID, p.entry.UID)
	default:
		return errOwnName
	}
	return nil
}

func existing(n storage.Node) error {
	if n.Kind == storage.KindFile {
		return fs.ErrExist
	}
	return errFolderExists
}

// fileToMailbox appends a file as a message, then removes the file. A crash or an error between the two leaves both, and
// doing it again appends nothing as long as the session lasts. A file that was changed meanwhile stays.
func (t *Tree) fileToMailbox(ctx context.Context, p *place, to []string) error {
	w, err := t.create(ctx, to, CreateOptions{Expect: p.node.Size})
	if err != nil {
		return err
	}
	defer w.Abort(ctx, false)
	if err := t.pour(ctx, w.mail, p.node.Blob); err != nil {
		return err
	}
	if _, err := w.commit(ctx); err != nil {
		return err
	}
	err = t.store.RemoveIf(ctx, t.account, p.node.ID, p.node.ModSeq)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, storage.ErrConflict) {
		return nil // removed, replaced or moved meanwhile: what is there now is not the file that was moved
	}
	return err
}

func (t *Tree) pour(ctx context.Context, w io.Writer, blob int64) error {
	body, err := t.store.OpenBlob(ctx, blob)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = body.WriteTo(w)
	return err
}

// SetModified sets the time of a file or folder. Of mail it cannot be set: a message that has the time already, and one named by an alias (clients
// send MFMT after each upload), are silently left as they are; else fs.ErrPermission.
func (t *Tree) SetModified(ctx context.Context, path string, mt time.Time) error {
	_, names, err := t.allowed(ctx, path, storage.CanOverwrite)
	if err == nil {
		err = t.setModified(ctx, names, mt)
	}
	return fail("chtimes", path, err)
}

func (t *Tree) setModified(ctx context.Context, names []string, mt time.Time) error {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, func(h *hosted) error { return h.setModified(mt) })
	}
	p, err := t.changeable(ctx, names, func(p *place) bool { return p.entry.InternalDate == mt.Unix() })
	if err != nil || p == nil {
		return err
	}
	return t.store.SetModified(ctx, t.account, p.node.ID, mt)
}

// SetMode sets the permission bits of a file or folder, which are shown and not enforced (on a mount they are the host's). Mail as with SetModified.
func (t *Tree) SetMode(ctx context.Context, path string, m fs.FileMode) error {
	_, names, err := t.allowed(ctx, path, storage.CanOverwrite)
	if err == nil {
		err = t.setMode(ctx, names, m)
	}
	return fail("chmod", path, err)
}

func (t *Tree) setMode(ctx context.Context, names []string, m fs.FileMode) error {
	if h, err := t.hosted(ctx, names); h != nil || err != nil {
		return change(h, err, func(h *hosted) error { return h.setMode(m) })
	}
	p, err := t.changeable(ctx, names, func(*place) bool { return m.Perm() == messageMode })
	if err != nil || p == nil {
		return err
	}
	return t.store.SetMode(ctx, t.account, p.node.ID, m.Perm())
}

// changeable finds what may be changed; nil when it is a message of which nothing needs to be changed.
func (t *Tree) changeable(ctx context.Context, names []string, equal func(*place) bool) (*place, error) {
	p, err := t.find(ctx, names)
	switch {
	case err != nil:
		return nil, err
	case p.message && (p.alias || equal(p)):
		return nil, nil
	case inMail(names):
		return nil, errMailTimes
	case p.fixed():
		return nil, errFixed
	}
	return p, nil
}
