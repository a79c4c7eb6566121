package mime

import (
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Syllables of Hangul are decomposed by arithmetic (Unicode section 3.12).
const (
	hangulFirst, hangulLast                 = 0xAC00, 0xD7A3
	leadFirst, vowelFirst, trailFirst       = 0x1100, 0x1161, 0x11A7
	vowelCount, trailCount            int32 = 21, 28
)

// casemapped has what the runes below its length become: Latin, Greek, Cyrillic and their neighbours.
var casemapped = sync.OnceValue(func() *[0x600]string {
	t := new([0x600]string)
	for r := range t {
		t[r] = string(appendCasemapRune(nil, rune(r)))
	}
	return t
})

// AppendCasemap appends text, which is UTF-8, as the comparator i;unicode-casemap prepares it: what is equal, contained or ordered
// afterwards octet by octet is so under the comparator. RFC 5051 section 2: each character is put into title case (the simple mapping: ß
// stays ß and is not SS) and then decomposed in full, without putting marks in order. Octets that are not UTF-8 stay as they are, so that texts
// with such are compared octet by octet there (RFC 5255 section 4.6). The result may be longer than text, at most eleven times.
func AppendCasemap(dst, text []byte) []byte {
	var table *[0x600]string
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			j := i + 1
			for j < len(text) && text[j] < utf8.RuneSelf {
				j++
			}
			dst = appendUpper(dst, text[i:j])
			i = j
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			dst = append(dst, text[i])
		case r < 0x600:
			if table == nil {
				table = casemapped()
			}
			dst = append(dst, table[r]...)
		default:
			dst = appendCasemapRune(dst, r)
		}
		i += n
	}
	return dst
}

// appendUpper appends ASCII in upper case.
func appendUpper(dst, text []byte) []byte {
	start := len(dst)
	dst = append(dst, text...)
	for i, c := range dst[start:] {
		if c-'a' < 26 {
			dst[start+i] = c - ('a' - 'A')
		}
	}
	return dst
}

func appendCasemapRune(dst []byte, r rune) []byte {
	r = unicode.ToTitle(r)
	if r >= hangulFirst && r <= hangulLast {
		s := r - hangulFirst
		dst = utf8.AppendRune(dst, leadFirst+s/(vowelCount*trailCount))
		dst = utf8.AppendRune(dst, vowelFirst+s%(vowelCount*trailCount)/trailCount)
		if t := s % trailCount; t != 0 {
			dst = utf8.AppendRune(dst, trailFirst+t)
		}
		return dst
	}
	var b [utf8.UTFMax]byte
	p := b[:utf8.EncodeRune(b[:], r)]
	if d := norm.NFKD.Properties(p).Decomposition(); d != nil {
		return append(dst, d...)
	}
	return append(dst, p...)
}
