package imap

import (
	"slices"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// maxSources is how many mailboxes one ESEARCH may search.
const maxSources = 10000

// source is a mailbox that ESEARCH searches.
type source struct {
	storage.Mailbox
	selected bool // it is the one that is open: what the client was told of it is searched
}

// multiSearch is ESEARCH (RFC 7377): a search of several mailboxes, selected or not.
func (c *client) multiSearch(t *task) error {
	c.d.SP()
	o := c.d.MultiSearch()
	if !c.d.EOL() {
		return nil
	}
	if err := c.sane(o); err != nil {
		return err
	}
	if err := c.allowed(t, &o.SearchOptions); err != nil {
		return err
	}
	if err := knownCharset(o.Charset); err != nil {
		return err
	}
	if !o.Return.Given {
		o.Return = wire.ReturnOptions{Given: true, All: true} // RFC 7377 section 2.1
	}
	if c.view != nil {
		if err := c.sync(false, true); err != nil {
			return err
		}
	}
	boxes, err := c.sources(o.Sources)
	if err != nil {
		return err
	}
	return c.searchAll(t, &o.SearchOptions, boxes)
}

// sane sets the default and refuses what the state and the options forbid (RFC 7377 section 2.2).
func (c *client) sane(o *wire.MultiSearchOptions) error {
	if len(o.Sources) == 0 {
		o.Sources = []wire.MailboxFilter{{Kind: "SELECTED"}}
	}
	sole := true
	for _, f := range o.Sources {
		if f.Kind != "SELECTED" {
			sole = false
		} else if c.view == nil {
			return &wire.Error{Text: "No mailbox is selected"}
		}
	}
	switch {
	case o.Return.Save && !sole:
		return &wire.Error{Text: "SAVE is for the selected mailbox alone"}
	case o.Return.Update && c.view == nil:
		return &wire.Error{Text: "UPDATE needs a selected mailbox"}
	}
	return nil
}

// sources are the mailboxes that the specifiers name, each once.
//
// RFC 7377 section 2.2: those that are not there, or may not be read, are passed over; what is not named itself must be visible too.
func (c *client) sources(filters []wire.MailboxFilter) ([]source, error) {
	var out []source
	have := map[int64]bool{}
	var visible []storage.Mailbox
	add := func(b storage.Mailbox) {
		if !b.NoSelect && !have[b.ID] {
			have[b.ID] = true
			out = append(out, source{b, c.view != nil && b.ID == c.view.id})
		}
	}
	for _, f := range filters {
		switch f.Kind {
		case "SELECTED":
			b := c.view.snap.Mailbox()
			b.Name = c.view.name
			add(b)
			continue
		case "MAILBOXES":
			for _, name := range f.Names {
				if b, err := c.mailbox(name, storage.MayRead); err == nil {
					add(b)
				}
			}
			continue
		}
		if visible == nil {
			var err error
			if visible, err = c.visible(); err != nil {
				return nil, err
			}
		}
		within := scopeOf(f)
		for i := range visible {
			if within.has(&visible[i]) {
				add(visible[i])
			}
		}
	}
	if len(out) > maxSources {
		return nil, &wire.Error{No: true, Code: "LIMIT", Text: "Too many mailboxes"} // RFC 7377 section 2.4
	}
	return out, nil
}

// visible are the mailboxes that the account can look up and read, its own first.
func (c *client) visible() ([]storage.Mailbox, error) {
	own, err := c.srv.store.Mailboxes(c.ctx(), c.account.ID)
	if err != nil {
		return nil, err
	}
	others, err := c.srv.store.Shared(c.ctx(), c.account.ID)
	if err != nil {
		return nil, err
	}
	return append(own, slices.DeleteFunc(others, func(b storage.Mailbox) bool {
		return !b.Rights.Has(storage.MayLookup | storage.MayRead)
	})...), nil
}

// searchAll searches one mailbox after the other and tells each result at once.
func (c *client) searchAll(t *task, o *wire.SearchOptions, boxes []source) error {
	w := c.searching(t)
	for _, b := range boxes {
		w.goal += uint64(b.Messages)
	}
	l := limitOf(&o.Return)
	var before []uidRange
	if c.view != nil {
		before = c.view.saved
	}
	if o.Return.Save {
		c.view.saved = nil
	}
	for n, b := range boxes {
		r, err := w.searchOne(o, b, l, before)
		t.numbers = w.numbers
		switch {
		case err == errTooLong && n > 0:
			t.code, t.text = "LIMIT", "Search took too long, not all mailboxes were searched" // RFC 7377 section 2.4
			return nil
		case missing(err) && !b.selected:
			continue // it went away meanwhile
		case err != nil:
			return err
		}
		if err := c.tellSource(t, &o.Return, b, r); err != nil {
			return err
		}
		if o.Return.Update && b.selected {
			c.keep(t, &o.Return, r, &storage.Mailbox{Name: b.Name, UIDValidity: b.UIDValidity})
		}
	}
	if o.Return.Update && !slices.ContainsFunc(boxes, func(b source) bool { return b.selected }) {
		c.noUpdate(t.tag, "The selected mailbox was not searched") // RFC 7377 section 2.2: UPDATE is for that one
	}
	return nil
}

// searchOne searches one of the mailboxes.
func (w *work) searchOne(o *wire.SearchOptions, b source, l limit, before []uidRange) (*result, error) {
	v := w.view
	if !b.selected {
		p, err := w.srv.store.Snapshot(w.ctx(), b.ID)
		if err != nil {
			return nil, err
		}
		v = &view{id: b.ID, snap: p, readOnly: true}
		if !w.rev2 {
			v.meet(w.srv.o.Recents, p)
		}
		before = nil // "$" names messages of the selected mailbox
	}
	s, err := w.compile(v, &o.Key, before)
	if err != nil {
		return nil, err
	}
	if s.modSeq {
		l = limit{}
	}
	found, err := s.run(l)
	return &result{p: v.snap, found: found, modSeq: s.modSeq, key: &o.Key, saved: before}, err
}

// tellSource gives what was found in one of the mailboxes; nothing when nothing was (RFC 7377 section 2.1).
func (c *client) tellSource(t *task, o *wire.ReturnOptions, b source, r *result) error {
	if o.Save {
		c.view.saved = r.save(o)
	}
	if len(r.found) == 0 || o.Save && !o.Data() && !o.Update && !o.Context {
		return c.e.Err()
	}
	c.correlate(t.tag, &b.Mailbox)
	c.e.Raw(" UID")
	c.tellData(o, r, true)
	c.e.CRLF()
	return c.e.Err()
}

// correlate begins an ESEARCH response. The tag is quoted always: some clients cannot read an atom here. box is told for ESEARCH alone.
func (c *client) correlate(tag string, box *storage.Mailbox) {
	c.e.Raw(`* ESEARCH (TAG "`, tag, `"`)
	if box != nil {
		c.e.Raw(" MAILBOX ").Mailbox(box.Name).Raw(" UIDVALIDITY ").Num(uint64(box.UIDValidity))
	}
	c.e.Raw(")")
}
