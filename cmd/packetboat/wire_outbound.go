package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/smtp/outbound"
)

// startOutbound sets the worker going that sends mail to other servers. It ends with ctx: what is under way then comes to its end, hurried by the registry's
// Drain, and is written down; endOutbound waits for that.
func (h *house) startOutbound(ctx context.Context) error {
	c := h.config
	roots, err := c.outboundRoots()
	if err != nil {
		return err
	}
	name := c.OutboundName
	if name == "" {
		name = c.Hostname
	}
	held := c.outboundHeld()
	if held != "" {
		h.logger.Info("mail to other domains waits in the queue", "reason", held)
	}
	w := outbound.NewWorker(h.store, h.registry, h.resolver, h.policies, h.signer,
		outbound.Options{
			Name: name, Port: c.OutboundPort, Bind: c.OutboundBind, Family: c.OutboundFamily, Routes: c.OutboundRoutes, Schedule: c.OutboundSchedule,
			Timeouts: c.OutboundTimeouts, Roots: roots, Concurrency: c.OutboundConcurrency, PerDomain: c.OutboundPerDomain, Idle: c.OutboundIdle,
			MaxMessages: c.OutboundPerConnection, Held: func() string { return held }, Local: h.local.DeliverStored, Own: h.isSelf(name),
			NoLoopback: c.OutboundPort == 25 && !c.onLoopback(), Logger: h.logger,
		})
	h.worker = w
	h.outboundDone = make(chan struct{})
	h.spawn("outbound", func() error {
		defer close(h.outboundDone)
		return w.Run(ctx)
	})
	return nil
}

// leaves tells whether any mail leaves for other domains.
func (c *config) leaves() bool { return c.outboundHeld() == "" || len(c.OutboundRoutes) > 0 }

// endOutbound waits until the worker has written down what it knows. Its context ended before, and so did its sessions.
func (h *house) endOutbound() {
	if h.outboundDone != nil {
		<-h.outboundDone
	}
}

// outboundRoots are the CAs that vouch for relays; nil: the system's alone.
func (c *config) outboundRoots() (*x509.CertPool, error) {
	if c.OutboundCA == "" {
		return nil, nil
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pem, err := os.ReadFile(c.OutboundCA)
	if err != nil {
		return nil, fmt.Errorf("outbound.ca: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("outbound.ca: %s holds no certificates", c.OutboundCA)
	}
	return pool, nil
}

// isSelf tells whether a host is this server: by its name, or as it is where our own port for mail is.
func (h *house) isSelf(names ...string) func(string, netip.AddrPort) bool {
	names = append(names, h.config.Hostname)
	var at []netip.AddrPort
	for _, ln := range h.bound["mx"] {
		if a, err := netip.ParseAddrPort(ln.Addr().String()); err == nil {
			at = append(at, netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port()))
		}
	}
	return func(host string, addr netip.AddrPort) bool {
		if slices.ContainsFunc(names, func(n string) bool { return n != "" && strings.EqualFold(n, host) }) {
			return true
		}
		return slices.ContainsFunc(at, func(a netip.AddrPort) bool {
			return a == addr || a.Port() == addr.Port() && a.Addr().IsUnspecified() && isOfThisMachine(addr.Addr())
		})
	}
}

// isOfThisMachine tells whether an address is one of this machine's.
func isOfThisMachine(a netip.Addr) bool {
	if a.IsLoopback() || a.IsUnspecified() {
		return true
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(all, func(n net.Addr) bool {
		p, err := netip.ParsePrefix(n.String())
		return err == nil && p.Addr().Unmap() == a
	})
}
