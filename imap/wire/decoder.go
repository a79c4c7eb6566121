package wire

import (
	"errors"
	"math"
	"strings"
	"unicode/utf8"
)

// MaxDepth is how deep parentheses, NOT and OR may nest.
const MaxDepth = 32

// Decoder is the grammar of one command. Errors stick: after the first one every method
// returns zero values and consumes nothing, and Err tells what it was. So a parser is
// written without looking at each step, as long as its loops end when a method says no.
//
// A Decoder is reused: Next begins a command, Finish ends it.
type Decoder struct {
	// Continue is called when the client waits for leave to send a literal (RFC 9051 section 7.6).
	Continue func() error
	// UTF8: mailbox names are UTF-8 and not modified UTF-7 (RFC 9051 section 5.1, RFC 6855 section 3).
	UTF8 bool
	// LiteralMax is the limit of each literal that is read into memory, LiteralSum that of all of one command. Set after Next.
	LiteralMax, LiteralSum int64
	// TooLong is the error of a literal that is over a limit; nil: BAD [TOOBIG]. Next forgets it.
	TooLong *Error
	// DrainMax is how many bytes of unwanted literals are skipped; 0 means 1 MiB.
	DrainMax int64
	// NonSyncMax is the limit of a non-synchronising literal (RFC 7888 section 5: 4096 under LITERAL-); 0 means that of any literal. Set after Next.
	NonSyncMax int64

	r      *Reader
	line   []byte
	pos    int
	budget int // bytes of lines left to this command
	depth  int
	err    error
	ended  bool   // the last segment was read to its end or skipped
	tag    string // of a first segment that was too long, as far as it can be told
}

// NewDecoder returns a Decoder of what r reads.
func NewDecoder(r *Reader) *Decoder { return &Decoder{r: r} }

// Next reads the first segment of the next command. Errors are those of the connection; a line that is too long is
// Err's *Error and must be finished like any other.
func (d *Decoder) Next() error {
	d.TooLong = nil
	d.err, d.depth, d.pos, d.budget, d.ended = nil, 0, 0, MaxLine, false
	d.line, d.tag = nil, ""
	err := d.segment()
	if err == nil && d.err != nil {
		head := Decoder{line: d.r.park[:d.r.head]}
		d.tag = head.Tag()
	}
	return err
}

// segment reads the next line of the command.
func (d *Decoder) segment() error {
	line, err := d.r.Line(d.budget)
	d.line, d.pos = line, 0
	switch {
	case errors.Is(err, ErrLine):
		d.fail(&Error{Code: "TOOBIG", Text: "Command line too long"})
		d.budget = 1 << 10
	case errors.Is(err, errFlood):
		d.fail(&Error{Text: "Command line too long", Close: true})
		d.ended = true
	case err != nil:
		d.fail(err)
		d.ended = true
		return err
	default:
		d.budget = max(d.budget-len(line), 1)
	}
	return nil
}

// Err is what went wrong: *Error, or an error of the connection.
func (d *Decoder) Err() error { return d.err }

func (d *Decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
}

// Fail makes the command a bad one, with a text for the client.
func (d *Decoder) Fail(text string) { d.fail(bad(text)) }

// Reject is Fail with an error of one's own.
func (d *Decoder) Reject(e *Error) { d.fail(e) }

// Finish ends the command: what is left of it is skipped, with its non-synchronising literals, so that none of their bytes is
// ever taken for a command (RFC 7888 section 4). The error is one of the connection, or *Error with Close.
func (d *Decoder) Finish() error {
	left := d.DrainMax
	if left == 0 {
		left = maxDrain
	}
	for !d.ended {
		n, sync, _, ok := announced(d.line)
		if !ok || sync {
			break // a synchronising literal that was not asked for is never sent
		}
		if left -= n + int64(len(d.line)) + 2; n > left || left < 0 {
			return &Error{Code: "TOOBIG", Text: "Literal too long", Close: true}
		}
		if err := d.r.Discard(n); err != nil {
			return err
		}
		if err := d.segment(); err != nil {
			return err
		}
	}
	d.ended = true
	var e *Error
	if errors.As(d.err, &e) {
		if e.Close {
			return e
		}
		return nil
	}
	return d.err
}

// peek is the next byte, 0 at the end of the segment.
func (d *Decoder) peek() byte {
	if d.err != nil || d.pos >= len(d.line) {
		return 0
	}
	return d.line[d.pos]
}

// Peek tells whether the next byte is c.
func (d *Decoder) Peek(c byte) bool { return d.peek() == c }

// Accept consumes c if it is next.
func (d *Decoder) Accept(c byte) bool {
	if d.peek() != c || d.err != nil || d.pos >= len(d.line) {
		return false
	}
	d.pos++
	return true
}

// Expect consumes c or fails.
func (d *Decoder) Expect(c byte) bool {
	if d.Accept(c) {
		return true
	}
	d.expected("'" + string(rune(c)) + "'")
	return false
}

func (d *Decoder) expected(what string) {
	if d.err == nil {
		d.Fail("Expected " + what)
	}
}

// SP expects exactly one space.
func (d *Decoder) SP() bool {
	if d.Accept(' ') {
		return true
	}
	if d.err == nil && d.pos >= len(d.line) {
		d.Fail("Missing argument")
	} else {
		d.expected("a space")
	}
	return false
}

// EOL expects the end of the command. After it the line is not looked at again.
func (d *Decoder) EOL() bool {
	if d.err != nil {
		return false
	}
	if d.pos < len(d.line) {
		d.Fail("Unexpected text at the end of the command")
		return false
	}
	d.ended = true
	return true
}

// AtEnd tells whether the segment is used up.
func (d *Decoder) AtEnd() bool { return d.err != nil || d.pos >= len(d.line) }

// IsAtomChar is ATOM-CHAR of RFC 9051 section 9.
func IsAtomChar(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']':
		return false
	}
	return c > 0x1f && c < 0x7f
}

func isAStringChar(c byte) bool { return IsAtomChar(c) || c == ']' }

// run consumes the bytes for which ok holds.
func (d *Decoder) run(ok func(byte) bool) []byte {
	if d.err != nil {
		return nil
	}
	start := d.pos
	for d.pos < len(d.line) && ok(d.line[d.pos]) {
		d.pos++
	}
	return d.line[start:d.pos]
}

// Tag reads the tag of a command; it may not be empty.
func (d *Decoder) Tag() string {
	if d.tag != "" {
		return d.tag
	}
	b := d.run(func(c byte) bool { return isAStringChar(c) && c != '+' })
	if len(b) == 0 || len(b) > 256 {
		d.Fail("Bad tag")
		return ""
	}
	return string(b)
}

// atom is the next atom, valid until the next segment.
func (d *Decoder) atom() []byte {
	b := d.run(IsAtomChar)
	if len(b) == 0 {
		d.expected("an atom")
	}
	return b
}

// Atom reads an atom.
func (d *Decoder) Atom() string { return string(d.atom()) }

// Word reads an atom in upper case.
func (d *Decoder) Word() string { return upper(d.atom()) }

func upper(b []byte) string { return strings.ToUpper(string(b)) }

// Label reads a word of letters, digits, '.', '-' and '_' in upper case: of fetch items, options, search keys.
func (d *Decoder) Label() string {
	b := d.run(func(c byte) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_' || c == '=' || c == '/'
	})
	if len(b) == 0 {
		d.expected("a word")
		return ""
	}
	return upper(b)
}

// Number64 reads a number below 2^63.
func (d *Decoder) Number64() int64 {
	b := d.run(isDigit)
	if len(b) == 0 {
		d.expected("a number")
		return 0
	}
	n := number64(b)
	if n == math.MaxInt64 {
		d.Fail("Number too large")
	}
	return n
}

// Number reads a number below 2^32.
func (d *Decoder) Number() uint32 {
	n := d.Number64()
	if n > math.MaxUint32 {
		d.Fail("Number too large")
		return 0
	}
	return uint32(n)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// AString reads an astring: atom (with "]"), quoted or literal.
func (d *Decoder) AString() string {
	switch d.peek() {
	case '"', '{':
		return d.String()
	}
	b := d.run(isAStringChar)
	if len(b) == 0 {
		d.expected("a string")
	}
	return string(b)
}

// NString reads a string or NIL.
func (d *Decoder) NString() (s string, ok bool) {
	switch d.peek() {
	case '"', '{':
		return d.String(), d.err == nil
	}
	if strings.EqualFold(string(d.atom()), "NIL") {
		return "", false
	}
	d.expected("a string or NIL")
	return "", false
}

// String reads a quoted string or a literal.
func (d *Decoder) String() string {
	switch d.peek() {
	case '"':
		return d.quoted()
	case '{':
		return d.literal()
	}
	d.expected("a string")
	return ""
}

func (d *Decoder) quoted() string {
	d.pos++
	start := d.pos
	for i := start; i < len(d.line); i++ {
		switch c := d.line[i]; c {
		case '"':
			d.pos = i + 1
			return d.valid(string(d.line[start:i]))
		case '\\':
			return d.escaped(start, i)
		case 0, '\r':
			d.Fail("Control character in a quoted string")
			return ""
		}
	}
	d.Fail("Quoted string without an end")
	return ""
}

// valid is s, if it is what a quoted string may hold.
//
// RFC 6855 section 3: what has the high bit set and is no UTF-8 is BAD once the client said that it writes UTF-8.
func (d *Decoder) valid(s string) string {
	if d.UTF8 && !utf8.ValidString(s) {
		d.Fail("Quoted string is not UTF-8")
		return ""
	}
	return s
}

// escaped goes on where quoted met a backslash.
func (d *Decoder) escaped(start, i int) string {
	b := append([]byte(nil), d.line[start:i]...)
	for ; i < len(d.line); i++ {
		switch c := d.line[i]; c {
		case '"':
			d.pos = i + 1
			return d.valid(string(b))
		case '\\':
			i++
			if i >= len(d.line) || d.line[i] != '"' && d.line[i] != '\\' {
				d.Fail("Bad escape in a quoted string")
				return ""
			}
			b = append(b, d.line[i])
		case 0, '\r':
			d.Fail("Control character in a quoted string")
			return ""
		default:
			b = append(b, c)
		}
	}
	d.Fail("Quoted string without an end")
	return ""
}

// List reads a parenthesised list with item called for each element; it may be empty. Its depth counts.
func (d *Decoder) List(item func()) {
	if !d.Expect('(') || !d.enter() {
		return
	}
	defer d.leave()
	if d.Accept(')') {
		return
	}
	for {
		item()
		if d.err != nil || d.Accept(')') {
			return
		}
		if !d.SP() {
			return
		}
	}
}

func (d *Decoder) enter() bool {
	if d.depth++; d.depth > MaxDepth {
		d.fail(&Error{Code: "LIMIT", Text: "Nested too deeply"})
		return false
	}
	return true
}

func (d *Decoder) leave() { d.depth-- }

// Rest is the rest of the segment, which stays to be read.
func (d *Decoder) Rest() string {
	if d.err != nil {
		return ""
	}
	return string(d.line[d.pos:])
}

// Text is the rest of the segment, for what has no grammar of its own (a line of AUTHENTICATE).
func (d *Decoder) Text() string {
	if d.err != nil {
		return ""
	}
	s := string(d.line[d.pos:])
	d.pos = len(d.line)
	return s
}

// Mailbox reads a mailbox name into UTF-8.
func (d *Decoder) Mailbox() string {
	return d.name(d.AString())
}

func (d *Decoder) name(s string) string {
	if d.err != nil {
		return ""
	}
	if d.UTF8 || !isASCII(s) {
		if !utf8.ValidString(s) {
			d.fail(&Error{No: true, Code: "CANNOT", Text: "Mailbox name is not UTF-8"})
			return ""
		}
		return s
	}
	u, err := DecodeUTF7(s)
	if err != nil {
		d.fail(&Error{No: true, Code: "CANNOT", Text: "Mailbox name is not modified UTF-7"})
		return ""
	}
	return u
}

// ListMailbox reads a mailbox name with wildcards.
func (d *Decoder) ListMailbox() string {
	switch d.peek() {
	case '"', '{':
		return d.pattern(d.String())
	}
	b := d.run(func(c byte) bool { return isAStringChar(c) || c == '%' || c == '*' })
	if len(b) == 0 {
		d.expected("a mailbox pattern")
	}
	return d.pattern(string(b))
}

// pattern decodes a pattern; one that is no valid name just matches nothing.
func (d *Decoder) pattern(s string) string {
	if d.err != nil || d.UTF8 || !isASCII(s) {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	if u, err := DecodeUTF7(s); err == nil {
		return u
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
