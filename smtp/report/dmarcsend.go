package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

const (
	kept       = 2                // days for which a report is tried
	askMax     = 20 * time.Second // for all that the DNS is asked about a domain
	flushEvery = 30 * time.Second
)

// Run writes down what is counted, and sends the reports of each day that is over. It returns when ctx ends.
//
// RFC 7489 section 6.3: daily reports are what everybody must be able to send; ri= of less is a wish, which RFC 9990 has no more.
func (d *DMARC) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { d.daily.Run(ctx, d.o.Now, d.reportAll) })
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := d.Flush(last); err != nil {
				d.o.Logger.Error("cannot write down results of dmarc", "error", err)
			}
			return nil
		case <-tick.C:
		case <-d.full:
		}
		if err := d.Flush(ctx); err != nil && ctx.Err() == nil {
			d.o.Logger.Error("cannot write down results of dmarc", "error", err)
		}
	}
}

// reportAll reports a day and the one before, and forgets both and what is older: what could not be reported for days is not reported any more.
func (d *DMARC) reportAll(ctx context.Context, day int64) error {
	_, err := d.daily.Send(ctx, d.reports(), day-kept+1, day, "")
	if err != nil && ctx.Err() == nil {
		d.o.Logger.Error("some dmarc reports could not be made, and are tried again in an hour", "error", err)
	}
	if err == nil {
		return d.store.DropReports(ctx, storage.ReportDMARC, day) // what is left are days of nothing but reports
	}
	return errors.Join(err, d.store.DropReports(ctx, storage.ReportDMARC, day-kept))
}

// SendReports sends the reports of all that was counted up to now, of one domain or ("") of all: days that are over, and what there is of this one, whose report at its
// end begins where this one ends. An error means that some could not be sent and are tried again; what was sent is told with it.
func (d *DMARC) SendReports(ctx context.Context, domain string) ([]Sent, error) {
	if err := d.Flush(ctx); err != nil {
		return nil, err
	}
	today := storage.TLSDay(d.o.Now())
	return d.daily.Send(ctx, d.reports(), today-kept, today, domain)
}

// reports are what Daily must know.
func (d *DMARC) reports() Reports {
	return Reports{Now: d.o.Now, Due: d.store.DMARCReportsDue, Send: func(ctx context.Context, day int64, domain string) (Sent, error) {
		return d.report(ctx, storage.DMARCDay{Day: day, Domain: domain})
	}}
}

// report sends the report of a domain and day. An error means that it may be tried again.
func (d *DMARC) report(ctx context.Context, day storage.DMARCDay) (Sent, error) {
	sent := Sent{Kind: storage.ReportDMARC, Domain: day.Domain}
	done := func(why string, err error, until time.Time) (Sent, error) {
		if sent.Problem = why; err != nil {
			sent.Problem = err.Error()
			return sent, err
		}
		return sent, d.store.Reported(ctx, storage.ReportDMARC, day.Day, day.Domain, until)
	}
	asking, cancel := context.WithTimeout(ctx, askMax)
	defer cancel()
	targets, problems, err := verify.ReportTargets(asking, d.resolver, day.Domain)
	if errors.Is(err, verify.ErrNoReports) {
		return done("it asks for none any more", nil, time.Time{})
	}
	if err != nil {
		return done("", err, time.Time{})
	}
	targets = slices.DeleteFunc(targets, func(t verify.ReportTarget) bool {
		_, _, err := storage.ParseAddress(t.Address)
		return err != nil
	})
	if len(targets) == 0 {
		return done(strings.Join(append(problems, "there is nowhere to send it"), "; "), nil, time.Time{})
	}
	from, ok, err := SenderOf(ctx, d.store, d.o.From)
	if err != nil || !ok {
		return done("there is no domain of ours", err, time.Time{})
	}
	until, err := d.store.ReportedUntil(ctx, storage.ReportDMARC, day.Day, day.Domain)
	if err != nil {
		return done("", err, time.Time{})
	}
	results, policy, err := d.store.DMARCResults(ctx, day)
	if err != nil {
		return done("", err, time.Time{})
	}
	period := PeriodOf(day.Day, until, d.o.Now())
	f, err := feedback(period, day.Domain, from, results, policy, problems)
	if err != nil || len(f.Records) == 0 { // appendix C wants a record
		return done("nothing can be told", nil, time.Time{})
	}
	data, err := packed(f)
	if err != nil {
		return done("", err, time.Time{})
	}
	sent.ID, sent.Begin, sent.End = f.ReportMetadata.ReportID, period.Begin, period.End
	m := &Mail{From: from, Name: "DMARC reports", Domain: day.Domain, ID: sent.ID, Kind: "multipart/mixed", Attached: "application/gzip",
		Filename: period.Filename(day.Domain, from.Domain, "xml.gz"), Data: data,
		Text: fmt.Sprintf("This is a DMARC aggregate report of %s on mail in the name of\r\n%s, from %s to %s (UTC).\r\nThe DMARC record of the domain asks for it (rua=).\r\n",
			from.Domain, day.Domain, period.Begin.Format(time.DateTime), period.End.Format(time.DateTime))}
	if sent.To, err = d.mail(ctx, m, targets); err != nil {
		return done("", err, time.Time{})
	}
	if len(sent.To) == 0 {
		problems = append(problems, "it is larger than anybody takes there")
	}
	d.o.Logger.Info("dmarc report sent", "domain", day.Domain, "id", sent.ID, "records", len(f.Records), "to", len(sent.To))
	return done(strings.Join(problems, "; "), nil, period.Rest())
}

// mail sends a report to those who take its size (RFC 7489 section 7.2.1: with all encodings). When nobody does, all of them are told so (section 7.2.2).
func (d *DMARC) mail(ctx context.Context, m *Mail, targets []verify.ReportTarget) (to []string, err error) {
	all := addresses(targets)
	m.To = all
	text := m.Bytes(d.o.Now())
	targets = slices.DeleteFunc(targets, func(t verify.ReportTarget) bool { return t.Max > 0 && int64(len(text))+signatures > t.Max })
	if len(targets) == 0 {
		return nil, d.tooLarge(ctx, m, len(text))
	}
	if len(targets) < len(all) {
		m.To = addresses(targets)
		text = m.Bytes(d.o.Now())
	}
	return m.To, Send(ctx, d.store, text, m.From.Address, m.To)
}

// signatures is what a message grows by on its way, at most as a rule: two DKIM signatures.
const signatures = 2 << 10

func addresses(targets []verify.ReportTarget) (all []string) {
	for _, t := range targets {
		all = append(all, t.Address)
	}
	return all
}

// tooLarge tells that there is a report which nobody takes (RFC 7489 section 7.2.2).
func (d *DMARC) tooLarge(ctx context.Context, m *Mail, size int) error {
	e := &Mail{From: m.From, Name: m.Name, To: m.To, Domain: m.Domain, ID: m.ID, Subject: "DMARC aggregate report for " + m.Domain + " could not be sent",
		Text: fmt.Sprintf("Report-Date: %s\r\nReport-Domain: %s\r\nReport-ID: %s\r\nReport-Size: %d\r\nSubmitter: %s\r\nSubmitting-URI: mailto:%s\r\n",
			d.o.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"), m.Domain, m.ID, size, m.From.Domain, strings.Join(m.To, ",mailto:"))}
	return Send(ctx, d.store, e.Bytes(d.o.Now()), m.From.Address, m.To)
}
