package imap

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// needle is a text that is looked for: a substring under the comparator i;unicode-casemap (RFC 5255 section 4.2).
type needle struct {
	folded  []byte
	longest int // bytes that a match may have in text that is not folded yet
}

// newNeedle makes a text ready. One that is not UTF-8 is taken as raw text in messages is, so that it finds itself there.
func newNeedle(s string) needle {
	folded := mime.AppendCasemap(nil, []byte(mime.UTF8([]byte(s))))
	return needle{folded: folded, longest: len(folded) * utf8.UTFMax}
}

// scratch holds what is folded, so that a search over many messages allocates once.
type scratch []byte

func (s *scratch) has(text string, n needle) bool {
	if len(n.folded) == 0 {
		return true
	}
	*s = mime.AppendCasemap((*s)[:0], []byte(text))
	return bytes.Contains(*s, n.folded)
}

// header is a message's header block.
type header struct {
	block []byte
	buf   *scratch
}

// has tells whether a field of that name contains the needle. RFC 9051 section 6.4.4: encoded words are decoded before. One of addresses may have it
// without its comments too.
func (h header) has(field string, n needle, address bool) bool {
	for name, raw := range mime.HeaderFields(h.block) {
		if len(name) == len(field) && strings.EqualFold(string(name), field) {
			value := string(mime.Unfold(nil, mime.FieldValue(raw)))
			if h.buf.has(mime.DecodeHeader(value), n) {
				return true
			}
			if address && strings.Contains(value, "(") && h.buf.has(mime.DecodeHeader(mime.WithoutComments(value)), n) {
				return true
			}
		}
	}
	return false
}

// contains tells whether any field contains the needle, or a line that is none.
func (h header) contains(n needle) bool {
	for name, raw := range mime.HeaderFields(h.block) {
		if h.buf.has(mime.FieldText(name, raw), n) {
			return true
		}
	}
	return false
}

// day is the day of the Date field.
func (h header) day() (int64, bool) {
	for name, raw := range mime.HeaderFields(h.block) {
		if strings.EqualFold(string(name), "Date") {
			t, ok := mime.SentDate(string(mime.Unfold(nil, mime.FieldValue(raw))))
			return sentDay(t), ok
		}
	}
	return 0, false
}

// wanted is a needle of BODY, or with headers of TEXT.
type wanted struct {
	needle
	headers bool // the headers of parts and inner messages are looked at too
}

// textScan looks for all needles of a search at once in the text of a message, which passes by in pieces.
type textScan struct {
	wanted []wanted
	broken func() error // whether to stop in the middle

	// of the message at hand
	body    storage.Body
	index   *mime.Index
	scanned bool
	found   []bool // of each needle
	left    int    // needles not found yet
	err     error

	piece []byte
	buf   scratch
}

// scanPiece is how much text is looked at in one go.
const scanPiece = 32 << 10

// reset begins another message.
func (s *textScan) reset(b storage.Body, x *mime.Index) {
	s.body, s.index, s.scanned, s.err = b, x, false, nil
	s.found = append(s.found[:0], make([]bool, len(s.wanted))...)
	s.left = len(s.wanted)
}

// contains tells whether the message has the needle of that number.
func (s *textScan) contains(slot int) bool {
	if !s.scanned {
		s.scanned = true
		s.mark(func(w *wanted) bool { return len(w.folded) == 0 }) // what is empty is in everything
		s.part(&s.index.Root, true)
	}
	return s.found[slot]
}

// mark notes the needles that are found.
func (s *textScan) mark(found func(*wanted) bool) {
	for i := range s.wanted {
		if !s.found[i] && found(&s.wanted[i]) {
			s.found[i] = true
			s.left--
		}
	}
}

func (s *textScan) part(p *mime.Part, root bool) {
	if s.left == 0 || s.err != nil {
		return
	}
	if !root && slices.ContainsFunc(s.wanted, func(w wanted) bool { return w.headers }) {
		b := make([]byte, min(p.BodyOffset-p.HeaderOffset, mime.SearchHeaderMax))
		k, _ := s.body.ReadAt(b, p.HeaderOffset)
		h := header{b[:k], &s.buf}
		s.mark(func(w *wanted) bool { return w.headers && h.contains(w.needle) })
	}
	for i := range p.Parts {
		s.part(&p.Parts[i], false)
	}
	if p.Searched() {
		s.stream(mime.Text(io.NewSectionReader(s.body, p.BodyOffset, p.End-p.BodyOffset), p))
	}
}

// stream looks for the needles in UTF-8 text. What a match could begin in is carried on to the next piece.
func (s *textScan) stream(r io.Reader) {
	longest := 0
	for _, w := range s.wanted {
		longest = max(longest, w.longest)
	}
	if size := max(scanPiece, 4*longest); len(s.piece) < size {
		s.piece = make([]byte, size)
	}
	used := 0
	for s.left > 0 {
		if s.err = s.broken(); s.err != nil {
			return
		}
		k, err := io.ReadFull(r, s.piece[used:])
		used += k
		end := used
		if err == nil {
			end = mime.WholeRunes(s.piece[:used])
		}
		s.buf = mime.AppendCasemap(s.buf[:0], s.piece[:end])
		s.mark(func(w *wanted) bool { return bytes.Contains(s.buf, w.folded) })
		if err != nil {
			if err != io.EOF && err != io.ErrUnexpectedEOF {
				s.err = err
			}
			return
		}
		keep := used - min(longest+utf8.UTFMax, used)
		for keep < used && !utf8.RuneStart(s.piece[keep]) {
			keep++
		}
		used = copy(s.piece, s.piece[keep:used])
	}
}
