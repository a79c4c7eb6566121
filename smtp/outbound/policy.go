package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/storage"
)

// PolicyOptions of Policies; the zero value is usable.
type PolicyOptions struct {
	Logger *slog.Logger
	Roots  *x509.CertPool // who vouches for certificates; nil: the system's
	NoSTS  bool           // MTA-STS policies of others are not looked for
	NoDANE bool           // nor TLSA records
	Port   int            // of the servers that mail goes to, for TLSA records; 0 means 25
	Now    func() time.Time

	HTTPSPort int // where MTA-STS policies are fetched; 0 means 443
}

// Policies say how much a connection to another domain's server has to prove before mail goes over it: nothing (opportunistic TLS), a certificate
// by MTA-STS (RFC 8461), one by DANE (RFC 7672), or more because the message asks for it (REQUIRETLS, RFC 8689). One value serves all workers.
type Policies struct {
	store    *storage.Store
	resolver dns.Resolver
	o        PolicyOptions
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
	return &Policies{store: store, resolver: resolver, o: o}
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
}

// For looks up what holds for a domain. It never fails: what cannot be found out is as if it were not there (RFC 8461 section 3.3), and what may not be
// overlooked (TLSA records) fails at Host.
func (p *Policies) For(ctx context.Context, hop Hop) *Policy {
	return &Policy{p: p, hop: hop}
}

// Host tells what a connection to one of the domain's hosts must prove. *Refusal when it may not be used.
func (d *Policy) Host(ctx context.Context, h Host) (*HostPolicy, error) {
	return &HostPolicy{Need: Opportunistic, host: h, policy: d}, nil
}

// HostPolicy is what holds for one connection. Its methods are not for several goroutines at once.
type HostPolicy struct {
	Need       Need
	RequireTLS bool // the host must offer REQUIRETLS after the handshake; if it does not: 5.7.30

	policy *Policy
	host   Host
}

// MustTLS tells whether nothing may be sent in clear.
func (h *HostPolicy) MustTLS() bool { return h.Need != Opportunistic }

// Key is the same for policies of which a connection made under the one may be used under the other.
func (h *HostPolicy) Key() string {
	return fmt.Sprint(h.Need, " ", h.policy.hop.Domain, " ", h.host.Name)
}

// Config is what to make the handshake with; it fails unless what the policy needs is proved.
func (h *HostPolicy) Config() *tls.Config {
	return &tls.Config{ServerName: h.host.Name, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
}

// Attempt is how the way into TLS went on one connection.
type Attempt struct {
	NoSTARTTLS bool  // the host did not offer it, or refused it
	Err        error // of the handshake
	Local      netip.Addr
	Remote     netip.Addr
	Helo       string // how the host named itself in its answer to EHLO
}

// Done counts the attempt for the domain's report (RFC 8460). For connections that came as far as the answer to EHLO, and once for each.
func (h *HostPolicy) Done(a Attempt) {}
