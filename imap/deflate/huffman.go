package deflate

import "math/bits"

const (
	maxBits  = 15  // of a code (RFC 1951 section 3.2.7)
	maxLit   = 286 // literal and length symbols that mean something
	maxDist  = 30
	fastBits = 9 // codes up to this length are found with one look
)

// huffman is a set of canonical codes (RFC 1951 section 3.2.2).
type huffman struct {
	fast   [1 << fastBits]uint16 // by the next bits: symbol<<4 | length; 0 for a longer code and for none
	count  [maxBits + 1]uint16   // codes of each length
	symbol [288]uint16           // in the order of their codes
}

// build makes the codes from their lengths, of which 0 means none. As with zlib, a set that leaves codes unused is taken only
// when it has a single code of one bit, or none at all; whoever meets an unused code finds that it is none.
func (h *huffman) build(lengths []uint8, complete bool) bool {
	h.count = [maxBits + 1]uint16{}
	for _, l := range lengths {
		h.count[l]++
	}
	h.count[0] = 0
	left, longest := 1, 0
	var offset, code [maxBits + 2]uint16
	for l := 1; l <= maxBits; l++ {
		left = left<<1 - int(h.count[l])
		if left < 0 {
			return false
		}
		if h.count[l] > 0 {
			longest = l
		}
		offset[l+1] = offset[l] + h.count[l]
		code[l+1] = (code[l] + h.count[l]) << 1
	}
	if left > 0 && (complete || longest > 1) {
		return false
	}
	h.fast = [1 << fastBits]uint16{}
	for sym, l := range lengths {
		if l == 0 {
			continue
		}
		h.symbol[offset[l]] = uint16(sym)
		offset[l]++
		if l <= fastBits {
			// codes come with their first bit lowest
			first := int(bits.Reverse16(code[l]) >> (16 - l))
			for i := first; i < 1<<fastBits; i += 1 << l {
				h.fast[i] = uint16(sym)<<4 | uint16(l)
			}
		}
		code[l]++
	}
	return true
}

// What find says when it has no symbol.
const (
	missing = 0  // more bits are needed
	invalid = -1 // no code begins like this
)

// find looks up the symbol whose code is next in b, which holds n bits and zeros above them. A length above 0 is the code's.
func (h *huffman) find(b uint64, n uint) (symbol uint, length int) {
	if e := h.fast[b&(1<<fastBits-1)]; e != 0 {
		if l := uint(e & 15); l <= n {
			return uint(e >> 4), int(l)
		}
		return 0, missing
	}
	return h.slow(b, n)
}

// slow goes bit by bit.
func (h *huffman) slow(b uint64, n uint) (symbol uint, length int) {
	code, first, index := 0, 0, 0
	for l := 1; l <= maxBits; l++ {
		if uint(l) > n {
			return 0, missing
		}
		code |= int(b & 1)
		b >>= 1
		count := int(h.count[l])
		if code-count < first {
			return uint(h.symbol[index+code-first]), l
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	return 0, invalid
}

// The codes of blocks that bring none (RFC 1951 section 3.2.6).
var fixedLit, fixedDist = fixed()

func fixed() (lit, dist *huffman) {
	var l [288]uint8
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	var d [32]uint8
	for i := range d {
		d[i] = 5
	}
	lit, dist = new(huffman), new(huffman)
	lit.build(l[:], true)
	dist.build(d[:], true)
	return lit, dist
}

// Lengths and distances: what a symbol stands for and how many bits more follow it (RFC 1951 section 3.2.5).
var (
	lengthBase  = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distExtra   = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	lengthOrder = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15} // RFC 1951 section 3.2.7
)
