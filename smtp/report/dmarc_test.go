package report

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/mail"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mjl-/mox/dmarcrpt"
	"github.com/mjl-/mox/dns"
	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// sent are the messages in the queue, by recipient; they leave it.
func sent(t testing.TB, s *storage.Store) map[string]string {
	t.Helper()
	all, err := s.Lease(t.Context(), storage.LeaseRequest{Owner: "test", For: time.Hour, Max: 100})
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{}
	for _, l := range all {
		b, err := s.OpenOutgoing(t.Context(), l.Outbox)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(b, 0, l.Size))
		b.Close()
		if err != nil || l.From != "postmaster@example.test" || l.Notify != "NEVER" {
			t.Fatal(l.From, l.Notify, err)
		}
		texts[l.Address] = string(text)
	}
	return texts
}

// parsed is the report in a message, as another implementation reads it.
func parsed(t testing.TB, text string) *dmarcrpt.Feedback {
	t.Helper()
	f, err := dmarcrpt.ParseMessageReport(slog.New(slog.DiscardHandler), strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return f
}

// message is one of a domain that asks for reports.
func message(domain string) Judged {
	return Judged{Disposition: "none", Result: &verify.Result{Remote: netip.MustParseAddr("192.0.2.1"), Helo: "mx.them.example", MailFrom: "joe@Bounce.them.example",
		SPF:   verify.SPF{Status: verify.Pass, Domain: "bounce.them.example"},
		DKIM:  []verify.Signature{{Status: verify.Fail, Domain: "list.example", Selector: "l"}, {Status: verify.Neutral}, {Status: verify.Pass, Domain: "esp.example", Selector: "e"}, {Status: verify.Pass, Domain: "them.example", Selector: "t"}},
		DMARC: verify.DMARC{Status: verify.Pass, From: "sub." + domain, Domain: domain, DKIM: true, Published: &verify.Published{Policy: "reject", SubPolicy: "none", StrictSPF: true, Percent: 50, Failures: "1:d"}}}}
}

// world is a store with a DNS and a clock.
type world struct {
	store *storage.Store
	dns   dns.MockResolver
	mu    sync.Mutex
	at    time.Time
	d     *DMARC
}

func newWorld(t *testing.T, rua string) *world {
	w := &world{store: storagetest.New(t), dns: dns.MockResolver{TXT: map[string][]string{"_dmarc.them.example.": {"v=DMARC1; p=none; rua=" + rua}}}, at: time.Unix(20000*86400+3600, 0)}
	w.d = NewDMARC(w.store, &w.dns, DMARCOptions{Now: w.now})
	return w
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) set(at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = at
}

// TestDMARC: what is counted in a day is told at its end, once.
func TestDMARC(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	for range 3 {
		w.d.Count(message("them.example"))
	}
	refused := message("them.example")
	refused.Result.Remote, refused.Disposition, refused.Result.MailFrom, refused.Result.SPF = netip.MustParseAddr("2001:db8::1"), "reject", "", verify.SPF{Status: verify.None}
	refused.Result.DMARC.Status, refused.Result.DMARC.DKIM = verify.Fail, false
	refused.Result.DMARC.Published = &verify.Published{Policy: "quarantine", SubPolicy: "reject", Percent: 100, Failures: "0"} // changed in the meantime
	w.d.Count(refused)
	overridden := message("them.example")
	overridden.Result.DMARC.Published = refused.Result.DMARC.Published
	overridden.Override, overridden.Comment = "local_policy", "because <we> say so & so"
	w.d.Count(overridden)
	none := message("them.example")
	none.Result.DMARC.Published = nil
	w.d.Count(none)
	w.d.Count(Judged{})
	if err := w.d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.set(w.at.Add(24 * time.Hour))
	if err := w.d.reportAll(t.Context(), 20000); err != nil {
		t.Fatal(err)
	}
	texts := sent(t, w.store)
	if len(texts) != 1 {
		t.Fatal(texts)
	}
	f := parsed(t, texts["a@them.example"])
	m := f.ReportMetadata
	if f.Version != "1.0" || m.OrgName != "example.test" || m.Email != "postmaster@example.test" || m.ReportID != "2024-10-04.them.example@example.test" || len(m.Errors) != 0 ||
		m.DateRange != (dmarcrpt.DateRange{Begin: 20000 * 86400, End: 20000*86400 + 86399}) {
		t.Errorf("%+v", m)
	}
	if p := f.PolicyPublished; p != (dmarcrpt.PolicyPublished{Domain: "them.example", ADKIM: "r", ASPF: "r", Policy: "quarantine", SubdomainPolicy: "reject", Percentage: 100, ReportingOptions: "0"}) {
		t.Errorf("not the policy that was last: %+v", p)
	}
	if len(f.Records) != 3 {
		t.Fatalf("%+v", f.Records)
	}
	for _, r := range f.Records {
		e := r.Row.PolicyEvaluated
		if r.Identifiers.HeaderFrom != "sub.them.example" || len(r.AuthResults.SPF) != 1 {
			t.Errorf("%+v", r)
		}
		spf := r.AuthResults.SPF[0]
		switch {
		case r.Row.SourceIP == "2001:db8::1":
			if r.Row.Count != 1 || e.Disposition != "reject" || e.DKIM != "fail" || e.SPF != "fail" || e.Reasons != nil || r.Identifiers.EnvelopeFrom != "" ||
				spf != (dmarcrpt.SPFAuthResult{Domain: "mx.them.example", Scope: "helo", Result: "none"}) {
				t.Errorf("%+v", r)
			}
		case e.Reasons != nil:
			if r.Row.Count != 1 || len(e.Reasons) != 1 || e.Reasons[0] != (dmarcrpt.PolicyOverrideReason{Type: "local_policy", Comment: "because <we> say so & so"}) {
				t.Errorf("%+v", r)
			}
		default:
			if r.Row.Count != 3 || e.Disposition != "none" || e.DKIM != "pass" || e.SPF != "fail" || r.Identifiers.EnvelopeFrom != "bounce.them.example" ||
				spf != (dmarcrpt.SPFAuthResult{Domain: "bounce.them.example", Scope: "mfrom", Result: "pass"}) ||
				fmt.Sprint(r.AuthResults.DKIM) != "[{them.example t pass } {esp.example e pass } {list.example l fail }]" {
				t.Errorf("%+v", r)
			}
		}
	}
	if err := w.d.reportAll(t.Context(), 20000); err != nil || len(sent(t, w.store)) != 0 {
		t.Error("it is told twice", err)
	}
	if left, err := w.store.ReportsWaiting(t.Context(), storage.ReportDMARC, 10); err != nil || len(left) != 0 {
		t.Error(left, err)
	}
}

// TestDMARCParts: what is sent before the day is over is not told again at its end.
func TestDMARCParts(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	w.d.Count(message("them.example"))
	first, err := w.d.SendReports(t.Context(), "")
	if err != nil || len(first) != 1 || len(first[0].To) != 1 || first[0].Problem != "" {
		t.Fatal(first, err)
	}
	begin := parsed(t, sent(t, w.store)["a@them.example"]).ReportMetadata
	if again, err := w.d.SendReports(t.Context(), ""); err != nil || len(again) != 0 {
		t.Error(again, err)
	}
	w.d.Count(message("them.example"))
	if other, err := w.d.SendReports(t.Context(), "other.example"); err != nil || len(other) != 0 {
		t.Error(other, err)
	}
	w.set(w.at.Add(24 * time.Hour))
	if err := w.d.reportAll(t.Context(), 20000); err != nil {
		t.Fatal(err)
	}
	end := parsed(t, sent(t, w.store)["a@them.example"]).ReportMetadata
	if begin.DateRange.End+1 != end.DateRange.Begin || end.DateRange.End != 20000*86400+86399 || begin.ReportID == end.ReportID {
		t.Errorf("%+v %+v", begin, end)
	}
}

// TestDMARCLoop: reports alone are no reason for a report; with other mail they are told.
func TestDMARCLoop(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	r := message("them.example")
	r.Report = true
	w.d.Count(r)
	if got, err := w.d.SendReports(t.Context(), ""); err != nil || len(got) != 0 {
		t.Error(got, err)
	}
	other := message("them.example")
	other.Result.Remote = netip.MustParseAddr("192.0.2.9")
	w.d.Count(other)
	if got, err := w.d.SendReports(t.Context(), ""); err != nil || len(got) != 1 {
		t.Error(got, err)
	}
	if f := parsed(t, sent(t, w.store)["a@them.example"]); len(f.Records) != 2 {
		t.Errorf("%+v", f.Records)
	}
	w.d.Count(r)
	w.set(w.at.Add(24 * time.Hour))
	if err := w.d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := w.d.reportAll(t.Context(), 20000); err != nil || len(sent(t, w.store)) != 0 {
		t.Error(err)
	}
	if left, err := w.store.ReportsWaiting(t.Context(), storage.ReportDMARC, 10); err != nil || len(left) != 0 {
		t.Error("kept for ever:", left, err)
	}
}

// TestDMARCNowhere: who wants no reports any more, who has not agreed, who takes no such size, and a DNS that does not answer.
func TestDMARCNowhere(t *testing.T) {
	for name, c := range map[string]struct {
		rua     string
		fail    string
		subject string // of what is sent; "" for nothing
		problem string
		kept    bool
	}{
		"not agreed":      {rua: "mailto:a@elsewhere.test", problem: "elsewhere.test does not say"},
		"no address":      {rua: "https://them.example/", problem: "nowhere to send"},
		"too large":       {rua: "mailto:a@them.example!1k", subject: "DMARC aggregate report for them.example could not be sent", problem: "larger than anybody takes"},
		"no answer":       {rua: "mailto:a@them.example", fail: "txt _dmarc.them.example.", problem: "asking for reports", kept: true},
		"no answer there": {rua: "mailto:a@elsewhere.test", fail: "txt them.example._report._dmarc.elsewhere.test.", problem: "asking for reports", kept: true},
		"asks no more":    {rua: "", problem: "asks for none"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.rua)
			if c.fail != "" {
				w.dns.Fail = []string{c.fail}
			}
			w.d.Count(message("them.example"))
			got, err := w.d.SendReports(t.Context(), "")
			if len(got) != 1 || len(got[0].To) != 0 || !strings.Contains(got[0].Problem, c.problem) || (err != nil) != c.kept {
				t.Errorf("%+v, %v", got, err)
			}
			left, err := w.store.ReportsWaiting(t.Context(), storage.ReportDMARC, 10)
			if err != nil || (len(left) > 0) != c.kept {
				t.Error(left, err)
			}
			texts := sent(t, w.store)
			if c.subject == "" && len(texts) == 0 {
				return
			}
			m, err := mail.ReadMessage(strings.NewReader(texts["a@them.example"]))
			if err != nil || m.Header.Get("Subject") != c.subject {
				t.Fatal(texts, err)
			}
			body, _ := io.ReadAll(m.Body)
			for _, want := range []string{"Report-Domain: them.example\r\n", "Submitter: example.test\r\n", "Submitting-URI: mailto:a@them.example\r\n", "Report-ID: 2024", "Report-Size: ", "Report-Date: "} {
				if !strings.Contains(string(body), want) {
					t.Errorf("no %q in %s", want, body)
				}
			}
		})
	}
	// Tried for two days and not longer.
	w := newWorld(t, "mailto:a@them.example")
	w.dns.Fail = []string{"txt _dmarc.them.example."}
	w.d.Count(message("them.example"))
	if err := w.d.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for day, left := range []int{1, 1, 0} {
		err := w.d.reportAll(t.Context(), 20000+int64(day))
		if got, listErr := w.store.ReportsWaiting(t.Context(), storage.ReportDMARC, 10); len(got) != left || listErr != nil || (err == nil) != (left == 0) {
			t.Error(day, got, err, listErr)
		}
	}
}

// TestDMARCSizes: of several addresses those get the report that take its size.
func TestDMARCSizes(t *testing.T) {
	w := newWorld(t, "mailto:small@them.example!1k,mailto:big@them.example!10m,mailto:any@them.example")
	w.d.Count(message("them.example"))
	got, err := w.d.SendReports(t.Context(), "them.example")
	if err != nil || len(got) != 1 || !slices.Equal(got[0].To, []string{"big@them.example", "any@them.example"}) {
		t.Error(got, err)
	}
	texts := sent(t, w.store)
	if len(texts) != 2 || strings.Contains(texts["any@them.example"], "small@") {
		t.Error(texts)
	}
}

// TestDMARCBounds: what others send costs memory and rows up to a bound, and a report says what is not in it.
func TestDMARCBounds(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	m := message("them.example")
	m.Result.DKIM = nil
	for range 100 {
		m.Result.DKIM = append(m.Result.DKIM, verify.Signature{Status: verify.Fail, Domain: strings.Repeat("d", 300), Selector: strings.Repeat("s", 300)})
	}
	if n := len(rowOf(m)); n > rowMax {
		t.Errorf("a row of %d octets", n)
	}
	for i := range 3 * countedMax {
		m := message("them.example")
		m.Result.Remote = netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		w.d.Count(m)
	}
	if n := len(w.d.counts); n > 2*countedMax {
		t.Errorf("%d results in memory", n)
	}
	select {
	case <-w.d.full:
	default:
		t.Error("nobody is told that it is much")
	}
	if got, err := w.d.SendReports(t.Context(), ""); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	f := parsed(t, sent(t, w.store)["a@them.example"])
	total := 0
	for _, r := range f.Records {
		total += r.Row.Count
	}
	if want := fmt.Sprintf("%d messages are not told of", 3*countedMax-total); len(f.ReportMetadata.Errors) != 1 || !strings.HasPrefix(f.ReportMetadata.Errors[0], want) || len(f.Records) > 1000 {
		t.Errorf("%d records, %v, want %s", len(f.Records), f.ReportMetadata.Errors, want)
	}
}

// TestDMARCStoreFails: what cannot be written down is kept.
func TestDMARCStoreFails(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	w.d.Count(message("them.example"))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.d.Flush(gone); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	w.d.Count(message("them.example"))
	if got, err := w.d.SendReports(t.Context(), ""); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	if f := parsed(t, sent(t, w.store)["a@them.example"]); len(f.Records) != 1 || f.Records[0].Row.Count != 2 {
		t.Errorf("%+v", f.Records)
	}
}

// TestDMARCRun: what was counted is in the store when the house is closed.
func TestDMARCRun(t *testing.T) {
	w := newWorld(t, "mailto:a@them.example")
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.d.Run(ctx) }()
	w.d.Count(message("them.example"))
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left, err := w.store.ReportsWaiting(t.Context(), storage.ReportDMARC, 10); err != nil || len(left) != 1 {
		t.Error(left, err)
	}
}

// FuzzDMARC: whatever a message says of itself, the report is XML that says the same or "?".
func FuzzDMARC(f *testing.F) {
	f.Add("a@b.example", "mx.example", "d.example", "sel", "comment")
	f.Add("\x00@<&>]]>\xff", "\ufffe\u2028", "\x1b[31m", "\x7f\xc2\x85", "<!-- --><![CDATA[")
	f.Add("a@"+strings.Repeat("\xe2\x82", 300), strings.Repeat("<", 300), "\U0010ffff", "\xed\xa0\x80", "\r\n")
	f.Fuzz(func(t *testing.T, from, helo, domain, selector, comment string) {
		m := message("them.example")
		m.Result.MailFrom, m.Result.Helo, m.Result.SPF.Domain, m.Result.DMARC.From, m.Result.DMARC.Published.Failures = from, helo, "", domain, selector
		m.Result.DKIM = []verify.Signature{{Status: verify.Pass, Domain: domain, Selector: selector}}
		m.Override, m.Comment = "other", comment
		text := rowOf(m)
		if len(text) > 3*rowMax {
			t.Errorf("%d octets", len(text))
		}
		report, err := feedback(Period{}, "them.example", Sender{"a@example.test", "example.test"}, map[string]storage.DMARCCount{text: {Messages: 1}, "": {Messages: 1}}, encode(m.Result.DMARC.Published), []string{comment})
		if err != nil || len(report.Records) != 1 {
			t.Fatal(err)
		}
		b, err := packed(report)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		var back dmarcrpt.Feedback
		if err := xml.NewDecoder(z).Decode(&back); err != nil {
			t.Fatal(err)
		}
		if got := back.Records[0]; got.Identifiers.HeaderFrom != clean(short(domain)) || got.Row.PolicyEvaluated.Reasons[0].Comment != clean(short(comment)) {
			t.Errorf("%+v", got)
		}
	})
}

// BenchmarkCount is what a delivered message pays.
func BenchmarkCount(b *testing.B) {
	d := NewDMARC(nil, nil, DMARCOptions{})
	m := message("them.example")
	for b.Loop() {
		d.Count(m)
	}
}
