package vfs

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
)

// What is refused as a message.
var (
	errNoMessage = &refusal{fs.ErrInvalid, "only messages (.eml, RFC 5322) can be stored in a mailbox: this file does not begin with a header field"}
	errEmpty     = &refusal{fs.ErrInvalid, "only messages (.eml, RFC 5322) can be stored in a mailbox: this file is empty"}
	errNUL       = &refusal{fs.ErrInvalid, "only messages (.eml, RFC 5322) can be stored in a mailbox: this file holds a NUL byte"}
)

// maxFirstLine is how long the first line of a message may be. RFC 5322 section 2.1.1 says 998.
const maxFirstLine = 4096

// mailText makes a message of a file: it checks that it begins with a header field, and turns bare LF, with which
// clients on Unix store messages, into CRLF. An mbox separator ("From ...") before the header is left out. Once refused, always refused.
type mailText struct {
	w        io.Writer
	max      int64
	received int64 // bytes taken
	written  int64 // bytes given to w

	head  []byte // what came before the first line was complete
	begun bool   // the first line was good
	mbox  bool   // a separator was left out
	cr    bool   // the last byte was a CR
	out   []byte
	err   error
}

// mailBuffers are shared by all; ReadFrom is called for each piece that a protocol counts.
var mailBuffers = sync.Pool{New: func() any { return new([64 << 10]byte) }}

func (m *mailText) Write(p []byte) (int, error) {
	if m.err == nil {
		m.err = m.take(p)
	}
	if m.err != nil {
		return 0, m.err
	}
	m.received += int64(len(p))
	return len(p), nil
}

func (m *mailText) ReadFrom(r io.Reader) (int64, error) {
	buf := mailBuffers.Get().(*[64 << 10]byte)
	defer mailBuffers.Put(buf)
	var total int64
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, err := m.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func (m *mailText) take(p []byte) error {
	// RFC 5322 section 4: NUL is obsolete even where everything else is allowed; in files it tells of something that is no text.
	if bytes.IndexByte(p, 0) >= 0 {
		return errNUL
	}
	if m.begun {
		return m.normalise(p)
	}
	m.head = append(m.head, p...)
	if done, err := m.begin(); !done || err != nil {
		return err
	}
	p, m.head = m.head, nil
	m.begun = true
	return m.normalise(p)
}

// begin looks at the first line, if it is complete.
func (m *mailText) begin() (done bool, err error) {
	for {
		i := bytes.IndexByte(m.head, '\n')
		if i < 0 {
			if len(m.head) > maxFirstLine {
				return false, errNoMessage
			}
			return false, nil
		}
		if !m.mbox && bytes.HasPrefix(m.head, []byte("From ")) {
			m.mbox = true
			m.head = m.head[i+1:]
			continue
		}
		if i > maxFirstLine || !isField(m.head[:i]) {
			return false, errNoMessage
		}
		return true, nil
	}
}

// isField tells whether a line begins with a header field's name.
// RFC 5322 section 2.2: printable ASCII without the colon; section 4.5 allows spaces before the colon.
func isField(line []byte) bool {
	i := bytes.IndexByte(line, ':')
	if i < 0 {
		return false
	}
	name := bytes.TrimRight(line[:i], " \t")
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(name) > 0
}

func (m *mailText) normalise(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	out, from := m.out[:0], 0
	for i := 0; ; {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			break
		}
		j += i
		if cr := j == 0 && m.cr || j > 0 && p[j-1] == '\r'; !cr {
			out = append(append(out, p[from:j]...), '\r')
			from = j
		}
		i = j + 1
	}
	m.cr = p[len(p)-1] == '\r'
	if from > 0 || len(out) > 0 {
		m.out = append(out, p[from:]...)
		p = m.out
	}
	if m.written += int64(len(p)); m.written > m.max {
		return errTooLarge
	}
	_, err := m.w.Write(p)
	return err
}

// finish ends the text: what has no line end yet is looked at too.
func (m *mailText) finish() error {
	if m.err != nil || m.begun {
		return m.err
	}
	if len(m.head) == 0 {
		m.err = errEmpty
	} else if !isField(m.head) {
		m.err = errNoMessage
	} else {
		m.begun = true
		m.err = m.normalise(m.head)
		m.head = nil
	}
	return m.err
}
