package mime

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
)

// ErrNUL is Recode's error for a message with a NUL where no transfer encoding can take it away.
var ErrNUL = errors.New("mime: a NUL outside of a part's body")

// maxRecoded is how large the header of a part may be that Recode changes.
const maxRecoded = 256 << 10

// recodeStep is how much of a message is looked at at a time: whole lines of base64.
const recodeStep = 57 * 512

// Recode writes the message that r holds and x is the index of, with each part in base64 whose body has a NUL in it (RFC 3516 section 4.4), so
// that it can be shown to clients which know no literal8. All else stays as it is, byte by byte: other changes would break signatures for nothing.
// Memory is bounded. ErrNUL when there is a NUL in a header, between parts, or in a part whose encoding is not one of 7bit, 8bit and binary.
func (x *Index) Recode(w io.Writer, r io.ReaderAt) error {
	c := &recoder{w: w, r: r, size: x.Size, buf: make([]byte, recodeStep)}
	if err := c.part(&x.Root, true); err != nil {
		return err
	}
	return c.copyTo(x.Size)
}

// RecodeBinary writes the message as one without binary parts (RFC 3030 section 3): a part whose encoding is binary gets base64, or keeps its body and
// is called 8bit when that is made of lines which 8BITMIME carries; what holds other parts is called 8bit. What Recode does is done too. All else stays as it is.
// ErrNUL as in Recode.
func (x *Index) RecodeBinary(w io.Writer, r io.ReaderAt) error {
	c := &recoder{w: w, r: r, size: x.Size, buf: make([]byte, recodeStep), binary: true}
	if err := c.part(&x.Root, true); err != nil {
		return err
	}
	return c.copyTo(x.Size)
}

type recoder struct {
	w      io.Writer
	r      io.ReaderAt
	size   int64
	pos    int64 // all before it is written
	buf    []byte
	out    []byte
	binary bool // RecodeBinary
}

// part writes what must change of p and the parts in it, with all that lies before.
func (c *recoder) part(p *Part, root bool) error {
	if c.binary && p.Encoding == "binary" {
		done, err := c.rename(p, root)
		if done || err != nil {
			return err
		}
	}
	for i := range p.Parts {
		if err := c.part(&p.Parts[i], false); err != nil {
			return err
		}
	}
	if len(p.Parts) > 0 {
		return nil
	}
	found, err := c.hasNUL(p.BodyOffset, p.End)
	if err != nil || !found && !(c.binary && p.Encoding == "binary") {
		return err
	}
	if !identity(p.Encoding) || p.HeaderOffset == p.BodyOffset && !root || p.HeaderOffset < c.pos {
		return ErrNUL
	}
	if err := c.copyTo(p.HeaderOffset); err != nil {
		return err
	}
	if err := c.header(p, root, "base64"); err != nil {
		return err
	}
	return c.body(p)
}

// rename calls a binary part 8bit, where that is what it is or what it must be: RFC 2045 section 6.4 allows nothing else for what holds other parts. done: the
// part needs no more.
func (c *recoder) rename(p *Part, root bool) (done bool, err error) {
	leaf := len(p.Parts) == 0
	if leaf {
		lines, err := c.isLines(p.BodyOffset, p.End)
		if err != nil || !lines {
			return false, err
		}
	}
	if err := c.copyTo(p.HeaderOffset); err != nil {
		return false, err
	}
	if err := c.header(p, root, "8bit"); err != nil {
		return false, err
	}
	c.pos = p.BodyOffset
	return leaf, nil
}

// maxRecodedLine is how long a line of 8BITMIME may be without its end: RFC 5321 section 4.5.3.1.6.
const maxRecodedLine = 998

// isLines tells whether a range is of lines that end in CRLF and are not too long, without a NUL.
func (c *recoder) isLines(from, to int64) (bool, error) {
	length, cr := 0, false
	err := c.each(from, to, func(b []byte) error {
		for _, x := range b {
			switch {
			case x == 0, (x == '\n') != cr:
				return errFound
			case x == '\r':
				cr = true
				continue
			case x == '\n':
				length, cr = 0, false
				continue
			}
			if length++; length > maxRecodedLine {
				return errFound
			}
		}
		return nil
	})
	if err == errFound || err == nil && cr {
		return false, nil
	}
	return err == nil, err
}

// each reads a range in pieces.
func (c *recoder) each(from, to int64, fn func([]byte) error) error {
	for from < to {
		b := c.buf[:min(int64(len(c.buf)), to-from)]
		n, err := c.r.ReadAt(b, from)
		if n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

var errFound = errors.New("found")

func (c *recoder) hasNUL(from, to int64) (bool, error) {
	err := c.each(from, to, func(b []byte) error {
		if bytes.IndexByte(b, 0) >= 0 {
			return errFound
		}
		return nil
	})
	if err == errFound {
		return true, nil
	}
	return false, err
}

// copyTo writes everything up to end as it is.
func (c *recoder) copyTo(end int64) error {
	err := c.each(c.pos, end, func(b []byte) error {
		if bytes.IndexByte(b, 0) >= 0 {
			return ErrNUL
		}
		_, err := c.w.Write(b)
		return err
	})
	c.pos = end
	return err
}

// header writes p's with the encoding that its body will have.
func (c *recoder) header(p *Part, root bool, encoding string) error {
	n := p.BodyOffset - p.HeaderOffset
	if n > maxRecoded {
		return ErrNUL
	}
	h := make([]byte, n)
	if k, err := c.r.ReadAt(h, p.HeaderOffset); int64(k) < n {
		return err
	}
	if bytes.IndexByte(h, 0) >= 0 {
		return ErrNUL
	}
	out := c.out[:0]
	version := !root
	for len(h) > 0 {
		f := field(h)
		h = h[len(f):]
		name, value, ok := bytes.Cut(f, []byte(":"))
		if len(bytes.TrimRight(f, "\r\n")) == 0 {
			break
		}
		switch strings.ToLower(string(bytes.TrimSpace(name))) {
		case "content-transfer-encoding":
			if ok {
				continue
			}
		case "mime-version":
			version = version || ok
		case "content-type":
			// RFC 2046 sections 5.1 and 5.2: these cannot be in base64. That one is a leaf here was its author's mistake.
			t := strings.ToLower(string(bytes.TrimSpace(value)))
			if encoding == "base64" && (strings.HasPrefix(t, "multipart/") || strings.HasPrefix(t, "message/")) {
				return ErrNUL
			}
		}
		out = append(out, f...)
	}
	if !version {
		out = append(out, "MIME-Version: 1.0\r\n"...)
	}
	out = append(append(append(out, "Content-Transfer-Encoding: "...), encoding...), "\r\n\r\n"...)
	c.out = out
	_, err := c.w.Write(out)
	return err
}

// field is the first field of a header block with the lines that continue it, or a line that is no field.
func field(h []byte) []byte {
	for i := 0; ; {
		n := bytes.IndexByte(h[i:], '\n') + 1
		if n == 0 {
			return h
		}
		if i += n; i == len(h) || h[i] != ' ' && h[i] != '\t' {
			return h[:i]
		}
	}
}

// body writes p's in base64 (RFC 2045 section 6.8).
func (c *recoder) body(p *Part) error {
	first := true
	err := c.each(p.BodyOffset, p.End, func(b []byte) error {
		out := c.out[:0]
		for len(b) > 0 {
			n := min(57, len(b))
			if !first {
				out = append(out, "\r\n"...)
			}
			first = false
			out = base64.StdEncoding.AppendEncode(out, b[:n])
			b = b[n:]
		}
		c.out = out
		_, err := c.w.Write(out)
		return err
	})
	if err == nil && p.End == c.size {
		_, err = io.WriteString(c.w, "\r\n") // otherwise the line end before the boundary follows
	}
	c.pos = p.End
	return err
}
