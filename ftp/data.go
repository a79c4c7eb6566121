package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/packetboat/packetboat/storage"
)

const (
	plainStep = 1 << 20   // bytes a sendfile may move between two looks at the clock and counters
	tlsStep   = 256 << 10 // the same under TLS

	lostWait     = 5 * time.Second // the stall timeout of an upload whose control connection is gone
	drainConnect = time.Second     // for a data connection to come while the server goes down
)

// dataConn is a data connection: first the plan for one (a passive slot, or an address to dial), then, from open on, the
// connection. Except for abort it is used by one goroutine.
type dataConn struct {
	c      *client
	slot   *slot          // passive
	target netip.AddrPort // active

	ctx    context.Context // ends with abort, close and the session
	cancel context.CancelFunc

	mu      sync.Mutex
	tcp     *net.TCPConn
	proving bool  // an upload is being received that close_notify will prove whole
	aborted error // why

	t       *transfer // that uses it
	pace    *pace     // of a file's transfer
	secure  bool      // PROT P when the transfer began
	opened  bool
	openErr error
	wire    *wire     // below tls
	tls     *tls.Conn // nil in the clear
}

func (c *client) newData() *dataConn {
	d := &dataConn{c: c}
	d.ctx, d.cancel = context.WithCancel(c.ctx)
	return d
}

// abort cuts the connection, or the wait for it, from any goroutine.
func (d *dataConn) abort(why error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.aborted != nil {
		return
	}
	d.aborted = why
	d.cancel()
	if d.tcp != nil {
		d.tcp.SetDeadline(time.Unix(1, 0))
	}
}

// hurry lets an upload that close_notify will prove whole come to its end, if it comes soon. False: there is no such upload.
func (d *dataConn) hurry() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.proving || d.tcp == nil || d.aborted != nil {
		return false
	}
	d.wire.hurry.Store(true)
	d.tcp.SetReadDeadline(time.Now().Add(min(d.wire.stall, lostWait)))
	return true
}

// receiving says that an upload begins.
func (d *dataConn) receiving() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.proving = d.secure && !d.c.srv.o.LaxDataEnd
}

// abortedBy is why, or nil.
func (d *dataConn) abortedBy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.aborted
}

// open waits for the client or dials it, and does the TLS handshake. Later calls return what the first returned.
func (d *dataConn) open() error {
	if d.opened {
		return d.openErr
	}
	d.opened = true
	if d.secure && d.slot != nil && d.slot.many {
		d.openErr = d.connectProven()
	} else if d.openErr = d.connect(); d.openErr == nil && d.secure {
		d.openErr = d.handshake()
	}
	if why := d.abortedBy(); why != nil {
		d.openErr = why
	}
	return d.openErr
}

func (d *dataConn) connect() error {
	tcp, err := d.reach()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tcp = tcp
	d.wire = d.newWire(tcp)
	return d.aborted
}

func (d *dataConn) newWire(tcp *net.TCPConn) *wire {
	return &wire{tcp: tcp, tls: d.secure, stall: d.c.srv.o.StallTimeout, lax: d.c.srv.o.LaxDataEnd, stop: d.ctx.Done(), slow: func() { d.c.sess.Count(0, 0) }}
}

// reach waits for the client's connection, or dials.
func (d *dataConn) reach() (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.c.srv.o.ConnectTimeout)
	defer cancel()
	if d.slot == nil {
		return d.c.dial(ctx, d.target)
	}
	ending := d.c.sess.Context().Done()
	for {
		select {
		case tcp, ok := <-d.slot.conn:
			if !ok {
				return nil, refuse(425, "The passive port was given to another transfer.")
			}
			return tcp, nil
		case <-ctx.Done():
			return nil, &errorAnswer{answer{425, "No data connection came."}, ctx.Err()}
		case <-ending:
			// The server goes down: who is not on the way by now need not come.
			ending = nil
			ctx, cancel = context.WithTimeout(ctx, drainConnect)
			defer cancel()
		}
	}
}

func (d *dataConn) handshake() error {
	conn := tls.Server(d.wire, d.config())
	ctx, cancel := context.WithTimeout(d.ctx, d.c.srv.o.ConnectTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &errorAnswer{answer{522, "TLS negotiation on the data connection failed."}, err}
	}
	if err := d.resumed(conn.ConnectionState()); err != nil {
		return err
	}
	d.tls = conn
	d.wire.collect()
	return nil
}

// send sends size bytes of body from off on: by sendfile in the clear.
func (d *dataConn) send(body storage.Body, off int64) error {
	if err := d.open(); err != nil {
		return err
	}
	for size := body.Size(); off < size; {
		step := int64(plainStep)
		if d.tls != nil {
			step = tlsStep
		}
		step = d.pace.most(min(size-off, step))
		if err := d.pace.wait(d.ctx, int(step)); err != nil {
			return d.broken(err)
		}
		n, err := d.sendSome(body, off, step)
		off += n
		d.count(0, n)
		if err != nil && !(d.tls == nil && d.moving(err) && (n > 0 || d.wire.drained())) {
			return d.broken(err)
		}
	}
	return d.finish()
}

// sendSome sends n bytes from off on.
func (d *dataConn) sendSome(body storage.Body, off, n int64) (int64, error) {
	if d.tls == nil {
		d.wire.writeBy()
		return body.WriteRange(d.tcp, off, n)
	}
	n, err := body.WriteRange(d.tls, off, n)
	if err == nil && d.pace != nil {
		err = d.wire.flush() // who is sent little gets it at once
	}
	return n, err
}

// moving tells of an error whether it is only the end of a deadline during which bytes did move.
func (d *dataConn) moving(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && d.abortedBy() == nil
}

// Write sends p (listings, and files that are sent otherwise than they are).
func (d *dataConn) Write(p []byte) (total int, err error) {
	if err := d.open(); err != nil {
		return 0, err
	}
	for len(p) > 0 && err == nil {
		step := p[:d.pace.most(int64(len(p)))]
		if err = d.pace.wait(d.ctx, len(step)); err != nil {
			break
		}
		var n int
		if d.tls != nil {
			n, err = d.tls.Write(step)
		} else {
			n, err = d.wire.Write(step)
		}
		d.count(0, int64(n))
		total += n
		p = p[n:]
	}
	if err != nil {
		err = d.broken(err)
	}
	return total, err
}

// Read receives. io.EOF is a proper end: close_notify under TLS, FIN in the clear.
func (d *dataConn) Read(p []byte) (int, error) {
	if err := d.open(); err != nil {
		return 0, err
	}
	p = p[:d.pace.most(int64(len(p)))]
	var n int
	var err error
	if d.tls != nil {
		// Records are 16 KiB at most; files are written in larger pieces.
		for n < len(p) && err == nil {
			var k int
			k, err = d.tls.Read(p[n:])
			n += k
			if k > 0 && n+16<<10 > len(p) || k > 0 && !d.wire.more() {
				break
			}
		}
	} else {
		n, err = d.wire.Read(p)
	}
	d.count(int64(n), 0)
	if err == nil {
		err = d.pace.wait(d.ctx, n)
	}
	if err != nil && err != io.EOF {
		err = d.broken(err)
	}
	return n, err
}

func (d *dataConn) count(in, out int64) {
	if in+out > 0 {
		d.c.sess.Count(in, out)
		d.t.moved(in + out)
	}
}

// broken makes of an error of the connection one with a reply.
func (d *dataConn) broken(err error) error {
	if why := d.abortedBy(); why != nil {
		return why
	}
	var file *fs.PathError
	text := "The data connection broke."
	switch {
	case errors.As(err, &file): // what was to be sent could not be read
		return err
	case errors.Is(err, os.ErrDeadlineExceeded):
		text = "The data connection stalled."
	case errors.Is(err, errTruncated):
		text = "The data connection was cut (no TLS close_notify)."
	}
	return &errorAnswer{answer{426, text}, err}
}

// endRead answers the client's close_notify with ours, for which some wait before they look at the reply.
func (d *dataConn) endRead() {
	if d.tls != nil && d.tls.CloseWrite() == nil {
		d.wire.flush()
	}
}

// finish ends what was sent properly. Only then is the transfer a success.
func (d *dataConn) finish() error {
	if err := d.open(); err != nil {
		return err
	}
	if d.tls != nil {
		if err := d.tls.CloseWrite(); err != nil {
			return d.broken(err)
		}
	}
	if err := d.wire.flush(); err != nil {
		return d.broken(err)
	}
	if err := d.tcp.CloseWrite(); err != nil {
		return d.broken(err)
	}
	d.close()
	return nil
}

// cut ends the connection so that the client cannot take what it has for the whole: by RST.
func (d *dataConn) cut() {
	d.mu.Lock()
	tcp := d.tcp
	d.mu.Unlock()
	if tcp != nil {
		tcp.SetLinger(0)
	}
	d.close()
}

// close gives everything back; it may be called more than once.
func (d *dataConn) close() {
	d.cancel()
	if d.slot != nil {
		d.slot.release()
	}
	d.mu.Lock()
	tcp := d.tcp
	d.mu.Unlock()
	if tcp != nil {
		tcp.Close()
	}
	if d.wire != nil {
		d.wire.free()
	}
}
