package report

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/mjl-/mox/dmarcrpt"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// feedback is the report as XML has it. The form is that of RFC 7489 appendix C without a namespace, which everybody reads who takes reports.
func feedback(period Period, domain string, from Sender, results map[string]storage.DMARCCount, policy string, problems []string) (dmarcrpt.Feedback, error) {
	var p verify.Published
	if err := json.Unmarshal([]byte(policy), &p); err != nil {
		return dmarcrpt.Feedback{}, fmt.Errorf("report: the policy of %s: %w", domain, err)
	}
	f := dmarcrpt.Feedback{
		Version: "1.0",
		ReportMetadata: dmarcrpt.ReportMetadata{OrgName: from.Domain, Email: from.Address, ReportID: period.ID(domain, from.Domain),
			DateRange: dmarcrpt.DateRange{Begin: period.Begin.Unix(), End: period.End.Unix()}},
		PolicyPublished: dmarcrpt.PolicyPublished{Domain: domain, ADKIM: alignment(p.StrictDKIM), ASPF: alignment(p.StrictSPF), Policy: dmarcrpt.Disposition(p.Policy),
			SubdomainPolicy: dmarcrpt.Disposition(p.SubPolicy), Percentage: p.Percent, ReportingOptions: clean(p.Failures)},
	}
	for _, text := range slices.Sorted(maps.Keys(results)) {
		var w row
		if text == "" {
			problems = append(problems, fmt.Sprintf("%d messages are not told of: there were too many different ones", results[text].Messages))
			continue
		}
		if json.Unmarshal([]byte(text), &w) == nil {
			f.Records = append(f.Records, w.record(results[text].Messages))
		}
	}
	for _, why := range problems {
		f.ReportMetadata.Errors = append(f.ReportMetadata.Errors, clean(why))
	}
	return f, nil
}

// record is a row as it is reported.
func (w row) record(count int64) dmarcrpt.ReportRecord {
	r := dmarcrpt.ReportRecord{
		Row: dmarcrpt.Row{SourceIP: clean(w.IP), Count: int(min(count, math.MaxInt32)),
			PolicyEvaluated: dmarcrpt.PolicyEvaluated{Disposition: dmarcrpt.Disposition(w.Disposition), DKIM: passes(w.DKIM), SPF: passes(w.SPF)}},
		Identifiers: dmarcrpt.Identifiers{EnvelopeFrom: clean(w.Envelope), HeaderFrom: clean(w.From)},
	}
	if w.Override != "" {
		r.Row.PolicyEvaluated.Reasons = []dmarcrpt.PolicyOverrideReason{{Type: dmarcrpt.PolicyOverride(w.Override), Comment: clean(w.Comment)}}
	}
	for _, s := range w.Signatures {
		r.AuthResults.DKIM = append(r.AuthResults.DKIM, dmarcrpt.DKIMAuthResult{Domain: clean(s.Domain), Selector: clean(s.Selector), Result: dmarcrpt.DKIMResult(s.Result)})
	}
	scope := dmarcrpt.SPFDomainScopeMailFrom
	if w.SPFHelo {
		scope = dmarcrpt.SPFDomainScopeHelo
	}
	r.AuthResults.SPF = []dmarcrpt.SPFAuthResult{{Domain: clean(w.SPFDomain), Scope: scope, Result: dmarcrpt.SPFResult(w.SPFResult)}}
	return r
}

// clean makes of what others say text that XML has a form for and that readers show on one line: control characters and what is no Unicode become "?".
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == 0xfffe || r == 0xffff || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}

func alignment(strict bool) dmarcrpt.Alignment {
	if strict {
		return dmarcrpt.AlignmentStrict
	}
	return dmarcrpt.AlignmentRelaxed
}

func passes(ok bool) dmarcrpt.DMARCResult {
	if ok {
		return dmarcrpt.DMARCPass
	}
	return dmarcrpt.DMARCFail
}

// packed is the report compressed.
func packed(f dmarcrpt.Feedback) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, err := z.Write([]byte(xml.Header))
	if err == nil {
		e := xml.NewEncoder(z)
		e.Indent("", " ")
		if err = e.Encode(f); err == nil {
			err = e.Close()
		}
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("report: writing: %w", err)
	}
	return b.Bytes(), nil
}
