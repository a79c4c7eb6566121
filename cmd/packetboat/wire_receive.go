package main

import (
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/verify"
)

// judges are who decides about mail before it is taken, by what a listener is for; nil: nobody.
type judges struct {
	mx, submission *smtp.Judge
}

// openJudges makes them of the configuration, which was checked when it was read.
func (h *house) openJudges() (j judges, err error) {
	c := h.config
	filters, err := c.filters()
	if err != nil {
		return j, err
	}
	o := smtp.JudgeOptions{
		Trusted: c.ReceiveTrusted, Filters: filters, Weights: c.Weights, Greylist: c.Greylist, Rates: c.Rates, FirstDelay: c.FirstDelay,
		Own: []string{c.Domain}, Logger: h.logger,
	}
	if c.Verify || len(c.Lists) > 0 {
		v := verify.Options{Name: c.Hostname, Logger: h.logger.With("part", "verify"), Glance: resolve.Glance}
		for _, l := range c.Lists {
			v.DNSBL = append(v.DNSBL, verify.List{Zone: l.Zone, Score: l.Score})
		}
		o.Verify = smtp.VerifyOptions{Verifier: verify.New(h.resolver, v), Alive: h.resolver.Alive, DMARC: policyNamed(c.VerifyDMARC), SPF: policyNamed(c.VerifySPF), Sealers: c.Sealers}
		if !c.Verify {
			o.Verify.DMARC, o.Verify.SPF = smtp.Tag, smtp.Tag // the lists alone count
		}
	}
	// Where no mail leaves, as in a first run, reports would lie in the queue until they are worth nothing.
	if c.Verify && c.VerifyDMARCReports && c.leaves() {
		h.dmarc = report.NewDMARC(h.store, h.resolver, report.DMARCOptions{Logger: h.logger, From: c.ReportsFrom})
		o.Reports = h.dmarc
	}
	j.mx = smtp.NewJudge(o)
	if c.FilterSubmission && len(filters) > 0 {
		j.submission = smtp.NewJudge(smtp.JudgeOptions{Filters: filters, Logger: h.logger})
	}
	return j, nil
}

// policyNamed is the policy of a key's value.
func policyNamed(v string) smtp.Policy {
	if v == "off" {
		return smtp.Tag
	}
	return smtp.Policy(v)
}

// of is who judges what comes to a listener.
func (j judges) of(mode smtp.Mode, lmtp bool) *smtp.Judge {
	switch {
	case mode == smtp.MX, mode == smtp.LMTP && lmtp:
		return j.mx
	case mode == smtp.Submission:
		return j.submission
	}
	return nil
}

// filters are those that the configuration names, rspamd first.
func (c *config) filters() (all []smtp.Filter, err error) {
	if c.Rspamd.URL != "" {
		f, err := smtp.NewRspamd(c.Rspamd)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	for _, a := range c.Milters {
		f, err := smtp.NewMilter(smtp.MilterOptions{Address: a, Timeout: c.MilterTimeout, Closed: c.MilterClosed})
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// close gives up what filters hold.
func (j judges) close() {
	for _, one := range []*smtp.Judge{j.mx, j.submission} {
		if one != nil {
			one.Close()
		}
	}
}
