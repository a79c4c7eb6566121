package smtp

import (
	"bytes"
	"crypto/tls"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/idna"
)

const (
	// maxHeader is how long a message's header may be: it is held in memory.
	maxHeader = 1 << 20
	// maxFields is how many fields it may have: many times what anybody writes, and each costs much more memory than the three octets that it needs.
	maxFields = 10_000
	// maxReceived is how many servers a message may have passed: RFC 5321 section 6.3 asks for 100 at least.
	maxReceived = 100
)

var (
	errHeader = say(554, "5.6.0", "message header is too large")
	errFields = say(554, "5.6.0", "message header has more than %d fields", maxFields)
)

// header is the header of a message (RFC 5322 section 2.2).
type header struct {
	fields []field
	rest   []byte // what was read behind the fields; it begins with the empty line
	ended  bool   // rest is all there is
}

// field is a header field with its folded lines and their ends.
type field struct {
	name string // lowercase
	raw  []byte
}

const headerBuffer = 8 << 10

var headers = sync.Pool{New: func() any { return new([headerBuffer]byte) }}

// readHeader reads the header of a message, and a little more, into buf while it has room. A header that ends without an empty line, at a line that is no field, gets one.
func readHeader(r io.Reader, buf []byte) (*header, error) {
	h := &header{}
	for scanned := 0; ; {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), maxHeader+1)])
		buf = buf[:len(buf)+n]
		if err != nil && err != io.EOF {
			return nil, err
		}
		if err == nil && !bytes.HasPrefix(buf, crlf) && !bytes.Contains(buf[scanned:], []byte("\r\n\r\n")) {
			if len(buf) <= maxHeader {
				scanned = max(0, len(buf)-3)
				continue
			}
			// It may be one without an end that is none at all: text without a header.
			if err := h.parse(buf); err != nil {
				return nil, err
			}
			if len(h.rest) <= len(crlf) || lineEnd(h.rest[2:]) == len(h.rest)-2 {
				return nil, errHeader
			}
			return h, nil
		}
		h.ended = err == io.EOF
		if err := h.parse(buf); err != nil {
			return nil, err
		}
		return h, nil
	}
}

// parse splits b. The only error is errFields.
func (h *header) parse(b []byte) error {
	for len(b) > 0 {
		if bytes.HasPrefix(b, crlf) {
			h.rest = b
			return nil
		}
		n := lineEnd(b)
		name, ok := fieldName(b[:n])
		if !ok {
			break
		}
		for n < len(b) && (b[n] == ' ' || b[n] == '\t') {
			n += lineEnd(b[n:])
		}
		if len(h.fields) == maxFields {
			return errFields
		}
		h.fields = append(h.fields, field{name, b[:n]})
		b = b[n:]
	}
	h.rest = append([]byte("\r\n"), b...)
	return nil
}

func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

// fieldName is the name of the field that a line begins: printable ASCII without a colon (RFC 5322 section 3.6.8), blanks behind it being obsolete.
func fieldName(line []byte) (string, bool) {
	name, _, ok := bytes.Cut(line, []byte(":"))
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 {
		return "", false
	}
	for _, b := range name {
		if b <= ' ' || b >= 0x7f {
			return "", false
		}
	}
	return strings.ToLower(string(name)), true
}

func (h *header) count(name string) int {
	n := 0
	for _, f := range h.fields {
		if f.name == name {
			n++
		}
	}
	return n
}

// first is the body of the first field of that name, unfolded.
func (h *header) first(name string) string {
	for _, f := range h.fields {
		if f.name == name {
			_, value, _ := strings.Cut(string(f.raw), ":")
			return strings.TrimSpace(strings.ReplaceAll(value, "\r\n", ""))
		}
	}
	return ""
}

// drop takes the fields of these names away.
func (h *header) drop(names ...string) {
	h.fields = slices.DeleteFunc(h.fields, func(f field) bool { return slices.Contains(names, f.name) })
}

// writeWithout writes the fields but those of that name.
func (h *header) writeWithout(w io.Writer, name string) error {
	for _, f := range h.fields {
		if f.name == name {
			continue
		}
		_, err := w.Write(f.raw)
		if err == nil && !bytes.HasSuffix(f.raw, crlf) {
			_, err = w.Write(crlf) // the message ended within its header
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// quoteLocal gives a local part its quotes back if it needs them (RFC 5321 section 4.1.2).
func quoteLocal(s string) string {
	if s != "" && !strings.ContainsAny(s, "()<>[]:;@\\,\" \t") && s[0] != '.' && s[len(s)-1] != '.' && !strings.Contains(s, "..") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// traceMore is room for what mostly follows the trace fields: Authentication-Results.
const traceMore = 512

// trace is what RFC 5321 section 4.4 puts on top: Return-Path and Received.
func (t *transaction) trace(id string) []byte {
	c := t.c
	var b strings.Builder
	b.WriteString("Return-Path: <" + t.sender.path + ">\r\n")
	b.WriteString("Received: from " + heloName(c.helo, t.sender.utf8) + " (" + literal(c) + ")\r\n")
	b.WriteString("\tby " + c.srv.o.Name + " with " + protocol(c, t.sender.utf8) + " id " + id)
	if cs, ok := c.ses.TLS(); ok {
		b.WriteString("\r\n\t(" + tls.VersionName(cs.Version) + " " + tls.CipherSuiteName(cs.CipherSuite) + ")")
	}
	// Only for one: of several, none shall read the others' names (RFC 5321 section 7.6).
	if len(t.recipients) == 1 && strings.Contains(t.recipients[0].path, "@") {
		b.WriteString("\r\n\tfor <" + t.recipients[0].path + ">")
	}
	if t.sender.priority != 0 {
		b.WriteString("\r\n\tPRIORITY " + itoa(t.sender.priority)) // RFC 6710 section 4.1
	}
	b.WriteString(";\r\n\t" + date(c.srv.o.Now()) + "\r\n")
	return append(make([]byte, 0, b.Len()+traceMore), b.String()...)
}

// heloName is a name that may stand in Received; what is none becomes "unknown". RFC 6531 section 3.7.3: U-labels only in messages that came with SMTPUTF8; a header
// that is not ASCII would be one that other servers refuse.
func heloName(s string, utf8 bool) string {
	if !utf8 && !ascii(s) {
		s, _ = idna.Lookup.ToASCII(s)
	}
	if validMailbox("x@" + s) {
		return s
	}
	return "unknown"
}

func literal(c *client) string {
	addr := c.ses.Remote().Addr().Unmap()
	if !addr.IsValid() {
		return "unknown"
	}
	if addr.Is6() {
		return "[IPv6:" + addr.WithZone("").String() + "]"
	}
	return "[" + addr.String() + "]"
}

// protocol is the word of RFC 3848 and of RFC 6531 section 4.3.
func protocol(c *client, utf8 bool) string {
	word := "SMTP"
	switch {
	case c.srv.o.Mode == LMTP && utf8:
		word = "UTF8LMTP"
	case c.srv.o.Mode == LMTP:
		word = "LMTP"
	case utf8:
		word = "UTF8SMTP"
	case c.esmtp:
		word = "ESMTP"
	}
	if _, ok := c.ses.TLS(); ok && c.esmtp {
		word += "S"
	}
	if c.account != nil && c.esmtp {
		word += "A"
	}
	return word
}

func date(t time.Time) string { return t.Format("Mon, 2 Jan 2006 15:04:05 -0700") }

func itoa(n int) string { return strconv.Itoa(n) }
