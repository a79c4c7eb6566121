package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// trustConfig is what the configuration says about signing mail and securing the way to other servers.
type trustConfig struct {
	DKIMSign   bool
	DKIMRotate time.Duration // 0: never
	DKIMExpire time.Duration // 0: signatures do not
	ARCSeal    bool

	OutboundMTASTS     bool
	OutboundMTASTSPort int
	OutboundDANE       bool
	OutboundTLSReports bool

	ReportsFrom    string
	ReportsPrivate bool
}

var trustKeys = []key{
	{"dkim.sign", "on", "Sign what accounts send and what the server writes itself (DKIM), with an RSA and an Ed25519 key of the author's domain: on or off. The keys are made with the domain; packetboat domain dns prints the records to publish.", onOff(func(c *config) *bool { return &c.DKIMSign })},
	{"dkim.rotate", "off", "Replace the keys when they are this old, e.g. 90d or 2160h: new ones are made, packetboat domain dns prints their records, and they sign when the DNS has shown them for an hour; the old ones stay published for a week. Off: only packetboat domain dkim rotate does so.", func(c *config, v string) error {
		if v == "off" {
			c.DKIMRotate = 0
			return nil
		}
		d, err := days(v)
		if err == nil && d < 7*24*time.Hour {
			err = fmt.Errorf("want off, or at least 7d")
		}
		c.DKIMRotate = d
		return err
	}},
	{"dkim.expire", "off", "How long signatures hold, e.g. 14d (at least 7d, since mail may wait in queues for days), or off: for as long as the key is published.", func(c *config, v string) error {
		if v == "off" {
			c.DKIMExpire = 0
			return nil
		}
		d, err := days(v)
		if err == nil && d < 7*24*time.Hour {
			err = fmt.Errorf("want off, or at least 7d")
		}
		c.DKIMExpire = d
		return err
	}},
	{"arc.seal", "on", "Seal what is forwarded (ARC), so that who receives it can see what was found out when it came here: on or off.", onOff(func(c *config) *bool { return &c.ARCSeal })},

	{"outbound.mta_sts", "on", "Follow the MTA-STS policies of other domains: on or off.", onOff(func(c *config) *bool { return &c.OutboundMTASTS })},
	{"outbound.mta_sts_port", "443", "The port where these policies are. Other values are for tests.", func(c *config, v string) error { return intInto(&c.OutboundMTASTSPort, v, 1, 65535) }},
	{"outbound.dane", "on", "Check the certificates of other servers by their TLSA records (DANE), where the resolver validates (dns.trust_ad): on or off.", onOff(func(c *config) *bool { return &c.OutboundDANE })},
	{"outbound.tls_reports", "on", "Count how TLS with other domains' servers went, and send daily reports to those that ask for them (TLSRPT): on or off.", onOff(func(c *config) *bool { return &c.OutboundTLSReports })},

	{"reports.from", "", "The address that reports to other domains come from (about TLS, and of DMARC), of a domain of ours, e.g. dmarc@example.org. Empty: postmaster of the default domain.", func(c *config, v string) error {
		if c.ReportsFrom = v; v == "" {
			return nil
		}
		if _, _, err := storage.ParseAddress(v); err != nil || strings.ContainsAny(v, " <>,\"\\") {
			return fmt.Errorf("%q is no address", v)
		}
		return nil
	}},
	{"reports.private_addresses", "off", "Post reports by HTTPS to sites at private and loopback addresses too, which another's record may name: on or off. For networks of your own.", onOff(func(c *config) *bool { return &c.ReportsPrivate })},
}

func onOff(field func(*config) *bool) func(*config, string) error {
	return func(c *config, v string) error { return boolInto(field(c), v) }
}

// days reads a time that may be in days.
func days(v string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(v, "d"); ok {
		i, err := strconv.Atoi(n)
		if err != nil || i < 1 || i > 3650 {
			return 0, fmt.Errorf("want a time such as 90d or 2160h")
		}
		return time.Duration(i) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("want a time such as 90d or 2160h")
	}
	return d, nil
}
