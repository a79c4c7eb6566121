package imap

import (
	"errors"
	"io/fs"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// errNoPerm: the mailbox is known to the account, but it may not do that with it (RFC 5530 section 3).
var errNoPerm = &wire.Error{No: true, Code: "NOPERM", Text: "You have no right to do that with the mailbox"}

// changeRights: with one of them a selected mailbox is open READ-WRITE (RFC 4314 section 5.2).
const changeRights = storage.MayInsert | storage.MayExpunge | storage.FlagRights

// mailbox finds the mailbox that a name stands for, an own one or Shared/OWNER/NAME, on which the account has all rights of need (0: any of
// those that let MYRIGHTS through). Each command that is given a name begins here: the Account of what it gets is the owner's, for the
// calls of storage, the Name is the one to tell, and the Rights are there for what depends on more of them.
//
// RFC 4314 section 6: a mailbox that the account cannot look up answers as one that is not there, unless it has the rights.
func (c *client) mailbox(name string, need storage.Rights) (storage.Mailbox, error) {
	box, err := c.srv.store.Find(c.ctx(), c.account.ID, name)
	if err != nil {
		return storage.Mailbox{}, err
	}
	if err := permit(box.Rights, need); err != nil {
		return storage.Mailbox{}, err
	}
	return box, nil
}

// permit tells whether rights are enough: nil, errNoPerm, or fs.ErrNotExist to one who must not know that there is something.
func permit(have, need storage.Rights) error {
	switch {
	case need == 0 && have.Any(storage.AnyRight), need != 0 && have.Has(need):
		return nil
	case have.Has(storage.MayLookup):
		return errNoPerm
	}
	return fs.ErrNotExist
}

// target is mailbox for the commands that put messages into it.
func (c *client) target(name string) (storage.Mailbox, error) {
	box, err := c.mailbox(name, storage.MayInsert)
	if !errors.Is(err, fs.ErrNotExist) && (err != nil || !box.NoSelect) {
		return box, err
	}
	// RFC 9051 section 6.3.12: TRYCREATE, unless it is certain that it cannot be created
	if _, _, err := c.place(name); err != nil {
		return storage.Mailbox{}, fs.ErrNotExist
	}
	return storage.Mailbox{}, errTryCreate
}

// place tells where a new mailbox of a name would be: whose, and its path there.
//
// RFC 4314 section 4: below a mailbox of somebody else the right k is needed on the nearest name above it that exists. Without it the answer is the same
// whether there is something or not.
func (c *client) place(name string) (owner int64, path string, err error) {
	if !storage.IsShared(name) || name == storage.SharedRoot {
		return c.account.ID, name, nil // storage refuses Shared
	}
	for up := range above(name) {
		box, err := c.srv.store.Find(c.ctx(), c.account.ID, up)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return 0, "", err
		case box.Owner == "":
			return c.account.ID, name, nil // an own one that was called Shared before there was an ACL; storage refuses
		case !box.Rights.Has(storage.MayCreate):
			return 0, "", errNoPerm
		}
		_, path, _ = storage.SplitShared(name) // not by the lengths of box.Name, which may be spelled otherwise
		return box.Account, path, nil
	}
	if box, err := c.srv.store.Find(c.ctx(), c.account.ID, name); err == nil && box.Owner == "" {
		return c.account.ID, name, nil
	}
	return 0, "", errNoPerm
}

// settable are the flags and keywords that rights allow to set; the others are passed over by APPEND and COPY (RFC 4314 section 4).
func settable(r storage.Rights, flags storage.Flags, keywords []string) (storage.Flags, []string) {
	if !r.Has(storage.MayWrite) {
		keywords = nil
	}
	return r.Flags(flags), keywords
}

// guest is what a view keeps of a mailbox that is another account's.
type guest struct {
	owner  string // the name of its account
	rights storage.Rights
	epoch  uint64 // Store.ACLEpoch when rights were read
}

// rights are those of the account on the mailbox that the view is of.
func (v *view) rights() storage.Rights {
	if v.guest == nil {
		return storage.AllRights
	}
	return v.guest.rights
}

// visit notes whose mailbox is opened.
func (c *client) visit(v *view, box storage.Mailbox, epoch uint64) {
	v.account = box.Account
	if box.Owner != "" {
		v.guest = &guest{owner: box.Owner, rights: box.Rights, epoch: epoch}
	}
}

// recheck looks whether the rights on the mailbox that is open are others by now. It is asked before each command and before
// anything new is told, so that a change of rights holds at once.
//
// RFC 4314 section 5.1.1: the flags that can be changed are told anew; who may no longer read is sent away.
func (c *client) recheck() error {
	v := c.view
	if v == nil || v.guest == nil {
		return nil
	}
	g, epoch := v.guest, c.srv.store.ACLEpoch()
	if g.epoch == epoch {
		return nil
	}
	now, err := c.srv.store.Rights(c.ctx(), c.account.ID, v.id)
	if err != nil {
		return err
	}
	if !now.Has(storage.MayRead) {
		return &errBye{text: "Selected mailbox can no longer be read"}
	}
	was := g.rights
	g.rights, g.epoch = now, epoch
	if !v.readOnly && was&storage.FlagRights != now&storage.FlagRights {
		c.tellFlags(v.snap)
		c.tellPermanent(v.snap, v)
	}
	return nil
}

// limit takes from a STORE what the rights do not allow.
//
// RFC 4314 section 4: it is refused only when none of the flags that it names may be changed. One that sets all flags leaves those as they are that may not.
func (o *change) limit(r storage.Rights) error {
	named := o.flags != 0 || len(o.keywords) > 0
	flags, keywords := settable(r, o.flags, o.keywords)
	if named && flags == 0 && len(keywords) == 0 || !r.Any(storage.FlagRights) {
		return errNoPerm
	}
	o.flags, o.keywords = flags, keywords
	o.keep, o.keepKeys = ^r.Flags(^storage.Flags(0)), !r.Has(storage.MayWrite)
	return nil
}
