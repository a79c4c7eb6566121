package ftp

import (
	"context"
	"crypto/tls"
	"net"
	"time"
)

const (
	maxCandidates  = 8                      // whose handshakes run at a time
	candidateGrace = 500 * time.Millisecond // for another connection, when the ones that came proved nothing
)

// candidate is a connection that came to a passive port where it takes a proof to be the client's.
type candidate struct {
	tcp    *net.TCPConn
	wire   *wire
	tls    *tls.Conn
	cancel context.CancelFunc
	err    error // of the handshake
}

// connectProven waits for the client's connection where it must resume the control connection's TLS session (Options.DataTLSReuse). Whoever sits behind the
// same address can connect first, so the handshakes of all who come run side by side, and the first to prove itself is served; one that says
// nothing holds nobody up, as it is the oldest that gives way to a new one. A client that cannot resume hears so half a second after it came.
func (d *dataConn) connectProven() error {
	ctx, cancel := context.WithTimeout(d.ctx, d.c.srv.o.ConnectTimeout)
	var running []*candidate
	done := make(chan *candidate, maxCandidates+1)
	defer func() { // nobody is left behind
		cancel()
		for range running {
			turnAway((<-done).tcp)
		}
	}()
	failed := error(&errorAnswer{answer{425, "No data connection came."}, context.DeadlineExceeded})
	var over <-chan time.Time
	ending := d.c.sess.Context().Done()
	// settle takes one whose handshake is over; true when it is the client.
	settle := func(c *candidate) bool {
		running = without(running, c)
		if failed = d.judge(c); failed != nil && len(running) == 0 {
			over = time.After(candidateGrace)
		}
		return failed == nil
	}
	for {
		select {
		case tcp, ok := <-d.slot.conn:
			if !ok {
				return refuse(425, "The passive port was given to another transfer.")
			}
			if len(running) == maxCandidates {
				running[0].cancel()
				if settle(<-done) { // some other may have been done before
					turnAway(tcp)
					return nil
				}
			}
			over = nil
			running = append(running, d.try(ctx, tcp, done))
		case c := <-done:
			if settle(c) {
				return nil
			}
		case <-over:
			return failed
		case <-ctx.Done():
			return failed
		case <-ending: // the server goes down: who is not on the way by now need not come
			ending = nil
			time.AfterFunc(drainConnect, cancel)
		}
	}
}

// try begins the handshake with one.
func (d *dataConn) try(ctx context.Context, tcp *net.TCPConn, done chan<- *candidate) *candidate {
	c := &candidate{tcp: tcp, wire: d.newWire(tcp)}
	c.tls = tls.Server(c.wire, d.config())
	ctx, c.cancel = context.WithCancel(ctx)
	go func() {
		defer c.cancel()
		c.err = c.tls.HandshakeContext(ctx)
		done <- c
	}()
	return c
}

// judge takes a candidate that proved itself, and turns others away.
func (d *dataConn) judge(c *candidate) error {
	err := c.err
	if err != nil {
		err = &errorAnswer{answer{522, "TLS negotiation on the data connection failed."}, err}
	} else {
		err = d.resumed(c.tls.ConnectionState())
	}
	if err != nil {
		turnAway(c.tcp)
		return err
	}
	d.slot.release()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tcp, d.wire, d.tls = c.tcp, c.wire, c.tls
	d.wire.collect()
	return d.aborted
}

// without is list without c, of which its goroutine has ended.
func without(list []*candidate, c *candidate) []*candidate {
	for i := range list {
		if list[i] == c {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}
