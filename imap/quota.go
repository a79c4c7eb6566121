package imap

import (
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// quotaRoot is the one root of an account that has a limit; it holds mail and files together.
const quotaRoot = "account"

// getQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.2.2).
func (c *client) getQuotaRoot(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	if !c.d.EOL() {
		return nil
	}
	if storage.IsShared(name) {
		// RFC 9208 section 6: the right r is needed, because of what it tells
		box, err := c.mailbox(name, storage.MayRead)
		if err != nil {
			return err
		}
		return c.tellRoots(box.Name, rootOf(box), box.Account)
	}
	// RFC 9208 section 4.2.2: the mailbox need not exist
	name, err := storage.CleanMailbox(strings.TrimSuffix(name, "/"))
	if err != nil {
		return err
	}
	return c.tellRoots(name, quotaRoot, c.account.ID)
}

// rootOf is the name of the root that a mailbox is in.
func rootOf(box storage.Mailbox) string {
	if box.Owner == "" {
		return quotaRoot
	}
	return storage.SharedName(box.Owner, quotaRoot)
}

// root writes the name of a root.
func (c *client) root(name string) *wire.Encoder {
	if name == quotaRoot {
		return c.e.Raw(name)
	}
	return c.e.String(name)
}

// tellRoots gives the QUOTAROOT response of a mailbox, and QUOTA if there is a limit.
func (c *client) tellRoots(name, root string, account int64) error {
	limit, err := c.quota(account)
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTAROOT ").Mailbox(name)
	if limit == 0 {
		c.e.CRLF()
		return nil
	}
	c.e.Raw(" ")
	c.root(root).CRLF()
	return c.tellQuota(root, account, limit)
}

// getQuota is GETQUOTA (RFC 9208 section 4.2.1).
func (c *client) getQuota(*task) error {
	c.d.SP()
	root := c.d.AString()
	if !c.d.EOL() {
		return nil
	}
	account, err := c.rootAccount(root)
	if err != nil {
		return err
	}
	limit, err := c.quota(account)
	if err != nil {
		return err
	}
	if limit == 0 {
		return errNoRoot
	}
	return c.tellQuota(root, account, limit)
}

var errNoRoot = &wire.Error{No: true, Code: "NONEXISTENT", Text: "No such quota root"}

// rootAccount is whose a quota root is: of somebody else's the account hears if it may read one of the mailboxes in it.
func (c *client) rootAccount(root string) (int64, error) {
	if root == quotaRoot {
		return c.account.ID, nil
	}
	if !storage.IsShared(root) {
		return 0, errNoRoot
	}
	shared, err := c.srv.store.Shared(c.ctx(), c.account.ID)
	for _, box := range shared {
		if box.Rights.Has(storage.MayRead) && rootOf(box) == root {
			return box.Account, nil
		}
	}
	if err == nil {
		err = errNoRoot
	}
	return 0, err
}

// quota is an account's limit as it is now; 0 means none.
func (c *client) quota(account int64) (int64, error) {
	a, err := c.srv.store.Account(c.ctx(), account)
	if err != nil {
		return 0, err
	}
	return a.Quota, nil
}

// tellQuota gives the QUOTA response; STORAGE counts units of 1,024 octets (RFC 9208 section 5.1).
func (c *client) tellQuota(root string, account, limit int64) error {
	u, err := c.srv.store.Usage(c.ctx(), account)
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTA ")
	c.root(root).Raw(" (STORAGE ")
	c.e.Num(uint64((u.Bytes + 1023) / 1024)).Raw(" ").Num(uint64(limit / 1024)).Raw(")").CRLF()
	return nil
}
