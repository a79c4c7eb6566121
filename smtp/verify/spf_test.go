package verify

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// spfZone is the zone of RFC 7208 appendix A with the policies of this file beside it.
const spfZone = `
example.com.           A 192.0.2.10
example.com.           A 192.0.2.11
example.com.           MX 10 mail-a.example.com.
example.com.           MX 20 mail-b.example.com.
amy.example.com.       A 192.0.2.65
bob.example.com.       A 192.0.2.66
mail-a.example.com.    A 192.0.2.129
mail-b.example.com.    A 192.0.2.130
www.example.com.       CNAME example.com.
example.org.           MX 10 mail-c.example.org.
mail-c.example.org.    A 192.0.2.140
10.2.0.192.in-addr.arpa.  PTR example.com.
11.2.0.192.in-addr.arpa.  PTR example.com.
65.2.0.192.in-addr.arpa.  PTR amy.example.com.
66.2.0.192.in-addr.arpa.  PTR bob.example.com.
129.2.0.192.in-addr.arpa. PTR mail-a.example.com.
130.2.0.192.in-addr.arpa. PTR mail-b.example.com.
140.2.0.192.in-addr.arpa. PTR mail-c.example.org.
4.0.0.10.in-addr.arpa.    PTR bob.example.com.
m.example.com.         A 192.0.2.20
six.example.com.       AAAA 2001:db8::cb01
1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR six.example.com.
mary.mobile-users._spf.example.com. A 127.0.0.2
15.15.168.192.joel.remote-users._spf.example.com. A 127.0.0.2
`

// checkSPF publishes a policy at example.com and checks joe@example.com from an address.
func checkSPF(t *testing.T, policy, remote string) SPF {
	t.Helper()
	return checkSPFIn(t, spfZone+"example.com. TXT \""+policy+"\"\n", remote, "mail-a.example.com", "joe@example.com")
}

func checkSPFIn(t *testing.T, zone, remote, helo, from string) SPF {
	t.Helper()
	d, v := newHouse(t, Options{Name: "mx.example.test", Now: func() time.Time { return time.Unix(1700000000, 0) }})
	d.Set(zone)
	r, _ := v.spfBoth(t.Context(), Message{Remote: netip.MustParseAddr(remote), Helo: helo, MailFrom: from})
	return r
}

// The examples of RFC 7208 appendix A.1.
func TestSPFSimpleExamples(t *testing.T) {
	for _, c := range []struct {
		policy string
		pass   string
		fail   string
	}{
		{"v=spf1 +all", "192.0.2.129 10.0.0.4 2001:db8::1", ""},
		{"v=spf1 a -all", "192.0.2.10 192.0.2.11", "192.0.2.65 192.0.2.129"},
		{"v=spf1 a:example.org -all", "", "192.0.2.10 192.0.2.140"},
		{"v=spf1 mx -all", "192.0.2.129 192.0.2.130", "192.0.2.10 192.0.2.140"},
		{"v=spf1 mx:example.org -all", "192.0.2.140", "192.0.2.129"},
		{"v=spf1 mx mx:example.org -all", "192.0.2.129 192.0.2.130 192.0.2.140", "192.0.2.10"},
		{"v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.128 192.0.2.131 192.0.2.140 192.0.2.143", "192.0.2.132 192.0.2.144"},
		{"v=spf1 ptr -all", "192.0.2.10 192.0.2.65", "192.0.2.140 10.0.0.4"},
		{"v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129 192.0.2.140", "192.0.2.65"},
		{"v=spf1 exists:%{ir}.%{l1r+-}._spf.%{d} -all", "", "192.0.2.65"},
		{"v=spf1 a:www.example.com -all", "192.0.2.10", "192.0.2.65"},
		{"v=spf1 ip6:2001:db8::/32 -all", "2001:db8::1", "2001:db9::1 192.0.2.1"},
		{"v=spf1 a:six.example.com//64 -all", "2001:db8::1 2001:db8::cb01", "2001:db8:0:1::1 192.0.2.10"},
		{"v=spf1 a:m.example.com/24//64 -all", "192.0.2.99", "192.0.3.1"},
		{"v=spf1 a/0 -all", "8.8.8.8", ""},
		{"v=spf1 ptr:example.com -all", "2001:db8::cb01", "2001:db8::cb02"},
		{"V=SPF1 IP4:192.0.2.1 -ALL", "192.0.2.1", "192.0.2.2"},
		{"v=spf1  ip4:192.0.2.1   -all ", "192.0.2.1", "192.0.2.2"},
		{"v=spf1 ip4:192.0.2.1/32 unknown=what-%{l} -all", "192.0.2.1", "192.0.2.2"},
	} {
		for _, a := range strings.Fields(c.pass) {
			if r := checkSPF(t, c.policy, a); r.Status != Pass {
				t.Errorf("%s, %s: %+v, want pass", c.policy, a, r)
			}
		}
		for _, a := range strings.Fields(c.fail) {
			if r := checkSPF(t, c.policy, a); r.Status != Fail || r.Mechanism != "all" {
				t.Errorf("%s, %s: %+v, want fail", c.policy, a, r)
			}
		}
	}
}

func TestSPFResults(t *testing.T) {
	for policy, want := range map[string]Status{
		"v=spf1":                                             Neutral,
		"v=spf1 ?all":                                        Neutral,
		"v=spf1 ~all":                                        SoftFail,
		"v=spf10 -all":                                       None,
		"v=spf1-all":                                         None,
		"something else":                                     None,
		"v=spf1 redirect=pass.test":                          Pass,
		"v=spf1 redirect=none.test":                          PermError,
		"v=spf1 redirect=%{d}.none.test":                     PermError,
		"v=spf1 -all redirect=pass.test":                     Fail,
		"v=spf1 redirect=pass.test -all":                     Fail,
		"v=spf1 redirect=a.test redirect=b.a":                PermError,
		"v=spf1 redirect=":                                   PermError,
		"v=spf1 include:pass.test -all":                      Pass,
		"v=spf1 -include:pass.test":                          Fail,
		"v=spf1 ~include:pass.test":                          SoftFail,
		"v=spf1 include:fail.test ?all":                      Neutral,
		"v=spf1 include:soft.test ?all":                      Neutral,
		"v=spf1 include:none.test ?all":                      PermError,
		"v=spf1 include:bad.test ?all":                       PermError,
		"v=spf1 include:fails.test ?all":                     TempError,
		"v=spf1 include ?all":                                PermError,
		"v=spf1 exists ?all":                                 PermError,
		"v=spf1 a:fails.test ?all":                           TempError,
		"v=spf1 mx:fails.test ?all":                          TempError,
		"v=spf1 exists:fails.test ?all":                      TempError,
		"v=spf1 ?all a:fails.test":                           Neutral,
		"v=spf1 a:a.test:b.test ?all":                        Neutral,
		"v=spf1 a:none.test ?all":                            Neutral,
		"v=spf1 mx:null.test ?all":                           Neutral,
		"v=spf1 what -all":                                   PermError,
		"v=spf1 +all what":                                   PermError,
		"v=spf1 ip4:192.0.2.10 a:example.com/33 -all":        PermError,
		"v=spf1 ip4:192.0.2.10/032 -all":                     PermError,
		"v=spf1 a/08 -all":                                   PermError,
		"v=spf1 +all ip4:2001:db8::1":                        PermError,
		"v=spf1 +all ip6:192.0.2.10":                         PermError,
		"v=spf1 +all ip6:::ffff:192.0.2.10":                  Pass,
		"v=spf1 +all a:com":                                  PermError,
		"v=spf1 +all a:192.0.2.10":                           PermError,
		"v=spf1 +all a:com.":                                 PermError,
		"v=spf1 +all x=%{":                                   PermError,
		"v=spf1 +all redirect=a.test redirect=b.test":        PermError,
		"v=spf1 +all exp=a.test exp=b.test":                  PermError,
		"v=spf1 +all include:":                               PermError,
		"v=spf1 include:late.test -all":                      PermError,
		"v=spf1 redirect=late.test":                          PermError,
		"v=spf1 ip4:192.0.2.10 include:late.test -all":       Pass,
		"v=spf1 +all accredit=x mxx=%{d} ptr.=":              Pass,
		"v=spf1 +all EXP=a.test REDIRECT=b.test":             Pass,
		"v=spf1 all:x ?all":                                  PermError,
		"v=spf1 all/8":                                       PermError,
		"v=spf1 ip4:192.0.2 -all":                            PermError,
		"v=spf1 ip4:192.0.2.1/33 -all":                       PermError,
		"v=spf1 ip4:192.0.2.1/ -all":                         PermError,
		"v=spf1 ip4 -all":                                    PermError,
		"v=spf1 a/33 -all":                                   PermError,
		"v=spf1 a//129 -all":                                 PermError,
		"v=spf1 a/ -all":                                     PermError,
		"v=spf1 a: -all":                                     PermError,
		"v=spf1 ptr/24 -all":                                 PermError,
		"v=spf1 a:example.com. ?all":                         Pass,
		"v=spf1 a:%{x}.test ?all":                            PermError,
		"v=spf1 a:%{l0}.test ?all":                           PermError,
		"v=spf1 a:%{l.test ?all":                             PermError,
		"v=spf1 a:%a.test ?all":                              PermError,
		"v=spf1 a:a%":                                        PermError,
		"v=spf1 a:%{c}.test ?all":                            PermError,
		"v=spf1 x=%{t} ?all":                                 Neutral,
		"v=spf1 1x=a ?all":                                   PermError,
		"v=spf1 a:%{d} ?all":                                 Pass,
		"v=spf1 a:%{D2} ?all":                                Pass,
		"v=spf1 mx:%{d}/24 ?all":                             Pass,
		"v=spf1 ptr:%{d} ?all":                               Pass,
		"v=spf1 exists:%{l}.%{i}.macro.test ?all":            Pass,
		"v=spf1 a:" + strings.Repeat("a", 64) + ".test ?all": Neutral,
		"v=spf1 a:" + strings.Repeat("%{d}.", 40) + "example.com ?all": Neutral,
		"v=spf1 include:" + strings.Repeat("a", 64) + ".test ?all":     PermError,
	} {
		d, v := newHouse(t, Options{})
		d.Set(spfZone + `
pass.test. TXT "v=spf1 ip4:192.0.2.10"
fail.test. TXT "v=spf1 -all"
soft.test. TXT "v=spf1 ~all"
bad.test.  TXT "v=spf1 what"
late.test. TXT "v=spf1 +all what"
null.test. MX 0 .
joe.192.0.2.10.macro.test. A 127.0.0.2
`)
		d.Text("example.com", policy)
		d.Fail("fails.test")
		r, _ := v.spfBoth(t.Context(), Message{Remote: netip.MustParseAddr("192.0.2.10"), Helo: "mail-a.example.com", MailFrom: "joe@example.com"})
		if r.Status != want {
			t.Errorf("%.80q: %+v, want %s", policy, r, want)
		}
	}
}

// Identities: RFC 7208 sections 2.3, 2.4 and 4.3.
func TestSPFIdentities(t *testing.T) {
	zone := spfZone + `
example.com.        TXT "v=spf1 exists:%{l}.%{o}.%{h}.id.test -all"
mail-a.example.com. TXT "v=spf1 a -all"
joe.example.com.mail-a.example.com.id.test. A 127.0.0.2
two.test.           TXT "v=spf1 -all"
two.test.           TXT "v=spf1 +all"
*.a.test.           TXT "other"
postmaster.example.com.mail-a.example.com.id.test. A 127.0.0.2
`
	for _, c := range []struct {
		helo, from string
		want, hlo  Status
		domain     string
	}{
		{"mail-a.example.com", "joe@example.com", Pass, Pass, "example.com"},
		{"MAIL-A.example.COM", "joe@EXAMPLE.com.", Pass, Pass, "example.com"},
		{"mail-a.example.com", "ann@example.com", Fail, Pass, "example.com"},
		{"mail-a.example.com", "@example.com", Pass, Pass, "example.com"},
		{"mail-a.example.com", "", Pass, Pass, "mail-a.example.com"},
		{"[192.0.2.129]", "", None, None, ""},
		{"localhost", "joe@localhost", None, None, ""},
		{"", "joe@[192.0.2.129]", None, None, ""},
		{"bad name", "joe@bad..name", None, None, ""},
		{"nobody.test", "joe@two.test", PermError, None, "two.test"},
		{"x.a.test", "joe@" + strings.Repeat("a", 64) + ".test", None, None, ""},
		{"mail-a.example.com", "jöe@example.com", Fail, Pass, "example.com"},
		{"mail-a.example.com", "\"joe@evil.test\"@example.com", Fail, Pass, "example.com"},
		{"mail-a.example.com", "joe@bücher.test", None, Pass, "xn--bcher-kva.test"},
	} {
		d, v := newHouse(t, Options{})
		d.Set(zone)
		from, helo := v.spfBoth(t.Context(), Message{Remote: netip.MustParseAddr("192.0.2.129"), Helo: c.helo, MailFrom: c.from})
		if from.Status != c.want || helo.Status != c.hlo || from.Domain != c.domain {
			t.Errorf("HELO %q, MAIL FROM %q: %+v and %+v, want %s of %s and %s", c.helo, c.from, from, helo, c.want, c.domain, c.hlo)
		}
	}
}

// RFC 7208 section 4.6.4: what a policy can make us ask.
func TestSPFLimits(t *testing.T) {
	chain := func(n int, last string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "i%d.test. TXT \"v=spf1 include:i%d.test ?all\"\n", i, i+1)
		}
		fmt.Fprintf(&b, "i%d.test. TXT \"%s\"\n", n, last)
		return b.String()
	}
	var many, mx strings.Builder
	for i := range 11 {
		fmt.Fprintf(&many, " a:h%d.test", i)
		fmt.Fprintf(&mx, "manymx.test. MX %d h%d.test.\n", i, i)
	}
	hosts := "*.h.test. A 192.0.2.99\n"
	for i := range 12 {
		hosts += fmt.Sprintf("h%d.test. A 192.0.2.99\n", i)
	}
	for _, c := range []struct {
		what, zone, from string
		want             Status
	}{
		{"a loop", "a.test. TXT \"v=spf1 include:b.test -all\"\nb.test. TXT \"v=spf1 include:a.test -all\"", "a.test", PermError},
		{"a redirect to itself", "a.test. TXT \"v=spf1 redirect=a.test\"", "a.test", PermError},
		{"ten look-ups", chain(10, "v=spf1 +all"), "i0.test", Pass},
		{"eleven look-ups", chain(11, "v=spf1 +all"), "i0.test", PermError},
		{"eleven terms", hosts + "a.test. TXT \"v=spf1" + many.String() + " ?all\"", "a.test", PermError},
		{"a match before the eleventh", hosts + "a.test. TXT \"v=spf1 ip4:192.0.2.1" + many.String() + " ?all\"", "a.test", Pass},
		{"two void look-ups", "a.test. TXT \"v=spf1 a:v1.test a:v2.test a:ok.test -all\"\nok.test. A 192.0.2.1", "a.test", Pass},
		{"three void look-ups", "a.test. TXT \"v=spf1 a:v1.test mx:v2.test exists:v3.test a:ok.test -all\"\nok.test. A 192.0.2.1", "a.test", PermError},
		{"ten hosts of mx", hosts + strings.Join(strings.SplitAfter(mx.String(), "\n")[:10], "") + "a.test. TXT \"v=spf1 mx:manymx.test ?all\"", "a.test", Neutral},
		{"eleven hosts of mx", hosts + mx.String() + "a.test. TXT \"v=spf1 mx:manymx.test ?all\"", "a.test", PermError},
		{"aliases in a circle", "a.test. TXT \"v=spf1 a:c1.test -all\"\nc1.test. CNAME c2.test.\nc2.test. CNAME c1.test.", "a.test", TempError},
		{"a policy that is too long for its syntax to be looked at", "", "long.test", Pass},
		{"many names of the client", "a.test. TXT \"v=spf1 ptr -all\"\n" + manyPTR() + "*.a.test. A 192.0.2.1", "a.test", Pass},
	} {
		d, v := newHouse(t, Options{})
		d.Set(c.zone)
		d.Text("long.test", "v=spf1 ip4:192.0.2.1 x="+strings.Repeat("x", maxPolicy)+" what")
		start := time.Now()
		r, _ := v.spfBoth(t.Context(), Message{Remote: netip.MustParseAddr("192.0.2.1"), Helo: "x.test", MailFrom: "joe@" + c.from})
		if r.Status != c.want {
			t.Errorf("%s: %+v, want %s (%v)", c.what, r, c.want, time.Since(start))
		}
	}
}

func manyPTR() string {
	var b strings.Builder
	for i := range 30 {
		fmt.Fprintf(&b, "1.2.0.192.in-addr.arpa. PTR n%d.a.test.\n", i)
	}
	return b.String()
}

// spfBoth is SPF as Check asks for it.
func (v *Verifier) spfBoth(ctx context.Context, m Message) (from, helo SPF) {
	helo = v.spfHelo(ctx, m)
	if m.MailFrom == "" {
		return helo, helo
	}
	return v.spfFrom(ctx, m), helo
}
