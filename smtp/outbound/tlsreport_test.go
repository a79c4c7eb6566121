package outbound

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/smtp/report"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// queued are the messages in the outbox: envelope and text.
func queued(t testing.TB, s *storage.Store) (from, to, texts []string) {
	t.Helper()
	all, err := s.Lease(t.Context(), storage.LeaseRequest{Owner: "test", For: time.Minute, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range all {
		b, err := s.OpenOutgoing(t.Context(), l.Outbox)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(b, 0, l.Size))
		b.Close()
		if err != nil {
			t.Fatal(err)
		}
		from, to, texts = append(from, l.From), append(to, l.Address), append(texts, string(text))
	}
	return from, to, texts
}

// TestReport: a day's results come to those who want them, in a report that another implementation reads.
func TestReport(t *testing.T) {
	ca := newAuthority(t)
	later := time.Now().Add(time.Hour)
	good, bad := ca.issue(t, later, "mx.remote.example"), ca.issue(t, later, "other.example")
	site := newSTSSite(t, ca)
	site.serve(stsPolicy)
	r := dns.MockResolver{AllAuthentic: true,
		A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}},
		TXT: map[string][]string{"_mta-sts.remote.example.": {"v=STSv1; id=1;"}, "_smtp._tls.remote.example.": {"v=TLSRPTv1; rua=mailto:tls@reports.example,mailto:b%40x.example;"},
			"_smtp._tls.silent.example.": {"v=TLSRPTv1; rua=mailto:a@x.example", "v=TLSRPTv1; rua=mailto:b@x.example"}},
		TLSA: map[string][]adns.TLSA{"_25._tcp.mx.dane.example.": {spki(good, adns.TLSAUsageDANEEE)}},
	}
	store := storagetest.New(t)
	now := time.Now() // stands still, so that the day does
	p := NewPolicies(store, r, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port, Now: func() time.Time { return now }})
	attempt := func(hop Hop, host string, cert tls.Certificate, a Attempt) {
		t.Helper()
		hp, err := p.For(t.Context(), hop).Host(t.Context(), Host{Name: host, Secure: true, ExpandedSecure: true})
		if err != nil {
			return // counted by itself
		}
		if !a.NoSTARTTLS {
			_, a.Err = handshake(t, hp.Config(), cert)
		}
		a.Local, a.Remote, a.Helo = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), "mx"
		hp.Done(a)
	}
	remote := Hop{Domain: "remote.example", HaveMX: true}
	attempt(remote, "mx.remote.example", good, Attempt{})
	attempt(remote, "mx.remote.example", good, Attempt{})
	attempt(remote, "mx.remote.example", bad, Attempt{})
	attempt(remote, "mx.remote.example", good, Attempt{NoSTARTTLS: true})
	attempt(remote, "mx2.remote.example", good, Attempt{})
	attempt(Hop{Domain: "remote.example", HaveMX: true, OptionalTLS: true}, "mx.remote.example", bad, Attempt{}) // not counted
	attempt(Hop{Domain: "silent.example"}, "silent.example", good, Attempt{})
	attempt(Hop{Domain: "dane.example", HaveMX: true, Secure: true, ExpandedSecure: true}, "mx.dane.example", bad, Attempt{})
	if err := p.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	day := storage.TLSDay(now)
	if due, err := store.TLSReportsDue(t.Context(), day, "", 10); err != nil || strings.Join(due, " ") != "dane.example mx.dane.example remote.example silent.example" {
		t.Fatal(due, err)
	}
	if err := p.reportAll(t.Context(), day); err != nil {
		t.Fatal(err)
	}
	if due, err := store.TLSReportsDue(t.Context(), day, "", 10); err != nil || len(due) != 0 {
		t.Error("left:", due, err)
	}
	from, to, texts := queued(t, store)
	if len(to) != 2 || from[0] != "postmaster@example.test" || to[0]+to[1] != "tls@reports.exampleb@x.example" && to[1]+to[0] != "tls@reports.exampleb@x.example" {
		t.Fatal(from, to)
	}
	for _, want := range []string{"TLS-Report-Domain: remote.example\r\n", "TLS-Report-Submitter: example.test\r\n", "TLS-Required: No\r\n", "From: \"TLS reports\" <postmaster@example.test>\r\n", "report-type=\"tlsrpt\""} {
		if !strings.Contains(texts[0], want) {
			t.Errorf("no %q in\n%s", want, texts[0])
		}
	}
	got, err := tlsrpt.ParseMessage(slog.New(slog.DiscardHandler), strings.NewReader(texts[0]))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Policies) != 1 {
		t.Fatalf("%+v", got)
	}
	pol := got.Policies[0]
	if pol.Policy.Type != tlsrpt.STS || pol.Policy.Domain != "remote.example" || len(pol.Policy.MXHost) != 1 || pol.Policy.MXHost[0] != "mx.remote.example" || len(pol.Policy.String) != 4 ||
		pol.Summary.TotalSuccessfulSessionCount != 2 || pol.Summary.TotalFailureSessionCount != 3 || len(pol.FailureDetails) != 3 {
		t.Errorf("%+v", pol)
	}
	kinds := map[tlsrpt.ResultType]int64{}
	for _, f := range pol.FailureDetails {
		kinds[f.ResultType] += f.FailedSessionCount
	}
	if kinds[tlsrpt.ResultCertificateHostMismatch] != 1 || kinds[tlsrpt.ResultSTARTTLSNotSupported] != 1 || kinds[tlsrpt.ResultValidationFailure] != 1 {
		t.Error(kinds)
	}
	if got.DateRange.Start.Unix() != day*86400 || got.ContactInfo != "postmaster@example.test" || got.ReportID == "" {
		t.Errorf("%+v", got)
	}
	// It is signed by us, as RFC 8460 section 3 wants it.
	signed, err := NewSigner(store, SignOptions{}).Sign(t.Context(), "", "", strings.NewReader(texts[0]), int64(len(texts[0])))
	if err != nil {
		t.Fatal(err)
	}
	if v := verified(t, published(t, store, "example.test"), string(signed)+texts[0]); len(v) != 2 || !strings.HasSuffix(v[0], "pass") {
		t.Error(v)
	}
}

// TestReportLater: without an answer of the DNS a report waits, two days at most.
func TestReportLater(t *testing.T) {
	store := storagetest.New(t)
	p := NewPolicies(store, dns.MockResolver{Fail: []string{"txt _smtp._tls.remote.example."}}, PolicyOptions{})
	if err := store.CountTLS(t.Context(), map[storage.TLSResult]int64{{Day: 100, Domain: "remote.example", Policy: "{}"}: 1}); err != nil {
		t.Fatal(err)
	}
	for day, left := range map[int64]int{100: 1, 101: 1} {
		if err := p.reportAll(t.Context(), day); err == nil {
			t.Error("no error")
		}
		if due, err := store.TLSReportsDue(t.Context(), 100, "", 10); err != nil || len(due) != left {
			t.Error(day, due, err)
		}
	}
	if err := p.reportAll(t.Context(), 102); err != nil {
		t.Error(err)
	}
	if due, err := store.TLSReportsDue(t.Context(), 100, "", 10); err != nil || len(due) != 0 {
		t.Error(due, err)
	}
}

// TestReportPost: reports by HTTPS, and never to a neighbour of ours.
func TestReportPost(t *testing.T) {
	ca := newAuthority(t)
	var got []byte
	var kind string
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = io.ReadAll(r.Body)
		kind = r.Header.Get("Content-Type")
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/", http.StatusTemporaryRedirect)
		}
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{ca.issue(t, time.Now().Add(time.Hour), "reports.example")}}
	s.StartTLS()
	t.Cleanup(s.Close)
	where := strings.Replace(s.URL, "127.0.0.1", "reports.example", 1)
	r := dns.MockResolver{A: map[string][]string{"reports.example.": {"127.0.0.1"}}}
	rep := newReport(report.PeriodOf(100, time.Time{}, time.Now()), "remote.example", report.Sender{Address: "postmaster@example.test", Domain: "example.test"}, map[storage.TLSResult]int64{{Policy: `{"t":"sts","d":"remote.example"}`}: 3})
	packed, err := rep.packed()
	if err != nil {
		t.Fatal(err)
	}
	p := NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: ca.pool})
	if err := p.postReport(t.Context(), where+"/x", packed); err == nil || got != nil {
		t.Error("it was posted to loopback")
	}
	p = NewPolicies(storagetest.New(t), r, PolicyOptions{Roots: ca.pool, AnyAddress: true})
	if err := p.postReport(t.Context(), where+"/x", packed); err != nil || kind != "application/tlsrpt+gzip" {
		t.Fatal(kind, err)
	}
	z, err := gzip.NewReader(bytes.NewReader(got))
	if err != nil {
		t.Fatal(err)
	}
	if parsed, err := tlsrpt.Parse(z); err != nil || parsed.Policies[0].Summary.TotalSuccessfulSessionCount != 3 {
		t.Error(parsed, err)
	}
	if err := p.postReport(t.Context(), where+"/moved", packed); err == nil {
		t.Error("a redirect is no success")
	}
}

// TestPoliciesRun: what was counted is in the store when the house is closed.
func TestPoliciesRun(t *testing.T) {
	store := storagetest.New(t)
	p := NewPolicies(store, dns.MockResolver{}, PolicyOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	day := storage.TLSDay(time.Now())
	p.count("remote.example", reported{Type: "no-policy-found", Domain: "remote.example"}, nil)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for _, d := range []int64{day, day + 1} { // midnight may have come
		if due, err := store.TLSReportsDue(t.Context(), d, "", 10); err == nil && len(due) == 1 {
			return
		}
	}
	t.Error("it is not in the store")
}

// TestReportTargets: where reports go is another's word; what is no address of mail or of a site is left out.
func TestReportTargets(t *testing.T) {
	for record, want := range map[string]string{
		"v=TLSRPTv1; rua=mailto:a@x.example":                         "[] [a@x.example]",
		"v=TLSRPTv1; rua=https://x.example/r,mailto:a@x.example":     "[https://x.example/r] [a@x.example]",
		"v=TLSRPTv1; rua=http://x.example/r":                         "[] []",
		"v=TLSRPTv1; rua=mailto:a":                                   "[] []",
		"v=TLSRPTv1; rua=mailto:a%0d%0abcc:b@x.example":              "[] []",
		"v=TLSRPTv1; rua=mailto:a@x.example?subject=x":               "[] [a@x.example]",
		"v=TLSRPTv1; rua=mailto:a@x.example; rua=mailto:b@x.example": "[] [a@x.example b@x.example]",
		"v=TLSRPTv1; rua=mailto:1@x.example,mailto:2@x.example,mailto:3@x.example,mailto:4@x.example,mailto:5@x.example,mailto:6@x.example": "[] [1@x.example 2@x.example 3@x.example 4@x.example 5@x.example]",
	} {
		r, _, err := tlsrpt.ParseRecord(record)
		if err != nil {
			t.Fatal(record, err)
		}
		posts, mails := targetsOf(r)
		if got := fmt.Sprint(posts, " ", mails); got != want {
			t.Errorf("%s: %s, want %s", record, got, want)
		}
	}
}
