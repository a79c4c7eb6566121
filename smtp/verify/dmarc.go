package verify

import (
	"cmp"
	"context"
	"strconv"
	"strings"

	"github.com/mjl-/mox/dns"
)

// DMARC is what follows for the author's domain (RFC 7489). With authors of several domains it is what follows for the one whose policy is the
// strictest of those that fail (RFC 7489 section 6.6.1).
type DMARC struct {
	Status  Status `json:"status"`           // None: no policy; Pass; Fail; TempError: a missing answer of the DNS leaves it open; PermError: no author that can be judged
	From    string `json:"from,omitempty"`   // the author's domain, A-labels
	Domain  string `json:"domain,omitempty"` // where the policy was found
	Policy  string `json:"policy,omitempty"` // for From, p= or sp=: "none", "quarantine", "reject"
	Percent int    `json:"percent,omitempty"`
	Sampled bool   `json:"sampled,omitempty"` // the policy is applied to this message (pct=)
	SPF     bool   `json:"spf,omitempty"`     // passes by an aligned MAIL FROM
	DKIM    bool   `json:"dkim,omitempty"`    // passes by an aligned signature
	Reason  string `json:"reason,omitempty"`
	// Doubtful: there is a From field, and yet not all of its authors could be judged: there are too many, or it cannot be read, or there are several
	// fields. What Status says holds for those that could.
	Doubtful bool `json:"doubtful,omitempty"`
	// Published is the policy as it was found; nil when there is none, or it asks for no reports (rua=).
	Published *Published `json:"-"`
}

// Published is a policy as the domain published it, with defaults for what it does not say (RFC 7489 section 6.3).
type Published struct {
	Policy     string `json:"p"`
	SubPolicy  string `json:"sp"`
	StrictDKIM bool   `json:"adkim,omitempty"`
	StrictSPF  bool   `json:"aspf,omitempty"`
	Percent    int    `json:"pct"`
	Failures   string `json:"fo"` // what failure reports it wants, at most 32 octets
}

// Disposition is what the domain asks to be done with the message: "none", "quarantine" or "reject". RFC 7489 section 6.6.4: where pct= leaves the message
// out, the next weaker.
func (d DMARC) Disposition() string {
	if d.Status != Fail {
		return "none"
	}
	switch {
	case d.Policy == "reject" && d.Sampled:
		return "reject"
	case d.Policy == "reject", d.Policy == "quarantine" && d.Sampled:
		return "quarantine"
	}
	return "none"
}

// dmarcRecord is a policy record (RFC 7489 section 6.3).
type dmarcRecord struct {
	policy, subPolicy       string
	strictDKIM, strictSPF   bool
	percent                 int
	reports, failureReports string
	failures                string // fo=
}

// published is the record for reports; nil when it asks for none, or for none by mail.
func (r *dmarcRecord) published() *Published {
	if !strings.Contains(strings.ToLower(r.reports), "mailto:") {
		return nil
	}
	return &Published{Policy: r.policy, SubPolicy: cmp.Or(r.subPolicy, r.policy), StrictDKIM: r.strictDKIM, StrictSPF: r.strictSPF, Percent: r.percent,
		Failures: cmp.Or(r.failures[:min(len(r.failures), 32)], "0")}
}

// dmarcPolicy is what was found for an author's domain.
type dmarcPolicy struct {
	from   string
	domain string // of the record
	record *dmarcRecord
	status Status // when there is no record: None, TempError, PermError
	reason string
	org    func(string) string // by which domains are aligned
}

// applies is the policy for from.
func (p *dmarcPolicy) applies() string {
	if p.from != p.domain && p.record.subPolicy != "" {
		return p.record.subPolicy
	}
	return p.record.policy
}

// policy looks for the policy of a domain: its own, else that of its organisation (RFC 7489 section 6.6.3).
func (v *Verifier) policy(ctx context.Context, from string) dmarcPolicy {
	p := dmarcPolicy{from: from, org: organization}
	seen := ""
	for i, domain := range []string{from, organization(from), registry(from)} {
		if i > 0 && (domain == from || domain == seen) {
			continue
		}
		if seen = domain; i == 2 {
			p.org = registry
		}
		texts, _, err := v.resolver.LookupTXT(ctx, "_dmarc."+domain+".")
		if err != nil && !dns.IsNotFound(err) {
			p.status, p.reason = TempError, "the DNS did not answer"
			return p
		}
		var records []string
		for _, t := range texts {
			if isDMARC(t) {
				records = append(records, t)
			}
		}
		switch len(records) {
		case 0:
			continue
		case 1:
			p.domain = domain
			if p.record = parseDMARC(records[0]); p.record == nil {
				p.status, p.reason = PermError, "the policy cannot be read"
			}
			return p
		}
		p.status, p.reason = None, "more than one policy" // RFC 7489 section 6.6.3 step 5
		return p
	}
	p.status = None
	return p
}

// isDMARC: v=DMARC1 comes first, in this case.
func isDMARC(text string) bool {
	spec, _, _ := strings.Cut(text, ";")
	name, v, ok := strings.Cut(spec, "=")
	return ok && strings.TrimRight(name, " \t") == "v" && strings.Trim(v, " \t") == "DMARC1"
}

// parseDMARC reads a record; nil: it says nothing that can be followed. RFC 7489 section 6.3: unknown tags are ignored, and so are values that
// cannot be read.
func parseDMARC(text string) *dmarcRecord {
	r := &dmarcRecord{percent: 100}
	seen := map[string]bool{}
	bad := false
	for i, spec := range strings.Split(text, ";") {
		name, v, ok := strings.Cut(spec, "=")
		name, v = strings.ToLower(strings.Trim(name, " \t")), strings.Trim(v, " \t")
		if !ok || i > 63 || seen[name] {
			continue
		}
		seen[name] = true
		lower := strings.ToLower(v)
		known := lower == "none" || lower == "quarantine" || lower == "reject"
		switch name {
		case "p":
			if bad = bad || !known; known {
				r.policy = lower
			}
		case "sp":
			if bad = bad || !known; known {
				r.subPolicy = lower
			}
		case "adkim":
			r.strictDKIM = lower == "s"
		case "aspf":
			r.strictSPF = lower == "s"
		case "pct":
			if n, err := strconv.Atoi(v); err == nil && n >= 0 && n <= 100 && v[0] != '+' && v[0] != '-' {
				r.percent = n
			}
		case "rua":
			r.reports = v
		case "ruf":
			r.failureReports = v
		case "fo":
			r.failures = v
		}
	}
	// RFC 7489 section 6.6.3 step 6: without a good p=, or with a bad sp=, it asks for reports or for nothing at all.
	if bad || r.policy == "" {
		if !strings.Contains(strings.ToLower(r.reports), "mailto:") {
			return nil
		}
		r.policy, r.subPolicy = "none", ""
	}
	return r
}

// dmarc judges each author's domain and gives the strictest outcome.
func (v *Verifier) dmarc(a authors, policies []dmarcPolicy, r *Result) DMARC {
	worst := DMARC{Status: PermError}
	for i := range policies {
		d := v.judge(&policies[i], r)
		if i == 0 || severity(d) > severity(worst) {
			worst = d
		}
	}
	if a.err != nil {
		worst.Reason, worst.Doubtful = a.err.Error(), a.fields > 0
		// Not each author could be judged, so that none passes; what fails stays failed.
		if worst.Status == Pass || worst.Status == None {
			worst.Status, worst.SPF, worst.DKIM = PermError, false, false
		}
	}
	return worst
}

// severity orders outcomes: what asks for most comes first, what is open before what asks for nothing.
func severity(d DMARC) int {
	switch d.Status {
	case Fail:
		return map[string]int{"reject": 9, "quarantine": 8}[d.Policy] + 1
	case TempError:
		return 7
	case PermError:
		return 3
	case None:
		return 2
	}
	return 0
}

// judge is RFC 7489 section 6.6.2 for one domain.
func (v *Verifier) judge(p *dmarcPolicy, r *Result) DMARC {
	d := DMARC{Status: p.status, From: p.from, Domain: p.domain, Reason: p.reason}
	if p.record == nil {
		return d
	}
	d.Policy, d.Percent, d.Published = p.applies(), p.record.percent, p.record.published()
	d.Sampled = d.Percent == 100 || d.Percent > 0 && v.sample() < d.Percent
	open := false
	if aligned(p, r.SPF.Domain, p.record.strictSPF) {
		d.SPF = r.SPF.Status == Pass
		open = r.SPF.Status == TempError
	}
	for _, s := range r.DKIM {
		if aligned(p, s.Domain, p.record.strictDKIM) {
			d.DKIM = d.DKIM || s.Status == Pass
			open = open || s.Status == TempError
		}
	}
	switch {
	case d.SPF || d.DKIM:
		d.Status = Pass
	case open && d.Policy != "none":
		d.Status, d.Reason = TempError, cmp.Or(d.Reason, "the DNS did not answer")
	default:
		d.Status = Fail
	}
	return d
}

// aligned: the same domain, or, when that is enough, the same organisation (RFC 7489 section 3.1).
func aligned(p *dmarcPolicy, domain string, strict bool) bool {
	return domain != "" && (domain == p.from || !strict && p.org(domain) == p.org(p.from))
}
