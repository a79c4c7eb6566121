package ftp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	slotLife  = time.Minute      // after which a slot nobody connected to may be taken by another transfer of the same address
	slotRest  = 5 * time.Second  // for which a slot that was given up still catches the connection that was on its way
	portPause = 30 * time.Second // before a port that could not be opened is tried again
)

// PortPool is the range of ports for passive data connections, shared by all sessions of all servers that are given it. A port is
// opened when it is first needed, on every address of the pool, and stays open until Close, so that a PASV costs no system
// call. At one time it serves one waiting transfer of each client address; connections from any other address are
// closed at once and disturb nobody.
type PortPool struct {
	hosts       []string
	first, last int

	mu     sync.Mutex
	ports  map[int]*passivePort
	closed bool
	wg     sync.WaitGroup
}

// passivePort is an open port. waiting is guarded by the pool's mutex.
type passivePort struct {
	number  int
	lns     []net.Listener
	waiting map[netip.Addr]*slot
	failed  time.Time // when opening it failed
}

// slot is a port kept for the next connection of one client address.
type slot struct {
	pool  *PortPool
	port  *passivePort
	peer  netip.Addr
	since time.Time
	conn  chan *net.TCPConn // capacity 1; closed when the slot is taken away

	// Guarded by the pool's mutex.
	given  bool      // delivered or taken away
	unused time.Time // when it was released without a connection
}

// manyPeers is how many addresses a port remembers before it forgets those that gave up.
const manyPeers = 256

// NewPortPool returns a pool over the ports first to last on the addresses of hosts (as in net.Listen; none or "" means every
// address). Nothing is opened yet. Choose a range outside the system's ephemeral ports (Linux: 32768 to 60999).
func NewPortPool(hosts []string, first, last int) *PortPool {
	if len(hosts) == 0 {
		hosts = []string{""}
	}
	return &PortPool{hosts: hosts, first: first, last: last, ports: make(map[int]*passivePort)}
}

// Range says which ports the pool has.
func (p *PortPool) Range() (first, last int) { return p.first, p.last }

// Close closes the ports and waits for what runs in the pool.
func (p *PortPool) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, port := range p.ports {
		for _, ln := range port.lns {
			ln.Close()
		}
		for _, s := range port.waiting {
			s.takeAway()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}

// reserve takes the lowest port that has no transfer of peer waiting. When there is none, it takes over the slot that was released or made
// first, of those that wait for more than slotLife.
func (p *PortPool) reserve(peer netip.Addr) (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, refuse(421, "Shutting down.")
	}
	now := time.Now()
	var unused, oldest *slot
	for n := p.first; n <= p.last; n++ {
		port := p.ports[n]
		if port == nil {
			port = &passivePort{number: n, waiting: make(map[netip.Addr]*slot)}
			p.ports[n] = port
		}
		switch w := port.waiting[peer]; {
		case w == nil:
			if p.open(port, now) {
				return p.take(port, peer, now), nil
			}
		case w.unused.IsZero():
			if oldest == nil || w.since.Before(oldest.since) {
				oldest = w
			}
		case now.Sub(w.unused) > slotRest:
			return p.take(port, peer, now), nil
		case unused == nil || w.unused.Before(unused.unused):
			unused = w
		}
	}
	switch {
	case unused != nil:
		return p.take(unused.port, peer, now), nil
	case oldest != nil && now.Sub(oldest.since) > slotLife:
		oldest.takeAway()
		return p.take(oldest.port, peer, now), nil
	}
	return nil, refuse(425, fmt.Sprintf("All passive ports (%d to %d) are in use.", p.first, p.last))
}

func (p *PortPool) take(port *passivePort, peer netip.Addr, now time.Time) *slot {
	s := &slot{pool: p, port: port, peer: peer, since: now, conn: make(chan *net.TCPConn, 1)}
	port.waiting[peer] = s
	if len(port.waiting) > manyPeers {
		maps.DeleteFunc(port.waiting, func(_ netip.Addr, w *slot) bool { return !w.unused.IsZero() && now.Sub(w.unused) > slotRest })
	}
	return s
}

// open listens on a port if that is not done yet.
func (p *PortPool) open(port *passivePort, now time.Time) bool {
	if len(port.lns) > 0 {
		return true
	}
	if now.Sub(port.failed) < portPause {
		return false
	}
	for _, host := range p.hosts {
		ln, err := listenTCP(net.JoinHostPort(host, strconv.Itoa(port.number)))
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue // a host without IPv6
		}
		if err != nil {
			for _, ln := range port.lns {
				ln.Close()
			}
			port.lns, port.failed = nil, now
			return false
		}
		port.lns = append(port.lns, ln)
	}
	if len(port.lns) == 0 {
		port.failed = now
		return false
	}
	for _, ln := range port.lns {
		p.wg.Go(func() { p.accept(port, ln) })
	}
	return true
}

// listenTCP listens without Multipath TCP, which Go asks for by default: it makes sockets slower and brings data connections nothing.
func listenTCP(addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", addr)
}

// accept gives each connection to the transfer that waits for its address, and closes what nobody waits for.
func (p *PortPool) accept(port *passivePort, ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of file descriptors, or reset before accept
			time.Sleep(5 * time.Millisecond)
			continue
		}
		tcp := conn.(*net.TCPConn)
		from := tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
		p.mu.Lock()
		s := port.waiting[plainAddr(from)]
		wanted := s != nil && s.unused.IsZero()
		if s != nil {
			s.given = true
			delete(port.waiting, s.peer)
		}
		if wanted {
			s.conn <- tcp
		}
		p.mu.Unlock()
		if !wanted {
			tcp.SetLinger(0)
			tcp.Close()
		}
	}
}

// takeAway ends the wait for a connection; the mutex is held.
func (s *slot) takeAway() {
	if !s.given {
		s.given = true
		delete(s.port.waiting, s.peer)
		close(s.conn)
	}
}

// release gives the port back, with the connection that nobody took. If none came yet, one may be on its way or wait for accept: the next
// transfer must not get it, so the port rests until it came or slotRest is over.
func (s *slot) release() {
	s.pool.mu.Lock()
	if !s.given && s.unused.IsZero() {
		s.unused = time.Now()
	}
	s.pool.mu.Unlock()
	select {
	case tcp, ok := <-s.conn:
		if ok {
			tcp.Close()
		}
	default:
	}
}

// plainAddr is an address in the form in which it can be compared.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
