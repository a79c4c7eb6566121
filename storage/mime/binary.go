package mime

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// binaryVersion is the first byte of the compact form.
const binaryVersion = 1

// What UnmarshalBinary takes at most: more than an Indexer makes.
const (
	maxBinaryDepth = maxDepth + 2
	maxBinaryParts = 1 << 20
)

var errBinary = errors.New("mime: damaged part index")

// AppendBinary appends the compact form that is kept beside the message: offsets, lines, types, parameters and encodings, which is
// what Find and decoding need. The Envelope and the other fields are not in it.
func (x *Index) AppendBinary(dst []byte) ([]byte, error) {
	dst = append(dst, binaryVersion)
	dst = binary.AppendUvarint(dst, uint64(x.Size))
	dst = binary.AppendUvarint(dst, uint64(x.Lines))
	return x.Root.appendBinary(dst, 0), nil
}

func (p *Part) appendBinary(dst []byte, base int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(p.HeaderOffset-base))
	dst = binary.AppendUvarint(dst, uint64(p.BodyOffset-p.HeaderOffset))
	dst = binary.AppendUvarint(dst, uint64(p.End-p.BodyOffset))
	dst = binary.AppendUvarint(dst, uint64(p.Lines))
	isMessage := uint64(0)
	if p.Envelope != nil {
		isMessage = 1
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Parts))<<1|isMessage)
	for _, s := range [...]string{p.Type, p.Subtype, p.Encoding} {
		dst = appendText(dst, s)
	}
	dst = binary.AppendUvarint(dst, uint64(len(p.Params)))
	for _, q := range p.Params {
		dst = appendText(appendText(dst, q.Name), q.Value)
	}
	for i := range p.Parts {
		dst = p.Parts[i].appendBinary(dst, p.HeaderOffset)
	}
	return dst
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// UnmarshalBinary reads the compact form. On what is no such thing it gives an error and takes no more memory than a small multiple of len(b).
func (x *Index) UnmarshalBinary(b []byte) error {
	if len(b) == 0 || b[0] != binaryVersion {
		return fmt.Errorf("%w: unknown version", errBinary)
	}
	r := &binaryReader{b: b[1:]}
	*x = Index{Size: r.number(), Lines: r.number()}
	r.part(&x.Root, 0, 0, x.Size)
	if r.bad || len(r.b) != 0 {
		*x = Index{}
		return errBinary
	}
	return nil
}

type binaryReader struct {
	b     []byte
	parts int
	bad   bool
}

func (r *binaryReader) number() int64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > 1<<56 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return int64(n)
}

func (r *binaryReader) text() string {
	n := r.number()
	if n > int64(len(r.b)) {
		r.bad = true
		return ""
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

// count reads the number of things that take at least size bytes each.
func (r *binaryReader) count(n, size int64) int64 {
	if r.bad || n*size > int64(len(r.b)) {
		r.bad = true
		return 0
	}
	return n
}

func (r *binaryReader) part(p *Part, depth int, base, end int64) {
	r.parts++
	if depth > maxBinaryDepth || r.parts > maxBinaryParts {
		r.bad = true
		return
	}
	p.HeaderOffset = base + r.number()
	p.BodyOffset = p.HeaderOffset + r.number()
	p.End = p.BodyOffset + r.number()
	if p.End > end {
		r.bad = true
		return
	}
	p.Lines = r.number()
	children := r.number()
	if children&1 != 0 {
		p.Envelope = &Envelope{}
	}
	children = r.count(children>>1, 9)
	p.Type, p.Subtype, p.Encoding = r.text(), r.text(), r.text()
	if n := r.count(r.number(), 2); n > 0 {
		p.Params = make([]Param, 0, n)
		for range n {
			p.Params = append(p.Params, Param{r.text(), r.text()})
		}
	}
	if children == 0 || r.bad {
		return
	}
	p.Parts = make([]Part, children)
	for i := range p.Parts {
		if r.bad {
			return
		}
		r.part(&p.Parts[i], depth+1, p.HeaderOffset, p.End)
	}
}
