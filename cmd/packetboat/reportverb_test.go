package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/storage"
)

// TestReportVerbs: on a server that does not run reports can be listed, and not sent.
func TestReportVerbs(t *testing.T) {
	data := t.TempDir()
	s, err := storage.Open(t.Context(), data, storage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	day := storage.DMARCDay{Day: 20000, Domain: "them.example"}
	if err := s.CountDMARC(t.Context(), map[storage.DMARCResult]storage.DMARCCount{{DMARCDay: day, Result: "x"}: {Messages: 3}}, map[storage.DMARCDay]string{day: "{}"}); err != nil {
		t.Fatal(err)
	}
	if err := s.CountTLS(t.Context(), map[storage.TLSResult]int64{{Day: storage.TLSDay(time.Unix(0, 0)), Domain: "mx.example", Policy: "{}"}: 2}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		want []string
	}{
		{"report", exitOK, []string{"packetboat report send example.org"}},
		{"report list", exitOK, []string{"dmarc  2024-10-04  them.example  1        3", "tls    1970-01-01  mx.example    1        2"}},
		{"report list --json", exitOK, []string{`"domain": "them.example"`, `"kind": "dmarc"`, `"count": 3`}},
		{"report send them.example", exitFailed, []string{"the server is not running"}},
		{"report send", exitUsage, []string{"give a DOMAIN, or --all"}},
		{"report send them.example --all", exitUsage, []string{"give a DOMAIN, or --all"}},
		{"config check --set reports.from=nobody", exitUsage, []string{`"nobody" is no address`}},
		{"config check --set reports.from=<a@b.example>", exitUsage, []string{"is no address"}},
		{"config check --set verify.dmarc_reports=maybe", exitUsage, []string{"verify.dmarc_reports"}},
		{"config check --set reports.from=dmarc@b.example --set verify.dmarc_reports=off --set reports.private_addresses=on", exitOK, nil},
	} {
		var out bytes.Buffer
		code := run(append([]string{"--data", data}, strings.Fields(c.args)...), strings.NewReader(""), &out, &out)
		for _, want := range c.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", c.args, want, out.String())
			}
		}
		if code != c.code {
			t.Errorf("%s: %d, want %d\n%s", c.args, code, c.code, out.String())
		}
	}
}
