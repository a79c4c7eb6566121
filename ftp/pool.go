package ftp

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

const (
	slotLife  = time.Minute      // after which a slot nobody connected to may be taken by another transfer of the same address
	slotRest  = 5 * time.Second  // for which a slot that was given up still catches the connection that was on its way
	portPause = 30 * time.Second // before a port, or an address of it, that could not be opened is tried again
)

// PortPool is the range of ports for passive data connections, shared by all sessions of all servers that are given it. A port is
// opened when it is first needed, on every address of the pool, and stays open until Close, so that a PASV costs no system
// call. At one time it serves one waiting transfer of each client address; connections from any other address are
// closed at once and disturb nobody. An account has at most three quarters of the range waiting at one address, so that whatever it does
// leaves room for others behind the same NAT.
//
// The exported fields are set before the first use.
type PortPool struct {
	// FrontEnds begin each connection with a PROXY header, which says whose it is. Connections from elsewhere are their own: a client of a
	// listener without front ends is on its way.
	FrontEnds session.FrontEnds
	Logger    *slog.Logger // nil: discard

	hosts       []string
	first, last int
	headers     chan struct{} // one for each PROXY header that is awaited

	mu     sync.Mutex
	ports  map[int]*passivePort
	held   map[holder]int // slots that wait
	closed bool
	ctx    context.Context // ends with the pool
	end    context.CancelFunc
	wg     sync.WaitGroup
}

// passivePort is a port of the range. All but number is guarded by the pool's mutex.
type passivePort struct {
	number  int
	lns     map[string]net.Listener // by host; none while the port is closed
	waiting map[netip.Addr]*slot
	probe   *Probe    // who watches it, or nil
	tried   time.Time // when opening it, or one of its addresses, failed
}

// holder is who has slots.
type holder struct {
	peer    netip.Addr
	account int64
}

// slot is a port kept for the next connection of one client address.
type slot struct {
	pool  *PortPool
	port  *passivePort
	owner holder
	since time.Time
	conn  chan *net.TCPConn // closed when the slot is taken away
	many  bool              // takes all connections of the address until it is released; else one

	// Guarded by the pool's mutex.
	got    bool      // something was delivered
	given  bool      // takes no more: delivered, or taken away
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
	p := &PortPool{
		hosts: hosts, first: first, last: last, headers: make(chan struct{}, maxHeaders),
		ports: make(map[int]*passivePort), held: make(map[holder]int),
	}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// Range says which ports the pool has.
func (p *PortPool) Range() (first, last int) { return p.first, p.last }

// Usage says how many ports are open and how many transfers wait for their connections.
func (p *PortPool) Usage() (open, waiting int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, port := range p.ports {
		if len(port.lns) > 0 {
			open++
		}
	}
	for _, n := range p.held {
		waiting += n
	}
	return open, waiting
}

func (p *PortPool) log() *slog.Logger {
	if p.Logger == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Logger
}

// Close closes the ports and waits for what runs in the pool.
func (p *PortPool) Close() error {
	p.mu.Lock()
	p.closed = true
	p.end()
	for _, port := range p.ports {
		p.shut(port)
		for _, s := range port.waiting {
			s.takeAway()
		}
	}
	p.mu.Unlock()
	p.wg.Wait()
	return nil
}

// reserve takes the lowest port that has no transfer of who's address waiting. When there is none, it takes over the slot that was released or
// made first, of those that wait for more than slotLife. An account that has its share already can take over only its own.
func (p *PortPool) reserve(who holder) (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, refuse(421, "Shutting down.")
	}
	now := time.Now()
	full := p.held[who] >= p.share()
	var unused, oldest *slot
	refused := 0 // ports that cannot be opened
	for n := p.first; n <= p.last; n++ {
		port := p.at(n)
		switch w := port.waiting[who.peer]; {
		case w == nil:
			if !full && p.open(port, now) {
				return p.take(port, who, now), nil
			}
			if !full {
				refused++
			}
		case w.unused.IsZero():
			if (oldest == nil || w.since.Before(oldest.since)) && (!full || w.owner == who) {
				oldest = w
			}
		case full:
		case now.Sub(w.unused) > slotRest:
			return p.take(port, who, now), nil
		case unused == nil || w.unused.Before(unused.unused):
			unused = w
		}
	}
	switch {
	case unused != nil:
		return p.take(unused.port, who, now), nil
	case oldest != nil && now.Sub(oldest.since) > slotLife:
		oldest.takeAway()
		return p.take(oldest.port, who, now), nil
	case full:
		return nil, p.exhausted(fmt.Sprintf("%d passive ports (of %d to %d) wait for you already.", p.share(), p.first, p.last), who, refused)
	case refused == p.last-p.first+1:
		return nil, p.exhausted(fmt.Sprintf("None of the passive ports (%d to %d) can be opened.", p.first, p.last), who, refused)
	}
	return nil, p.exhausted(fmt.Sprintf("All passive ports (%d to %d) are in use.", p.first, p.last), who, refused)
}

// at is a port of the range; the mutex is held.
func (p *PortPool) at(n int) *passivePort {
	port := p.ports[n]
	if port == nil {
		port = &passivePort{number: n, waiting: make(map[netip.Addr]*slot)}
		p.ports[n] = port
	}
	return port
}

// share is how many ports an account may have waiting at one address.
func (p *PortPool) share() int {
	n := p.last - p.first + 1
	return n - n/4
}

// exhausted tells the client which ports there are, and the log what to do.
func (p *PortPool) exhausted(text string, who holder, refused int) error {
	waiting := 0
	for h, n := range p.held {
		if h.peer == who.peer {
			waiting += n
		}
	}
	p.log().Warn("no passive port", "first", p.first, "last", p.last, "remote", who.peer, "waiting", waiting, "held", p.held[who], "unopened", refused,
		"do", "give ftp.passive_ports a larger range, and publish all of it")
	return refuse(425, text)
}

func (p *PortPool) take(port *passivePort, who holder, now time.Time) *slot {
	s := &slot{pool: p, port: port, owner: who, since: now, conn: make(chan *net.TCPConn, 1)}
	port.waiting[who.peer] = s
	p.held[who]++
	if len(port.waiting) > manyPeers {
		maps.DeleteFunc(port.waiting, func(_ netip.Addr, w *slot) bool { return !w.unused.IsZero() && now.Sub(w.unused) > slotRest })
	}
	return s
}

// drop takes s out of the count of what waits. The mutex is held.
func (p *PortPool) drop(s *slot) {
	if p.held[s.owner]--; p.held[s.owner] <= 0 {
		delete(p.held, s.owner)
	}
}

// takeAway ends the wait for a connection; the mutex is held.
func (s *slot) takeAway() {
	if s.given {
		return
	}
	s.given = true
	if s.unused.IsZero() {
		s.pool.drop(s)
	}
	delete(s.port.waiting, s.owner.peer)
	close(s.conn)
}

// release gives the port back, with the connection that nobody took. If none came yet, one may be on its way or wait for accept: the next
// transfer must not get it, so the port rests until it came or slotRest is over.
func (s *slot) release() {
	s.pool.mu.Lock()
	if !s.given && s.unused.IsZero() {
		s.unused = time.Now()
		s.pool.drop(s)
		if s.got {
			s.given = true
			delete(s.port.waiting, s.owner.peer)
		}
	}
	s.pool.mu.Unlock()
	for {
		select {
		case tcp, ok := <-s.conn:
			if !ok {
				return
			}
			tcp.Close()
		default:
			return
		}
	}
}

// takeMany makes a slot take every connection, for a transfer that can tell them apart. Nobody knows of it yet.
func (s *slot) takeMany() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if !s.given && !s.got {
		s.many, s.conn = true, make(chan *net.TCPConn, maxCandidates)
	}
}

// plainAddr is an address in the form in which it can be compared.
func plainAddr(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
