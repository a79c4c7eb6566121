package imap

import (
	"slices"

	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// tellFound gives what was found on the selected mailbox as RETURN wants it, or without RETURN as an untagged response of that word: SEARCH or
// SORT (RFC 3501 section 7.2.5, RFC 5256 section 4). It is where SAVE saves.
func (c *client) tellFound(t *task, word string, o *wire.ReturnOptions, r *result) error {
	if o.Save {
		c.view.saved = r.save(o)
	}
	if !o.Given {
		c.tellNumbers(word, t.uid(), r)
		return c.e.Err()
	}
	if o.Save && !o.Data() && !o.Update && !o.Context {
		return nil // RFC 9051 section 6.4.4: SAVE alone says nothing
	}
	c.correlate(t.tag, nil)
	if t.uid() {
		c.e.Raw(" UID")
	}
	c.tellData(o, r, t.uid())
	c.e.CRLF()
	if o.Update {
		c.keep(t, o, r, nil)
	}
	return c.e.Err()
}

// tellNumbers gives the numbers one by one, as SEARCH and SORT do without RETURN.
func (c *client) tellNumbers(word string, uid bool, r *result) {
	c.e.Raw("* ", word)
	for _, i := range r.found {
		c.e.Raw(" ").Num(uint64(r.number(i, uid)))
		c.relieve()
	}
	if r.modSeq && len(r.found) > 0 {
		c.e.Raw(" (MODSEQ ").Num(r.highest(r.found)).Raw(")") // RFC 7162 section 3.1.6
	}
	c.e.CRLF()
}

// tellData gives the data of an ESEARCH response (RFC 4731 section 3.1, RFC 9394 section 3.1).
func (c *client) tellData(o *wire.ReturnOptions, r *result, uid bool) {
	n := len(r.found)
	if n > 0 && o.Min {
		c.e.Raw(" MIN ").Num(uint64(r.number(r.found[0], uid)))
	}
	if n > 0 && o.Max {
		c.e.Raw(" MAX ").Num(uint64(r.number(r.found[n-1], uid)))
	}
	if n > 0 && o.All {
		c.e.Raw(" ALL ")
		c.tellSet(r.found, uid, r)
	}
	if o.Partial != nil {
		c.e.Raw(" PARTIAL (", o.Partial.String(), " ")
		if part := r.part(o); len(part) > 0 {
			c.tellSet(part, uid, r)
		} else {
			c.e.Raw("NIL")
		}
		c.e.Raw(")")
	}
	if o.Count {
		c.e.Raw(" COUNT ").Num(uint64(n))
	}
	if r.modSeq && n > 0 && o.Data() {
		if told := r.told(o); len(told) > 0 {
			c.e.Raw(" MODSEQ ").Num(r.highest(told)) // RFC 4731 section 3.2
		}
	}
}

// tellSet gives indexes as a set in the order in which they are. RFC 5267 section 3.2: a range only where the numbers ascend.
func (c *client) tellSet(indexes []int, uid bool, r *result) {
	start := len(c.e.Buf())
	for k := 0; k < len(indexes); {
		first := r.number(indexes[k], uid)
		last := first
		for k++; k < len(indexes) && r.number(indexes[k], uid) == last+1; k++ {
			last++
		}
		c.e.Set(wire.AppendRange(c.e.Buf(), start, first, last))
		if c.relieve() {
			start = -1
		}
	}
}

// relieveAt is how much of one long response is gathered before it is sent.
const relieveAt = 48 << 10

// relieve sends what has gathered in the middle of a response when it is much, and tells whether it did.
func (c *client) relieve() bool {
	if c.e.Pending() < relieveAt {
		return false
	}
	_ = c.e.Flush()
	return true
}

// number is what the client calls the message at an index.
func (r *result) number(i int, uid bool) uint32 {
	if uid {
		return r.p.UID(i)
	}
	return uint32(i + 1)
}

// part is what PARTIAL asks for.
func (r *result) part(o *wire.ReturnOptions) []int {
	from, to := o.Partial.Cut(len(r.found))
	return r.found[from:to]
}

// some are the messages that MIN, MAX and PARTIAL tell, without order; one may be there twice.
func (r *result) some(o *wire.ReturnOptions) (out []int) {
	n := len(r.found)
	if n > 0 && o.Min {
		out = append(out, r.found[0])
	}
	if n > 0 && o.Max {
		out = append(out, r.found[n-1])
	}
	if o.Partial != nil {
		out = append(out, r.part(o)...)
	}
	return out
}

// told are the messages whose highest mod-sequence is told: RFC 4731 section 3.2, all that were found unless MIN, MAX or PARTIAL alone give fewer.
func (r *result) told(o *wire.ReturnOptions) []int {
	if o.All || o.Count {
		return r.found
	}
	return r.some(o)
}

func (r *result) highest(indexes []int) (n uint64) {
	for _, i := range indexes {
		n = max(n, r.p.At(i).ModSeq)
	}
	return n
}

// save is what "$" stands for after a search (RFC 9051 section 6.4.4.1 table 4, RFC 9394 section 3.2 table 1).
func (r *result) save(o *wire.ReturnOptions) []uidRange {
	found := r.found
	if o.Data() && !o.All && !o.Count {
		found = r.some(o)
	}
	if !slices.IsSorted(found) {
		found = slices.Sorted(slices.Values(found))
	}
	return rangesOf(r.p, slices.Compact(slices.Clone(found)))
}

// rangesOf are the UIDs of ascending indexes. Messages side by side make one range, whatever UIDs are missing between: those never come.
func rangesOf(p *storage.Snapshot, indexes []int) (out []uidRange) {
	for k := 0; k < len(indexes); {
		first := indexes[k]
		last := first
		for k++; k < len(indexes) && indexes[k] == last+1; k++ {
			last++
		}
		out = append(out, uidRange{p.UID(first), p.UID(last) + 1})
	}
	return out
}
