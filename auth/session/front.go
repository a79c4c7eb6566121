package session

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// maxFronted is how many connections may be between accept and the end of their PROXY header. A front end sends the header at once, so only
// one that is out of order comes near it.
const maxFronted = 512

// Fronted is ln behind front ends: each connection must come from one of them and begin with a PROXY header (ReadProxy), and looks from then on
// as if its client had come directly. One from elsewhere is closed without a word: the specification forbids to serve
// both kinds on one port by guessing. So is one whose header is wrong or does not come. Wrap it with Registry.Listen, so that limits, throttling
// and the list of sessions go by the client. Connections are TCP's. Headers are read beside the accept loop; Close waits for that to end.
func Fronted(ln net.Listener, trusted FrontEnds, log *slog.Logger) net.Listener {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &fronted{
		Listener: ln, trusted: trusted, log: log,
		ready: make(chan accepted), closed: make(chan struct{}), waiting: make(map[*net.TCPConn]bool),
	}
}

type fronted struct {
	net.Listener
	trusted FrontEnds
	log     *slog.Logger
	ready   chan accepted
	closed  chan struct{}
	work    sync.WaitGroup
	logged  atomic.Int64 // Unix nanoseconds of the last line in the log, of which there is one a second at most
	silent  atomic.Int64 // refusals since

	mu      sync.Mutex
	running bool
	ended   bool
	waiting map[*net.TCPConn]bool // true: the header is being read; false: nobody took it yet
}

// accepted is what Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// frontedConn is a connection as its client made it: the socket is the front end's.
type frontedConn struct {
	*net.TCPConn
	remote, local *net.TCPAddr
}

func (c *frontedConn) RemoteAddr() net.Addr { return c.remote }
func (c *frontedConn) LocalAddr() net.Addr  { return c.local }

// front is the front end's address.
func (c *frontedConn) front() netip.AddrPort { return addrPort(c.TCPConn.RemoteAddr()) }

// ownConn is a front end's own connection, or one of whose client it does not know.
type ownConn struct{ *net.TCPConn }

// checkup tells whether the session is a front end's own, as its header says or the address in it (version 1 has no other way to say so), and nobody
// logged in: most likely it looked whether the server is there, which it does every few seconds.
func (s *Session) checkup(i Info) bool {
	switch c := s.conn.Conn.(type) {
	case ownConn:
		return i.AccountID == 0
	case *frontedConn:
		return i.AccountID == 0 && c.front().Addr() == s.remote.Addr()
	}
	return false
}

// Origin is who connected, whatever was told since (Believe): the client of a PROXY header, or else the socket's other end.
func (s *Session) Origin() netip.AddrPort { return s.remote }

// Believe makes a the session's Remote, on the word of a front end that told so in the protocol itself (XCLIENT). The limits per address are
// a's from now on: an error, which names the limit, means that nothing changed and the session should end. The zero value stands for a client
// that nobody knows. Whom to believe is the protocol's decision, by Origin.
func (s *Session) Believe(a netip.AddrPort) error {
	r := s.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[s.id] != s {
		return ErrClosed
	}
	if err := r.count.move(r.o.Limits, s.Remote().Addr(), a.Addr()); err != nil {
		return err
	}
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	s.told.Store(&a)
	return nil
}

// Front is the address of the front end that the session came through (Fronted, Believe); the zero value for a direct one.
func (s *Session) Front() netip.AddrPort {
	if s.told.Load() != nil {
		return s.remote
	}
	if c, ok := s.conn.Conn.(*frontedConn); ok {
		return c.front()
	}
	return netip.AddrPort{}
}

func (l *fronted) Accept() (net.Conn, error) {
	l.mu.Lock()
	if !l.running && !l.ended {
		l.running = true
		l.work.Go(l.run)
	}
	l.mu.Unlock()
	select {
	case a := <-l.ready:
		return a.conn, a.err
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// run accepts. What goes wrong is for who calls Accept to judge; the next try waits until he calls again.
func (l *fronted) run() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if !l.hand(accepted{nil, err}) || !temporary(err) {
				return
			}
			continue
		}
		tcp, ok := conn.(*net.TCPConn)
		switch {
		case !ok || !l.trusted.Has(addrPort(conn.RemoteAddr()).Addr()):
			l.refuse(conn, "not from a front end (proxy.trusted)", nil)
		case !l.enter(tcp):
			l.refuse(conn, "too many PROXY headers are awaited", nil)
		default:
			l.work.Go(func() { l.welcome(tcp) })
		}
	}
}

// enter notes a connection whose header is to be read; false when there are too many.
func (l *fronted) enter(c *net.TCPConn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended || len(l.waiting) >= maxFronted {
		return false
	}
	l.waiting[c] = true
	return true
}

// welcome reads the header and hands the connection over.
func (l *fronted) welcome(c *net.TCPConn) {
	defer func() {
		l.mu.Lock()
		delete(l.waiting, c)
		l.mu.Unlock()
	}()
	from, to, err := ReadProxy(c)
	l.mu.Lock()
	l.waiting[c] = false
	l.mu.Unlock()
	if err != nil {
		l.refuse(c, "bad PROXY header", err)
		return
	}
	var conn net.Conn = ownConn{c}
	if from.IsValid() {
		conn = &frontedConn{c, net.TCPAddrFromAddrPort(from), net.TCPAddrFromAddrPort(to)}
	}
	if !l.hand(accepted{conn, nil}) {
		c.Close()
	}
}

// hand gives a to whoever accepts; false when the listener is closed.
func (l *fronted) hand(a accepted) bool {
	select {
	case l.ready <- a:
		return true
	case <-l.closed:
		return false
	}
}

// refuse closes c and says so in the log, once a second at most.
func (l *fronted) refuse(c net.Conn, why string, err error) {
	c.Close()
	select {
	case <-l.closed:
		return
	default:
	}
	if errors.Is(err, errProxyNothing) { // a health check that only connects
		l.log.Debug("front end closed at once", "on", l.Addr().String(), "remote", addrPort(c.RemoteAddr()))
		return
	}
	n := l.silent.Add(1)
	now, last := time.Now().UnixNano(), l.logged.Load()
	if now-last < int64(refusalLogRate) || !l.logged.CompareAndSwap(last, now) {
		return
	}
	l.silent.Add(-n)
	l.log.Warn("connection refused", "on", l.Addr().String(), "remote", addrPort(c.RemoteAddr()), "reason", why, "error", err, "refused", n)
}

// Close stops accepting and closes what was not handed over yet.
func (l *fronted) Close() error {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return net.ErrClosed
	}
	l.ended = true
	close(l.closed)
	for c, reading := range l.waiting {
		if reading {
			c.Close()
		}
	}
	l.mu.Unlock()
	err := l.Listener.Close()
	l.work.Wait()
	return err
}
