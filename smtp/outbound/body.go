package outbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/packetboat/packetboat/storage"
)

// maxInMemory is how large a message may be that is read whole; a larger one is read in blocks, and one that must be changed goes into a file without a name.
const maxInMemory = 256 << 10

// maxLineOut is how long a line may be without its CRLF. RFC 5321 section 4.5.3.1.6.
const maxLineOut = 998

// facts are what a look at a message tells of how it can be sent.
type facts struct {
	clean       bool // each line ends with CRLF, the last one too; no bare CR, bare LF or NUL
	eightHeader bool // octets above 127 in its header
	eightBody   bool // and behind it
	longHeader  bool // a line of more than 998 octets
	longBody    bool
	foreign     bool // somebody signed it: what is changed breaks that
	binary      bool // a part says that it is binary
	noTLS       bool // "TLS-Required: No" (RFC 8689 section 5)
}

// looker is a Writer that finds facts.
type looker struct {
	facts
	length int // of the line so far
	cr     bool
	bad    bool
	body   bool
	line   [40]byte // the beginning of the line
}

const encodingField = "content-transfer-encoding"

func (l *looker) Write(b []byte) (int, error) {
	for _, c := range b {
		switch {
		case c == '\n':
			if !l.cr {
				l.bad = true
			}
			l.end()
			continue
		case l.cr: // a CR that no LF follows
			l.bad = true
		}
		if l.cr = c == '\r'; l.cr {
			continue
		}
		if c == 0 {
			l.bad = true
		}
		if c >= 0x80 {
			if l.body {
				l.eightBody = true
			} else {
				l.eightHeader = true
			}
		}
		if l.length < len(l.line) {
			l.line[l.length] = c
		}
		l.length++
	}
	return len(b), nil
}

// end is the end of a line.
func (l *looker) end() {
	n := l.length
	l.length, l.cr = 0, false
	if n > maxLineOut {
		if l.body {
			l.longBody = true
		} else {
			l.longHeader = true
		}
	}
	start := l.line[:min(n, len(l.line))]
	if n > len(encodingField) && hasField(start, encodingField) { // of any part
		l.binary = l.binary || bytes.EqualFold(bytes.TrimSpace(start[len(encodingField)+1:]), []byte("binary"))
	}
	if l.body {
		return
	}
	if n == 0 {
		l.body = true
		return
	}
	switch {
	case hasField(start, "dkim-signature"), hasField(start, "arc-seal"):
		l.foreign = true
	case hasField(start, "tls-required"):
		l.noTLS = bytes.EqualFold(bytes.TrimSpace(start[len("tls-required:"):]), []byte("no"))
	}
}

func hasField(line []byte, name string) bool {
	return len(line) > len(name) && line[len(name)] == ':' && bytes.EqualFold(line[:len(name)], []byte(name))
}

// found is what was found, at the end.
func (l *looker) found() facts {
	l.clean = !l.bad && l.length == 0 && !l.cr
	return l.facts
}

// lines is a Writer that ends every line with CRLF: a bare LF and a bare CR become one, and a NUL goes (RFC 5321 section 2.3.8: CR and LF come
// together only, and section 4.5.2 of a NUL as of any octet that could make a line of a dot what it is not).
type lines struct {
	w   io.Writer
	out []byte
	cr  bool
	mid bool // the line has begun
}

func (l *lines) Write(b []byte) (int, error) {
	l.out = l.out[:0]
	for _, c := range b {
		switch {
		case c == '\n':
			l.out = append(l.out, '\r', '\n')
			l.cr, l.mid = false, false
			continue
		case l.cr:
			l.out = append(l.out, '\r', '\n')
			l.cr, l.mid = false, false
		}
		switch c {
		case '\r':
			l.cr = true
		case 0:
		default:
			l.out = append(l.out, c)
			l.mid = true
		}
	}
	_, err := l.w.Write(l.out)
	return len(b), err
}

// close ends the last line.
func (l *lines) close() error {
	if !l.cr && !l.mid {
		return nil
	}
	l.cr, l.mid = false, false
	_, err := io.WriteString(l.w, "\r\n")
	return err
}

// original is a message as it was stored, opened once for all that happens with it in one go.
type original struct {
	facts
	body *content
}

// openOriginal reads a message of the outbox and makes its lines fit to leave. What it holds is freed by close.
func openOriginal(b storage.Body) (*original, error) {
	skip := returnPath(b)
	m := &original{body: &content{size: b.Size() - skip, at: io.NewSectionReader(b, skip, b.Size()-skip), close: func() { b.Close() }}}
	if m.body.size <= maxInMemory {
		m.body.mem = make([]byte, m.body.size)
		if _, err := io.ReadFull(io.NewSectionReader(b, skip, m.body.size), m.body.mem); err != nil {
			b.Close()
			return nil, errors.Join(errBody, err)
		}
	}
	err := m.look()
	if err == nil && m.binary {
		if err = m.recode(false, false); errors.Is(err, errFixed) {
			err = nil
		}
	}
	if err == nil && !m.clean {
		err = m.change(func(w io.Writer) error {
			l := &lines{w: w}
			return errors.Join(copyContent(l, m.body), l.close())
		})
	}
	if err != nil {
		m.close()
		return nil, errors.Join(errBody, err)
	}
	return m, nil
}

// maxReturnPath is how long the field may be that returnPath looks for: what is longer is none of ours.
const maxReturnPath = 4 << 10

// returnPath is how long the Return-Path is that a message begins with: it is there for local mailboxes, and must not go out (RFC 5321 section 4.4).
func returnPath(r io.ReaderAt) int64 {
	var buf [maxReturnPath]byte
	n, _ := r.ReadAt(buf[:], 0) // what cannot be read shows when the message is
	if !hasField(buf[:n], "return-path") {
		return 0
	}
	for at := 0; ; {
		i := bytes.IndexByte(buf[at:n], '\n')
		if i < 0 {
			return 0
		}
		if at += i + 1; at == n || buf[at] != ' ' && buf[at] != '\t' {
			return int64(at)
		}
	}
}

func (m *original) close() { m.body.close() }

// look finds the facts anew.
func (m *original) look() error {
	l := &looker{}
	if err := copyContent(l, m.body); err != nil {
		return err
	}
	m.facts = l.found()
	m.body.eight = m.eightHeader || m.eightBody
	return nil
}

// change puts what f writes in the place of the body.
func (m *original) change(f func(io.Writer) error) error {
	n, err := keep(m.body.size, f)
	if err != nil {
		return err
	}
	m.body.close()
	m.body = n
	return m.look()
}

func copyContent(w io.Writer, m *content) error {
	for off := int64(0); off < m.size; {
		b, n, err := m.block(off)
		if err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		off += n
	}
	return nil
}

// keep keeps what f writes: in memory, or in a file that nobody else sees.
func keep(about int64, f func(io.Writer) error) (*content, error) {
	if about <= maxInMemory {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			return nil, err
		}
		return &content{mem: b.Bytes(), size: int64(b.Len()), close: func() {}}, nil
	}
	t, err := os.CreateTemp("", "packetboat-*")
	if err != nil {
		return nil, fmt.Errorf("room for a changed message: %w", err)
	}
	os.Remove(t.Name())
	w := &counting{w: t}
	if err := f(w); err != nil {
		t.Close()
		return nil, err
	}
	return &content{at: t, size: w.n, close: func() { t.Close() }}, nil
}

type counting struct {
	w io.Writer
	n int64
}

func (c *counting) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}
