package vfs

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// Visit is where a client was when its last session ended.
type Visit struct {
	Address string    // of the client, without its port
	Name    string    // what the client called itself
	Folder  string    // a clean path; nobody says that it is still there
	Type    string    // as NoteVisit was told
	At      time.Time // set by NoteVisit
}

// NoteVisit remembers v for the client's next session with the credentials of this one: see storage.Store.NoteVisit. Of the anonymous nothing is remembered, as
// nobody knows whether the next is the same.
func (t *Tree) NoteVisit(v Visit) {
	if t.guest {
		return
	}
	t.store.NoteVisit(storage.Visit{Account: t.account, Epoch: t.epoch, Address: v.Address, Name: v.Name, Folder: v.Folder, Type: v.Type})
}

// LastVisit is what is remembered of a client: under its name, or else the latest of the same program, whose version is in the name. Of a client that has told
// no name it is the latest at its address, since many tell it only after the login. ok is false when there is nothing. What was remembered is taken like something that a client sent: Folder
// went through Clean, and is to be looked up before it is used.
func (t *Tree) LastVisit(ctx context.Context, address, name string) (v Visit, ok bool, err error) {
	if t.guest {
		return Visit{}, false, nil
	}
	all, err := t.store.Visits(ctx, t.account, t.epoch, address)
	if err != nil {
		return Visit{}, false, fail("visits", "/", err)
	}
	all = slices.DeleteFunc(all, func(r storage.Visit) bool {
		folder, err := Clean("/", r.Folder)
		return err != nil || folder != r.Folder || name != "" && program(r.Name) != program(name)
	})
	if len(all) == 0 {
		return Visit{}, false, nil
	}
	r := all[max(0, slices.IndexFunc(all, func(r storage.Visit) bool { return r.Name == name }))]
	return Visit{Address: r.Address, Name: r.Name, Folder: r.Folder, Type: r.Type, At: r.At}, true, nil
}

// program is what stays of a client's name when it is updated: "FileZilla 3.66.5", "lftp/4.9.2".
func program(name string) string {
	if i := strings.IndexAny(name, " /"); i > 0 {
		name = name[:i]
	}
	return strings.ToLower(name)
}

// ForgetVisits removes what is remembered of the clients at an address.
func (t *Tree) ForgetVisits(ctx context.Context, address string) error {
	if t.guest {
		return fail("forget", "/", errGuest)
	}
	return fail("forget", "/", t.store.ForgetVisits(ctx, t.account, address))
}
