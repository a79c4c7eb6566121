package smtp

import (
	"errors"
	"strings"
)

var errFrom = errors.New("no list of addresses")

// authors are the addresses of a From field, none being an error. RFC 5322 section 3.4 with the obsolete forms of section 4.4,
// groups (RFC 6854) and any bytes in names: charsets and display names are none of our business, but what the address is must be
// beyond doubt, since somebody may be refused for it or pretend to be somebody else.
func authors(value string) ([]string, error) {
	tokens, err := scanAddresses(value)
	if err != nil {
		return nil, err
	}
	p := addressParser{tokens: tokens}
	if err := p.list(false); err != nil {
		return nil, err
	}
	if len(p.found) == 0 {
		return nil, errFrom
	}
	return p.found, nil
}

// addressToken is a piece of an address field. Comments and blanks are gone.
type addressToken struct {
	kind byte // 'a' atom, with its dots; 'q' quoted string; 'd' domain literal; else the special itself
	text string
}

// maxTokens bounds what is kept of a From field.
const maxTokens = 10000

func scanAddresses(s string) ([]addressToken, error) {
	var tokens []addressToken
	for len(s) > 0 {
		n, t := 1, addressToken{kind: s[0], text: s[:1]}
		switch c := s[0]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			s = s[1:]
			continue
		case c == '(':
			if n = commentEnd(s); n < 0 {
				return nil, errFrom
			}
			s = s[n:]
			continue
		case c == '"':
			if n = quotedEnd(s, '"'); n < 0 {
				return nil, errFrom
			}
			t.kind, t.text = 'q', unquote(s[1:n-1])
		case c == '[':
			if n = quotedEnd(s, ']'); n < 0 {
				return nil, errFrom
			}
			t.kind, t.text = 'd', s[:n]
		case strings.IndexByte("<>@,;:", c) >= 0:
		default:
			for n < len(s) && strings.IndexByte(" \t\r\n()<>@,;:\"[]\\", s[n]) < 0 {
				n++
			}
			if c == ')' || c == ']' || c == '\\' || c < ' ' || c == 0x7f {
				return nil, errFrom
			}
			t.kind, t.text = 'a', s[:n]
		}
		if tokens = append(tokens, t); len(tokens) > maxTokens {
			return nil, errFrom
		}
		s = s[n:]
	}
	return tokens, nil
}

// commentEnd is where the comment at the start of s ends; comments nest.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func quotedEnd(s string, end byte) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case end:
			return i + 1
		}
	}
	return -1
}

func unquote(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// addressParser goes through the tokens.
type addressParser struct {
	tokens []addressToken
	found  []string
}

// at is the kind of the next token, 0 at the end.
func (p *addressParser) at() byte {
	if len(p.tokens) == 0 {
		return 0
	}
	return p.tokens[0].kind
}

func (p *addressParser) next() addressToken {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// list reads addresses up to the end, or of a group up to its semicolon. Empty places are obsolete and harmless.
func (p *addressParser) list(group bool) error {
	for {
		for p.at() == ',' {
			p.next()
		}
		switch {
		case p.at() == 0 && !group, p.at() == ';' && group:
			return nil
		}
		if err := p.address(group); err != nil {
			return err
		}
		switch {
		case p.at() == ',', p.at() == 0 && !group, p.at() == ';' && group:
		default:
			return errFrom
		}
	}
}

// address reads a mailbox, with a name or without, or a group.
func (p *addressParser) address(group bool) error {
	words := 0
	for words < len(p.tokens) && (p.tokens[words].kind == 'a' || p.tokens[words].kind == 'q') {
		words++
	}
	rest := addressParser{tokens: p.tokens[words:]}
	switch rest.at() {
	case '@':
		return p.spec()
	case '<':
		p.tokens = rest.tokens
		return p.angle()
	case ':':
		if group || words == 0 {
			return errFrom
		}
		p.tokens = rest.tokens[1:]
		if err := p.list(true); err != nil {
			return err
		}
		p.next() // the semicolon
		return nil
	}
	return errFrom
}

// angle reads "<address>", with the route that RFC 5322 section 4.4 still allows.
func (p *addressParser) angle() error {
	p.next()
	if p.at() == '@' {
		for p.at() != ':' {
			if k := p.at(); k != '@' && k != ',' && k != 'a' && k != 'd' {
				return errFrom
			}
			p.next()
		}
		p.next()
	}
	if err := p.spec(); err != nil {
		return err
	}
	if p.at() != '>' {
		return errFrom
	}
	p.next()
	return nil
}

// spec reads local@domain. A quoted string beside other words would be one more way to write an address, which nobody needs.
func (p *addressParser) spec() error {
	local := ""
	if p.at() == 'q' {
		local = p.next().text
	} else {
		local = p.dotted()
	}
	if local == "" || p.at() != '@' {
		return errFrom
	}
	p.next()
	domain := ""
	if p.at() == 'd' {
		domain = p.next().text
	} else {
		domain = p.dotted()
	}
	if domain == "" {
		return errFrom
	}
	p.found = append(p.found, quoteLocal(local)+"@"+domain)
	return nil
}

// dotted joins atoms between which there is a dot, whatever blanks and comments stood around it (RFC 5322 section 4.4).
func (p *addressParser) dotted() string {
	s := ""
	for p.at() == 'a' && (s == "" || strings.HasSuffix(s, ".") || strings.HasPrefix(p.tokens[0].text, ".")) && len(s) <= maxPath {
		s += p.next().text
	}
	return s
}
