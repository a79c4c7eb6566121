package imap

import (
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// search is SEARCH and UID SEARCH (RFC 9051 section 6.4.4, RFC 5182).
func (c *client) search(t *task) error {
	c.d.SP()
	o := c.d.Search()
	if !c.d.EOL() {
		return nil
	}
	if o.Charset != "" && c.accept && !c.rev2 {
		return &wire.Error{Text: "CHARSET may not be given once UTF8=ACCEPT is enabled"} // RFC 6855 section 3
	}
	v := c.view
	before := v.saved // what "$" among the keys stands for, also when the search saves anew
	if o.ReturnSave {
		v.saved = nil // RFC 9051 section 6.4.4.1: a NO leaves it empty
	}
	switch o.Charset {
	case "", "UTF-8", "US-ASCII":
	default:
		return &wire.Error{No: true, Code: "BADCHARSET (US-ASCII UTF-8)", Text: "Unknown charset"}
	}
	if t.uid() {
		// New messages, but no expunges yet: the keys may hold sequence numbers (RFC 9051 section 7.5.1).
		if err := c.sync(false, true); err != nil {
			return err
		}
	}
	s, err := c.compile(&o.Key, before)
	if err != nil {
		return err
	}
	found, err := s.run()
	if err != nil {
		return err
	}
	if o.ReturnSave {
		v.saved = saved(v.snap, found, o)
	}
	c.tellFound(t, found, o)
	return nil
}

// saved is what "$" stands for after a search (RFC 9051 section 6.4.4.1, table 4).
func saved(p *storage.Snapshot, found []int, o *wire.SearchOptions) []uint32 {
	if n := len(found); n > 0 && (o.ReturnMin || o.ReturnMax) && !o.ReturnAll && !o.ReturnCount {
		var ends []int
		if o.ReturnMin {
			ends = append(ends, found[0])
		}
		if o.ReturnMax && (n > 1 || !o.ReturnMin) {
			ends = append(ends, found[n-1])
		}
		found = ends
	}
	uids := make([]uint32, len(found))
	for i, at := range found {
		uids[i] = p.UID(at)
	}
	return uids
}

// tellFound gives SEARCH or ESEARCH (RFC 9051 section 7.3.4, RFC 4731).
func (c *client) tellFound(t *task, found []int, o *wire.SearchOptions) {
	nums := make([]uint32, len(found))
	for i, at := range found {
		nums[i] = uint32(at + 1)
		if t.uid() {
			nums[i] = c.view.snap.UID(at)
		}
	}
	if !o.Return && !c.rev2 {
		c.e.Raw("* SEARCH")
		for _, n := range nums {
			c.e.Raw(" ").Num(uint64(n))
		}
		c.e.CRLF()
		return
	}
	if o.ReturnSave && !o.ReturnMin && !o.ReturnMax && !o.ReturnAll && !o.ReturnCount {
		return // SAVE alone says nothing
	}
	// the tag is quoted always: some clients cannot read an atom here
	c.e.Raw(`* ESEARCH (TAG "`, t.tag, `")`)
	if t.uid() {
		c.e.Raw(" UID")
	}
	if n := len(nums); n > 0 {
		if o.ReturnMin {
			c.e.Raw(" MIN ").Num(uint64(nums[0]))
		}
		if o.ReturnMax {
			c.e.Raw(" MAX ").Num(uint64(nums[n-1]))
		}
		if o.ReturnAll || !o.Return {
			c.e.Raw(" ALL ")
			c.e.Set(wire.AppendSet(c.e.Buf(), nums))
		}
	}
	if o.ReturnCount {
		c.e.Raw(" COUNT ").Num(uint64(len(nums)))
	}
	c.e.CRLF()
}
