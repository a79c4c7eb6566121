package imap

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// needle is a text that is looked for: a substring, without regard to case (RFC 9051 section 6.4.4).
type needle struct {
	folded  []byte
	longest int // bytes that a match may have in text that is not folded yet
}

func newNeedle(s string) needle {
	return needle{folded: appendFold(nil, []byte(s)), longest: utf8.RuneCountInString(s) * utf8.UTFMax}
}

// appendFold appends text so that texts which differ in case only become equal.
func appendFold(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c-'A' < 26 {
				c |= 0x20
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		dst = utf8.AppendRune(dst, unicode.ToLower(unicode.ToUpper(r)))
		i += n
	}
	return dst
}

// scratch holds what is folded, so that a search over many messages allocates once.
type scratch []byte

func (s *scratch) has(text string, n needle) bool {
	if len(n.folded) == 0 {
		return true
	}
	*s = appendFold((*s)[:0], []byte(text))
	return bytes.Contains(*s, n.folded)
}

// header is a message's header block.
type header struct {
	block []byte
	buf   *scratch
}

// has tells whether a field of that name contains the needle, decoded (RFC 2047) or as it stands there.
func (h header) has(field string, n needle) bool {
	for name, raw := range mime.HeaderFields(h.block) {
		if len(name) == len(field) && strings.EqualFold(string(name), field) {
			value := string(mime.Unfold(nil, mime.FieldValue(raw)))
			if h.buf.has(mime.DecodeHeader(value), n) || strings.Contains(value, "=?") && h.buf.has(value, n) {
				return true
			}
		}
	}
	return false
}

// contains tells whether any field contains the needle.
func (h header) contains(n needle) bool {
	for name, raw := range mime.HeaderFields(h.block) {
		value := string(mime.Unfold(nil, mime.FieldValue(raw)))
		if len(name) > 0 && h.buf.has(string(name)+": "+mime.DecodeHeader(value), n) {
			return true
		}
	}
	return false
}

// day is the day of the Date field.
func (h header) day() (int64, bool) {
	for name, raw := range mime.HeaderFields(h.block) {
		if strings.EqualFold(string(name), "Date") {
			t, ok := mime.ParseDate(string(mime.Unfold(nil, mime.FieldValue(raw))))
			return sentDay(t), ok
		}
	}
	return 0, false
}

// textScan looks for needles in the text of a message, which passes by in pieces.
type textScan struct {
	body  storage.Body
	index *mime.Index
	err   error
	piece []byte
	buf   scratch
}

// scanPiece is how much text is looked at in one go.
const scanPiece = 32 << 10

// contains looks into the text parts and with headers into the headers of all parts and inner messages too.
func (s *textScan) contains(n needle, headers bool) bool {
	return s.part(&s.index.Root, n, headers, true)
}

func (s *textScan) part(p *mime.Part, n needle, headers, root bool) bool {
	if headers && !root {
		b := make([]byte, min(p.BodyOffset-p.HeaderOffset, headerMax))
		k, _ := s.body.ReadAt(b, p.HeaderOffset)
		if (header{b[:k], &s.buf}).contains(n) {
			return true
		}
	}
	for i := range p.Parts {
		if s.part(&p.Parts[i], n, headers, false) {
			return true
		}
	}
	if len(p.Parts) > 0 || p.Type != "text" || s.err != nil {
		return false
	}
	return s.stream(mime.Text(io.NewSectionReader(s.body, p.BodyOffset, p.End-p.BodyOffset), p), n)
}

// stream looks for the needle in UTF-8 text. What a match could begin in is carried on to the next piece.
func (s *textScan) stream(r io.Reader, n needle) bool {
	if size := max(scanPiece, 4*n.longest); len(s.piece) < size {
		s.piece = make([]byte, size)
	}
	used := 0
	for {
		k, err := io.ReadFull(r, s.piece[used:])
		used += k
		s.buf = appendFold(s.buf[:0], s.piece[:used])
		if bytes.Contains(s.buf, n.folded) {
			return true
		}
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				s.err = err
			}
			return false
		}
		keep := used - min(n.longest+utf8.UTFMax, used)
		for keep < used && !utf8.RuneStart(s.piece[keep]) {
			keep++
		}
		used = copy(s.piece, s.piece[keep:used])
	}
}
