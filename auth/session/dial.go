package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// DialOptions say how one connection to a peer is made and treated. Protocol and Address are needed.
type DialOptions struct {
	Protocol Protocol
	Name     string         // in the place of a listener's name; "": "outbound"
	Address  netip.AddrPort // nothing is looked up here
	Local    netip.Addr     // to dial from; the zero value: what the system takes
	Timeout  time.Duration  // for the connection to be there; 0: 30 s

	IdleTimeout  time.Duration // without a byte read, as in ListenerOptions, but 0: none, as who dials sets a deadline for each reply
	StallTimeout time.Duration // 0: 2 min; -1: none
	MaxDuration  time.Duration // 0: none
}

const defaultDial = 30 * time.Second

// Dial connects to a peer. The connection is a session like those that come: in the list (Direction "out"), with its bytes counted, to be
// killed, and drained: one that is busy (Begin) ends what it does first. It is not counted by the limits for those that come, but by
// Limits.Outgoing, and before it is tried.
//
// ErrLimit (wrapped) over that limit and ErrDrain from a Drain on, before anything is sent; else what net.Dialer says, with
// context.Cause of ctx when that ended first.
func (r *Registry) Dial(ctx context.Context, o DialOptions) (*Conn, error) {
	if err := r.reserve(); err != nil {
		return nil, err
	}
	d := net.Dialer{Timeout: cmp.Or(o.Timeout, defaultDial)}
	if o.Local.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(o.Local, 0))
	}
	c, err := d.DialContext(ctx, "tcp", o.Address.String())
	if err != nil {
		r.unreserve()
		if cause := context.Cause(ctx); cause != nil {
			return nil, fmt.Errorf("dial %s: %w", o.Address, cause)
		}
		return nil, err
	}
	l := &listener{registry: r, outgoing: true, o: ListenerOptions{
		Name: cmp.Or(o.Name, "outbound"), Protocol: o.Protocol, LoginTimeout: -1,
		IdleTimeout: cmp.Or(o.IdleTimeout, -1), StallTimeout: cmp.Or(o.StallTimeout, defaultStall), MaxDuration: o.MaxDuration,
	}}
	s, err := r.admitOutgoing(l, c)
	if err != nil {
		c.Close()
		return nil, err
	}
	s.start()
	return &s.conn, nil
}

// reserve counts an outgoing session before there is one.
func (r *Registry) reserve() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return ErrDrain
	}
	return r.count.addOutgoing(r.o.Limits)
}

func (r *Registry) unreserve() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count.outgoing--
}

// admitOutgoing makes a session of a connection that reserve counted. A Drain that began meanwhile takes it back.
func (r *Registry) admitOutgoing(l *listener, c net.Conn) (*Session, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		r.count.outgoing--
		return nil, ErrDrain
	}
	return r.enterLocked(l, c, addrPort(c.RemoteAddr())), nil
}

// Outgoing tells whether Dial opened the session.
func (s *Session) Outgoing() bool { return s.listener.outgoing }

// errIncoming is a fault of who calls.
var errIncoming = errors.New("not an outgoing session")

// OnBehalf notes whose mail an outgoing session carries now, the zero Account for nobody's in particular. The session is
// not one of the account's: it is not counted for it, and goes on when the account's password changes.
func (s *Session) OnBehalf(a Account) error {
	if !s.listener.outgoing {
		return errIncoming
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.account = a
	return nil
}
