package mime

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decoderOf returns what turns a charset into UTF-8; false for one that is not known. "" and US-ASCII, which are
// what senders of anything say, are UTF-8 where the bytes are valid UTF-8 and Windows-1252 where not.
func decoderOf(charset string) (transform.Transformer, bool) {
	charset = strings.ToLower(strings.TrimSpace(charset))
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "unknown-8bit", "8bit", "x-unknown", "default":
		return lenientUTF8{}, true
	case "iso-8859-8-i", "iso-8859-8-e":
		charset = "iso-8859-8"
	case "utf-7", "unicode-1-1-utf-7":
		return new(utf7), true
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder(), true
	}
	// The names of browsers come first: they know that GB2312 means GBK and ISO-8859-1 Windows-1252.
	if e, err := htmlindex.Get(charset); err == nil && e != encoding.Replacement {
		return e.NewDecoder(), true
	}
	if e, err := ianaindex.MIME.Encoding(charset); err == nil && e != nil {
		return e.NewDecoder(), true
	}
	if n, ok := strings.CutPrefix(charset, "cp"); ok && n != charset {
		if e, err := htmlindex.Get("windows-" + n); err == nil {
			return e.NewDecoder(), true
		}
	}
	return nil, false
}

// toUTF8 converts b; from an unknown charset as if it were none.
func toUTF8(charset string, b []byte) string {
	t, ok := decoderOf(charset)
	if !ok {
		t = lenientUTF8{}
	}
	if _, lenient := t.(lenientUTF8); lenient && utf8.Valid(b) {
		return string(b)
	}
	out, _, err := transform.Bytes(t, b)
	if err != nil {
		out, _, _ = transform.Bytes(lenientUTF8{}, b)
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

// lenientUTF8 passes valid UTF-8 and reads each other byte as Windows-1252.
type lenientUTF8 struct{ transform.NopResetter }

func (lenientUTF8) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		c := src[nSrc]
		if c < utf8.RuneSelf {
			if nDst == len(dst) {
				return nDst, nSrc, transform.ErrShortDst
			}
			dst[nDst] = c
			nDst++
			nSrc++
			continue
		}
		if !atEOF && !utf8.FullRune(src[nSrc:]) {
			return nDst, nSrc, transform.ErrShortSrc
		}
		r, size := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && size == 1 {
			r = charmap.Windows1252.DecodeByte(c)
		}
		if nDst+utf8.UTFMax > len(dst) {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += size
	}
	return nDst, nSrc, nil
}

// UTF8 is text of which no charset is told, in UTF-8: valid UTF-8 as it is, each other byte as Windows-1252.
func UTF8(text []byte) string { return toUTF8("", text) }
