package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"syscall"
)

// listenerSpec is one row of the table of listeners.
type listenerSpec struct {
	name     string // also the key ports.NAME
	standard int    // its port by the book
}

var listenerTable = []listenerSpec{
	{"mx", 25}, {"submission", 587}, {"submissions", 465}, {"lmtp", 2033},
	{"imap", 143}, {"imaps", 993}, {"managesieve", 4190},
	{"ftp", 21}, {"ftps", 990},
	{"http", 80}, {"https", 443},
}

// browsersRefuse is the one port of those that may be ours which no browser asks (WHATWG Fetch, "bad port"); browsersTake is what stands in for it.
const (
	browsersRefuse = 10080
	browsersTake   = 10088
)

// port of a listener, 0 when it is switched off.
func (c *config) port(l listenerSpec) int {
	if n, ok := c.Ports[l.name]; ok {
		return n
	}
	if c.BasePort+l.standard == browsersRefuse {
		return browsersTake
	}
	return c.BasePort + l.standard
}

// passive is the range of ports for FTP data connections.
func (c *config) passive() portRange {
	switch {
	case c.FTPPassive != portRange{}:
		return c.FTPPassive
	case c.BasePort == 0:
		return portRange{30000, 30099}
	}
	return portRange{c.BasePort + 1100, c.BasePort + 1199}
}

// everywhere tells whether to listen on every address.
func (c *config) everywhere() bool {
	for _, a := range c.Listen {
		if a == "all" {
			return true
		}
	}
	return false
}

// addresses to listen on; "" is every address, both families in one socket.
func (c *config) addresses() []string {
	if c.everywhere() {
		return []string{""}
	}
	return c.Listen
}

// bind opens every listener, all or none, by name. An address family that the machine does not have is passed over as long as another address works.
func bind(c *config, all settings, logger *slog.Logger) (map[string][]net.Listener, error) {
	bound := map[string][]net.Listener{}
	for _, l := range listenerTable {
		port := c.port(l)
		if port == 0 {
			continue
		}
		for _, a := range c.addresses() {
			ln, err := plainTCP.Listen(context.Background(), "tcp", net.JoinHostPort(a, strconv.Itoa(port)))
			if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
				logger.Warn("this machine does not have the address, not listening there", "address", a, "listener", l.name)
				continue
			}
			if err != nil {
				closeAll(bound)
				return nil, portError(l, port, all, err)
			}
			bound[l.name] = append(bound[l.name], ln)
		}
		if len(bound[l.name]) == 0 {
			closeAll(bound)
			return nil, fmt.Errorf("%s: listen = %q: this machine has none of these addresses", all["listen"].from, all["listen"].value)
		}
	}
	return bound, nil
}

// plainTCP listens without Multipath TCP, Go's default: it makes each accepted connection dearer, and sendfile of it.
var plainTCP = func() (c net.ListenConfig) {
	c.SetMultipathTCP(false)
	return c
}()

func closeAll(bound map[string][]net.Listener) {
	for _, lns := range bound {
		for _, ln := range lns {
			ln.Close()
		}
	}
}

// portError says which key decides about the port and what to do.
func portError(l listenerSpec, port int, all settings, err error) error {
	name := "ports." + l.name
	if all[name].value == "auto" {
		name = "base_port"
	}
	at := all[name].from
	if at == "default" {
		at = configName
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("port %d (%s) is in use by another program; set %s (%s, now %s) to something else, or stop that program: %w",
			port, l.name, name, at, all[name].value, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("port %d (%s) needs privileges: give CAP_NET_BIND_SERVICE, or set %s (%s, now %s) to 10000: %w",
			port, l.name, name, at, all[name].value, err)
	}
	return fmt.Errorf("port %d (%s), key %s (%s): %w", port, l.name, name, at, err)
}
