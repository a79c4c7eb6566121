package wire

import (
	"io"
	"math"
)

// announced parses the announcement of a literal at the end of a line: {n} {n+} ~{n} ~{n+}.
func announced(line []byte) (n int64, sync, lit8, ok bool) {
	i := len(line) - 1
	if i < 2 || line[i] != '}' {
		return 0, false, false, false
	}
	i--
	sync = true
	if line[i] == '+' {
		sync = false
		i--
	}
	end := i
	for i >= 0 && line[i] >= '0' && line[i] <= '9' {
		i--
	}
	if i < 0 || line[i] != '{' || end == i {
		return 0, false, false, false
	}
	n = number64(line[i+1 : end+1])
	lit8 = i > 0 && line[i-1] == '~'
	return n, sync, lit8, true
}

// number64 is saturated: what is too large for an int64 is the largest.
func number64(digits []byte) int64 {
	var n int64
	for _, c := range digits {
		digit := int64(c - '0')
		if n > (math.MaxInt64-digit)/10 {
			return math.MaxInt64
		}
		n = n*10 + digit
	}
	return n
}

// literal reads a literal into memory.
func (d *Decoder) literal() string { return d.literalOf(false) }

// literalOf is literal; binary: also a literal8, in which there may be a NUL.
func (d *Decoder) literalOf(binary bool) string {
	n, sync, lit8, ok := announced(d.line[d.pos:])
	if d.err != nil {
		return ""
	}
	if !ok || lit8 && !binary || !d.here() {
		d.Fail("Bad literal")
		return ""
	}
	if n > d.LiteralMax || n > d.LiteralSum || !d.mayPush(n, sync) {
		if d.TooLong != nil {
			d.fail(d.TooLong)
		}
		d.fail(&Error{Code: "TOOBIG", Text: "Literal too long"})
		return ""
	}
	d.LiteralSum -= n
	if sync {
		if err := d.Continue(); err != nil {
			d.broken(err)
			return ""
		}
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(d.r, b); err != nil {
		d.broken(err)
		return ""
	}
	if d.segment() != nil {
		return ""
	}
	for _, c := range b {
		if c == 0 && !lit8 {
			d.Fail("NUL in a literal")
			return ""
		}
	}
	return string(b)
}

// mayPush tells whether a literal may come without leave.
func (d *Decoder) mayPush(n int64, sync bool) bool {
	return sync || d.NonSyncMax == 0 || n <= d.NonSyncMax
}

// here tells whether the announcement at the end of the segment begins at pos.
func (d *Decoder) here() bool {
	rest := d.line[d.pos:]
	if len(rest) > 0 && rest[0] == '~' {
		rest = rest[1:]
	}
	if len(rest) < 3 || rest[0] != '{' {
		return false
	}
	for _, c := range rest[1 : len(rest)-1] {
		if !isDigit(c) && c != '+' {
			return false
		}
	}
	return true
}

// broken: the connection failed in the middle of a command.
func (d *Decoder) broken(err error) {
	d.fail(err)
	d.ended = true
}

// Literal is a literal that is not read into memory: of APPEND. The announcement is next; nothing was answered yet.
type Literal struct {
	Size   int64
	Sync   bool // the client waits for leave
	Binary bool // literal8
	d      *Decoder
	left   int64
}

// Literal looks at the announcement of a literal. The caller refuses it by doing nothing, or calls Open.
func (d *Decoder) Literal() (l Literal, ok bool) {
	if d.err != nil {
		return l, false
	}
	n, sync, lit8, ok := announced(d.line[min(d.pos, len(d.line)):])
	if !ok || !d.here() {
		d.expected("a literal")
		return l, false
	}
	if !d.mayPush(n, sync) {
		d.fail(&Error{Code: "TOOBIG", Text: "Non-synchronising literal too long"})
		return l, false
	}
	return Literal{Size: n, Sync: sync, Binary: lit8, d: d, left: n}, true
}

// Open gives the client leave to send.
func (l *Literal) Open() error {
	if l.Sync {
		if err := l.d.Continue(); err != nil {
			l.d.broken(err)
			return err
		}
	}
	return nil
}

// Read reads the literal's bytes; io.EOF after the last.
func (l *Literal) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.d.r.Read(p)
	l.left -= int64(n)
	if err == io.EOF && l.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil && l.left > 0 {
		l.d.broken(err)
		return n, err
	}
	return n, nil
}

// Close skips what was not read and goes on to the segment behind the literal. The command may be as long again from
// here on: whoever takes many literals counts them.
func (l *Literal) Close() error {
	if l.d.ended {
		return l.d.err
	}
	if err := l.d.r.Discard(l.left); err != nil {
		l.d.broken(err)
		return err
	}
	l.left = 0
	l.d.budget = MaxLine
	return l.d.segment()
}
