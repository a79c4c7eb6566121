package mime

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// SearchHeaderMax is how many bytes of a header block a search looks at.
const SearchHeaderMax = 1 << 20

// searchTextMax is how many bytes of headers, and of texts, a SearchText holds.
const searchTextMax = 1 << 20

// SearchVersion changes with what a SearchText holds of a message.
const SearchVersion = "2"

// SearchText is all that SEARCH looks at in a message, as the text index keeps it: prepared with AppendCasemap, with the byte 0xff, which is
// none of UTF-8, behind each line of a header and between the texts of a body.
type SearchText struct {
	Fields []byte // FieldText of the message's own header
	Forms  []byte // with 0x01 before it: the same without comments
	Inner  []byte // of the headers of parts and inner messages, as Fields
	Body   []byte // the parts that are Searched
	More   bool   // not all of Inner or Body is here: they were too long
	Opaque bool   // the header is too long to be kept

	line, piece []byte
}

const searchSeparator = 0xff

// Read reads the text of a message. An error is r's.
func (t *SearchText) Read(r io.ReaderAt, x *Index) error {
	t.Fields, t.Forms, t.Inner, t.Body, t.More, t.Opaque = t.Fields[:0], t.Forms[:0], t.Inner[:0], t.Body[:0], false, false
	block, err := readBlock(r, 0, x.Root.BodyOffset)
	if err != nil {
		return err
	}
	for name, raw := range HeaderFields(block) {
		t.field(name, raw)
	}
	if len(t.Fields)+len(t.Forms) > searchTextMax {
		t.Opaque = true
	}
	if t.Opaque {
		return nil
	}
	return t.part(r, &x.Root, true)
}

// readBlock reads a header block, or its beginning.
func readBlock(r io.ReaderAt, from, to int64) ([]byte, error) {
	b := make([]byte, min(to-from, SearchHeaderMax))
	n, err := r.ReadAt(b, from)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return b[:n], err
}

// field adds the forms of a field of the message's own header.
func (t *SearchText) field(name, raw []byte) {
	t.Fields = t.appendLine(t.Fields, FieldText(name, raw))
	if len(name) > 0 && bytes.IndexByte(raw, '(') >= 0 {
		t.Forms = t.appendLine(t.Forms, "\x01"+string(name)+": "+DecodeHeader(WithoutComments(string(Unfold(nil, FieldValue(raw))))))
	}
}

// FieldText is a field of HeaderFields as SEARCH TEXT sees it: "NAME: VALUE" with encoded words decoded. A line that is no field comes behind a
// space, which no name begins with.
func FieldText(name, raw []byte) string {
	if len(name) == 0 {
		return " " + DecodeHeader(string(Unfold(nil, trimSpace(raw))))
	}
	return string(name) + ": " + DecodeHeader(string(Unfold(nil, FieldValue(raw))))
}

// Searched tells whether SEARCH BODY and TEXT look into the part: texts, and reports and the like (RFC 3464) which are shown as text.
func (p *Part) Searched() bool { return len(p.Parts) == 0 && (p.Type == "text" || p.Type == "message") }

func (t *SearchText) appendLine(dst []byte, line string) []byte {
	t.line = append(t.line[:0], line...)
	return append(AppendCasemap(dst, t.line), searchSeparator)
}

// part adds the headers below a part and its texts.
func (t *SearchText) part(r io.ReaderAt, p *Part, root bool) error {
	if !root && len(t.Inner) < searchTextMax {
		block, err := readBlock(r, p.HeaderOffset, p.BodyOffset)
		if err != nil {
			return err
		}
		for name, raw := range HeaderFields(block) {
			t.Inner = t.appendLine(t.Inner, FieldText(name, raw))
		}
		t.Inner = t.limit(t.Inner)
	} else if !root {
		t.More = true
	}
	for i := range p.Parts {
		if err := t.part(r, &p.Parts[i], false); err != nil {
			return err
		}
	}
	if p.Searched() {
		return t.text(Text(io.NewSectionReader(r, p.BodyOffset, p.End-p.BodyOffset), p))
	}
	return nil
}

// text adds the text of a part.
func (t *SearchText) text(r io.Reader) error {
	if len(t.Body) >= searchTextMax {
		t.More = true
		return nil
	}
	if len(t.Body) > 0 {
		t.Body = append(t.Body, searchSeparator)
	}
	if t.piece == nil {
		t.piece = make([]byte, 32<<10)
	}
	rest := 0 // bytes of a character that is not whole
	for {
		n, err := r.Read(t.piece[rest:])
		n += rest
		end := n
		if err == nil {
			end = WholeRunes(t.piece[:n])
		}
		t.Body = AppendCasemap(t.Body, t.piece[:end])
		rest = copy(t.piece, t.piece[end:n])
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return err
		case len(t.Body) > searchTextMax:
			t.Body = t.limit(t.Body)
			return nil
		case err != nil:
			return nil
		}
	}
}

// limit cuts a text that is too long.
func (t *SearchText) limit(b []byte) []byte {
	if len(b) <= searchTextMax {
		return b
	}
	t.More = true
	return b[:searchTextMax]
}

// WholeRunes is how much of b has no character cut at its end.
func WholeRunes(b []byte) int {
	for i := len(b) - 1; i >= max(0, len(b)-utf8.UTFMax); i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return i
			}
			break
		}
	}
	return len(b)
}
