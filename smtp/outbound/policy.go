package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mjl-/mox/dane"
	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/mtasts"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/storage"
)

// PolicyOptions of Policies; the zero value is usable.
type PolicyOptions struct {
	Logger    *slog.Logger
	Roots     *x509.CertPool // who vouches for certificates; nil: the system's
	NoSTS     bool           // MTA-STS policies of others are not looked for
	NoDANE    bool           // nor TLSA records
	NoReports bool           // nothing is counted and no reports are sent (RFC 8460)
	Port      int            // of the servers that mail goes to, for TLSA records; 0 means 25
	Now       func() time.Time

	HTTPSPort  int  // where MTA-STS policies are fetched; 0 means 443
	AnyAddress bool // reports are posted to addresses that are not public too

	ReportsFrom string // the address that reports come from, of a domain of ours; "" means postmaster of the first one
}

// Policies say how much a connection to another domain's server has to prove before mail goes over it: nothing (opportunistic TLS), a certificate
// by MTA-STS (RFC 8461), one by DANE (RFC 7672), or more because the message asks for it (REQUIRETLS, RFC 8689). One value serves all workers.
type Policies struct {
	store    *storage.Store
	resolver dns.Resolver
	o        PolicyOptions
	fetches  fetches
	counts   counts

	daily report.Daily
}

// NewPolicies makes them. The resolver's word about what is authentic (DNSSEC) is believed.
func NewPolicies(store *storage.Store, resolver dns.Resolver, o PolicyOptions) *Policies {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Port == 0 {
		o.Port = 25
	}
	if o.HTTPSPort == 0 {
		o.HTTPSPort = 443
	}
	return &Policies{store: store, resolver: resolver, o: o, fetches: fetches{busy: map[string]chan struct{}{}, slot: make(chan struct{}, stsFetches)},
		counts: counts{n: map[storage.TLSResult]int64{}}}
}

// Hop is a domain that mail shall go to, as the lookup of its MX records found it. Names are A-labels in lowercase without a dot at their end.
type Hop struct {
	Domain         string // of the recipients
	Expanded       string // where its CNAMEs lead; "" when it has none
	HaveMX         bool   // it has MX records; else the domain is its own host
	Secure         bool   // what the DNS said of Domain was authentic
	ExpandedSecure bool   // and of Expanded, all CNAMEs between them included

	RequireTLS  bool // the message was sent with REQUIRETLS
	OptionalTLS bool // it has "TLS-Required: No" (RFC 8689 section 5), and was sent without REQUIRETLS
}

// Host is one of its servers, as the lookup of its addresses found it.
type Host struct {
	Name           string
	Expanded       string // where its CNAMEs lead; "" when it has none
	Secure         bool   // what the DNS said of Name and the addresses was authentic
	ExpandedSecure bool   // and of all CNAMEs to Expanded
}

// Need is what a connection to a host must prove.
type Need string

// The needs.
const (
	Opportunistic Need = "opportunistic" // TLS if it can be had, no matter whose certificate; in clear else
	Verified      Need = "verified"      // TLS, a certificate for the host's name by a known authority (RFC 8689 without MTA-STS)
	ByMTASTS      Need = "mta-sts"       // the same, as the domain's policy says (RFC 8461)
	ByDANE        Need = "dane"          // TLS, a certificate that the host's TLSA records name (RFC 7672)
	Encrypted     Need = "encrypted"     // TLS, no matter whose certificate: TLSA records are there, but none can be used (RFC 7672 section 2.2)
)

// Refusal is the error of Policy.Host: mail may not go over this host now. When no host is left, Status and Error are what the sender is told.
type Refusal struct {
	Status    string // "4.7.5"
	Permanent bool   // later would be the same
	Text      string
}

func (r *Refusal) Error() string { return r.Text }

// Policy is what holds for one domain (and one message's wishes).
type Policy struct {
	p   *Policies
	hop Hop
	sts stsState
}

// For looks up what holds for a domain. It never fails: an MTA-STS policy that cannot be found out is as if it were not there (RFC 8461 section 3.3), and what may not be
// overlooked (TLSA records) fails at Host. It may take as long as fetching a policy does, a minute at most.
func (p *Policies) For(ctx context.Context, hop Hop) *Policy {
	d := &Policy{p: p, hop: hop, sts: p.sts(ctx, hop.Domain)}
	if d.sts.fault != nil {
		p.count(hop.Domain, reported{Type: string(tlsrpt.STS), Domain: hop.Domain}, d.sts.fault)
	}
	return d
}

// Host tells what a connection to one of the domain's hosts must prove. *Refusal when it may not be used. RFC 8461 section 2: DANE, where it is, is not overruled.
func (d *Policy) Host(ctx context.Context, h Host) (*HostPolicy, error) {
	hp := &HostPolicy{Need: Opportunistic, policy: d, host: h, RequireTLS: d.hop.RequireTLS}
	listed := d.listed(h.Name)
	dane, err := d.p.dane(ctx, d.hop, h)
	switch {
	case err != nil && d.hop.optional():
		// RFC 8689 section 4.2.2: a policy is followed as far as that costs no delivery.
	case err != nil:
		d.p.count(d.hop.Domain, reported{Type: string(tlsrpt.TLSA), Domain: dane.base}, &fault{Type: string(tlsrpt.ResultDNSSECInvalid), Host: h.Name})
		return nil, &Refusal{Status: "4.7.5", Text: fmt.Sprintf("cannot find out whether %s has TLSA records: %v", h.Name, err)}
	case len(dane.records) > 0:
		hp.Need, hp.dane = ByDANE, dane
	case dane.any && !d.hop.RequireTLS:
		hp.Need, hp.dane = Encrypted, dane
	case d.sts.policy == nil:
	case listed:
		hp.Need = ByMTASTS
	case d.sts.policy.Mode == mtasts.ModeEnforce && !d.hop.optional():
		d.p.count(d.hop.Domain, d.reported(), &fault{Type: string(tlsrpt.ResultValidationFailure), Host: h.Name, Reason: "mx-not-in-policy"})
		return nil, &Refusal{Status: "4.7.5", Text: fmt.Sprintf("%s is none of the hosts that the MTA-STS policy of %s names", h.Name, d.hop.Domain)}
	default:
		hp.Need, hp.unlisted = ByMTASTS, true // only looked at: mode testing
	}
	hp.testing = hp.Need == ByMTASTS && d.sts.policy.Mode == mtasts.ModeTesting || d.hop.optional()
	if !d.hop.RequireTLS {
		return hp, nil
	}
	return d.required(hp, listed)
}

// required is what REQUIRETLS adds. RFC 8689 section 4.2.1: the host's name must come from authentic answers of the DNS, or be one that an MTA-STS policy names;
// its certificate must be good either way.
func (d *Policy) required(hp *HostPolicy, listed bool) (*HostPolicy, error) {
	hp.testing = false
	switch {
	case hp.Need == ByDANE:
	case listed:
		hp.Need = ByMTASTS
	case d.hop.authentic():
		hp.Need = Verified
	default:
		return nil, &Refusal{Status: "5.7.10", Permanent: true,
			Text: fmt.Sprintf("REQUIRETLS: neither DNSSEC nor MTA-STS says that %s takes mail for %s", hp.host.Name, d.hop.Domain)}
	}
	return hp, nil
}

// listed tells whether the domain's policy names a host.
func (d *Policy) listed(host string) bool {
	name, err := dns.ParseDomainLax(host)
	return err == nil && d.sts.policy != nil && d.sts.policy.Matches(name)
}

// optional tells whether the sender wants delivery more than protection.
func (h Hop) optional() bool { return h.OptionalTLS && !h.RequireTLS }

// HostPolicy is what holds for one connection. Its methods are not for several goroutines at once.
type HostPolicy struct {
	Need       Need
	RequireTLS bool // the host must offer REQUIRETLS after the handshake; if it does not: 5.7.30

	policy   *Policy
	host     Host
	dane     daneState
	testing  bool  // what is needed is looked at and counted, and nothing fails for it
	unlisted bool  // MTA-STS in mode testing does not name the host
	fault    error // what the certificate lacks
}

// MustTLS tells whether nothing may be sent in clear.
func (h *HostPolicy) MustTLS() bool { return h.Need != Opportunistic && !h.testing }

// Key is the same for policies of which a connection made under the one may be used under the other.
func (h *HostPolicy) Key() string {
	if h.Need == Opportunistic {
		return string(h.Need) + " " + h.host.Name
	}
	return fmt.Sprint(h.Need, " ", h.testing, " ", h.policy.hop.Domain, " ", h.host.Name, " ", h.dane.base, " ", h.dane.records)
}

// Config is what to make the handshake with; it fails unless what the policy needs is proved. For one handshake.
func (h *HostPolicy) Config() *tls.Config {
	c := &tls.Config{ServerName: h.host.Name, MinVersion: tls.VersionTLS12, // RFC 8996
		InsecureSkipVerify: true, // by VerifyConnection, which is always called
		VerifyConnection: func(state tls.ConnectionState) error {
			h.fault = h.verify(state)
			if h.testing {
				return nil
			}
			return h.fault
		}}
	if h.dane.base != "" {
		c.ServerName = h.dane.base // RFC 7672 section 8.1
	}
	return c
}

// verify is what the policy needs of a certificate.
func (h *HostPolicy) verify(state tls.ConnectionState) error {
	switch h.Need {
	case ByDANE:
		first, more := h.dane.names(h.policy.hop, h.host)
		ok, _, err := dane.Verify(slog.New(slog.DiscardHandler), h.dane.records, state, first, more, h.policy.p.o.Roots)
		if err == nil && !ok {
			err = dane.ErrNoMatch
		}
		return err
	case ByMTASTS, Verified:
		if h.unlisted {
			return errUnlisted
		}
		o := x509.VerifyOptions{DNSName: h.host.Name, Roots: h.policy.p.o.Roots, CurrentTime: h.policy.p.o.Now(), Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			o.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(o)
		return err
	}
	return nil
}

// errUnlisted is what is wrong with a host that a policy in mode testing does not name.
var errUnlisted = errors.New("the mta-sts policy does not name this host")

// Attempt is how the way into TLS went on one connection.
type Attempt struct {
	NoSTARTTLS bool  // the host did not offer it, or refused it
	Err        error // of the handshake
	Local      netip.Addr
	Remote     netip.Addr
	Helo       string // how the host named itself in its answer to EHLO
}

// Done counts the attempt for the domain's report (RFC 8460). For connections that came as far as the answer to EHLO, and once for each.
func (h *HostPolicy) Done(a Attempt) {
	f := h.faultOf(a)
	if h.policy.hop.optional() {
		return // RFC 8460 section 3: how reports themselves get there is reported to nobody
	}
	r := h.policy.reported()
	if h.dane.any {
		r = reportedTLSA(h.dane)
	}
	h.policy.p.count(h.policy.hop.Domain, r, f)
	// RFC 8460 section 1.1: DANE's policy domain is the TLSA base domain, which may want reports of its own.
	if h.dane.any && h.dane.base != h.policy.hop.Domain {
		h.policy.p.count(h.dane.base, r, f)
	}
}
