package vfs

import (
	"bytes"
	"mime"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emersion/go-message/charset"
	"golang.org/x/text/unicode/norm"
)

const (
	maxMessageName = 200 // bytes of a message's name
	maxSubject     = 998 // bytes of a raw subject that are looked at: RFC 5322 section 2.1.1's limit of a line
	noSubject      = "no subject"
)

// messageName makes the name of a message from its internal date (Unix seconds), its raw Subject and its UID. Beginning with a digit and
// ending in ".eml" it is never a device's name (CON, LPT1), hidden, an option, or of trailing dots. It is the same whenever it is made.
func messageName(date int64, subject string, uid uint32) string {
	var tail [20]byte
	suffix := append(tail[:0], " ("...)
	suffix = strconv.AppendUint(suffix, uint64(uid), 10)
	suffix = append(suffix, ").eml"...)
	name := make([]byte, 0, maxMessageName+56)
	name = appendDate(name, date)
	name = append(name, ' ')
	name = appendSubject(name, decodeSubject(subject), maxMessageName-len(suffix))
	return string(append(name, suffix...))
}

// messageUID is the UID in a name that has the form of a message's.
func messageUID(name string) (uint32, bool) {
	rest, ok := strings.CutSuffix(name, ").eml")
	if !ok {
		return 0, false
	}
	i := strings.LastIndexByte(rest, '(')
	if i < 0 || i+1 == len(rest) || rest[i+1] == '0' || rest[i+1] == '+' {
		return 0, false
	}
	uid, err := strconv.ParseUint(rest[i+1:], 10, 32)
	return uint32(uid), err == nil
}

// lastDate is the last second of the year 9999; dates are kept between 1970 and it, so that each has the same form.
const lastDate = 253402300799

func appendDate(b []byte, sec int64) []byte {
	t := time.Unix(min(max(sec, 0), lastDate), 0).UTC()
	year, month, day := t.Date()
	hour, minute, _ := t.Clock()
	b = appendTwo(appendTwo(b, year/100), year%100)
	b = append(b, '-')
	b = appendTwo(b, int(month))
	b = append(b, '-')
	b = appendTwo(b, day)
	b = append(b, ' ')
	return appendTwo(appendTwo(b, hour), minute)
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }

// words decodes RFC 2047 encoded words of any charset that is known.
var words = mime.WordDecoder{CharsetReader: charset.Reader}

// decodeSubject makes UTF-8 of a raw subject. What cannot be decoded stays as it is.
func decodeSubject(raw string) string {
	if len(raw) > maxSubject {
		raw = raw[:maxSubject]
	}
	if strings.Contains(raw, "=?") {
		if s, err := words.DecodeHeader(raw); err == nil {
			raw = s
		}
	}
	if !utf8.ValidString(raw) {
		raw = latin1(raw)
	}
	return raw
}

// latin1 reads the bytes of s that are no UTF-8 as ISO 8859-1, which is what old clients sent unencoded.
func latin1(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			r = rune(s[0])
		}
		b.WriteRune(r)
		s = s[n:]
	}
	return b.String()
}

// appendSubject appends to name what of the subject is safe in a file's name on every system: no control, format (bidi, zero
// width), line or private characters, spaces merged, and "-" for what some system takes for syntax; in NFC. name grows to at most limit
// bytes, cut between runes.
func appendSubject(name []byte, subject string, limit int) []byte {
	start, gap, ascii := len(name), false, true
	for _, r := range subject {
		r = safeRune(r)
		if r == 0 {
			continue
		}
		if r == ' ' {
			gap = len(name) > start
			continue
		}
		if gap {
			name = append(name, ' ')
			gap = false
		}
		if r < utf8.RuneSelf {
			name = append(name, byte(r))
			continue
		}
		name = utf8.AppendRune(name, r)
		ascii = false
	}
	if len(name) == start {
		return append(name, noSubject...)
	}
	if !ascii && !norm.NFC.IsNormal(name[start:]) {
		// Only now: where something was left out, two may have met that make one.
		name = append(name[:start], norm.NFC.Bytes(name[start:])...)
	}
	if len(name) > limit {
		for !utf8.RuneStart(name[limit]) {
			limit--
		}
		name = bytes.TrimRight(name[:limit], " ")
	}
	return name
}

// safeASCII is what stands for each ASCII character; 0 is left out.
var safeASCII = func() (table [utf8.RuneSelf]rune) {
	for r := ' '; r < 0x7f; r++ {
		table[r] = r
	}
	for _, r := range `/\:*?"<>|` {
		table[r] = '-'
	}
	for _, r := range "\t\n\r" {
		table[r] = ' '
	}
	return table
}()

// safeRune is r, what stands for it, or 0 when it is left out.
func safeRune(r rune) rune {
	switch {
	case r < utf8.RuneSelf:
		return safeASCII[r]
	case unicode.Is(unicode.Zs, r) || r == '\u0085' || r == '\u2028' || r == '\u2029':
		return ' '
	case r == utf8.RuneError || !unicode.IsGraphic(r):
		return 0 // controls, format, surrogates, private use, unassigned
	}
	return r
}

// envelopeSubject takes the raw subject out of an ENVELOPE as IMAP writes it (RFC 9051 section 7.5.2): the
// second nstring. "" when there is none.
func envelopeSubject(env []byte) string {
	if len(env) == 0 || env[0] != '(' {
		return ""
	}
	_, rest, ok := nstring(env[1:])
	if !ok || len(rest) == 0 || rest[0] != ' ' {
		return ""
	}
	subject, _, _ := nstring(rest[1:])
	return string(subject)
}

// nstring reads NIL, a quoted string or a literal.
func nstring(b []byte) (s, rest []byte, ok bool) {
	switch {
	case len(b) >= 3 && string(b[:3]) == "NIL":
		return nil, b[3:], true
	case len(b) > 0 && b[0] == '"':
		return quoted(b[1:])
	case len(b) > 0 && (b[0] == '{' || b[0] == '~'):
		return literal(b)
	}
	return nil, nil, false
}

func quoted(b []byte) (s, rest []byte, ok bool) {
	escaped := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if s = b[:i]; escaped {
				s = unescape(s)
			}
			return s, b[i+1:], true
		}
	}
	return nil, nil, false
}

func unescape(s []byte) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return b
}

func literal(b []byte) (s, rest []byte, ok bool) {
	head, _, _ := bytes.Cut(b, []byte("}"))
	from := len(head) + len("}\r\n")
	n, err := strconv.ParseUint(strings.TrimRight(strings.TrimLeft(string(head[:min(len(head), 16)]), "~{"), "+"), 10, 31)
	if err != nil || from+int(n) > len(b) {
		return nil, nil, false
	}
	return b[from : from+int(n)], b[from+int(n):], true
}
