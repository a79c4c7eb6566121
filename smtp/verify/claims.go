package verify

import (
	"strings"
)

// Claims tells whether the value of an Authentication-Results field pretends to be of one of the servers ids (RFC 8601 section 5): its authserv-id is one of
// them, in whatever case, quoted, with comments, folding or a version, as U-labels or A-labels. A field that cannot be read claims an id when that stands anywhere
// before its first semicolon.
func Claims(value string, ids ...string) bool {
	p := &mailboxes{s: value}
	if p.cfws() {
		if id, ok := p.value(); ok && p.cfws() {
			if c := p.peek(); p.i >= len(p.s) || c == ';' || c >= '0' && c <= '9' {
				for _, of := range ids {
					if sameID(id, of) {
						return true
					}
				}
				return false
			}
		}
	}
	whole, _, _ := strings.Cut(value, ";")
	bare, _, _ := strings.Cut(dropComments(value), ";")
	for _, head := range []string{whole, bare} {
		head = strings.ToLower(strings.Map(func(c rune) rune {
			if c <= ' ' || c == '"' || c == '\\' {
				return -1
			}
			return c
		}, head))
		for _, of := range ids {
			if of != "" && strings.Contains(head, strings.ToLower(of)) {
				return true
			}
		}
	}
	return false
}

// sameID compares authserv-ids as domains when they are, else as text.
func sameID(a, b string) bool {
	if strings.EqualFold(a, b) {
		return true
	}
	x, err1 := asciiDomain(a)
	y, err2 := asciiDomain(b)
	return err1 == nil && err2 == nil && x == y
}
