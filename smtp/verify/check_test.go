package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	msgauth "github.com/emersion/go-msgauth/dkim"
	"go.uber.org/goleak"

	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// keys are made once: an RSA key costs time.
var testKeys = sync.OnceValue(func() (k struct {
	rsa *rsa.PrivateKey
	ed  ed25519.PrivateKey
}) {
	k.rsa, _ = rsa.GenerateKey(rand.Reader, 2048)
	_, k.ed, _ = ed25519.GenerateKey(rand.Reader)
	return k
})

// record is the key record of a key.
func record(t testing.TB, key crypto.Signer) string {
	if pub, ok := key.Public().(ed25519.PublicKey); ok {
		return "v=DKIM1; k=ed25519; p=" + base64.StdEncoding.EncodeToString(pub)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return "v=DKIM1; p=" + base64.StdEncoding.EncodeToString(der)
}

// house is a DNS with a verifier that asks it.
func newHouse(t testing.TB, o Options) (*resolvetest.DNS, *Verifier) {
	d := resolvetest.New(t)
	o.Glance = resolve.Glance // as it is wired; records have no TTL, so that most parts run again
	return d, New(resolve.New(resolve.Options{Servers: []string{d.Addr()}}), o)
}

// signed puts a signature by go-msgauth in front of a message.
func signedBy(t testing.TB, text string, o msgauth.SignOptions) string {
	t.Helper()
	var b bytes.Buffer
	o.Hash = crypto.SHA256
	if err := msgauth.Sign(&b, strings.NewReader(text), &o); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// message cuts a text into what Check takes.
func message(text, remote, helo, from string) Message {
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	return Message{Remote: netip.MustParseAddr(remote), Helo: helo, MailFrom: from, Header: []byte(head + "\r\n\r\n"), Body: strings.NewReader(body), Size: int64(len(body))}
}

const letterText = "From: Joe <joe@example.org>\r\nTo: ann@example.test\r\nSubject: hello\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nHello  there.\r\n \r\n\r\n"

func TestCheckAllGood(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{Name: "mx.example.test", DNSBL: []List{{Zone: "bl.test", Score: 3}, {Zone: "wl.test.", Score: -2}, {Zone: "quiet.test", Score: 9}}})
	d.Set(`
example.org.            TXT "v=spf1 ip4:192.0.2.0/24 -all"
mail.example.org.       TXT "v=spf1 a -all"
mail.example.org.       A 192.0.2.10
10.2.0.192.in-addr.arpa. PTR mail.example.org.
_dmarc.example.org.     TXT "v=DMARC1; p=reject; rua=mailto:d@example.org"
10.2.0.192.bl.test.     A 127.0.0.2
10.2.0.192.bl.test.     TXT "see http://bl.test/"
10.2.0.192.wl.test.     A 127.0.0.3
`)
	d.Text("r._domainkey.example.org", record(t, keys.rsa))
	d.Text("e._domainkey.example.org", record(t, keys.ed))
	text := signedBy(t, letterText, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"})
	text = signedBy(t, text, msgauth.SignOptions{Domain: "example.org", Selector: "e", Signer: keys.ed, HeaderCanonicalization: "simple", BodyCanonicalization: "simple"})
	r := v.Check(t.Context(), message(text, "192.0.2.10", "mail.example.org", "joe@example.org"))
	if r.SPF.Status != Pass || r.HELO.Status != Pass || r.IPRev.Status != Pass || r.DMARC.Status != Pass || !r.DMARC.SPF || !r.DMARC.DKIM || len(r.DKIM) != 2 || r.DKIM[0].Status != Pass || r.DKIM[1].Status != Pass {
		t.Errorf("not all good: %+v", r)
	}
	if len(r.DNSBL) != 2 || r.Score != 1 || r.DNSBL[0].Text != "see http://bl.test/" {
		t.Errorf("lists: %+v, score %v", r.DNSBL, r.Score)
	}
	if r.Temporary() || r.Disposition() != "none" || !r.Authenticated() {
		t.Errorf("temporary %v, disposition %v, authenticated %v", r.Temporary(), r.Disposition(), r.Authenticated())
	}
	got := string(r.Field("mx.example.test"))
	for _, want := range []string{"Authentication-Results: mx.example.test;\r\n\tspf=pass smtp.mailfrom=joe@example.org;\r\n\tspf=pass smtp.helo=mail.example.org;\r\n\tdkim=pass header.d=example.org header.s=e header.a=ed25519-sha256\r\n\theader.b=",
		";\r\n\tdmarc=pass (p=reject dis=none) header.from=example.org;\r\n\tiprev=pass policy.iprev=192.0.2.10\r\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no\n%q in\n%q", want, got)
		}
	}
	j, err := json.Marshal(r)
	if err != nil || len(j) > 2000 {
		t.Errorf("%v: %s", err, j)
	}
	r.DMARC.Published = nil // for reports alone
	var back Result
	if err := json.Unmarshal(j, &back); err != nil || back.DMARC != r.DMARC || back.Remote != r.Remote {
		t.Errorf("it does not come back: %v %+v", err, back)
	}
}

// A dead DNS makes no verdict.
func TestCheckWithoutDNS(t *testing.T) {
	keys := testKeys()
	d, v := newHouse(t, Options{DNSBL: []List{{Zone: "bl.test", Score: 3}}})
	text := signedBy(t, letterText, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa})
	d.Down()
	r := v.Check(context.Background(), message(text, "192.0.2.10", "mail.example.org", "joe@example.org"))
	if r.SPF.Status != TempError || r.HELO.Status != TempError || r.DKIM[0].Status != TempError || r.DMARC.Status != TempError || r.IPRev.Status != TempError || !r.Temporary() || r.Disposition() != "none" || r.Score != 0 {
		t.Errorf("%+v", r)
	}
}

// A message made to cost: thousands of signatures and authors, hosts that do not answer. It ends in time, with no verdict where there is none.
func TestCheckHostile(t *testing.T) {
	d, v := newHouse(t, Options{Timeout: 500 * time.Millisecond})
	d.Silent("*")
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "DKIM-Signature: v=1; a=rsa-sha256; d=d%d.example.org; s=s; h=from; bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=; b=AAAA\r\n", i)
	}
	b.WriteString("From: " + strings.Repeat("a@b.test, ", 3000) + "joe@example.org\r\n\r\n")
	m := message(b.String()+"x", "192.0.2.1", strings.Repeat("h", 300), "joe@example.org")
	r := v.Check(t.Context(), m)
	if len(r.DKIM) != 10 || r.DKIM[0].Status != TempError || r.SPF.Status != TempError || r.DMARC.Status != TempError || !r.Temporary() || r.HELO.Status != None {
		t.Errorf("%+v", r)
	}
	if j, err := json.Marshal(r); err != nil || len(j) > 8000 {
		t.Errorf("%v: a row of %d octets", err, len(j))
	}
}

// The statuses that the outside sees survive being stored, ARC's too.
func TestResultAsRow(t *testing.T) {
	r := Result{Remote: netip.MustParseAddr("2001:db8::1"), MailFrom: "joe@\xff", SPF: SPF{Status: Fail, Reason: "no"}, DKIM: []Signature{{Status: Policy, Domain: "a.test", Selector: "s"}},
		DMARC: DMARC{Status: TempError, Policy: "reject"}, ARC: ARC{Status: ARCFail, Err: errors.New("x"), Temporary: true}, DNSBL: []Listing{{Zone: "bl.test", Error: "e"}}, Score: -1.5}
	j, err := json.Marshal(&r)
	if err != nil {
		t.Fatal(err)
	}
	r.DMARC.Published = nil // for reports alone
	var back Result
	if err := json.Unmarshal(j, &back); err != nil || back.ARC.Status != ARCFail || !back.Temporary() || back.DKIM[0] != r.DKIM[0] || back.SPF != r.SPF || back.Score != -1.5 {
		t.Errorf("%v %+v", err, back)
	}
}
