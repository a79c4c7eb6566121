package sieve

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// The bounds of variables: RFC 5229 section 6 asks for 128 of 32 letters and 4000 octets.
const (
	maxVars    = 256
	maxVarName = 64
	maxVar     = 8 << 10
)

// text is a string of a script: what stands between variables, and their names.
type text struct {
	plain string
	parts []part // nil: plain
}

type part struct {
	plain string
	name  string // of a variable, lowercase; ""
	index int    // of a match variable, -1
}

// text compiles a string: encoded characters first (RFC 5229 section 3), then variables.
func (c *compiler) text(s string, line int) (text, error) {
	if c.uses("encoded-character") {
		var err error
		if s, err = decodeCharacters(s, line); err != nil {
			return text{}, err
		}
	}
	if !c.uses("variables") || !strings.Contains(s, "${") {
		return text{plain: s}, nil
	}
	var t text
	var plain strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			break
		}
		plain.WriteString(s[:i])
		s = s[i+2:]
		name, _, ok := strings.Cut(s[:min(len(s), maxVarName+1)], "}")
		p, valid := reference(name)
		if !ok || !valid {
			plain.WriteString("${") // what is no reference stands for itself
			continue
		}
		if p.index < 0 && strings.Contains(p.name, ".") {
			return t, wrong(line, "variable %q is of an unknown namespace", name)
		}
		t.parts = append(t.parts, part{plain: plain.String(), index: -2}, p)
		plain.Reset()
		s = s[len(name)+1:]
	}
	plain.WriteString(s)
	if t.parts == nil {
		return text{plain: plain.String()}, nil
	}
	t.parts = append(t.parts, part{plain: plain.String(), index: -2})
	return t, nil
}

// reference reads what stands between the braces.
func reference(name string) (part, bool) {
	if name != "" && strings.Trim(name, "0123456789") == "" {
		n, err := strconv.Atoi(name)
		return part{index: n}, err == nil && n < 1000
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || word(label) != label && strings.Trim(label, "0123456789") != "" {
			return part{}, false
		}
	}
	return part{name: strings.ToLower(name), index: -1}, len(name) <= maxVarName && word(name[:1]) != ""
}

func (c *compiler) texts(all []string, line int) ([]text, error) {
	out := make([]text, len(all))
	for i, s := range all {
		var err error
		if out[i], err = c.text(s, line); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// get is the string with its variables.
func (m *machine) get(t text) (string, error) {
	if t.parts == nil {
		return t.plain, nil
	}
	var b strings.Builder
	for _, p := range t.parts {
		v := p.plain
		switch {
		case p.index >= 0:
			v = ""
			if p.index < len(m.match) {
				v = m.match[p.index]
			}
		case p.index == -1:
			v = m.vars[p.name]
		}
		if b.Len()+len(v) > 4*maxVar {
			v = cut(v, 4*maxVar-b.Len())
		}
		b.WriteString(v)
	}
	return b.String(), m.spend(b.Len()/16 + len(t.parts))
}

func (m *machine) all(ts []text) ([]string, error) {
	out := make([]string, len(ts))
	for i, t := range ts {
		var err error
		if out[i], err = m.get(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// set gives a variable a value; what is too long is cut (RFC 5229 section 6).
func (m *machine) set(name, value string) error {
	if m.vars == nil {
		m.vars = map[string]string{}
	}
	if _, ok := m.vars[name]; !ok && len(m.vars) >= maxVars {
		return wrong(0, "more than %d variables", maxVars)
	}
	m.vars[name] = cut(value, maxVar)
	return m.spend(len(value)/16 + 1)
}

// cut shortens s to n bytes, not within a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// decodeCharacters puts characters in the place of "${hex: 40}" and "${unicode: 40}" (RFC 5228 section 2.4.2.4). What is none of them stays.
func decodeCharacters(s string, line int) (string, error) {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String(), nil
		}
		b.WriteString(s[:i])
		s = s[i:]
		kind, digits, rest, valid := encoded(s)
		out := ""
		switch {
		case !valid:
		case kind == "hex":
			out, valid = characters(digits, 2, func(n uint64) string { return string([]byte{byte(n)}) })
		default:
			bad := false
			out, valid = characters(digits, 64, func(n uint64) string {
				bad = bad || n > 0x10ffff || n >= 0xd800 && n <= 0xdfff
				return string(rune(n))
			})
			if bad && valid {
				return "", wrong(line, "${%s:%s} is no character", kind, cut(digits, 40))
			}
		}
		if !valid {
			b.WriteString("${")
			s = s[2:]
			continue
		}
		b.WriteString(out)
		s = rest
	}
}

// encoded cuts what begins with "${" into the kind of its numbers, these, and what follows. It looks no further than they go.
func encoded(s string) (kind, digits, rest string, ok bool) {
	kind, _, ok = strings.Cut(s[2:min(len(s), len("${unicode:"))], ":")
	if kind = strings.ToLower(kind); !ok || kind != "hex" && kind != "unicode" {
		return "", "", "", false
	}
	digits = s[2+len(kind)+1:]
	n := len(digits) - len(strings.TrimLeft(digits, "0123456789abcdefABCDEF \t\r\n"))
	if n == len(digits) || digits[n] != '}' {
		return "", "", "", false
	}
	return kind, digits[:n], digits[n+1:], true
}

func characters(digits string, most int, one func(uint64) string) (string, bool) {
	var b strings.Builder
	words := strings.Fields(digits)
	for _, w := range words {
		n, err := strconv.ParseUint(w, 16, 32)
		if err != nil || len(w) > most {
			return "", false
		}
		b.WriteString(one(n))
	}
	return b.String(), len(words) > 0
}
