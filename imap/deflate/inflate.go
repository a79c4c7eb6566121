package deflate

import (
	"encoding/binary"
	"errors"
	"sync"
)

// ErrCorrupt is returned for input that is no DEFLATE stream.
var ErrCorrupt = errors.New("compressed data is corrupt")

const (
	history  = 32 << 10 // how far back a stream may refer (RFC 1951 section 2)
	space    = 64 << 10 // of the window
	maxMatch = 258
)

// window holds the last of what came out, and what was not read yet.
type window [space]byte

var (
	windows = sync.Pool{New: func() any { return new(window) }}
	codes   = sync.Pool{New: func() any { return new(dynamic) }}
)

// dynamic are the codes that a block brings.
type dynamic struct {
	lit, dist huffman
	lengths   [maxLit + maxDist]uint8
	// how many lengths there will be, are read, and of the code that they are written in
	nlit, ndist, nlen, have int
}

// step is where the decoder stands.
//
//	atBlock -> atStored -> inStored -.
//	   |  ^-> atDynamic -> inLengths -> atLengths... -> inCodes -.
//	   |  '----------------------------------------------------- | end of block
//	   '--> the last block's end: ended
type step uint8

const (
	atBlock   step = iota // before the header of a block
	atStored              // before the length of a stored block
	inStored              // left bytes are to be copied
	atDynamic             // before the counts of a block's own codes
	inLengths             // reading the code that code lengths are written in
	inCodes               // reading code lengths
	inBlock               // reading symbols
	ended                 // behind the last block
)

// inflater decodes a stream that comes in pieces. It never waits for more than it needs for the next symbol.
type inflater struct {
	bits  uint64 // what was taken from the input and not decoded, lowest first; zeros above n
	n     uint
	step  step
	last  bool // this is the last block
	stuck bool // no more can be decoded without more input
	empty bool // nothing came out of this block yet
	halt  bool // run returns at the end of the block in any case
	left  int  // inStored: bytes
	lit   *huffman
	dist  *huffman
	own   *dynamic // from codes, while a block has its own
	win   *window  // nil while parked
	r, w  int      // win[r:w] is to be read; what is before it is history
	kept  []byte   // the history while parked
}

// park gives the window back. There must be nothing to read in it.
func (f *inflater) park() {
	if f.win == nil {
		return
	}
	f.kept = append(f.kept[:0], f.win[max(0, f.w-history):f.w]...)
	windows.Put(f.win)
	f.win, f.r, f.w = nil, 0, 0
}

// unpark takes a window.
func (f *inflater) unpark() {
	if f.win != nil {
		return
	}
	f.win = windows.Get().(*window)
	f.w = copy(f.win[:], f.kept)
	f.r = f.w
}

// close gives everything back.
func (f *inflater) close() {
	if f.win != nil {
		windows.Put(f.win)
	}
	f.drop()
	*f = inflater{step: ended}
}

// drop gives the codes of a block back.
func (f *inflater) drop() {
	if f.own != nil {
		codes.Put(f.own)
		f.own = nil
	}
	f.lit, f.dist = nil, nil
}

// readable is how many bytes can be read.
func (f *inflater) readable() int { return f.w - f.r }

// read copies out what can be read.
func (f *inflater) read(p []byte) int {
	n := copy(p, f.win[f.r:f.w])
	f.r += n
	return n
}

// run decodes input until it is used up, the window is full, or a block ended after which there is something to read: what
// follows may be no DEFLATE any more (see Conn.Plain). It returns the input that is left.
func (f *inflater) run(in []byte) ([]byte, error) {
	f.unpark()
	f.stuck = false
	for {
		if f.w+maxMatch > space {
			if f.r < f.w {
				return in, nil
			}
			f.w = copy(f.win[:], f.win[f.w-history:f.w])
			f.r = f.w
		}
		in = f.refill(in)
		on, err := f.advance(&in)
		if err != nil || !on {
			f.stuck = true
			return in, err
		}
		if f.step == atBlock && (f.halt || f.r < f.w) {
			return in, nil
		}
	}
}

// refill moves input into bits, as much as there is room for.
func (f *inflater) refill(in []byte) []byte {
	if len(in) >= 8 {
		k := (64 - f.n) / 8
		v := binary.LittleEndian.Uint64(in)
		if k < 8 {
			v &= 1<<(8*k) - 1
		}
		f.bits |= v << f.n
		f.n += 8 * k
		return in[k:]
	}
	for f.n <= 56 && len(in) > 0 {
		f.bits |= uint64(in[0]) << f.n
		f.n += 8
		in = in[1:]
	}
	return in
}

// take consumes k bits, which must be there.
func (f *inflater) take(k uint) uint {
	v := uint(f.bits & (1<<k - 1))
	f.bits >>= k
	f.n -= k
	return v
}

// advance makes one step; false when it needs more input or room.
func (f *inflater) advance(in *[]byte) (bool, error) {
	switch f.step {
	case atBlock:
		return f.header()
	case atStored:
		return f.storedLength()
	case inStored:
		return f.stored(in), nil
	case atDynamic:
		return f.counts()
	case inLengths:
		return f.lengthCodes()
	case inCodes:
		return f.codeLengths()
	case inBlock:
		return f.symbols(in)
	}
	return false, nil
}

// header reads the header of a block (RFC 1951 section 3.2.3).
func (f *inflater) header() (bool, error) {
	if f.n < 3 {
		return false, nil
	}
	f.last, f.empty = f.take(1) == 1, true
	switch f.take(2) {
	case 0:
		f.take(f.n % 8)
		f.step = atStored
	case 1:
		f.lit, f.dist, f.step = fixedLit, fixedDist, inBlock
	case 2:
		f.step = atDynamic
	default:
		return false, ErrCorrupt
	}
	return true, nil
}

// finish ends a block.
func (f *inflater) finish() {
	f.drop()
	f.step = atBlock
	if f.last {
		f.step = ended
	}
}

// storedLength reads the length of a stored block (RFC 1951 section 3.2.4).
func (f *inflater) storedLength() (bool, error) {
	if f.n < 32 {
		return false, nil
	}
	n, not := f.take(16), f.take(16)
	if n != not^0xffff {
		return false, ErrCorrupt
	}
	if f.left = int(n); n == 0 {
		f.finish()
	} else {
		f.step = inStored
	}
	return true, nil
}

// stored copies bytes as they are, those that were taken into bits first.
func (f *inflater) stored(in *[]byte) bool {
	before := f.w
	for f.left > 0 && f.n >= 8 && f.w < space {
		f.win[f.w] = byte(f.take(8))
		f.w++
		f.left--
	}
	if f.n == 0 {
		n := copy(f.win[f.w:f.w+min(f.left, space-f.w)], *in)
		*in = (*in)[n:]
		f.w += n
		f.left -= n
	}
	if f.w > before {
		f.empty = false
	}
	if f.left == 0 {
		f.finish()
	}
	return f.w > before
}

// counts reads how many codes a block brings (RFC 1951 section 3.2.7).
func (f *inflater) counts() (bool, error) {
	if f.n < 14 {
		return false, nil
	}
	d := codes.Get().(*dynamic)
	f.own = d
	d.nlit, d.ndist, d.nlen, d.have = int(f.take(5))+257, int(f.take(5))+1, int(f.take(4))+4, 0
	if d.nlit > maxLit || d.ndist > maxDist {
		return false, ErrCorrupt
	}
	clear(d.lengths[:19])
	f.step = inLengths
	return true, nil
}

// lengthCodes reads the code that the code lengths are written in.
func (f *inflater) lengthCodes() (bool, error) {
	d := f.own
	for ; d.have < d.nlen && f.n >= 3; d.have++ {
		d.lengths[lengthOrder[d.have]] = uint8(f.take(3))
	}
	if d.have < d.nlen {
		return false, nil
	}
	if !d.lit.build(d.lengths[:19], true) {
		return false, ErrCorrupt
	}
	d.have = 0
	f.step = inCodes
	return true, nil
}

// codeLengths reads the lengths of the block's codes and makes the codes.
func (f *inflater) codeLengths() (bool, error) {
	d := f.own
	for d.have < d.nlit+d.ndist {
		sym, l := d.lit.find(f.bits, f.n)
		if l == missing {
			return false, nil
		}
		if l == invalid {
			return false, ErrCorrupt
		}
		if sym < 16 {
			f.take(uint(l))
			d.lengths[d.have] = uint8(sym)
			d.have++
			if f.n < 16 {
				return true, nil // refill, if there is more
			}
			continue
		}
		extra, base := [3]uint{2, 3, 7}[sym-16], [3]int{3, 3, 11}[sym-16]
		if f.n < uint(l)+extra {
			return false, nil
		}
		f.take(uint(l))
		n, v := base+int(f.take(extra)), uint8(0)
		if sym == 16 {
			if d.have == 0 {
				return false, ErrCorrupt
			}
			v = d.lengths[d.have-1]
		}
		if d.have+n > d.nlit+d.ndist {
			return false, ErrCorrupt
		}
		for range n {
			d.lengths[d.have] = v
			d.have++
		}
		if f.n < 16 && d.have < d.nlit+d.ndist {
			return true, nil
		}
	}
	if d.lengths[256] == 0 || !d.dist.build(d.lengths[d.nlit:d.have], false) || !d.lit.build(d.lengths[:d.nlit], false) {
		return false, ErrCorrupt
	}
	f.lit, f.dist, f.step = &d.lit, &d.dist, inBlock
	return true, nil
}

// symbols reads literals and matches until the block ends, input or room is used up.
func (f *inflater) symbols(in *[]byte) (bool, error) {
	for f.w+maxMatch <= space {
		if f.n < 48 { // the longest that belongs together: 15+5 and 15+13 bits
			*in = f.refill(*in)
		}
		sym, l := f.lit.find(f.bits, f.n)
		switch {
		case l == missing:
			return false, nil
		case l == invalid || sym >= maxLit:
			return false, ErrCorrupt
		case sym < 256:
			f.take(uint(l))
			f.win[f.w] = byte(sym)
			f.w++
			f.empty = false
		case sym == 256:
			f.take(uint(l))
			f.finish()
			return true, nil
		default:
			if on, err := f.match(sym-257, uint(l)); !on || err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// match reads the rest of a match whose length symbol has l bits, and copies it; without all of its bits it consumes none.
func (f *inflater) match(sym, l uint) (bool, error) {
	b, n := f.bits>>l, f.n-l
	more := uint(lengthExtra[sym])
	if n < more {
		return false, nil
	}
	length := int(lengthBase[sym]) + int(b&(1<<more-1))
	b, n = b>>more, n-more
	d, dl := f.dist.find(b, n)
	if dl == missing {
		return false, nil
	}
	if dl == invalid || d >= maxDist {
		return false, ErrCorrupt
	}
	b, n = b>>uint(dl), n-uint(dl)
	more = uint(distExtra[d])
	if n < more {
		return false, nil
	}
	dist := int(distBase[d]) + int(b&(1<<more-1))
	if dist > f.w {
		return false, ErrCorrupt
	}
	f.bits, f.n, f.empty = b>>more, n-more, false
	f.w = f.copy(dist, length)
	return true, nil
}

// copy repeats length bytes from dist back; the two may overlap.
func (f *inflater) copy(dist, length int) int {
	from, end := f.w-dist, f.w+length
	for to := f.w; to < end; {
		to += copy(f.win[to:end], f.win[from:to])
	}
	return end
}
