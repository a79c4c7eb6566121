package ftp

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// errTruncated is the end of a TLS data connection without close_notify. crypto/tls takes a FIN between two records for a proper end,
// which would let anybody on the way cut an upload short (RFC 8446 section 6.1).
var errTruncated = errors.New("data connection ended without close_notify")

const wireBuffer = 128 << 10

var wireBuffers = sync.Pool{New: func() any { return new([wireBuffer]byte) }}

// wire is the TCP connection as TLS and plain transfers use it: it moves the deadline with each byte that moves, and once
// collecting, makes few large system calls of TLS's many small ones.
type wire struct {
	tcp    *net.TCPConn
	stall  time.Duration
	hurry  atomic.Bool // stall is lostWait at most from now on
	lax    bool
	stop   <-chan struct{} // closed when the dataConn is aborted
	slow   func()          // called when a stalled write turns out to be a slow one
	kernel int             // what the kernel held to be sent when the write began

	records    records // what came, under TLS
	tls        bool
	collecting bool
	rbuf, wbuf *[wireBuffer]byte // nil until used
	r, w       int               // unread bytes of rbuf
	held       int               // bytes of wbuf
}

// collect begins to collect, after the handshake.
func (w *wire) collect() { w.collecting = true }

// records follows the TLS records that come by (RFC 8446 section 5.1).
type records struct {
	header [5]byte // of the one that comes, as far as it came
	n      int     // bytes of header
	left   int     // bytes of the record behind its header
}

func (r *records) pass(p []byte) {
	for len(p) > 0 {
		if r.n < len(r.header) {
			k := copy(r.header[r.n:], p)
			r.n += k
			p = p[k:]
			if r.n < len(r.header) {
				return
			}
			r.left = int(r.header[3])<<8 | int(r.header[4])
		}
		k := min(r.left, len(p))
		r.left -= k
		p = p[k:]
		if r.left == 0 {
			r.n = 0
		}
	}
}

// inside tells whether the end of a record is missing.
func (r *records) inside() bool { return r.n > 0 }

func (w *wire) readBy() { w.by(w.tcp.SetReadDeadline) }

func (w *wire) writeBy() {
	w.kernel = unsent(w.tcp)
	w.by(w.tcp.SetWriteDeadline)
}

// drained tells, when a write has waited in vain, whether the peer took something all the same. The kernel holds megabytes and gives room
// again when half of them are gone: to somebody on a slow line that can take longer than any stall.
func (w *wire) drained() bool {
	if n := unsent(w.tcp); n < 0 || n >= w.kernel {
		return false
	}
	if w.slow != nil {
		w.slow()
	}
	return true
}

// by sets a deadline, unless abort set one for good.
func (w *wire) by(set func(time.Time) error) {
	stall := w.stall
	if w.hurry.Load() {
		stall = min(stall, lostWait)
	}
	set(time.Now().Add(stall))
	select {
	case <-w.stop:
		set(time.Unix(1, 0))
	default:
	}
}

// Read reads what is there.
func (w *wire) Read(p []byte) (int, error) {
	if w.r < w.w {
		n := copy(p, w.rbuf[w.r:w.w])
		w.r += n
		return n, nil
	}
	w.readBy()
	if !w.collecting {
		n, err := w.tcp.Read(p)
		if w.tls {
			w.records.pass(p[:n])
		}
		return n, err
	}
	if w.rbuf == nil {
		w.rbuf = wireBuffers.Get().(*[wireBuffer]byte)
	}
	n, err := w.tcp.Read(w.rbuf[:])
	w.r, w.w = 0, n
	if n > 0 {
		w.records.pass(w.rbuf[:n])
		w.r = copy(p, w.rbuf[:n])
		return w.r, nil
	}
	if err == io.EOF && w.tls && !w.lax {
		err = errTruncated
	}
	return 0, err
}

// more tells whether there is something to read without waiting.
func (w *wire) more() bool { return w.r < w.w }

// Write writes all of p, or collects it.
func (w *wire) Write(p []byte) (int, error) {
	if !w.collecting {
		return w.writeAll(p)
	}
	if w.held+len(p) > wireBuffer {
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > wireBuffer {
		return w.writeAll(p)
	}
	if w.wbuf == nil {
		w.wbuf = wireBuffers.Get().(*[wireBuffer]byte)
	}
	w.held += copy(w.wbuf[w.held:], p)
	return len(p), nil
}

func (w *wire) flush() error {
	if w.held == 0 {
		return nil
	}
	_, err := w.writeAll(w.wbuf[:w.held])
	w.held = 0
	return err
}

// writeAll writes p as long as some of it moves within each stall time.
func (w *wire) writeAll(p []byte) (int, error) {
	total := 0
	for total < len(p) {
		w.writeBy()
		n, err := w.tcp.Write(p[total:])
		total += n
		if err != nil && !(errors.Is(err, os.ErrDeadlineExceeded) && !w.stopped() && (n > 0 || w.drained())) {
			return total, err
		}
	}
	return total, nil
}

func (w *wire) stopped() bool {
	select {
	case <-w.stop:
		return true
	default:
		return false
	}
}

// free gives the buffers back, after the last use.
func (w *wire) free() {
	for _, b := range []**[wireBuffer]byte{&w.rbuf, &w.wbuf} {
		if *b != nil {
			wireBuffers.Put(*b)
			*b = nil
		}
	}
	w.r, w.w, w.held = 0, 0, 0
}

// The rest of net.Conn, for crypto/tls. Its deadlines (CloseWrite, HandshakeContext) are honoured for the handshake alone, by
// closing: afterwards the stall guard rules.

func (w *wire) Close() error                       { return w.tcp.Close() }
func (w *wire) LocalAddr() net.Addr                { return w.tcp.LocalAddr() }
func (w *wire) RemoteAddr() net.Addr               { return w.tcp.RemoteAddr() }
func (w *wire) SetDeadline(t time.Time) error      { return nil }
func (w *wire) SetReadDeadline(t time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(t time.Time) error { return nil }
