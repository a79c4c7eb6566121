package mime

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// DecodeHeader turns a field value into UTF-8: RFC 2047 encoded words, also inside quotes, also with the characters of one
// split between words, and raw 8-bit text. An encoded word of an unknown charset or encoding stays as it is. CR, LF and
// NUL are left out, whether encoded or not.
func DecodeHeader(s string) string {
	if !strings.Contains(s, "=?") {
		return clean(plain(s))
	}
	var out strings.Builder
	out.Grow(len(s))
	var pending []byte // decoded bytes of adjacent words in charset
	charset := ""
	flush := func() {
		if len(pending) > 0 {
			out.WriteString(toUTF8(charset, pending))
			pending = pending[:0]
		}
	}
	after := false // an encoded word has just ended
	for s != "" {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, ok := encodedWord(s[i:])
		if !ok {
			flush()
			out.WriteString(plain(s[:i+2]))
			s, after = s[i+2:], false
			continue
		}
		// RFC 2047 section 6.2: white space between adjacent encoded words is not shown.
		if i > 0 && !(after && strings.Trim(s[:i], " \t\r\n") == "") {
			flush()
			out.WriteString(plain(s[:i]))
		}
		if !strings.EqualFold(w.charset, charset) {
			flush()
			charset = w.charset
		}
		pending = w.decode(pending)
		s, after = s[i+w.size:], true
	}
	flush()
	out.WriteString(plain(s))
	return clean(out.String())
}

// plain makes raw text UTF-8.
func plain(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return toUTF8("", []byte(s))
}

type encodedText struct {
	charset, text string
	base64        bool
	size          int // of the whole word
}

// encodedWord reads "=?charset?encoding?text?=" at the beginning of s. Every search ends at the next question mark.
func encodedWord(s string) (w encodedText, ok bool) {
	rest := s[2:]
	i := strings.IndexByte(rest, '?')
	if i <= 0 || i > 64 || i+2 >= len(rest) || rest[i+2] != '?' {
		return w, false
	}
	w.charset, _, _ = strings.Cut(rest[:i], "*") // RFC 2231 section 5: charset*language
	switch rest[i+1] {
	case 'B', 'b':
		w.base64 = true
	case 'Q', 'q':
	default:
		return w, false
	}
	if _, known := decoderOf(w.charset); !known {
		return w, false
	}
	rest = rest[i+3:]
	i = strings.IndexByte(rest, '?')
	if i < 0 || i+1 == len(rest) || rest[i+1] != '=' {
		return w, false
	}
	w.text = rest[:i]
	w.size = len(s) - len(rest) + i + 2
	return w, true
}

func (w *encodedText) decode(dst []byte) []byte {
	if w.base64 {
		clean := strings.Map(func(r rune) rune {
			if r > 0x7f || sextet[byte(r)] > 63 {
				return -1
			}
			return r
		}, w.text)
		if len(clean)%4 == 1 {
			clean = clean[:len(clean)-1]
		}
		dst, _ = base64.RawStdEncoding.AppendDecode(dst, []byte(clean))
		return dst
	}
	for i := 0; i < len(w.text); i++ {
		c := w.text[i]
		if c == '_' {
			c = ' '
		} else if c == '=' && i+2 < len(w.text) {
			if h, l := unhex[w.text[i+1]], unhex[w.text[i+2]]; h < 16 && l < 16 {
				c = h<<4 | l
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// clean takes CR, LF and NUL out of what was decoded: nothing may be a line of its own, or end, in a protocol or a name.
func clean(s string) string {
	if !strings.ContainsAny(s, "\r\n\x00") {
		return s
	}
	return string(Unfold(nil, []byte(s)))
}
