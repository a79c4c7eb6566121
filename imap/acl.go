package imap

import (
	"errors"
	"io/fs"
	"strings"

	"github.com/xdg-go/stringprep"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// identifier reads an identifier of an ACL command: prepared, and as the client wrote it.
//
// RFC 4314 section 3: what SASLprep refuses, or makes empty, is a BAD.
func (c *client) identifier() (prepared, written string) {
	c.d.SP()
	written = c.d.AString()
	if c.d.Err() != nil {
		return "", written
	}
	prepared, err := stringprep.SASLprep.Prepare(written)
	if err != nil || strings.TrimPrefix(prepared, "-") == "" {
		c.d.Fail("Invalid identifier")
	}
	return prepared, written
}

// grantee finds whom an identifier names.
func (c *client) grantee(identifier string) (storage.Grant, error) {
	g, err := c.srv.store.Identifier(c.ctx(), identifier)
	if errors.Is(err, fs.ErrNotExist) {
		return g, &wire.Error{No: true, Code: "CANNOT", Text: "No such identifier"}
	}
	return g, err
}

// setACL is SETACL (RFC 4314 section 3.1).
func (c *client) setACL(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	identifier, _ := c.identifier()
	c.d.SP()
	change := c.modRights()
	if !c.d.EOL() {
		return nil
	}
	return c.changeACL(name, identifier, change)
}

// modRights reads mod-rights: +rights to add, -rights to remove, rights to replace.
func (c *client) modRights() (change storage.ACLChange) {
	letters := c.d.AString()
	switch {
	case strings.HasPrefix(letters, "+"):
		change.Op, letters = storage.RightsAdd, letters[1:]
	case strings.HasPrefix(letters, "-"):
		change.Op, letters = storage.RightsRemove, letters[1:]
	}
	if c.d.Err() != nil {
		return change
	}
	var err error
	if change.Rights, err = storage.ParseRights(letters); err != nil {
		c.d.Fail("Unknown right") // RFC 4314 section 3.1: never passed over in silence
	}
	return change
}

// deleteACL is DELETEACL (RFC 4314 section 3.2).
func (c *client) deleteACL(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	identifier, _ := c.identifier()
	if !c.d.EOL() {
		return nil
	}
	return c.changeACL(name, identifier, storage.ACLChange{Delete: true})
}

func (c *client) changeACL(name, identifier string, change storage.ACLChange) error {
	box, err := c.mailbox(name, storage.MayAdminister)
	if err != nil {
		return err
	}
	g, err := c.grantee(identifier)
	if err != nil {
		return err
	}
	g.Rights, change.By = change.Rights, c.account.ID
	change.Grant = g
	err = c.srv.store.SetACL(c.ctx(), box.Account, box.ID, change)
	if errors.Is(err, fs.ErrPermission) {
		return &wire.Error{No: true, Code: "CANNOT", Text: "The owner has all rights always"}
	}
	return err
}

// getACL is GETACL (RFC 4314 section 3.3).
func (c *client) getACL(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(name, storage.MayAdminister)
	if err != nil {
		return err
	}
	all, err := c.srv.store.ACL(c.ctx(), box.Account, box.ID)
	if err != nil {
		return err
	}
	c.e.Raw("* ACL ").Mailbox(box.Name)
	for _, g := range all {
		c.e.Raw(" ").String(g.Identifier()).Raw(" ", g.Rights.String())
	}
	c.e.CRLF()
	return nil
}

// listRights is LISTRIGHTS (RFC 4314 section 3.4). No rights are tied together; the owner always has all.
func (c *client) listRights(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	identifier, written := c.identifier()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(name, storage.MayAdminister)
	if err != nil {
		return err
	}
	g, err := c.grantee(identifier)
	if err != nil {
		return err
	}
	always, rest := "", storage.AllRights.String()
	if g.Account == box.Account {
		always, rest = rest, ""
		if g.Negative {
			always = "" // nothing can be taken away from the owner
		}
	}
	c.e.Raw("* LISTRIGHTS ").Mailbox(box.Name).Raw(" ").String(written).Raw(" ").String(always)
	for _, r := range rest {
		c.e.Raw(" ", string(r))
	}
	c.e.CRLF()
	return nil
}

// myRights is MYRIGHTS (RFC 4314 section 3.5).
func (c *client) myRights(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(name, 0)
	if err != nil {
		return err
	}
	c.tellRights(box)
	return nil
}

// tellRights gives the MYRIGHTS response.
func (c *client) tellRights(box storage.Mailbox) {
	c.e.Raw("* MYRIGHTS ").Mailbox(box.Name).Raw(" ", box.Rights.String()).CRLF()
}
