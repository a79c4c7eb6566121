package verify

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/mjl-/mox/dns"
)

func TestReportURIs(t *testing.T) {
	for uri, want := range map[string]string{
		"mailto:a@x.example":                            "[{a@x.example 0}]",
		"MAILTO:a@X.Example!10m":                        "[{a@x.example 10485760}]",
		" mailto:a@x.example!5 , mailto:b@x.example!2K": "[{a@x.example 5} {b@x.example 2048}]",
		"mailto:a@x.example!1g,mailto:b@x.example!1t":   "[{a@x.example 1073741824} {b@x.example 1099511627776}]",
		"mailto:a@x.example!9999999t":                   "[{a@x.example 4611686018427387904}]",
		"mailto:a@x.example!99999999999999999999":       "[]",
		"mailto:a@x.example!0":                          "[]",
		"mailto:a@x.example!m":                          "[]",
		"mailto:a@x.example!10x":                        "[]",
		"mailto:a@x.example!-1":                         "[]",
		"mailto:a%21b@x.example!10k":                    "[{a!b@x.example 10240}]",
		"mailto:j%C3%B6rg@b%C3%BCcher.example":          "[{jörg@xn--bcher-kva.example 0}]",
		"mailto:a@x.example?subject=hello":              "[{a@x.example 0}]",
		"mailto:a%0d%0aBcc:b@x.example":                 "[]",
		"mailto:a b@x.example":                          "[]",
		"mailto:%22a@b%22@x.example":                    "[]",
		"mailto:a@x.example%3e":                         "[]",
		"mailto:a%2cb@x.example":                        "[]",
		"mailto:a%ff@x.example":                         "[]",
		"mailto:%zz@x.example":                          "[]",
		"mailto:.a@x.example":                           "[]",
		"mailto:@x.example":                             "[]",
		"mailto:a@":                                     "[]",
		"mailto:a@[192.0.2.1]":                          "[]",
		"https://x.example/r":                           "[]",
		"a@x.example":                                   "[]",
		"":                                              "[]",
	} {
		if got := fmt.Sprint(parseReportURIs(uri)); got != want {
			t.Errorf("%q: %s, want %s", uri, got, want)
		}
	}
	if n := len(parseReportURIs(strings.Repeat("mailto:a@x.example,", 100))); n != 20 {
		t.Errorf("%d of 100", n)
	}
}

// RFC 7489 section 7.1: others' addresses get reports only when they agreed.
func TestReportTargets(t *testing.T) {
	record := func(rua string) string { return "v=DMARC1; p=none; rua=" + rua }
	resolver := dns.MockResolver{TXT: map[string][]string{
		"_dmarc.own.example.":                          {record("mailto:a@own.example!1k,mailto:b@deep.below.own.example,mailto:a@own.example")},
		"_dmarc.sub.own.example.":                      {record("mailto:a@own.example")},
		"_dmarc.agreed.example.":                       {record("mailto:a@other.example!3k")},
		"agreed.example._report._dmarc.other.example.": {"something else", "v=DMARC1"},
		"_dmarc.moved.example.":                        {record("mailto:a@other.example")},
		"moved.example._report._dmarc.other.example.":  {"v=DMARC1; rua=mailto:b@other.example,mailto:victim@elsewhere.example,mailto:c@other.example!1m"},
		"_dmarc.hijack.example.":                       {record("mailto:a@other.example")},
		"hijack.example._report._dmarc.other.example.": {"v=DMARC1; rua=mailto:victim@elsewhere.example"},
		"_dmarc.star.example.":                         {record("mailto:a@other.example")},
		"_dmarc.victim.example.":                       {record("mailto:a@own.example,mailto:a@victim.example")},
		"_dmarc.wrong.example.":                        {record("mailto:a@other.example")},
		"wrong.example._report._dmarc.other.example.":  {"p=none; v=DMARC1"},
		"_dmarc.down.example.":                         {record("mailto:a@down.test")},
		"_dmarc.silent.example.":                       {"v=DMARC1; p=reject"},
		"_dmarc.two.example.":                          {record("mailto:a@two.example"), record("mailto:b@two.example")},
		"_dmarc.junk.example.":                         {"v=DMARC1; p=reject; rua=https://junk.example/"},
		"_dmarc.many.example.":                         {record("mailto:1@many.example,mailto:2@many.example,mailto:3@many.example,mailto:4@many.example,mailto:5@many.example,mailto:6@many.example")},
		"_dmarc.nopolicy.example.":                     {"v=DMARC1; rua=mailto:a@nopolicy.example"},
		"_dmarc." + long + ".":                         {record("mailto:a@other.example")},
	}, Fail: []string{"txt down.example._report._dmarc.down.test.", "txt _dmarc.dead.example."}}
	for domain, want := range map[string]string{
		"own.example":      "[{a@own.example 1024} {b@deep.below.own.example 0}] 0 <nil>",
		"sub.own.example":  "[{a@own.example 0}] 0 <nil>",
		"agreed.example":   "[{a@other.example 3072}] 0 <nil>",
		"moved.example":    "[{b@other.example 0} {c@other.example 1048576}] 0 <nil>",
		"hijack.example":   "[{a@other.example 0}] 0 <nil>",
		"victim.example":   "[{a@victim.example 0}] 1 <nil>",
		"wrong.example":    "[] 1 <nil>",
		"star.example":     "[] 1 <nil>",
		"down.example":     "[] 0 later",
		"dead.example":     "[] 0 later",
		"silent.example":   "[] 0 none",
		"two.example":      "[] 0 none",
		"nothing.example":  "[] 0 none",
		"junk.example":     "[] 0 <nil>",
		"nopolicy.example": "[{a@nopolicy.example 0}] 0 <nil>",
		"many.example":     "[{1@many.example 0} {2@many.example 0} {3@many.example 0} {4@many.example 0} {5@many.example 0}] 0 <nil>",
		long:               "[] 1 <nil>",
	} {
		targets, problems, err := ReportTargets(t.Context(), resolver, domain)
		how := "<nil>"
		if errors.Is(err, ErrNoReports) {
			how = "none"
		} else if err != nil {
			how = "later"
		}
		if got := fmt.Sprint(targets, " ", len(problems), " ", how); got != want {
			t.Errorf("%s: %s %v, want %s", domain, got, problems, want)
		}
	}
}

// long is a name to which nothing more can be added (RFC 1035 section 2.3.4).
var long = strings.Repeat("a123456789.", 21) + "example"

// What a domain publishes never becomes an address that breaks a header or a command.
func FuzzReportURIs(f *testing.F) {
	for _, s := range []string{"mailto:a@x.example!10m", "mailto:%0d%0a@x", "mailto:a@x,mailto:b@y!1", "mailto:\xff@x.example", "MAILTO:a@\xc3\xbc.example!5k"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range parseReportURIs(s) {
			local, host := splitAddress(r.Address)
			if local == "" || !isHost(host) || r.Max < 0 || strings.ContainsAny(r.Address, "\r\n\x00 <>,\"()") || strings.ToValidUTF8(r.Address, "") != r.Address {
				t.Errorf("%q: %+q", s, r.Address)
			}
		}
	})
}
