package main

import (
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/packetboat/packetboat/console"
)

// consoleConfig is what the configuration says about the HTTP listener, and about what clients, other servers and the DNS are told.
type consoleConfig struct {
	LimitHTTP int

	PublicAddresses []netip.Addr // of this machine, as the DNS has them
	ClientsHost     string       // "": as clientHost finds
	ClientsPorts    map[string]int

	STSMode console.Mode
	STSMX   []string // empty: the host name
	STSAge  time.Duration

	DMARCPolicy string
}

var consoleKeys = []key{
	{"public_addresses", "", "Addresses of this machine as the world sees it (IPv4 and IPv6), comma-separated: for the records that packetboat domain dns prints and checks.", func(c *config, v string) error {
		return addressesInto(&c.PublicAddresses, v)
	}},
	{"ports.http", "auto", "How to set up clients (HTTP, 80; 10088 with base port 10000, as browsers ask nothing of 10080): autoconfig, a page for people.", port("http")},
	{"ports.https", "auto", "The same over TLS (443): MTA-STS policy, Autodiscover, profiles for Apple's devices.", port("https")},
	{"limits.http", "1000", "Sessions at a time over HTTP.", limit(func(c *config) *int { return &c.LimitHTTP })},
	{"clients.host", "", "The name of this server that clients are told (autoconfig, SRV records). Empty: hostname, or localhost while only this machine can connect.", func(c *config, v string) error {
		if v == "" {
			c.ClientsHost = ""
			return nil
		}
		return domainInto(&c.ClientsHost, v)
	}},
	{"clients.ports", "", "Ports that clients are told where they differ from those listened on (port forwarding, containers), comma-separated: imaps=993, submissions=465; off: not told of.", func(c *config, v string) error {
		return clientPortsInto(c, v)
	}},
	{"mta_sts.mode", "testing", "MTA-STS policy for other servers (RFC 8461): none, testing (they report) or enforce (they deliver over TLS with a certificate that holds, or not at all).", func(c *config, v string) error {
		switch m := console.Mode(v); m {
		case console.None, console.Testing, console.Enforce:
			c.STSMode = m
			return nil
		}
		return fmt.Errorf("want none, testing or enforce")
	}},
	{"mta_sts.mx", "", "Names of the mail hosts in it, comma-separated, as they stand in MX records. Empty: hostname.", func(c *config, v string) error {
		c.STSMX = nil
		for _, name := range list(v) {
			var d string
			plain, wild := strings.CutPrefix(name, "*.")
			if err := domainInto(&d, plain); err != nil {
				return err
			}
			if wild {
				d = "*." + d
			}
			c.STSMX = append(c.STSMX, d)
		}
		return nil
	}},
	{"mta_sts.max_age", "168h", "How long other servers keep it.", func(c *config, v string) error {
		if err := duration(func(c *config) *time.Duration { return &c.STSAge })(c, v); err != nil {
			return err
		}
		if c.STSAge < time.Minute || c.STSAge > 31557600*time.Second { // RFC 8461 section 3.2
			return fmt.Errorf("want 1m to 8766h (a year)")
		}
		return nil
	}},
	{"dmarc.policy", "quarantine", "What the DMARC record that packetboat domain dns prints asks other servers to do with forged mail: none, quarantine or reject.", choice(func(c *config) *string { return &c.DMARCPolicy }, "none", "quarantine", "reject")},
}

// addressesInto reads addresses that others can connect to.
func addressesInto(all *[]netip.Addr, v string) error {
	*all = nil
	for _, s := range list(v) {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" || a.IsUnspecified() || a.IsMulticast() {
			return fmt.Errorf("%q is no address of a machine", s)
		}
		*all = append(*all, a.Unmap())
	}
	return nil
}

// clientPortsInto reads LISTENER=PORT pairs.
func clientPortsInto(c *config, v string) error {
	c.ClientsPorts = map[string]int{}
	for _, s := range list(v) {
		name, number, _ := strings.Cut(s, "=")
		name, number = strings.TrimSpace(name), strings.TrimSpace(number)
		if !isListener(name) {
			return fmt.Errorf("%q is no listener; want LISTENER=PORT, e.g. imaps=993", name)
		}
		n := 0
		if number != "off" {
			if err := intInto(&n, number, 1, 65535); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		c.ClientsPorts[name] = n
	}
	return nil
}

func isListener(name string) bool {
	for _, l := range listenerTable {
		if l.name == name {
			return true
		}
	}
	return false
}

// told is the port of a listener as clients are told of it; 0: they are not.
func (c *config) told(name string) int {
	if n, ok := c.ClientsPorts[name]; ok {
		return n
	}
	for _, l := range listenerTable {
		if l.name == name {
			return c.port(l)
		}
	}
	return 0
}

// clientHost is the name of this server that clients are told.
func (c *config) clientHost() string {
	switch {
	case c.ClientsHost != "":
		return c.ClientsHost
	case c.forItself(), strings.HasSuffix(c.Domain, ".test"): // names below .test are never in the DNS
		return "localhost"
	}
	return c.Hostname
}

// forItself tells whether nothing but this machine can connect.
func (c *config) forItself() bool {
	for _, l := range c.Listen {
		if a, err := netip.ParseAddr(l); err != nil || !a.IsLoopback() {
			return false
		}
	}
	return true
}

// offered are the services that clients are told of, what has TLS from the first byte first (RFC 8314 section 3).
func (c *config) offered() (all []console.Service) {
	for _, v := range []console.Service{
		{Listener: "imaps", Protocol: "imap", TLS: true}, {Listener: "imap", Protocol: "imap"},
		{Listener: "submissions", Protocol: "smtp", TLS: true}, {Listener: "submission", Protocol: "smtp"},
		{Listener: "ftp", Protocol: "ftp"}, {Listener: "ftps", Protocol: "ftp", TLS: true},
		{Listener: "managesieve", Protocol: "sieve"},
	} {
		if v.Port = c.told(v.Listener); v.Port != 0 {
			all = append(all, v)
		}
	}
	return all
}

// enforcedInVain is why servers that follow the MTA-STS policy could not deliver: none if it is not enforced, or as far as can be seen from here.
func (c *config) enforcedInVain(chain []*x509.Certificate) (faults []string) {
	if c.STSMode != console.Enforce {
		return nil
	}
	if c.TLSCert == "" {
		return []string{"the certificate is the local CA's, which nobody trusts (set tls.cert and tls.key, or mta_sts.mode = testing)"}
	}
	for _, mx := range c.policy().MX {
		if len(chain) > 0 && !strings.HasPrefix(mx, "*.") && chain[0].VerifyHostname(mx) != nil {
			faults = append(faults, "the certificate is not for "+mx+", which the policy names")
		}
	}
	return faults
}

// policy is the MTA-STS policy of all domains.
func (c *config) policy() console.Policy {
	p := console.Policy{Mode: c.STSMode, MX: c.STSMX, MaxAge: c.STSAge}
	if len(p.MX) == 0 {
		p.MX = []string{c.Hostname}
	}
	return p
}
