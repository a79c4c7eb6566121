package verify

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/authres"
)

// unfold gives the value of a field.
func unfold(field []byte) string {
	_, v, _ := strings.Cut(string(field), ":")
	return strings.ReplaceAll(v, "\r\n", "")
}

// What clients say stays inside of its value, and out of the field when the grammar has no place for it.
func TestFieldHolds(t *testing.T) {
	evil := []string{"a\r\nX-Evil: 1", "a; spf=pass smtp.mailfrom=b", "a (c", "a) b", `a"b\c`, "a\x00b", "a\x1b[1m", "<b>", "a b", "jöe", "\xff\xfe", strings.Repeat("x", 5000), "a@b@c", `"a b"@example.org`, "=?utf-8?q?x?=", ""}
	for _, utf8 := range []bool{false, true} {
		for _, e := range evil {
			for _, from := range []string{e, e + "@example.org", "joe@" + e} {
				r := &Result{Remote: netip.MustParseAddr("2001:db8::1"), Helo: e, MailFrom: from, UTF8: utf8, SPF: SPF{Status: Fail, Reason: e}, HELO: SPF{Status: Fail},
					DKIM: []Signature{{Status: Fail, Domain: "example.org", Selector: "s", Reason: e, Algorithm: e, Begin: e}}, DMARC: DMARC{Status: Fail, From: "example.org", Policy: "reject"}, IPRev: IPRev{Status: Fail, Reason: e}}
				field := string(r.Field("mx.example.test"))
				lines := strings.Split(strings.TrimSuffix(field, "\r\n"), "\r\n")
				for i, l := range lines {
					if strings.ContainsAny(l, "\r\n\x00\x1b") || len(l) > 998 || i > 0 && l[0] != '\t' {
						t.Errorf("%q: line %q", e, l)
					}
				}
				if !utf8 && strings.ContainsFunc(field, func(c rune) bool { return c >= 0x80 }) {
					t.Errorf("%q: not ASCII: %q", e, field)
				}
				back, err := ParseResults(unfold([]byte(field)))
				if err != nil || back.ID != "mx.example.test" {
					t.Errorf("%q: %v %q", e, err, field)
					continue
				}
				for _, m := range back.Methods {
					if m.Method == "spf" && m.Result != "fail" {
						t.Errorf("%q became %+v in %q", e, m, field)
					}
				}
			}
		}
	}
}

// An independent parser reads the same.
func TestFieldByGoMsgauth(t *testing.T) {
	r := &Result{Remote: netip.MustParseAddr("192.0.2.1"), Helo: "mail.example.org", MailFrom: "joe@example.org", SPF: SPF{Status: Pass}, HELO: SPF{Status: SoftFail},
		DKIM: []Signature{{Status: Pass, Domain: "example.org", Selector: "s1", Algorithm: "rsa-sha256", Begin: "abc/def+", Identity: "m.example.org"}}, DMARC: DMARC{Status: Pass, From: "example.org", Policy: "reject", DKIM: true}, IPRev: IPRev{Status: Pass, Name: "mail.example.org"},
		ARC: ARC{Status: ARCPass, Sets: []ARCSet{{Instance: 1}}}}
	id, all, err := authres.Parse(unfold(r.Field("mx.example.test")))
	if err != nil || id != "mx.example.test" || len(all) != 6 {
		t.Fatalf("%v %s %+v", err, id, all)
	}
	var got []string
	for _, a := range all {
		switch a := a.(type) {
		case *authres.SPFResult:
			got = append(got, fmt.Sprint("spf ", a.Value, " ", a.From, a.Helo))
		case *authres.DKIMResult:
			got = append(got, fmt.Sprint("dkim ", a.Value, " ", a.Domain, a.Identifier))
		case *authres.DMARCResult:
			got = append(got, fmt.Sprint("dmarc ", a.Value, " ", a.From))
		case *authres.IPRevResult:
			got = append(got, fmt.Sprint("iprev ", a.Value, " ", a.IP))
		}
	}
	if s := strings.Join(got, ", "); s != "spf pass joe@example.org, spf softfail mail.example.org, dkim pass example.org@m.example.org, dmarc pass example.org, iprev pass 192.0.2.1" {
		t.Error(s)
	}
}

// The examples of RFC 8601 appendix B, and forms that others write.
func TestParseResults(t *testing.T) {
	for value, want := range map[string]string{
		" example.org 1; none":                                  "example.org",
		" example.com;\r\n\tspf=pass smtp.mailfrom=example.net": "example.com spf=pass[smtp.mailfrom=example.net]",
		" example.com;\r\n auth=pass (cram-md5) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net": "example.com auth=pass[smtp.auth=sender@example.net] spf=pass[smtp.mailfrom=example.net]",
		" example.com; iprev=pass policy.iprev=192.0.2.200":                                                           "example.com iprev=pass[policy.iprev=192.0.2.200]",
		" example.com;\r\n dkim=fail reason=\"bad signature\" header.i=@newyork.example.com":                          "example.com dkim=fail(bad signature)[header.i=@newyork.example.com]",
		" example.net (no, really) ; dkim = pass (good (nested) signature) header . d = \"example.com\"":              "example.net dkim=pass[header.d=example.com]",
		" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462": "foo.example.net dkim=fail[policy.expired=1362471462]",
		" example.com; dkim=pass (1024-bit key; unprotected) header.d=a.test header.b=\"a/b=\"; spf=none":                                                                                                                         "example.com dkim=pass[header.b=a/b= header.d=a.test] spf=none",
		" example.com; dkim=pass header.b=a/b=":                          "example.com dkim=pass[header.b=a/b=]",
		" example.com; spf=pass smtp.mailfrom=\"joe smith\"@example.org": "example.com spf=pass[smtp.mailfrom=joe smith@example.org]",
		" example.com; spf=pass;":                                        "error",
		" example.com":                                                   "error",
		" example.com 2; none":                                           "error",
		" ; spf=pass":                                                    "error",
		" example.com; spf":                                              "error",
		" example.com; spf=":                                             "error",
		" example.com; none; spf=pass":                                   "error",
		" example.com; spf=pass (unterminated":                           "error",
		" example.com; spf=pass smtp.=x":                                 "error",
		" example.com; spf=pass smtp.mailfrom":                           "error",
		"":                                                               "error",
	} {
		r, err := ParseResults(value)
		got := r.ID
		for _, m := range r.Methods {
			got += " " + m.Method + "=" + m.Result
			if m.Reason != "" {
				got += "(" + m.Reason + ")"
			}
			if len(m.Properties) > 0 {
				got += strings.TrimPrefix(fmt.Sprint(m.Properties), "map")
				got = strings.ReplaceAll(got, ":", "=")
			}
		}
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestClaims(t *testing.T) {
	ids := []string{"mx.example.test", "Example.Org", "bücher.test"}
	for value, want := range map[string]bool{
		" mx.example.test; spf=pass":               true,
		" MX.Example.TEST; spf=pass":               true,
		" mx.example.test 1; spf=pass":             true,
		" mx.example.test/1; spf=pass":             true,
		" mx.example.test. ; spf=pass":             true,
		" \"mx.example.test\"; spf=pass":           true,
		" \"mx.exa\\mple.test\"; spf=pass":         true,
		"\r\n\t(c) mx.example.test\r\n (d; e) 1 ;": true,
		"(a(b)\\)c)mx.example.test(d);none":        true,
		" mx.example.test":                         true,
		" example.org; none":                       true,
		" xn--bcher-kva.test; none":                true,
		" BÜCHER.test; none":                       true,
		" mx. example.test; spf=pass":              true,
		" mx(c).example.test; spf=pass":            true,
		" \"mx.example.test; spf=pass":             true,
		" (mx.example.test; spf=pass":              true,
		" =mx.example.test; spf=pass":              true,
		" mx.example.test=x; spf=pass":             true,
		" mx2.example.test; spf=pass":              false,
		" other.net; spf=pass (mx.example.test)":   false,
		" other.net (mx.example.test); spf=pass":   false,
		" amx.example.test; spf=pass":              false,
		" sub.mx.example.test; spf=pass":           false,
		"":                                         false,
		"; mx.example.test":                        false,
	} {
		if got := Claims(value, ids...); got != want {
			t.Errorf("%q claims: %v", value, got)
		}
	}
	if Claims(" x; spf=pass") || Claims(" ; spf=pass", "") {
		t.Error("nobody is claimed")
	}
}

func FuzzClaims(f *testing.F) {
	for _, s := range []string{" mx.example.test 1; none", " (c) \"mx\\.x\" ; a=b", " =; c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Claims(s, "mx.example.test")
		r, err := ParseResults(s)
		if err == nil && strings.EqualFold(r.ID, "mx.example.test") && !got {
			t.Errorf("%q is read as ours and does not claim to be", s)
		}
		if plain := " mx.example.test;" + s; !Claims(plain, "mx.example.test") {
			t.Errorf("%q does not claim", plain)
		}
	})
}

func FuzzField(f *testing.F) {
	f.Add("mail.example.org", "joe@example.org", "reason", true)
	f.Fuzz(func(t *testing.T, helo, from, reason string, utf8 bool) {
		r := &Result{Remote: netip.MustParseAddr("192.0.2.1"), Helo: helo, MailFrom: from, UTF8: utf8, SPF: SPF{Status: Fail, Reason: reason}, HELO: SPF{Status: Fail}, DMARC: DMARC{Status: None}, IPRev: IPRev{Status: Pass}}
		field := r.Field("mx.example.test")
		back, err := ParseResults(unfold(field))
		if err != nil || back.Methods[0].Result != "fail" || strings.Count(string(field), "\r") != strings.Count(string(field), "\r\n\t")+1 {
			t.Errorf("%v: %q", err, field)
		}
	})
}
