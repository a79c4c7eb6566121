package verify

import (
	"bytes"
	"crypto/sha256"
	"hash"
	"io"
)

// HeaderField is a field of a message's header as it stands there.
type HeaderField struct {
	Name string // lowercase; "" for what is no field
	Raw  []byte // with its name, folded, CRLF at its end
}

// HeaderFields cuts a header into its fields. What stands behind an empty line is not looked at. Slices of header, no copies.
func HeaderFields(header []byte) []HeaderField {
	var all []HeaderField
	for len(header) > 0 {
		end := lineEnd(header)
		if first := header[:end]; len(first) <= 2 && len(bytes.TrimRight(first, "\r\n")) == 0 {
			break
		}
		for end < len(header) && (header[end] == ' ' || header[end] == '\t') {
			end += lineEnd(header[end:])
		}
		all = append(all, HeaderField{fieldName(header[:end]), header[:end]})
		header = header[end:]
	}
	return all
}

// lineEnd is where the first line of b ends, its LF included.
func lineEnd(b []byte) int {
	if i := bytes.IndexByte(b, '\n'); i >= 0 {
		return i + 1
	}
	return len(b)
}

func fieldName(raw []byte) string {
	name, _, ok := bytes.Cut(raw, []byte{':'})
	name = bytes.TrimRight(name, " \t")
	if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t\r\n") {
		return ""
	}
	return string(bytes.ToLower(name))
}

// value is what stands behind the colon.
func (f HeaderField) value() []byte {
	_, v, _ := bytes.Cut(f.Raw, []byte{':'})
	return v
}

// Relaxed is the field as it is signed (RFC 6376 section 3.4.2): name in lowercase, unfolded, no more than one space anywhere, none at the ends. Its CRLF stays.
func (f HeaderField) Relaxed() []byte {
	name, value, _ := bytes.Cut(f.Raw, []byte{':'})
	out := make([]byte, 0, len(f.Raw)+2)
	out = append(out, bytes.ToLower(bytes.TrimRight(name, " \t"))...)
	out = append(out, ':')
	start, space := len(out), false
	for _, c := range value {
		switch c {
		case ' ', '\t':
			space = true
		case '\r', '\n': // unfolding; a field of ours and of those we take has no bare ones
		default:
			if space && len(out) > start {
				out = append(out, ' ')
			}
			space = false
			out = append(out, c)
		}
	}
	return append(out, '\r', '\n')
}

// picker gives the instances of fields in the order in which signatures take them.
type picker struct {
	fields []HeaderField
	by     map[string][]int // where the fields of a name are
	taken  map[string]int   // how many of them were picked
}

func newPicker(fields []HeaderField) *picker {
	p := &picker{fields, map[string][]int{}, map[string]int{}}
	for i, f := range fields {
		p.by[f.Name] = append(p.by[f.Name], i)
	}
	return p
}

// again is one for the next signature over the same fields.
func (p *picker) again() *picker { return &picker{p.fields, p.by, map[string]int{}} }

// pick is the last instance of a field that was not taken yet (RFC 6376 section 5.4.2); none is taken as the empty text.
func (p *picker) pick(name string) (HeaderField, bool) {
	at := p.by[name]
	n := len(at) - 1 - p.taken[name]
	if n < 0 {
		return HeaderField{}, false
	}
	p.taken[name]++
	return p.fields[at[n]], true
}

// bodyCanon hashes a body in one of the two canonical forms of RFC 6376 section 3.4 as it streams by; it keeps nothing of it but one block of output.
type bodyCanon struct {
	hash    hash.Hash
	relaxed bool

	ends  int64 // line ends that came and are written when something follows them
	cr    bool  // a CR came last
	space bool  // relaxed: white space came, which is one space unless the line ends
	any   bool  // something was written
	out   []byte
}

const canonBlock = 8 << 10

func newBodyCanon(relaxed bool) *bodyCanon {
	return &bodyCanon{hash: sha256.New(), relaxed: relaxed, out: make([]byte, 0, canonBlock+512)}
}

// plain tells of each byte whether it is none of CR, LF, space and tab.
var plain = func() (t [256]bool) {
	for i := range t {
		t[i] = i != '\r' && i != '\n' && i != ' ' && i != '\t'
	}
	return t
}()

// Write takes a piece of the body.
func (b *bodyCanon) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		c := p[0]
		switch {
		case c == '\n' && b.cr:
			b.cr, b.space = false, false
			b.ends++
			p = p[1:]
			continue
		case b.cr: // a CR that ends no line is a byte like others
			b.cr = false
			b.put([]byte{'\r'})
		}
		switch {
		case c == '\r':
			b.cr = true
			p = p[1:]
		case b.relaxed && (c == ' ' || c == '\t'):
			b.space = true
			p = p[1:]
		case !plain[c]:
			b.put(p[:1])
			p = p[1:]
		default:
			i := 1
			for i < len(p) && plain[p[i]] {
				i++
			}
			b.put(p[:i])
			p = p[i:]
		}
	}
	return n, nil
}

// put writes what is on a line, with what was held back before it.
func (b *bodyCanon) put(p []byte) {
	for ; b.ends > 0; b.ends-- {
		b.emit("\r\n")
	}
	if b.space {
		b.space = false
		b.emit(" ")
	}
	b.any = true
	for len(p) > canonBlock {
		b.flush()
		b.hash.Write(p[:canonBlock])
		p = p[canonBlock:]
	}
	if b.out = append(b.out, p...); len(b.out) >= canonBlock {
		b.flush()
	}
}

func (b *bodyCanon) emit(s string) {
	if b.out = append(b.out, s...); len(b.out) >= canonBlock {
		b.flush()
	}
}

func (b *bodyCanon) flush() {
	b.hash.Write(b.out)
	b.out = b.out[:0]
}

// sum ends the body. RFC 6376 section 3.4.3: empty lines at its end count as one line end, in the simple form also when there is nothing else;
// section 3.4.4: the relaxed form of nothing is nothing.
func (b *bodyCanon) sum() []byte {
	if b.cr {
		b.cr = false
		b.put([]byte{'\r'})
	}
	b.space = false
	if b.any || !b.relaxed {
		b.ends = 0
		b.emit("\r\n")
	}
	b.flush()
	return b.hash.Sum(nil)
}

// BodyHash is the SHA-256 of a body in relaxed or simple form. It streams: 64 KiB of memory whatever the size.
func BodyHash(body io.Reader, relaxed bool) ([]byte, error) {
	c := newBodyCanon(relaxed)
	if _, err := io.CopyBuffer(c, struct{ io.Reader }{body}, make([]byte, 64<<10)); err != nil {
		return nil, err
	}
	return c.sum(), nil
}
