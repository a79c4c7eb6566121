package textindex

import (
	"bytes"
	"encoding/binary"

	"github.com/klauspost/compress/s2"
)

// Separator stands in texts where no match may go across: between parts of a body, behind each line of a header. It is no byte of UTF-8.
const Separator = 0xff

// Loose begins a line of Doc.Forms at which only loose needles look.
const Loose = 0x01

// Doc is a document, folded by the caller.
type Doc struct {
	ID     int64  // above 0
	Fields []byte // lines "NAME: VALUE" of its header, each with a Separator behind it
	Forms  []byte // further such lines, at which only needles of fields look
	Inner  []byte // lines of headers within the body
	Body   []byte // its texts, a Separator between them
	More   bool   // there is more of Inner or Body than was given: what is not found may be in it
	Opaque bool   // nothing can be said of it
}

// A Builder gathers documents for a segment. It holds at most some 50 MB, and those of the last document, when Full is asked after each.
type Builder struct {
	pairs  []uint64 // trigram<<32 | unit
	seen   *[1 << 18]uint64
	units  []byte // as they are written
	sizes  []uint32
	docs   []entry
	header []byte
	pieces []byte
	count  uint32
}

const (
	pairsMax = 2 << 20
	unitsMax = 8 << 20
	docsMax  = 8 << 10
)

// Full tells that the documents should be published before more are added.
func (b *Builder) Full() bool {
	return len(b.pairs) >= pairsMax || len(b.units) >= unitsMax || len(b.docs) >= docsMax
}

// Len is how many documents there are.
func (b *Builder) Len() int { return len(b.docs) }

// estimate is about how many bytes the segment will have.
func (b *Builder) estimate() int64 {
	return int64(len(b.units)) + int64(len(b.sizes))*2 + int64(len(b.pairs))*2 + int64(len(b.docs))*16
}

// Add adds a document; ids ascend. d may be used again afterwards.
func (b *Builder) Add(d *Doc) {
	e := entry{id: d.ID, unit: b.count}
	if d.More {
		e.flags |= flagMore
	}
	const most = 1 << 28
	if len(d.Fields)+len(d.Forms)+len(d.Inner) > most || len(d.Body) > most {
		d = &Doc{ID: d.ID, Opaque: true}
	}
	if d.Opaque {
		e.flags |= flagOpaque
	} else {
		e.fields, e.forms, e.inner, e.bytes = uint32(len(d.Fields)), uint32(len(d.Forms)), uint32(len(d.Inner)), uint32(len(d.Body))
		b.header = append(append(append(b.header[:0], d.Fields...), d.Forms...), d.Inner...)
		b.section(b.header)
		b.section(d.Body)
	}
	b.docs = append(b.docs, e)
}

// section adds the units of a text.
func (b *Builder) section(t []byte) {
	if b.seen == nil {
		b.seen = new([1 << 18]uint64)
	}
	for from := 0; from < len(t); from += unitSize {
		end := min(from+unitSize, len(t))
		b.trigrams(t, from, end)
		at := len(b.units)
		b.units = append(b.units, 0, 0, 0, 0, keptS2)
		b.pieces = s2.EncodeBetter(b.pieces[:cap(b.pieces)], t[from:end])
		if len(b.pieces)*100 <= (end-from)*worthMax {
			b.units = append(b.units, b.pieces...)
		} else {
			b.units[at+sumLen] = keptPlain
			b.units = append(b.units, t[from:end]...)
		}
		binary.LittleEndian.PutUint32(b.units[at:], sum(b.units[at+sumLen:]))
		b.sizes = append(b.sizes, uint32(len(b.units)-at))
		b.count++
	}
}

// trigrams notes those that begin in the unit, and some that begin in the next one. At the end of the text two Separators are thought of, so
// that each byte begins one.
func (b *Builder) trigrams(t []byte, from, end int) {
	last := end // behind the last beginning
	if end < len(t) {
		last = min(end+overlap-2, len(t))
	}
	first := len(b.pairs)
	unit := uint64(b.count)
	add := func(g uint32) {
		if w, bit := &b.seen[g>>6], uint64(1)<<(g&63); *w&bit == 0 {
			*w |= bit
			b.pairs = append(b.pairs, uint64(g)<<32|unit)
		}
	}
	at := func(i int) uint32 {
		if i < len(t) {
			return uint32(t[i])
		}
		return Separator
	}
	g := at(from)<<8 | at(from+1)
	for i := from; i < last; i++ {
		g = (g<<8 | at(i+2)) & 0xffffff
		add(g)
	}
	for _, p := range b.pairs[first:] {
		b.seen[p>>38] = 0
	}
}

// sorted brings the pairs in order of trigram; units are ascending already. Two passes over twelve bits each.
func (b *Builder) sorted() {
	tmp := make([]uint64, len(b.pairs))
	from, to := b.pairs, tmp
	for _, shift := range []int{32, 44} {
		var at [4096]int
		for _, p := range from {
			at[p>>shift&4095]++
		}
		n := 0
		for i, k := range at {
			at[i] = n
			n += k
		}
		for _, p := range from {
			k := p >> shift & 4095
			to[at[k]] = p
			at[k]++
		}
		from, to = to, from
	}
}

// write writes the segment.
func (b *Builder) write(path string, h *head) error {
	w, err := newWriter(path, h)
	if err != nil {
		return err
	}
	for _, e := range b.docs {
		w.doc(e)
	}
	rest := b.units
	for _, n := range b.sizes {
		w.unit(rest[:n])
		rest = rest[n:]
	}
	b.sorted()
	var units []uint32
	for i := 0; i < len(b.pairs); {
		k := uint32(b.pairs[i] >> 32)
		units = units[:0]
		for ; i < len(b.pairs) && uint32(b.pairs[i]>>32) == k; i++ {
			units = append(units, uint32(b.pairs[i]))
		}
		w.key(k, units)
	}
	if err := w.finish(); err != nil {
		w.abandon()
		return err
	}
	return nil
}

// reset makes the Builder empty.
func (b *Builder) reset() {
	b.pairs, b.units, b.sizes, b.docs, b.count = b.pairs[:0], b.units[:0], b.sizes[:0], b.docs[:0], 0
}

// clean tells whether a text may be given as a line: it has no Separator.
func clean(line []byte) bool { return bytes.IndexByte(line, Separator) < 0 }
