package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/ftp"
)

// list splits a value at commas; empty pieces are left out.
func list(v string) []string {
	var all []string
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// network reads a network, or an address as a network of its own.
func network(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return p, fmt.Errorf("%q is no network; give one such as 10.0.0.0/8", s)
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s has bits behind its mask: did you mean %s, or the address %s?", s, p.Masked(), p.Addr())
	}
	return p, nil
}

// passivePorts is the name of FTP's passive ports among the listeners of proxy.listeners.
const passivePorts = "passive"

// frontedInto reads which listeners are behind front ends.
func frontedInto(c *config, v string) error {
	c.Fronted = list(v)
	for _, name := range c.Fronted {
		if name != passivePorts && !slices.ContainsFunc(listenerTable, func(l listenerSpec) bool { return l.name == name }) {
			var names []string
			for _, l := range listenerTable {
				names = append(names, l.name)
			}
			return fmt.Errorf("%q is none of %s, %s", name, strings.Join(names, ", "), passivePorts)
		}
	}
	return nil
}

// frontEndsInto reads whose PROXY headers are believed.
func frontEndsInto(c *config, v string) error {
	c.FrontEnds = nil
	for _, s := range list(v) {
		p, err := network(s)
		if err != nil {
			return err
		}
		if p.Bits() == 0 {
			return fmt.Errorf("%s is everybody, who could then pose as anybody; give the front ends' addresses", s)
		}
		c.FrontEnds = append(c.FrontEnds, p)
	}
	return nil
}

// fronts are the front ends of a listener; nil: none.
func (c *config) fronts(listener string) session.FrontEnds {
	if slices.Contains(c.Fronted, listener) {
		return c.FrontEnds
	}
	return nil
}

// publicAddressesInto reads NETWORK=ADDRESS pairs, and puts the smaller networks first: the longest match decides.
func publicAddressesInto(c *config, v string) error {
	c.FTPPublicAddresses = nil
	for _, s := range list(v) {
		client, address, ok := strings.Cut(s, "=")
		if !ok {
			client, address = "*", s
		}
		a, err := publicAddress(strings.TrimSpace(client), strings.TrimSpace(address))
		if err != nil {
			return err
		}
		if slices.ContainsFunc(c.FTPPublicAddresses, func(b ftp.PublicAddress) bool { return b.For == a.For }) {
			return fmt.Errorf("there are two addresses for %s", client)
		}
		c.FTPPublicAddresses = append(c.FTPPublicAddresses, a)
	}
	slices.SortStableFunc(c.FTPPublicAddresses, func(a, b ftp.PublicAddress) int { return cmp.Compare(b.For.Bits(), a.For.Bits()) })
	return nil
}

func publicAddress(client, address string) (a ftp.PublicAddress, err error) {
	if client != "*" {
		if a.For, err = network(client); err != nil {
			return a, err
		}
		if !a.For.Addr().Is4() {
			return a, fmt.Errorf("%s: PASV is for IPv4 clients alone; to others EPSV names no address, so they need none", client)
		}
	}
	if address == "local" {
		return a, nil
	}
	if a.Address, err = netip.ParseAddr(address); err != nil || !a.Address.Is4() {
		return a, fmt.Errorf("%q is no IPv4 address (or local: the one that the client connected to)", address)
	}
	if a.Address.IsUnspecified() || a.Address.IsMulticast() {
		return a, fmt.Errorf("nobody can connect to %s", address)
	}
	return a, nil
}

// publicAddresses are those of ftp.public_addresses, then that of ftp.public_address for everybody else.
func (c *config) publicAddresses() []ftp.PublicAddress {
	all := slices.Clone(c.FTPPublicAddresses)
	if a, err := netip.ParseAddr(c.FTPPublicAddress); err == nil && !slices.ContainsFunc(all, func(b ftp.PublicAddress) bool { return !b.For.IsValid() }) {
		all = append(all, ftp.PublicAddress{Address: a})
	}
	return all
}

// ownPorts are the ports that this process listens on, beside the passive ones.
func (c *config) ownPorts() []int {
	var all []int
	for _, l := range listenerTable {
		if n := c.port(l); n != 0 {
			all = append(all, n)
		}
	}
	return all
}
