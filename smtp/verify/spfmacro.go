package verify

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A domain-spec is a macro-string (RFC 7208 section 7.1): literals, %%, %_, %- and %{letter digits r delimiters}.

// macro is one %{...}.
type macro struct {
	letter  byte // lower case
	upper   bool // URL-escape
	keep    int  // how many parts from the right; 0: all
	reverse bool
	delims  string
}

// eachPiece walks along a macro-string: text gets literals, expand macros.
func eachPiece(s string, text func(string), expand func(macro) error) error {
	for s != "" {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			i = len(s)
		}
		if i > 0 {
			text(s[:i])
			s = s[i:]
			continue
		}
		if len(s) < 2 {
			return errors.New("a bare %")
		}
		switch s[1] {
		case '%':
			text("%")
		case '_':
			text(" ")
		case '-':
			text("%20")
		case '{':
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return errors.New("a macro without end")
			}
			m, err := parseMacro(s[2:end])
			if err != nil {
				return err
			}
			if err := expand(m); err != nil {
				return err
			}
			s = s[end+1:]
			continue
		default:
			return errors.New("a bare %")
		}
		s = s[2:]
	}
	return nil
}

// parseMacro reads what is between the braces.
func parseMacro(s string) (macro, error) {
	if s == "" || !letter(s[0]) {
		return macro{}, errors.New("a macro without letter")
	}
	m := macro{letter: s[0] | 0x20, upper: s[0] < 'a'}
	if !strings.ContainsRune("slodiphcrtv", rune(m.letter)) {
		return m, errors.New("an unknown macro")
	}
	s = s[1:]
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits > 0 {
		n, err := strconv.Atoi(s[:digits])
		if err != nil || n == 0 || digits > 3 { // RFC 7208 section 7.1: not zero
			return m, errors.New("a bad number in a macro")
		}
		m.keep, s = n, s[digits:]
	}
	if s != "" && s[0]|0x20 == 'r' {
		m.reverse, s = true, s[1:]
	}
	if strings.Trim(s, ".-+,/_=") != "" {
		return m, errors.New("a bad delimiter in a macro")
	}
	m.delims = s
	return m, nil
}

// transform is RFC 7208 section 7.3.
func (m macro) transform(v string) string {
	if m.keep > 0 || m.reverse || m.delims != "" {
		delims := m.delims
		if delims == "" {
			delims = "."
		}
		parts := splitAny(v, delims)
		if m.reverse {
			for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
		if m.keep > 0 && m.keep < len(parts) {
			parts = parts[len(parts)-m.keep:]
		}
		v = strings.Join(parts, ".")
	}
	if m.upper {
		v = escapeURL(v)
	}
	return v
}

func splitAny(s, delims string) []string {
	var all []string
	for {
		i := strings.IndexAny(s, delims)
		if i < 0 {
			return append(all, s)
		}
		all, s = append(all, s[:i]), s[i+1:]
	}
}

// escapeURL leaves the unreserved characters of RFC 3986 section 2.3 alone.
func escapeURL(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if letter(c) || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// checkSpec checks a macro-string; with domain, that it is a domain-spec: its end is a macro or a label that a top level can have.
func checkSpec(s string, domain bool) error {
	last, tail := "", ""
	err := eachPiece(s, func(t string) { last = "text"; tail += t }, func(m macro) error {
		last, tail = "macro", ""
		if domain && strings.IndexByte("crt", m.letter) >= 0 { // RFC 7208 section 7.2: in explanations alone
			return errors.New("a macro for explanations")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return errors.New("a character that cannot be there")
		}
	}
	if !domain || last == "macro" {
		return nil
	}
	tail = strings.TrimSuffix(tail, ".")
	dot := strings.LastIndexByte(tail, '.')
	if dot < 0 || !topLabel(tail[dot+1:]) || len(s) == len(tail) && dot == 0 {
		return errors.New("no domain")
	}
	return nil
}

// topLabel: letters, digits and hyphens, not digits alone, no hyphen at the ends.
func topLabel(s string) bool {
	alone := true
	for i := range len(s) {
		c := s[i]
		if !letter(c) && (c < '0' || c > '9') && c != '-' {
			return false
		}
		alone = alone && c >= '0' && c <= '9'
	}
	return s != "" && !alone && s[0] != '-' && s[len(s)-1] != '-'
}

// expand makes a domain of a domain-spec. ok is false when it is none, so that a term does not match.
func (c *spfCheck) expand(ctx context.Context, spec, domain string) (target string, ok bool, err error) {
	s, plain, err := c.text(ctx, spec, domain)
	if err != nil {
		return "", false, err
	}
	// RFC 7208 section 7.3: too long a name loses labels from the left.
	s = strings.TrimSuffix(s, ".")
	for len(s) > 253 {
		_, rest, more := strings.Cut(s, ".")
		if !more {
			return s, false, nil
		}
		s = rest
	}
	if !plain || s == "" {
		return s, false, nil
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return s, false, nil
		}
	}
	return strings.ToLower(s), true, nil
}

// text expands a macro-string. plain is false when the sender's local part made it something that is not ASCII, which matches nothing
// (RFC 8616 section 4).
func (c *spfCheck) text(ctx context.Context, spec, domain string) (out string, plain bool, err error) {
	var b strings.Builder
	plain = true
	err = eachPiece(spec, func(t string) { b.WriteString(t) }, func(m macro) error {
		v, err := c.value(ctx, m.letter, domain)
		if err != nil {
			return err
		}
		for i := range len(v) {
			plain = plain && v[i] < 0x80
		}
		b.WriteString(m.transform(v))
		if b.Len() > 64<<10 {
			return permanent("a macro grows too long")
		}
		return nil
	})
	var e *spfError
	if err != nil && !errors.As(err, &e) {
		err = permanent("%s", err)
	}
	return b.String(), plain, err
}

// value is what a macro letter stands for (RFC 7208 section 7.2).
func (c *spfCheck) value(ctx context.Context, letter byte, domain string) (string, error) {
	switch letter {
	case 's':
		return c.local + "@" + c.domain, nil
	case 'l':
		return c.local, nil
	case 'o':
		return c.domain, nil
	case 'd':
		return domain, nil
	case 'i':
		return dotted(c.remote), nil
	case 'v':
		if c.remote.Is4() {
			return "in-addr", nil
		}
		return "ip6", nil
	case 'h':
		return c.helo, nil
	case 'c':
		return c.remote.String(), nil
	case 'r':
		if c.v.options.Name == "" {
			return "unknown", nil
		}
		return c.v.options.Name, nil
	case 't':
		return strconv.FormatInt(c.v.options.Now().Unix(), 10), nil
	}
	return c.name(ctx, domain)
}

// name is %{p}: the client's validated name, one of the domain before others. RFC 7208 section 4.6.4 counts it.
func (c *spfCheck) name(ctx context.Context, domain string) (string, error) {
	if err := c.count(); err != nil {
		return "", err
	}
	best, rank := "unknown", 0
	for _, n := range c.validated(ctx) {
		switch {
		case n == domain && rank < 3:
			best, rank = n, 3
		case strings.HasSuffix(n, "."+domain) && rank < 2:
			best, rank = n, 2
		case rank < 1:
			best, rank = n, 1
		}
	}
	return best, nil
}

// explain gets the explanation of a fail (RFC 7208 section 6.2); "" when there is none that can be used.
func (c *spfCheck) explain(ctx context.Context, spec, domain string) string {
	c.lookups, c.voids = 0, 0 // these do not count
	target, ok, err := c.expand(ctx, spec, domain)
	if err != nil || !ok {
		return ""
	}
	texts, _, err := c.v.resolver.LookupTXT(ctx, target+".")
	if err != nil || len(texts) != 1 || len(texts[0]) > 4096 {
		return ""
	}
	for i := range len(texts[0]) {
		if texts[0][i] >= 0x80 { // RFC 7208 section 6.2: US-ASCII
			return ""
		}
	}
	text, _, err := c.text(ctx, texts[0], domain)
	if err != nil {
		return ""
	}
	return printable(text, 400)
}
