package wire

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

// Limits of the input.
const (
	MaxLine  = 64 << 10 // bytes of a command without its literals
	maxSkip  = 1 << 20  // bytes of an over-long line that are skipped before the connection is given up
	maxDrain = 1 << 20  // bytes of unwanted literals that are skipped likewise, unless Decoder.DrainMax says more
	smallBuf = 4 << 10
	bigBuf   = MaxLine + 2<<10
	parked   = 96 // bytes that are read without a buffer
)

// ErrLine is returned for a line over the limit. It was skipped.
var ErrLine = errors.New("line too long")

// errFlood is returned when too much had to be skipped; the connection is to be closed.
var errFlood = errors.New("too much unwanted input")

var (
	smallPool = sync.Pool{New: func() any { return new([smallBuf]byte) }}
	bigPool   = sync.Pool{New: func() any { return new([bigBuf]byte) }}
)

// Reader reads lines and literals. While it waits with nothing buffered it holds no
// buffer: the first bytes arrive in a small array of its own. It is used by one goroutine.
type Reader struct {
	src  io.Reader
	buf  []byte // nil, or one of the pools'
	r, w int    // buf[r:w] is unread
	park [parked]byte
	head int  // after ErrLine: park[:head] is how the line began
	full bool // the last read into park filled it: there is more
}

// Reset makes the Reader read from src. What was buffered is forgotten.
// RFC 9051 section 6.2.1: after STARTTLS the server must discard what came before.
func (r *Reader) Reset(src io.Reader) {
	r.src = src
	r.r, r.w, r.full = 0, 0, false
	r.free()
}

// free gives the buffer back if nothing is in it.
func (r *Reader) free() {
	if r.buf == nil || r.w > r.r {
		return
	}
	switch len(r.buf) {
	case smallBuf:
		smallPool.Put((*[smallBuf]byte)(r.buf))
	case bigBuf:
		bigPool.Put((*[bigBuf]byte)(r.buf))
	}
	r.buf, r.r, r.w = nil, 0, 0
}

// Wait blocks until something is buffered. It is what a connection without anything to do sits in: the buffer
// is given back, and few frames lie on the stack.
func (r *Reader) Wait() error {
	for r.w == r.r {
		r.free()
		if r.full {
			return r.batch()
		}
		n, err := r.src.Read(r.park[:])
		if n > 0 {
			r.hold(n)
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// batch is for a client that says more than park holds: what it says is read together, so that the answers leave together.
func (r *Reader) batch() error {
	r.full = false
	buf := smallPool.Get().(*[smallBuf]byte)
	n, err := readSome(r.src, buf[:])
	if n == 0 {
		smallPool.Put(buf)
		return err
	}
	r.buf, r.r, r.w = buf[:], 0, n
	return nil
}

// hold takes a buffer for the n bytes in park.
func (r *Reader) hold(n int) {
	r.buf = smallPool.Get().(*[smallBuf]byte)[:]
	r.r, r.w = 0, copy(r.buf, r.park[:n])
	r.full = n == parked
}

// fill reads more, at least one byte, or fails. There must be room: see room.
func (r *Reader) fill() error {
	if r.buf == nil {
		n, err := readSome(r.src, r.park[:])
		if n == 0 {
			return err
		}
		r.hold(n)
		return nil
	}
	n, err := readSome(r.src, r.buf[r.w:])
	r.w += n
	r.full = false
	if n > 0 {
		return nil
	}
	return err
}

// readSome reads at least one byte or fails.
func readSome(src io.Reader, p []byte) (int, error) {
	for range 16 {
		n, err := src.Read(p)
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// room makes sure that something can be read into buf, growing it once.
func (r *Reader) room() bool {
	if r.buf == nil || r.w < len(r.buf) {
		return true
	}
	if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
		return true
	}
	if len(r.buf) >= bigBuf {
		return false
	}
	big := bigPool.Get().(*[bigBuf]byte)[:]
	n := copy(big, r.buf[r.r:r.w])
	smallPool.Put((*[smallBuf]byte)(r.buf))
	r.buf, r.r, r.w = big, 0, n
	return true
}

// Line returns the next line without its end, valid until the Reader is used again. A line
// of more than limit bytes is skipped: ErrLine, and what is returned is its last bytes, so
// that a literal it announces can be seen. A lone LF ends a line too.
func (r *Reader) Line(limit int) ([]byte, error) {
	limit = min(limit, MaxLine)
	seen := 0
	for {
		if i := bytes.IndexByte(r.buf[r.r+seen:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+seen+i]
			r.r += seen + i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			if len(line) > limit {
				r.head = copy(r.park[:], line)
				return line[max(0, len(line)-32):], ErrLine
			}
			return line, nil
		}
		seen = r.w - r.r
		if seen > limit+2 || !r.room() {
			r.head = copy(r.park[:], r.buf[r.r:r.w])
			return r.skipLine()
		}
		if seen == 0 {
			r.free()
		}
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
}

// skipLine reads to the end of a line that is too long and returns its last bytes.
func (r *Reader) skipLine() ([]byte, error) {
	for skipped := 0; skipped < maxSkip; {
		if i := bytes.IndexByte(r.buf[r.r:r.w], '\n'); i >= 0 {
			line := r.buf[r.r : r.r+i]
			r.r += i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line[max(0, len(line)-32):], ErrLine
		}
		// keep the last bytes: a literal's announcement may be cut in two
		keep := min(32, r.w-r.r)
		skipped += r.w - r.r - keep
		r.w = copy(r.buf, r.buf[r.w-keep:r.w])
		r.r = 0
		if err := r.fill(); err != nil {
			return nil, err
		}
	}
	return nil, errFlood
}

// Read reads bytes as they are: of a literal. Once the buffer is empty it reads
// straight from the source.
func (r *Reader) Read(p []byte) (int, error) {
	if r.w > r.r {
		n := copy(p, r.buf[r.r:r.w])
		r.r += n
		return n, nil
	}
	return r.src.Read(p)
}

// Discard skips n bytes.
func (r *Reader) Discard(n int64) error {
	for n > 0 {
		if r.w == r.r {
			r.free()
			if err := r.fill(); err != nil {
				return err
			}
		}
		k := int(min(n, int64(r.w-r.r)))
		r.r += k
		n -= int64(k)
	}
	return nil
}
