package report

import (
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestPeriod: a day's reports follow one another without a gap, and have different names.
func TestPeriod(t *testing.T) {
	const day = 20000 // 2024-10-04
	at := func(s int64) time.Time { return time.Unix(day*86400+s, 0) }
	for _, c := range []struct {
		until, now time.Time
		begin, end int64
		id         string
		over       bool
	}{
		{time.Time{}, at(90000), 0, 86399, "2024-10-04.them.example@us.example", true},
		{time.Time{}, at(3600), 0, 3600, "2024-10-04.1728000000-1728003600.them.example@us.example", false},
		{at(3601), at(7200), 3601, 7200, "2024-10-04.1728003601-1728007200.them.example@us.example", false},
		{at(7201), at(90000), 7201, 86399, "2024-10-04.1728007201-1728086399.them.example@us.example", true},
		{at(7201), at(7200), 7201, 7201, "2024-10-04.1728007201-1728007201.them.example@us.example", false}, // the clock went back
		{time.Unix(5, 0), at(90000), 0, 86399, "2024-10-04.them.example@us.example", true},
	} {
		p := PeriodOf(day, c.until, c.now)
		if p.Begin.Unix()-day*86400 != c.begin || p.End.Unix()-day*86400 != c.end || p.ID("them.example", "us.example") != c.id || p.Over() != c.over || p.Rest().IsZero() != c.over {
			t.Errorf("until %v, at %v: %+v %s", c.until, c.now, p, p.ID("them.example", "us.example"))
		}
		if !c.over && p.Rest() != p.End.Add(time.Second) {
			t.Error(p.Rest())
		}
	}
}

// TestSender: in whose name reports go.
func TestSender(t *testing.T) {
	s := storagetest.New(t)
	for _, name := range []string{"second.test", "bücher.test"} {
		if err := s.AddDomain(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	for address, want := range map[string]Sender{
		"":                  {"postmaster@example.test", "example.test"},
		"dmarc@second.test": {"dmarc@second.test", "second.test"},
		"dmarc@Second.Test": {"dmarc@second.test", "second.test"},
		"d@bücher.test":     {"d@xn--bcher-kva.test", "xn--bcher-kva.test"},
		"x@elsewhere.test":  {"postmaster@example.test", "example.test"},
		"no address":        {"postmaster@example.test", "example.test"},
	} {
		if got, ok, err := SenderOf(t.Context(), s, address); got != want || !ok || err != nil {
			t.Error(address, got, ok, err)
		}
	}
}

// TestMail: the message and its way into the queue.
func TestMail(t *testing.T) {
	s := storagetest.New(t)
	data := strings.Repeat("0123456789", 50)
	m := Mail{From: Sender{"postmaster@example.test", "example.test"}, Name: "Reports", To: []string{"a@x.example", "b@y.example"}, Domain: "x.example", ID: "id@example.test",
		Fields: []string{"X-Field: 1"}, Kind: "multipart/mixed", Text: "For people.\r\n", Attached: "application/gzip", Filename: "f.gz", Data: []byte(data)}
	b := m.Bytes(time.Unix(0, 0))
	for l := range strings.Lines(string(b)) {
		if len(l) > 78+2 || !strings.HasSuffix(l, "\r\n") {
			t.Errorf("%q", l)
		}
	}
	got, err := mail.ReadMessage(strings.NewReader(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if to, err := got.Header.AddressList("To"); err != nil || len(to) != 2 {
		t.Error(to, err)
	}
	if v := strings.Join(strings.Fields(got.Header.Get("Subject")), " "); v != "Report Domain: x.example Submitter: example.test Report-ID: <id@example.test>" {
		t.Error(v)
	}
	kind, params, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/mixed" {
		t.Fatal(kind, err)
	}
	parts := multipart.NewReader(got.Body, params["boundary"])
	if p, err := parts.NextPart(); err != nil || !strings.HasPrefix(p.Header.Get("Content-Type"), "text/plain") {
		t.Fatal(err)
	}
	p, err := parts.NextRawPart()
	if err != nil || p.FileName() != "f.gz" || p.Header.Get("Content-Type") != "application/gzip" {
		t.Fatal(err)
	}
	if _, err := parts.NextPart(); err != io.EOF {
		t.Error(err)
	}
	if err := Send(t.Context(), s, b, m.From.Address, []string{"a@x.example", "jörg@y.example"}); err != nil {
		t.Fatal(err)
	}
	all, err := s.Lease(t.Context(), storage.LeaseRequest{Owner: "test", For: time.Minute, Max: 10})
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	for _, l := range all {
		if l.From != "postmaster@example.test" || l.Notify != "NEVER" || !l.UTF8 {
			t.Errorf("%+v", l)
		}
	}
}
