package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/packetboat/packetboat/smtp/outbound"
)

// outboundConfig is what the configuration says about sending mail to other servers.
type outboundConfig struct {
	Outbound          string // auto, on, off
	OutboundSmarthost string
	OutboundRoutes    outbound.Routes // the smarthost's behind them
	OutboundPort      int
	OutboundBind      []netip.Addr
	OutboundName      string // "": hostname
	OutboundFamily    outbound.Family
	OutboundCA        string

	OutboundConcurrency, OutboundPerDomain, OutboundPerConnection int

	LimitOutgoing int

	OutboundIdle     time.Duration
	OutboundTimeouts outbound.Timeouts
	OutboundSchedule outbound.Schedule

	outboundRules outbound.Routes // as written
}

var outboundKeys = []key{
	{"limits.outgoing", "1000", "Connections to other servers at a time; those that come do not count for it, nor the other way round.", limit(func(c *config) *int { return &c.LimitOutgoing })},

	{"outbound.enabled", "auto", "Send mail to the servers of other domains: on, off (it waits in the queue; what a route takes leaves), or auto: off while the server listens on loopback addresses alone or its domain is one for tests (.test, .example, .invalid, .localhost), on else.", choice(func(c *config) *string { return &c.Outbound }, "auto", "on", "off")},
	{"outbound.smarthost", "", "A server that takes all mail for other domains: host:port, or a URL as in outbound.routes. Empty: mail goes to the servers of its domains (MX).", func(c *config, v string) error {
		c.OutboundSmarthost = v
		if v != "" {
			if _, err := outbound.ParseRoute(v); err != nil {
				return err
			}
		}
		return c.outboundRoutes()
	}},
	{"outbound.routes", "", "Ways for some of the mail, comma-separated, the first that fits: domain example.com: smtp://[10.0.0.1]:25, sender ourcorp.test: smtps://joe@relay.test:465?password_file=/etc/packetboat/relay, account ann@our.test: lmtp://10.0.0.2:24, *: direct. " +
		"domain is the recipient's (*.example.com: all below it). tls=opportunistic, required or verify says what the server must prove: verify for smtps and with a user. The password is in the URL, in password_file or in the environment variable password_env.", func(c *config, v string) (err error) {
		if c.outboundRules, err = outbound.ParseRoutes(v); err != nil {
			return err
		}
		return c.outboundRoutes()
	}},
	{"outbound.port", "25", "The port of other domains' servers. Other values are for tests.", func(c *config, v string) error { return intInto(&c.OutboundPort, v, 1, 65535) }},
	{"outbound.bind", "", "Addresses of this machine to send from, comma-separated, one of IPv4 and one of IPv6. Empty: what the system takes.", func(c *config, v string) error {
		c.OutboundBind = nil
		for _, s := range list(v) {
			a, err := netip.ParseAddr(strings.Trim(s, "[]"))
			if err != nil {
				return fmt.Errorf("%q is no IP address", s)
			}
			c.OutboundBind = append(c.OutboundBind, a.Unmap())
		}
		return nil
	}},
	{"outbound.hostname", "", "The name that other servers are told (EHLO); it should lead to the address that mail is sent from, and back. Empty: hostname.", func(c *config, v string) error {
		if c.OutboundName = v; v == "" {
			return nil
		}
		return domainInto(&c.OutboundName, v)
	}},
	{"outbound.ip", "prefer-ipv6", "Addresses of other servers to use: prefer-ipv6, prefer-ipv4, ipv6 or ipv4.", func(c *config, v string) error {
		for _, f := range []outbound.Family{outbound.IPv6First, outbound.IPv4First, outbound.IPv6Only, outbound.IPv4Only} {
			if v == string(f) {
				c.OutboundFamily = f
				return nil
			}
		}
		return fmt.Errorf("want prefer-ipv6, prefer-ipv4, ipv6 or ipv4")
	}},
	{"outbound.ca", "", "CAs (PEM) that vouch for the servers of routes, beside the system's.", text(func(c *config) *string { return &c.OutboundCA })},
	{"outbound.concurrency", "100", "Messages under way to other servers at a time.", func(c *config, v string) error { return intInto(&c.OutboundConcurrency, v, 1, 10000) }},
	{"outbound.per_domain", "10", "Of those, to one domain.", func(c *config, v string) error { return intInto(&c.OutboundPerDomain, v, 1, 10000) }},
	{"outbound.per_connection", "1000", "Messages on one connection; 0 means any number.", func(c *config, v string) error { return intInto(&c.OutboundPerConnection, v, 0, 1_000_000) }},
	{"outbound.idle_timeout", "10s", "How long a connection is kept for another message.", duration(func(c *config) *time.Duration { return &c.OutboundIdle })},
	{"outbound.connect_timeout", "30s", "How long a server may take to accept a connection.", duration(func(c *config) *time.Duration { return &c.OutboundTimeouts.Dial })},
	{"outbound.reply_timeout", "5m", "How long a server may take to answer a command (RFC 5321 section 4.5.3.2: at least 5 minutes).", func(c *config, v string) error {
		if err := duration(func(c *config) *time.Duration { return &c.OutboundTimeouts.Command })(c, v); err != nil {
			return err
		}
		c.OutboundTimeouts.Greeting = c.OutboundTimeouts.Command
		return nil
	}},
	{"outbound.data_timeout", "10m", "How long a server may take to answer the end of a message (RFC 5321 section 4.5.3.2.6: at least 10 minutes, or messages arrive twice).", duration(func(c *config) *time.Duration { return &c.OutboundTimeouts.End })},
	{"outbound.retry", "5m, 15m, 30m, 1h, 2h, 4h, 8h", "After how long mail that could not be delivered is tried again: after the first attempt, the second and so on; the last one for all others. Each is a little longer by chance.", func(c *config, v string) error {
		c.OutboundSchedule.Retry = nil
		for _, s := range list(v) {
			d, err := time.ParseDuration(s)
			if err != nil || d < time.Second {
				return fmt.Errorf("%q: want times of at least a second, such as 5m or 8h", s)
			}
			c.OutboundSchedule.Retry = append(c.OutboundSchedule.Retry, d)
		}
		if n := len(c.OutboundSchedule.Retry); n == 0 || n > 100 {
			return fmt.Errorf("want 1 to 100 times")
		}
		return nil
	}},
	{"outbound.expire", "120h", "How long mail is tried; then it comes back to its sender.", duration(func(c *config) *time.Duration { return &c.OutboundSchedule.Expire })},
	{"outbound.delay_notice", "4h", "After how long a sender is told that mail waits; 0: never.", func(c *config, v string) error {
		if v == "0" {
			c.OutboundSchedule.Delay = -1
			return nil
		}
		return duration(func(c *config) *time.Duration { return &c.OutboundSchedule.Delay })(c, v)
	}},
}

// outboundRoutes puts the smarthost behind the routes.
func (c *config) outboundRoutes() error {
	c.OutboundRoutes = append(outbound.Routes(nil), c.outboundRules...)
	if c.OutboundSmarthost == "" {
		return nil
	}
	r, err := outbound.ParseRoute(c.OutboundSmarthost)
	if err != nil {
		return err
	}
	c.OutboundRoutes = append(c.OutboundRoutes, outbound.Rule{Kind: "*", Route: r})
	return nil
}

// outboundHeld is why no mail leaves for the servers of other domains; "" when it does.
func (c *config) outboundHeld() string {
	const how = "; set outbound.enabled = on, or outbound.smarthost"
	switch c.Outbound {
	case "on":
		return ""
	case "off":
		return "mail to other domains is switched off (outbound.enabled = off)"
	}
	d := "." + c.Domain
	for _, tld := range []string{".test", ".example", ".invalid", ".localhost"} { // RFC 6761
		if strings.HasSuffix(d, tld) {
			return "mail to other domains is not sent, as " + c.Domain + " is a domain for tests" + how
		}
	}
	if !c.onLoopback() {
		return ""
	}
	return "mail to other domains is not sent, as this server listens on loopback addresses alone" + how
}

// onLoopback tells whether nobody can reach the server but programs of this machine.
func (c *config) onLoopback() bool {
	return !slices.ContainsFunc(c.Listen, func(l string) bool {
		a, err := netip.ParseAddr(l)
		return err != nil || !a.IsLoopback()
	})
}
