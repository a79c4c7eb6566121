package imap

import (
	"bytes"
	"io"

	"github.com/emersion/go-imap/v2"

	"github.com/packetboat/packetboat/storage/mime"
)

// binary answers BINARY[part], BINARY.PEEK[part] and BINARY.SIZE[part] (RFC 9051 section 6.4.5, RFC 3516): the
// part decoded. It is decoded twice, to tell its length and to send it, so nothing of it is held.
func (f *fetcher) binary(s *section) error {
	f.item(s.name)
	n, nul, err := int64(-1), false, error(nil)
	p := s.part(f.index)
	if p != nil {
		if n, nul, err = f.decodedSize(p, s.partial()); err != nil {
			return err
		}
		f.unknown = f.unknown || n < 0
	}
	if n < 0 {
		f.nothing(s)
		return nil
	}
	if s.sizeOnly {
		f.e.Num(uint64(n))
		return nil
	}
	off, n := cut(n, s.partial())
	if nul {
		f.e.Raw("~") // RFC 9051 section 4.3.1: NUL needs a literal8
	}
	f.e.Raw("{").Num(uint64(n)).Raw("}\r\n")
	r := f.decoder(p)
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		f.e.Fail(err)
		return err
	}
	if _, err := io.CopyN(&f.e, r, n); err != nil {
		f.e.Fail(err)
		return err
	}
	return nil
}

// decodedSize is how long a part is decoded, and whether there is a NUL in what is wanted of it; -1 when its encoding is not known.
func (f *fetcher) decodedSize(p *mime.Part, want *imap.SectionPartial) (n int64, nul bool, err error) {
	r := f.decoder(p)
	if r == nil {
		return -1, false, nil
	}
	w := new(nulFinder)
	if want == nil {
		n, err = io.Copy(w, r)
		return n, w.found, err
	}
	k, err := io.CopyN(io.Discard, r, want.Offset)
	if n = k; err == nil {
		k, err = io.CopyN(w, r, want.Size)
		n += k
	}
	if err == nil {
		k, err = io.Copy(io.Discard, r)
		n += k
	}
	if err == io.EOF {
		err = nil
	}
	return n, w.found, err
}

// nulFinder looks for NUL in what is written to it.
type nulFinder struct{ found bool }

func (w *nulFinder) Write(p []byte) (int, error) {
	w.found = w.found || bytes.IndexByte(p, 0) >= 0
	return len(p), nil
}

func (f *fetcher) decoder(p *mime.Part) io.Reader {
	body := io.NewSectionReader(f.body, p.BodyOffset, p.End-p.BodyOffset)
	if len(p.Parts) > 0 {
		return body // RFC 2045 section 6.4: what has parts is not encoded, whatever it says
	}
	r, ok := mime.Decoder(body, p.Encoding)
	if !ok {
		return nil
	}
	return r
}
