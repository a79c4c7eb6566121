package mime

import (
	"bytes"
	"errors"
	"strconv"
)

var errStructure = errors.New("mime: damaged body structure")

// AppendBody appends BODY (RFC 9051 section 7.5.2: BODYSTRUCTURE without extension data) made of a BODYSTRUCTURE that AppendStructure wrote.
// On what is none it gives an error and dst as it was. It goes as deep as an Indexer does.
func AppendBody(dst, structure []byte) ([]byte, error) {
	s := shortener{dst: dst, in: structure}
	s.body(0)
	if s.failed || len(s.in) != 0 {
		return dst, errStructure
	}
	return s.dst, nil
}

// shortener moves what stays from in to dst.
type shortener struct {
	dst, in []byte
	failed  bool
}

func (s *shortener) body(depth int) {
	if !s.take('(') || depth > 2*maxDepth {
		s.failed = true
		return
	}
	if s.next('(') {
		for s.next('(') && !s.failed {
			s.body(depth + 1)
		}
		s.fields(1) // subtype
		s.end()
		return
	}
	text := bytes.HasPrefix(s.in, []byte(`"text"`))
	s.value() // type
	s.fields(6)
	switch {
	case text:
		s.fields(1)
	case bytes.HasPrefix(s.in, []byte(" (")): // an envelope: MD5, which comes here else, is no list
		s.fields(1)
		s.take(' ')
		s.body(depth + 1)
		s.fields(1)
	}
	s.end()
}

// fields moves n values, each behind a space.
func (s *shortener) fields(n int) {
	for ; n > 0 && !s.failed; n-- {
		s.take(' ')
		s.value()
	}
}

// end leaves out what comes before the parenthesis that closes the body.
func (s *shortener) end() {
	for !s.failed && s.next(' ') {
		n, ok := valueLen(s.in[1:])
		if !ok {
			s.failed = true
			return
		}
		s.in = s.in[1+n:]
	}
	s.take(')')
}

func (s *shortener) next(c byte) bool { return len(s.in) > 0 && s.in[0] == c }

func (s *shortener) take(c byte) bool {
	if s.failed || !s.next(c) {
		s.failed = true
		return false
	}
	s.dst, s.in = append(s.dst, c), s.in[1:]
	return true
}

func (s *shortener) value() {
	n, ok := valueLen(s.in)
	if s.failed || !ok {
		s.failed = true
		return
	}
	s.dst, s.in = append(s.dst, s.in[:n]...), s.in[n:]
}

// valueLen is the length of the value that b begins with: a string, NIL, a number, or a list of those with all that is in it.
func valueLen(b []byte) (int, bool) {
	depth, i := 0, 0
	for i < len(b) {
		switch c := b[i]; c {
		case '(':
			depth++
			i++
		case ')':
			depth--
			i++
		case ' ':
			if depth == 0 {
				return 0, false
			}
			i++
		default:
			n, ok := wordLen(b[i:])
			if !ok {
				return 0, false
			}
			i += n
		}
		if depth <= 0 {
			return i, depth == 0
		}
	}
	return 0, false
}

// wordLen is the length of a quoted string, a literal, NIL or a number.
func wordLen(b []byte) (int, bool) {
	switch b[0] {
	case '"':
		for i := 1; i < len(b); i++ {
			switch b[i] {
			case '\\':
				i++
			case '"':
				return i + 1, true
			}
		}
		return 0, false
	case '{':
		size, _, ok := bytes.Cut(b[1:], []byte("}\r\n"))
		n, err := strconv.ParseUint(string(size[:min(len(size), 20)]), 10, 32)
		total := 1 + len(size) + 3 + int(n)
		return total, ok && err == nil && total <= len(b)
	}
	if n := bytes.IndexAny(b, " ()"); n > 0 {
		return n, true
	}
	return 0, false
}
