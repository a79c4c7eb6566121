package mime

import (
	"bytes"
	"sync"
)

const (
	maxBoundary = 200                 // RFC 2046 section 5.1.1 allows 70; longer ones are none
	maxLine     = 2 + maxBoundary + 8 // of a line that is split between pieces, this much is kept
	maxText     = 2 << 20             // bytes of header text that one index keeps
	maxDepth    = 250
)

// Indexer takes the bytes of a message in pieces of any size.
//
//	          empty line, leaf or multipart
//	header ------------------------------------> body
//	|    ^                                        |
//	+----+ message/rfc822: the inner header       |
//	     ^            delimiter line              |
//	     +----------------------------------------+
//
// Its state is the header block being read, the stack of open containers and at most one line's beginning.
type Indexer struct {
	limits Limits
	*state
}

// state is what is used again for the next message.
type state struct {
	off   int64   // bytes seen
	lines int64   // LF seen
	tail  [2]byte // the last two bytes before off; 0 where there are none

	inHeader bool
	header   []byte // of the entity being read, up to Limits.HeaderBytes

	line      []byte // beginning of the line that is split between pieces; empty at a line's beginning and in lines that need no look
	lineAt    mark   // where it begins
	lineEOL   int    // bytes of the line end before it
	lineBytes int64  // its length so far
	inLine    bool   // it is there

	nodes []node
	stack []frame // open multiparts and messages, outermost first
	cur   int     // the entity whose header or body is being read; -1 in a preamble or epilogue
	open  boundaries
	fields
}

// mark is a place in the message.
type mark struct{ off, lines int64 }

// node is a part while its end is not known.
type node struct {
	part      Part
	parent    int // -1: the root
	children  int
	bodyLines int64 // lines before BodyOffset
}

// frame is an open container.
type frame struct {
	node     int
	boundary string // "" for a message, and for a multipart behind its close delimiter
	shadowed int    // the outer frame of the same boundary, -1 for none
}

var states = sync.Pool{New: func() any { return new(state) }}

// NewIndexer returns an Indexer.
func NewIndexer(l Limits) *Indexer {
	if l.Depth <= 0 {
		l.Depth = 100
	}
	if l.Parts <= 0 {
		l.Parts = 10_000
	}
	if l.HeaderBytes <= 0 {
		l.HeaderBytes = 256 << 10
	}
	l.Depth = min(l.Depth, maxDepth)
	x := &Indexer{limits: l, state: states.Get().(*state)}
	x.budget = maxText
	x.begin(-1, mark{})
	return x
}

// Write never fails.
func (x *Indexer) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		var k int
		if x.inHeader {
			k = x.readHeader(p)
		} else {
			k = x.readBody(p)
		}
		p = p[k:]
	}
	return n, nil
}

// Finish ends the message and returns its index. The Indexer is not used afterwards.
func (x *Indexer) Finish() *Index {
	if x.inLine {
		if k, closing, ok := x.open.match(x.line); ok {
			x.delimiter(k, closing, x.lineAt, x.lineEOL, mark{x.off, x.lines})
		}
	}
	end := mark{x.off, x.lines}
	for x.inHeader {
		x.endHeader(end)
	}
	x.closeAbove(0, end, end)
	if len(x.stack) > 0 {
		x.close(x.stack[0].node, end.off, end.lines)
	} else {
		x.close(0, end.off, end.lines)
	}
	idx := &Index{Size: x.off, Lines: x.lines}
	x.build(idx)
	x.release()
	return idx
}

// release gives back what can be used again, if it did not grow beyond what is usual.
func (x *Indexer) release() {
	s := x.state
	x.state = nil
	if cap(s.header) > 1<<16 || cap(s.nodes) > 256 {
		return
	}
	clear(s.nodes)
	clear(s.stack)
	s.open.reset()
	*s = state{header: s.header[:0], nodes: s.nodes[:0], stack: s.stack[:0], line: s.line[:0], open: s.open, fields: fields{scratch: s.scratch[:0]}}
	states.Put(s)
}

// advance counts bytes that have been looked at.
func (x *state) advance(p []byte) {
	x.off += int64(len(p))
	x.lines += int64(bytes.Count(p, []byte{'\n'}))
	x.keepTail(p)
}

func (x *state) keepTail(p []byte) {
	switch len(p) {
	case 0:
	case 1:
		x.tail = [2]byte{x.tail[1], p[0]}
	default:
		x.tail = [2]byte(p[len(p)-2:])
	}
}

// eol returns the length of the line end before p[i], where p begins at x.off.
func (x *state) eol(p []byte, i int) int {
	b1, b2 := x.tail[1], x.tail[0]
	if i > 1 {
		b1, b2 = p[i-1], p[i-2]
	} else if i == 1 {
		b1, b2 = p[0], x.tail[1]
	}
	switch {
	case b1 != '\n':
		return 0
	case b2 == '\r':
		return 2
	}
	return 1
}

// startLine begins to keep a line of which p holds no end.
func (x *state) startLine(p []byte, i int) {
	x.inLine = true
	x.line = x.line[:0]
	x.lineBytes = 0
	x.lineEOL = x.eol(p, i)
	x.lineAt = mark{x.off + int64(i), x.lines + int64(bytes.Count(p[:i], []byte{'\n'}))}
	x.moreLine(p[i:])
}

func (x *state) moreLine(p []byte) {
	x.lineBytes += int64(len(p))
	x.line = append(x.line, p[:min(len(p), maxLine-len(x.line))]...)
}

// readHeader takes whole lines of p, or the beginning of one, and returns how many bytes that was.
func (x *Indexer) readHeader(p []byte) int {
	for i := 0; i < len(p); {
		n := bytes.IndexByte(p[i:], '\n') + 1
		if n == 0 {
			if x.inLine {
				x.moreLine(p[i:])
			} else {
				x.startLine(p, i)
			}
			x.keepHeader(p[i:])
			break
		}
		line, at, eol, size := p[i:i+n], mark{x.off + int64(i), 0}, 0, int64(n)
		split := x.inLine
		if split {
			x.moreLine(line)
			line, size, at.off = x.line, x.lineBytes, x.lineAt.off
			x.inLine = false
		}
		isEnd := size == 1 || size == 2 && line[0] == '\r'
		if !isEnd && x.open.n > 0 && line[0] == '-' {
			if k, closing, ok := x.open.match(line); ok {
				if split {
					eol, at.lines = x.lineEOL, x.lineAt.lines
				} else {
					eol = x.eol(p, i)
					at.lines = x.lines + int64(bytes.Count(p[:i], []byte{'\n'}))
				}
				x.dropHeader(at.off)
				x.advance(p[:i+n])
				x.delimiter(k, closing, at, eol, mark{x.off, x.lines})
				return i + n
			}
		}
		if isEnd {
			x.advance(p[:i+n])
			x.endHeader(mark{x.off, x.lines})
			return i + n
		}
		x.keepHeader(p[i : i+n])
		i += n
	}
	x.advance(p)
	return len(p)
}

// keepHeader appends to the header block what fits.
func (x *Indexer) keepHeader(p []byte) {
	if room := x.limits.HeaderBytes - len(x.header); room < len(p) {
		p = p[:max(room, 0)] // what lies beyond the limit is not looked at
	}
	x.header = append(x.header, p...)
}

// dropHeader takes from the header block what stands at off and behind: a boundary line that came in pieces.
func (x *Indexer) dropHeader(off int64) {
	if n := off - x.nodes[x.cur].part.HeaderOffset; n < int64(len(x.header)) {
		x.header = x.header[:n]
	}
}

// readBody takes bytes of p up to and including the next delimiter line, or all, and returns how many that was.
func (x *Indexer) readBody(p []byte) int {
	if x.open.n == 0 {
		x.advance(p)
		return len(p)
	}
	i := 0
	if x.inLine {
		n := bytes.IndexByte(p, '\n') + 1
		if n == 0 {
			x.moreLine(p)
			x.advance(p)
			return len(p)
		}
		x.moreLine(p[:n])
		x.inLine = false
		if k, closing, ok := x.open.match(x.line); ok {
			x.advance(p[:n])
			x.delimiter(k, closing, x.lineAt, x.lineEOL, mark{x.off, x.lines})
			return n
		}
		i = n
	}
	for i < len(p) {
		if i = x.nextHyphens(p, i); i < 0 {
			break
		}
		n := bytes.IndexByte(p[i:], '\n') + 1
		if n == 0 {
			x.startLine(p, i)
			break
		}
		if k, closing, ok := x.open.match(p[i : i+n]); ok {
			eol := x.eol(p, i)
			x.advance(p[:i])
			at := mark{x.off, x.lines}
			x.advance(p[i : i+n])
			x.delimiter(k, closing, at, eol, mark{x.off, x.lines})
			return i + n
		}
		i += n
	}
	x.advance(p)
	return len(p)
}

// nextHyphens returns the first i at or behind from where a line begins with two hyphens, or with one that is
// the last byte of p; -1 for none. It takes at most two searches a line, and none for lines without hyphens.
func (x *state) nextHyphens(p []byte, from int) int {
	for i := from; ; {
		n := bytes.IndexByte(p[i:], '-')
		if n < 0 {
			return -1
		}
		i += n
		begins := i > 0 && p[i-1] == '\n' || i == 0 && (x.tail[1] == '\n' || x.off == 0)
		if begins && (i+1 == len(p) || p[i+1] == '-') {
			return i
		}
		if n = bytes.IndexByte(p[i:], '\n'); n < 0 {
			return -1
		}
		i += n
	}
}
