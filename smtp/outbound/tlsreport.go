package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/storage"
)

const (
	reportSpread = 4 * time.Hour // RFC 8460 section 4.1: reports are not all sent at midnight
	reportBatch  = 100           // domains looked at between two breaths
	reportURIs   = 5             // of a record that are used
	reportKept   = 2             // days for which a report is tried
	reportPost   = time.Minute
	flushEvery   = 30 * time.Second
	refreshEvery = time.Hour
)

// Run writes down what is counted, keeps the cached policies fresh and sends the reports of each day that is over. It returns when ctx ends.
func (p *Policies) Run(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	refreshed := p.o.Now()
	day, at := storage.TLSDay(p.o.Now()), p.o.Now().Add(mathrand.N(10*time.Minute)) // what the last run left
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			if err := p.flush(last); err != nil {
				p.o.Logger.Error("cannot write down results of tls", "error", err)
			}
			cancel()
			return nil
		case <-tick.C:
		}
		now := p.o.Now()
		if err := p.flush(ctx); err != nil {
			p.o.Logger.Error("cannot write down results of tls", "error", err)
		}
		if now.Sub(refreshed) >= refreshEvery {
			refreshed = now
			if err := p.refreshAll(ctx); err != nil && ctx.Err() == nil {
				p.o.Logger.Error("cannot refresh mta-sts policies", "error", err)
			}
		}
		if today := storage.TLSDay(now); today != day {
			day, at = today, now.Add(5*time.Minute+mathrand.N(reportSpread))
		}
		if !at.IsZero() && !now.Before(at) {
			at = time.Time{}
			if err := p.reportAll(ctx, day-1); err != nil && ctx.Err() == nil {
				p.o.Logger.Error("some tls reports could not be made, and are tried again in an hour", "error", err)
				at = now.Add(time.Hour)
			}
		}
	}
}

// reportAll reports what is there of a day and of the one before, to those who want it, and forgets it. What could not be reported for days is forgotten too.
func (p *Policies) reportAll(ctx context.Context, day int64) (err error) {
	if p.o.NoReports {
		return p.store.DropTLSResults(ctx, day, "")
	}
	for d := day - reportKept + 1; d <= day; d++ {
		for after := ""; ; {
			domains, listErr := p.store.TLSReportsDue(ctx, d, after, reportBatch)
			if listErr != nil {
				return listErr
			}
			if len(domains) == 0 {
				break
			}
			for _, domain := range domains {
				after = domain
				if one := p.report(ctx, d, domain); one != nil {
					err = one
				}
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
		}
	}
	return errors.Join(err, p.store.DropTLSResults(ctx, day-reportKept, ""))
}

// report sends the report of a domain and day. An error means that it may be tried again.
func (p *Policies) report(ctx context.Context, day int64, domain string) error {
	d, err := dns.ParseDomain(domain)
	if err != nil {
		return p.store.DropTLSResults(ctx, day, domain)
	}
	record, _, err := tlsrpt.Lookup(ctx, p.o.Logger, p.resolver, d)
	if errors.Is(err, tlsrpt.ErrDNS) {
		return err
	}
	if err != nil { // RFC 8460 section 3: none, several or a broken one
		return p.store.DropTLSResults(ctx, day, domain)
	}
	results, err := p.store.TLSResults(ctx, day, domain)
	if err != nil {
		return err
	}
	us, err := p.store.Domains(ctx)
	if err != nil || len(us) == 0 {
		return err
	}
	r := newReport(day, domain, us[0].Name, results)
	packed, err := r.packed()
	if err != nil {
		return err
	}
	posts, mails := targetsOf(record)
	if len(mails) > 0 {
		if err := p.mailReport(ctx, r, packed, mails); err != nil {
			return err
		}
	}
	for _, where := range posts {
		if err := p.postReport(ctx, where, packed); err != nil {
			p.o.Logger.Info("cannot post a tls report", "domain", domain, "to", where, "error", err)
		}
	}
	p.o.Logger.Info("tls report sent", "domain", domain, "id", r.ID)
	return p.store.DropTLSResults(ctx, day, domain)
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

// report is one as it is sent (RFC 8460 section 4.4).
type report struct {
	tlsrpt.ReportJSON
	ID, domain, us string
	day            int64
	begin, end     time.Time
}

func newReport(day int64, domain, us string, results map[storage.TLSResult]int64) *report {
	r := &report{domain: domain, us: us, day: day, begin: time.Unix(day*86400, 0).UTC(), end: time.Unix(day*86400+86399, 0).UTC()}
	// The same for the same report: one that a crash sends twice can be told.
	r.ID = fmt.Sprintf("%s.%s@%s", r.begin.Format("2006-01-02"), domain, us)
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
	all.OrganizationName, all.ContactInfo, all.ReportID = us, "postmaster@"+us, r.ID
	all.DateRange = tlsrpt.TLSRPTDateRange{Start: r.begin, End: r.end}
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
func (r *report) packed() ([]byte, error) {
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

// mailReport puts a report into the outbox, from where it goes signed as all that is ours. RFC 8460 section 3: it must get there whatever is wrong with TLS, which
// "TLS-Required: No" says, and how that went is not reported.
func (p *Policies) mailReport(ctx context.Context, r *report, packed []byte, to []string) error {
	u, err := p.store.NewMail(ctx, 0, -1)
	if err != nil {
		return err
	}
	if err := r.message(u, packed, to, p.o.Now()); err != nil {
		u.Abort()
		return err
	}
	// The null sender: nobody need be told when a report gets nowhere.
	out := storage.Outgoing{}
	for _, addr := range to {
		out.UTF8 = out.UTF8 || !onlyASCII(addr)
		out.Recipients = append(out.Recipients, storage.OutgoingRecipient{Address: addr, Notify: "NEVER"})
	}
	if _, err := p.store.Enqueue(ctx, u, []storage.Outgoing{out}, nil); err != nil {
		u.Abort()
		return err
	}
	return nil
}

func onlyASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// message writes the report as mail (RFC 8460 section 5.3).
func (r *report) message(w io.Writer, packed []byte, to []string, now time.Time) error {
	boundary := "=_" + rand.Text()
	from := "postmaster@" + r.us
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: \"TLS reports\" <%s>\r\nTo: <%s>\r\n", from, strings.Join(to, ">,\r\n\t<"))
	fmt.Fprintf(&b, "Subject: Report Domain: %s\r\n\tSubmitter: %s\r\n\tReport-ID: <%s>\r\n", r.domain, r.us, r.ID)
	fmt.Fprintf(&b, "Date: %s\r\nMessage-ID: <%s.%s>\r\n", now.UTC().Format("Mon, 02 Jan 2006 15:04:05 -0700"), strings.ToLower(rand.Text()), r.ID)
	fmt.Fprintf(&b, "TLS-Report-Domain: %s\r\nTLS-Report-Submitter: %s\r\nTLS-Required: No\r\nAuto-Submitted: auto-generated\r\n", r.domain, r.us)
	fmt.Fprintf(&b, "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=\"tlsrpt\";\r\n\tboundary=\"%s\"\r\n\r\n", boundary)
	fmt.Fprintf(&b, "--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"+
		"This is a report on TLS between %s and\r\n%s, on %s (UTC).\r\nThe TLSRPT record of the domain asks for it.\r\n\r\n", boundary, r.us, r.domain, r.begin.Format("2006-01-02"))
	name := fmt.Sprintf("%s!%s!%d!%d.json.gz", r.us, r.domain, r.begin.Unix(), r.end.Unix())
	fmt.Fprintf(&b, "--%s\r\nContent-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment;\r\n\tfilename=\"%s\"\r\n\r\n", boundary, name)
	text := base64.StdEncoding.EncodeToString(packed)
	for len(text) > 0 {
		n := min(76, len(text))
		b.WriteString(text[:n] + "\r\n")
		text = text[n:]
	}
	fmt.Fprintf(&b, "--%s--\r\n", boundary)
	_, err := w.Write(b.Bytes())
	return err
}

// errPrivate is the error of a post to an address that is no public one: whose domain names it might ask us to knock at our neighbours' doors.
var errPrivate = errors.New("not a public address")

// postReport sends a report by HTTPS. RFC 8460 section 3: POST, 200 is success. Where it goes is another's word, so it goes to public addresses alone and follows no redirects.
func (p *Policies) postReport(ctx context.Context, where string, packed []byte) error {
	ctx, cancel := context.WithTimeout(ctx, reportPost)
	defer cancel()
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
