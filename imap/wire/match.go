package wire

import (
	"math/bits"
	"strings"
)

// Matcher tells whether names match patterns of LIST: "*" is anything, "%" anything without a '/'. Names are compared byte by byte, INBOX at the
// beginning in any case. Whatever the pattern, a name costs at most the product of the lengths divided by 64.
//
// It runs each pattern over all positions of the name at once: bit i of a set tells that the pattern so far can have eaten name[:i].
type Matcher struct {
	patterns []string
	where    [256][]uint64 // of each byte: the positions in the name, of as many words as the longest name yet had
	reach    []uint64
}

// NewMatcher returns one for patterns below a reference. An empty pattern matches nothing (RFC 5258 section 3).
func NewMatcher(reference string, patterns []string) *Matcher {
	m := &Matcher{}
	for _, p := range patterns {
		if p != "" {
			m.patterns = withInbox(m.patterns, squeeze(reference+p))
		}
	}
	return m
}

// Match tells whether the name matches one of the patterns.
func (m *Matcher) Match(name string) bool {
	plain := true
	for _, p := range m.patterns {
		yes, sure := quick(p, name)
		if yes {
			return true
		}
		plain = plain && sure
	}
	if plain {
		return false
	}
	words := len(name)/64 + 1
	m.mark(name, words)
	defer m.unmark(name, words)
	for _, p := range m.patterns {
		if m.run(p, name, words) {
			return true
		}
	}
	return false
}

// quick decides what needs no more than a look: patterns whose only wildcard is at the end, and names that begin otherwise.
func quick(p, name string) (yes, sure bool) {
	i := strings.IndexAny(p, "*%")
	switch {
	case i < 0:
		return p == name, true
	case !strings.HasPrefix(name, p[:i]):
		return false, true
	case i == len(p)-1:
		return p[i] == '*' || strings.IndexByte(name[i:], '/') < 0, true
	}
	return false, false
}

// mark notes where each byte stands in the name.
func (m *Matcher) mark(name string, words int) {
	if len(m.reach) < words {
		m.reach = make([]uint64, words)
	}
	for i := range len(name) {
		w := m.where[name[i]]
		if len(w) < words {
			w = make([]uint64, words)
			m.where[name[i]] = w
		}
		w[i/64] |= 1 << (i % 64)
	}
}

func (m *Matcher) unmark(name string, words int) {
	for i := range len(name) {
		clear(m.where[name[i]][:words])
	}
}

func (m *Matcher) run(pattern, name string, words int) bool {
	reach := m.reach[:words]
	clear(reach)
	reach[0] = 1
	for i := range len(pattern) {
		switch c := pattern[i]; c {
		case '*':
			fillAll(reach)
		case '%':
			m.fillLevel(reach, len(name))
		default:
			if !advance(reach, m.where[c]) {
				return false
			}
		}
	}
	return reach[len(name)/64]>>(len(name)%64)&1 != 0
}

// advance eats one byte, which stands at where (nil: nowhere). It tells whether anything is left.
func advance(reach, where []uint64) bool {
	if len(where) < len(reach) {
		return false
	}
	var carry, alive uint64
	for w := range reach {
		x := reach[w] & where[w]
		reach[w] = x<<1 | carry
		carry = x >> 63
		alive |= reach[w]
	}
	return alive != 0
}

// fillAll sets all bits from the lowest on that is set.
func fillAll(reach []uint64) {
	var from uint64
	for w, x := range reach {
		if from == 0 && x != 0 {
			reach[w] = -(x & -x)
			from = ^uint64(0)
			continue
		}
		reach[w] |= from
	}
}

// fillLevel sets the bits from each that is set up to the next '/'. Adding the bits to a number whose ones are what may be passed over makes a
// carry run through each run of ones from the lowest bit in it on: those that it turned over are what can be reached.
func (m *Matcher) fillLevel(reach []uint64, length int) {
	slash := m.where['/']
	var carry uint64
	for w, x := range reach {
		pass := ^uint64(0)
		if w < len(slash) {
			pass = ^slash[w]
		}
		if end := length - 64*w; end < 64 {
			pass &= 1<<max(end, 0) - 1
		}
		var sum uint64
		sum, carry = bits.Add64(pass, x&pass, carry)
		reach[w] = x | (sum ^ pass)
	}
}

// squeeze makes one wildcard of several side by side.
func squeeze(p string) string {
	b := make([]byte, 0, len(p))
	for i := range len(p) {
		c := p[i]
		if n := len(b); n > 0 && (c == '%' || c == '*') && (b[n-1] == '*' || b[n-1] == '%') {
			if c == '*' {
				b[n-1] = '*'
			}
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

// withInbox appends a pattern, and where a wildcard stands behind "inbox" in another case than INBOX has, also what of it INBOX and the names below
// match: that mailbox alone may be called in any case (RFC 9051 section 5.1). The pattern is squeezed.
func withInbox(patterns []string, p string) []string {
	const inbox = "INBOX"
	if len(p) < len(inbox) || !strings.EqualFold(p[:len(inbox)], inbox) {
		return append(patterns, p)
	}
	rest := p[len(inbox):]
	if rest == "" || rest[0] == '/' {
		return append(patterns, inbox+rest)
	}
	patterns = append(patterns, p)
	if p[:len(inbox)] == inbox || rest[0] != '*' && rest[0] != '%' {
		return patterns
	}
	if rest[0] == '*' {
		patterns = append(patterns, inbox+"/"+rest)
	}
	if rest = rest[1:]; rest == "" || rest[0] == '/' {
		patterns = append(patterns, inbox+rest)
	}
	return patterns
}
