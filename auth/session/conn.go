package session

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// Conn is the connection of a session. It counts bytes, keeps the deadlines of its
// listener by progress (each byte read restarts idle, each byte written restarts stall)
// whatever deadlines a library above sets (an earlier one set from above holds too), and
// keeps sendfile: ReadFrom hands an *os.File to the *net.TCPConn below.
// RemoteAddr carries the session (FromAddr); its String is the plain address:port.
//
// A deadline that the listener set ends the session (ErrIdle, ErrStalled), one that was set
// from above only ends the call. Both look alike to the caller: os.ErrDeadlineExceeded; Session.Ending tells.
// Once the session was told to end, each Read returns os.ErrDeadlineExceeded at once, while up to
// 256 KiB may still be written until the session's Grace is over.
//
// Idle means: nothing was read, no command ended, no data connection moved and no large
// piece (4 KiB, so a body but no keepalive) was written.
//
// The runtime's timers are left alone as long as deadlines only move on: a timer that fires
// too early is noticed and set again, so that a Read or Write costs one look at the clock more than a plain one.
type Conn struct {
	net.Conn
	s      *Session
	opened int64 // clock at accept

	// Guarded by s.mu. Clocks; 0 means none.
	readBy, writeBy       int64 // set from above
	readArmed, writeArmed int64 // what the socket below is set to
	farewell              int64 // bytes written since the session was halted
	stalled, closed       bool
	lost                  error // what the last Read said, when that was not a deadline
}

const (
	step        = 1 << 20   // bytes written between two looks at counters and kill
	bulk        = 4 << 10   // a write from here on shows that the session is not idle
	maxFarewell = 256 << 10 // bytes that may be written after the end was announced
	lingerTime  = 500 * time.Millisecond
)

// past is a deadline that has struck.
var past = time.Unix(1, 0)

// Session of the connection.
func (c *Conn) Session() *Session { return c.s }

// RemoteAddr is the peer's address and carries the session.
func (c *Conn) RemoteAddr() net.Addr { return (*addr)(c.s) }

// Read reads what has come, waiting at most for the session's idle timeout or until a deadline set from above.
func (c *Conn) Read(b []byte) (int, error) {
	s := c.s
	for {
		if s.halted.Load() {
			return 0, os.ErrDeadlineExceeded
		}
		n, err := c.Conn.Read(b)
		if n > 0 {
			s.in.Add(int64(n))
			s.touch()
			return n, err
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if c.readAgain() {
				continue
			}
			return 0, os.ErrDeadlineExceeded
		}
		if err != nil {
			s.mu.Lock()
			c.lost = err
			s.mu.Unlock()
		}
		return n, err
	}
}

// readAgain finds out which deadline struck. It is true when none did: the timer was an old one.
func (c *Conn) readAgain() bool {
	s := c.s
	s.mu.Lock()
	now := s.registry.clock()
	by := c.readDeadlineLocked()
	switch {
	case s.halted.Load() || c.closed || c.readBy != 0 && c.readBy <= now:
		s.mu.Unlock()
		return false
	case by != 0 && by <= now:
		s.mu.Unlock()
		s.Kill(ErrIdle)
		return false
	}
	c.readArmed = by
	c.Conn.SetReadDeadline(s.registry.at(by))
	s.mu.Unlock()
	return true
}

// readDeadlineLocked is the earlier one of the idle timeout and the deadline from above.
func (c *Conn) readDeadlineLocked() int64 {
	by := c.readBy
	if idle := c.s.listener.o.IdleTimeout; idle > 0 {
		by = earlier(by, c.s.fresh.Load()+int64(idle))
	}
	return by
}

// earlier of two deadlines, of which 0 is none.
func earlier(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline sets a deadline beside those of the listener; the earlier one holds. A moment in the past
// wakes a Read that waits, as on any net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.readBy = s.registry.clockAt(t)
	if by := c.readDeadlineLocked(); by != 0 && (c.readArmed == 0 || by < c.readArmed) && !s.halted.Load() {
		c.readArmed = by
		return c.Conn.SetReadDeadline(s.registry.at(by))
	}
	return nil
}

// SetWriteDeadline sets a deadline beside the stall timeout of the listener; the earlier one holds.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.writeBy = s.registry.clockAt(t)
	if c.writeBy != 0 && (c.writeArmed == 0 || c.writeBy < c.writeArmed) {
		c.writeArmed = c.writeBy
		return c.Conn.SetWriteDeadline(s.registry.at(c.writeBy))
	}
	return nil
}

// Write writes b; it waits as long as the peer takes something at least every stall timeout.
func (c *Conn) Write(b []byte) (total int, err error) {
	s := c.s
	since := s.registry.clock()
	for {
		piece := b[:min(len(b), step)]
		if err := c.mayWrite(len(piece)); err != nil {
			return total, err
		}
		n, err := c.Conn.Write(piece)
		total += n
		b = b[n:]
		again := c.wrote(int64(n), &since, err)
		if err == nil && len(b) == 0 {
			return total, nil
		}
		if !again {
			return total, err
		}
	}
}

// ReadFrom writes what r reads. A file, also one in an io.LimitedReader, goes the kernel's way
// (sendfile), in steps between which counters, the stall timeout and Kill take effect.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	below, ok := c.Conn.(io.ReaderFrom)
	limited, _ := r.(*io.LimitedReader)
	inner := r
	if limited != nil {
		inner = limited.R
	}
	_, file := inner.(syscall.Conn)
	if _, socket := inner.(net.Conn); !ok || !file || socket { // a socket's own deadlines would be taken for ours
		return io.Copy(struct{ io.Writer }{c}, r)
	}
	since := c.s.registry.clock()
	for {
		piece := io.LimitedReader{R: inner, N: step}
		if limited != nil {
			piece.N = min(step, limited.N)
		}
		if piece.N <= 0 {
			return total, nil
		}
		if err := c.mayWrite(int(piece.N)); err != nil {
			return total, err
		}
		wanted := piece.N
		n, err := below.ReadFrom(&piece)
		total += n
		if limited != nil {
			limited.N -= n
		}
		again := c.wrote(n, &since, err)
		if err == nil && n < wanted {
			return total, nil
		}
		if !again {
			return total, err
		}
	}
}

// mayWrite refuses what comes after the goodbye.
func (c *Conn) mayWrite(n int) error {
	s := c.s
	if !s.halted.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.stalled || c.farewell+int64(n) > maxFarewell {
		return os.ErrDeadlineExceeded
	}
	c.farewell += int64(n) // what was refused leaves room for the goodbye
	return nil
}

// wrote counts what one step wrote and tells whether the next step may follow. since is
// when the peer last took something.
func (c *Conn) wrote(n int64, since *int64, err error) bool {
	s := c.s
	if n > 0 {
		s.out.Add(n)
		if err != nil || n >= step {
			*since = s.registry.clock()
		}
		s.wrote.Store(*since)
		if n >= bulk {
			s.fresh.Store(*since)
		}
	}
	if err == nil {
		return true
	}
	return errors.Is(err, os.ErrDeadlineExceeded) && c.writeAgain(*since)
}

// writeAgain finds out which deadline struck. It is true when none did.
func (c *Conn) writeAgain(since int64) bool {
	s := c.s
	s.mu.Lock()
	now := s.registry.clock()
	by := c.writeBy
	stall := s.listener.o.StallTimeout
	if stall > 0 {
		by = earlier(by, since+int64(stall))
	}
	switch {
	case c.closed || c.writeBy != 0 && c.writeBy <= now:
		s.mu.Unlock()
		return false
	case by != 0 && by <= now:
		c.stalled = true
		s.mu.Unlock()
		s.Kill(ErrStalled)
		return false
	}
	c.writeArmed = by
	c.Conn.SetWriteDeadline(s.registry.at(by))
	s.mu.Unlock()
	return true
}

// CloseWrite sends the end of the stream to the peer; what it still sends can be read.
func (c *Conn) CloseWrite() error {
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return half.CloseWrite()
}

// arm sets the first deadlines, at accept.
func (c *Conn) arm() {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.readArmed = c.readDeadlineLocked(); c.readArmed != 0 {
		c.Conn.SetReadDeadline(s.registry.at(c.readArmed))
	}
	if stall := s.listener.o.StallTimeout; stall > 0 {
		c.writeArmed = c.opened + int64(stall)
		c.Conn.SetWriteDeadline(s.registry.at(c.writeArmed))
	}
}

// wakeLocked makes a Read that waits return; the session is halted, so none will wait again.
func (c *Conn) wakeLocked() { c.Conn.SetReadDeadline(past) }

// Close ends the session. After a goodbye that the client did not ask for, Close first gives the client half a
// second to take it: closing a socket with unread input would reset the connection, and a
// reset can destroy the goodbye on its way.
func (c *Conn) Close() error { return c.end(true) }

// end closes the socket, once.
func (c *Conn) end(gently bool) error {
	s := c.s
	s.mu.Lock()
	if c.closed {
		s.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	halted, stalled := s.halted.Load(), c.stalled
	s.mu.Unlock()
	switch {
	case stalled: // the kernel would keep what the peer does not take for many minutes
		if t, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
			t.SetLinger(0)
		}
	case halted && gently:
		linger(c.Conn, lingerTime)
	}
	err := c.Conn.Close()
	s.finish()
	return err
}

// linger sends the end of the stream and reads what the peer still sends until it closes its side, for a while.
func linger(c net.Conn, while time.Duration) {
	half, ok := c.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	c.SetReadDeadline(time.Now().Add(while))
	io.CopyN(io.Discard, c, step)
}
