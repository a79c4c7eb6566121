package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/storage"
)

const (
	reportURIs   = 5 // of a record that are used
	reportKept   = 2 // days for which a report is tried
	reportAsk    = 20 * time.Second
	reportPost   = time.Minute // for all sites of a domain
	flushEvery   = 30 * time.Second
	refreshEvery = time.Hour
)

// Run writes down what is counted, keeps the cached policies fresh and sends the reports of each day that is over. It returns when ctx ends.
func (p *Policies) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	work.Go(func() { p.daily.Run(ctx, p.o.Now, p.reportAll) })
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	refreshed := p.o.Now()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			if err := p.Flush(last); err != nil {
				p.o.Logger.Error("cannot write down results of tls", "error", err)
			}
			return nil
		case <-tick.C:
		}
		if err := p.Flush(ctx); err != nil && ctx.Err() == nil {
			p.o.Logger.Error("cannot write down results of tls", "error", err)
		}
		if now := p.o.Now(); now.Sub(refreshed) >= refreshEvery {
			refreshed = now
			if err := p.refreshAll(ctx); err != nil && ctx.Err() == nil {
				p.o.Logger.Error("cannot refresh mta-sts policies", "error", err)
			}
		}
	}
}

// reportAll reports what is there of a day and of the one before, to those who want it, and forgets it. What could not be reported for days is forgotten too.
func (p *Policies) reportAll(ctx context.Context, day int64) error {
	if p.o.NoReports {
		return p.store.DropReports(ctx, storage.ReportTLS, day)
	}
	_, err := p.daily.Send(ctx, p.reports(), day-reportKept+1, day, "")
	if err != nil && ctx.Err() == nil {
		p.o.Logger.Error("some tls reports could not be made, and are tried again in an hour", "error", err)
	}
	return errors.Join(err, p.store.DropReports(ctx, storage.ReportTLS, day-reportKept))
}

// SendReports sends the reports of all that was counted up to now, of one domain or ("") of all: days that are over, and what there is of this one, whose report at its
// end begins where this one ends. An error means that some could not be sent and are tried again; what was sent is told with it.
func (p *Policies) SendReports(ctx context.Context, domain string) ([]report.Sent, error) {
	if p.o.NoReports {
		return nil, nil
	}
	if err := p.Flush(ctx); err != nil {
		return nil, err
	}
	today := storage.TLSDay(p.o.Now())
	return p.daily.Send(ctx, p.reports(), today-reportKept, today, domain)
}

// Flush writes down what was counted and is not in the store yet.
func (p *Policies) Flush(ctx context.Context) error {
	return p.daily.Writing(func() error { return p.flush(ctx) })
}

// reports are what Daily must know.
func (p *Policies) reports() report.Reports {
	return report.Reports{Now: p.o.Now, Due: p.store.TLSReportsDue, Send: p.report}
}

// report sends the report of a domain and day. An error means that it may be tried again.
func (p *Policies) report(ctx context.Context, day int64, domain string) (report.Sent, error) {
	sent := report.Sent{Kind: storage.ReportTLS, Domain: domain}
	done := func(why string, err error, until time.Time) (report.Sent, error) {
		if sent.Problem = why; err != nil {
			sent.Problem = err.Error()
			return sent, err
		}
		return sent, p.store.Reported(ctx, storage.ReportTLS, day, domain, until)
	}
	d, err := dns.ParseDomain(domain)
	if err != nil {
		return done("no domain name", nil, time.Time{})
	}
	asking, cancel := context.WithTimeout(ctx, reportAsk)
	defer cancel()
	record, _, err := tlsrpt.Lookup(asking, p.o.Logger, p.resolver, d)
	if errors.Is(err, tlsrpt.ErrDNS) {
		return done("", err, time.Time{})
	}
	if err != nil { // RFC 8460 section 3: none, several or a broken one
		return done("it asks for none", nil, time.Time{})
	}
	results, err := p.store.TLSResults(ctx, day, domain)
	if err != nil {
		return done("", err, time.Time{})
	}
	from, ok, err := report.SenderOf(ctx, p.store, p.o.ReportsFrom)
	if err != nil || !ok {
		return done("there is no domain of ours", err, time.Time{})
	}
	until, err := p.store.ReportedUntil(ctx, storage.ReportTLS, day, domain)
	if err != nil {
		return done("", err, time.Time{})
	}
	r := newReport(report.PeriodOf(day, until, p.o.Now()), domain, from, results)
	sent.ID, sent.Begin, sent.End = r.ID, r.Begin, r.End
	packed, err := r.packed()
	if err != nil {
		return done("", err, time.Time{})
	}
	posts, mails := targetsOf(record)
	if len(posts)+len(mails) == 0 {
		return done("there is nowhere to send it", nil, time.Time{})
	}
	if len(mails) > 0 {
		if err := p.mailReport(ctx, r, packed, mails); err != nil {
			return done("", err, time.Time{})
		}
	}
	sent.To = mails
	var problem string
	var retry error
	posting, stop := context.WithTimeout(ctx, reportPost)
	defer stop()
	for _, where := range posts {
		if err := p.postReport(posting, where, packed); err != nil {
			p.o.Logger.Info("cannot post a tls report", "domain", domain, "to", where, "error", err)
			if problem = where + ": " + err.Error(); !errors.Is(err, errPrivate) {
				retry = err
			}
			continue
		}
		sent.To = append(sent.To, where)
	}
	if len(sent.To) == 0 && retry != nil { // RFC 8460 section 5.5: it is tried again for a day
		return done("", retry, time.Time{})
	}
	p.o.Logger.Info("tls report sent", "domain", domain, "id", r.ID, "to", len(sent.To))
	return done(problem, nil, r.Rest())
}

// targetsOf are where a record wants its reports.
func targetsOf(record *tlsrpt.Record) (posts []string, mails []string) {
	for _, list := range record.RUAs {
		for _, rua := range list {
			u, err := rua.URI()
			if err != nil || len(posts)+len(mails) >= reportURIs {
				continue
			}
			switch u.Scheme {
			case "https":
				posts = append(posts, u.String())
			case "mailto":
				addr, err := url.PathUnescape(u.Opaque)
				if err != nil {
					continue
				}
				if _, _, err := storage.ParseAddress(addr); err == nil && !strings.ContainsAny(addr, "\r\n <>,") {
					mails = append(mails, addr)
				}
			}
		}
	}
	return posts, mails
}

// tlsReport is one as it is sent (RFC 8460 section 4.4).
type tlsReport struct {
	tlsrpt.ReportJSON
	report.Period
	ID, domain string
	from       report.Sender
}

func newReport(period report.Period, domain string, from report.Sender, results map[storage.TLSResult]int64) *tlsReport {
	r := &tlsReport{Period: period, ID: period.ID(domain, from.Domain), domain: domain, from: from}
	var all tlsrpt.Report
	for k, n := range results {
		var pol reported
		if json.Unmarshal([]byte(k.Policy), &pol) != nil {
			continue
		}
		one := tlsrpt.Result{Policy: tlsrpt.ResultPolicy{Type: tlsrpt.PolicyType(pol.Type), String: emptyNotNil(pol.Text), Domain: pol.Domain, MXHost: emptyNotNil(pol.MX)}, FailureDetails: []tlsrpt.FailureDetails{}}
		var f fault
		switch {
		case k.Failure == "":
			one.Summary.TotalSuccessfulSessionCount = n
		case json.Unmarshal([]byte(k.Failure), &f) != nil:
			continue
		default:
			one.Summary.TotalFailureSessionCount = n
			one.FailureDetails = append(one.FailureDetails, tlsrpt.FailureDetails{ResultType: tlsrpt.ResultType(f.Type), SendingMTAIP: f.Local, ReceivingMXHostname: f.Host,
				ReceivingMXHelo: f.Helo, ReceivingIP: f.Remote, FailedSessionCount: n, FailureReasonCode: f.Reason})
		}
		all.Merge(one)
	}
	slices.SortFunc(all.Policies, func(a, b tlsrpt.Result) int {
		return strings.Compare(string(a.Policy.Type)+" "+a.Policy.Domain, string(b.Policy.Type)+" "+b.Policy.Domain)
	})
	all.OrganizationName, all.ContactInfo, all.ReportID = from.Domain, from.Address, r.ID
	all.DateRange = tlsrpt.TLSRPTDateRange{Start: r.Begin, End: r.End}
	r.ReportJSON = all.Convert()
	return r
}

func emptyNotNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

// packed is the report in JSON, compressed.
func (r *tlsReport) packed() ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if err := json.NewEncoder(z).Encode(r.ReportJSON); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// mailReport sends a report as mail (RFC 8460 section 5.3). RFC 8460 section 3: it must get there whatever is wrong with TLS, which "TLS-Required: No" says, and how
// that went is not reported.
func (p *Policies) mailReport(ctx context.Context, r *tlsReport, packed []byte, to []string) error {
	m := report.Mail{From: r.from, Name: "TLS reports", To: to, Domain: r.domain, ID: r.ID,
		Fields: []string{"TLS-Report-Domain: " + r.domain, "TLS-Report-Submitter: " + r.from.Domain, "TLS-Required: No"},
		Kind:   `multipart/report; report-type="tlsrpt"`,
		Text: fmt.Sprintf("This is a report on TLS between %s and\r\n%s, from %s\r\nto %s (UTC).\r\nThe TLSRPT record of the domain asks for it.\r\n",
			r.from.Domain, r.domain, r.Begin.Format(time.DateTime), r.End.Format(time.DateTime)),
		Attached: "application/tlsrpt+gzip", Filename: r.Filename(r.domain, r.from.Domain, "json.gz"), Data: packed,
	}
	return report.Send(ctx, p.store, m.Bytes(p.o.Now()), r.from.Address, to)
}

// errPrivate is the error of a post to an address that is no public one: whose domain names it might ask us to knock at our neighbours' doors.
var errPrivate = errors.New("not a public address")

// postReport sends a report by HTTPS, as long as ctx lasts. RFC 8460 section 3: POST, 200 is success. Where it goes is another's word, so it goes to public addresses alone and follows no redirects.
func (p *Policies) postReport(ctx context.Context, where string, packed []byte) error {
	u, err := url.Parse(where)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where, bytes.NewReader(packed))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/tlsrpt+gzip")
	req.Header.Set("User-Agent", "packetboat")
	t := p.transport(u.Hostname())
	t.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return p.dialPublic(ctx, u.Hostname(), port)
	}
	defer t.CloseIdleConnections()
	client := &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return errors.New(resp.Status)
	}
	return nil
}

// dialPublic connects to a host that has a public address.
func (p *Policies) dialPublic(ctx context.Context, host, port string) (net.Conn, error) {
	ips, _, err := p.resolver.LookupIP(ctx, "ip", strings.TrimSuffix(host, ".")+".")
	if err != nil {
		return nil, err
	}
	err = errPrivate
	for _, ip := range ips[:min(len(ips), 4)] {
		a, ok := netip.AddrFromSlice(ip)
		if a = a.Unmap(); !ok || !p.o.AnyAddress && (!a.IsGlobalUnicast() || a.IsPrivate()) {
			continue
		}
		d := net.Dialer{Timeout: 15 * time.Second}
		var c net.Conn
		if c, err = d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), port)); err == nil {
			return c, nil
		}
	}
	return nil, err
}
