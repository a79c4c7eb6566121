package wire

import (
	"strings"
)

// Limits of METADATA (RFC 5464).
const (
	maxEntries = 100     // in one command
	maxEntry   = 1 << 10 // bytes of a name
)

// MetadataOptions are the arguments of GETMETADATA.
type MetadataOptions struct {
	Mailbox string // "" is the server
	MaxSize int64  // -1: any size
	Depth   int    // 0, 1, or -1 for infinity
	Entries []string
}

// GetMetadata reads the arguments of GETMETADATA (RFC 5464 section 5). The options may also come behind the mailbox, where the examples have them.
func (d *Decoder) GetMetadata() *MetadataOptions {
	o := &MetadataOptions{MaxSize: -1}
	had := d.Peek('(')
	if had {
		d.List(func() { d.metadataOption(o) })
		d.SP()
	}
	o.Mailbox = d.Mailbox()
	d.SP()
	if !had && d.Peek('(') && d.optionNext() {
		d.List(func() { d.metadataOption(o) })
		d.SP()
	}
	if d.Peek('(') {
		o.Entries = d.Entries()
	} else {
		o.Entries = []string{d.Entry()}
	}
	return o
}

// optionNext tells whether the list that is next begins with an option and not with an entry.
func (d *Decoder) optionNext() bool {
	rest := d.line[d.pos+1:]
	if len(rest) == 0 {
		return false
	}
	c := rest[0] | 0x20
	return c >= 'a' && c <= 'z'
}

func (d *Decoder) metadataOption(o *MetadataOptions) {
	switch d.Label() {
	case "MAXSIZE":
		d.SP()
		o.MaxSize = d.Number64()
	case "DEPTH":
		d.SP()
		switch d.Label() {
		case "0":
			o.Depth = 0
		case "1":
			o.Depth = 1
		case "INFINITY":
			o.Depth = -1
		default:
			d.Fail("Bad DEPTH")
		}
	default:
		d.Fail("Unknown option of GETMETADATA")
	}
}

// Entries reads a list of entry names, at least one.
func (d *Decoder) Entries() []string {
	var l []string
	d.List(func() {
		if len(l) == maxEntries {
			d.fail(&Error{Code: "LIMIT", Text: "Too many entries"})
			return
		}
		l = append(l, d.Entry())
	})
	if d.err == nil && len(l) == 0 {
		d.Fail("No entries")
	}
	return l
}

// Entry reads the name of an entry, into lowercase: names are not case-sensitive.
func (d *Decoder) Entry() string {
	s := strings.ToLower(d.AString())
	if d.err == nil && !validEntry(s) {
		d.Fail("Bad name of an entry")
		return ""
	}
	return s
}

// validEntry: RFC 5464 section 3.2. /private and /shared alone have nothing, but there may be entries below them.
func validEntry(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= 0x19 || c >= 0x7f || c == '*' || c == '%' {
			return false
		}
	}
	if len(s) > maxEntry || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return false
	}
	return s == "/private" || s == "/shared" || strings.HasPrefix(s, "/private/") || strings.HasPrefix(s, "/shared/")
}

// EntryValue is an entry of SETMETADATA.
type EntryValue struct {
	Entry string
	Value string
	Nil   bool // to be removed
}

// SetMetadata reads the arguments of SETMETADATA (RFC 5464 section 5).
func (d *Decoder) SetMetadata() (mailbox string, values []EntryValue) {
	mailbox = d.Mailbox()
	d.SP()
	odd := false
	d.List(func() {
		if odd = !odd; odd {
			if len(values) == maxEntries {
				d.fail(&Error{Code: "LIMIT", Text: "Too many entries"})
				return
			}
			values = append(values, EntryValue{Entry: d.settable()})
			return
		}
		v := &values[len(values)-1]
		if d.Peek('~') {
			v.Value = d.literalOf(true)
			return
		}
		s, ok := d.NString()
		v.Value, v.Nil = s, !ok
	})
	if d.err == nil && (odd || len(values) == 0) {
		d.Fail("An entry without a value")
	}
	return mailbox, values
}

// settable is Entry of one that can have a value: RFC 5464 section 3.2: at least two components, four of a vendor's.
func (d *Decoder) settable() string {
	s := d.Entry()
	parts := strings.Split(s, "/")
	if d.err == nil && (len(parts) < 3 || parts[2] == "vendor" && len(parts) < 5) {
		d.Fail("An entry of that name has no value")
	}
	return s
}

// AppendValue appends a value: a string, or a literal8 if there is a NUL in it (RFC 5464 section 5).
func AppendValue(b []byte, s string, utf8ok bool) []byte {
	if strings.IndexByte(s, 0) >= 0 {
		return appendLiteral(append(b, '~'), s)
	}
	return AppendString(b, s, utf8ok)
}
