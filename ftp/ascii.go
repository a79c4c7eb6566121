package ftp

import (
	"bytes"
	"io"

	"github.com/packetboat/packetboat/storage"
)

// Transfers are byte-exact in TYPE A too, as clients choose it by themselves for files that are no text. With Options.ConvertASCII they are what
// RFC 959 section 3.1.1.1 says: lines end in CR LF on the wire, and in LF in files.

// converts tells whether the bytes of a file transfer are changed on their way.
func (c *client) converts() bool { return c.srv.o.ConvertASCII && c.typ.Load() == typeASCII }

// The representation types of RFC 959 section 3.1.1; L 8 is I here.
const (
	typeASCII = 'A'
	typeImage = 'I'
)

// asciiStep is how much of a file is read at a time; at most twice as much is sent at a time.
const asciiStep = 32 << 10

// sendASCII sends a body with each LF that has no CR before it as CR LF.
func (t *transfer) sendASCII(body storage.Body) error {
	in, out := make([]byte, asciiStep), make([]byte, 0, 2*asciiStep)
	var last byte
	for off, size := int64(0), body.Size(); off < size; {
		n, err := body.ReadAt(in[:min(asciiStep, size-off)], off)
		if n == 0 && err != nil {
			return err
		}
		off += int64(n)
		out, last = appendCRLF(out[:0], in[:n], last)
		if _, err := t.d.Write(out); err != nil {
			return err
		}
	}
	return t.d.finish()
}

// appendCRLF appends p to b with CR LF as its line ends. last is the byte before p, and the one it returns that at the end of p.
func appendCRLF(b, p []byte, last byte) ([]byte, byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			return append(b, p...), p[len(p)-1]
		}
		b = append(b, p[:i]...)
		if i > 0 {
			last = p[i-1]
		}
		if last != '\r' {
			b = append(b, '\r')
		}
		b, last, p = append(b, '\n'), '\n', p[i+1:]
	}
	return b, last
}

// lfReader gives what r gives with LF for each CR LF. Other CRs stay.
type lfReader struct {
	r       io.Reader
	buf     []byte
	at, end int
	err     error // of r
}

func newLFReader(r io.Reader) *lfReader { return &lfReader{r: r, buf: make([]byte, asciiStep)} }

func (l *lfReader) Read(p []byte) (n int, err error) {
	for n < len(p) {
		// What follows a CR must be known before it is given out.
		if more := l.at == l.end || l.at+1 == l.end && l.buf[l.at] == '\r'; more && l.err == nil {
			if n > 0 {
				break
			}
			l.at, l.end = 0, copy(l.buf, l.buf[l.at:l.end])
			var k int
			k, l.err = l.r.Read(l.buf[l.end:])
			l.end += k
			continue
		}
		if l.at == l.end {
			break
		}
		b := l.buf[l.at]
		l.at++
		if b == '\r' && l.at < l.end && l.buf[l.at] == '\n' {
			continue
		}
		p[n] = b
		n++
	}
	if n == 0 && l.at == l.end {
		return 0, l.err
	}
	return n, nil
}
