package verify

import (
	"strconv"
	"strings"
)

// fieldName of RFC 8601.
const fieldName8601 = "Authentication-Results"

// Field is the Authentication-Results field (RFC 8601) with its CRLF, by the server that calls itself id. One method stands on a line. What the client or
// the DNS said stands there only as far as the field's grammar takes it, quoted where that is needed, and in no comment.
func (r *Result) Field(id string) []byte {
	b := &strings.Builder{}
	b.WriteString(fieldName8601 + ": " + value(id, r.UTF8))
	for _, m := range r.methods() {
		b.WriteString(";\r\n\t" + m.method + "=" + string(m.status))
		line := len(m.method) + len(m.status) + 9
		put := func(s string) {
			if line+1+len(s) > 78 {
				b.WriteString("\r\n\t")
				line = 8
			} else {
				b.WriteByte(' ')
				line++
			}
			b.WriteString(s)
			line += len(s)
		}
		if m.comment != "" {
			put("(" + m.comment + ")")
		}
		if m.reason != "" {
			put("reason=" + value(m.reason, r.UTF8))
		}
		for _, p := range m.properties {
			if v := p.text(r.UTF8); v != "" {
				put(p.name + "=" + v)
			}
		}
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

// method is one resinfo.
type method struct {
	method     string
	status     Status
	comment    string // our own words alone
	reason     string
	properties []property
}

// property is a propspec.
type property struct {
	name    string // "smtp.mailfrom"
	value   string
	address bool // value may be local@domain, or @domain
}

// text is the value as it may stand there; "": it may not.
func (p property) text(utf8 bool) string {
	if p.value == "" {
		return ""
	}
	if p.address {
		return pvalueAddress(p.value, utf8)
	}
	return value(p.value, utf8)
}

// methods are the results in the order in which they are written.
func (r *Result) methods() []method {
	all := []method{r.SPF.method(property{"smtp.mailfrom", r.MailFrom, true})}
	if r.MailFrom == "" {
		all[0].properties[0] = property{"smtp.helo", r.Helo, false}
	} else if r.HELO.Status != None && r.HELO.Status != "" {
		all = append(all, r.HELO.method(property{"smtp.helo", r.Helo, false}))
	}
	if len(r.DKIM) == 0 {
		all = append(all, method{method: "dkim", status: None})
	}
	for _, s := range r.DKIM {
		all = append(all, method{method: "dkim", status: s.Status, reason: s.Reason, properties: []property{
			{"header.d", s.Domain, false}, {"header.i", s.identity(), true}, {"header.s", s.Selector, false}, {"header.a", s.Algorithm, false}, {"header.b", s.Begin, false}}})
	}
	d := r.DMARC
	m := method{method: "dmarc", status: d.Status, reason: d.Reason, properties: []property{{"header.from", d.From, false}}}
	if d.Policy != "" {
		m.comment = "p=" + d.Policy + " dis=" + d.Disposition()
	}
	all = append(all, m)
	if r.ARC.Status != "" && r.ARC.Status != ARCNone {
		a := method{method: "arc", status: Status(r.ARC.Status)}
		if n := len(r.ARC.Sets); n > 0 {
			a.comment = "i=" + strconv.Itoa(n)
		}
		if n := r.ARC.OldestPass; n > 0 { // RFC 8617 section 5.2: 0, that all hold, is what is meant without it too; some readers refuse it
			a.properties = []property{{"header.oldest-pass", strconv.Itoa(n), false}}
		}
		all = append(all, a)
	}
	ip := method{method: "iprev", status: r.IPRev.Status, reason: r.IPRev.Reason, properties: []property{{"policy.iprev", r.Remote.String(), false}}}
	if r.IPRev.Status == None || r.IPRev.Status == "" {
		return all
	}
	return append(all, ip)
}

func (s SPF) method(p property) method {
	return method{method: "spf", status: s.Status, reason: s.Reason, properties: []property{p}}
}

func (s Signature) identity() string {
	if s.Identity == "" {
		return ""
	}
	return "@" + s.Identity
}

// quoting makes of a text what stands in a quoted string.
var quoting = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// value is a value of RFC 2045 section 5.1: a token, or a quoted string when it must be one. Control characters, and what is not ASCII without
// SMTPUTF8, become "?"; more than 255 octets are cut.
func value(s string, utf8 bool) string {
	s = tame(s, utf8)
	if isToken(s) {
		return s
	}
	return `"` + quoting.Replace(s) + `"`
}

// tame takes out what no field may contain.
func tame(s string, utf8 bool) string {
	if len(s) > 255 {
		s = s[:255]
	}
	s = strings.ToValidUTF8(s, "?")
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c >= 0x80 && (!utf8 || c < 0xa0 || c == '\u2028' || c == '\u2029') {
			return '?'
		}
		return c
	}, s)
}

// isToken: RFC 2045 section 5.1, and UTF-8 beside ASCII (RFC 6532).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`()<>@,;:\"/[]?=`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// pvalueAddress is [[local-part] "@"] domain-name (RFC 8601 section 2.2): the address when its local part is a dot-atom, else the domain; nothing
// when that is no domain.
func pvalueAddress(s string, utf8 bool) string {
	at := strings.LastIndexByte(s, '@')
	domain, err := asciiDomain(s[at+1:])
	if err != nil {
		return ""
	}
	if at < 0 {
		return domain
	}
	local := s[:at]
	if tame(local, utf8) != local || len(local) > 64 || at > 0 && !dotAtom(local) {
		return domain
	}
	return local + "@" + domain
}

// dotAtom: atoms with dots between (RFC 5322 section 3.2.3).
func dotAtom(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" {
			return false
		}
		for i := range len(atom) {
			if !isAtom(atom[i]) {
				return false
			}
		}
	}
	return true
}
