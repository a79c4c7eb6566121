package wire

import (
	"time"

	"github.com/emersion/go-imap/v2"
)

// Flag reads a flag: a keyword, or one with a backslash.
func (d *Decoder) Flag() imap.Flag {
	if d.Accept('\\') {
		return imap.Flag("\\" + d.Atom())
	}
	return imap.Flag(d.Atom())
}

// Flags reads a flag-list.
func (d *Decoder) Flags() []imap.Flag {
	var l []imap.Flag
	d.List(func() { l = append(l, d.Flag()) })
	return l
}

// StoreOptions are the flags of a STORE: the ways are imap.StoreFlags'.
type StoreOptions struct {
	imap.StoreFlags
	Conditional    bool // UNCHANGEDSINCE was given
	UnchangedSince uint64
}

// Store reads what follows the set of a STORE (RFC 9051 section 6.4.6).
func (d *Decoder) Store() (o StoreOptions) {
	o.Op = imap.StoreFlagsSet
	if d.Peek('(') {
		d.storeModifiers(&o)
	}
	switch {
	case d.Accept('+'):
		o.Op = imap.StoreFlagsAdd
	case d.Accept('-'):
		o.Op = imap.StoreFlagsDel
	}
	switch d.Label() {
	case "FLAGS":
	case "FLAGS.SILENT":
		o.Silent = true
	default:
		d.Fail("Unknown STORE item")
		return o
	}
	if !d.SP() {
		return o
	}
	if d.Peek('(') {
		o.Flags = d.Flags()
		return o
	}
	for {
		o.Flags = append(o.Flags, d.Flag())
		if d.AtEnd() || !d.SP() {
			return o
		}
	}
}

// dateLayouts: of SEARCH; the day has one or two digits.
const dateLayout = "2-Jan-2006"

// Date reads a date, quoted or not, as midnight UTC.
func (d *Decoder) Date() time.Time {
	s := d.AString()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(dateLayout, s)
	if err != nil || t.Year() < 1 {
		d.Fail("Bad date")
	}
	return t
}

// dateTimeLayout is RFC 9051's date-time; the day is padded with a space.
const dateTimeLayout = "_2-Jan-2006 15:04:05 -0700"

// DateTime reads a quoted date-time.
func (d *Decoder) DateTime() time.Time {
	if !d.Peek('"') {
		d.expected("a date-time")
		return time.Time{}
	}
	s := d.quoted()
	if d.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(dateTimeLayout, s)
	if err != nil || len(s) != 26 || t.Unix() < 0 && t.Year() < 1900 {
		d.Fail("Bad date-time")
		return time.Time{}
	}
	return t
}
