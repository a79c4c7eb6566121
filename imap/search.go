package imap

import (
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// result is what SEARCH or SORT found in a mailbox.
type result struct {
	p      *storage.Snapshot
	found  []int // indexes in p: ascending, or in the order that SORT gave them
	modSeq bool  // MODSEQ was among the keys: the highest mod-sequence is told (RFC 7162 section 3.1.5)

	key      *wire.Key            // what was searched for
	criteria []wire.SortCriterion // of SORT
	saved    []uidRange           // what "$" stood for
}

// search is SEARCH and UID SEARCH (RFC 9051 section 6.4.4, RFC 5182).
func (c *client) search(t *task) error {
	c.d.SP()
	o := c.d.Search()
	if !c.d.EOL() {
		return nil
	}
	r, err := c.find(t, o, limitOf(&o.Return))
	if err != nil {
		return err
	}
	if !o.Return.Given && c.rev2 {
		o.Return = wire.ReturnOptions{Given: true, All: true} // RFC 9051 section 6.4.4: always ESEARCH
	}
	return c.tellFound(t, "SEARCH", &o.Return, r)
}

// find runs the search of SEARCH, SORT or THREAD on the selected mailbox. The command was wholly read. It
// keeps the rules that the three share: of charsets, of what "$" stands for, of what is told before. l is limit{} when all that match must be known,
// as for an order other than the mailbox's.
func (c *client) find(t *task, o *wire.SearchOptions, l limit) (*result, error) {
	if err := c.allowed(t, o); err != nil {
		return nil, err
	}
	v := c.view
	before := v.saved // what "$" among the keys stands for, also when the search saves anew
	if o.Return.Save {
		v.saved = nil // RFC 9051 section 6.4.4.1: a NO leaves it empty
	}
	if err := knownCharset(o.Charset); err != nil {
		return nil, err
	}
	if t.uid() {
		// New messages, but no expunges yet: the keys may hold sequence numbers (RFC 9051 section 7.5.1).
		if err := c.sync(false, true); err != nil {
			return nil, err
		}
	}
	w := c.searching(t)
	w.goal = uint64(v.snap.Len())
	s, err := w.compile(v, &o.Key, before)
	if err != nil {
		return nil, err
	}
	if s.modSeq {
		l = limit{}
	}
	t.numbers = w.numbers
	s.bound(t)
	found, err := s.run(l)
	if err != nil {
		return nil, err
	}
	return &result{p: v.snap, found: found, modSeq: s.modSeq, key: &o.Key, saved: before}, nil
}

// allowed looks for what makes the arguments bad ones.
func (c *client) allowed(t *task, o *wire.SearchOptions) error {
	if o.Charset != "" && c.accept && !c.rev2 {
		return &wire.Error{Text: "CHARSET may not be given once UTF8=ACCEPT is enabled"} // RFC 6855 section 3
	}
	if o.Return.Update && c.view != nil && c.view.contexts.find(t.tag) >= 0 {
		return &wire.Error{Text: "Tag is in use by another UPDATE"} // RFC 5267 section 4.3
	}
	return nil
}

func knownCharset(name string) error {
	switch name {
	case "", "UTF-8", "US-ASCII":
		return nil
	}
	return &wire.Error{No: true, Code: "BADCHARSET (US-ASCII UTF-8)", Text: "Unknown charset"}
}
