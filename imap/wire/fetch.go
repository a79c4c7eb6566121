package wire

import (
	"math"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// Limits of a FETCH.
const (
	maxFetchItems  = 512
	maxFieldNames  = 512
	maxSectionPath = 128
)

// FetchOptions are the items of a FETCH (RFC 9051 section 6.4.5) with those that imap.FetchOptions lacks.
type FetchOptions struct {
	imap.FetchOptions
	Body         bool // BODY; BODYSTRUCTURE is FetchOptions.BodyStructure
	RFC822       bool // RFC 3501 section 6.4.5
	RFC822Header bool
	RFC822Text   bool
	BinaryText   []BinaryText
	EmailID      bool // RFC 8474 section 5.3
	ThreadID     bool
	SaveDate     bool // RFC 8514 section 4.2
	Preview      bool // RFC 8970
	PreviewLazy  bool
	Changed      bool // CHANGEDSINCE was given: FetchOptions.ChangedSince counts
	Vanished     bool // RFC 7162 section 3.2.6
	Partial      *PartialRange
	items        int
}

// BinaryText is BINARY or BINARY.SIZE of a text specifier, as in BINARY[1.HEADER]. RFC 9051 knows it of parts only, but other
// servers answer it: it is BODY's, under its own name.
type BinaryText struct {
	*imap.FetchItemBodySection
	Size bool
}

// Fetch reads the items of a FETCH: a macro, one item or a list.
func (d *Decoder) Fetch() *FetchOptions {
	o := new(FetchOptions)
	if d.Peek('(') {
		d.List(func() { d.fetchItem(o, false) })
		if d.err == nil && o.items == 0 {
			d.Fail("Nothing to fetch")
		}
		return o
	}
	d.fetchItem(o, true)
	return o
}

func (d *Decoder) fetchItem(o *FetchOptions, alone bool) {
	if o.items++; o.items > maxFetchItems {
		d.fail(&Error{Code: "LIMIT", Text: "Too many items"})
		return
	}
	switch name := d.Label(); name {
	case "FLAGS":
		o.Flags = true
	case "UID":
		o.UID = true
	case "INTERNALDATE":
		o.InternalDate = true
	case "RFC822.SIZE":
		o.RFC822Size = true
	case "MODSEQ": // RFC 7162 section 3.1.4.2
		o.ModSeq = true
	case "SAVEDATE":
		o.SaveDate = true
	case "EMAILID":
		o.EmailID = true
	case "THREADID":
		o.ThreadID = true
	case "PREVIEW":
		d.preview(o, alone)
	case "ENVELOPE":
		o.Envelope = true
	case "BODYSTRUCTURE":
		o.BodyStructure = &imap.FetchItemBodyStructure{Extended: true}
	case "RFC822":
		o.RFC822 = true
	case "RFC822.HEADER":
		o.RFC822Header = true
	case "RFC822.TEXT":
		o.RFC822Text = true
	case "BODY", "BODY.PEEK":
		if name == "BODY" && !d.Peek('[') {
			o.Body = true
			return
		}
		d.bodySection(o, name == "BODY.PEEK")
	case "BINARY", "BINARY.PEEK", "BINARY.SIZE":
		d.binarySection(o, name)
	case "ALL", "FAST", "FULL":
		if !alone {
			d.Fail("A macro must stand alone")
			return
		}
		o.Flags, o.InternalDate, o.RFC822Size = true, true, true
		o.Envelope = name != "FAST"
		o.Body = name == "FULL"
	default:
		d.Fail("Unknown FETCH item")
	}
}

// preview reads what may follow PREVIEW (RFC 8970 section 6). A list behind an item that stands alone may as well be that of the modifiers
// of FETCH (RFC 4466 section 2.4).
func (d *Decoder) preview(o *FetchOptions, alone bool) {
	lazy := o.PreviewLazy || !o.Preview
	o.Preview, o.PreviewLazy = true, false
	begin := " ("
	if alone {
		begin = " (LAZY"
	}
	rest := d.line[d.pos:]
	if d.err != nil || len(rest) < len(begin) || !strings.EqualFold(string(rest[:len(begin)]), begin) {
		return
	}
	d.SP()
	n := 0
	d.List(func() {
		if n++; d.Label() != "LAZY" {
			d.Fail("Unknown modifier of PREVIEW")
		}
	})
	if d.err == nil && n == 0 {
		d.Fail("Expected a modifier of PREVIEW")
	}
	o.PreviewLazy = lazy // when it is asked for without the modifier too, that counts
}

// bodySection reads [section]<partial>.
func (d *Decoder) bodySection(o *FetchOptions, peek bool) {
	s := d.section(peek)
	s.Partial = d.partial(true)
	o.BodySection = append(o.BodySection, s)
}

// section reads [section].
func (d *Decoder) section(peek bool) *imap.FetchItemBodySection {
	s := &imap.FetchItemBodySection{Peek: peek}
	if !d.Expect('[') || d.Accept(']') {
		return s
	}
	s.Part = d.path()
	if !d.Peek(']') {
		d.sectionText(s)
	}
	d.Expect(']')
	return s
}

// binarySection reads what follows BINARY, BINARY.PEEK or BINARY.SIZE.
func (d *Decoder) binarySection(o *FetchOptions, name string) {
	size := name == "BINARY.SIZE"
	s := d.section(size || name == "BINARY.PEEK")
	if !size {
		s.Partial = d.partial(false)
	}
	switch {
	case s.Specifier != imap.PartSpecifierNone:
		o.BinaryText = append(o.BinaryText, BinaryText{s, size})
	case size:
		o.BinarySectionSize = append(o.BinarySectionSize, &imap.FetchItemBinarySectionSize{Part: s.Part})
	default:
		o.BinarySection = append(o.BinarySection, &imap.FetchItemBinarySection{Part: s.Part, Partial: s.Partial, Peek: s.Peek})
	}
}

// path reads section-part; a text specifier may follow behind its last dot.
func (d *Decoder) path() []int {
	var p []int
	for c := d.peek(); isDigit(c); c = d.peek() {
		n := d.Number()
		if d.err == nil && (n == 0 || n > 1<<20 || len(p) == maxSectionPath) {
			d.Fail("Bad part number")
		}
		p = append(p, int(n))
		if !d.Accept('.') {
			break
		}
		if d.Peek(']') {
			d.Fail("Bad section")
		}
	}
	return p
}

func (d *Decoder) sectionText(s *imap.FetchItemBodySection) {
	if len(s.Part) > 0 && d.err == nil && d.line[d.pos-1] != '.' {
		d.Fail("Bad section")
		return
	}
	switch d.Label() {
	case "HEADER":
		s.Specifier = imap.PartSpecifierHeader
	case "TEXT":
		s.Specifier = imap.PartSpecifierText
	case "MIME":
		if len(s.Part) == 0 {
			d.Fail("MIME needs a part")
		}
		s.Specifier = imap.PartSpecifierMIME
	case "HEADER.FIELDS":
		s.Specifier = imap.PartSpecifierHeader
		s.HeaderFields = d.fieldNames()
	case "HEADER.FIELDS.NOT":
		s.Specifier = imap.PartSpecifierHeader
		s.HeaderFieldsNot = d.fieldNames()
	default:
		d.Fail("Unknown section")
	}
}

func (d *Decoder) fieldNames() []string {
	var l []string
	if !d.SP() {
		return nil
	}
	d.List(func() {
		if len(l) == maxFieldNames {
			d.fail(&Error{Code: "LIMIT", Text: "Too many header fields"})
			return
		}
		name := d.AString()
		if d.err == nil && !isFieldName(name) {
			d.Fail("Bad header field name")
		}
		l = append(l, name)
	})
	if d.err == nil && len(l) == 0 {
		d.Fail("No header fields named")
	}
	return l
}

// isFieldName: RFC 5322 section 2.2. Anything else could not be answered with its name.
func isFieldName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || c == ':' {
			return false
		}
	}
	return s != ""
}

// partial reads <offset.size>, nil when there is none. Unless strict the size may be missing: all the rest.
func (d *Decoder) partial(strict bool) *imap.SectionPartial {
	if !d.Accept('<') {
		return nil
	}
	p := &imap.SectionPartial{Offset: d.Number64(), Size: math.MaxInt64}
	if strict || !d.Peek('>') {
		d.Expect('.')
		p.Size = d.Number64()
	}
	d.Expect('>')
	if d.err == nil && p.Size == 0 {
		d.Fail("Bad partial")
	}
	return p
}

// AppendSection appends the name under which a body section is answered: BODY[1.HEADER.FIELDS (To)]<0>.
func AppendSection(b []byte, s *imap.FetchItemBodySection) []byte {
	b = append(b, "BODY["...)
	b = appendPath(b, s.Part)
	if s.Specifier != imap.PartSpecifierNone {
		if len(s.Part) > 0 {
			b = append(b, '.')
		}
		b = append(b, s.Specifier...)
	}
	if names, not := s.HeaderFields, s.HeaderFieldsNot; len(names)+len(not) > 0 {
		b = append(b, ".FIELDS"...)
		if len(not) > 0 {
			b = append(b, ".NOT"...)
			names = not
		}
		b = append(b, " ("...)
		for i, n := range names {
			if i > 0 {
				b = append(b, ' ')
			}
			b = AppendAString(b, n)
		}
		b = append(b, ')')
	}
	return appendOrigin(append(b, ']'), s.Partial)
}

// AppendBinary appends the name under which BINARY[...] is answered.
func AppendBinary(b []byte, part []int, p *imap.SectionPartial) []byte {
	b = appendPath(append(b, "BINARY["...), part)
	return appendOrigin(append(b, ']'), p)
}

func appendPath(b []byte, part []int) []byte {
	for i, n := range part {
		if i > 0 {
			b = append(b, '.')
		}
		b = AppendNumber(b, uint64(n))
	}
	return b
}

// appendOrigin: RFC 9051 section 6.4.5: a partial answer tells its origin octet.
func appendOrigin(b []byte, p *imap.SectionPartial) []byte {
	if p == nil {
		return b
	}
	b = AppendNumber(append(b, '<'), uint64(p.Offset))
	return append(b, '>')
}

// AppendAString appends s, which has no control characters, as an atom or quoted.
func AppendAString(b []byte, s string) []byte {
	plain := s != "" && !strings.EqualFold(s, "NIL")
	for i := 0; plain && i < len(s); i++ {
		plain = isAStringChar(s[i])
	}
	if plain {
		return append(b, s...)
	}
	return appendQuoted(b, s)
}
