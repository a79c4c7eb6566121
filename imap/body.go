package imap

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/mime"
)

// Sizes of what is sent of a body.
const (
	copyMax   = 32 << 10 // up to here bytes go through the output buffer, above by sendfile where it can
	headerMax = 1 << 20  // of a header block that HEADER.FIELDS looks at
)

// section is a BODY[...] or BINARY[...] item and the name it is answered under.
type section struct {
	name     []byte
	body     *imap.FetchItemBodySection
	binary   *imap.FetchItemBinarySection
	sizeOnly bool         // BINARY.SIZE: no bytes, their number
	fields   *mime.Filter // of HEADER.FIELDS and HEADER.FIELDS.NOT
}

// header tells whether the section is (fields of) the message's own header, which lies ready in its row.
func (s *section) header() bool {
	return s.body != nil && len(s.body.Part) == 0 && s.body.Specifier == imap.PartSpecifierHeader
}

// whole tells whether the section is the whole message.
func (s *section) whole() bool {
	if s.binary != nil {
		return len(s.binary.Part) == 0
	}
	return len(s.body.Part) == 0 && s.body.Specifier == imap.PartSpecifierNone
}

func (s *section) needsIndex() bool { return !s.whole() && !s.header() }

// part is what the section names; nil when it does not exist.
func (s *section) part(x *mime.Index) *mime.Part {
	path := s.path()
	if len(path) == 0 {
		return &x.Root
	}
	p, ok := x.Find(path)
	if !ok {
		return nil
	}
	return p
}

func (s *section) path() []int {
	if s.binary != nil {
		return s.binary.Part
	}
	return s.body.Part
}

func (s *section) partial() *imap.SectionPartial {
	if s.binary != nil {
		return s.binary.Partial
	}
	return s.body.Partial
}

// cut applies a partial to n bytes: where to begin and how many.
func cut(n int64, p *imap.SectionPartial) (off, size int64) {
	if p == nil {
		return 0, n
	}
	off = min(p.Offset, n)
	return off, min(p.Size, n-off)
}

// open opens the message's bytes if a section needs them.
func (f *fetcher) open() error {
	need := false
	for k := range f.sections {
		s := &f.sections[k]
		need = need || !s.header() || f.mail.Header == nil
	}
	if !need {
		return nil
	}
	if f.mail != nil && f.mail.Body != nil {
		f.body = f.mail.Open()
		return nil
	}
	b, err := f.srv.store.OpenBlob(f.ctx(), f.entry.Blob)
	f.body = b
	return err
}

func (f *fetcher) closeBody() {
	if f.body != nil {
		_ = f.body.Close()
		f.body = nil
	}
}

// section answers one.
func (f *fetcher) section(s *section) error {
	if s.binary != nil && !s.whole() {
		return f.binary(s)
	}
	if s.header() {
		return f.header(s)
	}
	f.item(s.name)
	if s.whole() {
		return f.bytes(s, 0, f.body.Size())
	}
	first, end, ok := extent(s, f.index)
	if !ok {
		f.nothing(s)
		return nil
	}
	if s.fields != nil {
		b, err := f.read(first, min(end-first, headerMax))
		if err != nil {
			return err
		}
		f.fields(s, b)
		return nil
	}
	return f.bytes(s, first, end)
}

// nothing answers a section that is not there. RFC 9051 section 9, msg-att-static: the size of one is a number, never NIL.
func (f *fetcher) nothing(s *section) {
	if s.sizeOnly {
		f.e.Num(0)
	} else {
		f.e.Raw("NIL")
	}
}

// extent is where in the message a section lies (RFC 9051 section 6.4.5.1).
func extent(s *section, x *mime.Index) (first, end int64, ok bool) {
	p := s.part(x)
	if p == nil {
		return 0, 0, false
	}
	switch s.body.Specifier {
	case imap.PartSpecifierMIME:
		return p.HeaderOffset, p.BodyOffset, true
	case imap.PartSpecifierNone:
		return p.BodyOffset, p.End, true
	}
	if len(s.body.Part) > 0 {
		// HEADER and TEXT of a part are those of the message in it
		if p.Type != "message" || len(p.Parts) != 1 {
			return 0, 0, false
		}
		p = &p.Parts[0]
	}
	if s.body.Specifier == imap.PartSpecifierHeader {
		return p.HeaderOffset, p.BodyOffset, true
	}
	return p.BodyOffset, p.End, true
}

// header answers the message's own header from its row, or when that is too long, from its bytes.
func (f *fetcher) header(s *section) error {
	f.item(s.name)
	h := f.mail.Header
	if h == nil {
		end, err := headerEnd(f.body)
		if err != nil {
			return err
		}
		if s.fields == nil {
			return f.bytes(s, 0, end)
		}
		if h, err = f.read(0, min(end, headerMax)); err != nil {
			return err
		}
	}
	if s.fields != nil && !(f.mail.Filtered && f.mail.Header != nil) {
		f.fields(s, h)
	} else {
		f.literal(s, h)
	}
	return nil
}

// headerEnd finds the end of a header block that is too long to lie ready: behind the empty line.
func headerEnd(b storage.Body) (int64, error) {
	r := bufio.NewReaderSize(io.NewSectionReader(b, 0, b.Size()), copyMax)
	var end int64
	fresh := true // at the beginning of a line
	for {
		line, err := r.ReadSlice('\n')
		end += int64(len(line))
		if fresh && err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 {
			return end, nil
		}
		switch err {
		case nil:
			fresh = true
		case bufio.ErrBufferFull:
			fresh = false
		case io.EOF:
			return end, nil
		default:
			return 0, err
		}
	}
}

// read reads a part of the message into memory.
func (f *fetcher) read(off, n int64) ([]byte, error) {
	b := make([]byte, n)
	k, err := f.body.ReadAt(b, off)
	if err == io.EOF && int64(k) == n {
		err = nil
	}
	return b[:k], err
}

// literal gives bytes that are in memory.
func (f *fetcher) literal(s *section, p []byte) {
	off, n := cut(int64(len(p)), s.partial())
	if s.sizeOnly {
		f.e.Num(uint64(n))
		return
	}
	f.e.Raw("{").Num(uint64(n)).Raw("}\r\n")
	_, _ = f.e.Write(p[off : off+n])
}

// bytes gives a range of the message, streamed.
func (f *fetcher) bytes(s *section, first, end int64) error {
	off, n := cut(end-first, s.partial())
	if s.sizeOnly {
		f.e.Num(uint64(n))
		return nil
	}
	f.e.Raw("{").Num(uint64(n)).Raw("}\r\n")
	return f.stream(first+off, n)
}

func (f *fetcher) stream(off, n int64) error {
	if n == 0 {
		return nil
	}
	var w io.Writer = &f.e
	if n > copyMax {
		direct, err := f.e.Direct()
		if err != nil {
			return err
		}
		w = direct
	}
	k, err := f.body.WriteRange(w, off, n)
	if err == nil && k != n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		if broken := new(net.Error); !errors.As(err, broken) && f.ctx().Err() == nil {
			f.srv.o.Logger.Error("message cannot be read", "session", f.ses.ID(), "blob", f.entry.Blob, "error", err)
		}
		f.e.Fail(err) // the literal's length was told: there is no way back
	}
	return err
}

// fields gives HEADER.FIELDS or HEADER.FIELDS.NOT of a header block.
func (f *fetcher) fields(s *section, h []byte) {
	f.scratch = s.fields.Append(f.scratch[:0], h)
	f.literal(s, f.scratch)
}
