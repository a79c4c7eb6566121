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
	// RFC 9208 section 4.2.2: the mailbox need not exist
	name, err := storage.CleanMailbox(strings.TrimSuffix(name, "/"))
	if err != nil {
		return err
	}
	limit, err := c.quota()
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTAROOT ").Mailbox(name)
	if limit == 0 {
		c.e.CRLF()
		return nil
	}
	c.e.Raw(" ", quotaRoot).CRLF()
	return c.tellQuota(limit)
}

// getQuota is GETQUOTA (RFC 9208 section 4.2.1).
func (c *client) getQuota(*task) error {
	c.d.SP()
	root := c.d.AString()
	if !c.d.EOL() {
		return nil
	}
	limit, err := c.quota()
	if err != nil {
		return err
	}
	if root != quotaRoot || limit == 0 {
		return &wire.Error{No: true, Code: "NONEXISTENT", Text: "No such quota root"}
	}
	return c.tellQuota(limit)
}

// quota is the account's limit as it is now; 0 means none.
func (c *client) quota() (int64, error) {
	a, err := c.srv.store.Account(c.ctx(), c.account.ID)
	if err != nil {
		return 0, err
	}
	return a.Quota, nil
}

// tellQuota gives the QUOTA response; STORAGE counts units of 1,024 octets (RFC 9208 section 5.1).
func (c *client) tellQuota(limit int64) error {
	u, err := c.srv.store.Usage(c.ctx(), c.account.ID)
	if err != nil {
		return err
	}
	c.e.Raw("* QUOTA ", quotaRoot, " (STORAGE ")
	c.e.Num(uint64((u.Bytes + 1023) / 1024)).Raw(" ").Num(uint64(limit / 1024)).Raw(")").CRLF()
	return nil
}
