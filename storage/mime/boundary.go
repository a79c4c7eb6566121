package mime

import "math/bits"

// boundaries are those of the open multiparts. A line is looked up, whatever number of them is open: by the
// lengths that occur, of which a line can match only those that end where it may.
type boundaries struct {
	n     int
	frame map[string]int             // the innermost frame of each
	count [maxBoundary + 1]uint8     // open ones of each length; maxDepth fits
	words [maxBoundary/64 + 1]uint64 // lengths that occur
}

func (b *boundaries) reset() {
	clear(b.frame)
	*b = boundaries{frame: b.frame}
}

// add opens a boundary for frame k and returns the frame that it shadows, or -1.
func (b *boundaries) add(s string, k int) (shadowed int) {
	if b.frame == nil {
		b.frame = map[string]int{}
	}
	shadowed, ok := b.frame[s]
	if !ok {
		shadowed = -1
	}
	b.frame[s] = k
	b.n++
	b.count[len(s)]++
	b.words[len(s)/64] |= 1 << (len(s) % 64)
	return shadowed
}

// remove closes the boundary that was added last.
func (b *boundaries) remove(s string, shadowed int) {
	if shadowed >= 0 {
		b.frame[s] = shadowed
	} else {
		delete(b.frame, s)
	}
	b.n--
	if b.count[len(s)]--; b.count[len(s)] == 0 {
		b.words[len(s)/64] &^= 1 << (len(s) % 64)
	}
}

// match says whether a line (with its line end, or its beginning if it is longer than maxLine) is a delimiter, and of which frame.
// RFC 2046 section 5.1.1: the boundary is compared with the beginning of the line; white space may follow.
func (b *boundaries) match(line []byte) (frame int, closing, ok bool) {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return 0, false, false
	}
	line = line[2:]
	if n := len(line); line[n-1] == '\n' {
		line = line[:n-1]
		if n > 1 && line[n-2] == '\r' {
			line = line[:n-2]
		}
	}
	for w := min(len(line), maxBoundary) / 64; w >= 0; w-- {
		for set := b.words[w]; set != 0; {
			bit := bits.Len64(set) - 1
			set &^= 1 << bit
			n := w*64 + bit
			if n > len(line) {
				continue
			}
			rest := line[n:]
			closing := len(rest) >= 2 && rest[0] == '-' && rest[1] == '-' && blank(rest[2:])
			if !closing && !blank(rest) {
				continue
			}
			if k, ok := b.frame[string(line[:n])]; ok {
				return k, closing, true
			}
		}
	}
	return 0, false, false
}

func blank(p []byte) bool { return len(p) == 0 || p[0] == ' ' || p[0] == '\t' }
