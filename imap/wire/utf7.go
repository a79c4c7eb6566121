package wire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 is returned for what is no modified UTF-7.
var ErrUTF7 = errors.New("invalid modified UTF-7")

var base64UTF7 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding).Strict()

// EncodeUTF7 makes modified UTF-7 of a mailbox name (RFC 3501 section 5.1.3). Bytes that are no UTF-8 become U+FFFD.
func EncodeUTF7(s string) string {
	plain := true
	for i := range len(s) {
		if c := s[i]; c == '&' || c < 0x20 || c > 0x7e {
			plain = false
			break
		}
	}
	if plain {
		return s
	}
	var b strings.Builder
	var units []uint16
	for _, r := range s {
		if r >= 0x20 && r <= 0x7e {
			flushUTF7(&b, &units)
			b.WriteRune(r)
			if r == '&' {
				b.WriteByte('-')
			}
			continue
		}
		units = utf16.AppendRune(units, r)
	}
	flushUTF7(&b, &units)
	return b.String()
}

func flushUTF7(b *strings.Builder, units *[]uint16) {
	if len(*units) == 0 {
		return
	}
	raw := make([]byte, 0, 2*len(*units))
	for _, u := range *units {
		raw = append(raw, byte(u>>8), byte(u))
	}
	b.WriteByte('&')
	b.WriteString(base64UTF7.EncodeToString(raw))
	b.WriteByte('-')
	*units = (*units)[:0]
}

// DecodeUTF7 is the way back. Only the one right form is taken: no printable ASCII in base64, no
// two shifts side by side, no lone surrogates, so that a name has one spelling.
func DecodeUTF7(s string) (string, error) {
	if strings.IndexByte(s, '&') < 0 {
		return s, checkPrintable(s)
	}
	var b strings.Builder
	shifted := false // the last thing was a shift
	for s != "" {
		i := strings.IndexByte(s, '&')
		if i != 0 {
			if i < 0 {
				i = len(s)
			}
			if err := checkPrintable(s[:i]); err != nil {
				return "", err
			}
			b.WriteString(s[:i])
			s, shifted = s[i:], false
			continue
		}
		end := strings.IndexByte(s, '-')
		if end < 0 {
			return "", ErrUTF7
		}
		code := s[1:end]
		s = s[end+1:]
		if code == "" {
			b.WriteByte('&')
			shifted = false
			continue
		}
		if shifted {
			return "", ErrUTF7
		}
		shifted = true
		if err := decodeShift(&b, code); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func decodeShift(b *strings.Builder, code string) error {
	raw, err := base64UTF7.DecodeString(code)
	if err != nil || len(raw)%2 != 0 {
		return ErrUTF7
	}
	for len(raw) > 0 {
		r := rune(raw[0])<<8 | rune(raw[1])
		raw = raw[2:]
		if utf16.IsSurrogate(r) {
			if len(raw) < 2 {
				return ErrUTF7
			}
			r = utf16.DecodeRune(r, rune(raw[0])<<8|rune(raw[1]))
			raw = raw[2:]
			if r == utf8.RuneError {
				return ErrUTF7
			}
		}
		if r >= 0x20 && r <= 0x7e {
			return ErrUTF7
		}
		b.WriteRune(r)
	}
	return nil
}

func checkPrintable(s string) error {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ErrUTF7
		}
	}
	return nil
}
