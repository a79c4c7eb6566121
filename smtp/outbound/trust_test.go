package outbound

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dns"

	"github.com/packetboat/packetboat/auth/session"
	"github.com/packetboat/packetboat/auth/session/sessiontest"
	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// TestTrustOnTheWay: the worker delivers over what the policy of the domain allows and over nothing else, and what arrives is signed by us.
func TestTrustOnTheWay(t *testing.T) {
	ca := newAuthority(t)
	site := newSTSSite(t, ca)
	site.serve(strings.Replace(stsPolicy, "mx.remote.example", "mx1.remote.example", 1))
	later := time.Now().Add(time.Hour)
	good, bad := ca.issue(t, later, "mx1.remote.example"), newAuthority(t).issue(t, later, "mx1.remote.example")
	for _, c := range []struct {
		name     string
		cert     *tls.Certificate // nil: no STARTTLS
		sts      bool
		tlsa     *tls.Certificate
		noAnswer bool
		ext      string
		out      storage.Outgoing
		header   string
		secure   bool   // it arrives over TLS
		clear    bool   // it arrives in clear
		status   string // it does not arrive, and this is why
	}{
		{name: "nothing known, any certificate", cert: &bad, secure: true},
		{name: "nothing known, no TLS", clear: true},
		{name: "mta-sts, a good certificate", sts: true, cert: &good, secure: true},
		{name: "mta-sts, a bad certificate", sts: true, cert: &bad, status: "4.7."},
		{name: "mta-sts, no TLS", sts: true, status: "4.7."},
		{name: "dane, the right certificate", tlsa: &bad, cert: &bad, secure: true},
		{name: "dane, another certificate", tlsa: &bad, cert: &good, status: "4.7."},
		{name: "dane, no TLS", tlsa: &bad, status: "4.7."},
		{name: "dane, no answer", noAnswer: true, cert: &good, status: "4.7.5"},
		{name: "dane, not mta-sts", sts: true, tlsa: &bad, cert: &bad, secure: true},
		{name: "tls-required: no", sts: true, header: "TLS-Required: No\n", clear: true},
		{name: "requiretls", sts: true, cert: &good, ext: "REQUIRETLS", out: storage.Outgoing{RequireTLS: true}, secure: true},
		{name: "requiretls beside tls-required: no", sts: true, cert: &bad, ext: "REQUIRETLS", header: "TLS-Required: No\n", out: storage.Outgoing{RequireTLS: true}, status: "4.7."},
		{name: "requiretls by nobody promised", sts: true, cert: &good, out: storage.Outgoing{RequireTLS: true}, status: "5.7.30"},
		{name: "requiretls, a host that nobody vouches for", cert: &good, ext: "REQUIRETLS", out: storage.Outgoing{RequireTLS: true}, status: "5.7.10"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := serve(t, "127.0.0.1:0", func(f *fake) {
				if c.cert != nil {
					f.tls = &tls.Config{Certificates: []tls.Certificate{*c.cert}}
				}
				if c.ext != "" {
					f.ext = append(usual[:len(usual):len(usual)], c.ext)
				}
			})
			h := &house{t: t, registry: sessiontest.New(t, session.Options{}), store: storagetest.New(t),
				dns: &dns.MockResolver{A: map[string][]string{"mta-sts.remote.example.": {"127.0.0.1"}}, TXT: map[string][]string{}, TLSA: map[string][]adns.TLSA{}}}
			storagetest.Account(t, h.store, "ann@example.test")
			h.dns.MX = map[string][]*net.MX{}
			mx(h.dns, "remote.example", "127.0.0.1")
			h.dns.AllAuthentic = c.tlsa != nil || c.noAnswer
			name := "_25._tcp.mx1.remote.example."
			if c.tlsa != nil {
				h.dns.TLSA[name] = []adns.TLSA{spki(*c.tlsa, adns.TLSAUsageDANEEE)}
			}
			if c.noAnswer {
				h.dns.Fail = []string{"tlsa " + name}
			}
			if c.sts {
				h.dns.TXT["_mta-sts.remote.example."] = []string{"v=STSv1; id=1;"}
			}
			h.worker = NewWorker(h.store, h.registry, h.dns, NewPolicies(h.store, h.dns, PolicyOptions{Roots: ca.pool, HTTPSPort: site.port}), NewSigner(h.store, SignOptions{}),
				Options{Name: "mail.example.test", Family: IPv4Only, Port: f.port()})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- h.worker.Run(ctx) }()
			defer func() {
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			}()
			c.out.From = "ann@example.test"
			h.send(c.out, c.header+"From: ann@example.test\nSubject: hello\n\nline\n.dot\n", "joe@remote.example")
			if c.status != "" {
				h.until("refused", func() bool {
					for _, i := range h.items() {
						if i.Attempts > 0 && strings.HasPrefix(i.LastStatus, c.status) {
							return true
						}
					}
					return c.status[0] == '5' && h.store.QueueSize() == 0
				})
				if c.status[0] == '5' { // and the sender was told why
					list, err := h.store.Records(t.Context(), "sent", 0, 0, 10)
					if err != nil || len(list) == 0 || !strings.Contains(string(list[0].Detail), c.status) {
						t.Errorf("%v %v", list, err)
					}
				}
				if got := f.all(); len(got) > 0 {
					t.Errorf("it was sent: %+v", got)
				}
				return
			}
			h.empty()
			all := f.all()
			if len(all) != 1 || all[0].secure != c.secure || c.secure == c.clear {
				t.Fatalf("%+v", all)
			}
			text := strings.ReplaceAll(all[0].body, "\r\n..", "\r\n.")
			if v := verified(t, published(t, h.store, "example.test"), text); len(v) != 2 || !strings.HasSuffix(v[0], "pass") || !strings.HasSuffix(v[1], "pass") {
				t.Errorf("%v\n%s", v, text)
			}
		})
	}
}

// TestSealedOnTheWay: what others sent leaves with an ARC set of ours and without a signature of ours, whoever it says that it is from.
func TestSealedOnTheWay(t *testing.T) {
	f := serve(t, "127.0.0.1:0", nil)
	h := build(t, func(o *Options, r *dns.MockResolver) {
		o.Port = f.port()
		mx(r, "remote.example", "127.0.0.1")
	})
	h.send(storage.Outgoing{From: "SRS0=ab=cd=x.example=joe@example.test", Seal: true},
		"Authentication-Results: localhost; spf=pass smtp.mailfrom=x.example\nFrom: eve@example.test\nSubject: forwarded\n\nline\n.dot\n", "joe@remote.example")
	h.empty()
	all := f.all()
	if len(all) != 1 {
		t.Fatalf("%+v", all)
	}
	text := strings.ReplaceAll(all[0].body, "\r\n..", "\r\n.")
	header, at, err := readHeader(strings.NewReader(text), int64(len(text)))
	if err != nil || strings.Contains(string(header), "DKIM-Signature:") {
		t.Errorf("%s %v", header, err)
	}
	got := verify.CheckARC(t.Context(), published(t, h.store, "example.test"), header, strings.NewReader(text[at:]), int64(len(text))-at)
	if got.Status != verify.ARCPass || len(got.Sets) != 1 || got.Sets[0].Domain != "example.test" || !strings.Contains(got.Sets[0].Results, "spf=pass") {
		t.Errorf("%+v\n%s", got, text)
	}
}
