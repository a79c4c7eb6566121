package mime

import (
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/transform"
)

// utf7 reads UTF-7 (RFC 2152), which old mailers wrote. What is none of it becomes U+FFFD.
type utf7 struct {
	shifted bool   // behind a "+"
	empty   bool   // at once behind it
	bits    uint32 // of the base64 text, which make no unit yet
	n       uint
	high    rune // the first half of a surrogate pair
}

func (u *utf7) Reset() { *u = utf7{} }

func (u *utf7) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		if len(dst)-nDst < 3*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		switch v := sextet[c]; {
		case u.shifted && v != noValue && c < utf8.RuneSelf:
			u.empty = false
			u.bits, u.n = u.bits<<6|uint32(v), u.n+6
			if u.n >= 16 {
				u.n -= 16
				nDst += u.unit(dst[nDst:], rune(u.bits>>u.n&0xffff))
			}
			continue
		case u.shifted:
			plus := u.empty && c == '-'
			nDst += u.lone(dst[nDst:])
			u.Reset()
			if plus {
				c = '+'
			} else if c == '-' {
				continue
			}
		case c == '+':
			u.shifted, u.empty = true, true
			continue
		}
		r := rune(c)
		if c >= utf8.RuneSelf {
			r = utf8.RuneError
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
	}
	return nDst, nSrc, nil
}

// unit writes what a 16-bit unit completes.
func (u *utf7) unit(dst []byte, r rune) int {
	if u.high != 0 {
		if pair := utf16.DecodeRune(u.high, r); pair != utf8.RuneError {
			u.high = 0
			return utf8.EncodeRune(dst, pair)
		}
	}
	n := u.lone(dst)
	if r >= 0xd800 && r < 0xdc00 {
		u.high = r
		return n
	}
	return n + utf8.EncodeRune(dst[n:], r)
}

// lone writes U+FFFD for the half of a pair that waits.
func (u *utf7) lone(dst []byte) int {
	if u.high == 0 {
		return 0
	}
	u.high = 0
	return utf8.EncodeRune(dst, utf8.RuneError)
}
