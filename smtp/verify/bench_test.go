package verify

import (
	"strings"
	"testing"

	msgauth "github.com/emersion/go-msgauth/dkim"
)

// BenchmarkCheck is everything about a message of 4 KiB with an RSA and an Ed25519 signature, with what it asks in the resolver's cache.
func BenchmarkCheck(b *testing.B) {
	keys := testKeys()
	d, v := newHouse(b, Options{})
	d.Set(`$TTL 3600
. SOA ns.test. h.test. 1 2 3 4 3600
example.org.            TXT "v=spf1 mx include:spf.test -all"
example.org.            MX 10 mail.example.org.
spf.test.               TXT "v=spf1 ip4:192.0.2.0/24 -all"
mail.example.org.       TXT "v=spf1 a -all"
mail.example.org.       A 192.0.2.10
10.2.0.192.in-addr.arpa. PTR mail.example.org.
_dmarc.example.org.     TXT "v=DMARC1; p=reject"
r._domainkey.example.org. TXT x
e._domainkey.example.org. TXT x
`)
	d.Set("$TTL 3600\nr._domainkey.example.org. TXT " + quoted(record(b, keys.rsa)) + "\ne._domainkey.example.org. TXT " + quoted(record(b, keys.ed)) + "\n")
	text := strings.TrimSuffix(letterText, "Hello  there.\r\n \r\n\r\n") + strings.Repeat("A line of a letter that is about as long as lines of letters are.\r\n", 60)
	text = signedBy(b, text, msgauth.SignOptions{Domain: "example.org", Selector: "r", Signer: keys.rsa, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"})
	text = signedBy(b, text, msgauth.SignOptions{Domain: "example.org", Selector: "e", Signer: keys.ed, HeaderCanonicalization: "relaxed", BodyCanonicalization: "relaxed"})
	m := message(text, "192.0.2.10", "mail.example.org", "joe@example.org")
	if r := v.Check(b.Context(), m); r.DMARC.Status != Pass || statuses(r.DKIM) != "pass pass" {
		b.Fatalf("%+v", r)
	}
	b.ReportAllocs()
	for b.Loop() {
		v.Check(b.Context(), m)
	}
}

// quoted is a text as strings of a zone file.
func quoted(s string) string {
	var b strings.Builder
	for len(s) > 200 {
		b.WriteString("\"" + s[:200] + "\" ")
		s = s[200:]
	}
	return b.String() + "\"" + s + "\""
}
