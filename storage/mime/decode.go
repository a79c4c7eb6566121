package mime

import (
	"bytes"
	"io"
	"strings"

	"golang.org/x/text/transform"
)

// Decoder returns what r holds without its Content-Transfer-Encoding, in pieces, and false for an encoding that is not known
// (RFC 9051 section 6.4.5: UNKNOWN-CTE). Both decoders make the best of broken data and fail only with r: base64 skips what is not in its
// alphabet and ends at the padding, quoted-printable keeps a "=" that begins nothing.
func Decoder(r io.Reader, encoding string) (io.Reader, bool) {
	switch encoding = strings.ToLower(strings.TrimSpace(encoding)); {
	case identity(encoding):
		return r, true
	case encoding == "base64":
		return transform.NewReader(r, new(base64Decoder)), true
	case encoding == "quoted-printable":
		return transform.NewReader(r, new(qpDecoder)), true
	}
	return nil, false
}

// Text returns the text of a text/* part in UTF-8, in pieces, where r holds the part's body: without its transfer encoding and
// converted from its charset. What cannot be decoded comes as it is; invalid UTF-8 does not come out.
func Text(r io.Reader, p *Part) io.Reader {
	if d, ok := Decoder(r, p.Encoding); ok {
		r = d
	}
	t, ok := decoderOf(p.Param("charset"))
	if !ok {
		t = lenientUTF8{}
	}
	return transform.NewReader(r, t)
}

const noValue = 0xff

// sextet is the value of each base64 character.
var sextet = func() (t [256]byte) {
	for i := range t {
		t[i] = noValue
	}
	for i, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/" {
		t[c] = byte(i)
	}
	return t
}()

// unhex is the value of each hexadecimal digit, lowercase too (RFC 2045 section 6.7 forbids it, mailers write it).
var unhex = func() (t [256]byte) {
	for i := range t {
		t[i] = noValue
	}
	for i, c := range "0123456789ABCDEF" {
		t[c] = byte(i)
		t[c|0x20] = byte(i)
	}
	return t
}()

// base64Decoder decodes RFC 2045 section 6.8. It keeps what is left of a group of four.
type base64Decoder struct {
	bits uint32
	n    int // characters in bits
	done bool
}

func (d *base64Decoder) Reset() { *d = base64Decoder{} }

func (d *base64Decoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) && !d.done {
		if d.n == 0 {
			// Whole groups without anything between them.
			for len(src)-nSrc >= 4 && len(dst)-nDst >= 3 {
				a, b, c, e := sextet[src[nSrc]], sextet[src[nSrc+1]], sextet[src[nSrc+2]], sextet[src[nSrc+3]]
				if a|b|c|e > 63 {
					break
				}
				v := uint32(a)<<18 | uint32(b)<<12 | uint32(c)<<6 | uint32(e)
				dst[nDst], dst[nDst+1], dst[nDst+2] = byte(v>>16), byte(v>>8), byte(v)
				nSrc, nDst = nSrc+4, nDst+3
			}
			if nSrc == len(src) {
				break
			}
		}
		if len(dst)-nDst < 3 {
			return nDst, nSrc, transform.ErrShortDst
		}
		c := src[nSrc]
		nSrc++
		if v := sextet[c]; v <= 63 {
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 4 {
				dst[nDst], dst[nDst+1], dst[nDst+2] = byte(d.bits>>16), byte(d.bits>>8), byte(d.bits)
				nDst += 3
				d.n, d.bits = 0, 0
			}
		} else if c == '=' {
			// RFC 2045 section 6.8: padding tells that the end has been reached.
			nDst += d.flush(dst[nDst:])
			d.done = true
		}
	}
	if d.done {
		return nDst, len(src), nil
	}
	if atEOF {
		if len(dst)-nDst < 2 {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += d.flush(dst[nDst:])
		d.done = true
	}
	return nDst, nSrc, nil
}

// flush writes the one or two bytes of an incomplete group.
func (d *base64Decoder) flush(dst []byte) int {
	n := d.n
	bits := d.bits
	d.n, d.bits = 0, 0
	switch n {
	case 2:
		dst[0] = byte(bits >> 4)
		return 1
	case 3:
		dst[0], dst[1] = byte(bits>>10), byte(bits>>2)
		return 2
	}
	return 0
}

// qpDecoder decodes RFC 2045 section 6.7. It keeps nothing: what it cannot decide without what follows it leaves to the next call.
type qpDecoder struct{ transform.NopResetter }

// maxBlanks is how much white space is looked through for the line end behind it.
const maxBlanks = 1000

func (*qpDecoder) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		n := 0
		for rest := src[nSrc:]; n < len(rest) && !isQP[rest[n]]; n++ {
		}
		if n > 0 {
			k := copy(dst[nDst:], src[nSrc:nSrc+n])
			nDst, nSrc = nDst+k, nSrc+k
			if k < n {
				return nDst, nSrc, transform.ErrShortDst
			}
			continue
		}
		out, size, ok := qpSpecial(src[nSrc:], atEOF)
		if !ok {
			return nDst, nSrc, transform.ErrShortSrc
		}
		if len(out) > len(dst)-nDst {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += copy(dst[nDst:], out)
		nSrc += size
	}
	return nDst, nSrc, nil
}

// isQP are the bytes at which something begins.
var isQP = [256]bool{'=': true, ' ': true, '\t': true}

// qpSpecial decodes what begins with "=" or white space: what comes of it, and how long it is; not ok when more must be seen.
func qpSpecial(src []byte, atEOF bool) (out []byte, size int, ok bool) {
	if src[0] == '=' && len(src) > 1 && unhex[src[1]] < 16 {
		if len(src) == 2 {
			return src[:1], 1, atEOF
		}
		if l := unhex[src[2]]; l < 16 {
			i := int(unhex[src[1]]<<4 | l)
			return everyByte[i : i+1], 3, true
		}
		return src[:1], 1, true
	}
	i := 1
	for i < len(src) && i < maxBlanks && (src[i] == ' ' || src[i] == '\t') {
		i++
	}
	lineEnd := i < len(src) && src[i] == '\n' || i+1 < len(src) && src[i] == '\r' && src[i+1] == '\n'
	if !lineEnd && !atEOF && (i == len(src) || src[i] == '\r' && i+1 == len(src)) {
		return nil, 0, false
	}
	if src[0] != '=' {
		// RFC 2045 section 6.7 (3): white space at a line's end was added on the way.
		if lineEnd || i == len(src) {
			return nil, i, true
		}
		return src[:i], i, true
	}
	switch {
	case lineEnd: // a soft line break
		return nil, i + bytes.IndexByte(src[i:], '\n') + 1, true
	case i == len(src):
		return nil, i, true // the end of the text is as good as a line's
	}
	return src[:1], 1, true
}

var everyByte = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
	}
	return t
}()
