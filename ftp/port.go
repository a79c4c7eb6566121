package ftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// minPort is the lowest port that active mode connects to: services of the client's host are not for the client to name
// (RFC 2577 section 3).
const minPort = 1024

func (c *client) peer() netip.Addr  { return plainAddr(c.sess.Remote().Addr()) }
func (c *client) local() netip.Addr { return plainAddr(c.sess.Local().Addr()) }

// passive reserves a port for the next transfer.
func (c *client) passive() (port int, err error) {
	c.dropPlan()
	s, err := c.srv.pool.reserve(holder{c.peer(), c.payer()})
	if err != nil {
		return 0, err
	}
	c.plan = c.newData()
	c.plan.slot = s
	if c.protect && c.plan.required() {
		s.takeMany()
	}
	return s.port.number, nil
}

func (c *client) cmdPasv(string) {
	if c.epsvAll {
		c.reply(503, "Not after EPSV ALL.")
		return
	}
	addr := c.advertised()
	if !addr.Is4() {
		c.reply(425, "PASV is for IPv4: use EPSV.")
		return
	}
	port, err := c.passive()
	if err != nil {
		c.fail(err, "", false)
		return
	}
	a := addr.As4()
	c.reply(227, fmt.Sprintf("Entering Passive Mode (%d,%d,%d,%d,%d,%d).", a[0], a[1], a[2], a[3], port>>8, port&0xff))
}

// advertised is the address that PASV names.
func (c *client) advertised() netip.Addr {
	return Advertised(c.srv.o.PublicAddresses, c.peer(), c.local())
}

// Advertised is the address that PASV names to a client at peer whose control connection ends at local: the first of list that fits, else
// local. One of another family than IPv4 cannot be named (RFC 2428 section 1).
func Advertised(list []PublicAddress, peer, local netip.Addr) netip.Addr {
	peer, local = plainAddr(peer), plainAddr(local)
	if !peer.Is4() {
		return local
	}
	for _, p := range list {
		switch {
		case p.For.IsValid() && !p.For.Contains(peer), !p.For.IsValid() && peer.IsLoopback():
		case p.Address.IsValid():
			return p.Address
		default:
			return local
		}
	}
	return local
}

// cmdEpsv: RFC 2428 section 3.
func (c *client) cmdEpsv(arg string) {
	switch arg = strings.ToUpper(strings.TrimSpace(arg)); arg {
	case "":
	case "ALL":
		c.epsvAll = true
		c.reply(200, "EPSV only from now on.")
		return
	case c.family():
	case "1", "2":
		c.reply(522, "Not the control connection's protocol, use ("+c.family()+").")
		return
	default:
		if _, err := strconv.ParseUint(arg, 10, 16); err != nil {
			c.reply(501, "Usage: EPSV [1|2|ALL]")
			return
		}
		c.reply(522, "Network protocol not supported, use ("+c.family()+").")
		return
	}
	port, err := c.passive()
	if err != nil {
		c.fail(err, "", false)
		return
	}
	c.reply(229, fmt.Sprintf("Entering Extended Passive Mode (|||%d|)", port))
}

// family is the RFC 2428 number of the control connection's protocol.
func (c *client) family() string {
	if c.local().Is4() {
		return "1"
	}
	return "2"
}

func (c *client) cmdPort(arg string) {
	target, err := parsePort(arg)
	c.active(target, err)
}

func (c *client) cmdEprt(arg string) {
	target, err := parseEprt(arg)
	if errors.Is(err, errFamily) || err == nil && target.Addr().Is4() != c.peer().Is4() {
		c.reply(522, "Network protocol not supported, use ("+c.family()+").")
		return
	}
	c.active(target, err)
}

// active notes where to connect to. Only the control connection's own peer can be named (RFC 2577 section 3: the bounce attack).
func (c *client) active(target netip.AddrPort, err error) {
	switch {
	case c.epsvAll:
		c.reply(503, "Not after EPSV ALL.")
	case c.srv.o.NoActiveMode:
		c.reply(502, "Active mode is switched off: use PASV or EPSV.")
	case err != nil:
		c.reply(501, "Not an address and port.")
	case plainAddr(target.Addr()) != c.peer():
		c.log.Warn("data connection to a foreign address refused", "address", target.Addr().String())
		c.reply(501, "Data connections go to your own address only.")
	case target.Port() < minPort:
		c.reply(504, "Ports below 1024 are refused.") // the code that RFC 2577 section 3 suggests
	case c.srv.own(target):
		// A client on this host would have the server speak to itself, with words that the client uploaded.
		c.log.Warn("data connection to a port of this server refused", "port", target.Port())
		c.reply(504, "That port is the server's own.")
	default:
		c.dropPlan()
		c.plan = c.newData()
		c.plan.target = target
		c.reply(200, "Will connect to you.")
	}
}

// own tells whether target is a port of this server (RFC 2577 section 3).
func (s *Server) own(target netip.AddrPort) bool {
	first, last := s.pool.Range()
	n := int(target.Port())
	if !slices.Contains(s.o.OwnPorts, n) && (s.ownPool || n < first || n > last) {
		return false
	}
	addr := plainAddr(target.Addr())
	if addr.IsLoopback() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		ip, ok := a.(*net.IPNet)
		if !ok {
			return false
		}
		mine, ok := netip.AddrFromSlice(ip.IP)
		return ok && plainAddr(mine) == addr
	})
}

// dial connects to where PORT or EPRT said, from the address that the client knows. Behind a front end that address is the front end's; there the
// system chooses one.
func (c *client) dial(ctx context.Context, target netip.AddrPort) (*net.TCPConn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	if !c.sess.Front().IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.local(), 0))
	}
	conn, err := d.DialContext(ctx, "tcp", target.String())
	if err != nil {
		return nil, &errorAnswer{answer{425, "Cannot connect to you."}, err}
	}
	return conn.(*net.TCPConn), nil
}

var (
	errAddress = errors.New("not an address")
	errFamily  = errors.New("unknown address family")
)

// parsePort reads h1,h2,h3,h4,p1,p2: RFC 959 section 5.3.2.
func parsePort(arg string) (netip.AddrPort, error) {
	parts := strings.Split(strings.TrimSpace(arg), ",")
	if len(parts) != 6 {
		return netip.AddrPort{}, errAddress
	}
	var b [6]byte
	for i, p := range parts {
		n, err := strconv.ParseUint(strings.TrimSpace(p), 10, 8)
		if err != nil {
			return netip.AddrPort{}, errAddress
		}
		b[i] = byte(n)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), uint16(b[4])<<8|uint16(b[5])), nil
}

// parseEprt reads |family|address|port| with any delimiter: RFC 2428 section 2.
func parseEprt(arg string) (netip.AddrPort, error) {
	if arg == "" || arg[0] < 33 || arg[0] > 126 {
		return netip.AddrPort{}, errAddress
	}
	parts := strings.Split(arg, arg[:1])
	if len(parts) != 5 || parts[0] != "" || parts[4] != "" {
		return netip.AddrPort{}, errAddress
	}
	if parts[1] != "1" && parts[1] != "2" {
		if _, err := strconv.ParseUint(parts[1], 10, 16); err != nil {
			return netip.AddrPort{}, errAddress
		}
		return netip.AddrPort{}, errFamily
	}
	addr, err := netip.ParseAddr(parts[2])
	port, perr := strconv.ParseUint(parts[3], 10, 16)
	if err != nil || perr != nil || addr.Zone() != "" || addr.Is4() != (parts[1] == "1") {
		return netip.AddrPort{}, errAddress
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}
