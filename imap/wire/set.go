package wire

import (
	"math"

	"github.com/emersion/go-imap/v2"
)

// MaxRanges is how many ranges a set of numbers may have.
const MaxRanges = 10000

// NumSet is a set of sequence numbers or UIDs as the client wrote it: unsorted, ranges in either
// order, 0 for "*". It must be laid over what there is and never be written out: it may name four thousand million messages.
type NumSet struct {
	Ranges imap.SeqSet
	Saved  bool // "$", the saved result of a search (RFC 9051 section 6.4.4.1)
}

// NumSet reads a sequence-set.
func (d *Decoder) NumSet() NumSet {
	var s NumSet
	if d.Accept('$') {
		s.Saved = true
		return s
	}
	for d.err == nil {
		r := imap.SeqRange{Start: d.setNumber()}
		r.Stop = r.Start
		if d.Accept(':') {
			r.Stop = d.setNumber()
		}
		if len(s.Ranges) == MaxRanges {
			d.fail(&Error{Code: "LIMIT", Text: "Too many ranges in a set"})
			return NumSet{}
		}
		s.Ranges = append(s.Ranges, r)
		if !d.Accept(',') {
			return s
		}
	}
	return NumSet{}
}

func (d *Decoder) setNumber() uint32 {
	if d.Accept('*') {
		return 0
	}
	b := d.run(isDigit)
	if len(b) == 0 {
		d.expected("a message number")
		return 0
	}
	n := number64(b)
	if n == 0 || n > math.MaxUint32 || b[0] == '0' {
		d.Fail("Bad message number")
		return 0
	}
	return uint32(n)
}
