package wire

import (
	"math"
	"strconv"
	"strings"
)

// ReturnOptions are what RETURN of a searching command asks for: SEARCH, SORT or ESEARCH (RFC 9051 section 6.4.4, RFC 4731, RFC 5182, RFC 5267,
// RFC 9394).
type ReturnOptions struct {
	Given   bool // RETURN was there: the answer is ESEARCH
	Min     bool
	Max     bool
	All     bool // also for the empty list
	Count   bool
	Save    bool
	Partial *PartialRange
	Update  bool          // the client wants to be told of changes to what was found
	Fetch   *FetchOptions // of UPDATE: what it wants of new messages (RFC 5465 section 7); nil: nothing
	Context bool          // a hint that it will search for the same again
}

// Data tells whether anything of what was found is to be told.
func (o *ReturnOptions) Data() bool {
	return o.Min || o.Max || o.All || o.Count || o.Partial != nil
}

// PartialRange is which of the messages that were found are wanted, counted from 1 (RFC 9394 section 3.1). The ends are in the order in
// which the client wrote them.
type PartialRange struct {
	First, Last uint32
	FromEnd     bool // counted from the last one: -1:-100
}

// Cut lays the range over n results: the indexes from..to, to not included. They are equal when the range is beyond them.
func (r PartialRange) Cut(n int) (from, to int) {
	a, b := int(min(r.First, r.Last)), int(max(r.First, r.Last))
	a, b = min(a-1, n), min(b, n)
	if r.FromEnd {
		return n - b, n - a
	}
	return a, b
}

// Width is how many results the range may name.
func (r PartialRange) Width() int64 {
	return int64(max(r.First, r.Last)) - int64(min(r.First, r.Last)) + 1
}

// String is the range as it was written.
func (r PartialRange) String() string {
	sign := ""
	if r.FromEnd {
		sign = "-"
	}
	return sign + strconv.FormatUint(uint64(r.First), 10) + ":" + sign + strconv.FormatUint(uint64(r.Last), 10)
}

// Return reads an optional "RETURN (...)" with the space behind it.
func (d *Decoder) Return() (o ReturnOptions) {
	if !d.word("RETURN") || !d.SP() {
		return o
	}
	o.Given = true
	n := 0
	d.List(func() {
		n++
		d.returnOption(&o)
	})
	o.All = o.All || n == 0 // RFC 9051 section 6.4.4: () is ALL
	if o.All && o.Partial != nil {
		d.Fail("PARTIAL cannot be with ALL") // RFC 9394 section 3.1
	}
	d.SP()
	return o
}

func (d *Decoder) returnOption(o *ReturnOptions) {
	switch d.Label() {
	case "MIN":
		o.Min = true
	case "MAX":
		o.Max = true
	case "ALL":
		o.All = true
	case "COUNT":
		o.Count = true
	case "SAVE":
		o.Save = true
	case "UPDATE":
		o.Update = true
		if blank := d.Accept(' '); d.Peek('(') {
			o.Fetch = d.Fetch()
		} else if blank {
			d.pos-- // the next option
		}
	case "CONTEXT":
		o.Context = true
	case "PARTIAL":
		if o.Partial != nil {
			d.Fail("More than one PARTIAL") // RFC 9394 section 3.1
			return
		}
		d.SP()
		o.Partial = d.PartialRange()
	default:
		d.Fail("Unknown RETURN option")
	}
}

// PartialRange reads a partial-range of RFC 9394 section 4.
func (d *Decoder) PartialRange() *PartialRange {
	r := &PartialRange{FromEnd: d.Accept('-')}
	r.First = d.nzNumber()
	d.Expect(':')
	if r.FromEnd {
		d.Expect('-')
	}
	r.Last = d.nzNumber()
	return r
}

// nzNumber reads a nz-number.
func (d *Decoder) nzNumber() uint32 {
	b := d.run(isDigit)
	n := number64(b)
	if d.err == nil && (len(b) == 0 || b[0] == '0' || n > math.MaxUint32) {
		d.Fail("Expected a number from 1 on")
	}
	if d.err != nil {
		return 0
	}
	return uint32(n)
}

// maxFilterNames is how many names the mailbox specifiers of a command may have.
const maxFilterNames = 1000

// MailboxFilter is a mailbox specifier (RFC 5465 section 6, RFC 7377 section 2.2): SELECTED, SELECTED-DELAYED, INBOXES, PERSONAL or SUBSCRIBED, or with
// names SUBTREE, SUBTREE-ONE or MAILBOXES.
type MailboxFilter struct {
	Kind  string
	Names []string
}

// MailboxFilter reads one.
func (d *Decoder) MailboxFilter() (f MailboxFilter) {
	switch f.Kind = d.Label(); f.Kind {
	case "SELECTED", "SELECTED-DELAYED", "INBOXES", "PERSONAL", "SUBSCRIBED":
		return f
	case "SUBTREE", "SUBTREE-ONE", "MAILBOXES":
	default:
		d.Fail("Unknown mailbox specifier")
		return f
	}
	if !d.SP() {
		return f
	}
	if !d.Peek('(') {
		f.Names = []string{d.Mailbox()}
		return f
	}
	d.List(func() {
		if len(f.Names) == maxFilterNames {
			d.fail(&Error{No: true, Code: "LIMIT", Text: "Too many mailboxes"})
			return
		}
		f.Names = append(f.Names, d.Mailbox())
	})
	if d.err == nil && len(f.Names) == 0 {
		d.Fail("Expected a mailbox")
	}
	return f
}

// MultiSearchOptions are the arguments of ESEARCH (RFC 7377).
type MultiSearchOptions struct {
	Sources []MailboxFilter // none: SELECTED
	SearchOptions
}

// MultiSearch reads the arguments of ESEARCH.
func (d *Decoder) MultiSearch() *MultiSearchOptions {
	o := new(MultiSearchOptions)
	if d.word("IN") {
		d.SP()
		d.sources(o)
		d.SP()
	}
	o.SearchOptions = *d.Search()
	return o
}

func (d *Decoder) sources(o *MultiSearchOptions) {
	if !d.Expect('(') {
		return
	}
	for names := 0; ; {
		f := d.MailboxFilter()
		if f.Kind == "SELECTED-DELAYED" {
			d.Fail("SELECTED-DELAYED is for NOTIFY") // RFC 7377 section 2.2
		}
		if names += 1 + len(f.Names); names > maxFilterNames {
			d.fail(&Error{No: true, Code: "LIMIT", Text: "Too many mailboxes"})
		}
		o.Sources = append(o.Sources, f)
		if d.err != nil || d.Accept(')') || !d.SP() {
			return
		}
		if d.Peek('(') {
			d.Fail("Unknown scope option") // RFC 7377 section 4: there are none yet
			return
		}
	}
}

// Charset reads the name of a charset, in upper case.
func (d *Decoder) Charset() string { return strings.ToUpper(d.AString()) }
