package outbound

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"strings"

	"github.com/packetboat/packetboat/storage/mime"
)

// What happens to a message that the peer cannot take as it is.
//
//   - Octets above 127 in the body, and no 8BITMIME there: the parts that have them are put into quoted-printable (texts) or base64
//     (RFC 6152 section 3 leaves this or giving up). A part of a multipart/signed must not change (RFC 1847 section 2.1): 5.6.3. A DKIM signature of
//     somebody else does break; ours is made afterwards.
//   - Lines of more than 998 octets: the same, but only in messages that nobody signed. In others they leave as they are: most servers
//     take them, and a signature that breaks is worse than a server that does not.
//   - Parts with the encoding binary (RFC 3030): base64, as BINARYMIME is not spoken outwards.
//   - Octets above 127 in headers cannot be put into anything: that is what SMTPUTF8 is for.

// errFixed is a message that would have to be changed and must not be.
var errFixed = errors.New("the message is not in 7 bits and must not be re-encoded")

// maxPartHeader is how large the header of a part may be that is changed: what is longer mime did not read whole.
const maxPartHeader = 256 << 10

// recodeStep is how much is encoded at a time: whole lines of base64.
const recodeStep = 57 * 512

// recoder rewrites a message part by part. All that needs no change is copied byte by byte.
type recoder struct {
	w     io.Writer
	r     io.ReaderAt
	size  int64
	seven bool // no octets above 127 may be left in bodies
	long  bool // no lines above 998 octets
	pos   int64
	buf   []byte
}

// recode puts a changed message into the original.
func (m *original) recode(seven, long bool) error {
	x := mime.NewIndexer(mime.Limits{})
	if err := copyContent(x, m.body); err != nil {
		return err
	}
	index := x.Finish()
	err := m.change(func(w io.Writer) error {
		c := &recoder{w: w, r: m.body.reader(), size: m.body.size, seven: seven, long: long, buf: make([]byte, recodeStep)}
		if err := c.part(&index.Root, true); err != nil {
			return err
		}
		return c.copyTo(c.size)
	})
	if err == nil && seven && m.eightBody {
		err = errFixed // between parts, or in their headers
	}
	return err
}

// reader reads what stands behind header.
func (m *content) reader() io.ReaderAt {
	if m.mem != nil {
		return bytes.NewReader(m.mem)
	}
	return m.at
}

func (c *recoder) part(p *mime.Part, root bool) error {
	if p.Type == "multipart" && p.Subtype == "signed" {
		eight, _, err := c.look(p)
		if err == nil && eight && c.seven {
			err = errFixed
		}
		return err
	}
	if len(p.Parts) > 0 {
		if p.Encoding == "binary" || c.seven && p.Encoding == "8bit" {
			if err := c.header(p, root, "7bit"); err != nil {
				return err
			}
		}
		for i := range p.Parts {
			if err := c.part(&p.Parts[i], false); err != nil {
				return err
			}
		}
		return nil
	}
	eight, long, err := c.look(p)
	if err != nil {
		return err
	}
	named := p.Encoding == "7bit" || p.Encoding == "8bit" || p.Encoding == "binary"
	if !named || !(p.Encoding == "binary" || eight && c.seven || long && c.long) || p.HeaderOffset == p.BodyOffset && !root {
		return nil
	}
	encoding := "base64"
	if p.Type == "text" && p.Encoding != "binary" {
		encoding = "quoted-printable"
	}
	if err := c.header(p, root, encoding); err != nil {
		return err
	}
	return c.body(p, encoding)
}

// look tells what of a part's body may not leave.
func (c *recoder) look(p *mime.Part) (eight, long bool, err error) {
	n := 0
	err = c.each(p.BodyOffset, p.End, func(b []byte) error {
		for _, o := range b {
			if o >= 0x80 {
				eight = true
			}
			if n++; o == '\n' {
				n = 0
			} else if n > maxLineOut && o != '\r' {
				long = true
			}
		}
		return nil
	})
	return eight, long, err
}

// each reads a range in pieces.
func (c *recoder) each(from, to int64, fn func([]byte) error) error {
	for from < to {
		b := c.buf[:min(int64(len(c.buf)), to-from)]
		if n, err := c.r.ReadAt(b, from); n < len(b) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if err := fn(b); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return nil
}

// copyTo writes what is not written yet, up to end, as it is.
func (c *recoder) copyTo(end int64) error {
	err := c.each(c.pos, end, func(b []byte) error {
		_, err := c.w.Write(b)
		return err
	})
	c.pos = end
	return err
}

// header writes all before p and p's header with another encoding.
func (c *recoder) header(p *mime.Part, root bool, encoding string) error {
	n := p.BodyOffset - p.HeaderOffset
	if n > maxPartHeader || p.HeaderOffset < c.pos {
		return errFixed
	}
	if err := c.copyTo(p.HeaderOffset); err != nil {
		return err
	}
	h := make([]byte, n)
	if k, err := c.r.ReadAt(h, p.HeaderOffset); int64(k) < n {
		return err
	}
	c.pos = p.BodyOffset
	out := make([]byte, 0, len(h)+100)
	version, typed := !root, !root
	for name, field := range mime.HeaderFields(h) {
		switch strings.ToLower(string(name)) {
		case "content-transfer-encoding":
			continue
		case "mime-version":
			version = true
		case "content-type":
			typed = true
		}
		out = append(out, field...)
	}
	if !version {
		out = append(out, "MIME-Version: 1.0\r\n"...)
	}
	if !typed {
		out = append(out, "Content-Type: text/plain; charset=unknown-8bit\r\n"...) // RFC 1428 section 3
	}
	out = fmt.Appendf(out, "Content-Transfer-Encoding: %s\r\n\r\n", encoding)
	_, err := c.w.Write(out)
	return err
}

// body writes p's (RFC 2045 sections 6.7 and 6.8).
func (c *recoder) body(p *mime.Part, encoding string) error {
	var err error
	if encoding == "quoted-printable" {
		q := quotedprintable.NewWriter(c.w)
		err = c.each(p.BodyOffset, p.End, func(b []byte) error {
			_, err := q.Write(b)
			return err
		})
		err = errors.Join(err, q.Close())
	} else {
		err = c.base64(p)
	}
	c.pos = p.End
	return err
}

func (c *recoder) base64(p *mime.Part) error {
	first := true
	var out []byte
	err := c.each(p.BodyOffset, p.End, func(b []byte) error {
		out = out[:0]
		for len(b) > 0 {
			n := min(57, len(b))
			if !first {
				out = append(out, "\r\n"...)
			}
			first = false
			out = base64.StdEncoding.AppendEncode(out, b[:n])
			b = b[n:]
		}
		_, err := c.w.Write(out)
		return err
	})
	if err == nil && p.End == c.size {
		_, err = io.WriteString(c.w, "\r\n") // otherwise the line end before the boundary follows
	}
	return err
}
