package session

import (
	"fmt"
	"net"
	"net/netip"
)

// counts are the sessions as the limits see them. The registry's mu guards it.
type counts struct {
	total    int
	protocol map[Protocol]int
	peer     map[netip.Addr]int
	outgoing int // counted apart from all others
}

func newCounts() counts {
	return counts{protocol: make(map[Protocol]int), peer: make(map[netip.Addr]int)}
}

// add counts a session, or says which limit it would break. Nothing is counted then.
func (c *counts) add(l Limits, protocol Protocol, remote netip.Addr) error {
	peer := network(remote)
	most := l.PerProtocol[protocol]
	switch {
	case l.Total > 0 && c.total >= l.Total:
		return overLimit("on this server", l.Total, "limits.total")
	case most > 0 && c.protocol[protocol] >= most:
		return overLimit("of this protocol", most, "limits."+string(protocol))
	case l.PerAddress > 0 && peer.IsValid() && c.peer[peer] >= l.PerAddress: // a socket of this machine's own has no address
		return overLimit("from your address", l.PerAddress, "limits.per_address")
	}
	c.total++
	c.protocol[protocol]++
	c.peer[peer]++
	return nil
}

// remove takes one back.
func (c *counts) remove(protocol Protocol, remote netip.Addr) {
	peer := network(remote)
	c.total--
	c.protocol[protocol]--
	if c.peer[peer]--; c.peer[peer] == 0 {
		delete(c.peer, peer)
	}
}

// move counts a session for another peer, or says that this would break a limit.
func (c *counts) move(l Limits, from, to netip.Addr) error {
	from, to = network(from), network(to)
	if from == to {
		return nil
	}
	if l.PerAddress > 0 && to.IsValid() && c.peer[to] >= l.PerAddress {
		return overLimit("from your address", l.PerAddress, "limits.per_address")
	}
	if c.peer[from]--; c.peer[from] == 0 {
		delete(c.peer, from)
	}
	c.peer[to]++
	return nil
}

// addOutgoing is add for a connection of ours to a peer: no stranger can use up its places, and it takes none of theirs.
func (c *counts) addOutgoing(l Limits) error {
	if l.Outgoing > 0 && c.outgoing >= l.Outgoing {
		return overLimit("to other servers", l.Outgoing, "limits.outgoing")
	}
	c.outgoing++
	return nil
}

// overLimit names the limit in words for the peer and by its key for the administrator.
func overLimit(whose string, limit int, key string) error {
	return fmt.Errorf("%w %s (limit %d, %s)", ErrLimit, whose, limit, key)
}

// network is what one peer can speak from: an IPv4 address, or an IPv6 /64, which is what a
// single customer is given (RFC 6177 section 2).
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}

// addrPort is the address of a TCP connection, IPv4 in its own form; the zero value for another kind of address.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	p := t.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}
