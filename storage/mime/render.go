package mime

import "strconv"

// AppendEnvelope appends the ENVELOPE of the message as IMAP writes it (RFC 9051 section 7.5.2), parentheses included. What
// is not 7-bit text is a literal, so that it suits every client whatever it enabled.
func (x *Index) AppendEnvelope(dst []byte) []byte { return x.Root.Envelope.append(dst) }

func (e *Envelope) append(dst []byte) []byte {
	if e == nil {
		e = &Envelope{}
	}
	field := func(text string, bit Present) {
		if e.Present&bit == 0 {
			dst = append(dst, "NIL"...)
		} else {
			dst = appendString(dst, text)
		}
	}
	dst = append(dst, '(')
	field(e.Date, PresentDate)
	dst = append(dst, ' ')
	field(e.Subject, PresentSubject)
	for _, list := range [...][]Address{e.From, e.Sender, e.ReplyTo, e.To, e.Cc, e.Bcc} {
		dst = append(dst, ' ')
		dst = appendAddresses(dst, list)
	}
	dst = append(dst, ' ')
	field(e.InReplyTo, PresentInReplyTo)
	dst = append(dst, ' ')
	field(e.MessageID, PresentMessageID)
	return append(dst, ')')
}

func appendAddresses(dst []byte, list []Address) []byte {
	if len(list) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i := range list {
		a := &list[i]
		dst = append(dst, '(')
		dst = appendNString(dst, a.Name)
		dst = append(dst, ' ')
		dst = appendNString(dst, a.Route)
		dst = append(dst, ' ')
		if a.Mailbox == "" && a.Host != "" {
			dst = append(dst, `""`...) // RFC 9051 section 9: addr-mailbox is NIL at the end of a group only
		} else {
			dst = appendNString(dst, a.Mailbox)
		}
		dst = append(dst, ' ')
		dst = appendNString(dst, a.Host)
		dst = append(dst, ')')
	}
	return append(dst, ')')
}

// AppendStructure appends BODYSTRUCTURE likewise. AppendBody makes BODY of it.
func (x *Index) AppendStructure(dst []byte) []byte { return x.Root.append(dst) }

func (p *Part) append(dst []byte) []byte {
	dst = append(dst, '(')
	if p.Type == "multipart" {
		for i := range p.Parts {
			dst = p.Parts[i].append(dst)
		}
		dst = append(dst, ' ')
		dst = appendString(dst, p.Subtype)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.Params)
		return append(p.appendExtension(dst), ')')
	}
	dst = appendString(dst, p.Type)
	dst = append(dst, ' ')
	dst = appendString(dst, p.Subtype)
	dst = append(dst, ' ')
	dst = appendParams(dst, p.Params)
	for _, text := range [...]string{p.ID, p.Description} {
		dst = append(dst, ' ')
		dst = appendNString(dst, text)
	}
	dst = append(dst, ' ')
	dst = appendString(dst, p.Encoding)
	dst = append(dst, ' ')
	dst = appendNumber(dst, p.End-p.BodyOffset)
	switch {
	case p.isMessage() && len(p.Parts) == 1:
		dst = append(dst, ' ')
		dst = p.Parts[0].Envelope.append(dst)
		dst = append(dst, ' ')
		dst = p.Parts[0].append(dst)
		fallthrough
	case p.Type == "text":
		dst = append(dst, ' ')
		dst = appendNumber(dst, p.Lines)
	}
	dst = append(dst, ' ')
	dst = appendNString(dst, p.MD5)
	return append(p.appendExtension(dst), ')')
}

// appendExtension appends disposition, language and location (RFC 9051 section 7.5.2: body-ext-1part and body-ext-mpart end alike).
func (p *Part) appendExtension(dst []byte) []byte {
	if p.Disposition == "" {
		dst = append(dst, " NIL"...)
	} else {
		dst = append(dst, " ("...)
		dst = appendString(dst, p.Disposition)
		dst = append(dst, ' ')
		dst = appendParams(dst, p.DispParams)
		dst = append(dst, ')')
	}
	switch len(p.Language) {
	case 0:
		dst = append(dst, " NIL"...)
	case 1:
		dst = append(dst, ' ')
		dst = appendString(dst, p.Language[0])
	default:
		dst = append(dst, " ("...)
		for i, l := range p.Language {
			if i > 0 {
				dst = append(dst, ' ')
			}
			dst = appendString(dst, l)
		}
		dst = append(dst, ')')
	}
	dst = append(dst, ' ')
	return appendNString(dst, p.Location)
}

func appendParams(dst []byte, ps []Param) []byte {
	if len(ps) == 0 {
		return append(dst, "NIL"...)
	}
	dst = append(dst, '(')
	for i, p := range ps {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = appendString(dst, p.Name)
		dst = append(dst, ' ')
		dst = appendString(dst, p.Value)
	}
	return append(dst, ')')
}

// appendNumber appends what IMAP calls number: 32 bits.
func appendNumber(dst []byte, n int64) []byte {
	return strconv.AppendInt(dst, min(max(n, 0), 1<<32-1), 10)
}

func appendNString(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// appendString appends a quoted string, or a literal when that cannot hold it.
func appendString(dst []byte, s string) []byte {
	escapes := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			escapes++
		case c >= 0x80 || c < ' ' && c != '\t' || c == 0x7f:
			return appendLiteral(dst, s)
		}
	}
	dst = append(dst, '"')
	if escapes == 0 {
		dst = append(dst, s...)
	} else {
		for i := range len(s) {
			if s[i] == '"' || s[i] == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, s[i])
		}
	}
	return append(dst, '"')
}

// appendLiteral appends {n} and the bytes. NUL cannot be in one (RFC 9051 section 9: CHAR8); it becomes a question mark.
func appendLiteral(dst []byte, s string) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	for i := range len(s) {
		c := s[i]
		if c == 0 {
			c = '?'
		}
		dst = append(dst, c)
	}
	return dst
}
