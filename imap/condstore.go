package imap

import (
	"github.com/packetboat/packetboat/imap/wire"
	"github.com/packetboat/packetboat/storage"
)

// modSeqAware is called for each CONDSTORE enabling command. From the first one on the client is told mod-sequences with all flags that
// it did not ask for, and when a mailbox is selected it is told where it stands (RFC 7162 section 3.1).
func (c *client) modSeqAware() {
	if c.condstore {
		return
	}
	c.condstore = true
	if c.view != nil {
		c.tellHighest()
	}
}

// tellHighest tells the mod-sequence up to which the client knows of all changes in its mailbox.
func (c *client) tellHighest() {
	c.e.Raw("* OK [HIGHESTMODSEQ ").Num(c.view.highest()).Raw("] Highest mod-sequence").CRLF()
}

// highest is the mod-sequence of what the client was told.
func (v *view) highest() uint64 { return v.snap.HighestModSeq() }

// ahead is called with each mod-sequence that the client is told.
func (v *view) ahead(modseq uint64) { v.toldSeq = max(v.toldSeq, modseq) }

// tellBehind ends a command: when mod-sequences were told while expunges with smaller ones have to wait, the client must not
// take the greatest one for where it stands; and it is told so again when they went out (RFC 7162 sections 3.2 and 6).
func (c *client) tellBehind() {
	v := c.view
	if !c.condstore || v.toldSeq == 0 {
		return
	}
	if v.toldSeq <= v.highest() {
		if v.toldSeq = 0; !v.behind {
			return
		}
		v.behind = false
	} else {
		v.behind = true
	}
	c.tellHighest()
}

// head begins a FETCH response, or the UIDFETCH that stands for it (RFC 9586 section 3.3).
func (c *client) head(b []byte, i int, uid uint32) []byte {
	b = append(b, "* "...)
	if c.uidOnly {
		b = wire.AppendNumber(b, uint64(uid))
		return append(b, " UIDFETCH ("...)
	}
	b = wire.AppendNumber(b, uint64(i+1))
	return append(b, " FETCH ("...)
}

// tellUID tells whether a FETCH response that was not asked for has the item UID. uid: it comes from a UID command.
func (c *client) tellUID(uid bool) bool {
	if c.uidOnly {
		return false // it stands in front
	}
	// RFC 9051 section 7.5.2: what was not asked for always tells the UID; RFC 7162 section 3.2.4
	return uid || c.rev2 || c.condstore
}

// tellModSeq tells a message's mod-sequence alone, after a silent STORE.
func (c *client) tellModSeq(i int, m storage.Entry, uid bool) {
	b := c.head(c.e.Buf(), i, m.UID)
	if c.tellUID(uid) {
		b = wire.AppendNumber(append(b, "UID "...), uint64(m.UID))
		b = append(b, ' ')
	}
	c.e.Set(append(c.appendModSeq(b, m), ')'))
	c.e.CRLF()
}

// appendModSeq appends MODSEQ (...).
func (c *client) appendModSeq(b []byte, m storage.Entry) []byte {
	c.view.ahead(m.ModSeq)
	b = wire.AppendNumber(append(b, "MODSEQ ("...), m.ModSeq)
	return append(b, ')')
}

// forgoNumbers is ENABLE UIDONLY. A client that said it late is told the changes of what it searched for before by UID too (RFC 9586 section 3).
func (c *client) forgoNumbers() {
	c.uidOnly = true
	if c.view != nil {
		for _, x := range c.view.contexts {
			x.uid = true
		}
	}
}
