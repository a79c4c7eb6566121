package mime

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// HeaderFields yields the fields of a header block in order, up to its empty line: the field's name without the white space that
// RFC 5322 section 4.5 lets stand before the colon, and the whole field as it is, name, folding and line end included.
// A line that is no field (an mbox "From " line, garbage) is yielded with an empty name. Both slices lie in header; nothing is allocated.
func HeaderFields(header []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(name, raw []byte) bool) {
		for len(header) > 0 && !emptyLine(header) {
			n := fieldEnd(header)
			raw := header[:n]
			if !yield(fieldName(raw), raw) {
				return
			}
			header = header[n:]
		}
	}
}

// FieldValue returns what follows the colon of a raw field, without white space and line end around it, still folded.
func FieldValue(raw []byte) []byte {
	i := bytes.IndexByte(raw, ':')
	return trimSpace(raw[i+1:])
}

// Unfold appends a field value without CR, LF and NUL to dst (RFC 5322 section 2.2.3).
func Unfold(dst, value []byte) []byte {
	for {
		i := bytes.IndexAny(value, "\r\n\x00")
		if i < 0 {
			return append(dst, value...)
		}
		dst = append(dst, value[:i]...)
		value = value[i+1:]
	}
}

func emptyLine(b []byte) bool {
	return b[0] == '\n' || b[0] == '\r' && len(b) > 1 && b[1] == '\n'
}

// fieldName returns the name of a raw field; empty when it is none.
func fieldName(raw []byte) []byte {
	// RFC 5322 section 3.6.8: printable ASCII but the colon.
	i := 0
	for i < len(raw) && raw[i] > ' ' && raw[i] < 0x7f && raw[i] != ':' {
		i++
	}
	name := raw[:i]
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t') {
		i++
	}
	if i == len(raw) || raw[i] != ':' {
		return nil
	}
	return name
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	for len(b) > 0 && isSpace(b[len(b)-1]) {
		b = b[:len(b)-1]
	}
	return b
}

// FieldSet is a set of header field names, prepared once and used for any number of headers, by any number of goroutines.
type FieldSet struct {
	byLen [maxFieldName + 1][][]byte // lowercase; longer names in the last
}

const maxFieldName = 40

// NewFieldSet prepares a set. Names compare without regard to ASCII case.
func NewFieldSet(names ...string) *FieldSet {
	s := new(FieldSet)
	for _, name := range names {
		lower := bytes.Clone([]byte(name))
		for i, c := range lower {
			lower[i] = lowerByte(c)
		}
		if b := &s.byLen[min(len(lower), maxFieldName)]; len(lower) > 0 && !contains(*b, lower) {
			*b = append(*b, lower)
		}
	}
	return s
}

// Has says whether name is in the set.
func (s *FieldSet) Has(name []byte) bool {
	return len(name) > 0 && contains(s.byLen[min(len(name), maxFieldName)], name)
}

func contains(list [][]byte, name []byte) bool {
	for _, s := range list {
		if equalFold(name, s) {
			return true
		}
	}
	return false
}

// equalFold compares in ASCII; lower is lowercase.
func equalFold[S []byte | string](b []byte, lower S) bool {
	if len(b) != len(lower) {
		return false
	}
	for i := len(b) - 1; i >= 0; i-- {
		if lowerByte(b[i]) != lower[i] {
			return false
		}
	}
	return true
}

func lowerByte(c byte) byte {
	if c-'A' < 26 {
		c |= 0x20
	}
	return c
}

// Filter is what BODY[HEADER.FIELDS (...)] or HEADER.FIELDS.NOT leaves of a header (RFC 9051 section 6.4.5.1). It is used by any number
// of goroutines.
type Filter struct {
	set *FieldSet
	not bool
	key string
}

// NewFilter prepares one that leaves the named fields, or with not all others.
func NewFilter(names []string, not bool) *Filter {
	sorted := make([]string, len(names))
	for i, name := range names {
		sorted[i] = strings.ToLower(name)
	}
	slices.Sort(sorted)
	key := strings.Join(slices.Compact(sorted), "\n")
	if not {
		key = "\n" + key
	}
	return &Filter{NewFieldSet(names...), not, key}
}

// Key is the same for filters that ask for the same fields, in whatever order and case.
func (f *Filter) Key() string { return f.key }

// Append is FilterHeader.
func (f *Filter) Append(dst, header []byte) []byte { return FilterHeader(dst, header, f.set, f.not) }

// FilterHeader appends to dst the fields of a header block whose names are in the set, or with not those whose names are not, as they
// stand there, and always the empty line (RFC 9051 section 6.4.5.1: BODY[HEADER.FIELDS (...)] and HEADER.FIELDS.NOT).
// Lines that are no fields are in no set.
func FilterHeader(dst, header []byte, set *FieldSet, not bool) []byte {
	// Runs of fields that are wanted are copied in one piece.
	run := 0
	i := 0
	for i < len(header) && !emptyLine(header[i:]) {
		n := fieldEnd(header[i:])
		if set.Has(fieldName(header[i:i+n])) == not {
			dst = append(dst, header[run:i]...)
			run = i + n
		}
		i += n
	}
	dst = append(dst, header[run:i]...)
	if i > run && header[i-1] != '\n' {
		dst = append(dst, '\r', '\n')
	}
	return append(dst, '\r', '\n')
}
