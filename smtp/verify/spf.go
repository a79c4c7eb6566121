package verify

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/mjl-/mox/dns"
)

// The limits of RFC 7208 section 4.6.4.
const (
	maxLookups   = 10 // terms that ask the DNS
	maxVoid      = 2  // terms whose question has no answer
	maxMX        = 10 // hosts of one mx term
	maxSPFRecord = 16 << 10
)

// spfCheck is one identity being checked.
type spfCheck struct {
	v       *Verifier
	remote  netip.Addr
	local   string // of the sender: MAIL FROM, or postmaster of HELO
	domain  string // of the sender
	helo    string
	lookups int
	voids   int
	names   []string // %{p}, once asked
	named   bool
}

// spfError ends a check with temperror or permerror.
type spfError struct {
	status Status
	reason string
}

func (e *spfError) Error() string { return e.reason }

func permanent(format string, args ...any) error {
	return &spfError{PermError, fmt.Sprintf(format, args...)}
}

var errSPFNoAnswer error = &spfError{TempError, "the DNS did not answer"}

// spfBoth checks MAIL FROM and HELO, side by side. RFC 7208 section 2.4: with the null reverse-path, MAIL FROM is postmaster at HELO.
func (v *Verifier) spfBoth(ctx context.Context, m Message) (from, helo SPF) {
	name := ""
	if !strings.HasPrefix(m.Helo, "[") {
		name, _ = asciiDomain(m.Helo)
	}
	check := func(local, domain string) SPF {
		c := &spfCheck{v: v, remote: m.Remote, local: local, domain: domain, helo: name}
		return c.run(ctx)
	}
	if m.MailFrom == "" {
		helo = check("postmaster", name)
		return helo, helo
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		helo = check("postmaster", name)
	}()
	local, domain := splitAddress(m.MailFrom)
	domain, _ = asciiDomain(domain)
	if local == "" {
		local = "postmaster" // RFC 7208 section 4.3
	}
	from = check(local, domain)
	<-done
	return from, helo
}

// run is check_host for the sender's domain.
func (c *spfCheck) run(ctx context.Context) SPF {
	// RFC 7208 section 4.3: what is no domain of several labels has no policy.
	if !strings.Contains(c.domain, ".") || !c.remote.IsValid() {
		return SPF{Status: None}
	}
	out := SPF{Domain: c.domain}
	verdict, err := c.host(ctx, c.domain)
	if err != nil {
		var e *spfError
		if !errors.As(err, &e) {
			e = errSPFNoAnswer.(*spfError)
		}
		out.Status, out.Reason, out.Mechanism = e.status, e.reason, verdict.mechanism
		return out
	}
	out.Status, out.Mechanism = verdict.status, verdict.mechanism
	if out.Status == Fail && verdict.record.exp != "" {
		out.Explanation = c.explain(ctx, verdict.record.exp, verdict.domain)
	}
	return out
}

// spfVerdict is what a record says.
type spfVerdict struct {
	status    Status
	mechanism string
	record    *spfRecord // that decided, for its exp=; that of a redirect, never that of an include (RFC 7208 section 6.2)
	domain    string
}

// host is check_host (RFC 7208 section 4). The recursion is bounded by the look-ups that each level costs.
func (c *spfCheck) host(ctx context.Context, domain string) (spfVerdict, error) {
	record, err := c.record(ctx, domain)
	if err != nil || record == nil {
		return spfVerdict{status: None}, err
	}
	for _, d := range record.directives {
		match, err := c.match(ctx, d, domain)
		if err != nil {
			return spfVerdict{mechanism: d.text}, err
		}
		if match {
			return spfVerdict{d.result, d.text, record, domain}, nil
		}
	}
	if record.redirect == "" {
		return spfVerdict{Neutral, "default", record, domain}, nil // RFC 7208 section 4.7
	}
	return c.redirect(ctx, record, domain)
}

// redirect is RFC 7208 section 6.1.
func (c *spfCheck) redirect(ctx context.Context, record *spfRecord, domain string) (spfVerdict, error) {
	if err := c.count(); err != nil {
		return spfVerdict{}, err
	}
	target, ok, err := c.expand(ctx, record.redirect, domain)
	if err != nil {
		return spfVerdict{}, err
	}
	var next spfVerdict
	if ok {
		if next, err = c.host(ctx, target); err != nil {
			return next, err
		}
	}
	if !ok || next.status == None {
		return next, permanent("redirect to %s, which has no policy", printable(target, 100))
	}
	return next, nil
}

// record gets and reads the policy of a domain; nil: it has none.
func (c *spfCheck) record(ctx context.Context, domain string) (*spfRecord, error) {
	texts, _, err := c.v.resolver.LookupTXT(ctx, domain+".")
	if dns.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, errSPFNoAnswer
	}
	var found []string
	for _, t := range texts {
		// RFC 7208 section 4.5: the version and a space or the end.
		if len(t) >= 6 && strings.EqualFold(t[:6], "v=spf1") && (len(t) == 6 || t[6] == ' ') {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 0:
		return nil, nil
	case len(found) > 1:
		return nil, permanent("%s has more than one policy", domain)
	case len(found[0]) > maxSPFRecord:
		return nil, permanent("the policy of %s is too long", domain)
	}
	r, err := parseSPF(found[0])
	if err != nil {
		return nil, permanent("the policy of %s cannot be read: %s", domain, err)
	}
	return r, nil
}

// count counts a term that asks the DNS.
func (c *spfCheck) count() error {
	if c.lookups++; c.lookups > maxLookups {
		return permanent("more than %d look-ups", maxLookups)
	}
	return nil
}

// void counts a term whose question has no answer.
func (c *spfCheck) void() error {
	if c.voids++; c.voids > maxVoid {
		return permanent("more than %d look-ups without answer", maxVoid)
	}
	return nil
}

// match tells whether a mechanism is about the client (RFC 7208 section 5).
func (c *spfCheck) match(ctx context.Context, d *spfDirective, domain string) (bool, error) {
	switch d.mechanism {
	case "all":
		return true, nil
	case "ip4", "ip6":
		return d.network.Contains(c.remote), nil
	}
	if err := c.count(); err != nil {
		return false, err
	}
	target, ok := domain, true
	if d.spec != "" {
		var err error
		if target, ok, err = c.expand(ctx, d.spec, domain); err != nil {
			return false, err
		}
	}
	if !ok {
		if d.mechanism == "include" {
			return false, permanent("include of what is no domain")
		}
		return false, nil // RFC 7208 section 4.8
	}
	switch d.mechanism {
	case "include":
		return c.include(ctx, target)
	case "a":
		return c.a(ctx, d, target)
	case "mx":
		return c.mx(ctx, d, target)
	case "ptr":
		return c.ptr(ctx, target), nil
	}
	return c.exists(ctx, target)
}

// include is RFC 7208 section 5.2.
func (c *spfCheck) include(ctx context.Context, target string) (bool, error) {
	inner, err := c.host(ctx, target)
	if err != nil {
		return false, err
	}
	if inner.status == None {
		return false, permanent("include of %s, which has no policy", printable(target, 100))
	}
	return inner.status == Pass, nil
}

// a is RFC 7208 section 5.3.
func (c *spfCheck) a(ctx context.Context, d *spfDirective, target string) (bool, error) {
	all, err := c.v.addresses(ctx, target, c.remote)
	if err != nil {
		return false, errSPFNoAnswer
	}
	if len(all) == 0 {
		return false, c.void()
	}
	return d.contains(all, c.remote), nil
}

// mx is RFC 7208 section 5.4.
func (c *spfCheck) mx(ctx context.Context, d *spfDirective, target string) (bool, error) {
	hosts, _, err := c.v.resolver.LookupMX(ctx, target+".")
	var broken *spfError
	switch {
	case len(hosts) > 0: // beside records that cannot be used
	case err == nil, dns.IsNotFound(err):
		return false, c.void()
	case isTemporary(err):
		return false, errSPFNoAnswer
	default:
		return false, nil
	}
	for i, h := range hosts {
		if i == maxMX {
			return false, permanent("more than %d hosts of mx", maxMX)
		}
		if h.Host == "." {
			continue
		}
		all, err := c.v.addresses(ctx, h.Host, c.remote)
		if err != nil {
			broken = errSPFNoAnswer.(*spfError)
			continue
		}
		if d.contains(all, c.remote) {
			return true, nil
		}
	}
	if broken != nil {
		return false, broken
	}
	return false, nil
}

// ptr is RFC 7208 section 5.5. What the DNS does not tell does not match.
func (c *spfCheck) ptr(ctx context.Context, target string) bool {
	for _, name := range c.validated(ctx) {
		if name == target || strings.HasSuffix(name, "."+target) {
			return true
		}
	}
	return false
}

// validated are the client's names that have its address, the first ten looked at.
func (c *spfCheck) validated(ctx context.Context) []string {
	if c.named {
		return c.names
	}
	c.named = true
	names, err := c.v.names(ctx, c.remote)
	if err != nil {
		return nil
	}
	for _, name := range names[:min(len(names), maxNames)] {
		if has, _ := c.v.hasAddress(ctx, name, c.remote); has {
			c.names = append(c.names, strings.ToLower(strings.TrimSuffix(name, ".")))
		}
	}
	return c.names
}

// exists is RFC 7208 section 5.7: an A record, whatever the client's family.
func (c *spfCheck) exists(ctx context.Context, target string) (bool, error) {
	ips, _, err := c.v.resolver.LookupIP(ctx, "ip4", target+".")
	switch {
	case err == nil && len(ips) > 0:
		return true, nil
	case err == nil, dns.IsNotFound(err):
		return false, c.void()
	}
	return false, errSPFNoAnswer
}

// isTemporary tells an unanswered question from records that are broken.
func isTemporary(err error) bool {
	var e interface{ Temporary() bool }
	return !errors.As(err, &e) || e.Temporary()
}
