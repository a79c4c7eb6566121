package dsn

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
)

// headerMax is how much of a header is returned, and defaultFull how large a message is returned whole when nobody said.
const (
	headerMax   = 64 << 10
	defaultFull = 64 << 10
)

// returned is the third part: the message, or its header.
type returned struct {
	kind, encoding, description string
	write                       func(io.Writer) error
	id                          string // its Message-ID with <>, "" when it has none that can be repeated
}

// returned decides what of the message goes back, and in which form.
//
// RFC 3461 section 4.3: RET speaks of failures; of anything else the header is enough. RFC 6522 section 3: message/rfc822 cannot be encoded, so that one with 8-bit
// bytes goes back whole only where they can pass; the types of RFC 6533 can be.
func (c *composer) returned() (returned, error) {
	m := c.m
	if m.Original == nil {
		return headerOnly(nil, false), nil
	}
	head, err := readHeader(m.Original, m.Size)
	if err != nil {
		return returned{}, err
	}
	r, err := c.returnedOf(head)
	r.id = messageID(head)
	return r, err
}

// returnedOf decides it for a message with that header.
func (c *composer) returnedOf(head []byte) (returned, error) {
	m := c.m
	limit := m.FullMax
	if limit == 0 {
		limit = defaultFull
	}
	if c.worst() != Failed || m.Return == "HDRS" || m.Size > limit {
		return headerOnly(head, m.UTF8), nil
	}
	eight, long, err := scan(io.NewSectionReader(m.Original, 0, m.Size))
	global := !ascii(string(head))
	switch {
	case err != nil:
		return returned{}, err
	case global && m.UTF8:
		return whole("message/global", "base64", func(w io.Writer) error { return encode(w, io.NewSectionReader(m.Original, 0, m.Size)) }), nil
	case long, (eight || global) && !m.EightBit:
		return headerOnly(head, m.UTF8), nil
	}
	encoding := "7bit"
	if eight || global {
		encoding = "8bit"
	}
	return whole("message/rfc822", encoding, func(w io.Writer) error {
		_, err := io.Copy(w, io.NewSectionReader(m.Original, 0, m.Size))
		return err
	}), nil
}

// whole returns the message.
func whole(kind, encoding string, write func(io.Writer) error) returned {
	return returned{kind: kind, encoding: encoding, description: "Your message", write: write}
}

// headerOnly returns the header.
func headerOnly(head []byte, utf8 bool) returned {
	r := returned{kind: "text/rfc822-headers", encoding: encodingOf(string(head)), description: "The header of your message"}
	if utf8 && !ascii(string(head)) {
		r.kind = "message/global-headers"
	}
	if r.encoding != "7bit" {
		r.encoding = "base64"
		r.write = func(w io.Writer) error { return encode(w, bytes.NewReader(head)) }
		return r
	}
	r.write = func(w io.Writer) error {
		_, err := w.Write(head)
		return err
	}
	return r
}

// messageID finds it, if it is in its line and one word of ASCII.
func messageID(head []byte) string {
	for l := range bytes.Lines(head) {
		name, value, ok := bytes.Cut(l, []byte(":"))
		if !ok || !bytes.EqualFold(name, []byte("Message-ID")) {
			continue
		}
		id := string(bytes.TrimSpace(value))
		if len(id) < 3 || len(id) > 200 || id[0] != '<' || id[len(id)-1] != '>' || !ascii(id) || oneLine(id) != id || bytes.ContainsAny([]byte(id[1:len(id)-1]), "<> ") {
			return ""
		}
		return id
	}
	return ""
}

// readHeader reads the header without its empty line; what is over headerMax is left out, from the beginning of a line.
func readHeader(r io.ReaderAt, size int64) ([]byte, error) {
	b := make([]byte, min(size, headerMax))
	n, err := r.ReadAt(b, 0)
	if err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return nil, err
	}
	switch i := bytes.Index(b, []byte("\r\n\r\n")); {
	case bytes.HasPrefix(b, []byte("\r\n")):
		b = nil
	case i >= 0:
		b = b[:i+2]
	case size > headerMax:
		b = b[:bytes.LastIndexByte(b, '\n')+1]
	}
	return b, nil
}

// scan tells whether there are 8-bit bytes or NULs, and lines over 998 bytes.
func scan(r io.Reader) (eight, long bool, err error) {
	buf := make([]byte, 16<<10)
	line := 0
	for {
		n, err := r.Read(buf)
		for _, b := range buf[:n] {
			eight = eight || b >= 0x80 || b == 0
			if line++; b == '\n' {
				line = 0
			}
			long = long || line > 1000
		}
		if errors.Is(err, io.EOF) {
			return eight, long, nil
		}
		if err != nil {
			return eight, long, err
		}
	}
}

// encode writes base64 in lines of 76 characters.
func encode(w io.Writer, r io.Reader) error {
	e := base64.NewEncoder(base64.StdEncoding, &liner{w: w})
	if _, err := io.Copy(e, r); err != nil {
		return err
	}
	return e.Close()
}

// liner breaks what it is given into lines.
type liner struct {
	w  io.Writer
	at int
}

func (l *liner) Write(p []byte) (total int, err error) {
	for len(p) > 0 {
		n := min(len(p), fold-l.at)
		if _, err := l.w.Write(p[:n]); err != nil {
			return total, err
		}
		total, p = total+n, p[n:]
		if l.at += n; l.at == fold {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return total, err
			}
			l.at = 0
		}
	}
	return total, nil
}
