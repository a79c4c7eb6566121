package resolve

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"

	"github.com/miekg/dns"
	"github.com/mjl-/adns"
)

// LookupPort gives the number of a service, from this machine's table alone.
func (r *Resolver) LookupPort(ctx context.Context, network, service string) (int, error) {
	return net.DefaultResolver.LookupPort(ctx, network, service)
}

// LookupAddr gives the names of an address, absolute, with their last dots. Names that no host can have are left out.
func (r *Resolver) LookupAddr(ctx context.Context, addr string) ([]string, adns.Result, error) {
	name, err := dns.ReverseAddr(addr)
	if err != nil {
		return nil, adns.Result{}, &adns.DNSError{Err: "not an IP address", Name: addr, IsNotFound: true}
	}
	a, result, err := r.lookup(ctx, name, dns.TypePTR)
	if err != nil {
		return nil, result, err
	}
	var names []string
	for _, rr := range a.records {
		if p, ok := rr.(*dns.PTR); ok && p.Ptr != "." && hostName(p.Ptr) {
			names = append(names, p.Ptr)
		}
	}
	if len(names) == 0 {
		return nil, result, unusable(a, addr, true)
	}
	return names, result, nil
}

// LookupCNAME gives the target of the CNAME at host, one step of a chain that may be longer; where there is none the error says
// IsNotFound.
func (r *Resolver) LookupCNAME(ctx context.Context, host string) (string, adns.Result, error) {
	a, result, err := r.lookup(ctx, host, dns.TypeCNAME)
	if err != nil {
		return "", result, err
	}
	if c, ok := a.records[0].(*dns.CNAME); ok && hostName(c.Target) {
		return c.Target, result, nil
	}
	return "", result, unusable(a, host, false)
}

// LookupHost gives the addresses of a host as text.
func (r *Resolver) LookupHost(ctx context.Context, host string) ([]string, adns.Result, error) {
	ips, result, err := r.LookupIP(ctx, "ip", host)
	all := make([]string, len(ips))
	for i, ip := range ips {
		all[i] = ip.String()
	}
	return all, result, err
}

// LookupIPAddr gives the addresses of a host.
func (r *Resolver) LookupIPAddr(ctx context.Context, host string) ([]net.IPAddr, adns.Result, error) {
	ips, result, err := r.LookupIP(ctx, "ip", host)
	all := make([]net.IPAddr, len(ips))
	for i, ip := range ips {
		all[i] = net.IPAddr{IP: ip}
	}
	return all, result, err
}

// LookupIP gives the addresses of a host: network is ip, ip4 or ip6. With ip both families are asked at a time; name servers that fail for AAAA alone
// are met often, so that one family is enough. An address stands for itself. The result is authentic when all answers that came are.
func (r *Resolver) LookupIP(ctx context.Context, network, host string) ([]net.IP, adns.Result, error) {
	if ip := net.ParseIP(host); ip != nil {
		return []net.IP{ip}, adns.Result{}, nil
	}
	switch network {
	case "ip4":
		return r.family(ctx, host, dns.TypeA)
	case "ip6":
		return r.family(ctx, host, dns.TypeAAAA)
	case "ip":
	default:
		return nil, adns.Result{}, fmt.Errorf("looking up %s: unknown network %q", host, network)
	}
	type outcome struct {
		ips    []net.IP
		result adns.Result
		err    error
	}
	second := make(chan outcome, 1)
	go func() {
		ips, result, err := r.family(ctx, host, dns.TypeAAAA)
		second <- outcome{ips, result, err}
	}()
	ips, result, err := r.family(ctx, host, dns.TypeA)
	six := <-second
	failed4, failed6 := err != nil && !notFound(err), six.err != nil && !notFound(six.err)
	switch {
	case failed4 && len(six.ips) == 0:
		return nil, adns.Result{}, err
	case failed6 && len(ips) == 0:
		return nil, adns.Result{}, six.err
	case failed4:
		return six.ips, six.result, nil
	case failed6:
		return ips, result, nil
	}
	result.Authentic = result.Authentic && six.result.Authentic
	if ips = append(ips, six.ips...); len(ips) == 0 {
		return nil, result, err
	}
	return ips, result, nil
}

func (r *Resolver) family(ctx context.Context, host string, kind uint16) ([]net.IP, adns.Result, error) {
	a, result, err := r.lookup(ctx, host, kind)
	if err != nil {
		return nil, result, err
	}
	var ips []net.IP
	for _, rr := range a.records {
		switch rr := rr.(type) {
		case *dns.A:
			ips = append(ips, rr.A)
		case *dns.AAAA:
			ips = append(ips, rr.AAAA)
		}
	}
	return ips, result, nil
}

// LookupMX gives the hosts that take mail for a name, by preference, equals in random order (RFC 5321 section 5.1). A null MX
// (RFC 7505) is one record with the host ".". Records whose hosts cannot be hosts are left out; if there were such, an error that is
// neither temporary nor IsNotFound says so beside those that are good: RFC 5321 section 5.1 has no fall-back to addresses then.
func (r *Resolver) LookupMX(ctx context.Context, name string) ([]*net.MX, adns.Result, error) {
	a, result, err := r.lookup(ctx, name, dns.TypeMX)
	if err != nil {
		return nil, result, err
	}
	var all []*net.MX
	for _, rr := range a.records {
		if m, ok := rr.(*dns.MX); ok && hostName(m.Mx) {
			all = append(all, &net.MX{Host: m.Mx, Pref: m.Preference})
		} else {
			err = unusable(a, name, false)
		}
	}
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	slices.SortStableFunc(all, func(x, y *net.MX) int { return cmp.Compare(x.Pref, y.Pref) })
	return all, result, err
}

// LookupNS gives the name servers of a name.
func (r *Resolver) LookupNS(ctx context.Context, name string) ([]*net.NS, adns.Result, error) {
	a, result, err := r.lookup(ctx, name, dns.TypeNS)
	if err != nil {
		return nil, result, err
	}
	var all []*net.NS
	for _, rr := range a.records {
		if n, ok := rr.(*dns.NS); ok && hostName(n.Ns) {
			all = append(all, &net.NS{Host: n.Ns})
		}
	}
	if len(all) == 0 {
		return nil, result, unusable(a, name, true)
	}
	return all, result, nil
}

// LookupSRV gives the hosts of a service, in the order in which they are to be tried (RFC 2782). With service and proto empty, name is
// asked for as it is. The first value is the name at which the records were.
func (r *Resolver) LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, adns.Result, error) {
	if service != "" || proto != "" {
		name = "_" + service + "._" + proto + "." + name
	}
	a, result, err := r.lookup(ctx, name, dns.TypeSRV)
	if err != nil {
		return "", nil, result, err
	}
	var all []*net.SRV
	for _, rr := range a.records {
		if s, ok := rr.(*dns.SRV); ok && hostName(s.Target) {
			all = append(all, &net.SRV{Target: s.Target, Port: s.Port, Priority: s.Priority, Weight: s.Weight})
		}
	}
	if len(all) == 0 {
		return "", nil, result, unusable(a, name, true)
	}
	bySRV(all)
	return a.alias, all, result, nil
}

// bySRV sorts by priority, and each priority at random by weight.
func bySRV(all []*net.SRV) {
	slices.SortFunc(all, func(x, y *net.SRV) int {
		return cmp.Or(cmp.Compare(x.Priority, y.Priority), cmp.Compare(x.Weight, y.Weight))
	})
	for i := range all {
		sum, end := 0, i
		for ; end < len(all) && all[end].Priority == all[i].Priority; end++ {
			sum += int(all[end].Weight)
		}
		// RFC 2782: the first whose running sum reaches a random number of the whole.
		for j, n := i, rand.IntN(sum+1); j < end; j++ {
			if n -= int(all[j].Weight); n <= 0 {
				chosen := all[j]
				copy(all[i+1:j+1], all[i:j])
				all[i] = chosen
				break
			}
		}
	}
}

// LookupTXT gives the texts of a name; the strings of a record are joined without anything between them.
func (r *Resolver) LookupTXT(ctx context.Context, name string) ([]string, adns.Result, error) {
	a, result, err := r.lookup(ctx, name, dns.TypeTXT)
	if err != nil {
		return nil, result, err
	}
	all := make([]string, 0, len(a.records))
	for _, rr := range a.records {
		if t, ok := rr.(*dns.TXT); ok {
			all = append(all, octets(strings.Join(t.Txt, "")))
		}
	}
	return all, result, nil
}

// LookupTLSA gives the TLSA records of a port of a host; with port 0 and no protocol, those at host itself. Records that cannot be read
// are left out.
func (r *Resolver) LookupTLSA(ctx context.Context, port int, protocol, host string) ([]adns.TLSA, adns.Result, error) {
	if port != 0 || protocol != "" {
		host = fmt.Sprintf("_%d._%s.%s", port, protocol, host)
	}
	a, result, err := r.lookup(ctx, host, dns.TypeTLSA)
	if err != nil {
		return nil, result, err
	}
	var all []adns.TLSA
	for _, rr := range a.records {
		if t, ok := tlsa(rr); ok {
			all = append(all, t)
		}
	}
	return all, result, nil
}

// unusable is the error of records that are there and cannot be used; missing says that this is as good as none.
func unusable(a *answer, name string, missing bool) error {
	return &adns.DNSError{Err: "the records cannot be used", Name: name, Server: a.server, IsNotFound: missing}
}
