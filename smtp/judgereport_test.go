package smtp_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/report"
)

// heard is a Reporter that remembers, in words: domain, disposition, what passes, override.
type heard struct {
	mu  sync.Mutex
	all []string
}

func (h *heard) Count(m report.Judged) {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := m.Result.DMARC
	text := fmt.Sprintf("%s %s %s", d.Domain, m.Disposition, d.Status)
	if m.Override != "" {
		text += " " + m.Override
	}
	if m.Comment != "" {
		text += " (" + m.Comment + ")"
	}
	if m.Report {
		text += " report"
	}
	h.all = append(h.all, text)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.Join(h.all, "; ")
}

// What becomes of a message is told for the reports of its author's domain, if that asks for any (RFC 7489 section 7.2).
func TestReported(t *testing.T) {
	const asking = `
_dmarc.good.example.   IN TXT "v=DMARC1; p=reject; rua=mailto:a@good.example"
_dmarc.strict.example. IN TXT "v=DMARC1; p=reject; rua=mailto:a@strict.example"
_dmarc.soft.example.   IN TXT "v=DMARC1; p=quarantine; rua=mailto:a@soft.example"
_dmarc.never.example.  IN TXT "v=DMARC1; p=reject; pct=0; rua=mailto:a@never.example"
_dmarc.none.example.   IN TXT "v=DMARC1; p=none; rua=mailto:a@none.example"
_dmarc.quiet.example.  IN TXT "v=DMARC1; p=reject"
`
	for _, test := range []struct {
		name   string
		o      smtp.JudgeOptions
		script string
		want   string
	}{
		{"pass", smtp.JudgeOptions{}, mail("good.example") + "a< 250 *", "good.example none pass"},
		{"reject", smtp.JudgeOptions{}, mail("strict.example") + "a< 550 *", "strict.example reject fail"},
		{"quarantine", smtp.JudgeOptions{}, mail("soft.example") + "a< 250 *", "soft.example quarantine fail"},
		{"none", smtp.JudgeOptions{}, mail("none.example") + "a< 250 *", "none.example none fail"},
		{"pct", smtp.JudgeOptions{}, mail("never.example") + "a< 250 *", "never.example quarantine fail sampled_out"},
		{"quarantine for both", smtp.JudgeOptions{Verify: smtp.VerifyOptions{DMARC: smtp.Quarantine}}, mail("strict.example") + "a< 250 *" + mail("soft.example") + "a< 250 *",
			"strict.example quarantine fail local_policy (what fails is not refused here); soft.example quarantine fail"},
		{"tag", smtp.JudgeOptions{Verify: smtp.VerifyOptions{DMARC: smtp.Tag}}, mail("strict.example") + "a< 250 *" + mail("none.example") + "a< 250 *",
			"strict.example none fail local_policy (policies are not applied here); none.example none fail"},
		{"asks for none", smtp.JudgeOptions{}, mail("quiet.example") + "a< 550 *" + mail("spf.example") + "a< 250 *", ""},
		{"comes again", smtp.JudgeOptions{Greylist: smtp.GreylistOptions{On: true}}, mail("none.example") + "a< 451 *", ""},
		{"refused for something else", smtp.JudgeOptions{Weights: smtp.Weights{DMARCFail: 5, Refuse: 5}}, mail("none.example") + "a< 550 *", "none.example none fail"},
		{"no dns", smtp.JudgeOptions{}, "! dns down\n" + mail("strict.example") + "a< 250 *", ""},
		{"a report", smtp.JudgeOptions{}, strings.Replace(mail("good.example"), "Subject: hello", "Subject: Report  Domain: example.test\n\t\t Submitter: good.example Report-ID: <1@good.example>", 1) + "a< 250 *", "good.example none pass report"},
		{"a report about tls", smtp.JudgeOptions{}, mail("good.example", "TLS-Report-Domain: example.test") + "a< 250 *", "good.example none pass report"},
		{"a report that is none", smtp.JudgeOptions{}, mail("none.example", "TLS-Report-Domain: example.test") + "a< 250 *", "none.example none fail"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var h heard
			test.o.Reports = &h
			_, env, d := verifying(t, test.o)
			d.Set(asking)
			sessiontest.Play(t, greeted+test.script, env)
			if got := h.String(); got != test.want {
				t.Errorf("told: %s\nwant: %s", got, test.want)
			}
		})
	}
}
