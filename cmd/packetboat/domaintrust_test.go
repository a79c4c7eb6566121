package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/packetboat/packetboat/smtp/outbound"
	"github.com/packetboat/packetboat/smtp/resolve"
	"github.com/packetboat/packetboat/smtp/resolve/resolvetest"
	"github.com/packetboat/packetboat/storage/storagetest"
)

// What domain dns prints and the console serves is what another packetboat goes by when it sends mail here: MTA-STS first, DANE where
// the DNS is signed.
func TestPublishedIsFollowed(t *testing.T) {
	dns := resolvetest.New(t)
	b := base(t)
	dir := serving(t, b, "dns.servers="+dns.Addr(), "public_addresses=127.0.0.1", "mta_sts.mode=enforce", "clients.ports=mx=25,https=443")
	var out, errs strings.Builder
	if code := run([]string{"domain", "dns", "--zone", "--data", dir}, nil, &out, &errs); code != exitOK {
		t.Fatal(&errs)
	}
	dns.Set(out.String())
	ca, err := os.ReadFile(filepath.Join(dir, "tls", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	shake := func(need outbound.Need, signed bool) {
		t.Helper()
		dns.Authentic(signed)
		p := outbound.NewPolicies(storagetest.New(t), resolve.New(resolve.Options{Servers: []string{dns.Addr()}}), outbound.PolicyOptions{Roots: roots, HTTPSPort: b + 443, NoReports: true})
		ctx := context.Background()
		hop := outbound.Hop{Domain: "example.test", HaveMX: true, Secure: signed, ExpandedSecure: signed}
		h, err := p.For(ctx, hop).Host(ctx, outbound.Host{Name: "mail.example.test", Secure: signed, ExpandedSecure: signed})
		if err != nil || h.Need != need {
			t.Fatalf("%+v, %v; want %s", h, err, need)
		}
		c, err := smtp.Dial(fmt.Sprintf("127.0.0.1:%d", b+25))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.StartTLS(h.Config()); err != nil {
			t.Errorf("%s: %v", need, err)
		}
		c.Quit()
	}
	shake(outbound.ByMTASTS, false)
	shake(outbound.ByDANE, true)
}
