package mime

import (
	"bytes"
	"strings"
)

// fields is what reading header blocks needs and keeps.
type fields struct {
	budget  int    // bytes of header text that this index may still keep: bounded whatever comes in
	scratch []byte // the field being unfolded
}

// maxAddresses is how many addresses of one field are kept, and maxParams how many parameters.
const (
	maxAddresses = 1000
	maxParams    = 100
	maxLanguages = 20
)

// keep makes a string that lives as long as the index, as far as the budget goes.
func (x *fields) keep(b []byte) string {
	if len(b) > x.budget {
		b = b[:max(x.budget, 0)]
	}
	x.budget -= len(b)
	return string(b)
}

// parse reads the header block of an entity: the MIME fields, and the envelope if it is a message's.
func (x *fields) parse(p *Part, header []byte, isMessage, inDigest bool) {
	var typed, encoded bool
	var env *Envelope
	if isMessage {
		env = &Envelope{}
		p.Envelope = env
	}
	for name, raw := range headerFields(header) {
		switch string(name) {
		case "content-type":
			if !typed {
				typed = true
				x.contentType(p, x.unfold(raw))
			}
		case "content-transfer-encoding":
			if !encoded {
				encoded = true
				p.Encoding = x.encoding(x.unfold(raw))
			}
		case "content-disposition":
			if p.Disposition == "" {
				value, rest := token(x.unfold(raw))
				p.Disposition = x.keep(bytes.ToLower(value))
				p.DispParams = x.params(rest)
			}
		case "content-language":
			x.languages(p, x.unfold(raw))
		default:
			if into := contentField(p, name); into != nil && *into == "" {
				*into = x.keep(x.unfold(raw))
			} else if env != nil {
				x.envelopeField(env, name, raw)
			}
		}
	}
	if !typed || p.Type == "" {
		x.defaultType(p, inDigest)
	}
	if p.Encoding == "" {
		p.Encoding = "7bit" // RFC 2045 section 6.1
	}
	if env != nil {
		// RFC 9051 section 7.5.2: an absent or empty Sender or Reply-To is set from From.
		if len(env.Sender) == 0 {
			env.Sender = env.From
		}
		if len(env.ReplyTo) == 0 {
			env.ReplyTo = env.From
		}
	}
}

// defaultType is what an entity is that does not say it, or says what is no type: RFC 2045 section 5.2, RFC 2046 section 5.1.5.
func (x *fields) defaultType(p *Part, inDigest bool) {
	if inDigest {
		p.Type, p.Subtype = "message", "rfc822"
		return
	}
	p.Type, p.Subtype, p.Params = "text", "plain", defaultParams()
}

func contentField(p *Part, name []byte) *string {
	switch string(name) {
	case "content-id":
		return &p.ID
	case "content-description":
		return &p.Description
	case "content-md5":
		return &p.MD5
	case "content-location":
		return &p.Location
	}
	return nil
}

func (x *fields) envelopeField(env *Envelope, name, raw []byte) {
	text := func(into *string, bit Present) {
		if env.Present&bit == 0 {
			env.Present |= bit
			*into = x.keep(x.unfold(raw))
		}
	}
	switch string(name) {
	case "date":
		text(&env.Date, PresentDate)
		env.SentDate, _ = ParseDate(env.Date)
	case "subject":
		text(&env.Subject, PresentSubject)
	case "in-reply-to":
		text(&env.InReplyTo, PresentInReplyTo)
	case "message-id":
		text(&env.MessageID, PresentMessageID)
	case "from":
		env.From = x.addresses(env.From, x.unfold(raw))
	case "sender":
		env.Sender = x.addresses(env.Sender, x.unfold(raw))
	case "reply-to":
		env.ReplyTo = x.addresses(env.ReplyTo, x.unfold(raw))
	case "to":
		env.To = x.addresses(env.To, x.unfold(raw))
	case "cc":
		env.Cc = x.addresses(env.Cc, x.unfold(raw))
	case "bcc":
		env.Bcc = x.addresses(env.Bcc, x.unfold(raw))
	}
}

// headerFields goes through the fields of a header block: the name in lowercase, and the value as it stands, folding included. What
// is no field is passed over. The slices are valid until the next turn.
func headerFields(header []byte) func(yield func(name, raw []byte) bool) {
	return func(yield func(name, raw []byte) bool) {
		var lower [40]byte
		for len(header) > 0 {
			end := fieldEnd(header)
			field := header[:end]
			header = header[end:]
			colon := bytes.IndexByte(field[:min(len(field), 200)], ':')
			if colon <= 0 {
				continue
			}
			name := bytes.TrimRight(field[:colon], " \t")
			if len(name) == 0 || len(name) > len(lower) || bytes.ContainsAny(name, " \t\r\n") {
				continue
			}
			n := copy(lower[:], name)
			for i, c := range lower[:n] {
				if 'A' <= c && c <= 'Z' {
					lower[i] = c + 'a' - 'A'
				}
			}
			if !yield(lower[:n], field[colon+1:]) {
				return
			}
		}
	}
}

// fieldEnd is where the field at the beginning of header ends: behind its last folded line.
func fieldEnd(header []byte) int {
	for i := 0; ; {
		n := bytes.IndexByte(header[i:], '\n')
		if n < 0 {
			return len(header)
		}
		i += n + 1
		if i == len(header) || header[i] != ' ' && header[i] != '\t' {
			return i
		}
	}
}

// unfold gives the value of a field as one line: RFC 5322 section 2.2.3 removes the line ends. NULs go too, for no
// protocol can carry them. The slice is valid until the next call.
func (x *fields) unfold(raw []byte) []byte {
	b := x.scratch[:0]
	for len(raw) > 0 {
		n := bytes.IndexAny(raw, "\r\n\x00")
		if n < 0 {
			b = append(b, raw...)
			break
		}
		b = append(b, raw[:n]...)
		raw = raw[n+1:]
	}
	x.scratch = b
	return bytes.Trim(b, " \t")
}

func (x *fields) encoding(v []byte) string {
	word, _ := token(v)
	switch e := strings.ToLower(string(word)); e {
	case "":
		return "7bit"
	case "7bit", "8bit", "binary", "base64", "quoted-printable":
		return e
	default:
		return x.keep([]byte(e))
	}
}

func (x *fields) languages(p *Part, v []byte) {
	for tag := range bytes.SplitSeq(v, []byte{','}) {
		word, _ := token(tag)
		if len(word) > 0 && len(p.Language) < maxLanguages {
			p.Language = append(p.Language, x.keep(word))
		}
	}
}

func (x *fields) contentType(p *Part, v []byte) {
	major, rest := token(v)
	rest = skipComments(rest)
	if len(major) == 0 || len(rest) == 0 || rest[0] != '/' {
		return
	}
	minor, rest := token(rest[1:])
	if len(minor) == 0 {
		return
	}
	p.Type, p.Subtype = x.keep(bytes.ToLower(major)), x.keep(bytes.ToLower(minor))
	p.Params = x.params(rest)
}

// token takes an RFC 2045 token from the beginning of v, comments before it passed over.
func token(v []byte) (word, rest []byte) {
	v = skipComments(v)
	i := 0
	for i < len(v) && v[i] > ' ' && v[i] != 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?=`, rune(v[i])) {
		i++
	}
	return v[:i], v[i:]
}

// skipComments passes over white space and comments (RFC 5322 section 3.2.2), nested ones too.
func skipComments(v []byte) []byte {
	for {
		v = bytes.TrimLeft(v, " \t")
		if len(v) == 0 || v[0] != '(' {
			return v
		}
		_, v = comment(v)
	}
}

// comment takes the comment at the beginning of v; an unbalanced one reaches to the end.
func comment(v []byte) (text, rest []byte) {
	depth := 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return v[1:i], v[i+1:]
			}
		}
	}
	return v[1:], nil
}

// quoted takes the quoted string at the beginning of v, its quoted pairs resolved; an unbalanced one reaches to the end.
func quoted(v []byte) (text, rest []byte) {
	var b []byte
	for i := 1; i < len(v); i++ {
		switch v[i] {
		case '\\':
			if b == nil {
				b = append(make([]byte, 0, len(v)), v[1:i]...)
			}
			if i++; i < len(v) {
				b = append(b, v[i])
			}
		case '"':
			if b == nil {
				return v[1:i], v[i+1:]
			}
			return b, v[i+1:]
		default:
			if b != nil {
				b = append(b, v[i])
			}
		}
	}
	if b == nil {
		return v[1:], nil
	}
	return b, nil
}
