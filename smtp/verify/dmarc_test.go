package verify

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestMailboxDomains(t *testing.T) {
	for value, want := range map[string]string{
		" joe@example.org":                                    "example.org",
		" <joe@example.org>":                                  "example.org",
		" Joe Q. Public <joe@example.org>":                    "example.org",
		" \"evil@example.net\" <joe@example.org>":             "example.org",
		" \"a \\\" b <x@y.z>\" <joe@example.org>":             "example.org",
		" =?utf-8?q?J=40?= <joe@example.org>":                 "example.org",
		" joe@example.org (evil@example.net)":                 "example.org",
		" (c (nested \\) x)) joe @ (c) example (d) . org (e)": "example.org",
		" \"joe smith\"@example.org":                          "example.org",
		" joe.\"q\".smith@example.org":                        "example.org",
		" joe@EXAMPLE.org.":                                   "error",
		" joe@Example.ORG":                                    "example.org",
		" joe@example.org, ann@example.net":                   "example.org example.net",
		" joe@example.org, Ann <ann@EXAMPLE.org>":             "example.org example.org",
		" ,, joe@example.org ,":                               "example.org",
		" friends: joe@example.org, ann@example.net;":         "example.org example.net",
		" friends: joe@example.org;, x@example.com":           "example.org example.com",
		" friends:;":                               "error",
		" undisclosed recipients:":                 "error",
		" <@a.test,@b.test:joe@example.org>":       "example.org",
		" <@evil.test:joe@example.org>":            "example.org",
		" \r\n\t joe@example.org\r\n":              "example.org",
		" jöe@bücher.example":                      "xn--bcher-kva.example",
		" joe@xn--bcher-kva.example":               "xn--bcher-kva.example",
		" joe@example.org <evil@example.net>":      "error example.org",
		" <joe@example.org> evil@example.net":      "error example.org",
		" <joe@example.org><evil@example.net>":     "error example.org",
		" joe@example.org evil@example.net":        "error example.org",
		" joe@good.org@evil.net":                   "error good.org",
		" joe@example.org; ann@example.net":        "error example.org",
		" joe":                                     "error",
		" <>":                                      "error",
		"":                                         "error",
		" @example.org":                            "error",
		" joe@":                                    "error",
		" joe@[192.0.2.1]":                         "error",
		" joe@example..org":                        "error",
		" joe@.example.org":                        "error",
		" joe@exa_mple.org":                        "exa_mple.org",
		" <joe@example.org":                        "error example.org",
		" \"unterminated <joe@example.org>":        "error",
		" (unterminated joe@example.org":           "error",
		" joe@example.org\x00.evil.net":            "error example.org",
		" joe@ex\u2024ample.org":                   "error",
		" joe@" + strings.Repeat("a", 64) + ".org": "error",
		" a: b: joe@example.org;;":                 "error",
	} {
		domains, err := mailboxDomains(value)
		got := strings.Join(domains, " ")
		if err != nil {
			got = strings.TrimSpace("error " + got)
		}
		if got != want && !(want == "error" && err != nil) && !(strings.HasPrefix(want, "error ") && err != nil) {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func FuzzFrom(f *testing.F) {
	for _, s := range []string{" Joe <joe@example.org>", " g: a@b.c, <@r:d@e.f>;", " \"q\\\"\"@x.y (c)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		domains, err := mailboxDomains(s)
		if err == nil && len(domains) == 0 {
			t.Error("nobody, and no error")
		}
		for _, d := range domains {
			if !isHost(d) || strings.ToLower(d) != d {
				t.Errorf("%q gave %q", s, d)
			}
		}
	})
}

func TestOrganization(t *testing.T) {
	for domain, want := range map[string][2]string{
		"example.com":          {"example.com", "example.com"},
		"a.b.example.com":      {"example.com", "example.com"},
		"example.co.uk":        {"example.co.uk", "example.co.uk"},
		"mail.example.co.uk":   {"example.co.uk", "example.co.uk"},
		"com":                  {"com", "com"},
		"co.uk":                {"co.uk", "co.uk"},
		"joe.github.io":        {"joe.github.io", "github.io"},
		"x.joe.github.io":      {"joe.github.io", "github.io"},
		"github.io":            {"github.io", "github.io"},
		"a.b.test":             {"b.test", "b.test"},
		"www.ck":               {"www.ck", "www.ck"},
		"x.y.ck":               {"x.y.ck", "x.y.ck"},
		"a.xn--bcher-kva.test": {"xn--bcher-kva.test", "xn--bcher-kva.test"},
		"a.s3.amazonaws.com":   {"a.s3.amazonaws.com", "amazonaws.com"},
		"localhost":            {"localhost", "localhost"},
	} {
		if got := [2]string{organization(domain), registry(domain)}; got != want {
			t.Errorf("%s: %v, want %v", domain, got, want)
		}
	}
	for domain, want := range map[string]bool{"com": true, "co.uk": true, "github.io": false, "example.com": false, "test": true, "ck": true, "x.ck": true} {
		if isRegistry(domain) != want {
			t.Errorf("%s is a registry's suffix: %v", domain, !want)
		}
	}
}

func TestParseDMARC(t *testing.T) {
	for text, want := range map[string]string{
		"v=DMARC1; p=none": "none/ 100",
		"v=DMARC1;p=reject;sp=quarantine;pct=50;adkim=s;aspf=s":   "reject/quarantine 50 dkim spf",
		" v=DMARC1 ; p = Reject ; pct = 0 ;":                      "no",
		"v=DMARC1 ; p = Reject ; pct = 0 ;":                       "reject/ 0",
		"v=DMARC1; p=reject; adkim=x; aspf=r; pct=101; unknown=1": "reject/ 100",
		"v=DMARC1; p=reject; pct=-1":                              "reject/ 100",
		"v=DMARC1; p=reject; p=none":                              "reject/ 100",
		"v=DMARC1; p=what":                                        "broken",
		"v=DMARC1; p=what; rua=mailto:a@b.c":                      "none/ 100",
		"v=DMARC1; p=reject; sp=what; rua=mailto:a@b.c":           "none/ 100",
		"v=DMARC1; p=reject; sp=what":                             "broken",
		"v=DMARC1; rua=mailto:a@b.c":                              "none/ 100",
		"v=DMARC1":                                                "broken",
		"v=DMARC1;":                                               "broken",
		"v=dmarc1; p=none":                                        "no",
		"p=none; v=DMARC1":                                        "no",
		"v=DMARC12; p=none":                                       "no",
		"v=spf1 -all":                                             "no",
		"":                                                        "no",
	} {
		got := "no"
		if isDMARC(text) {
			got = "broken"
			if r := parseDMARC(text); r != nil {
				got = fmt.Sprintf("%s/%s %d", r.policy, r.subPolicy, r.percent)
				if r.strictDKIM {
					got += " dkim"
				}
				if r.strictSPF {
					got += " spf"
				}
			}
		}
		if got != want && !(text[:min(1, len(text))] == " ") {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

// outcome is a DMARC judgement as text.
func outcome(d DMARC) string {
	s := string(d.Status)
	if d.Policy != "" {
		s += " " + d.Policy
	}
	if d.SPF {
		s += " spf"
	}
	if d.DKIM {
		s += " dkim"
	}
	return s
}

// Alignment and policy: RFC 7489 sections 3.1, 6.6 and appendix B.1 (the From domain is example.com or below it there).
func TestDMARC(t *testing.T) {
	for _, c := range []struct {
		what   string
		from   string
		spf    SPF
		dkim   []Signature
		record string // at _dmarc.example.com unless it has a name of its own
		want   string
	}{
		{"B.1.1 example 1: SPF in alignment", "sender@example.com", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject", "pass reject spf"},
		{"B.1.1 example 2: SPF in alignment, parent", "sender@child.example.com", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject", "pass reject spf"},
		{"B.1.1 example 2, strict", "sender@child.example.com", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject; aspf=s", "fail reject"},
		{"B.1.1 example 3: not in alignment", "sender@child.example.com", SPF{Status: Pass, Domain: "sample.net"}, nil, "p=reject", "fail reject"},
		{"B.1.2 example 1: DKIM in alignment", "sender@example.com", SPF{Status: Fail, Domain: "example.com"}, []Signature{{Status: Pass, Domain: "example.com"}}, "p=reject", "pass reject dkim"},
		{"B.1.2 example 2: DKIM in alignment, parent", "sender@child.example.com", SPF{}, []Signature{{Status: Pass, Domain: "example.com"}}, "p=reject", "pass reject dkim"},
		{"B.1.2 example 2, strict", "sender@child.example.com", SPF{}, []Signature{{Status: Pass, Domain: "example.com"}}, "p=reject; adkim=s", "fail reject"},
		{"B.1.2 example 3: not in alignment", "sender@child.example.com", SPF{}, []Signature{{Status: Pass, Domain: "sample.net"}}, "p=reject", "fail reject"},
		{"child signs for the parent", "sender@example.com", SPF{}, []Signature{{Status: Pass, Domain: "child.example.com"}}, "p=reject", "pass reject dkim"},
		{"both", "sender@example.com", SPF{Status: Pass, Domain: "m.example.com"}, []Signature{{Status: Pass, Domain: "example.com"}}, "p=none", "pass none spf dkim"},
		{"the second signature", "sender@example.com", SPF{}, []Signature{{Status: Fail, Domain: "example.com"}, {Status: Pass, Domain: "example.com"}}, "p=reject", "pass reject dkim"},
		{"nothing", "sender@example.com", SPF{Status: None}, nil, "p=quarantine", "fail quarantine"},
		{"softfail", "sender@example.com", SPF{Status: SoftFail, Domain: "example.com"}, nil, "p=quarantine", "fail quarantine"},
		{"neutral", "sender@example.com", SPF{Status: Neutral, Domain: "example.com"}, []Signature{{Status: Policy, Domain: "example.com"}}, "p=quarantine", "fail quarantine"},
		{"sp", "sender@child.example.com", SPF{}, nil, "p=none; sp=reject", "fail reject"},
		{"sp is not for the domain itself", "sender@example.com", SPF{}, nil, "p=none; sp=reject", "fail none"},
		{"a record of the child's own", "sender@child.example.com", SPF{}, nil, "_dmarc.child.example.com. TXT \"v=DMARC1; p=quarantine; sp=reject\"\n_dmarc.example.com. TXT \"v=DMARC1; p=reject\"", "fail quarantine"},
		{"no record", "sender@example.com", SPF{Status: Pass, Domain: "example.com"}, nil, "none.test. TXT x", "none"},
		{"two records", "sender@example.com", SPF{}, nil, "_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\n_dmarc.example.com. TXT \"v=DMARC1; p=none\"", "none"},
		{"a record among others", "sender@example.com", SPF{}, nil, "_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\n_dmarc.example.com. TXT \"other\"", "fail reject"},
		{"a record that is broken", "sender@example.com", SPF{}, nil, "p=what", "permerror"},
		{"tenants are strangers", "joe@a.github.io", SPF{Status: Pass, Domain: "b.github.io"}, nil, "_dmarc.a.github.io. TXT \"v=DMARC1; p=reject\"", "fail reject"},
		{"but obey their landlord", "joe@a.github.io", SPF{Status: Pass, Domain: "github.io"}, nil, "_dmarc.github.io. TXT \"v=DMARC1; p=reject; sp=quarantine\"", "pass quarantine spf"},
		{"SPF open", "sender@example.com", SPF{Status: TempError, Domain: "example.com"}, nil, "p=reject", "temperror reject"},
		{"SPF open, DKIM passes", "sender@example.com", SPF{Status: TempError, Domain: "example.com"}, []Signature{{Status: Pass, Domain: "example.com"}}, "p=reject", "pass reject dkim"},
		{"SPF of another open", "sender@example.com", SPF{Status: TempError, Domain: "sample.net"}, nil, "p=reject", "fail reject"},
		{"DKIM open", "sender@example.com", SPF{Status: Fail, Domain: "example.com"}, []Signature{{Status: TempError, Domain: "example.com"}}, "p=reject", "temperror reject"},
		{"DKIM of another open", "sender@example.com", SPF{Status: Fail, Domain: "example.com"}, []Signature{{Status: TempError, Domain: "sample.net"}}, "p=reject", "fail reject"},
		{"open, and nothing depends on it", "sender@example.com", SPF{Status: TempError, Domain: "example.com"}, nil, "p=none", "fail none"},
		{"several authors of a domain", "a@example.com, b@example.com", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject", "pass reject spf"},
		{"several authors, the strictest", "a@sample.net, b@example.com", SPF{Status: Pass, Domain: "sample.net"}, nil, "p=quarantine", "fail quarantine"},
		{"no address", "joe", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject", "permerror"},
		{"an address and garbage", "a@example.com <b@sample.net>", SPF{Status: Pass, Domain: "example.com"}, nil, "p=reject", "permerror reject"},
		{"an address that fails and garbage", "a@example.com <b@sample.net>", SPF{}, nil, "p=reject", "fail reject"},
		{"an answer that does not come", "sender@fails.test", SPF{Status: Pass, Domain: "fails.test"}, nil, "p=reject", "temperror"},
		{"U-labels", "joe@bücher.test", SPF{Status: Pass, Domain: "xn--bcher-kva.test"}, nil, "_dmarc.xn--bcher-kva.test. TXT \"v=DMARC1; p=reject\"", "pass reject spf"},
	} {
		d, v := newHouse(t, Options{})
		if strings.HasPrefix(c.record, "p=") {
			c.record = `_dmarc.example.com. TXT "v=DMARC1; ` + c.record + `"`
		}
		d.Set(c.record)
		d.Fail("_dmarc.fails.test")
		a := readAuthors(HeaderFields([]byte("From: " + c.from + "\r\n\r\n")))
		var policies []dmarcPolicy
		for _, domain := range a.domains {
			policies = append(policies, v.policy(t.Context(), domain))
		}
		got := v.dmarc(a, policies, &Result{SPF: c.spf, DKIM: c.dkim})
		if outcome(got) != c.want {
			t.Errorf("%s: %s, want %s (%+v)", c.what, outcome(got), c.want, got)
		}
	}
}

// Several From fields: nobody passes, whoever fails fails.
func TestDMARCManyFrom(t *testing.T) {
	d, v := newHouse(t, Options{})
	d.Set("_dmarc.example.com. TXT \"v=DMARC1; p=reject\"\nexample.net. TXT \"v=spf1 +all\"\nexample.com. TXT \"v=spf1 +all\"")
	for header, want := range map[string]string{
		"From: a@example.com\r\nFrom: b@example.net\r\n\r\n":  "fail reject",
		"From: b@example.net\r\nfrom : a@example.com\r\n\r\n": "fail reject",
		"From: b@example.net\r\nFrom: b@example.net\r\n\r\n":  "permerror",
		"Subject: x\r\n\r\n": "permerror",
		"From: " + strings.Repeat("x@a.test, ", 3) + "x@b.test, x@c.test, x@d.test, x@e.test, x@f.test, x@g.test\r\n\r\n": "permerror",
	} {
		r := v.Check(t.Context(), Message{Remote: netip.MustParseAddr("192.0.2.1"), Helo: "x.test", MailFrom: "b@example.net", Header: []byte(header)})
		if outcome(r.DMARC) != want || r.DMARC.Reason == "" {
			t.Errorf("%q: %+v, want %s", header, r.DMARC, want)
		}
	}
}

// pct=: RFC 7489 section 6.6.4.
func TestDisposition(t *testing.T) {
	for _, c := range []struct {
		policy  string
		percent int
		roll    int
		status  Status
		want    string
	}{
		{"reject", 100, 99, Fail, "reject"}, {"reject", 50, 49, Fail, "reject"}, {"reject", 50, 50, Fail, "quarantine"}, {"reject", 0, 0, Fail, "quarantine"},
		{"quarantine", 50, 49, Fail, "quarantine"}, {"quarantine", 50, 50, Fail, "none"}, {"none", 100, 0, Fail, "none"}, {"reject", 100, 0, Pass, "none"}, {"reject", 100, 0, TempError, "none"},
	} {
		v := New(nil, Options{})
		v.sample = func() int { return c.roll }
		p := &dmarcPolicy{from: "a.test", domain: "a.test", record: &dmarcRecord{policy: c.policy, percent: c.percent}, org: organization}
		d := v.judge(p, &Result{})
		d.Status = c.status
		if got := d.Disposition(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestIPRev(t *testing.T) {
	d, v := newHouse(t, Options{})
	d.Set(`
1.2.0.192.in-addr.arpa. PTR a.test.
a.test. A 192.0.2.1
2.2.0.192.in-addr.arpa. PTR b.test.
2.2.0.192.in-addr.arpa. PTR a2.test.
b.test. A 192.0.2.99
a2.test. A 192.0.2.2
3.2.0.192.in-addr.arpa. PTR b.test.
5.2.0.192.in-addr.arpa. PTR fails.test.
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.test.
six.test. AAAA 2001:db8::1
`)
	d.Fail("4.2.0.192.in-addr.arpa.")
	d.Fail("fails.test.")
	for addr, want := range map[string]IPRev{
		"192.0.2.1":   {Status: Pass, Name: "a.test"},
		"192.0.2.2":   {Status: Pass, Name: "a2.test"},
		"192.0.2.3":   {Status: Fail, Reason: "its names are not its own"},
		"192.0.2.4":   {Status: TempError, Reason: "the DNS did not answer"},
		"192.0.2.5":   {Status: TempError, Reason: "the DNS did not answer"},
		"192.0.2.6":   {Status: PermError, Reason: "no name"},
		"2001:db8::1": {Status: Pass, Name: "six.test"},
	} {
		if got := v.iprev(t.Context(), netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %+v, want %+v", addr, got, want)
		}
	}
}

// RFC 5782 sections 2.1, 2.4 and 5.
func TestLists(t *testing.T) {
	d, v := newHouse(t, Options{DNSBL: []List{
		{Zone: "bl.test", Score: 2}, {Zone: "wl.test", Score: -1}, {Zone: "some.test", Score: 4, Answers: []netip.Prefix{netip.MustParsePrefix("127.0.0.10/31")}},
		{Zone: "refuses.test", Score: 8}, {Zone: "parked.test", Score: 16}, {Zone: "fails.test", Score: 32}, {Zone: "one.test", Score: 64},
	}})
	d.Set(`
2.0.0.127.bl.test. A 127.0.0.2
2.0.0.127.bl.test. A 127.0.0.4
2.0.0.127.bl.test. TXT "listed \010 because"
3.0.0.127.wl.test. A 127.0.10.3
4.0.0.127.some.test. A 127.0.0.11
5.0.0.127.some.test. A 127.0.0.4
*.refuses.test. A 127.255.255.254
*.parked.test. A 198.51.100.1
*.one.test. A 127.0.0.1
2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.test. A 127.0.0.2
`)
	for i := range 6 {
		d.Fail(fmt.Sprintf("%d.0.0.127.fails.test", i))
	}
	d.Fail("2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.fails.test")
	for addr, want := range map[string]string{
		"127.0.0.2":   "bl.test 127.0.0.2 127.0.0.4 2",
		"127.0.0.3":   "wl.test 127.0.10.3 -1",
		"127.0.0.4":   "some.test 127.0.0.11 4",
		"127.0.0.5":   "",
		"2001:db8::2": "bl.test 127.0.0.2 2",
		"192.168.1.1": "",
		"fe80::1":     "",
	} {
		var got []string
		errors := 0
		for _, l := range v.lists(t.Context(), netip.MustParseAddr(addr)) {
			if l.Error != "" {
				errors++
				if l.Score != 0 {
					t.Errorf("%s: an error scores: %+v", addr, l)
				}
				continue
			}
			answers := strings.Fields(l.Answers)
			slices.Sort(answers)
			got = append(got, fmt.Sprint(l.Zone, " ", strings.Join(answers, " "), " ", l.Score))
			if l.Text != "" && l.Text != "listed ? because" {
				t.Errorf("%s: %q", addr, l.Text)
			}
		}
		if strings.Join(got, ", ") != want || errors != 4 && want != "" {
			t.Errorf("%s: %q with %d errors, want %q", addr, got, errors, want)
		}
	}
}
