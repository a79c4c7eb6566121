package ftp

import (
	"strings"
	"unicode/utf8"
)

// hasMeta tells whether a name can be a pattern.
func hasMeta(name string) bool { return strings.ContainsAny(name, "*?[") }

// glob is a pattern of names: * is any characters, ? any one, [a-z] one of a set, [!a-z] or [^a-z] one of no set, \x is x itself. What a set
// has in it up to ] may begin with ]; a [ without ] is itself. A name that begins with a dot is matched only by a
// pattern that begins with one. Matching takes at most len(pattern)*len(name) steps.
type glob struct {
	tokens []token
	least  int // characters of the shortest name that matches
	dot    bool
}

type token struct {
	kind byte // 0: r itself, '?', '*' or '['
	r    rune
	set  []rune // pairs: from, to
	not  bool
}

func newGlob(pattern string) *glob {
	g := &glob{dot: strings.HasPrefix(pattern, ".") || strings.HasPrefix(pattern, `\.`)}
	for len(pattern) > 0 {
		r, n := utf8.DecodeRuneInString(pattern)
		t := token{r: r}
		switch {
		case r == '*':
			t.kind = '*'
		case r == '?':
			t.kind = '?'
		case r == '\\' && len(pattern) > 1:
			var k int
			t.r, k = utf8.DecodeRuneInString(pattern[1:])
			n += k
		case r == '[':
			if k := t.parseSet(pattern); k > 0 {
				t.kind, n = '[', k
			}
		}
		pattern = pattern[n:]
		if t.kind != '*' {
			g.least++
		} else if l := len(g.tokens); l > 0 && g.tokens[l-1].kind == '*' {
			continue
		}
		g.tokens = append(g.tokens, t)
	}
	return g
}

// parseSet reads [...] and returns how long it is, or 0 when it does not end.
func (t *token) parseSet(pattern string) int {
	at := 1
	next := func() rune {
		r, n := utf8.DecodeRuneInString(pattern[at:])
		at += n
		return r
	}
	if strings.HasPrefix(pattern[at:], "!") || strings.HasPrefix(pattern[at:], "^") {
		t.not = true
		at++
	}
	for first := at; at < len(pattern); {
		begin := at
		from := next()
		if from == ']' && begin > first {
			return at
		}
		to := from
		if rest := pattern[at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			at++
			to = next()
		}
		t.set = append(t.set, from, to)
	}
	t.set, t.not = nil, false
	return 0
}

func (t *token) matches(r rune) bool {
	switch t.kind {
	case '?':
		return true
	case '[':
		for i := 0; i < len(t.set); i += 2 {
			if r >= t.set[i] && r <= t.set[i+1] {
				return !t.not
			}
		}
		return t.not
	}
	return r == t.r
}

// match tells whether the pattern is of name; dots tells that a dot at the beginning is a character like others.
func (g *glob) match(name string, dots bool) bool {
	if g.least > len(name) || strings.HasPrefix(name, ".") && !g.dot && !dots {
		return false
	}
	i, at := 0, 0       // where we are in the pattern and the name
	star, from := -1, 0 // the last * and where what is behind it was tried
	for at < len(name) {
		r, n := utf8.DecodeRuneInString(name[at:])
		switch {
		case i < len(g.tokens) && g.tokens[i].kind == '*':
			star, from = i, at
			i++
		case i < len(g.tokens) && g.tokens[i].matches(r):
			i++
			at += n
		case star >= 0: // the * takes one more
			_, k := utf8.DecodeRuneInString(name[from:])
			from += k
			i, at = star+1, from
		default:
			return false
		}
	}
	for i < len(g.tokens) && g.tokens[i].kind == '*' {
		i++
	}
	return i == len(g.tokens)
}
