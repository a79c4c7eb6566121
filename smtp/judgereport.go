package smtp

import (
	"fmt"
	"slices"
	"strings"

	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/smtp/verify"
)

// Reporter hears of each message that was taken or refused for good: report.DMARC. Count neither waits nor fails.
type Reporter interface {
	Count(report.Judged)
}

// count tells what became of the message. What shall come again is counted then.
func (t *transaction) count(r *reply) {
	v, j := t.verdict, t.c.srv.o.Judge
	if v == nil || v.Result == nil || v.Result.DMARC.Published == nil || j.o.Reports == nil || r == nil || r.code/100 != 2 && r.code/100 != 5 {
		return
	}
	d := &v.Result.DMARC
	m := report.Judged{Result: v.Result, Disposition: v.Result.Disposition(), Report: v.report && d.Status == verify.Pass}
	switch {
	case d.Status == verify.Pass:
	case v.sealer != "":
		m.Disposition, m.Override, m.Comment = "none", "local_policy", arcComment(v.Result)
	case d.Policy == "none":
	case j.o.Verify.DMARC == Tag:
		m.Disposition, m.Override, m.Comment = "none", "local_policy", "policies are not applied here"
	case j.o.Verify.DMARC == Quarantine && m.Disposition == "reject":
		m.Disposition, m.Override, m.Comment = "quarantine", "local_policy", "what fails is not refused here"
	case !d.Sampled:
		m.Override = "sampled_out" // RFC 7489 section 6.6.4
	}
	j.o.Reports.Count(m)
}

// arcComment says of an ARC chain that was believed what RFC 8617 section 7.2.2 wants to be told.
func arcComment(r *verify.Result) string {
	var b strings.Builder
	b.WriteString("arc=pass")
	for _, s := range slices.Backward(r.ARC.Sets) {
		fmt.Fprintf(&b, " as[%d].d=%s as[%[1]d].s=%[3]s", s.Instance, s.Domain, s.Selector)
	}
	fmt.Fprintf(&b, " remote-ip[1]=%s", r.Remote)
	return b.String()
}

// isReport tells whether a header is that of a report about mail or TLS (RFC 7489 section 7.2.1.1, RFC 8460 section 5.3), as it says. To report about those alone would
// be a conversation between two servers that never ends.
func isReport(h *header) bool {
	for _, f := range h.fields {
		if f.name == "tls-report-domain" {
			return true
		}
		if f.name == "subject" && len(f.raw) < 2<<10 {
			s := strings.Join(strings.Fields(strings.ToLower(string(f.raw))), " ")
			if strings.Contains(s, "report domain:") && strings.Contains(s, "submitter:") {
				return true
			}
		}
	}
	return false
}
