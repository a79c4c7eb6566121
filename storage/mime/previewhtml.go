package mime

import (
	"bytes"
	"html"
	"unicode/utf8"
)

// html goes through HTML and gathers the text that is shown. It is no parser: it knows tags, comments and which elements hold no text, and takes
// linear time whatever comes.
func (w *previewer) html(b []byte) {
	quotes := 0 // open blockquotes
	for len(b) > 0 && !w.text.full() {
		n := bytes.IndexByte(b, '<')
		if n < 0 {
			w.words(b, quotes > 0)
			return
		}
		if n > 0 {
			w.words(b[:n], quotes > 0)
			b = b[n:]
		}
		name, closing, size := tag(b)
		if size == 0 {
			w.words(b[:1], quotes > 0) // a "<" that begins nothing
			b = b[1:]
			continue
		}
		selfClosed := size > 1 && b[size-2] == '/'
		b = b[size:]
		switch {
		case name == "":
		case name == "blockquote" && closing:
			quotes = max(quotes-1, 0)
			w.space()
		case name == "blockquote":
			quotes++
			w.space()
		case !closing && hidden[name]:
			w.space()
			if raw := name == "script" || name == "style"; raw || !selfClosed {
				b = afterElement(b, name)
			}
		case !inline[name]:
			w.space()
		}
	}
}

// words takes text with character references.
func (w *previewer) words(b []byte, quoted bool) {
	g := &w.text
	if quoted {
		g = &w.quoted
	}
	if g.full() {
		return
	}
	for len(b) > 0 && !g.full() {
		n := len(b)
		if n > wordsPiece {
			n = wordsPiece
			for n > 1 && !utf8.RuneStart(b[n]) {
				n--
			}
			// A reference that is cut belongs to the next piece; none has more than 40 bytes.
			if i := bytes.LastIndexByte(b[:n], '&'); i > n-40 {
				n = i
			}
		}
		piece := b[:n]
		if b = b[n:]; bytes.IndexByte(piece, '&') >= 0 {
			piece = []byte(html.UnescapeString(string(piece)))
		}
		g.add(piece)
	}
}

// wordsPiece is how much text is looked at in one go: more than a preview mostly needs.
const wordsPiece = 2 << 10

func (w *previewer) space() { w.text.space, w.quoted.space = true, true }

// hidden are elements whose content is no text, or not shown.
var hidden = map[string]bool{"head": true, "style": true, "script": true, "title": true, "template": true, "noscript": true, "textarea": true,
	"select": true, "svg": true, "object": true, "iframe": true, "noframes": true, "noembed": true, "xmp": true, "math": true, "audio": true, "video": true}

// inline are elements that stand within a word.
var inline = map[string]bool{"a": true, "abbr": true, "acronym": true, "b": true, "bdi": true, "bdo": true, "big": true, "cite": true, "code": true,
	"del": true, "dfn": true, "em": true, "font": true, "i": true, "ins": true, "kbd": true, "mark": true, "nobr": true, "q": true, "s": true,
	"samp": true, "small": true, "span": true, "strike": true, "strong": true, "sub": true, "sup": true, "tt": true, "u": true, "var": true, "wbr": true,
	"o:p": true}

// tag reads what begins with "<": the name of a tag in lowercase, empty for comments and declarations; size 0 when it is none. What does not end
// reaches to the end.
func tag(b []byte) (name string, closing bool, size int) {
	rest := b[1:]
	switch {
	case bytes.HasPrefix(rest, []byte("!--")):
		if n := bytes.Index(b[2:], []byte("-->")); n >= 0 {
			return "", false, 2 + n + 3
		}
		return "", false, len(b)
	case len(rest) > 0 && (rest[0] == '!' || rest[0] == '?'):
		if n := bytes.IndexByte(b, '>'); n >= 0 {
			return "", false, n + 1
		}
		return "", false, len(b)
	case len(rest) > 0 && rest[0] == '/':
		closing, rest = true, rest[1:]
	}
	if len(rest) == 0 || lowerByte(rest[0])-'a' >= 26 {
		return "", false, 0
	}
	var lower [12]byte
	n := 0
	for n < len(rest) && n < len(lower) && !isSpace(rest[n]) && rest[n] != '>' && rest[n] != '/' {
		lower[n] = lowerByte(rest[n])
		n++
	}
	return string(lower[:n]), closing, len(b) - len(rest) + tagEnd(rest)
}

// tagEnd is where a tag ends: behind the first ">" that is not in quotes.
func tagEnd(b []byte) int {
	quote := byte(0)
	for i, c := range b {
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '>':
			return i + 1
		case (c == '"' || c == '\'') && i > 0 && (b[i-1] == '=' || isSpace(b[i-1])):
			quote = c
		}
	}
	if n := bytes.IndexByte(b, '>'); n >= 0 {
		return n + 1 // the quote is one too many
	}
	return len(b)
}

// afterElement passes over the content of an element and its end tag. The body ends a head that is not closed.
func afterElement(b []byte, name string) []byte {
	for {
		n := bytes.IndexByte(b, '<')
		if n < 0 {
			return nil
		}
		b = b[n:]
		end := len("</") + len(name)
		switch {
		case len(b) >= end && b[1] == '/' && equalFold(b[2:end], name):
			return b[end+tagEnd(b[end:]):]
		case name == "head" && len(b) >= 5 && equalFold(b[1:5], "body"):
			return b
		case bytes.HasPrefix(b, []byte("<!--")) && name == "head":
			_, _, n = tag(b)
			b = b[n:]
		default:
			b = b[1:]
		}
	}
}
