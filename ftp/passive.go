package ftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth/session"
)

const (
	maxHeaders  = 256         // PROXY headers of data connections that are awaited at a time; what is over it is closed
	acceptPause = time.Second // the longest between two tries to accept when the system has no room
)

// open listens on a port where that is not done yet; the mutex is held. An address that this machine does not have (yet) is passed over
// and tried again later, as networks come and go.
func (p *PortPool) open(port *passivePort, now time.Time) bool {
	if len(port.lns) == len(p.hosts) || now.Sub(port.tried) < portPause {
		return len(port.lns) > 0
	}
	if port.lns == nil {
		port.lns = make(map[string]net.Listener, len(p.hosts))
	}
	before := len(port.lns)
	for _, host := range p.hosts {
		if port.lns[host] != nil {
			continue
		}
		ln, err := listenTCP(net.JoinHostPort(host, strconv.Itoa(port.number)))
		if err != nil {
			port.tried = now
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			continue
		}
		if err != nil {
			p.log().Warn("a passive port cannot be opened", "port", port.number, "address", host, "error", err)
			if before == 0 { // on one address alone it would answer some clients and not others
				p.shut(port)
				return false
			}
			continue
		}
		port.lns[host] = ln
		p.wg.Go(func() { p.accept(port, ln) })
	}
	return len(port.lns) > 0
}

// shut closes a port; the mutex is held.
func (p *PortPool) shut(port *passivePort) {
	for _, ln := range port.lns {
		ln.Close()
	}
	port.lns = nil
}

// listenTCP listens without Multipath TCP, which Go asks for by default: it makes sockets slower and brings data connections nothing. They are not probed
// (keepalive) either, since none outlives StallTimeout without a byte: four system calls less each.
func listenTCP(addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", addr)
}

// passing are the errors of accept(2) that say nothing about the socket: no room in the system, or a connection that went before it was taken.
var passing = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EPROTO,
	syscall.ECONNABORTED, syscall.ECONNRESET, syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH,
}

// accept gives each connection to the transfer that waits for its address, and closes what nobody waits for.
func (p *PortPool) accept(port *passivePort, ln net.Listener) {
	pause := time.Duration(0)
	for {
		conn, err := ln.Accept()
		if err == nil {
			pause = 0
			p.welcome(port, conn.(*net.TCPConn))
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if !slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }) { // the next transfer opens it anew
			p.log().Warn("a passive port is broken and was closed", "port", port.number, "error", err)
			p.mu.Lock()
			p.shut(port)
			p.mu.Unlock()
			return
		}
		pause = min(max(2*pause, 5*time.Millisecond), acceptPause)
		select {
		case <-time.After(pause):
		case <-p.ctx.Done():
		}
	}
}

// welcome finds out whose connection it is: of a front end's, its PROXY header says so.
func (p *PortPool) welcome(port *passivePort, tcp *net.TCPConn) {
	from := plainAddr(tcp.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
	if !p.FrontEnds.Has(from) {
		p.deliver(port, tcp, from)
		return
	}
	select {
	case p.headers <- struct{}{}:
	default:
		turnAway(tcp)
		return
	}
	p.wg.Go(func() {
		defer func() { <-p.headers }()
		stop := context.AfterFunc(p.ctx, func() { tcp.Close() })
		client, _, err := session.ReadProxy(tcp)
		stop()
		switch {
		case err != nil:
			p.log().Warn("data connection refused", "port", port.number, "remote", from, "error", err)
			turnAway(tcp)
		case client.IsValid():
			p.deliver(port, tcp, plainAddr(client.Addr()))
		default:
			p.deliver(port, tcp, from)
		}
	})
}

// deliver gives a connection to the transfer that waits for its address, or closes it.
func (p *PortPool) deliver(port *passivePort, tcp *net.TCPConn, from netip.Addr) {
	p.mu.Lock()
	s := port.waiting[from]
	wanted := s != nil && s.unused.IsZero()
	if s != nil && !(wanted && s.many) {
		s.given = true
		delete(port.waiting, from)
	}
	if wanted {
		s.got = true
		for pushed := false; !pushed; {
			select {
			case s.conn <- tcp:
				pushed = true
			default: // many came that nobody looked at yet: the oldest gives way
				select {
				case old := <-s.conn:
					turnAway(old)
				default:
				}
			}
		}
		if !s.many {
			p.drop(s)
		}
	}
	probe := port.probe
	p.mu.Unlock()
	if wanted {
		return
	}
	if probe != nil {
		select {
		case probe.seen <- tcp.RemoteAddr().(*net.TCPAddr).AddrPort():
		default:
		}
	}
	turnAway(tcp)
}

// Probe is a passive port that is watched: it tells of connections that come to it and belong to no transfer. They are closed as ever.
type Probe struct {
	Port int
	pool *PortPool
	port *passivePort
	seen chan netip.AddrPort
}

// Probe opens a port, if none is, and watches it until Close.
func (p *PortPool) Probe() (*Probe, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for n := p.first; n <= p.last && !p.closed; n++ {
		port := p.at(n)
		if port.probe == nil && p.open(port, now) {
			port.probe = &Probe{Port: n, pool: p, port: port, seen: make(chan netip.AddrPort, 16)}
			return port.probe, nil
		}
	}
	return nil, fmt.Errorf("ftp: none of the passive ports %d to %d can be opened", p.first, p.last)
}

// Seen is where connections came from, 16 of them at most at a time.
func (r *Probe) Seen() <-chan netip.AddrPort { return r.seen }

// Close ends the watch. The port stays open, as all do.
func (r *Probe) Close() {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	r.port.probe = nil
}

// IsOpen tells whether a port of the range is open here.
func (p *PortPool) IsOpen(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ports[n] != nil && len(p.ports[n].lns) > 0
}

// turnAway closes a connection so that nothing of it stays.
func turnAway(tcp *net.TCPConn) {
	tcp.SetLinger(0)
	tcp.Close()
}
