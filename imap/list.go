package imap

import (
	"fmt"
	"strings"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// list is LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154).
func (c *client) list(*task) error {
	c.d.SP()
	o := c.d.ListCommand()
	if !c.d.EOL() {
		return nil
	}
	if !o.Extended && o.Patterns[0] == "" {
		// RFC 9051 section 6.3.9: an empty pattern asks for the delimiter
		c.e.Raw(`* LIST (\Noselect) "/" ""`).CRLF()
		return nil
	}
	rows, err := c.listedBy(o)
	if err != nil {
		return err
	}
	for _, b := range rows {
		c.tellListed("LIST", b, o)
		if err := c.tellMore(b, o); err != nil {
			return err
		}
	}
	return nil
}

// listedBy are the names that LIST with these options returns.
func (c *client) listedBy(o *wire.ListOptions) ([]listed, error) {
	m := wire.NewMatcher(o.Reference, o.Patterns)
	rows, err := c.names(o, m)
	if err != nil {
		return nil, err
	}
	rows = choose(rows, o, m)
	if o.Status != nil {
		err = c.countOwn(rows)
	}
	if err == nil && len(o.Metadata) > 0 {
		err = c.markBare(rows)
	}
	return rows, err
}

// tellMore gives what RETURN asks for of a name beside the LIST response, which comes before it.
func (c *client) tellMore(b listed, o *wire.ListOptions) error {
	if !b.meets(o) {
		return nil // RFC 8440 section 4: it is there for names below it alone
	}
	if o.MyRights && !b.missing && b.Rights.Any(storage.AnyRight) {
		c.tellRights(b.Mailbox)
	}
	if len(o.Metadata) > 0 && !b.missing && b.Rights.Has(storage.MayLookup) && b.Rights.Any(storage.AnnotationRights) {
		if err := c.tellEntries(b.Mailbox, o.Metadata, b.bare); err != nil {
			return err
		}
	}
	if o.Status != nil && b.readable() {
		return c.tellStatus(b.Mailbox, o.Status)
	}
	return nil
}

// lsub is LSUB (RFC 3501 section 6.3.9).
func (c *client) lsub(*task) error {
	c.d.SP()
	o := &wire.ListOptions{Reference: c.d.Mailbox()}
	o.SelectSubscribed, o.SelectRecursiveMatch = true, true
	c.d.SP()
	o.Patterns = []string{c.d.ListMailbox()}
	if !c.d.EOL() {
		return nil
	}
	if o.Patterns[0] == "" {
		c.e.Raw(`* LSUB (\Noselect) "/" ""`).CRLF()
		return nil
	}
	rows, err := c.listedBy(o)
	if err != nil {
		return err
	}
	for _, b := range rows {
		attrs := ""
		if b.NoSelect || b.missing || b.inner && !b.Subscribed {
			attrs = `\Noselect`
		}
		c.e.Raw("* LSUB (", attrs, `) "/" `).Mailbox(b.Name).CRLF()
	}
	return nil
}

// tellListed gives one LIST response.
func (c *client) tellListed(word string, b listed, o *wire.ListOptions) {
	var attrs []string
	add := func(when bool, a string) {
		if when {
			attrs = append(attrs, a)
		}
	}
	add(b.missing, `\NonExistent`)
	add(b.noAccess, `\NoAccess`)
	// RFC 5819 section 2: so is what may be looked up, but not read. Older clients know nothing of \NonExistent, which implies it.
	add(!b.readable() && (!b.missing || b.Children), `\Noselect`)
	add(b.Children, `\HasChildren`)
	add(!b.Children && !b.missing, `\HasNoChildren`)
	add(o.ReturnSubscribed && b.Subscribed, `\Subscribed`)
	add(b.Role != "", `\`+b.Role)
	c.e.Raw("* ", word, " (", strings.Join(attrs, " "), `) "/" `).Mailbox(b.Name)
	if b.inner {
		c.e.Raw(` ("CHILDINFO" ("SUBSCRIBED"))`)
	}
	if b.old != "" {
		c.e.Raw(` ("OLDNAME" (`).Mailbox(b.old).Raw("))") // RFC 9051 section 6.3.9.7
	}
	c.e.CRLF()
}

// tellSpelling tells a client of rev2 of a mailbox that is called otherwise than the client wrote it: names are kept in NFC.
func (c *client) tellSpelling(written string, b listed) {
	if c.rev2 && written != b.Name && !strings.EqualFold(written, b.Name) {
		b.old = written
		c.tellListed("LIST", b, &wire.ListOptions{})
	}
}

// status is STATUS (RFC 9051 section 6.3.11).
func (c *client) status(*task) error {
	c.d.SP()
	name := c.d.Mailbox()
	c.d.SP()
	o := c.d.StatusItems()
	if !c.d.EOL() {
		return nil
	}
	box, err := c.mailbox(name, storage.MayRead)
	if err != nil {
		return err
	}
	if box.NoSelect {
		return errNoSelect
	}
	return c.tellStatus(box, o)
}

// tellStatus gives the STATUS response: counters that are kept, so it costs nothing.
func (c *client) tellStatus(b storage.Mailbox, o *wire.StatusOptions) error {
	var deleted, recent uint64
	if o.HighestModSeq {
		c.modSeqAware() // RFC 7162 section 3.1
	}
	if o.NumRecent && c.srv.o.Recents.any(b) {
		p, err := c.srv.store.Snapshot(c.ctx(), b.ID)
		if err != nil {
			return fmt.Errorf("status of %d: %w", b.ID, err)
		}
		v := view{snap: p, readOnly: true}
		v.meet(c.srv.o.Recents, p)
		recent = uint64(count(v.recentSpans()))
	}
	if o.DeletedStorage && b.Deleted > 0 {
		p, err := c.srv.store.Snapshot(c.ctx(), b.ID)
		if err != nil {
			return fmt.Errorf("status of %d: %w", b.ID, err)
		}
		for i := range p.Len() {
			if m := p.At(i); m.Flags&storage.Deleted != 0 {
				deleted += uint64(m.Size)
			}
		}
	}
	c.writeStatus(&b, o, recent, deleted)
	return nil
}

// writeStatus writes a STATUS response. recent and deleted (RFC 9208 section 4.1.4: octets of messages with \Deleted) are not among the counters.
func (c *client) writeStatus(b *storage.Mailbox, o *wire.StatusOptions, recent, deleted uint64) {
	sep := ""
	item := func(when bool, name string, n uint64) {
		if when {
			c.e.Raw(sep, name, " ").Num(n)
			sep = " "
		}
	}
	c.e.Raw("* STATUS ").Mailbox(b.Name).Raw(" (")
	item(o.NumMessages, "MESSAGES", uint64(b.Messages))
	item(o.NumRecent, "RECENT", recent)
	item(o.UIDNext, "UIDNEXT", uint64(b.UIDNext))
	item(o.UIDValidity, "UIDVALIDITY", uint64(b.UIDValidity))
	item(o.NumUnseen, "UNSEEN", uint64(b.Unseen))
	item(o.NumDeleted, "DELETED", uint64(b.Deleted))
	item(o.Size, "SIZE", uint64(b.Size))
	item(o.AppendLimit, "APPENDLIMIT", uint64(c.srv.o.MaxAppend))
	item(o.DeletedStorage, "DELETED-STORAGE", deleted)
	item(o.HighestModSeq, "HIGHESTMODSEQ", b.HighestModSeq)
	if o.MailboxID {
		c.e.Raw(sep, "MAILBOXID ", mailboxObjectID(b.ID))
	}
	c.e.Raw(")").CRLF()
}
