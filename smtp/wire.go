package smtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// maxLine is how long a line of a command may be, with its CRLF: RFC 4954 section 4 asks for 12,288 octets
	// in the lines of AUTH, and RFC 5321 section 4.5.3.1.4 for less.
	maxLine = 12288
	// maxSkip is how much of one endless line is thrown away before the connection is closed.
	maxSkip = 1 << 20
	// lineBuffer and dataBuffer are the input buffer's sizes between and inside messages.
	lineBuffer = 4 << 10
	dataBuffer = 64 << 10
	// maxGather is how many bytes of replies are gathered at most.
	maxGather = 8 << 10
)

var (
	errLongLine = errors.New("line too long")
	errEndless  = errors.New("line without end")
	errHello    = errors.New("TLS handshake where none is expected")
)

// tlsHandshake is the first byte of a TLS record with a handshake, which no command begins with.
const tlsHandshake = 0x16

var dataBuffers = sync.Pool{New: func() any { b := make([]byte, dataBuffer); return &b }}

// wire is the bytes of a connection. It belongs to the goroutine of the connection.
//
// Input is read into buf and taken from it line by line (line) or as a window of bytes
// (window, more, consume). Output is gathered in out until the input is drained, so that a
// batch of pipelined commands is answered with one packet (RFC 2920 section 3.2).
type wire struct {
	conn  net.Conn // *session.Conn, or the *tls.Conn over it
	begin func() error
	buf   []byte
	r, w  int     // buf[r:w] is read and not yet taken
	small []byte  // buf between messages
	big   *[]byte // buf within one, from dataBuffers
	out   []byte

	patience time.Duration // for a line, and for each dataBuffer bytes of a message; 0: none
	since    int           // bytes read since the clock was set; negative: set it before the next read
}

// window is what is read and not yet taken.
func (w *wire) window() []byte { return w.buf[w.r:w.w] }

// consume takes n bytes of the window.
func (w *wire) consume(n int) { w.r += n }

// more waits until the window has n bytes, n being at most lineBuffer. io.ErrUnexpectedEOF when the connection ends before.
func (w *wire) more(n int) error {
	for w.w-w.r < n {
		if err := w.fill(); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

// fill reads once, after it sent what waits to be sent.
func (w *wire) fill() error {
	if w.begin != nil {
		// Implicit TLS: the handshake is the first thing (RFC 8314 section 3), and not the accept loop's business.
		begin := w.begin
		w.begin = nil
		if err := begin(); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	w.room()
	if w.since < 0 || w.since >= dataBuffer {
		w.hurry()
	}
	n, err := w.conn.Read(w.buf[w.w:])
	w.w += n
	w.since += n
	if n > 0 {
		return nil
	}
	return err
}

// hurry sets the clock: who sends a byte now and then is not idle, but keeps a connection for nothing.
func (w *wire) hurry() {
	w.since = 0
	if w.patience > 0 {
		// An error would be one of the Read that follows.
		_ = w.conn.SetReadDeadline(time.Now().Add(w.patience))
	}
}

// room makes room at the end of the buffer.
func (w *wire) room() {
	switch {
	case w.buf == nil:
		w.buf = make([]byte, lineBuffer)
	case w.r == w.w:
		w.r, w.w = 0, 0
	case w.w < len(w.buf):
	case w.r > 0:
		w.w = copy(w.buf, w.buf[w.r:w.w])
		w.r = 0
	default:
		w.swap(make([]byte, 2*len(w.buf))) // line never asks for more than maxLine
	}
}

func (w *wire) swap(b []byte) {
	w.w = copy(b, w.buf[w.r:w.w])
	w.r = 0
	w.buf = b
}

// enlarge takes a buffer for the bytes of a message; shrink gives it back once it is drained.
func (w *wire) enlarge() {
	w.since = -1
	if w.big == nil {
		w.small = w.buf
		w.big = dataBuffers.Get().(*[]byte)
		w.swap(*w.big)
	}
}

func (w *wire) shrink() {
	if w.big == nil || w.r < w.w {
		return
	}
	w.buf, w.r, w.w = w.small, 0, 0
	dataBuffers.Put(w.big)
	w.small, w.big = nil, nil
}

// line takes the next line with its end. errLongLine when it is longer than maxLine; it is taken all the same.
// The bytes are good until the next call.
func (w *wire) line() ([]byte, error) {
	w.since = -1
	for seen := 0; ; {
		win := w.window()
		if len(win) > 0 && win[0] == tlsHandshake {
			return nil, errHello // it has no line ends, and whoever sent it waits for an answer
		}
		if i := bytes.IndexByte(win[seen:], '\n'); i >= 0 {
			l := win[:seen+i+1]
			w.consume(len(l))
			if len(l) > maxLine {
				return nil, errLongLine
			}
			return l, nil
		}
		if len(win) > maxLine {
			return nil, w.skip()
		}
		seen = len(win)
		if err := w.fill(); err != nil {
			return nil, err
		}
	}
}

// skip takes the rest of a line that is too long.
func (w *wire) skip() error {
	for skipped := 0; skipped < maxSkip; {
		win := w.window()
		if i := bytes.IndexByte(win, '\n'); i >= 0 {
			w.consume(i + 1)
			return errLongLine
		}
		skipped += len(win)
		w.consume(len(win))
		if err := w.fill(); err != nil {
			return err
		}
	}
	return errEndless
}

// put gathers output.
func (w *wire) put(b []byte) error {
	w.out = append(w.out, b...)
	if len(w.out) > maxGather {
		return w.flush()
	}
	return nil
}

// flush sends what was gathered.
func (w *wire) flush() error {
	if len(w.out) == 0 {
		return nil
	}
	_, err := w.conn.Write(w.out)
	w.out = w.out[:0]
	if cap(w.out) > 2*maxGather {
		w.out = nil
	}
	return err
}

// upgrade goes over to an encrypted connection. What the client sent before the handshake and was not yet taken is
// dropped: it may be somebody else's (RFC 3207 section 5). It returns how many bytes that were.
func (w *wire) upgrade() (dropped int) {
	dropped = w.w - w.r
	w.r, w.w = 0, 0
	return dropped
}

// close sends what was gathered and closes the connection.
func (w *wire) close() error {
	var err error
	if w.begin == nil { // nothing may be sent before the handshake
		err = w.flush()
	}
	w.r = w.w
	w.shrink()
	return errors.Join(err, w.conn.Close())
}
