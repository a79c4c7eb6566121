package verify

import (
	"errors"
	"slices"
	"strings"

	"golang.org/x/net/idna"
)

// maxAuthors is how many domains of authors are judged.
const maxAuthors = 5

// authors are the domains in the From field.
type authors struct {
	domains []string // A-labels, each once
	fields  int      // From fields
	err     error    // what cannot be read
}

var (
	errNoFrom      = errors.New("no From field")
	errManyFrom    = errors.New("more than one From field")
	errManyAuthors = errors.New("authors of too many domains")
	errFromSyntax  = errors.New("the From field cannot be read")
)

// readAuthors reads all From fields. Where something is wrong, domains has what could be read beside it.
func readAuthors(fields []HeaderField) authors {
	var a authors
	for _, f := range fields {
		if f.Name != "from" {
			continue
		}
		if a.fields++; a.fields > maxAuthors {
			break
		}
		domains, err := mailboxDomains(string(f.value()))
		if err != nil {
			a.err = err
		}
		for _, d := range domains {
			if !slices.Contains(a.domains, d) {
				a.domains = append(a.domains, d)
			}
		}
	}
	switch {
	case a.fields == 0:
		a.err = errNoFrom
	case a.fields > 1: // RFC 5322 section 3.6: one
		a.err = errManyFrom
	case len(a.domains) > maxAuthors:
		a.err = errManyAuthors
	}
	a.domains = a.domains[:min(len(a.domains), maxAuthors)]
	return a
}

// mailboxDomains gives the domains of the addresses of a From field (RFC 5322 section 3.6.2 with obsolete forms, RFC 6854 groups, RFC 6532
// UTF-8), as A-labels. What it cannot read whole is an error, with those domains that it read.
func mailboxDomains(value string) ([]string, error) {
	if len(value) > 64<<10 {
		return nil, errFromSyntax
	}
	p := &mailboxes{s: value}
	err := p.list()
	var all []string
	for _, d := range p.domains {
		a, e := asciiDomain(d)
		if e != nil {
			err = errFromSyntax
			continue
		}
		all = append(all, a)
	}
	if err == nil && len(all) == 0 {
		err = errFromSyntax // an empty group names nobody
	}
	return all, err
}

// mailboxes reads a list of mailboxes.
type mailboxes struct {
	s       string
	i       int
	domains []string
}

// list reads mailboxes and groups up to the end.
func (p *mailboxes) list() error {
	group := false
	for {
		if !p.cfws() {
			return errFromSyntax
		}
		switch c := p.peek(); {
		case c == 0 && p.i >= len(p.s):
			if group || len(p.domains) == 0 {
				return errFromSyntax
			}
			return nil
		case c == ',':
			p.i++ // RFC 5322 section 4.4: empty elements
			continue
		case c == ';' && group:
			p.i++
			group = false
			continue
		}
		opened, err := p.mailbox(group)
		if err != nil {
			return err
		}
		if opened {
			group = true
			continue
		}
		if !p.cfws() {
			return errFromSyntax
		}
		if c := p.peek(); p.i < len(p.s) && c != ',' && !(c == ';' && group) {
			return errFromSyntax
		}
	}
}

// mailbox reads one mailbox, or a group's name with its colon.
func (p *mailboxes) mailbox(inGroup bool) (group bool, err error) {
	words := 0
	for {
		if !p.cfws() {
			return false, errFromSyntax
		}
		switch c := p.peek(); {
		case c == '<':
			return false, p.angle()
		case c == '@' && words > 0:
			return false, p.domain()
		case c == ':' && words > 0 && !inGroup:
			p.i++
			return true, nil
		case c == '.' && words > 0: // in a local part, or an obsolete phrase
			p.i++
		case !p.word():
			return false, errFromSyntax
		default:
			words++
		}
	}
}

// angle reads <[route] local@domain>.
func (p *mailboxes) angle() error {
	p.i++
	if !p.cfws() {
		return errFromSyntax
	}
	if p.peek() == '@' || p.peek() == ',' { // RFC 5322 section 4.4: a route, to be ignored
		for p.peek() == '@' || p.peek() == ',' {
			if p.peek() == ',' {
				p.i++
			} else if err := p.domain(); err != nil {
				return err
			} else {
				p.domains = p.domains[:len(p.domains)-1]
			}
			if !p.cfws() {
				return errFromSyntax
			}
		}
		if p.peek() != ':' {
			return errFromSyntax
		}
		p.i++
	}
	for words := 0; ; {
		if !p.cfws() {
			return errFromSyntax
		}
		switch c := p.peek(); {
		case c == '@' && words > 0:
			if err := p.domain(); err != nil {
				return err
			}
			if !p.cfws() || p.peek() != '>' {
				return errFromSyntax
			}
			p.i++
			return nil
		case c == '.' && words > 0:
			p.i++
		case !p.word():
			return errFromSyntax
		default:
			words++
		}
	}
}

// domain reads "@" and a dotted name with white space and comments between.
func (p *mailboxes) domain() error {
	p.i++
	var d strings.Builder
	for {
		if !p.cfws() {
			return errFromSyntax
		}
		start := p.i
		for p.i < len(p.s) && isAtom(p.s[p.i]) {
			p.i++
		}
		if start == p.i { // a domain literal is no domain
			return errFromSyntax
		}
		d.WriteString(p.s[start:p.i])
		mark := p.i
		if !p.cfws() {
			return errFromSyntax
		}
		if p.peek() != '.' {
			p.i = mark
			p.domains = append(p.domains, d.String())
			return nil
		}
		p.i++
		d.WriteByte('.')
	}
}

// word reads an atom or a quoted string.
func (p *mailboxes) word() bool {
	if p.peek() == '"' {
		for p.i++; p.i < len(p.s); p.i++ {
			switch p.s[p.i] {
			case '"':
				p.i++
				return true
			case '\\':
				p.i++
			}
		}
		return false
	}
	start := p.i
	for p.i < len(p.s) && isAtom(p.s[p.i]) {
		p.i++
	}
	return p.i > start
}

// cfws passes over white space and comments; false: a comment does not end.
func (p *mailboxes) cfws() bool {
	depth := 0
	for ; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; {
		case c == '(':
			depth++
		case c == ')' && depth > 0:
			depth--
		case c == '\\' && depth > 0:
			p.i++
		case depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n':
			return true
		}
	}
	return depth == 0
}

func (p *mailboxes) peek() byte {
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// isAtom: atext (RFC 5322 section 3.2.3) and UTF-8 (RFC 6532).
func isAtom(c byte) bool {
	return c >= 0x80 || c > ' ' && c < 0x7f && !strings.ContainsRune(`()<>[]:;@\,."`, rune(c))
}

var errDomain = errors.New("not a domain")

// asciiDomain is a domain as it is compared and asked for: A-labels, lower case, no last dot. It has at least one label; underscores are taken.
func asciiDomain(s string) (string, error) {
	s = strings.TrimSuffix(s, ".")
	for i := range len(s) {
		if s[i] >= 0x80 {
			a, err := idna.Lookup.ToASCII(s)
			if err != nil {
				return "", errDomain
			}
			s = a
			break
		}
	}
	if len(s) > 253 || !isHost(s) {
		return "", errDomain
	}
	return strings.ToLower(s), nil
}

// isHost tells whether s is labels of letters, digits, hyphens and underscores with dots between.
func isHost(s string) bool {
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 || label > 63 {
				return false
			}
			label = 0
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_':
			label++
		default:
			return false
		}
	}
	return label > 0 && label <= 63
}

// splitAddress cuts an address at its last "@".
func splitAddress(s string) (local, domain string) {
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return s[:i], s[i+1:]
	}
	return "", s
}
