package verify

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/mjl-/mox/dns"
)

// ReportTarget is where a domain wants its aggregate reports.
type ReportTarget struct {
	Address string // domain in A-labels; the local part may be UTF-8
	Max     int64  // the largest message that is taken there, in bytes; 0: any
}

// maxReportTargets bounds how many are used: RFC 7489 section 6.3 wants two at least.
const maxReportTargets = 5

// ErrNoReports is the error of ReportTargets for a domain that wants no reports now.
var ErrNoReports = errors.New("verify: it asks for no reports")

// ReportTargets asks the DNS where the domain of a policy (DMARC.Domain) wants aggregate reports. Addresses of others are there when their domains agree (RFC 7489
// section 7.1); problems tells of those that are left out, in words for the domain's owner. ErrNoReports; other errors are missing answers of the DNS.
func ReportTargets(ctx context.Context, resolver dns.Resolver, domain string) (targets []ReportTarget, problems []string, err error) {
	records, err := dmarcRecords(ctx, resolver, "_dmarc."+domain)
	if err != nil {
		return nil, nil, err
	}
	if len(records) != 1 { // RFC 7489 section 6.6.3 step 5
		return nil, nil, ErrNoReports
	}
	r := parseDMARC(records[0])
	if r == nil || r.reports == "" {
		return nil, nil, ErrNoReports
	}
	add := func(t ReportTarget) {
		if !slices.ContainsFunc(targets, func(have ReportTarget) bool { return have.Address == t.Address }) && len(targets) < maxReportTargets {
			targets = append(targets, t)
		}
	}
	asked := 0
	for _, t := range parseReportURIs(r.reports) {
		_, host := splitAddress(t.Address)
		if organization(host) == organization(domain) {
			add(t)
			continue
		}
		if asked++; asked > maxReportTargets {
			break
		}
		instead, agreed, err := agreedTargets(ctx, resolver, domain, host)
		switch {
		case err != nil:
			return nil, nil, err
		case !agreed:
			problems = append(problems, fmt.Sprintf("%s does not say that it takes reports for %s (_report._dmarc)", host, domain))
		case len(instead) == 0:
			add(t)
		}
		for _, i := range instead {
			add(i)
		}
	}
	return targets, problems, nil
}

// agreedTargets asks whether a host takes reports for another's domain, and where if it says so (RFC 7489 section 7.1).
func agreedTargets(ctx context.Context, resolver dns.Resolver, domain, host string) (instead []ReportTarget, agreed bool, err error) {
	name := domain + "._report._dmarc." + host
	if len(name) > 253 { // step 4
		return nil, false, nil
	}
	records, err := dmarcRecords(ctx, resolver, name)
	if err != nil || len(records) == 0 {
		return nil, false, err
	}
	for _, text := range records[:min(len(records), maxReportTargets)] {
		r := parseDMARC(text)
		if r == nil {
			continue // it agrees, and need say no more than v=
		}
		for _, t := range parseReportURIs(r.reports) {
			// The last step: to prevent loops and abuse, the other address must have the same host.
			if _, h := splitAddress(t.Address); h == host {
				instead = append(instead, t)
			}
		}
	}
	return instead, true, nil
}

// dmarcRecords are the TXT records of a name that are DMARC's.
func dmarcRecords(ctx context.Context, resolver dns.Resolver, name string) ([]string, error) {
	texts, _, err := resolver.LookupTXT(ctx, name+".")
	if err != nil && !dns.IsNotFound(err) {
		return nil, fmt.Errorf("verify: asking for reports of %s: %w", name, err)
	}
	return slices.DeleteFunc(slices.Clone(texts), func(t string) bool { return !isDMARC(t) }), nil
}

// parseReportURIs reads rua= (RFC 7489 sections 6.2 and 6.4): addresses, each perhaps with the size that it takes. What is no address is left out.
func parseReportURIs(list string) (all []ReportTarget) {
	for i, uri := range strings.Split(list, ",") {
		if i >= 20 {
			break
		}
		uri = strings.Trim(uri, " \t")
		if t, ok := parseReportURI(uri); ok {
			all = append(all, t)
		}
	}
	return all
}

func parseReportURI(uri string) (t ReportTarget, ok bool) {
	uri, size, limited := strings.Cut(uri, "!") // one that belongs to an address is percent-encoded
	if limited {
		if t.Max, ok = parseSize(size); !ok {
			return t, false
		}
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	if !strings.EqualFold(scheme, "mailto") {
		return t, false
	}
	rest, _, _ = strings.Cut(rest, "?")
	addr, err := url.PathUnescape(rest)
	if err != nil {
		return t, false
	}
	local, host := splitAddress(addr)
	host, err = asciiDomain(host)
	if err != nil || !isPlainLocal(local) {
		return t, false
	}
	t.Address = local + "@" + host
	return t, true
}

// parseSize reads a number with a unit: k, m, g or t, powers of 1024.
func parseSize(s string) (int64, bool) {
	shift := 0
	if n := len(s); n > 0 {
		if unit := strings.IndexByte("kmgt", s[n-1]|0x20); unit >= 0 {
			shift, s = 10*(unit+1), s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 62)
	if err != nil || n == 0 {
		return 0, false
	}
	if n > 1<<62>>shift {
		return 1 << 62, true
	}
	return int64(n) << shift, true
}

// isPlainLocal tells whether a local part is a dot-atom (RFC 5321 section 4.1.2, RFC 6531 section 3.3): quoted ones are nobody's who reads reports.
func isPlainLocal(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || r == 0xfffd || r >= 0x80 && r < 0xa0 || strings.ContainsRune("()<>[]:;@\\,\"", r) {
			return false
		}
	}
	return true
}
