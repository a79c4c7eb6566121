package main

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// dnsConfig is what the configuration says about asking the DNS.
type dnsConfig struct {
	DNSServers []string // ip:port; nil: those of /etc/resolv.conf
	DNSTimeout time.Duration
	DNSTrustAD string // auto, on, off
}

var dnsKeys = []key{
	{"dns.servers", "", "Recursive DNS resolvers to ask, comma-separated: addresses, each with or without a port. Empty: those of /etc/resolv.conf. Best is a validating one on this machine (unbound): DANE needs it, and block lists refuse the public ones.", func(c *config, v string) error {
		return nameServersInto(&c.DNSServers, v)
	}},
	{"dns.timeout", "2s", "How long one resolver may take to answer one question. Each is asked twice at most; what nobody answered is no verdict (451, or tried again later).", func(c *config, v string) error {
		if err := duration(func(c *config) *time.Duration { return &c.DNSTimeout })(c, v); err != nil {
			return err
		}
		if c.DNSTimeout < 10*time.Millisecond || c.DNSTimeout > time.Minute {
			return fmt.Errorf("want 10ms to 1m")
		}
		return nil
	}},
	{"dns.trust_ad", "auto", "Believe a resolver that says it has validated an answer (DNSSEC, the AD bit): auto (when all resolvers have loopback addresses or /etc/resolv.conf says trust-ad), on (the way to them is secure too), off.", func(c *config, v string) error {
		switch v {
		case "auto", "on", "off":
			c.DNSTrustAD = v
			return nil
		}
		return fmt.Errorf("want auto, on or off")
	}},
}

// nameServersInto reads a list of addresses with or without ports.
func nameServersInto(into *[]string, v string) error {
	*into = nil
	for _, s := range list(v) {
		ap, err := netip.ParseAddrPort(s)
		if err != nil {
			a, err := netip.ParseAddr(strings.Trim(s, "[]"))
			if err != nil {
				return fmt.Errorf("%q is no address; give one such as 127.0.0.1 or 127.0.0.1:5353", s)
			}
			ap = netip.AddrPortFrom(a, 53)
		}
		*into = append(*into, net.JoinHostPort(ap.Addr().String(), fmt.Sprint(ap.Port())))
	}
	return nil
}
