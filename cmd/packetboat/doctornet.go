package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/ftp"
)

// kind of an address, as clients see it.
func kind(a netip.Addr) string {
	switch {
	case a.IsLoopback():
		return "this machine's own"
	case netip.MustParsePrefix("100.64.0.0/10").Contains(a): // RFC 6598
		return "a provider's NAT address"
	case a.IsPrivate():
		return "a private address"
	case a.IsLinkLocalUnicast():
		return "a link-local address"
	}
	return "public"
}

// internet is an address as one on the internet would be (RFC 5737: of nobody).
var internet = netip.MustParseAddr("198.51.100.1")

// clients are who is looked at as a client: those that were named, else one on the internet and one in each network of this machine.
func (d *ftpDoctor) clients(q consultation) (all []netip.Addr) {
	for _, s := range q.clients {
		if a, err := netip.ParseAddr(s); err == nil {
			all = append(all, a.Unmap())
		}
	}
	if len(all) > 0 {
		return all
	}
	if !d.private() {
		all = append(all, internet)
	}
	for _, p := range d.interfaces {
		if a := p.Addr(); a.Is4() && slices.Contains(d.bound(), a) {
			all = append(all, neighbour(p))
		}
	}
	return all
}

// neighbour is another address of the network.
func neighbour(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().Next()
	if a == p.Addr() {
		a = a.Next()
	}
	if !p.Contains(a) || p.Addr().IsLoopback() {
		return p.Addr()
	}
	return a
}

// advertised says what PASV tells whom.
func (d *ftpDoctor) advertised(q consultation, contained bool) {
	list := d.config.publicAddresses()
	for _, client := range d.clients(q) {
		local, ok := d.reached(client)
		if !ok {
			if len(q.clients) > 0 { // it was asked about
				d.say(stateWarn, "PASV", fmt.Sprintf("a client at %s reaches no address that is listened on", client), "Set listen = \"all\", or to the address that it is to reach.")
			}
			continue
		}
		told := ftp.Advertised(list, client, local)
		what := fmt.Sprintf("a client at %s that reaches %s is told %s (%s)", client, local, told, kind(told))
		switch {
		case !client.Is4():
			d.say(stateOK, "PASV", fmt.Sprintf("a client at %s has EPSV, which names no address", client))
		case told.IsLoopback() && !client.IsLoopback() && contained:
			d.say(stateWarn, "PASV", what+", which leads here only from the machine that the container runs on", "For others set ftp.public_addresses to that machine's address as they see it.")
		case told.IsLoopback() && !client.IsLoopback(), kind(client) == "public" && kind(told) != "public":
			state := stateWarn
			if contained && told == local && len(list) == 0 || told.IsLoopback() {
				state = stateFail
			}
			d.say(state, "PASV", what+", which it cannot reach", "Set ftp.public_addresses = [{for = \"*\", address = \"THE PUBLIC IPv4 ADDRESS\"}], with an entry for each local network that is to be told otherwise.",
				"Clients that use EPSV (curl, lftp with IPv6, most modern ones) or that know better (FileZilla) work all the same.")
		case contained && told == local && !d.near(client, local):
			d.say(stateWarn, "PASV", what+", the container's own", "Set ftp.public_addresses to the address of the machine that the container runs on, as clients see it.")
		default:
			d.say(stateOK, "PASV", what)
		}
	}
}

// near tells whether a client shares a network with the address that it reaches.
func (d *ftpDoctor) near(client, local netip.Addr) bool {
	return slices.ContainsFunc(d.interfaces, func(p netip.Prefix) bool { return p.Addr() == local && p.Masked().Contains(client) })
}

// reached is the address of this machine that such a client would most likely connect to.
func (d *ftpDoctor) reached(client netip.Addr) (netip.Addr, bool) {
	var fallback netip.Addr
	for _, p := range d.interfaces {
		a := p.Addr()
		if a.Is4() != client.Is4() || !slices.Contains(d.bound(), a) || a.IsLinkLocalUnicast() && !client.IsLinkLocalUnicast() {
			continue
		}
		if p.Masked().Contains(client) {
			return a, true
		}
		if !a.IsLoopback() && !fallback.IsValid() {
			fallback = a
		}
	}
	return fallback, fallback.IsValid()
}

// container finds out whether this is one, and what that does to FTP.
func (d *ftpDoctor) container() bool {
	root := cmp.Or(d.root, "/")
	name := ""
	for file, is := range map[string]string{".dockerenv": "Docker", "run/.containerenv": "Podman"} {
		if _, err := os.Stat(filepath.Join(root, file)); err == nil {
			name = is
		}
	}
	if text, err := os.ReadFile(filepath.Join(root, "proc/1/cgroup")); err == nil && name == "" {
		for _, word := range []string{"docker", "kubepods", "containerd", "libpod", "lxc"} {
			if bytes.Contains(text, []byte(word)) {
				name = word
			}
		}
	}
	if name == "" && d.root == "" && os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
		name = "Kubernetes"
	}
	if name == "" {
		d.say(stateOK, "container", "none")
		return false
	}
	r := d.config.passive()
	d.say(stateInfo, "container", "this is one ("+name+")", fmt.Sprintf("Publish the control ports and all of %d to %d one to one (docker-compose: \"%d-%d:%d-%d\"): what clients are told are these numbers.", r.First, r.Last, r.First, r.Last, r.First, r.Last))
	d.gateway(root)
	return true
}

// gateway looks whether the container's network hides who the clients are.
func (d *ftpDoctor) gateway(root string) {
	gate, ok := defaultGateway(root)
	if !ok || d.list == nil {
		return
	}
	seen, hidden := 0, 0
	for _, i := range d.list() {
		from, err := netip.ParseAddrPort(i.Remote)
		if err != nil || i.Protocol != session.FTP {
			continue
		}
		seen++
		if from.Addr().Unmap() == gate {
			hidden++
		}
	}
	if hidden > 0 && hidden == seen {
		d.say(stateWarn, "container", fmt.Sprintf("all %d FTP sessions seem to come from the gateway %s: the container's network hides who they are", seen, gate),
			"Limits, throttling and passive ports then take all clients for one. Switch Docker's userland-proxy off, use the host's network, or a front end that sends PROXY headers (proxy.listeners).")
	}
}

// defaultGateway is the IPv4 gateway of the system.
func defaultGateway(root string) (netip.Addr, bool) {
	text, err := os.ReadFile(filepath.Join(root, "proc/net/route"))
	if err != nil {
		return netip.Addr{}, false
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[1] != "00000000" {
			continue
		}
		if b, err := hex.DecodeString(f[2]); err == nil && len(b) == 4 {
			slices.Reverse(b)
			return netip.AddrFrom4([4]byte(b)), true
		}
	}
	return netip.Addr{}, false
}

// targets are the addresses under which the server tries to reach itself: those that it listens on, those that PASV names, those that were named.
func (d *ftpDoctor) targets(q consultation) (all []string) {
	add := func(s string) {
		if !slices.Contains(all, s) && len(all) < 32 {
			all = append(all, s)
		}
	}
	for _, a := range d.bound() {
		if !a.IsLinkLocalUnicast() {
			add(a.String())
		}
	}
	for _, p := range d.config.publicAddresses() {
		if p.Address.IsValid() {
			add(p.Address.String())
		}
	}
	for _, a := range q.addresses {
		add(strings.Trim(a, "[]"))
	}
	return all
}

const reachTime = 3 * time.Second // for each step of an attempt to reach the server

// errFront: this machine is none of the front ends that alone may connect.
var errFront = errors.New("only front ends may connect")

// reach connects to the server under an address: a control connection, then one to a passive port.
func (d *ftpDoctor) reach(ctx context.Context, address string) {
	state, do := stateFail, "Something on this machine is in the way: a firewall?"
	if !d.mine(address) {
		state, do = stateWarn, "It is not an address of this machine, so this went out and should have come back: that takes a NAT that can do so (hairpin), and forwarded ports. Try from outside, for instance curl -v ftp://"+net.JoinHostPort(address, d.firstPort())+"/"
	}
	for _, l := range d.control() {
		port := strconv.Itoa(d.config.port(l))
		err := d.greet(ctx, l.name, net.JoinHostPort(address, port))
		switch {
		case errors.Is(err, errFront):
			d.say(stateInfo, "reach "+address, l.name+": only front ends may connect, and this machine is none of them (proxy.trusted)", "Try through the front end.")
			return
		case err != nil:
			d.say(state, "reach "+address, fmt.Sprintf("%s, port %s: %v", l.name, port, err), do)
			return
		}
	}
	port, err := d.knock(ctx, address)
	if err != nil {
		d.say(state, "reach "+address, fmt.Sprintf("control connections come through, those to passive port %d do not: %v", port, err), do,
			fmt.Sprintf("Are all of %d to %d forwarded, published and let through by the firewall?", d.config.passive().First, d.config.passive().Last))
		return
	}
	d.say(stateOK, "reach "+address, fmt.Sprintf("control connections and passive port %d come through", port))
}

func (d *ftpDoctor) firstPort() string {
	return strconv.Itoa(d.config.port(d.control()[0]))
}

// dialed connects, as a front end where that is wanted.
func (d *ftpDoctor) dialed(ctx context.Context, listener, target string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", target)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(reachTime))
	if fronts := d.config.fronts(listener); fronts != nil {
		if listener != passivePorts && !fronts.Has(conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()) {
			conn.Close()
			return nil, errFront
		}
		if fronts.Has(conn.LocalAddr().(*net.TCPAddr).AddrPort().Addr()) {
			conn.Write(session.ProxyLocal())
		}
	}
	return conn, nil
}

// greet opens a control connection and sees that it is ours.
func (d *ftpDoctor) greet(ctx context.Context, listener, target string) error {
	conn, err := d.dialed(ctx, listener, target)
	if err != nil {
		return err
	}
	defer conn.Close()
	if listener == "ftps" {
		t := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // the certificate is looked at, not trusted
		if err := t.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS: %w", err)
		}
		if d.cert != nil && !t.ConnectionState().PeerCertificates[0].Equal(d.cert()) {
			return errors.New("another server answers (its certificate is another one)")
		}
		conn = t
	}
	greeting := make([]byte, 512)
	n, err := io.ReadAtLeast(conn, greeting, 4)
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	if line, _, _ := strings.Cut(string(greeting[:n]), "\r\n"); !strings.HasPrefix(line, "220 "+d.config.Hostname+" ") {
		return fmt.Errorf("another server answers, or this one refuses: %q", line)
	}
	io.WriteString(conn, "QUIT\r\n")
	return nil
}

// knock connects to a passive port and sees that the connection came here.
func (d *ftpDoctor) knock(ctx context.Context, address string) (port int, err error) {
	probe, err := d.ports.Probe()
	if err != nil {
		return 0, err
	}
	defer probe.Close()
	var from netip.AddrPort
	conn, err := d.dialed(ctx, passivePorts, net.JoinHostPort(address, strconv.Itoa(probe.Port)))
	switch {
	case err == nil:
		defer conn.Close()
		from = conn.LocalAddr().(*net.TCPAddr).AddrPort()
	case !errors.Is(err, syscall.ECONNRESET): // that is how strangers are turned away
		return probe.Port, err
	}
	late := time.After(reachTime)
	for {
		select {
		case seen := <-probe.Seen():
			if !from.IsValid() || seen.Port() == from.Port() || !d.mine(address) { // a NAT may have changed it
				return probe.Port, nil
			}
		case <-late:
			return probe.Port, errors.New("somebody took the connection, but not this server")
		case <-ctx.Done():
			return probe.Port, ctx.Err()
		}
	}
}

// mine tells whether an address is one of this machine's.
func (d *ftpDoctor) mine(address string) bool {
	a, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(d.interfaces, func(p netip.Prefix) bool { return p.Addr() == a.Unmap() })
}
