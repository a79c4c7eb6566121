package outbound

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"
	"golang.org/x/net/idna"
)

const (
	maxCNAMEs    = 10
	maxHosts     = 12 // of a domain that are looked at, the best ones
	maxAddresses = 8  // of one host
	maxTries     = 8  // connections that are tried for one message at a time
)

// Family says which addresses are dialled.
type Family string

// The families.
const (
	IPv6First Family = "prefer-ipv6" // both, IPv6 before IPv4 of each host
	IPv4First Family = "prefer-ipv4"
	IPv6Only  Family = "ipv6"
	IPv4Only  Family = "ipv4"
)

// place is a host that mail for a domain may be handed to.
type place struct {
	Host
	preference uint16
	addresses  []netip.Addr
}

// plan is where mail for a domain goes, in the order in which it is tried.
type plan struct {
	hop    Hop
	places []place
}

// finder asks the DNS where mail goes.
type finder struct {
	resolver dns.Resolver
	family   Family
	port     int
	own      func(host string, addr netip.AddrPort) bool // is that us? May be nil.

	noLoopback bool
}

// usable tells whether an address that the DNS told can be a server of others.
func (f *finder) usable(a netip.Addr) bool {
	return !a.IsUnspecified() && !a.IsMulticast() && !(f.noLoopback && a.IsLoopback())
}

// noDNS is a reason to wait: nobody could say.
func noDNS(name string, err error) *failure {
	return &failure{status: "4.4.3", text: fmt.Sprintf("looking up %s: %v", name, printable(err.Error())), stage: atConnect, err: err}
}

// find looks up the hosts of a domain (RFC 5321 section 5.1). The error is a *failure, permanent only when the DNS said what makes it so.
func (f *finder) find(ctx context.Context, domain string) (*plan, error) {
	if a, ok := literal(domain); ok {
		if !f.usable(a) {
			return nil, &failure{status: "5.1.2", permanent: true, text: "no mail is sent to " + domain, stage: atConnect}
		}
		return f.checked(&plan{hop: Hop{Domain: domain}, places: []place{{Host: Host{Name: a.String()}, addresses: []netip.Addr{a}}}})
	}
	ascii, err := idna.Lookup.ToASCII(strings.TrimSuffix(domain, "."))
	if err != nil {
		ascii = strings.ToLower(domain) // underscores and the like: the DNS knows whether it exists
	}
	p := &plan{hop: Hop{Domain: ascii, Secure: true, ExpandedSecure: true}}
	name, err := f.alias(ctx, p)
	if err != nil {
		return nil, err
	}
	records, result, err := f.resolver.LookupMX(ctx, name+".")
	p.hop.ExpandedSecure = p.hop.ExpandedSecure && result.Authentic
	if name == ascii {
		p.hop.Secure = p.hop.Secure && result.Authentic
	}
	switch {
	case err != nil && len(records) == 0 && !isNotFound(err):
		return nil, noDNS("MX of "+name, err)
	case len(records) == 0:
		// RFC 5321 section 5.1: without MX records the domain is its own host.
		p.places = []place{{Host: Host{Name: name}}}
	case len(records) == 1 && strings.TrimSuffix(records[0].Host, ".") == "":
		// RFC 7505 section 3.
		return nil, &failure{status: "5.1.10", permanent: true, text: "the domain " + domain + " takes no mail (null MX)", stage: atConnect}
	default:
		p.hop.HaveMX = true
		p.places = order(records)
	}
	if err := f.addresses(ctx, p); err != nil {
		return nil, err
	}
	return f.checked(p)
}

// alias follows the CNAMEs of a domain (RFC 5321 section 5.1).
func (f *finder) alias(ctx context.Context, p *plan) (string, error) {
	name := p.hop.Domain
	for i := 0; ; i++ {
		to, result, err := f.resolver.LookupCNAME(ctx, name+".")
		p.hop.ExpandedSecure = p.hop.ExpandedSecure && result.Authentic
		if i == 0 {
			p.hop.Secure = result.Authentic
		}
		if err != nil && !isNotFound(err) {
			return "", noDNS(name, err)
		}
		to = strings.ToLower(strings.TrimSuffix(to, "."))
		if err != nil || to == "" || to == name {
			return name, nil
		}
		if i == maxCNAMEs {
			return "", &failure{status: "4.4.6", text: fmt.Sprintf("%s has more than %d aliases in a row", p.hop.Domain, maxCNAMEs), stage: atConnect}
		}
		name, p.hop.Expanded = to, to
	}
}

// order sorts MX records by preference, those of one preference by chance (RFC 5321 section 5.1), and drops what is no name.
func order(records []*net.MX) []place {
	all := make([]place, 0, len(records))
	for _, r := range records {
		host := strings.ToLower(strings.TrimSuffix(r.Host, "."))
		if host == "" || slices.ContainsFunc(all, func(p place) bool { return p.Name == host && p.preference <= r.Pref }) {
			continue
		}
		all = append(all, place{Host: Host{Name: host}, preference: r.Pref})
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(a, b place) int { return cmp.Compare(a.preference, b.preference) })
	return all[:min(len(all), maxHosts)]
}

// addresses looks up those of all places. A host that has none is left out.
func (f *finder) addresses(ctx context.Context, p *plan) error {
	var unknown error // of a host of which nobody could say
	kept := p.places[:0]
	for _, h := range p.places {
		err := f.host(ctx, &h, p.hop.ExpandedSecure)
		h.addresses = slices.DeleteFunc(h.addresses, func(a netip.Addr) bool { return !f.usable(a) })
		switch {
		case err == nil && len(h.addresses) == 0: // as if it had none
		case err == nil:
			kept = append(kept, h)
		case !isNotFound(err):
			unknown = noDNS("addresses of "+h.Name, err)
		}
	}
	p.places = kept
	switch {
	case len(kept) > 0:
		return nil
	case unknown != nil:
		return unknown
	case p.hop.HaveMX:
		return &failure{status: "5.4.4", permanent: true, text: "no host of the domain " + p.hop.Domain + " has an address", stage: atConnect}
	}
	// RFC 5321 section 5.1: a domain that the DNS does not know is an error that will stay one.
	return &failure{status: "5.1.2", permanent: true, text: "the domain " + p.hop.Domain + " does not exist, or takes no mail", stage: atConnect}
}

// host looks up the addresses of one. With secure, DANE may hold, and it matters where its CNAMEs lead (RFC 7672 section 2.2.2).
func (f *finder) host(ctx context.Context, h *place, secure bool) error {
	if a, ok := literal(h.Name); ok { // some write addresses where names belong
		h.addresses = []netip.Addr{a}
		return nil
	}
	h.Secure, h.ExpandedSecure = secure, secure
	if secure {
		if err := f.expand(ctx, h); err != nil {
			return err
		}
	}
	network := "ip"
	switch f.family {
	case IPv4Only:
		network = "ip4"
	case IPv6Only:
		network = "ip6"
	}
	ips, result, err := f.resolver.LookupIP(ctx, network, h.Name+".")
	h.Secure, h.ExpandedSecure = h.Secure && result.Authentic, h.ExpandedSecure && result.Authentic
	if len(ips) == 0 {
		if err == nil {
			err = &adns.DNSError{Err: "no addresses", Name: h.Name, IsNotFound: true}
		}
		return err
	}
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok {
			h.addresses = append(h.addresses, a.Unmap())
		}
	}
	h.addresses = f.mixed(h.addresses)
	return nil
}

func (f *finder) expand(ctx context.Context, h *place) error {
	name := h.Name
	for i := range maxCNAMEs {
		to, result, err := f.resolver.LookupCNAME(ctx, name+".")
		h.ExpandedSecure = h.ExpandedSecure && result.Authentic
		if i == 0 {
			h.Secure = result.Authentic
		}
		if err != nil && !isNotFound(err) {
			return err
		}
		to = strings.ToLower(strings.TrimSuffix(to, "."))
		if err != nil || to == "" || to == name {
			return nil
		}
		name, h.Expanded = to, to
	}
	return &adns.DNSError{Err: "too many aliases", Name: h.Name, IsTemporary: true}
}

// mixed puts addresses in the order in which they are tried: the families in turn, so that one which leads nowhere costs one try.
func (f *finder) mixed(all []netip.Addr) []netip.Addr {
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	var first, second []netip.Addr
	for _, a := range all {
		if a.Is4() == (f.family == IPv4First || f.family == IPv4Only) {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	out := make([]netip.Addr, 0, len(all))
	for i := range max(len(first), len(second)) {
		if i < len(first) {
			out = append(out, first[i])
		}
		if i < len(second) {
			out = append(out, second[i])
		}
	}
	return out[:min(len(out), maxAddresses)]
}

// checked takes out what leads back here.
//
// RFC 5321 section 5.1: if we are among the hosts, those of our preference and worse are not for us to use; if none is
// left, nobody takes the mail.
func (f *finder) checked(p *plan) (*plan, error) {
	if f.own == nil {
		return p, nil
	}
	for _, h := range p.places {
		mine := slices.ContainsFunc(h.addresses, func(a netip.Addr) bool {
			return f.own(h.Name, netip.AddrPortFrom(a, uint16(f.port)))
		})
		if mine {
			p.places = slices.DeleteFunc(p.places, func(o place) bool { return o.preference >= h.preference })
			break
		}
	}
	if len(p.places) == 0 {
		return nil, &failure{status: "5.4.6", permanent: true, text: "mail for " + p.hop.Domain + " leads back to this server", stage: atConnect}
	}
	return p, nil
}

// literal reads an address literal (RFC 5321 section 4.1.3), or an address.
func literal(s string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		if s, ok = strings.CutSuffix(inner, "]"); !ok {
			return netip.Addr{}, false
		}
		if len(s) > 5 && strings.EqualFold(s[:5], "ipv6:") {
			s = s[5:]
		}
	}
	a, err := netip.ParseAddr(s)
	return a.Unmap(), err == nil && a.Zone() == ""
}

// isNotFound tells whether the DNS said that there is no such thing.
func isNotFound(err error) bool {
	var d *adns.DNSError
	if errors.As(err, &d) {
		return d.IsNotFound
	}
	return dns.IsNotFound(err)
}
