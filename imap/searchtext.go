package imap

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/mail"
	"strings"
	"unicode"
	"unicode/utf8"

	stdmime "mime"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// needle is a text that is looked for: a substring, without regard to case.
type needle string

func newNeedle(s string) needle { return needle(fold(s)) }

// fold makes two texts equal that differ in case only.
func fold(s string) string {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return strings.Map(func(r rune) rune { return unicode.ToLower(unicode.ToUpper(r)) }, s)
		}
	}
	return strings.ToLower(s)
}

func (n needle) in(s string) bool {
	return n == "" || strings.Contains(fold(s), string(n))
}

// header is a message's header block.
type header struct{ block []byte }

// each yields the fields, unfolded.
func (h header) each(yield func(name, value string) bool) {
	rest := h.block
	for len(rest) > 0 {
		end := 0
		for {
			i := bytes.IndexByte(rest[end:], '\n')
			if i < 0 {
				end = len(rest)
				break
			}
			end += i + 1
			if end == len(rest) || rest[end] != ' ' && rest[end] != '\t' {
				break
			}
		}
		name, value, ok := strings.Cut(string(rest[:end]), ":")
		rest = rest[end:]
		if ok && !yield(strings.TrimRight(name, " \t"), unfold(value)) {
			return
		}
	}
}

var crlf = strings.NewReplacer("\r\n", "", "\n", "")

func unfold(s string) string { return strings.TrimSpace(crlf.Replace(s)) }

var words = new(stdmime.WordDecoder)

func decodeHeader(s string) string {
	d, err := words.DecodeHeader(s)
	if err != nil {
		return s
	}
	return d
}

// has tells whether a field of that name contains the needle.
func (h header) has(field string, n needle) bool {
	for name, value := range h.each {
		if strings.EqualFold(name, field) && (n.in(decodeHeader(value)) || n.in(value)) {
			return true
		}
	}
	return false
}

// contains tells whether any field contains the needle.
func (h header) contains(n needle) bool {
	for name, value := range h.each {
		if n.in(name + ": " + decodeHeader(value)) {
			return true
		}
	}
	return false
}

// day is the day of the Date field.
func (h header) day() (int64, bool) {
	for name, value := range h.each {
		if strings.EqualFold(name, "Date") {
			t, err := mail.ParseDate(value)
			return sentDay(t), err == nil
		}
	}
	return 0, false
}

// textScan looks for needles in the text of a message.
type textScan struct {
	body  storage.Body
	index *mime.Index
	err   error
}

func (s *textScan) contains(n needle, headers bool) bool {
	return s.part(&s.index.Root, n, headers, true)
}

func (s *textScan) part(p *mime.Part, n needle, headers, root bool) bool {
	if headers && !root {
		b := make([]byte, min(p.BodyOffset-p.HeaderOffset, headerMax))
		k, _ := s.body.ReadAt(b, p.HeaderOffset)
		if (header{block: b[:k]}).contains(n) {
			return true
		}
	}
	for i := range p.Parts {
		if s.part(&p.Parts[i], n, headers, false) {
			return true
		}
	}
	if len(p.Parts) > 0 || p.Type != "text" {
		return false
	}
	b, err := io.ReadAll(io.NewSectionReader(s.body, p.BodyOffset, p.End-p.BodyOffset))
	if err != nil {
		s.err = err
	}
	return n.in(string(b))
}
