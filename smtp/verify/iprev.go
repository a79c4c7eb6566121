package verify

import (
	"context"
	"net/netip"
	"strings"

	"github.com/mjl-/mox/dns"
)

// maxNames is how many names of an address are asked for their addresses.
const maxNames = 10

// iprev is RFC 8601 section 3.
func (v *Verifier) iprev(ctx context.Context, remote netip.Addr) IPRev {
	if !remote.IsValid() {
		return IPRev{Status: None}
	}
	names, err := v.names(ctx, remote)
	if err != nil {
		if dns.IsNotFound(err) {
			return IPRev{Status: PermError, Reason: "no name"}
		}
		return IPRev{Status: TempError, Reason: "the DNS did not answer"}
	}
	open := false
	for _, name := range names[:min(len(names), maxNames)] {
		has, err := v.hasAddress(ctx, name, remote)
		if has {
			return IPRev{Status: Pass, Name: strings.TrimSuffix(name, ".")}
		}
		open = open || err != nil
	}
	if open {
		return IPRev{Status: TempError, Reason: "the DNS did not answer"}
	}
	return IPRev{Status: Fail, Reason: "its names are not its own"}
}

// names are those of an address.
func (v *Verifier) names(ctx context.Context, a netip.Addr) ([]string, error) {
	names, _, err := v.resolver.LookupAddr(ctx, a.String())
	return names, err
}

// addresses are those of a host, of the family of like. None is no error.
func (v *Verifier) addresses(ctx context.Context, name string, like netip.Addr) ([]netip.Addr, error) {
	network := "ip6"
	if like.Is4() {
		network = "ip4"
	}
	ips, _, err := v.resolver.LookupIP(ctx, network, strings.TrimSuffix(name, ".")+".")
	if err != nil && !dns.IsNotFound(err) {
		return nil, err
	}
	var all []netip.Addr
	for _, ip := range ips {
		if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap().Is4() == like.Is4() {
			all = append(all, a.Unmap())
		}
	}
	return all, nil
}

func (v *Verifier) hasAddress(ctx context.Context, name string, a netip.Addr) (bool, error) {
	all, err := v.addresses(ctx, name, a)
	for _, b := range all {
		if a == b {
			return true, nil
		}
	}
	return false, err
}
