package smtp_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/packetboat/packetboat/auth"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// senders are the domains of the tests. The client is 127.0.0.1.
const senders = `
good.example.       IN TXT "v=spf1 ip4:127.0.0.1 -all"
_dmarc.good.example. IN TXT "v=DMARC1; p=reject"
strict.example.     IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.strict.example. IN TXT "v=DMARC1; p=reject"
soft.example.       IN TXT "v=spf1 ~all"
_dmarc.soft.example. IN TXT "v=DMARC1; p=quarantine"
never.example.      IN TXT "v=spf1 ip4:192.0.2.1 -all"
_dmarc.never.example. IN TXT "v=DMARC1; p=reject; pct=0"
spf.example.        IN TXT "v=spf1 -all"
1.0.0.127.in-addr.arpa. IN PTR client.example.org.
client.example.org. IN A 127.0.0.1
4.0.0.127.in-addr.arpa. IN PTR client.example.org.
1.0.0.127.black.example. IN A 127.0.0.2
1.0.0.127.white.example. IN A 127.0.0.2
`

// verifying is a house whose servers verify, with a DNS of its own.
func verifying(t *testing.T, o smtp.JudgeOptions, lists ...verify.List) (*house, sessiontest.Env, *resolvetest.DNS) {
	t.Helper()
	d := resolvetest.New(t)
	d.Set(senders)
	r := resolve.New(resolve.Options{Servers: []string{d.Addr()}, Timeout: 20 * time.Second, CacheSize: 1})
	o.Verify.Verifier = verify.New(r, verify.Options{Name: "mail.example.test", DNSBL: lists})
	o.Verify.Alive = r.Alive
	options := limits
	options.Judge = smtp.NewJudge(o)
	h := open(t, options, auth.PlaintextNever)
	env := h.env(t)
	t.Cleanup(d.Down)
	env.Do["junk"], env.Do["noted"] = h.junk, h.noted
	env.Do["dns"] = func(t testing.TB, args ...string) {
		switch args[0] {
		case "down":
			d.Down()
		case "up":
			d.Up()
		}
	}
	return h, env, d
}

// mail is a message from a domain.
func mail(domain string, more ...string) string {
	return `
		a> MAIL FROM:<joe@` + domain + `>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		` + strings.Join(append(more, "From: joe@"+domain), "\n\t\t") + `
		Subject: hello

		text
		.
		END
`
}

func TestVerified(t *testing.T) {
	weights := smtp.Weights{Junk: 5, Refuse: 9, SPFFail: 3, SPFSoftFail: 1, IPRev: 1, Helo: 1}
	for _, test := range []struct {
		name   string
		o      smtp.JudgeOptions
		lists  []verify.List
		script string
	}{
		{"pass", smtp.JudgeOptions{Weights: weights}, nil, `
			# What is genuine is taken, and its results stand in front (RFC 8601).
			` + greeted + mail("good.example") + `
			a< 250 2.0.0 *
			! count ann 1
			! has ann "\r\nAuthentication-Results: mail.example.test;\r\n\tspf=pass"
			! has ann "dmarc=pass"
			! has ann "iprev=pass"
			! noted "dmarc=pass"`},
		{"forged results", smtp.JudgeOptions{}, nil, `
			# Authentication-Results that pretend to be ours go, others stand (RFC 8601 section 5).
			` + greeted + mail("good.example", "Authentication-Results: mail.example.test; forged=one", "Authentication-Results: (x) MAIL.example.TEST 1;\n\t\t\tforged=two", "Authentication-Results: other.example; dkim=pass") + `
			a< 250 2.0.0 *
			! lacks ann forged
			! has ann "Authentication-Results: other.example; dkim=pass\r\n"`},
		{"reject", smtp.JudgeOptions{}, nil, `
			# A message that its author's domain disowns is refused (RFC 7489 section 10.3).
			` + greeted + mail("strict.example") + `
			a< 550 5.7.1 rejected per DMARC policy for strict.example (*
			! count ann 0
			! noted "whose domain asks for reject"
			! noted "dmarc=fail"`},
		{"quarantine", smtp.JudgeOptions{}, nil, `
			# Or goes to Junk, as that domain asks.
			` + greeted + mail("soft.example") + `
			a< 250 *
			! count ann 0
			! junk ann 1
			! noted "\"action\":\"junk\""`},
		{"pct", smtp.JudgeOptions{}, nil, `
			# pct=0 of p=reject is the next weaker policy (RFC 7489 section 6.6.4).
			` + greeted + mail("never.example") + `
			a< 250 *
			! junk ann 1`},
		{"quarantine for both", smtp.JudgeOptions{Verify: smtp.VerifyOptions{DMARC: smtp.Quarantine}}, nil, greeted + mail("strict.example") + `
			a< 250 *
			! junk ann 1`},
		{"tag", smtp.JudgeOptions{Verify: smtp.VerifyOptions{DMARC: smtp.Tag}}, nil, greeted + mail("strict.example") + `
			a< 250 *
			! count ann 1
			! has ann "dmarc=fail"`},
		{"spf counts", smtp.JudgeOptions{Weights: smtp.Weights{SPFFail: 5, Junk: 5}}, nil, greeted + mail("spf.example") + `
			a< 250 *
			! junk ann 1
			! noted "SPF fails for spf.example (+5.0)"`},
		{"spf refuses", smtp.JudgeOptions{Verify: smtp.VerifyOptions{SPF: smtp.RejectFail}}, nil, `
			# -all is believed where it is so configured (RFC 7208 section 8.4, RFC 7372 section 3.2).
			` + greeted + mail("spf.example") + `
			a< 550 5.7.23 SPF of spf.example does not permit this address (*
			` + mail("good.example") + `
			a< 250 *`},
		{"list", smtp.JudgeOptions{Weights: weights}, []verify.List{{Zone: "black.example", Score: 9}}, greeted + mail("good.example") + `
			a< 550 5.7.1 *
			! noted "the peer is on black.example (+9.0)"`},
		{"good list", smtp.JudgeOptions{Weights: weights, Greylist: smtp.GreylistOptions{On: true}}, []verify.List{{Zone: "white.example", Score: -3}}, greeted + mail("unknown.example") + `
			a< 250 *`},
		{"greylist spares who is proved", smtp.JudgeOptions{Greylist: smtp.GreylistOptions{On: true}}, nil, greeted + mail("good.example") + `
			a< 250 *
			` + mail("unknown.example") + `
			a< 451 4.7.1 *`},
		{"dns down", smtp.JudgeOptions{}, nil, `
			# A DNS that does not answer any more is no verdict: the sender comes again, and nothing of it is forged or lost.
			` + greeted + mail("good.example") + `
			a< 250 *
			! dns down
			` + mail("strict.example") + `
			a< 451 4.4.3 *
			! count ann 1
			! dns up
			` + mail("strict.example") + `
			a< 550 5.7.1 *`},
		{"no dns", smtp.JudgeOptions{}, nil, `
			# Where there never was a DNS nothing is refused for it.
			! dns down
			` + greeted + mail("strict.example") + `
			a< 250 *
			! has ann "\r\nAuthentication-Results: mail.example.test; none\r\n"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, env, _ := verifying(t, test.o, test.lists...)
			sessiontest.Play(t, test.script, env)
		})
	}
}

// A chain of seals that is believed overrides DMARC's fail; one that is not does not (RFC 8617 section 7.2.1).
func TestTrustedChain(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	head, body := "From: joe@strict.example\r\nSubject: to the list\r\n", "\r\ntext\r\n"
	passed := "lists.example; spf=pass (ours; dmarc=fail) smtp.mailfrom=\"a;dmarc=fail\"@a.example; dmarc = pass action=none header.from=strict.example"
	failed := "lists.example; spf=pass smtp.mailfrom=\"a; dmarc=pass (\"@a.example; dkim=pass (; dmarc=pass ) reason=\"; dmarc=pass\"; dmarc=fail header.from=strict.example"
	for _, test := range []struct {
		name, results, end string
		sealers            []string
	}{
		{"believed", passed, "a< 250 *\n! count ann 1\n! has ann \"overridden by local policy\"\n! noted \"the ARC chain of lists.example\"", []string{"other.example", "LISTS.example"}},
		{"not believed", passed, "a< 550 5.7.1 *\n! count ann 0", []string{"other.example"}},
		{"words of a sender", failed, "a< 550 5.7.1 *\n! count ann 0", []string{"lists.example"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			fields, err := verify.Seal(t.Context(), []byte(head), strings.NewReader(body[2:]), int64(len(body)-2), verify.Sealer{Domain: "lists.example", Selector: "s", Key: key,
				Results: test.results, Chain: verify.ARC{Status: verify.ARCNone}, At: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			sealed := strings.ReplaceAll(string(fields)+head+body, "\r\n", "\n\t\t")
			var told heard
			_, env, d := verifying(t, smtp.JudgeOptions{Verify: smtp.VerifyOptions{Sealers: test.sealers}, Reports: &told})
			d.Set("_dmarc.strict.example. IN TXT \"v=DMARC1; p=reject; rua=mailto:a@strict.example\"\n")
			d.Set("s._domainkey.lists.example. IN TXT \"v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(der) + "\"\n")
			sessiontest.Play(t, greeted+`
		a> MAIL FROM:<list@lists.example>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		`+sealed+`.
		END
		`+test.end, env)
			want := "strict.example reject fail"
			if test.name == "believed" { // RFC 8617 section 7.2.2
				want = "strict.example none fail local_policy (arc=pass as[1].d=lists.example as[1].s=s remote-ip[1]=127.0.0.1)"
			}
			if told.String() != want {
				t.Errorf("reported: %s, want %s", &told, want)
			}
		})
	}
}

// Who may have written a message must be beyond doubt: beside authors who pass, or ask for nothing, one who is not looked at would pass with them.
func TestDoubtfulAuthors(t *testing.T) {
	for name, from := range map[string]string{
		"too many of them":   "a@good.example, b@b.example, c@c.example, d@d.example, e@e.example, boss@strict.example",
		"the first fails":    "a@nothing.example, b@b.example, c@c.example, d@d.example, e@e.example, boss@strict.example",
		"a field too long":   "\"" + strings.Repeat("x", 66<<10) + "\" <boss@strict.example>",
		"blanks without end": strings.Repeat(" ", 66<<10) + "<boss@strict.example>",
		"a literal":          "boss@[strict.example]",
		"one beside":         "joe@good.example, boss@[strict.example]",
	} {
		t.Run(name, func(t *testing.T) {
			_, env, d := verifying(t, smtp.JudgeOptions{})
			d.Set("_dmarc.nothing.example. IN TXT \"v=DMARC1; p=none\"\n")
			sessiontest.Play(t, greeted+strings.Replace(mail("good.example"), "From: joe@good.example", "From: "+from, 1)+`
				a< 250 *
				! junk ann 1
				! noted "does not say who wrote it"`, env)
		})
	}
}

func TestSeveralFrom(t *testing.T) {
	_, env, _ := verifying(t, smtp.JudgeOptions{})
	sessiontest.Play(t, greeted+mail("good.example", "From: other@good.example")+`
		a< 250 *
		! junk ann 1
		`+mail("good.example", "From: boss@strict.example")+`
		a< 550 5.7.1 rejected per DMARC policy for strict.example *
		a> MAIL FROM:<joe@good.example>
		a< 250 *
		a> RCPT TO:<ann@example.test>
		a< 250 *
		a> DATA
		a< 354 *
		a> <<END
		Subject: nobody wrote this

		text
		.
		END
		a< 250 *
		! count ann 1
	`, env)
}

// TestDisowned: whoever uses somebody else's address makes us send nothing there, whatever accounts have set up.
func TestDisowned(t *testing.T) {
	h, env, _ := verifying(t, smtp.JudgeOptions{})
	h.filter(t, "ann", `require "vacation"; vacation :addresses "ann@example.test" "away";`)
	h.filter(t, "joe", `require "reject"; reject "not this";`)
	if err := h.store.SetForward(t.Context(), h.accounts["bob"].ID, storage.Forwarding{Targets: []string{"bob@else.example"}}); err != nil {
		t.Fatal(err)
	}
	env.Do["in"] = func(t testing.TB, a ...string) { h.in(t, a...) }
	env.Do["out"] = func(t testing.TB, a ...string) { h.out(t, a...) }
	head := func(from string) string { return "From: " + from + "\nTo: ann@example.test\nSubject: x" }
	sessiontest.Play(t, begin+
		// SPF fails, and the domain says nothing of DMARC.
		posting("victim@spf.example", "ann@example.test|NOTIFY=SUCCESS", head("victim@spf.example"), "250 *")+"! in ann INBOX 1\n! out 0\n"+
		posting("victim@spf.example", "ann@example.test joe@example.test", head("victim@spf.example"), "250 *")+"! in ann INBOX 2\n! out 0\n"+
		posting("victim@soft.example", "ann@example.test", head("victim@soft.example"), "250 *")+"! out 0\n"+
		// When no account wants it, nobody needs to be told later.
		posting("victim@spf.example", "joe@example.test joe+x@example.test", head("victim@spf.example"), "550 5.7.1 not this*")+"! out 0\n"+
		// A forward goes on, and what it meets comes back to nobody.
		posting("victim@spf.example", "bob@example.test|NOTIFY=SUCCESS,FAILURE", head("victim@spf.example"), "250 *")+"! out 1 \"\" bob@else.example \"Subject: x\"\n"+
		// A sender that is who it says gets all of it.
		posting("joe@good.example", "ann@example.test|NOTIFY=SUCCESS joe@example.test bob@example.test", head("joe@good.example"), "250 *")+
		`! out 4 "" joe@good.example "auto-replied (vacation)"
		! out 4 "" joe@good.example "Action: delivered"
		! out 4 "" joe@good.example "not this"
		! out 4 "SRS0=*=good.example=joe@example.test" bob@else.example
		`, env)
}
