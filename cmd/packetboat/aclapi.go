package main

import (
	"fmt"
	"net/http"

	"github.com/packetboat/packetboat/storage"
)

// aclJSON is the access control list of a mailbox; aclChangeJSON changes one of its entries.
type (
	aclJSON struct {
		Account string      `json:"account"`
		Mailbox string      `json:"mailbox"`
		Shared  string      `json:"shared"` // the mailbox's name for those it is shared with
		Entries []grantJSON `json:"entries"`
	}
	grantJSON struct {
		Identifier string `json:"identifier"`
		Rights     string `json:"rights"`
	}
	aclChangeJSON struct {
		Mailbox    string `json:"mailbox"`
		Identifier string `json:"identifier"`
		Rights     string `json:"rights"` // "" takes the entry away
	}
)

// acls are the lists of an account's mailboxes: of the one that is named, or of all that somebody but the owner has rights on.
func (c *control) acls(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	if name := r.URL.Query().Get("mailbox"); name != "" {
		box, err := c.mailbox(r, a, name)
		if err != nil {
			return nil, err
		}
		j, err := c.showACL(r, a, box.ID, box.Name)
		return []aclJSON{j}, err
	}
	names, err := c.store.Names(r.Context(), a.ID)
	if err != nil {
		return nil, err
	}
	list := []aclJSON{}
	for _, n := range names {
		j, err := c.showACL(r, a, n.ID, n.Name)
		if err != nil {
			return nil, err
		}
		if len(j.Entries) > 1 {
			list = append(list, j)
		}
	}
	return list, nil
}

func (c *control) showACL(r *http.Request, a *storage.Account, mailbox int64, name string) (aclJSON, error) {
	j := aclJSON{Account: a.Name, Mailbox: name, Shared: storage.SharedName(a.Name, name), Entries: []grantJSON{}}
	all, err := c.store.ACL(r.Context(), a.ID, mailbox)
	for _, g := range all {
		j.Entries = append(j.Entries, grantJSON{g.Identifier(), g.Rights.String()})
	}
	return j, err
}

func (c *control) changeACL(r *http.Request) (any, error) {
	a, err := c.find(r)
	if err != nil {
		return nil, err
	}
	change, err := body[aclChangeJSON](r)
	if err != nil {
		return nil, err
	}
	box, err := c.mailbox(r, a, change.Mailbox)
	if err != nil {
		return nil, err
	}
	g, err := c.store.Identifier(r.Context(), change.Identifier)
	if err != nil {
		return nil, fmt.Errorf("account %q: %w", change.Identifier, err)
	}
	if g.Rights, err = storage.ParseRights(change.Rights); err != nil {
		return nil, fmt.Errorf("%w: rights are letters of lrswipkxtea, not %q", errRequest, change.Rights)
	}
	if err := c.store.SetACL(r.Context(), a.ID, box.ID, storage.ACLChange{Grant: g, Delete: change.Rights == ""}); err != nil {
		return nil, err
	}
	return c.showACL(r, a, box.ID, box.Name)
}
