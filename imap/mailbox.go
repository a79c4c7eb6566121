package imap

import (
	"errors"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

var errNoSelect = &wire.Error{No: true, Code: "NONEXISTENT", Text: "Mailbox cannot be selected"}

// roles are the special uses that a mailbox can have (RFC 6154 section 2); All and Flagged would be views over others.
var roles = map[string]string{
	`\archive`: "Archive", `\drafts`: "Drafts", `\junk`: "Junk", `\sent`: "Sent", `\trash`: "Trash",
}

// create is CREATE (RFC 9051 section 6.3.4, RFC 6154 section 3).
func (c *client) create(t *task) error {
	c.d.SP()
	name := c.d.Mailbox()
	role := ""
	if !c.d.AtEnd() {
		c.d.SP()
		for _, a := range c.d.CreateUse() {
			r, ok := roles[strings.ToLower(string(a))]
			if c.d.Err() == nil && (!ok || role != "") {
				return &wire.Error{No: true, Code: "USEATTR", Text: "No such special use"}
			}
			role = r
		}
	}
	if !c.d.EOL() {
		return nil
	}
	// RFC 9051 section 6.3.4: a trailing delimiter tells that names below it will follow
	name = strings.TrimSuffix(name, "/")
	owner, path, err := c.place(name)
	if err != nil {
		return err
	}
	if role != "" && owner != c.account.ID {
		return &wire.Error{No: true, Code: "USEATTR", Text: "A mailbox of somebody else has no special use"}
	}
	box, err := c.srv.store.CreateMailbox(c.ctx(), owner, path, role)
	if role != "" && errors.Is(err, storage.ErrConflict) {
		return &wire.Error{No: true, Code: "USEATTR", Text: "Another mailbox has that special use"}
	}
	if err != nil {
		return err
	}
	t.code = "MAILBOXID " + mailboxObjectID(box.ID) // RFC 8474 section 4.1
	if owner != c.account.ID {
		box, err = c.mailbox(name, 0) // with the name and rights that the account sees
		if err != nil {
			return nil // somebody took them away meanwhile
		}
	}
	c.tellSpelling(name, listed{Mailbox: box})
	return nil
}

// deleteCommand is DELETE (RFC 9051 section 6.3.5).
func (c *client) deleteCommand(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(name, storage.MayDelete)
	if err != nil {
		return err
	}
	if box.NoSelect && box.Children {
		return &wire.Error{No: true, Code: "HASCHILDREN", Text: "Mailbox has names below it"}
	}
	if err := c.srv.store.DeleteMailboxIf(c.ctx(), box.Account, box.ID, box.Path()); err != nil {
		return err
	}
	if c.view != nil && c.view.id == box.ID {
		c.unselect()
	}
	c.tellSpelling(name, listed{Mailbox: storage.Mailbox{Name: box.Name}, missing: true})
	return nil
}

// rename is RENAME (RFC 9051 section 6.3.6).
func (c *client) rename(*task) error {
	c.d.SP()
	from := c.d.Mailbox()
	c.d.SP()
	to := c.d.Mailbox()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(from, storage.MayDelete)
	if err != nil {
		return err
	}
	to = strings.TrimSuffix(to, "/")
	owner, path, err := c.place(to)
	if err != nil {
		return err
	}
	if owner != box.Account {
		return &wire.Error{No: true, Code: "CANNOT", Text: "A mailbox stays with its owner"}
	}
	if err := c.srv.store.RenameMailboxIf(c.ctx(), owner, box.ID, box.Path(), path); err != nil {
		return err
	}
	// RFC 9051 section 6.3.6: when one of the names is spelled otherwise, the old one as it was written
	if now, err := c.mailbox(to, 0); err == nil && c.rev2 && (from != box.Name || to != now.Name) {
		c.tellListed("LIST", listed{Mailbox: now, old: from}, &wire.ListOptions{})
	}
	c.renamed()
	return nil
}

// renamed looks whether the mailbox that is open has another name by now.
func (c *client) renamed() {
	v := c.view
	if v == nil {
		return
	}
	now, err := c.srv.store.MailboxByID(c.ctx(), v.account, v.id)
	if err != nil {
		return // its end is told when it is looked at
	}
	if v.guest != nil {
		now.Name = storage.SharedName(v.guest.owner, now.Name)
	}
	v.name = now.Name
	c.ses.Open(now.Name)
}

func (c *client) subscribe(*task) error   { return c.subscription(true) }
func (c *client) unsubscribe(*task) error { return c.subscription(false) }

// subscription is SUBSCRIBE and UNSUBSCRIBE (RFC 9051 sections 6.3.7 and 6.3.8).
func (c *client) subscription(on bool) error {
	c.d.SP()
	name := strings.TrimSuffix(c.d.Mailbox(), "/")
	if !c.d.EOL() {
		return nil
	}
	if on {
		if _, err := c.mailbox(name, storage.MayLookup); err != nil {
			return err
		}
	}
	return c.srv.store.Subscribe(c.ctx(), c.account.ID, name, on)
}
