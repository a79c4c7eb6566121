package auth

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// gs2 is the header that a client's first message of SCRAM and OAUTHBEARER begins with.
//
// RFC 5801 section 4:
//
//	gs2-header  = gs2-cb-flag "," [gs2-authzid] ","
//	gs2-cb-flag = ("p=" cb-name) / "n" / "y"
//	gs2-authzid = "a=" gs2-saslname
//
// The flag "F" is of mechanisms that are not ours, and so no header for us.
type gs2 struct {
	flag    byte   // 'n', 'y' or 'p'
	binding string // the channel binding's name, with 'p'
	authzid string // decoded; "" when absent
}

// parseGS2 reads the header and returns what follows it.
func parseGS2(b []byte) (h gs2, rest []byte, ok bool) {
	flag, rest, ok := bytes.Cut(b, []byte{','})
	if !ok {
		return gs2{}, nil, false
	}
	name, bound := bytes.CutPrefix(flag, []byte("p="))
	switch {
	case bound && isBindingName(name):
		h.flag, h.binding = 'p', string(name)
	case len(flag) == 1 && (flag[0] == 'n' || flag[0] == 'y'):
		h.flag = flag[0]
	default:
		return gs2{}, nil, false
	}
	authzid, rest, ok := bytes.Cut(rest, []byte{','})
	if !ok {
		return gs2{}, nil, false
	}
	if len(authzid) > 0 {
		name, ok := bytes.CutPrefix(authzid, []byte("a="))
		if !ok {
			return gs2{}, nil, false
		}
		if h.authzid, ok = saslName(name); !ok {
			return gs2{}, nil, false
		}
	}
	return h, rest, true
}

// isBindingName: cb-name = 1*(ALPHA / DIGIT / "." / "-").
func isBindingName(b []byte) bool {
	for _, c := range b {
		if !isAlpha(c) && (c < '0' || c > '9') && c != '.' && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

func isAlpha(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// saslName decodes a name: "," is written =2C and "=" is written =3D; no NUL, not empty (RFC 5801 section 4, RFC 5802 section 5.1).
func saslName(b []byte) (string, bool) {
	if len(b) == 0 || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return "", false
	}
	var out strings.Builder
	for s := string(b); ; {
		before, after, found := strings.Cut(s, "=")
		out.WriteString(before)
		switch {
		case !found:
			return out.String(), true
		case strings.HasPrefix(after, "2C"):
			out.WriteByte(',')
		case strings.HasPrefix(after, "3D"):
			out.WriteByte('=')
		default:
			return "", false
		}
		s = after[2:]
	}
}

// isScramFirst tells whether b is a client-first message as RFC 5802 section 7 has it, with the limits that the library does not keep: no
// NUL, UTF-8, a name, and a nonce of printable characters.
func isScramFirst(b []byte) bool {
	_, bare, ok := parseGS2(b)
	if !ok || !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		return false
	}
	field := bytes.Split(bare, []byte{','})
	if len(field) < 2 || !bytes.HasPrefix(field[0], []byte("n=")) || !bytes.HasPrefix(field[1], []byte("r=")) {
		return false // also "m=", which must fail
	}
	if _, ok := saslName(field[0][2:]); !ok {
		return false
	}
	nonce := field[1][2:]
	for _, c := range nonce {
		if c < 0x21 || c > 0x7e {
			return false
		}
	}
	for _, extension := range field[2:] { // attr-val: one letter, "=", a value
		if len(extension) < 3 || !isAlpha(extension[0]) || extension[1] != '=' || extension[0] == 'm' {
			return false
		}
	}
	return len(nonce) > 0
}
