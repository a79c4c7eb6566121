package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/packetboat/packetboat/smtp"
)

// receiveConfig is what the configuration says about judging mail of other servers.
type receiveConfig struct {
	ReceiveTrusted []netip.Prefix
	JudgeLMTP      bool
	FirstDelay     time.Duration

	Verify      bool
	VerifyDMARC string
	VerifySPF   string

	VerifyDMARCReports bool
	Sealers            []string

	Weights smtp.Weights
	Lists   []listConfig

	Greylist smtp.GreylistOptions
	Rates    smtp.RateOptions

	Rspamd           smtp.RspamdOptions
	Milters          []string
	MilterTimeout    time.Duration
	MilterClosed     bool
	FilterSubmission bool
}

// listConfig is a list of addresses in the DNS.
type listConfig struct {
	Zone  string
	Score float64
}

var receiveKeys = []key{
	{"receive.trusted", "", "Networks of relays of your own, comma-separated: what they bring to the MX port is not judged, and no rate applies. This machine is not among them unless named.", func(c *config, v string) error {
		c.ReceiveTrusted = nil
		for _, s := range list(v) {
			p, err := network(s)
			if err != nil {
				return err
			}
			c.ReceiveTrusted = append(c.ReceiveTrusted, p)
		}
		return nil
	}},
	{"receive.lmtp", "off", "Judge what comes by LMTP too: on or off. The MTA in front has judged it, as a rule.", func(c *config, v string) error { return boolInto(&c.JudgeLMTP, v) }},
	{"receive.first_delay", "0", "How long the first message of a sender for an account waits before it is taken (up to 2m), so that lists of bad senders can learn of it; 0: not at all.", orZero(func(c *config) *time.Duration { return &c.FirstDelay })},

	{"verify.enabled", "on", "Verify whose mail of other servers is (SPF, DKIM, DMARC, ARC, the peer's name) and say so in Authentication-Results: on or off.", func(c *config, v string) error { return boolInto(&c.Verify, v) }},
	{"verify.dmarc", "enforce", "What is done with mail that the author's domain disowns: enforce (as it asks: reject, or Junk), quarantine (Junk for both), tag or off (tell only).", choice(func(c *config) *string { return &c.VerifyDMARC }, "enforce", "quarantine", "tag", "off")},
	{"verify.dmarc_reports", "on", "Count what is received in the name of domains whose DMARC records ask for reports (rua=), and send them one a day: on or off. Nothing is counted while no mail leaves (outbound.enabled).", onOff(func(c *config) *bool { return &c.VerifyDMARCReports })},
	{"verify.spf", "score", "What SPF's fail means where DMARC does not pass: score (it counts: score.spf_fail), reject (550), tag or off (tell only). Forwarded mail fails SPF.", choice(func(c *config) *string { return &c.VerifySPF }, "score", "reject", "tag", "off")},
	{"verify.arc_sealers", "", "Domains, comma-separated, whose ARC chains are believed where DMARC fails: mailing lists and forwarders that say it passed when they got the message.", func(c *config, v string) error {
		c.Sealers = list(v)
		return nil
	}},

	{"score.junk", "5", "A message against which so much counts goes to Junk; 0: none does.", number(func(c *config) *float64 { return &c.Weights.Junk })},
	{"score.reject", "12", "And one with so much is refused; 0: none is.", number(func(c *config) *float64 { return &c.Weights.Refuse })},
	{"score.helo", "1", "What a HELO counts that is no full name, another's address, or ours. It never refuses alone (RFC 5321 section 4.1.4).", number(func(c *config) *float64 { return &c.Weights.Helo })},
	{"score.iprev", "1", "What a peer counts whose address has no name that leads back to it.", number(func(c *config) *float64 { return &c.Weights.IPRev })},
	{"score.spf_fail", "3", "What SPF's fail counts.", number(func(c *config) *float64 { return &c.Weights.SPFFail })},
	{"score.spf_softfail", "1", "What SPF's softfail counts.", number(func(c *config) *float64 { return &c.Weights.SPFSoftFail })},
	{"score.dmarc_fail", "2", "What DMARC's fail counts where the domain asks for no more than to be told.", number(func(c *config) *float64 { return &c.Weights.DMARCFail })},
	{"score.dnsbl", "", "Lists of addresses in the DNS with what they count, comma-separated: zen.spamhaus.org=5, bl.spamcop.net=2. Below zero speaks for the peer: list.dnswl.org=-3 (and exempts from greylisting). At most 20; mind their terms.", func(c *config, v string) error {
		return listsInto(&c.Lists, v)
	}},

	{"greylist.enabled", "off", "Greylisting: mail of an unknown network, sender and recipient must come twice, unless SPF, DKIM or a good list speaks for it: on or off.", func(c *config, v string) error { return boolInto(&c.Greylist.On, v) }},
	{"greylist.delay", "1m", "How long the second attempt must be away from the first.", duration(func(c *config) *time.Duration { return &c.Greylist.Delay })},
	{"greylist.window", "48h", "And how long it may be.", duration(func(c *config) *time.Duration { return &c.Greylist.Window })},
	{"greylist.keep", "864h", "How long what came twice is known.", duration(func(c *config) *time.Duration { return &c.Greylist.Keep })},
	{"greylist.trust", "5", "A network from which so much came twice is not asked any more; 0: it always is.", func(c *config, v string) error {
		if err := intInto(&c.Greylist.Trust, v, 0, 1000000); err != nil {
			return err
		}
		if c.Greylist.Trust == 0 {
			c.Greylist.Trust = -1
		}
		return nil
	}},

	{"rate.connections", "0", "Connections a minute to the MX port from one address (IPv6: one /64); as many may come at once; 0 means no limit (for each).", limit(func(c *config) *int { return &c.Rates.Connections.Address })},
	{"rate.messages", "0", "Messages a minute from one address.", limit(func(c *config) *int { return &c.Rates.Messages.Address })},
	{"rate.recipients", "0", "Recipients a minute from one address.", limit(func(c *config) *int { return &c.Rates.Recipients.Address })},
	{"rate.unknown", "200", "Unknown recipients a minute from one address; beyond it the connection is closed, and others of it are not taken for a while.", limit(func(c *config) *int { return &c.Rates.Unknown.Address })},
	{"rate.unknown_session", "100", "Recipients of one connection that are unknown, or refused for another reason that lasts (relaying).", limit(func(c *config) *int { return &c.Rates.UnknownSession })},
	{"rate.network_connections", "0", "Connections a minute from one network (IPv4: a /24, IPv6: a /48).", limit(func(c *config) *int { return &c.Rates.Connections.Network })},
	{"rate.network_messages", "0", "Messages a minute from one network.", limit(func(c *config) *int { return &c.Rates.Messages.Network })},
	{"rate.network_recipients", "0", "Recipients a minute from one network.", limit(func(c *config) *int { return &c.Rates.Recipients.Network })},
	{"rate.network_unknown", "600", "Unknown recipients a minute from one network.", limit(func(c *config) *int { return &c.Rates.Unknown.Network })},

	{"filter.rspamd.url", "", "rspamd's normal worker, which is asked about each message: http://127.0.0.1:11333 or unix:/run/rspamd/worker.sock. Empty: not asked.", func(c *config, v string) error {
		c.Rspamd.URL = v
		if v == "" {
			return nil
		}
		_, err := smtp.NewRspamd(c.Rspamd)
		return err
	}},
	{"filter.rspamd.password", "", "Its password, where it wants one.", text(func(c *config) *string { return &c.Rspamd.Password })},
	{"filter.rspamd.timeout", "10s", "How long it may take.", duration(func(c *config) *time.Duration { return &c.Rspamd.Timeout })},
	{"filter.rspamd.fail", "open", "A message about which it does not answer: open (taken) or closed (451).", closed(func(c *config) *bool { return &c.Rspamd.Closed })},
	{"filter.milters", "", "Milters that are asked about each message, in this order, comma-separated: unix:/run/opendkim.sock, tcp:127.0.0.1:8891. Behind rspamd.", func(c *config, v string) error {
		c.Milters = list(v)
		for _, a := range c.Milters {
			if _, err := smtp.NewMilter(smtp.MilterOptions{Address: a}); err != nil {
				return err
			}
		}
		if len(c.Milters) > 10 {
			return fmt.Errorf("want at most 10")
		}
		return nil
	}},
	{"filter.milter_timeout", "10s", "How long each answer of a milter may take.", duration(func(c *config) *time.Duration { return &c.MilterTimeout })},
	{"filter.milter_fail", "open", "A message about which a milter does not answer: open (taken) or closed (451).", closed(func(c *config) *bool { return &c.MilterClosed })},
	{"filter.submission", "off", "Ask rspamd and the milters about what our own accounts send, too: on or off.", func(c *config, v string) error { return boolInto(&c.FilterSubmission, v) }},
}

// number reads a number that may have a point.
func number(p func(*config) *float64) func(*config, string) error {
	return func(c *config, v string) error {
		f, err := strconv.ParseFloat(v, 64)
		if err != nil || !(f >= 0 && f <= 1000) { // NaN is none
			return fmt.Errorf("want a number from 0 to 1000")
		}
		*p(c) = f
		return nil
	}
}

// orZero reads a duration, of which 0 means none.
func orZero(p func(*config) *time.Duration) func(*config, string) error {
	return func(c *config, v string) error {
		if v == "0" {
			*p(c) = 0
			return nil
		}
		return duration(p)(c, v)
	}
}

// closed reads open or closed.
func closed(p func(*config) *bool) func(*config, string) error {
	return func(c *config, v string) error {
		*p(c) = v == "closed"
		if v != "open" && v != "closed" {
			return fmt.Errorf("want open or closed")
		}
		return nil
	}
}

// listsInto reads ZONE=SCORE pairs.
func listsInto(into *[]listConfig, v string) error {
	*into = nil
	for _, s := range list(v) {
		zone, number, ok := strings.Cut(s, "=")
		if !ok {
			number = "5"
		}
		zone = strings.ToLower(strings.Trim(strings.TrimSpace(zone), "."))
		score, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || !(score >= -1000 && score <= 1000) || !strings.Contains(zone, ".") || strings.ContainsAny(zone, " /:@") {
			return fmt.Errorf("%q is no list; give one such as zen.spamhaus.org=5", s)
		}
		if slices.ContainsFunc(*into, func(l listConfig) bool { return l.Zone == zone }) {
			return fmt.Errorf("%s is there twice", zone)
		}
		*into = append(*into, listConfig{zone, score})
	}
	if len(*into) > 20 {
		return fmt.Errorf("want at most 20")
	}
	return nil
}
