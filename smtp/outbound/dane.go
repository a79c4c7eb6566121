package outbound

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"
)

// daneState is what holds for a host by DANE.
type daneState struct {
	base    string      // the TLSA base domain: whose records they are, and what is asked for in SNI
	records []adns.TLSA // those that can be used
	any     bool        // there are records, whether or not they can be used
}

// maxTLSA records of a host are looked at: each may cost a verification of its own.
const maxTLSA = 12

// dane looks for a host's TLSA records. RFC 7672 section 2.2: only where the DNS's answers were authentic all the way to the host, since what can be forged on the way to
// it protects nothing. An error means that the host may not be used now: an attacker who suppresses answers must not gain by it (section 2.1.1).
func (p *Policies) dane(ctx context.Context, hop Hop, h Host) (daneState, error) {
	if p.o.NoDANE || !hop.authentic() {
		return daneState{}, nil
	}
	// RFC 7672 section 2.2.3: the host's name behind its CNAMEs if they are authentic to the end, else, or if nothing is there, its own.
	var bases []string
	if h.Expanded != "" && h.Expanded != h.Name && h.ExpandedSecure {
		bases = append(bases, h.Expanded)
	}
	if h.Secure {
		bases = append(bases, h.Name)
	}
	for _, base := range bases {
		all, result, err := p.resolver.LookupTLSA(ctx, p.o.Port, "tcp", base+".")
		switch {
		case dns.IsNotFound(err):
			continue
		case err != nil:
			return daneState{base: base}, fmt.Errorf("looking for TLSA records of %s: %w", base, err)
		case !result.Authentic || len(all) == 0:
			continue
		}
		d := daneState{base: base, any: true}
		for _, r := range all[:min(len(all), maxTLSA)] {
			if usable(r) {
				d.records = append(d.records, r)
			}
		}
		return d, nil
	}
	return daneState{}, nil
}

// authentic tells whether what the DNS said about who takes the domain's mail can be believed.
func (h Hop) authentic() bool {
	if h.Expanded != "" && h.Expanded != h.Domain && !h.ExpandedSecure {
		return false
	}
	return h.Secure
}

// usable tells whether a record says something that holds for SMTP. RFC 7672 section 3.1.3: usages 0 and 1 ask for authorities that nobody agreed upon.
func usable(r adns.TLSA) bool {
	if r.Usage != adns.TLSAUsageDANETA && r.Usage != adns.TLSAUsageDANEEE {
		return false
	}
	var err error
	switch {
	case r.Selector != adns.TLSASelectorCert && r.Selector != adns.TLSASelectorSPKI:
		return false
	case r.MatchType == adns.TLSAMatchTypeSHA256:
		return len(r.CertAssoc) == sha256.Size
	case r.MatchType == adns.TLSAMatchTypeSHA512:
		return len(r.CertAssoc) == sha512.Size
	case r.MatchType != adns.TLSAMatchTypeFull:
		return false
	case r.Selector == adns.TLSASelectorCert:
		_, err = x509.ParseCertificate(r.CertAssoc)
	default:
		_, err = x509.ParsePKIXPublicKey(r.CertAssoc)
	}
	return err == nil
}

// names are what a certificate may be for where DANE-TA asks (RFC 7672 section 3.2.2): the TLSA base domain, the host, the domain of the recipients and where its CNAMEs lead.
func (d daneState) names(hop Hop, h Host) (first dns.Domain, more []dns.Domain) {
	list := []string{d.base, h.Name}
	if hop.HaveMX {
		list = append(list, hop.Domain, hop.Expanded)
	}
	seen := map[string]bool{"": true}
	for _, name := range list {
		n, err := dns.ParseDomainLax(name)
		if err != nil || seen[name] {
			continue
		}
		if seen[name] = true; first.IsZero() {
			first = n
			continue
		}
		more = append(more, n)
	}
	return first, more
}

// TLSA is the record that a server with this certificate publishes at _25._tcp.HOST: usage DANE-EE, its public key, SHA-256 (RFC 7672 section 3.1.1: "3 1 1"). It stays
// right when the certificate is renewed with the same key.
func TLSA(c *x509.Certificate) string {
	return fmt.Sprintf("3 1 1 %x", sha256.Sum256(c.RawSubjectPublicKeyInfo))
}
