package wire

import (
	"math"
	"strconv"

	"github.com/emersion/go-imap/v2"
)

// ModSeq reads a mod-sequence-valzer: a number below 2^63 (RFC 7162 section 7).
func (d *Decoder) ModSeq() uint64 {
	b := d.run(isDigit)
	if len(b) == 0 {
		d.expected("a mod-sequence")
		return 0
	}
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil || n > math.MaxInt64 {
		d.Fail("Mod-sequence too large")
		return 0
	}
	return n
}

// once fails when a modifier was given before.
func (d *Decoder) once(seen *bool) {
	if *seen {
		d.Fail("Given twice")
	}
	*seen = true
}

// modifiers reads a list of modifiers that must not be empty.
func (d *Decoder) modifiers(one func(name string)) {
	n := 0
	d.List(func() {
		n++
		one(d.Label())
	})
	if d.err == nil && n == 0 {
		d.Fail("No modifiers")
	}
}

// FetchModifiers reads the modifiers of a FETCH, if there are any (RFC 4466 section 2.4).
func (d *Decoder) FetchModifiers(o *FetchOptions) {
	if d.AtEnd() || !d.SP() {
		return
	}
	d.modifiers(func(name string) {
		switch name {
		case "CHANGEDSINCE":
			d.once(&o.Changed)
			d.SP()
			o.ChangedSince = d.ModSeq()
			o.ModSeq = true // RFC 7162 section 3.1.4.1: it implies the item
		case "VANISHED":
			d.once(&o.Vanished)
		case "PARTIAL":
			d.SP()
			if o.Partial != nil {
				d.Fail("Given twice")
			}
			o.Partial = d.PartialRange()
		default:
			d.Fail("Unknown FETCH modifier")
		}
	})
}

// SelectOptions are the parameters of SELECT and EXAMINE.
type SelectOptions struct {
	CondStore bool     // RFC 7162 section 3.1.8
	QResync   *QResync // nil when not given
}

// QResync is what a client knows of a mailbox that it opens again (RFC 7162 section 3.2.5).
type QResync struct {
	UIDValidity uint32
	ModSeq      uint64
	Known       imap.SeqSet // UIDs; nil: all
	Match       bool        // message sequence match data was given
	Numbers     imap.SeqSet // message sequence match data: ascending numbers
	UIDs        imap.SeqSet // and as many ascending UIDs
}

// SelectParams reads the parameters of SELECT and EXAMINE, if there are any (RFC 4466 section 2.1).
func (d *Decoder) SelectParams() (o SelectOptions) {
	if d.AtEnd() || !d.SP() {
		return o
	}
	d.modifiers(func(name string) {
		switch name {
		case "CONDSTORE":
			o.CondStore = true
		case "QRESYNC":
			d.SP()
			if o.QResync != nil {
				d.Fail("Given twice")
			}
			o.QResync = d.qresync()
		default:
			d.Fail("Unknown parameter")
		}
	})
	return o
}

func (d *Decoder) qresync() *QResync {
	q := new(QResync)
	d.Expect('(')
	q.UIDValidity = d.nzNumber()
	d.SP()
	if q.ModSeq = d.ModSeq(); d.err == nil && q.ModSeq == 0 {
		d.Fail("Bad mod-sequence")
	}
	if d.Accept(' ') {
		if !d.Peek('(') {
			q.Known = d.plainSet()
			if d.Peek(' ') {
				d.SP()
				d.match(q)
			}
		} else {
			d.match(q)
		}
	}
	d.Expect(')')
	return q
}

// match reads seq-match-data: two ascending sets of the same length.
func (d *Decoder) match(q *QResync) {
	q.Match = true
	d.Expect('(')
	q.Numbers = d.plainSet()
	d.SP()
	q.UIDs = d.plainSet()
	d.Expect(')')
	n, ok := ascending(q.Numbers)
	m, ok2 := ascending(q.UIDs)
	if d.err == nil && (!ok || !ok2 || n != m) {
		d.Fail("Bad message sequence match data")
	}
}

// plainSet reads a set without "*" and "$".
func (d *Decoder) plainSet() imap.SeqSet {
	s := d.NumSet()
	if d.err == nil && s.Saved {
		d.Fail("Expected numbers")
	}
	for _, r := range s.Ranges {
		if r.Start == 0 || r.Stop == 0 {
			d.Fail("* is not allowed here")
		}
	}
	return s.Ranges
}

// ascending tells whether a set is, and how many numbers it holds.
func ascending(s imap.SeqSet) (n uint64, ok bool) {
	last := uint32(0)
	for _, r := range s {
		if r.Start <= last || r.Stop < r.Start {
			return 0, false
		}
		n += uint64(r.Stop-r.Start) + 1
		last = r.Stop
	}
	return n, true
}

// storeModifiers reads the modifiers of a STORE (RFC 4466 section 2.5) with the space behind them.
func (d *Decoder) storeModifiers(o *StoreOptions) {
	d.modifiers(func(name string) {
		if name != "UNCHANGEDSINCE" {
			d.Fail("Unknown STORE modifier")
			return
		}
		d.once(&o.Conditional)
		d.SP()
		o.UnchangedSince = d.ModSeq()
	})
	d.SP()
}
