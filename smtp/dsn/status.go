package dsn

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// status is the second part: for machines.
func (c *composer) status() {
	m := c.m
	kind := "message/delivery-status"
	if m.UTF8 {
		kind = "message/global-delivery-status" // RFC 6533 section 4.1
	}
	f := fields{utf8: m.UTF8}
	if m.EnvelopeID != "" {
		f.add("Original-Envelope-Id", asciiOnly(m.EnvelopeID))
	}
	f.add("Reporting-MTA", "dns; "+m.Reporter)
	if !m.Arrival.IsZero() {
		f.add("Arrival-Date", short(m.Arrival))
	}
	for i := range m.Recipients {
		f.b.WriteString("\r\n")
		f.recipient(&m.Recipients[i], m.Queue)
	}
	text := f.b.String()
	encoding := encodingOf(text)
	c.part(kind, encoding, "Content-Description: Delivery report")
	c.text(encoding, text)
}

// fields are groups of header fields.
type fields struct {
	b    strings.Builder
	utf8 bool // they may hold UTF-8
}

// recipient writes the fields of one (RFC 3464 section 2.3), in the order that is given there.
func (f *fields) recipient(r *Recipient, queue string) {
	if r.Original != "" {
		f.add("Original-Recipient", f.original(r.Original))
	}
	f.add("Final-Recipient", f.address(r.Address))
	f.add("Action", string(r.Action))
	f.add("Status", r.status())
	if host, ip, _ := strings.Cut(oneLine(r.Remote), " ("); host != "" {
		v := "dns; " + host
		if ip = strings.TrimSuffix(ip, ")"); ip != "" {
			v += " (" + ip + ")"
		}
		f.add("Remote-MTA", v)
	}
	switch reply := oneLine(r.Reply); {
	case reply != "" && smtpReply(reply):
		f.add("Diagnostic-Code", "smtp; "+reply)
	case reply != "" || r.Why != "":
		// RFC 3464 section 2.3.6: what no SMTP server said is not called smtp.
		f.add("Diagnostic-Code", "X-Packetboat; "+oneLine(reply+" "+r.Why))
	}
	if !r.LastAttempt.IsZero() {
		f.add("Last-Attempt-Date", short(r.LastAttempt))
	}
	if queue != "" {
		f.add("Final-Log-ID", queue)
	}
	// RFC 3464 section 2.3.9: of a delay alone.
	if r.Action == Delayed && !r.WillRetryUntil.IsZero() {
		f.add("Will-Retry-Until", short(r.WillRetryUntil))
	}
}

// smtpReply tells whether s begins with a reply code.
func smtpReply(s string) bool {
	return len(s) >= 3 && s[0] >= '2' && s[0] <= '5' && s[1] >= '0' && s[1] <= '9' && s[2] >= '0' && s[2] <= '9' && (len(s) == 3 || s[3] == ' ' || s[3] == '-')
}

// status is that of RFC 3463, with the class alone when nobody said more.
func (r *Recipient) status() string {
	var class, subject, detail int
	if n, _ := fmt.Sscanf(r.Status, "%d.%d.%d", &class, &subject, &detail); n == 3 && (class == 2 || class == 4 || class == 5) && subject >= 0 && subject <= 999 && detail >= 0 && detail <= 999 {
		return fmt.Sprintf("%d.%d.%d", class, subject, detail)
	}
	switch r.Action {
	case Failed:
		return "5.0.0"
	case Delayed:
		return "4.0.0"
	}
	return "2.0.0"
}

// address is one with its type.
func (f *fields) address(a string) string {
	a = oneLine(a)
	switch {
	case ascii(a):
		return "rfc822; " + a
	case f.utf8:
		return "utf-8; " + a
	}
	return "utf-8; " + unitext(a) // RFC 6533 section 3: the 7-bit form
}

// original is ORCPT as it came, in the form that suits the part.
func (f *fields) original(orcpt string) string {
	kind, a, ok := strings.Cut(oneLine(orcpt), ";")
	if !ok {
		return f.address(orcpt)
	}
	a = strings.TrimSpace(a)
	switch utf8Type := strings.EqualFold(kind, "utf-8"); {
	case utf8Type && f.utf8:
		a = fromUnitext(a)
	case utf8Type && !ascii(a):
		a = unitext(a)
	case !ascii(a) && !f.utf8:
		kind, a = "utf-8", unitext(a)
	}
	return asciiOnly(kind) + "; " + a
}

// unitext is the form of RFC 6533 section 3 that is ASCII.
func unitext(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r > ' ' && r < 0x7f && r != '\\' && r != '+' && r != '=' {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "\\x{%02X}", r)
		}
	}
	return b.String()
}

// fromUnitext undoes it; what is no such form stays as it is.
func fromUnitext(s string) string {
	var b strings.Builder
	for rest := s; rest != ""; {
		before, after, found := strings.Cut(rest, `\x{`)
		b.WriteString(before)
		if !found {
			break
		}
		hex, tail, closed := strings.Cut(after, "}")
		var r rune
		if n, err := fmt.Sscanf(hex, "%x", &r); !closed || n != 1 || err != nil || len(hex) > 6 || !utf8.ValidRune(r) || r < ' ' {
			return s
		}
		b.WriteRune(r)
		rest = tail
	}
	return b.String()
}

// short is a date without its day of the week, which some readers do not expect here.
func short(t time.Time) string { return t.Format("2 Jan 2006 15:04:05 -0700") }

func asciiOnly(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 0x80 {
			return '?'
		}
		return r
	}, oneLine(s))
}

// fold is how long a line becomes before it is folded at a blank, and foldMax where it is cut anyway.
const (
	fold    = 76
	foldMax = 900
)

// add writes a field, folded.
func (f *fields) add(name, value string) {
	value = oneLine(value)
	if !f.utf8 {
		value = asciiOnly(value)
	}
	line := name + ":"
	for word := range strings.SplitSeq(value, " ") {
		if word == "" {
			continue
		}
		for len(word) > foldMax {
			n := foldMax
			for n > 0 && !utf8.RuneStart(word[n]) {
				n--
			}
			f.b.WriteString(line + "\r\n")
			line, word = " "+word[:n], word[n:]
		}
		if len(line)+1+len(word) > fold && line != "" && line != name+":" {
			f.b.WriteString(line + "\r\n")
			line = ""
		}
		line += " " + word
	}
	f.b.WriteString(line + "\r\n")
}
