package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/packetboat/packetboat/console"
	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/storage"
)

// need is how much a record is needed.
type need string

const (
	needed   need = "needed"      // mail does not arrive, or is refused elsewhere, without it
	wise     need = "recommended" // mail is safer with it, or more of it arrives
	optional need = "optional"    // for comfort
)

// record is one that a domain should have in the DNS, and what the DNS has.
type record struct {
	Name string `json:"name"` // with the last dot
	Type string `json:"type"`
	Data string `json:"data"` // as in a zone file; "": depends on what only the administrator knows
	What string `json:"what"` // what it is for
	Need need   `json:"need"`

	State verdict  `json:"state,omitempty"` // what a check found
	Found []string `json:"found,omitempty"` // what is there
	Note  string   `json:"note,omitempty"`  // what to know or to do about it

	check func(context.Context, *asker) finds
}

// zone is what domain dns prints.
type zone struct {
	Domain  string    `json:"domain"`
	Host    string    `json:"host"`
	Notes   []string  `json:"notes"` // what keeps the records from doing what they are meant for
	Checked bool      `json:"checked"`
	Records []*record `json:"records"`

	relay string // through which its mail goes out; "": directly
}

// survey is what records are made of.
type survey struct {
	config *config
	domain string
	keys   []storage.DKIMKey
	chain  []*x509.Certificate // of the server, its own first; none: not known
}

// records are all of a domain, those that are needed first.
func (s *survey) records() []*record {
	var all []*record
	all = append(all, s.arrival()...)
	all = append(all, s.sending()...)
	for _, k := range s.keys {
		r := dkimRecord(k)
		if !s.config.DKIMSign {
			r.Need = optional
		}
		all = append(all, r)
	}
	all = append(all, s.dmarc())
	all = append(all, s.secure()...)
	return append(all, s.clients()...)
}

// zone is the whole, unchecked.
func (s *survey) zone() *zone {
	z := &zone{Domain: s.domain, relay: s.relay(), Host: s.config.Hostname, Records: s.records(), Notes: []string{}}
	c := s.config
	note := func(format string, args ...any) { z.Notes = append(z.Notes, fmt.Sprintf(format, args...)) }
	if c.forItself() && len(c.PublicAddresses) == 0 {
		note("This server listens for this machine alone; for the world set listen = \"all\".")
	}
	for _, p := range []struct {
		listener string
		standard int
		why      string
	}{{"mx", 25, "other servers deliver to"}, {"https", 443, "other servers ask for the MTA-STS policy at"}} {
		switch n := c.told(p.listener); {
		case n == 0:
			note("Port %d is what %s, and ports.%s is off.", p.standard, p.why, p.listener)
		case n != p.standard:
			note("Port %d is what %s, and this server has %d: use base_port = 0, or forward the port and say so (clients.ports = \"%s=%d\").", p.standard, p.why, n, p.listener, p.standard)
		}
	}
	for _, fault := range c.enforcedInVain(s.chain) {
		note("MTA-STS is enforced, so that other servers deliver nothing: %s.", fault)
	}
	if relay := s.relay(); relay != "" {
		note("Mail of %s goes out through %s: what the SPF record needs for that (include:...), its provider says.", s.domain, relay)
	}
	if len(c.PublicAddresses) == 0 {
		note("The addresses of this machine as the world sees them are not known: set public_addresses.")
	}
	return z
}

// relay is the host through which mail of the domain goes out, "" when it goes to the servers of its recipients.
func (s *survey) relay() string {
	if r := s.config.OutboundRoutes.For("elsewhere.invalid", "postmaster@"+s.domain, ""); r != nil && !r.Direct {
		return r.Host
	}
	return ""
}

// helo is the name that other servers are told.
func (c *config) helo() string { return cmp.Or(c.OutboundName, c.Hostname) }

// arrival are the records by which mail for the domain finds this server.
func (s *survey) arrival() (all []*record) {
	c := s.config
	all = append(all, &record{Name: dns.Fqdn(s.domain), Type: "MX", Data: "10 " + dns.Fqdn(c.Hostname), Need: needed,
		What: "mail for " + s.domain + " goes to this server", check: checkMX})
	where := ""
	if !strings.HasSuffix(c.Hostname, "."+s.domain) && c.Hostname != s.domain {
		where = " (in the zone of that name, once for all domains)"
	}
	if len(c.PublicAddresses) == 0 {
		all = append(all, &record{Name: dns.Fqdn(c.Hostname), Type: "A", Need: needed, What: "where this server is, with AAAA if it has IPv6" + where, check: checkHost})
		return append(all, &record{Name: "", Type: "PTR", Need: needed, What: "the name of each of its addresses, set by whom the address is from: " + dns.Fqdn(c.helo()), check: checkReverse})
	}
	for _, a := range c.PublicAddresses {
		all = append(all, &record{Name: dns.Fqdn(c.Hostname), Type: addressType(a), Data: a.String(), Need: needed, What: "where this server is" + where, check: checkAddress(c.Hostname, a)})
		if c.helo() != c.Hostname {
			all = append(all, &record{Name: dns.Fqdn(c.helo()), Type: addressType(a), Data: a.String(), Need: needed, What: "the name under which it sends (outbound.hostname)", check: checkAddress(c.helo(), a)})
		}
	}
	for _, a := range c.PublicAddresses {
		reverse, err := dns.ReverseAddr(a.String())
		if err != nil {
			continue
		}
		all = append(all, &record{Name: reverse, Type: "PTR", Data: dns.Fqdn(c.helo()), Need: needed,
			What: "the name of its address; set by whom the address is from", check: checkPTR(a)})
	}
	return all
}

func addressType(a netip.Addr) string {
	if a.Is4() {
		return "A"
	}
	return "AAAA"
}

// sending are the records that say who may send mail of the domain: SPF (RFC 7208).
func (s *survey) sending() (all []*record) {
	c := s.config
	var from strings.Builder
	for _, a := range c.PublicAddresses {
		kind := " ip4:"
		if a.Is6() {
			kind = " ip6:"
		}
		from.WriteString(kind + a.String())
	}
	if len(c.PublicAddresses) == 0 {
		from.WriteString(" a:" + c.Hostname)
	}
	all = append(all, &record{Name: dns.Fqdn(s.domain), Type: "TXT", Data: quoted("v=spf1" + from.String() + " -all"), Need: needed,
		What: "SPF: only this server sends mail of " + s.domain + " (others that do must be added)", check: checkSPF(s.domain, false)})
	if c.helo() != s.domain && s.relay() == "" {
		// RFC 7208 section 2.3: the name in HELO is checked too; for bounces, which have no sender, it is all there is.
		all = append(all, &record{Name: dns.Fqdn(c.helo()), Type: "TXT", Data: quoted("v=spf1 a -all"), Need: wise,
			What: "SPF of this server's own name, by which its bounces are judged", check: checkSPF(c.helo(), true)})
	}
	return all
}

// dkimRecord is the one of a key.
func dkimRecord(k storage.DKIMKey) *record {
	r := &record{Name: dns.Fqdn(k.Name()), Type: "TXT", Data: quoted(k.Record()), Need: needed, check: checkDKIM(k)}
	switch k.State {
	case storage.DKIMNext:
		r.Need, r.What = wise, "DKIM: the key that will sign next ("+k.Algorithm+")"
	case storage.DKIMRetired:
		r.Need, r.What = optional, "DKIM: a key that signed until "+k.Changed.Format("2 January 2006")+" ("+k.Algorithm+"); may go "+k.Changed.Add(storage.DKIMRetirement).Format("on 2 January 2006")
	default:
		r.What = "DKIM: the key that signs (" + k.Algorithm + ")"
		if k.Algorithm == storage.DKIMEd25519 {
			r.Need = wise // those who cannot verify it have the RSA signature
		}
	}
	return r
}

// dmarc is the policy for mail that pretends to be of the domain (RFC 7489).
func (s *survey) dmarc() *record {
	return &record{Name: "_dmarc." + dns.Fqdn(s.domain), Type: "TXT", Data: quoted("v=DMARC1; p=" + s.config.DMARCPolicy + "; rua=mailto:postmaster@" + s.domain), Need: needed,
		What: "DMARC: what others are to do with mail that has neither of these; they send reports to the address", check: checkDMARC(s.domain)}
}

// secure are the records by which other servers insist on TLS.
func (s *survey) secure() (all []*record) {
	c := s.config
	p := c.policy()
	n := wise
	if p.Mode == console.None {
		n = optional
	}
	all = append(all, &record{Name: "_mta-sts." + dns.Fqdn(s.domain), Type: "TXT", Data: quoted("v=STSv1; id=" + p.ID()), Need: n,
		What: "MTA-STS: there is a policy (mode " + string(p.Mode) + "); the id changes with it", check: checkSTS(p.ID())})
	all = append(all, &record{Name: "mta-sts." + dns.Fqdn(s.domain), Type: "CNAME", Data: dns.Fqdn(c.Hostname), Need: n,
		What: "MTA-STS: where the policy is, by HTTPS with a certificate of that name", check: checkAlias("mta-sts." + s.domain)})
	all = append(all, &record{Name: "_smtp._tls." + dns.Fqdn(s.domain), Type: "TXT", Data: quoted("v=TLSRPTv1; rua=mailto:postmaster@" + s.domain), Need: wise,
		What: "TLS reports: others say when TLS fails", check: checkTLSRPT(s.domain)})
	if len(s.chain) > 0 {
		all = append(all, &record{Name: "_25._tcp." + dns.Fqdn(c.Hostname), Type: "TLSA", Data: outbound.TLSA(s.chain[0]), Need: optional,
			What: "DANE: this server's key. Only in a zone that is signed with DNSSEC; must be changed before the key is", check: checkTLSA(s.chain)})
	}
	return all
}

// clients are the records by which mail programs set themselves up.
func (s *survey) clients() (all []*record) {
	c := s.config
	host := cmp.Or(c.ClientsHost, c.Hostname)
	for _, v := range console.Hints(host, c.offered(), c.told("https")) {
		target := "."
		what := "set-up: " + strings.TrimPrefix(v.Service, "_") + " is not offered"
		if v.Target != "." {
			target = dns.Fqdn(v.Target)
			what = "set-up: " + strings.TrimPrefix(v.Service, "_")
		}
		all = append(all, &record{Name: v.Service + "._tcp." + dns.Fqdn(s.domain), Type: "SRV", Data: fmt.Sprintf("%d %d %d %s", v.Priority, v.Weight, v.Port, target), Need: optional,
			What: what, check: checkSRV(v)})
	}
	for _, v := range []struct{ name, who string }{{"autoconfig", "Thunderbird and others ask"}, {"autodiscover", "Outlook asks"}} {
		all = append(all, &record{Name: v.name + "." + dns.Fqdn(s.domain), Type: "CNAME", Data: dns.Fqdn(c.Hostname), Need: optional,
			What: "set-up: where " + v.who, check: checkAlias(v.name + "." + s.domain)})
	}
	return all
}

// quoted is a text as a TXT record has it: strings of at most 255 bytes (RFC 1035 section 3.3).
func quoted(text string) string {
	var parts []string
	for len(text) > 255 {
		parts, text = append(parts, text[:255]), text[255:]
	}
	parts = append(parts, text)
	for i, p := range parts {
		parts[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(p) + `"`
	}
	return strings.Join(parts, " ")
}

// line is the record in a zone file.
func (r *record) line() string {
	return fmt.Sprintf("%s 3600 IN %s %s", r.Name, r.Type, r.Data)
}
