package sieve

import (
	"regexp"
	"regexp/syntax"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/packetboat/packetboat/storage/mime"
)

// matchTags are the tags of tests that compare (RFC 5228 section 2.7.1, RFC 5231, draft-murchison-sieve-regex).
const matchTags = "is contains matches regex/regex value:s/relational count:s/relational comparator:s "

// matcher compares strings with keys.
type matcher struct {
	how     string // "is", ...
	rel     string // of value and count
	fold    func(string) string
	numeric bool
	folds   int
	keys    []text
	regexes []*expression // by key; nil where the key has variables
}

func (c *compiler) matcher(a *taken, keys []string) (*matcher, error) {
	how, err := a.one("is", "contains", "matches", "regex", "value", "count")
	if err != nil {
		return nil, err
	}
	if how == "" {
		how = "is"
	}
	x := &matcher{how: how}
	comparator := "i;ascii-casemap"
	if a.has("comparator") {
		comparator = a.tags["comparator"].strs[0]
	}
	switch comparator {
	case "i;octet":
		x.fold = func(s string) string { return s }
	case "i;ascii-casemap":
		x.fold, x.folds = upperASCII, 1
	case "i;unicode-casemap":
		if !c.uses("comparator-i;unicode-casemap") {
			return nil, wrong(a.line, "comparator %q needs a require", comparator)
		}
		x.fold, x.folds = func(s string) string { return string(mime.AppendCasemap(nil, []byte(s))) }, 8
	case "i;ascii-numeric":
		if !c.uses("comparator-i;ascii-numeric") {
			return nil, wrong(a.line, "comparator %q needs a require", comparator)
		}
		if how == "contains" || how == "matches" || how == "regex" {
			return nil, wrong(a.line, ":%s does not go with comparator %q", how, comparator)
		}
		x.numeric, x.fold = true, func(s string) string { return s }
	default:
		return nil, wrong(a.line, "comparator %q is not supported", comparator)
	}
	if how == "value" || how == "count" {
		switch x.rel = strings.ToLower(a.tags[how].strs[0]); x.rel {
		case "gt", "ge", "lt", "le", "eq", "ne":
		default:
			return nil, wrong(a.line, ":%s needs gt, ge, lt, le, eq or ne", how)
		}
	}
	if x.keys, err = c.texts(keys, a.line); err != nil {
		return nil, err
	}
	if how == "regex" {
		for _, k := range x.keys {
			var r *expression
			if k.parts == nil {
				if r, err = x.regex(k.plain); err != nil {
					return nil, wrong(a.line, "bad regular expression: %v", err)
				}
			}
			x.regexes = append(x.regexes, r)
		}
	}
	return x, nil
}

// A regular expression may have so many bytes, and so many instructions: {n} multiplies them.
const (
	maxRegex = 512
	maxInsts = 1000
)

// expression is one that was compiled, and what each byte of text costs it.
type expression struct {
	*regexp.Regexp
	insts int
}

// regex compiles POSIX extended syntax, of which nothing looks back and nothing backtracks.
func (x *matcher) regex(s string) (*expression, error) {
	if len(s) > maxRegex {
		return nil, wrong(0, "longer than %d bytes", maxRegex)
	}
	flags := syntax.POSIX
	if x.folds > 0 {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(s, flags)
	if err != nil {
		return nil, err
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if len(program.Inst) > maxInsts {
		return nil, wrong(0, "too large: it becomes %d instructions, %d are allowed", len(program.Inst), maxInsts)
	}
	var r *regexp.Regexp
	if x.folds > 0 {
		r, err = regexp.Compile("(?i:" + tree.String() + ")")
	} else {
		r, err = regexp.CompilePOSIX(s)
	}
	if err != nil {
		return nil, err
	}
	r.Longest()
	return &expression{r, len(program.Inst)}, nil
}

// any tells whether one of the values matches a key.
func (x *matcher) any(m *machine, values []string) (bool, error) {
	if x.how == "count" {
		return x.count(m, len(values))
	}
	keys, err := m.all(x.keys)
	if err != nil {
		return false, err
	}
	if x.how != "regex" {
		for i := range keys {
			if err := m.spend(len(keys[i]) * x.folds / 16); err != nil {
				return false, err
			}
			keys[i] = x.fold(keys[i])
		}
	}
	for _, v := range values {
		if err := m.spend(len(v)*(1+x.folds)/16 + 1); err != nil {
			return false, err
		}
		folded := v
		if x.how != "regex" {
			folded = x.fold(v)
		}
		for i, k := range keys {
			if yes, err := x.one(m, i, v, folded, k); err != nil || yes {
				return yes, err
			}
		}
	}
	return false, nil
}

func (x *matcher) one(m *machine, i int, v, folded, key string) (bool, error) {
	if err := m.spend((len(folded)+len(key))/32 + 1); err != nil {
		return false, err
	}
	switch x.how {
	case "is":
		if x.numeric {
			return compareNumbers(folded, key) == 0, nil
		}
		return folded == key, nil
	case "contains":
		return strings.Contains(folded, key), nil
	case "value":
		n := strings.Compare(folded, key)
		if x.numeric {
			n = compareNumbers(folded, key)
		}
		return related(x.rel, n), nil
	case "matches":
		spans, err := glob(m, key, folded)
		if err != nil || spans == nil {
			return false, err
		}
		m.capture(v, folded, spans)
		return true, nil
	}
	return x.regexOne(m, i, v, key)
}

func (x *matcher) regexOne(m *machine, i int, v, key string) (bool, error) {
	r := x.regexes[i]
	if r == nil {
		var err error
		if r, err = x.regex(key); err != nil {
			return false, wrong(0, "bad regular expression: %v", err)
		}
		if err := m.spend(r.insts * 32); err != nil {
			return false, err
		}
	}
	v = cut(v, 16<<10)
	if err := m.spend(r.insts * (len(v) + 64) / 2); err != nil {
		return false, err
	}
	found := r.FindStringSubmatch(v)
	if found == nil {
		return false, nil
	}
	if m.s.uses["variables"] {
		m.match = found
	}
	return true, nil
}

// count is :count (RFC 5231 section 4.2): numbers always.
func (x *matcher) count(m *machine, n int) (bool, error) {
	keys, err := m.all(x.keys)
	for _, k := range keys {
		if related(x.rel, compareNumbers(strconv.Itoa(n), k)) {
			return true, err
		}
	}
	return false, err
}

func related(rel string, n int) bool {
	switch rel {
	case "gt":
		return n > 0
	case "ge":
		return n >= 0
	case "lt":
		return n < 0
	case "le":
		return n <= 0
	case "eq":
		return n == 0
	}
	return n != 0
}

// compareNumbers is i;ascii-numeric (RFC 4790 section 9.1): what begins with no digit is infinite. Numbers may be of any length.
func compareNumbers(a, b string) int {
	a, b = digits(a), digits(b)
	switch {
	case a == b:
		return 0
	case a == "":
		return 1
	case b == "":
		return -1
	case len(a) != len(b):
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}

// digits is the number that s begins with, without leading zeros; "" when there is none.
func digits(s string) string {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 {
		return ""
	}
	if z := strings.TrimLeft(s[:n], "0"); z != "" {
		return z
	}
	return "0"
}

// upperASCII is the form in which i;ascii-casemap compares (RFC 4790 section 9.2.1): "_" stands behind the letters.
func upperASCII(s string) string {
	for i := range len(s) {
		if s[i] >= 'a' && s[i] <= 'z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'a' && b[i] <= 'z' {
					b[i] &^= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

// span is what a wildcard stands for.
type span struct{ from, to int }

// glob matches a pattern with "*", "?" and "\" (RFC 5228 section 2.7.1): each star takes as little as it can. The first span is the whole; nil: no match. It takes at most
// len(pattern) * len(text) steps: only the last star seen is ever tried again.
func glob(m *machine, pattern, text string) ([]span, error) {
	spans := []span{{0, len(text)}}
	var p, t int
	star, starText, starSpans := -1, 0, 0 // behind the last star, what it has taken, the spans up to its own
	steps := 0
	for t < len(text) || p < len(pattern) {
		if steps++; steps&1023 == 0 {
			if err := m.spend(256); err != nil {
				return nil, err
			}
		}
		if p < len(pattern) {
			c := pattern[p]
			switch {
			case c == '*':
				p++
				spans = append(spans, span{t, t})
				star, starText, starSpans = p, t, len(spans)
				if p == len(pattern) {
					spans[starSpans-1].to = len(text) // nothing behind it: all the rest
					t = len(text)
				}
				continue
			case c == '?' && t < len(text):
				_, n := utf8.DecodeRuneInString(text[t:])
				spans = append(spans, span{t, t + n})
				p, t = p+1, t+n
				continue
			case c == '\\' && p+1 < len(pattern) && t < len(text) && text[t] == pattern[p+1]:
				p, t = p+2, t+1
				continue
			case c != '?' && (c != '\\' || p+1 == len(pattern)) && t < len(text) && text[t] == c:
				p, t = p+1, t+1
				continue
			}
		}
		if star < 0 || starText >= len(text) {
			return nil, nil
		}
		// The star takes one character more.
		_, n := utf8.DecodeRuneInString(text[starText:])
		starText += n
		p, t = star, starText
		spans = spans[:starSpans]
		spans[starSpans-1].to = starText
	}
	return spans, nil
}

// maxMatch is how many match variables there are: RFC 5229 section 3.2 asks for 10.
const maxMatch = 33

// capture sets the match variables, from the text as it was where folding kept its length.
func (m *machine) capture(v, folded string, spans []span) {
	if !m.s.uses["variables"] {
		return
	}
	if len(v) != len(folded) {
		v = folded
	}
	m.match = m.match[:0:0]
	for _, s := range spans[:min(len(spans), maxMatch)] {
		m.match = append(m.match, cut(v[s.from:s.to], maxVar))
	}
}
