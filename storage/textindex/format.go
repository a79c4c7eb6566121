package textindex

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"io"
	"math/bits"
	"os"
)

// A segment is one file:
//
//	magic, head (52 bytes with its checksum)
//	units   each: checksum, how its text is kept, its text
//	lists   the long ones, each: checksum, units
//	keys    blocks of up to keysInBlock trigrams, each: checksum, entries
//	sparse  checksum, for each block of keys its first key and where it and its lists lie
//	docs    checksum, for each document its id and the lengths of its texts; then the size of each unit
//	tail    where each of these begins, counts, checksum, magic
const (
	magic       = "PBTEXT02"
	unitSize    = 8 << 10
	overlap     = 128 // how far the trigrams of a unit go into the next one: a needle is filtered by this much of its beginning
	keysInBlock = 64
	inlineMax   = 12 // a list of at most so many bytes stands among the keys
	headLen     = 8 + 5*8 + 4
	tailLen     = 8*8 + 4 + 8
	sumLen      = 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// errDamaged is what is said of a segment that cannot be read; it is then removed and its range built again.
var errDamaged = errors.New("damaged segment")

// head says whose segment it is and what it covers.
type head struct {
	identity   uint64
	version    uint64
	generation uint64
	after, to  int64 // ids above after, up to to
}

func (h *head) marshal() []byte {
	b := append(make([]byte, 0, headLen), magic...)
	for _, v := range []uint64{h.identity, h.version, h.generation, uint64(h.after), uint64(h.to)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return binary.LittleEndian.AppendUint32(b, sum(b))
}

func (h *head) unmarshal(b []byte) bool {
	if len(b) != headLen || string(b[:8]) != magic || sum(b[:headLen-4]) != binary.LittleEndian.Uint32(b[headLen-4:]) {
		return false
	}
	u := func(i int) uint64 { return binary.LittleEndian.Uint64(b[8+8*i:]) }
	*h = head{u(0), u(1), u(2), int64(u(3)), int64(u(4))}
	return h.after < h.to
}

// tail says where things lie.
type tail struct {
	lists, keys, sparse, docs, end int64 // docs ends at end
	numDocs, numUnits, text        int64 // text: bytes before compression
}

func (t *tail) marshal() []byte {
	b := make([]byte, 0, tailLen)
	for _, v := range []int64{t.lists, t.keys, t.sparse, t.docs, t.end, t.numDocs, t.numUnits, t.text} {
		b = binary.LittleEndian.AppendUint64(b, uint64(v))
	}
	return append(binary.LittleEndian.AppendUint32(b, sum(b)), magic...)
}

func (t *tail) unmarshal(b []byte, size int64) bool {
	if len(b) != tailLen || string(b[tailLen-8:]) != magic || sum(b[:64]) != binary.LittleEndian.Uint32(b[64:]) {
		return false
	}
	for i, p := range []*int64{&t.lists, &t.keys, &t.sparse, &t.docs, &t.end, &t.numDocs, &t.numUnits, &t.text} {
		*p = int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return headLen <= t.lists && t.lists <= t.keys && t.keys <= t.sparse && t.sparse <= t.docs && t.docs <= t.end && t.end == size-tailLen
}

// versionOf makes one number of what must be equal.
func versionOf(s string) uint64 {
	h := fnv.New64a()
	io.WriteString(h, s)
	return h.Sum64()
}

// How the text of a unit is kept.
const (
	keptPlain = iota
	keptS2    // compressed
)

// worthMax is up to which share of a text, in percent, its compressed form is kept instead of it: decoding takes most of the time of a search that looks at many
// units, and short texts gain little.
const worthMax = 70

// entry is a document in a segment. Its header's units come first, then its body's.
type entry struct {
	id                          int64
	unit                        uint32 // first unit
	fields, forms, inner, bytes uint32 // lengths of its texts; bytes: of the body
	flags                       uint8
}

const (
	flagMore   = 1 << iota // there is more text than is here
	flagOpaque             // nothing is known of it
)

func (e *entry) header() uint32 { return e.fields + e.forms + e.inner }

func unitsOf(n uint32) uint32 { return (n + unitSize - 1) / unitSize }

func (e *entry) headerUnits() uint32 { return unitsOf(e.header()) }

func (e *entry) units() uint32 { return e.headerUnits() + unitsOf(e.bytes) }

// appendList encodes ascending units, as differences or as a bitmap, whichever is smaller.
func appendList(dst []byte, units []uint32) (_ []byte, bitmap bool) {
	start := len(dst)
	last := uint32(0)
	for i, u := range units {
		if i == 0 {
			dst = binary.AppendUvarint(dst, uint64(u))
		} else {
			dst = binary.AppendUvarint(dst, uint64(u-last-1))
		}
		last = u
	}
	from := units[0] >> 3
	width := int(last>>3-from) + 1
	if width+binary.MaxVarintLen32 >= len(dst)-start {
		return dst, false
	}
	dst = binary.AppendUvarint(dst[:start], uint64(from))
	at := len(dst)
	dst = append(dst, make([]byte, width)...)
	for _, u := range units {
		dst[at+int(u>>3-from)] |= 1 << (u & 7)
	}
	return dst, true
}

// setUnits sets the bits of a list's units in dst, which has n. False: it is no list of units below n.
func setUnits(dst []uint64, b []byte, bitmap bool, n uint32) bool {
	if !bitmap {
		return eachUnit(b, false, n, func(u uint32) { dst[u>>6] |= 1 << (u & 63) })
	}
	from, k := binary.Uvarint(b)
	if k <= 0 || from > uint64(n) || from+uint64(len(b)-k) > uint64(n+7)/8 {
		return false
	}
	for i, c := range b[k:] {
		at := int(from) + i
		dst[at>>3] |= uint64(c) << (at & 7 * 8)
	}
	return n&63 == 0 || dst[n>>6]>>(n&63) == 0
}

// eachUnit decodes a list. False: it is no list of units below n.
func eachUnit(b []byte, bitmap bool, n uint32, f func(uint32)) bool {
	if bitmap {
		from, k := binary.Uvarint(b)
		if k <= 0 || from > uint64(n) || from+uint64(len(b)-k) > uint64(n+7)/8 {
			return false
		}
		for i, c := range b[k:] {
			for ; c != 0; c &= c - 1 {
				u := (uint32(from)+uint32(i))<<3 + uint32(bits.TrailingZeros8(c))
				if u >= n {
					return false
				}
				f(u)
			}
		}
		return true
	}
	next := uint64(0)
	for len(b) > 0 {
		d, k := binary.Uvarint(b)
		if k <= 0 || d > uint64(n) {
			return false
		}
		b = b[k:]
		if next += d; next >= uint64(n) {
			return false
		}
		f(uint32(next))
		next++
	}
	return true
}

// writer writes a segment from front to back.
type writer struct {
	f   *os.File
	w   *bufio.Writer
	at  int64
	err error

	tail   tail
	docs   []entry
	sizes  []uint32 // of the units as they are written
	keys   []byte   // blocks of keys, written when the last is there
	sparse []byte
	block  []byte // the block being filled
	count  int
	last   uint32
	list   []byte
	inList int64 // bytes of long lists so far
	prior  int64 // and before the block being filled
	first  uint32
}

func newWriter(path string, h *head) (*writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	w := &writer{f: f, w: bufio.NewWriterSize(f, 256<<10)}
	w.write(h.marshal())
	return w, nil
}

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.w.Write(b)
		w.at += int64(len(b))
	}
}

func (w *writer) summed(b []byte) {
	var s [sumLen]byte
	binary.LittleEndian.PutUint32(s[:], sum(b))
	w.write(s[:])
	w.write(b)
}

// doc adds a document, whose units the caller writes next. It returns its first unit.
func (w *writer) doc(e entry) uint32 {
	e.unit = uint32(w.tail.numUnits)
	w.tail.numUnits += int64(e.units())
	w.tail.text += int64(e.header()) + int64(e.bytes)
	w.docs = append(w.docs, e)
	return e.unit
}

// unit writes one as it lies in a segment, with its checksum.
func (w *writer) unit(b []byte) {
	w.write(b)
	w.sizes = append(w.sizes, uint32(len(b)))
}

// key adds a trigram's list. Keys come in ascending order, after all documents.
func (w *writer) key(k uint32, units []uint32) {
	if w.tail.lists == 0 {
		w.tail.lists = w.at
	}
	if w.count == keysInBlock {
		w.endBlock()
	}
	if w.count == 0 {
		w.first, w.last, w.prior = k, k, w.inList
	}
	list, bitmap := appendList(w.list[:0], units)
	w.list = list
	meta := uint64(len(list)) << 2
	if bitmap {
		meta |= 2
	}
	w.block = binary.AppendUvarint(w.block, uint64(k-w.last))
	w.last = k
	if len(list) > inlineMax {
		w.block = binary.AppendUvarint(w.block, meta|1)
		w.summed(list)
		w.inList += int64(len(list)) + sumLen
	} else {
		w.block = append(binary.AppendUvarint(w.block, meta), list...)
	}
	w.count++
}

func (w *writer) endBlock() {
	if w.count == 0 {
		return
	}
	w.sparse = binary.LittleEndian.AppendUint32(w.sparse, w.first)
	w.sparse = binary.LittleEndian.AppendUint32(w.sparse, uint32(len(w.keys)))
	w.sparse = binary.LittleEndian.AppendUint64(w.sparse, uint64(w.prior))
	w.keys = binary.LittleEndian.AppendUint32(w.keys, sum(w.block))
	w.keys = append(w.keys, w.block...)
	w.block, w.count = w.block[:0], 0
}

// finish writes what remains and closes the file.
func (w *writer) finish() error {
	if w.tail.lists == 0 {
		w.tail.lists = w.at
	}
	w.endBlock()
	w.tail.keys = w.at
	w.write(w.keys)
	w.tail.sparse = w.at
	w.summed(w.sparse)
	w.tail.docs = w.at
	var b []byte
	last := int64(0)
	for _, e := range w.docs {
		b = binary.AppendUvarint(b, uint64(e.id-last))
		last = e.id
		for _, n := range []uint32{e.fields, e.forms, e.inner, e.bytes} {
			b = binary.AppendUvarint(b, uint64(n))
		}
		b = append(b, e.flags)
	}
	for _, n := range w.sizes {
		b = binary.AppendUvarint(b, uint64(n))
	}
	w.summed(b)
	w.tail.end = w.at
	w.tail.numDocs = int64(len(w.docs))
	w.write(w.tail.marshal())
	if w.err == nil {
		w.err = w.w.Flush()
	}
	return errors.Join(w.err, w.f.Close())
}

// abandon closes and removes a file that is not wanted any more.
func (w *writer) abandon() {
	w.f.Close()
	os.Remove(w.f.Name())
}
