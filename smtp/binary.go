package smtp

import (
	"bytes"
	"errors"
	"io"

	"github.com/packetboat/packetboat/storage/mime"
)

// errNotBinary refuses what BODY=BINARYMIME does not cover (RFC 3030 section 3): binary are the bodies of parts that say so, not headers and boundaries.
var errNotBinary = say(554, "5.6.1", "message is binary where MIME does not say so")

// binaryBody is a message of BINARYMIME (RFC 3030) as all others come: its binary parts in base64, or called 8bit where they are text. What is kept can then be read by
// every IMAP client and as a file, and sent on to servers without BINARYMIME. The first Read takes the whole message into a spool. What
// is binary beside the parts that may be goes the way of all messages: refused, or mended. Close it.
type binaryBody struct {
	m    *message // gives the bytes as they are
	raw  *spool
	done *spool
	out  *message
	err  error
}

func (c *client) binaryBody(m *message) *binaryBody {
	m.binary = true
	return &binaryBody{m: m, raw: &spool{store: c.srv.store}, done: &spool{store: c.srv.store}}
}

func (b *binaryBody) Read(p []byte) (int, error) {
	if b.out == nil && b.err == nil {
		b.err = b.convert()
	}
	if b.err != nil {
		return 0, b.err
	}
	return b.out.Read(p)
}

func (b *binaryBody) convert() error {
	x := mime.NewIndexer(mime.Limits{})
	_, err := b.raw.ReadFrom(io.TeeReader(b.m, x))
	index := x.Finish()
	if err != nil {
		return err
	}
	err = index.RecodeBinary(b.done, b.raw)
	if errors.Is(err, mime.ErrNUL) {
		return errNotBinary
	}
	if err != nil {
		return err
	}
	// Base64 makes more of it: what was let in may become as much larger.
	b.out = &message{src: &spoolSource{s: b.done}, strict: b.m.strict, limit: 2*b.done.Size() + 1}
	return nil
}

// original is the message as it came, for whoever verifies its signatures; nil when it is not to be shown: what a mended message holds is another one.
func (b *binaryBody) original() (header []byte, body io.ReaderAt, size int64, err error) {
	if b == nil || !b.m.strict {
		return nil, nil, 0, nil
	}
	h, err := readHeader(io.NewSectionReader(b.raw, 0, b.raw.Size()), nil)
	if err != nil {
		return nil, nil, 0, err
	}
	header = h.block()
	start, end := int64(len(header)), make([]byte, len(crlf))
	if n, _ := b.raw.ReadAt(end, start); bytes.Equal(end[:n], crlf) {
		start += int64(n)
	}
	return header, io.NewSectionReader(b.raw, start, b.raw.Size()-start), b.raw.Size() - start, nil
}

func (b *binaryBody) Close() {
	b.raw.close()
	b.done.close()
}

// spoolSource is a spool as a source of a message.
type spoolSource struct {
	s   *spool
	at  int64 // of what comes into buf next
	buf []byte
}

func (s *spoolSource) window() []byte { return s.buf }
func (s *spoolSource) consume(n int)  { s.buf = s.buf[n:] }

func (s *spoolSource) more(int) error {
	left := s.s.Size() - s.at
	if left == 0 {
		return io.EOF
	}
	s.buf = make([]byte, min(left, spoolBlock))
	n, err := s.s.ReadAt(s.buf, s.at)
	if n < len(s.buf) {
		return err
	}
	s.at += int64(n)
	return nil
}
