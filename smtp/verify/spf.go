package verify

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"blitiri.com.ar/go/spf"
	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"
)

// spfHelo checks HELO, which with the null reverse-path is MAIL FROM too (RFC 7208 section 2.4). Records, macros and the limits of section 4.6.4 are the library's.
func (v *Verifier) spfHelo(ctx context.Context, m Message) SPF {
	name := heloDomain(m.Helo)
	return v.spf(ctx, m, name, "postmaster", name)
}

// spfFrom checks a MAIL FROM that is not null.
func (v *Verifier) spfFrom(ctx context.Context, m Message) SPF {
	local, domain := splitAddress(m.MailFrom)
	domain, _ = asciiDomain(domain)
	if local == "" {
		local = "postmaster" // RFC 7208 section 4.3
	}
	return v.spf(ctx, m, heloDomain(m.Helo), local, domain)
}

// heloDomain is the domain of HELO; "" for an address literal.
func heloDomain(helo string) string {
	name := ""
	if !strings.HasPrefix(helo, "[") {
		name, _ = asciiDomain(helo)
	}
	return name
}

// spf is check_host for one identity.
func (v *Verifier) spf(ctx context.Context, m Message, helo, local, domain string) SPF {
	// RFC 7208 section 4.3: what is no domain of several labels has no policy.
	if !strings.Contains(domain, ".") || !m.Remote.IsValid() {
		return SPF{Status: None}
	}
	// The library takes what stands behind the first "@" for the domain; a quoted local part may have some of its own.
	local = strings.ReplaceAll(local, "@", "?")
	resolver := &spfResolver{resolver: v.resolver}
	result, err := spf.CheckHostWithSender(net.IP(m.Remote.AsSlice()), helo, local+"@"+domain, spf.WithContext(ctx), spf.WithResolver(resolver))
	out := SPF{Status: Status(result), Domain: domain}
	switch {
	case resolver.fault != "" && out.Status != TempError:
		out.Status, out.Reason = PermError, resolver.fault
	case err == nil && out.Status == Neutral:
		out.Mechanism = "default" // RFC 7208 section 4.7
	case err == nil:
	case out.Status == TempError:
		out.Reason = "the DNS did not answer"
	case out.Status == PermError:
		out.Reason = printable(err.Error(), 200)
	default:
		// With a verdict, the error is which mechanism decided.
		out.Mechanism, _ = strings.CutPrefix(err.Error(), "matched ")
		if out.Status == None {
			out.Mechanism = ""
		}
	}
	return out
}

// spfResolver is our resolver as the library wants it: that of package net. It is for one check, whose look-ups come one after the other.
type spfResolver struct {
	resolver dns.Resolver
	fault    string // of the first policy whose syntax is wrong; "": there was none
}

// LookupTXT gives the library policies, its own and those of include and redirect, and looks at their syntax.
func (r *spfResolver) LookupTXT(ctx context.Context, name string) ([]string, error) {
	texts, _, err := r.resolver.LookupTXT(ctx, absolute(name))
	if i := slices.IndexFunc(texts, isSPF); i >= 0 && r.fault == "" && !slices.ContainsFunc(texts[i+1:], isSPF) { // several are an error as they are
		r.fault = spfFault(texts[i])
	}
	return texts, netError(err)
}

func (r *spfResolver) LookupMX(ctx context.Context, name string) ([]*net.MX, error) {
	hosts, _, err := r.resolver.LookupMX(ctx, absolute(name))
	return hosts, netError(err)
}

func (r *spfResolver) LookupIPAddr(ctx context.Context, name string) ([]net.IPAddr, error) {
	all, _, err := r.resolver.LookupIPAddr(ctx, absolute(name))
	return all, netError(err)
}

func (r *spfResolver) LookupAddr(ctx context.Context, address string) ([]string, error) {
	names, _, err := r.resolver.LookupAddr(ctx, address)
	return names, netError(err)
}

func absolute(name string) string { return strings.TrimSuffix(name, ".") + "." }

// netError makes an error of package net of the resolver's, which says the same.
func netError(err error) error {
	var e *adns.DNSError
	if !errors.As(err, &e) {
		return err
	}
	return &net.DNSError{Err: e.Err, Name: e.Name, Server: e.Server, IsTimeout: e.IsTimeout, IsTemporary: e.IsTemporary, IsNotFound: e.IsNotFound}
}
