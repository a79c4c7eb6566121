package verify

import (
	"errors"
	"strings"
)

// Results is an Authentication-Results field of somebody, or the results in an ARC set.
type Results struct {
	ID      string // authserv-id
	Version string // "" or "1"
	Methods []MethodResult
}

// MethodResult is one method of them.
type MethodResult struct {
	Method     string // lower case, without its version
	Result     string // lower case
	Reason     string
	Properties map[string]string // by "ptype.property", lower case; of several of the same name the first
}

var errResults = errors.New("not authentication results")

// maxMethods bounds what is taken from one field.
const maxMethods = 100

// ParseResults reads the value of an Authentication-Results field (RFC 8601 section 2.2).
func ParseResults(value string) (Results, error) {
	var r Results
	p := &mailboxes{s: value}
	if !p.cfws() {
		return r, errResults
	}
	var ok bool
	if r.ID, ok = p.value(); !ok || !p.cfws() {
		return r, errResults
	}
	if c := p.peek(); c >= '0' && c <= '9' {
		r.Version = p.run("0123456789")
		if !p.cfws() || r.Version != "1" {
			return r, errResults
		}
	}
	for p.i < len(p.s) {
		m, none, ok := p.method()
		if !ok || len(r.Methods) == maxMethods {
			return r, errResults
		}
		if none {
			if len(r.Methods) > 0 || p.i < len(p.s) {
				return r, errResults
			}
			return r, nil
		}
		r.Methods = append(r.Methods, m)
	}
	if len(r.Methods) == 0 {
		return r, errResults
	}
	return r, nil
}

// method reads ";" method [ "/" version ] "=" result [ "reason" "=" value ] properties. none: it is "; none" or the ";" that some leave at the end.
func (p *mailboxes) method() (m MethodResult, none, ok bool) {
	if p.peek() != ';' {
		return m, false, false
	}
	p.i++
	if !p.cfws() {
		return m, false, false
	}
	m.Method = strings.ToLower(p.keyword())
	if !p.cfws() {
		return m, false, false
	}
	if m.Method == "none" && p.i >= len(p.s) {
		return m, true, true
	}
	if p.peek() == '/' {
		p.i++
		if !p.cfws() || p.run("0123456789") == "" || !p.cfws() {
			return m, false, false
		}
	}
	if m.Method == "" || !p.equals() {
		return m, false, false
	}
	if m.Result = strings.ToLower(p.keyword()); m.Result == "" {
		return m, false, false
	}
	for {
		if !p.cfws() {
			return m, false, false
		}
		if p.i >= len(p.s) || p.peek() == ';' {
			return m, false, true
		}
		if !p.property(&m) {
			return m, false, false
		}
	}
}

// property reads reason=value or ptype.property=pvalue. Outlook's "action=none" is met too.
func (p *mailboxes) property(m *MethodResult) bool {
	name := p.keyword()
	if name == "" || !p.cfws() {
		return false
	}
	if p.peek() == '.' {
		p.i++
		if !p.cfws() {
			return false
		}
		second := p.keyword()
		if second == "" {
			return false
		}
		name += "." + second
	}
	if !p.equals() {
		return false
	}
	v, ok := p.pvalue()
	if !ok {
		return false
	}
	if name = strings.ToLower(name); name == "reason" {
		m.Reason = v
		return true
	}
	if _, twice := m.Properties[name]; !twice {
		if m.Properties == nil {
			m.Properties = map[string]string{}
		}
		m.Properties[name] = v
	}
	return true
}

// equals reads "=" with white space and comments around it.
func (p *mailboxes) equals() bool {
	if !p.cfws() || p.peek() != '=' {
		return false
	}
	p.i++
	return p.cfws()
}

// keyword: letters, digits and hyphens; underscores are met too.
func (p *mailboxes) keyword() string {
	return p.run("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
}

func (p *mailboxes) run(of string) string {
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(of, p.s[p.i]) >= 0 {
		p.i++
	}
	return p.s[start:p.i]
}

// value is a token or a quoted string.
func (p *mailboxes) value() (string, bool) {
	if p.peek() == '"' {
		return p.quoted()
	}
	start := p.i
	for p.i < len(p.s) && isToken(p.s[p.i:p.i+1]) {
		p.i++
	}
	return p.s[start:p.i], p.i > start
}

func (p *mailboxes) quoted() (string, bool) {
	var b strings.Builder
	for p.i++; p.i < len(p.s); p.i++ {
		switch c := p.s[p.i]; c {
		case '"':
			p.i++
			return b.String(), true
		case '\\':
			if p.i++; p.i == len(p.s) {
				return "", false
			}
			b.WriteByte(p.s[p.i])
		case '\r', '\n': // folded
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}

// pvalue is a value, or an address. Tokens are taken more widely than they are written: addresses, "/", "=" and ":" stand unquoted in many fields.
func (p *mailboxes) pvalue() (string, bool) {
	var local string
	if p.peek() == '"' {
		q, ok := p.quoted()
		if !ok || p.peek() != '@' {
			return q, ok
		}
		local = q
	}
	start := p.i
	for p.i < len(p.s) && (isAtom(p.s[p.i]) || strings.IndexByte(".@=/:[]", p.s[p.i]) >= 0) {
		p.i++
	}
	return local + p.s[start:p.i], p.i > start
}
