package textindex

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/s2"
)

// segment is an open file.
type segment struct {
	head
	tail
	path string
	size int64
	f    *os.File

	refs    atomic.Int32 // of the index and of readers; the last one closes the file
	damaged atomic.Bool
	dead    atomic.Int64 // documents that are known to be gone

	// Under the Index's mu.
	checked time.Time // when its documents were compared with those that live
	bridge  int64     // there is nothing above it up to after

	mu    sync.Mutex
	table *table // nil until it is asked for, and again when nobody used it for a while
	used  time.Time
}

// table is what is kept of a segment in memory while it is used: 32 bytes a document, 4 a unit and 16 for each 64 trigrams.
type table struct {
	docs    []entry
	offsets []uint32 // of units, in bytes from the first; one more than there are
	sparse  []sparse
}

type sparse struct {
	first uint32 // trigram
	at    int64  // of the block, in the file
	end   int64
	lists int64 // of its long lists, in the file
}

// openSegment opens a file, whose head must be one that want takes.
func openSegment(path string, want func(*head) bool) (*segment, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &segment{path: path, f: f}
	if err := s.open(want); err != nil {
		f.Close()
		return nil, err
	}
	s.bridge = s.after
	s.refs.Store(1)
	return s, nil
}

func (s *segment) open(want func(*head) bool) error {
	info, err := s.f.Stat()
	if err != nil {
		return err
	}
	s.size = info.Size()
	b := make([]byte, headLen)
	if _, err := s.f.ReadAt(b, 0); err != nil || !s.head.unmarshal(b) {
		return fmt.Errorf("%w: its head", errDamaged)
	}
	if !want(&s.head) {
		return fmt.Errorf("%w: it is of another store, version or time", errDamaged)
	}
	b = make([]byte, tailLen)
	if s.size < headLen+tailLen {
		return fmt.Errorf("%w: it is cut", errDamaged)
	}
	if _, err := s.f.ReadAt(b, s.size-tailLen); err != nil || !s.tail.unmarshal(b, s.size) {
		return fmt.Errorf("%w: its tail", errDamaged)
	}
	return nil
}

func (s *segment) release() {
	if s.refs.Add(-1) == 0 {
		s.f.Close()
	}
}

// read reads from off to end, and checks what a checksum stands before.
func (s *segment) read(buf []byte, off, end int64) ([]byte, error) {
	if off < 0 || end < off+sumLen || end > s.size {
		return nil, errDamaged
	}
	buf = slices.Grow(buf[:0], int(end-off))[:end-off]
	if _, err := s.f.ReadAt(buf, off); err != nil {
		return nil, err
	}
	return checked(buf)
}

// checked is what follows a checksum that is right.
func checked(b []byte) ([]byte, error) {
	if len(b) < sumLen || sum(b[sumLen:]) != binary.LittleEndian.Uint32(b) {
		return nil, errDamaged
	}
	return b[sumLen:], nil
}

// load gives the table.
func (s *segment) load() (*table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = time.Now()
	if s.table != nil {
		return s.table, nil
	}
	t := new(table)
	b, err := s.read(nil, s.tail.docs, s.end)
	if err != nil {
		return nil, err
	}
	if !t.unmarshalDocs(b, &s.head, &s.tail) {
		return nil, errDamaged
	}
	if b, err = s.read(b, s.tail.sparse, s.tail.docs); err != nil {
		return nil, err
	}
	if !t.unmarshalSparse(b, &s.tail) {
		return nil, errDamaged
	}
	s.table = t
	return t, nil
}

func (t *table) unmarshalDocs(b []byte, h *head, tl *tail) bool {
	ok := true
	next := func() uint64 {
		v, k := binary.Uvarint(b)
		if k <= 0 {
			ok = false
			return 0
		}
		b = b[k:]
		return v
	}
	if tl.numDocs > int64(len(b)) || tl.numUnits > int64(len(b)) {
		return false
	}
	t.docs = make([]entry, tl.numDocs)
	id, units := h.after, uint32(0)
	last := int64(0)
	for i := range t.docs {
		e := &t.docs[i]
		last += int64(next())
		e.id, e.unit = last, units
		e.fields, e.forms, e.inner, e.bytes = uint32(next()), uint32(next()), uint32(next()), uint32(next())
		if !ok || len(b) == 0 || e.id <= id || e.id > h.to {
			return false
		}
		e.flags, b = b[0], b[1:]
		id = e.id
		units += e.units()
	}
	if int64(units) != tl.numUnits {
		return false
	}
	t.offsets = make([]uint32, tl.numUnits+1)
	at := uint32(0)
	for i := range tl.numUnits {
		t.offsets[i] = at
		at += uint32(next())
	}
	t.offsets[tl.numUnits] = at
	return ok && headLen+int64(at) == tl.lists
}

const sparseLen = 16

func (t *table) unmarshalSparse(b []byte, tl *tail) bool {
	if len(b)%sparseLen != 0 {
		return false
	}
	t.sparse = make([]sparse, len(b)/sparseLen)
	for i := range t.sparse {
		p := b[sparseLen*i:]
		t.sparse[i] = sparse{first: binary.LittleEndian.Uint32(p), at: tl.keys + int64(binary.LittleEndian.Uint32(p[4:])), end: tl.sparse,
			lists: tl.lists + int64(binary.LittleEndian.Uint64(p[8:]))}
		if i > 0 {
			t.sparse[i-1].end = t.sparse[i].at
		}
	}
	return true
}

// posting is where the list of a trigram lies.
type posting struct {
	key    uint32
	bitmap bool
	here   []byte // the list itself; nil: it lies at off
	off    int64
	len    int64
}

// postings calls f with those of the trigrams from first to last, as long as it returns true.
func (s *segment) postings(t *table, first, last uint32, f func(posting) bool) error {
	i := sort.Search(len(t.sparse), func(i int) bool { return t.sparse[i].first > first }) - 1
	var buf []byte
	for i = max(i, 0); i < len(t.sparse) && t.sparse[i].first <= last; i++ {
		b, err := s.read(buf, t.sparse[i].at, t.sparse[i].end)
		if err != nil {
			return err
		}
		more, err := t.sparse[i].each(b, s.tail.keys, func(p posting) bool {
			if p.key > last {
				return false
			}
			return p.key < first || f(p)
		})
		if err != nil || !more {
			return err
		}
		buf = nil // lists given to f lie in it
	}
	return nil
}

// each walks a block of keys.
func (sp *sparse) each(b []byte, listsEnd int64, f func(posting) bool) (more bool, err error) {
	key, off := sp.first, sp.lists
	for len(b) > 0 {
		d, k := binary.Uvarint(b)
		if k <= 0 || d > 1<<24 {
			return false, errDamaged
		}
		meta, k2 := binary.Uvarint(b[k:])
		if k2 <= 0 {
			return false, errDamaged
		}
		b = b[k+k2:]
		key += uint32(d)
		p := posting{key: key, bitmap: meta&2 != 0, len: int64(meta >> 2)}
		if meta&1 != 0 {
			p.off = off
			off += p.len + sumLen
			if p.len <= 0 || off > listsEnd {
				return false, errDamaged
			}
		} else {
			if p.len > int64(len(b)) {
				return false, errDamaged
			}
			p.here, b = b[:p.len:p.len], b[p.len:]
		}
		if !f(p) {
			return false, nil
		}
	}
	return true, nil
}

// list reads a list.
func (s *segment) list(p *posting, buf *[]byte) ([]byte, error) {
	if p.here != nil {
		return p.here, nil
	}
	b, err := s.read(*buf, p.off, p.off+p.len+sumLen)
	if err == nil {
		*buf = b[:0]
	}
	return b, err
}

// unitText gives the text of a unit from what lies there: in that, or in dst.
func unitText(dst, b []byte) ([]byte, error) {
	b, err := checked(b)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 || b[0] > keptS2 {
		return nil, errDamaged
	}
	plain := b[0] == keptPlain
	if b = b[1:]; plain {
		return b, nil
	}
	if n, err := s2.DecodedLen(b); err != nil || n > unitSize {
		return nil, errDamaged
	}
	return s2.Decode(dst[:cap(dst)], b)
}

// window reads units that mostly follow one another.
type window struct {
	s    *segment
	off  int64
	buf  []byte
	last int64 // end of what was asked for last
}

// windowSize is how much is read in one go when what is wanted lies close together.
const windowSize = 256 << 10

// get gives the bytes from off to end.
func (w *window) get(s *segment, off, end int64) ([]byte, error) {
	if off < 0 || off > end || end > s.size {
		return nil, errDamaged
	}
	if w.s == s && off >= w.off && end <= w.off+int64(len(w.buf)) {
		w.last = end
		return w.buf[off-w.off : end-w.off], nil
	}
	n := end - off
	if w.s == s && off >= w.last && off-w.last < windowSize/8 {
		n = min(max(n, windowSize), s.size-off)
	}
	w.s, w.last = nil, end
	w.buf = slices.Grow(w.buf[:0], int(n))[:n]
	if _, err := s.f.ReadAt(w.buf, off); err != nil && err != io.EOF {
		return nil, err
	}
	w.s, w.off = s, off
	return w.buf[:end-off], nil
}
