package mime

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Bounds of a preview.
const (
	previewRunes = 200       // RFC 8970 section 3.3: the text should be limited to 200 characters
	previewPlain = 16 << 10  // bytes of a plain text that are looked at
	previewHTML  = 256 << 10 // bytes of HTML, which may begin with much that is not shown
	previewParts = 8         // parts that are looked at until one has text
)

// AppendPreview appends the beginning of a message's text: at most 200 characters of UTF-8 on one line, without markup and without what is quoted of other
// messages unless there is nothing else. Nothing is appended when there is no text to show: an image, an encrypted message. r reads
// the message of the index.
func AppendPreview(dst []byte, r io.ReaderAt, x *Index) []byte {
	var parts [previewParts]*Part
	start := len(dst)
	for _, p := range textParts(parts[:0], &x.Root) {
		if dst = appendPartPreview(dst, r, p); len(dst) > start {
			break
		}
	}
	return dst
}

// textParts appends the parts that may be shown, the best first.
func textParts(list []*Part, p *Part) []*Part {
	if len(list) == previewParts || p.Disposition == "attachment" {
		return list
	}
	switch {
	case p.Type == "multipart" && p.Subtype == "encrypted":
	case p.Type == "multipart" && p.Subtype == "alternative":
		// RFC 2046 section 5.1.4 puts the plainest first, but not everybody does.
		for _, html := range [...]bool{false, true} {
			for i := range p.Parts {
				if (p.Parts[i].Type == "text" && p.Parts[i].Subtype == "plain") != html {
					list = textParts(list, &p.Parts[i])
				}
			}
		}
	case len(p.Parts) > 0:
		for i := range p.Parts {
			list = textParts(list, &p.Parts[i])
		}
	case p.Type == "text" && (p.Subtype == "plain" || p.Subtype == "html" || p.Subtype == "markdown"):
		list = append(list, p)
	}
	return list[:min(len(list), previewParts)]
}

// ReadDispositions sets the Disposition of the first parts, which the compact form of an index does not keep. r reads the message.
func (x *Index) ReadDispositions(r io.ReaderAt) {
	left := maxDispositions
	x.Root.readDispositions(r, &left)
}

// What is looked at for dispositions: so many parts, so much of each one's header.
const (
	maxDispositions   = 64
	dispositionHeader = 4 << 10
)

func (p *Part) readDispositions(r io.ReaderAt, left *int) {
	if *left--; *left < 0 {
		return
	}
	head := make([]byte, min(p.BodyOffset-p.HeaderOffset, dispositionHeader))
	n, _ := r.ReadAt(head, p.HeaderOffset)
	for name, raw := range HeaderFields(head[:n]) {
		if equalFold(name, "content-disposition") {
			word, _ := token(Unfold(nil, FieldValue(raw)))
			p.Disposition = strings.ToLower(string(word))
			break
		}
	}
	for i := range p.Parts {
		p.Parts[i].readDispositions(r, left)
	}
}

// previewer makes a preview of text that comes in pieces.
type previewer struct {
	text   gist // what is not quoted
	quoted gist // and what is
	buf    []byte
}

var previewers = sync.Pool{New: func() any { return new(previewer) }}

func appendPartPreview(dst []byte, r io.ReaderAt, p *Part) []byte {
	w := previewers.Get().(*previewer)
	defer previewers.Put(w)
	size := p.End - p.BodyOffset
	limit := int64(previewPlain)
	if p.Subtype == "html" {
		limit = previewHTML
	}
	limit = min(limit, size)
	done := false
	if identity(p.Encoding) && isUTF8(p.Param("charset")) {
		// Mostly the beginning suffices.
		for n := min(limit, 1<<10); !done; n = min(limit, 16*n) {
			if !w.direct(r, p, int(n)) {
				break
			}
			done = w.text.full() || n == limit
		}
	}
	if !done {
		// Encoded text is at least as long as what it stands for, up to three times in quoted-printable.
		w.look(p, w.read(io.NewSectionReader(r, p.BodyOffset, min(size, 3*limit)), p, int(limit)))
	}
	if len(w.text.b) > 0 {
		return append(dst, w.text.b...)
	}
	return append(dst, w.quoted.b...)
}

// direct looks at the first n bytes of a part whose text lies there as it is; false when it turns out to be no UTF-8.
func (w *previewer) direct(r io.ReaderAt, p *Part, n int) bool {
	buf := w.room(n)
	k, _ := r.ReadAt(buf[:n], p.BodyOffset)
	text := wholeRunes(buf[:k])
	if !utf8.Valid(text) {
		return false
	}
	w.look(p, text)
	return true
}

// room is a buffer for n bytes; a large one is not kept.
func (w *previewer) room(n int) []byte {
	if n > previewPlain {
		return make([]byte, n)
	}
	if cap(w.buf) < n {
		w.buf = make([]byte, max(n, 1<<10))
	}
	return w.buf[:n]
}

// wholeRunes is UTF-8 without the beginning of a character at its end.
func wholeRunes(b []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return b[:len(b)-i]
			}
			break
		}
	}
	return b
}

// look makes the preview of a text.
func (w *previewer) look(p *Part, text []byte) {
	w.text.reset()
	w.quoted.reset()
	if p.Subtype == "html" {
		w.html(text)
	} else {
		w.plain(text)
	}
}

// read gives at most limit bytes of the part's text in UTF-8.
func (w *previewer) read(section *io.SectionReader, p *Part, limit int) []byte {
	buf := w.room(limit)
	n, _ := io.ReadFull(Text(section, p), buf)
	return wholeRunes(buf[:n])
}

func isUTF8(charset string) bool {
	return charset == "" || strings.EqualFold(charset, "utf-8") || strings.EqualFold(charset, "us-ascii")
}

// plain goes through plain text line by line.
func (w *previewer) plain(text []byte) {
	for len(text) > 0 && !w.text.full() {
		line := text
		if n := bytes.IndexByte(text, '\n'); n >= 0 {
			line, text = text[:n+1], text[n+1:]
		} else {
			text = nil
		}
		switch {
		case line[0] == '>':
			w.quoted.add(bytes.TrimLeft(line, "> "))
		case bytes.HasPrefix(line, []byte("-----BEGIN PGP MESSAGE-----")):
			return // what follows is encrypted
		case bytes.HasPrefix(line, []byte("-----BEGIN PGP SIGNED MESSAGE-----")):
			// the armor's own header ends with an empty line
			if n := bytes.Index(text, []byte("\n\r\n")); n >= 0 {
				text = text[n+3:]
			} else if n := bytes.Index(text, []byte("\n\n")); n >= 0 {
				text = text[n+2:]
			}
		case bytes.HasPrefix(line, []byte("-- ")) && len(bytes.TrimRight(line, "\r\n")) == 3 && len(w.text.b) > 0:
			return // the signature
		default:
			w.text.add(line)
		}
	}
}

// gist is the beginning of a text: its words with single spaces between.
type gist struct {
	b     []byte
	runes int
	space bool
}

func (g *gist) reset() { g.b, g.runes, g.space = g.b[:0], 0, false }

func (g *gist) full() bool { return g.runes >= previewRunes }

// add takes UTF-8.
func (g *gist) add(text []byte) {
	for i := 0; i < len(text) && !g.full(); {
		r, n := rune(text[i]), 1
		if r >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		i += n
		switch {
		case r == ' ' || r < ' ' && unicode.IsSpace(r) || r >= utf8.RuneSelf && unicode.IsSpace(r):
			g.space = true
		case r < ' ' || r == 0x7f || r >= utf8.RuneSelf && !shown(r):
		default:
			if g.space && len(g.b) > 0 {
				if g.b, g.runes = append(g.b, ' '), g.runes+1; g.full() {
					g.b, g.runes = g.b[:len(g.b)-1], previewRunes
					return
				}
			}
			g.b, g.runes, g.space = utf8.AppendRune(g.b, r), g.runes+1, false
		}
	}
}

// shown tells whether a character is one that is seen or joins others. What fills newsletters up invisibly and what turns the direction of text
// is neither.
func shown(r rune) bool {
	switch {
	case r == 0x00AD || r == 0x034F || r == 0xFEFF || r == utf8.RuneError:
		return false
	case r == 0x200B || r == 0x200E || r == 0x200F || 0x2028 <= r && r <= 0x202E || 0x2060 <= r && r <= 0x206F || r == 0x061C || r == 0x180E:
		return false
	case r == 0x200C || r == 0x200D:
		return true
	}
	return !unicode.IsControl(r)
}
