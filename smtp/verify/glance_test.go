package verify

import (
	"net/netip"
	"reflect"
	"testing"

	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
)

// TestGlance: what is found of a message is the same whether answers are known, partly known or not, and what is known is not asked for again.
func TestGlance(t *testing.T) {
	d := resolvetest.New(t)
	d.Set(`
test.                     300 SOA ns.test. h.test. 1 1 1 1 300
2.0.192.in-addr.arpa.     300 SOA ns.test. h.test. 1 1 1 1 300
7.2.0.192.in-addr.arpa.   300 PTR mx.a.test.
mx.a.test.                300 A   192.0.2.7
mx.a.test.                300 TXT "v=spf1 a -all"
a.test.                   300 TXT "v=spf1 include:b.test -all"
b.test.                   300 TXT "v=spf1 exists:%{l}.b.test ~all"
joe.b.test.               300 A   127.0.0.2
_dmarc.c.test.            300 TXT "v=DMARC1; p=reject"
`)
	r := resolve.New(resolve.Options{Servers: []string{d.Addr()}})
	glancing := New(r, Options{Glance: resolve.Glance})
	for _, from := range []string{"joe@a.test", "ann@a.test", "", "joe@none.test"} {
		for _, author := range []string{"joe@a.test", "joe@c.test", "joe@sub.c.test"} {
			m := Message{Remote: netip.MustParseAddr("192.0.2.7"), Helo: "mx.a.test", MailFrom: from, Header: []byte("From: " + author + "\r\n")}
			want := New(resolve.New(resolve.Options{Servers: []string{d.Addr()}}), Options{}).Check(t.Context(), m)
			for n := range 2 {
				asked := d.Asked("a.test", "TXT") + d.Asked("b.test", "TXT") + d.Asked("7.2.0.192.in-addr.arpa", "PTR") + d.Asked("_dmarc.a.test", "TXT")
				if got := glancing.Check(t.Context(), m); !reflect.DeepEqual(got, want) {
					t.Errorf("%s by %s: %+v, want %+v", author, from, got, want)
				}
				if more := d.Asked("a.test", "TXT") + d.Asked("b.test", "TXT") + d.Asked("7.2.0.192.in-addr.arpa", "PTR") + d.Asked("_dmarc.a.test", "TXT") - asked; n == 1 && more != 0 {
					t.Error(more, "questions about what is known")
				}
			}
		}
	}
	d.Down()
	m := Message{Remote: netip.MustParseAddr("192.0.2.7"), Helo: "mx.a.test", MailFrom: "joe@unknown.test", Header: []byte("From: joe@a.test\r\n")}
	if got := glancing.Check(t.Context(), m); got.SPF.Status != TempError || got.HELO.Status != Pass || got.IPRev.Status != Pass {
		t.Errorf("without a DNS: %+v", got)
	}
}
