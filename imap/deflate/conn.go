package deflate

import (
	"compress/flate"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// ErrBomb is returned when far more came out of the input than went in.
var ErrBomb = errors.New("compressed data expands too much")

// ErrMixed is returned when compressed data goes on where it was to end (see Plain).
var ErrMixed = errors.New("compressed data where none may be")

const (
	// Small is the longest Read before which buffers are given back: it is one that may wait for long.
	Small = 128

	inSize  = 8 << 10
	outSize = 64 << 10
	piece   = 48 << 10 // of a Write, compressed at once: even what does not shrink fits into outSize

	// What comes out may be fair times what went in; more is a debt that is paid back with time.
	fair    = 100
	payback = 8 << 20 // bytes a second
)

// compression is that of compress/flate: higher ones cost several times as much and save a tenth.
const compression = flate.BestSpeed

type (
	inBuffer  [inSize]byte
	outBuffer [outSize]byte
)

var (
	inBuffers  = sync.Pool{New: func() any { return new(inBuffer) }}
	outBuffers = sync.Pool{New: func() any { return new(outBuffer) }}
	writers    = sync.Pool{New: func() any {
		w, err := flate.NewWriter(io.Discard, compression)
		if err != nil {
			panic(err) // the level is a constant
		}
		return w
	}}
)

// Conn is DEFLATE over the connection below. Deadlines are that one's: a Read or Write that a deadline ended loses nothing of what came.
// One goroutine may read and one may write at a time; nobody may do either during Close.
type Conn struct {
	net.Conn

	in   inflater
	rest []byte    // input that is not decoded yet: of park or of buf
	buf  *inBuffer // nil while parked
	park [Small]byte
	err  error // of the input, for ever

	slack int64 // the most that debt may be
	debt  int64
	since time.Time // when debt was what it is

	phase phase
}

// phase of what is read, and of what is written likewise.
type phase uint8

const (
	compressed phase = iota
	closing          // the block that is being read is the last
	marker           // what is left of the end of the stream is skipped
	plain            // bytes are passed on
)

// New puts DEFLATE over c. The peer may send slack bytes that shrink to less than a hundredth, and 8 MiB of them each second;
// more ends in ErrBomb.
func New(c net.Conn, slack int64) *Conn {
	return &Conn{Conn: c, slack: slack, in: inflater{stuck: true}}
}

// NetConn is the connection below.
func (c *Conn) NetConn() net.Conn { return c.Conn }

// CloseWrite sends the end of the stream below.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// Close closes the connection below and gives back what is held.
func (c *Conn) Close() error {
	err := c.Conn.Close()
	c.in.close()
	c.release()
	c.rest = nil
	return err
}

// release gives the input buffer back, of which nothing may be needed.
func (c *Conn) release() {
	if c.buf != nil {
		inBuffers.Put(c.buf)
		c.buf = nil
	}
}

// Read reads what the peer wrote. Before a Read of at most Small bytes waits, all buffers are given back.
func (c *Conn) Read(p []byte) (int, error) {
	for {
		if c.in.readable() > 0 {
			if c.phase != compressed {
				return 0, ErrMixed
			}
			return c.in.read(p), nil
		}
		if c.err != nil {
			return 0, c.err
		}
		if c.phase == plain && len(c.rest) == 0 {
			return c.Conn.Read(p)
		}
		if len(c.rest) == 0 && (c.phase == marker || c.in.stuck) {
			if err := c.fill(len(p) <= Small); err != nil {
				return 0, err
			}
		}
		switch c.phase {
		case marker:
			c.skip()
		case plain:
			n := copy(p, c.rest)
			c.rest = c.rest[n:]
			return n, nil
		default:
			c.err = c.decode()
		}
	}
}

// fill reads from below, at least one byte.
func (c *Conn) fill(small bool) error {
	to := c.park[:]
	if small {
		c.in.park()
		c.release()
	} else {
		if c.buf == nil {
			c.buf = inBuffers.Get().(*inBuffer)
		}
		to = c.buf[:]
	}
	n, err := c.Conn.Read(to)
	if n > 0 {
		c.rest = to[:n]
		return nil // an error that came with bytes comes again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// decode takes what input there is as far as it goes.
func (c *Conn) decode() error {
	before, had := c.in.w-c.in.r, len(c.rest)
	rest, err := c.in.run(c.rest)
	c.rest = rest
	if err == nil && c.in.step == ended && c.phase == compressed && c.in.stuck && (len(rest) > 0 || c.in.n >= 8) {
		return ErrCorrupt // something behind the end
	}
	if err == nil {
		err = c.account(c.in.w-c.in.r-before, had-len(rest))
	}
	if err == nil && c.phase == closing && (c.in.step == atBlock || c.in.step == ended) {
		c.endInput()
	}
	return err
}

// account sees that out bytes are not too many for in bytes of input.
func (c *Conn) account(out, in int) error {
	over := int64(out) - fair*int64(in)
	if over <= 0 && c.debt == 0 {
		return nil
	}
	if c.debt == 0 {
		c.since = time.Now()
	}
	if c.debt = max(0, c.debt+over); c.debt <= c.slack {
		return nil
	}
	now := time.Now()
	c.debt = max(0, c.debt-int64(now.Sub(c.since).Seconds()*payback))
	c.since = now
	if c.debt > c.slack {
		return ErrBomb
	}
	return nil
}

// Write compresses p and sends it, flushed.
func (c *Conn) Write(p []byte) (total int, err error) {
	if c.phase != compressed {
		return c.Conn.Write(p)
	}
	for {
		part := p[:min(len(p), piece)]
		if err := c.send(part, false); err != nil {
			return total, err
		}
		total += len(part)
		if p = p[len(part):]; len(p) == 0 {
			return total, nil
		}
	}
}

// send compresses one piece. The compressor is given back before the peer is waited for.
func (c *Conn) send(p []byte, end bool) error {
	out := outBuffers.Get().(*outBuffer)
	defer outBuffers.Put(out)
	b := buffer{b: out[:0]}
	w := writers.Get().(*flate.Writer)
	w.Reset(&b)
	_, err := w.Write(p)
	if err == nil && end {
		err = w.Close()
	} else if err == nil {
		err = w.Flush()
	}
	w.Reset(io.Discard) // which forgets b
	writers.Put(w)
	if err != nil {
		return err
	}
	_, err = c.Conn.Write(b.b)
	return err
}

// buffer is an io.Writer into a slice.
type buffer struct{ b []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}

// Plain ends the compression of both directions (RFC 8437 section 4.1). Ours ends here, with the stream's last block.
// The peer's has ended where its last line was flushed or finished; what is left of its stream is skipped: the block that is being
// read, and what flushing or finishing appends, none of which can begin a line of text.
func (c *Conn) Plain() error {
	if c.phase != compressed {
		return nil
	}
	err := c.send(nil, true)
	c.phase, c.in.halt = closing, true
	if c.in.empty || c.in.step != inBlock && c.in.step != inStored {
		c.endInput()
	}
	return err
}

// Ended tells whether Plain was called.
func (c *Conn) Ended() bool { return c.phase != compressed }

// endInput goes on behind the stream. Bytes that the decoder took ahead are input again.
func (c *Conn) endInput() {
	f := &c.in
	f.take(f.n % 8)
	var ahead []byte
	for f.n > 0 {
		ahead = append(ahead, byte(f.take(8)))
	}
	c.rest = append(ahead, c.rest...)
	if f.win != nil && f.r < f.w {
		return // Read says that this may not be
	}
	f.close()
	c.phase = marker
	c.skip()
}

// skip passes over what is no text.
func (c *Conn) skip() {
	for i, b := range c.rest {
		if b >= ' ' && b < 0x7f {
			c.rest = c.rest[i:]
			c.phase = plain
			return
		}
	}
	c.rest = nil
}

// Discard forgets what was read from below and not given out. It makes sense after Plain.
func (c *Conn) Discard() {
	c.rest = nil
	c.release()
}
