package imap

import (
	"math/bits"
	"strings"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// maxKeywords is how many keywords a mailbox can have: the bits of storage.Entry's.
const maxKeywords = 64

func trailing(k uint64) int { return bits.TrailingZeros64(k) }

func (c *client) selectCommand(t *task) error { return c.open(t, false) }

func (c *client) examine(t *task) error { return c.open(t, true) }

// open is SELECT and EXAMINE (RFC 9051 section 6.3.2, RFC 7162 sections 3.1.8 and 3.2.5).
func (c *client) open(t *task, readOnly bool) error {
	c.d.SP()
	name := c.d.Mailbox()
	o := c.d.SelectParams()
	if !c.d.EOL() {
		return nil
	}
	if err := c.mayResync(o.QResync); err != nil {
		return err
	}
	// The old mailbox is closed whether the new one opens or not, and that is told whatever the client has enabled (RFC 7162 section 3.2.11).
	if c.view != nil {
		c.unselect()
		c.e.Raw("* OK [CLOSED] Previous mailbox closed").CRLF()
	}
	epoch := c.srv.store.ACLEpoch()
	box, err := c.mailbox(name, storage.MayRead)
	if err != nil {
		return err
	}
	if box.NoSelect {
		return errNoSelect
	}
	p, err := c.srv.store.Snapshot(c.ctx(), box.ID)
	if err != nil {
		return err
	}
	c.view = &view{id: box.ID, name: box.Name, readOnly: readOnly, snap: p}
	c.visit(c.view, box, epoch)
	c.state = selected
	c.condstore = c.condstore || o.CondStore
	c.ses.Open(box.Name)
	c.ses.SetActivity(t.name + " " + box.Name)
	c.tellMailbox(p, readOnly)
	c.tellSelected(name, box)
	if o.QResync != nil {
		if err := c.resync(o.QResync); err != nil {
			c.unselect()
			return err
		}
	}
	t.code = "READ-WRITE"
	// RFC 4314 section 5.2
	if readOnly || !box.Rights.Any(changeRights) {
		t.code = "READ-ONLY"
	}
	return nil
}

// mayResync checks the QRESYNC parameter, nil when there is none.
func (c *client) mayResync(q *wire.QResync) error {
	switch {
	case q == nil:
		return nil
	case !c.qresync:
		return &wire.Error{Text: "ENABLE QRESYNC must come first"} // RFC 7162 section 3.2.5
	case c.uidOnly && q.Match:
		return errUIDRequired // RFC 9586 section 3.7
	}
	return nil
}

// tellMailbox gives the untagged responses of SELECT.
func (c *client) tellMailbox(p *storage.Snapshot, readOnly bool) {
	box := p.Mailbox()
	c.tellFlags(p)
	c.tellPermanent(p, c.view)
	c.e.Raw("* ").Num(uint64(p.Len())).Raw(" EXISTS").CRLF()
	c.tellRecent(true)
	if !c.rev2 && !c.uidOnly { // RFC 9586 section 3: no numbers are told
		if i := p.FirstUnseen(); i >= 0 {
			c.e.Raw("* OK [UNSEEN ").Num(uint64(i + 1)).Raw("] First unseen").CRLF()
		}
	}
	c.e.Raw("* OK [UIDVALIDITY ").Num(uint64(box.UIDValidity)).Raw("] UIDs valid").CRLF()
	c.e.Raw("* OK [UIDNEXT ").Num(uint64(box.UIDNext)).Raw("] Predicted next UID").CRLF()
	c.tellHighest()
	c.e.Raw("* OK [MAILBOXID ", mailboxObjectID(box.ID), "] Object identifier").CRLF() // RFC 8474 section 4.2
}

// tellPermanent tells which flags can be changed (RFC 9051 section 7.1, RFC 4314 section 5.1.1).
func (c *client) tellPermanent(p *storage.Snapshot, v *view) {
	r := v.rights()
	if v.readOnly || !r.Any(storage.FlagRights) {
		c.e.Raw("* OK [PERMANENTFLAGS ()] Nothing can be changed").CRLF()
		return
	}
	var names []string
	for bit, name := range flagNames {
		if r.Flags(1<<bit) != 0 {
			names = append(names, name)
		}
	}
	if r.Has(storage.MayWrite) {
		names = append(names, p.Keywords()...)
		if len(p.Keywords()) < maxKeywords {
			names = append(names, `\*`) // not there when no further keyword can be made
		}
	}
	c.e.Raw("* OK [PERMANENTFLAGS (", strings.Join(names, " "), ")] Limited").CRLF()
}

// tellSelected tells a client of rev2 the mailbox's name and attributes, and how it wrote the name if otherwise (RFC 9051 section 6.3.2).
func (c *client) tellSelected(written string, box storage.Mailbox) {
	if !c.rev2 {
		return
	}
	b := listed{Mailbox: box}
	if written != box.Name {
		b.old = written
	}
	c.tellListed("LIST", b, &wire.ListOptions{ListOptions: imap.ListOptions{ReturnSubscribed: true}})
}

// tellFlags tells the flags that there are in the mailbox (RFC 9051 section 7.3.5).
func (c *client) tellFlags(p *storage.Snapshot) {
	c.e.Raw("* FLAGS (", flagList(p), ")").CRLF()
}

func flagList(p *storage.Snapshot) string {
	l := strings.Join(flagNames[:], " ")
	if k := p.Keywords(); len(k) > 0 {
		l += " " + strings.Join(k, " ")
	}
	return l
}

// unselect leaves the selected state, if it is in it.
func (c *client) unselect() {
	if c.view == nil {
		return
	}
	c.view = nil
	c.state = authenticated
	c.ses.Open("")
}

// closeCommand is CLOSE (RFC 9051 section 6.4.1): a silent expunge, unless read-only.
func (c *client) closeCommand(*task) error {
	if !c.d.EOL() {
		return nil
	}
	if err := c.recheck(); err != nil {
		return err
	}
	v := c.view
	c.unselect()
	// RFC 4314 section 4: who may not expunge closes all the same
	if v.readOnly || !v.rights().Has(storage.MayExpunge) {
		return nil
	}
	_, err := c.srv.store.Expunge(c.ctx(), v.account, v.id, nil, false)
	return err
}

// unselectCommand is UNSELECT (RFC 3691).
func (c *client) unselectCommand(*task) error {
	if c.d.EOL() {
		c.unselect()
	}
	return nil
}
