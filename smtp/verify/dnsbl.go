package verify

import (
	"context"
	"net/netip"
	"strings"
	"sync"

	"github.com/mjl-/mox/dns"
)

// List is a block list (Score above zero) or an allow list (below zero) in the DNS (RFC 5782).
type List struct {
	Zone  string  // "zen.spamhaus.org"
	Score float64 // of an address that is on it
	// Answers that count; empty: all in 127.0.0.0/8. Lists say by them why an address is there.
	Answers []netip.Prefix
}

var (
	listed    = netip.MustParsePrefix("127.0.0.0/8")
	listError = netip.MustParsePrefix("127.255.255.0/24") // "you may not ask", "you ask too much"
)

// lists asks all lists side by side. Addresses of private networks are on none.
func (v *Verifier) lists(ctx context.Context, remote netip.Addr) []Listing {
	if len(v.options.DNSBL) == 0 || !remote.IsValid() || remote.IsPrivate() || remote.IsLinkLocalUnicast() {
		return nil
	}
	name := reversed(remote)
	all := make([]*Listing, len(v.options.DNSBL))
	var work sync.WaitGroup
	for i, l := range v.options.DNSBL {
		work.Go(func() { all[i] = v.list(ctx, l, name+"."+strings.TrimSuffix(l.Zone, ".")+".") })
	}
	work.Wait()
	var said []Listing
	for _, l := range all {
		if l != nil {
			said = append(said, *l)
		}
	}
	return said
}

// list asks one list; nil: the address is not on it.
func (v *Verifier) list(ctx context.Context, l List, name string) *Listing {
	ips, _, err := v.resolver.LookupIP(ctx, "ip4", name)
	if dns.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return &Listing{Zone: l.Zone, Error: "the DNS did not answer"}
	}
	var counted []string
	foreign := false
	for _, ip := range ips {
		a, _ := netip.AddrFromSlice(ip)
		switch a = a.Unmap(); {
		// RFC 5782 section 2.1: entries are in 127.0.0.0/8; 127.0.0.1 is none. Others are of a resolver or a former list that answers everything.
		case !listed.Contains(a) || listError.Contains(a) || a == netip.AddrFrom4([4]byte{127, 0, 0, 1}):
			foreign = true
		case len(l.Answers) == 0 || within(l.Answers, a):
			if len(counted) < 8 {
				counted = append(counted, a.String())
			}
		}
	}
	if foreign {
		return &Listing{Zone: l.Zone, Error: "the list refuses to answer, or is none"}
	}
	if len(counted) == 0 {
		return nil
	}
	hit := &Listing{Zone: l.Zone, Answers: strings.Join(counted, " "), Score: l.Score}
	if l.Score > 0 {
		if texts, _, err := v.resolver.LookupTXT(ctx, name); err == nil {
			hit.Text = printable(strings.Join(texts, " "), 400)
		}
	}
	return hit
}

func within(all []netip.Prefix, a netip.Addr) bool {
	for _, p := range all {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// reversed is an address as lists have it: octets, or nibbles, the last first (RFC 5782 sections 2.1 and 2.4).
func reversed(a netip.Addr) string {
	labels := strings.Split(dotted(a), ".")
	for i, j := 0, len(labels)-1; i < j; i, j = i+1, j-1 {
		labels[i], labels[j] = labels[j], labels[i]
	}
	return strings.Join(labels, ".")
}

// dotted is an address as SPF has it in %{i}: octets, or nibbles, with dots between (RFC 7208 section 7.4).
func dotted(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	const hex = "0123456789abcdef"
	b := make([]byte, 0, 64)
	for _, c := range a.As16() {
		b = append(b, hex[c>>4], '.', hex[c&15], '.')
	}
	return string(b[:len(b)-1])
}

// printable is a text of others without what could do harm where it is shown: printable ASCII, one line, up to max octets.
func printable(s string, max int) string {
	b := make([]byte, 0, min(len(s), max))
	for i := 0; i < len(s) && len(b) < max; i++ {
		c := s[i]
		if c < ' ' || c > '~' {
			c = '?'
		}
		b = append(b, c)
	}
	return string(b)
}
