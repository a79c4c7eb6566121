package storage

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

// ParseAddress splits and normalises addr: local part NFC (case kept; without the quotes of a quoted one), domain lowercase A-labels; address
// literals are ErrInvalid. RFC 5321 section 4.1.2 with RFC 6531; local part <= 64 bytes, domain <= 255.
func ParseAddress(addr string) (local, domain string, err error) {
	if len(addr) > 64+1+1024 { // U-labels may be longer than the A-labels they become
		return "", "", fmt.Errorf("%w: address too long", ErrInvalid)
	}
	if !utf8.ValidString(addr) {
		return "", "", fmt.Errorf("%w: address is not UTF-8", ErrInvalid)
	}
	local, rest, err := parseLocal(addr)
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(rest, "@") {
		return "", "", fmt.Errorf("%w: the address has no domain (name@domain)", ErrInvalid)
	}
	if domain, err = parseDomain(rest[1:]); err != nil {
		return "", "", err
	}
	// RFC 6531 section 3.1 leaves normalisation to the server that has the mailbox; we compare in NFC.
	local = norm.NFC.String(local)
	// RFC 5321 section 4.5.3.1.1: local part at most 64 octets.
	if local == "" || len(local) > 64 {
		return "", "", fmt.Errorf("%w: what stands before the @ must have 1 to 64 bytes", ErrInvalid)
	}
	return local, domain, nil
}

// parseLocal takes the local part off: a dot-string or a quoted string (RFC 5321 section 4.1.2).
func parseLocal(addr string) (local, rest string, err error) {
	if strings.HasPrefix(addr, `"`) {
		return parseQuoted(addr)
	}
	i := strings.IndexByte(addr, '@')
	if i < 0 {
		return "", "", fmt.Errorf("%w: the address has no domain (name@domain)", ErrInvalid)
	}
	local = addr[:i]
	if !isDotString(local) {
		return "", "", fmt.Errorf("%w: what stands before the @ cannot stand there", ErrInvalid)
	}
	return local, addr[i:], nil
}

func parseQuoted(addr string) (local, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(addr); i++ {
		c := addr[i]
		switch {
		case c == '"':
			local = b.String()
			if strings.ContainsFunc(local, unicode.IsControl) {
				return "", "", fmt.Errorf("%w: control character in the address", ErrInvalid)
			}
			return local, addr[i+1:], nil
		case c == '\\':
			i++
			if i == len(addr) || addr[i] < ' ' || addr[i] > '~' {
				return "", "", fmt.Errorf("%w: quoted local part", ErrInvalid)
			}
			b.WriteByte(addr[i])
		case c < ' ' || c == 0x7f:
			return "", "", fmt.Errorf("%w: control character in the address", ErrInvalid)
		default:
			b.WriteByte(c)
		}
	}
	return "", "", fmt.Errorf("%w: quoted local part has no end", ErrInvalid)
}

// isDotString tells whether s is atoms with single dots between (RFC 5321 section 4.1.2; RFC 6531 section 3.3 adds all non-ASCII).
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		switch {
		case r == '.', 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		case r < 0x80 && strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r):
		case r >= 0x80 && !unicode.IsControl(r) && !unicode.IsSpace(r):
		default:
			return false
		}
	}
	return true
}

// parseDomain makes lowercase A-labels of a domain.
func parseDomain(d string) (string, error) {
	bad := fmt.Errorf("%w: %q is no domain", ErrInvalid, d)
	if d == "" || d[0] == '[' {
		return "", bad
	}
	ascii := true
	for i := range len(d) {
		ascii = ascii && d[i] < 0x80
	}
	d = strings.ToLower(d)
	if !ascii || strings.Contains(d, "xn--") {
		a, err := idna.Lookup.ToASCII(d)
		if err != nil {
			return "", bad
		}
		d = a
	}
	// RFC 5321 section 4.5.3.1.2 has 255 octets; a name of the DNS has at most 253 written.
	if len(d) > 253 {
		return "", bad
	}
	for l := range strings.SplitSeq(d, ".") {
		if !isLabel(l) {
			return "", bad
		}
	}
	return d, nil
}

// isLabel tells whether l is letters, digits and inner hyphens, 1 to 63 of them (RFC 1123 section 2.1).
func isLabel(l string) bool {
	if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' {
		return false
	}
	for i := range len(l) {
		c := l[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// foldLocal is the form in which local parts are compared.
func foldLocal(local string) string {
	return norm.NFC.String(strings.ToLower(local))
}
