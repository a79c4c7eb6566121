package imap

import (
	"errors"
	"io/fs"
	"math"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// quotaRoot is the one root of an account, for mail and files together. Another's is Shared/NAME/account.
const quotaRoot = "account"

// getQuotaRoot is GETQUOTAROOT (RFC 9208 section 4.1.2).
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
	// RFC 9208 section 4.1.2: the mailbox need not exist
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
	a, err := c.srv.store.Account(c.ctx(), account)
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTAROOT ").Mailbox(name)
	if a.Quota == 0 && a.MessageQuota == 0 {
		c.e.CRLF()
		return nil
	}
	c.e.Raw(" ")
	c.root(root).CRLF()
	return c.tellQuota(root, a)
}

// getQuota is GETQUOTA (RFC 9208 section 4.1.1).
func (c *client) getQuota(*task) error {
	c.d.SP()
	root := c.d.AString()
	if !c.d.EOL() {
		return nil
	}
	id, err := c.rootAccount(root)
	if err != nil {
		return err
	}
	a, err := c.srv.store.Account(c.ctx(), id)
	if err != nil {
		return err
	}
	return c.tellQuota(root, a)
}

// setQuota is SETQUOTA (RFC 9208 section 4.1.3), for administrators. A limit that is not given is none.
func (c *client) setQuota(*task) error {
	c.d.SP()
	root := c.d.AString()
	c.d.SP()
	limits := c.d.SetQuota()
	if !c.d.EOL() {
		return nil
	}
	if err := c.mustAdmin(errNoSetQuota); err != nil {
		return err
	}
	id, err := c.rootAccount(root)
	if err != nil {
		return err
	}
	var bytes, messages int64
	for _, l := range limits {
		switch {
		case l.Name == "STORAGE" && l.Max <= math.MaxInt64/1024:
			bytes = max(l.Max*1024, 1) // of 1 byte clients are told as 0, which nothing fits into
		case l.Name == "MESSAGE" && l.Max > 0:
			messages = l.Max
		case l.Name == "MESSAGE":
			messages = -1
		default:
			return &wire.Error{No: true, Code: "CANNOT", Text: "That resource cannot be limited so"}
		}
	}
	a, err := c.srv.store.UpdateAccount(c.ctx(), id, storage.AccountChange{Quota: &bytes, MessageQuota: &messages})
	if err != nil {
		return err
	}
	c.srv.o.Logger.Info("quota set by imap", "session", c.ses.ID(), "by", c.account.Name, "account", a.Name, "bytes", bytes, "messages", messages)
	return c.tellQuota(root, a)
}

var (
	errNoRoot     = &wire.Error{No: true, Code: "NONEXISTENT", Text: "No such quota root"}
	errNoSetQuota = &wire.Error{No: true, Code: "NOPERM", Text: "Only administrators set quotas"}
)

// rootAccount is whose a quota root is: of somebody else's the account hears if it may read one of the mailboxes in it, or is an administrator's.
func (c *client) rootAccount(root string) (int64, error) {
	if root == quotaRoot {
		return c.account.ID, nil
	}
	if !storage.IsShared(root) {
		return 0, errNoRoot
	}
	shared, err := c.srv.store.Shared(c.ctx(), c.account.ID)
	if err != nil {
		return 0, err
	}
	for _, box := range shared {
		if box.Rights.Has(storage.MayRead) && rootOf(box) == root {
			return box.Account, nil
		}
	}
	if err := c.mustAdmin(errNoRoot); err != nil {
		return 0, err
	}
	name := strings.TrimSuffix(strings.TrimPrefix(root, storage.SharedRoot+"/"), "/"+quotaRoot)
	a, err := c.srv.store.AccountByLogin(c.ctx(), name)
	if errors.Is(err, fs.ErrNotExist) || err == nil && storage.SharedName(a.Name, quotaRoot) != root {
		return 0, errNoRoot
	}
	if err != nil {
		return 0, err
	}
	return a.ID, nil
}

// tellQuota gives the QUOTA response. STORAGE counts units of 1,024 octets (RFC 9208 section 5.1), MESSAGE messages (section 5.2).
func (c *client) tellQuota(root string, a *storage.Account) error {
	u, err := c.srv.store.Usage(c.ctx(), a.ID)
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTA ")
	c.root(root).Raw(" (")
	if a.Quota > 0 {
		c.e.Raw("STORAGE ").Num(uint64((u.Bytes + 1023) / 1024)).Raw(" ").Num(uint64(a.Quota / 1024))
	}
	if a.MessageQuota != 0 {
		if a.Quota > 0 {
			c.e.Raw(" ")
		}
		c.e.Raw("MESSAGE ").Num(uint64(u.Messages)).Raw(" ").Num(uint64(max(a.MessageQuota, 0)))
	}
	c.e.Raw(")").CRLF()
	return nil
}
