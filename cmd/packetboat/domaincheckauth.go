package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/mjl-/adns"
	"github.com/mjl-/mox/dkim"
	"github.com/mjl-/mox/dmarc"
	moxdns "github.com/mjl-/mox/dns"
	"github.com/mjl-/mox/mtasts"
	"github.com/mjl-/mox/smtp"
	"github.com/mjl-/mox/spf"
	"github.com/mjl-/mox/tlsrpt"

	"github.com/packetboat/packetboat/storage"
)

// checkSPF judges mail from each of the server's addresses as others would, whatever the record's words are. helo: of a bounce, by the server's name.
func checkSPF(domain string, helo bool) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		name := moxdns.Domain{ASCII: domain}
		status, text, rec, _, err := spf.Lookup(ctx, q.logger, q.resolver, name)
		var f finds
		if text != "" {
			f.found = []string{text}
		}
		switch status {
		case spf.StatusTemperror:
			f.verdict, f.note = verdictUnknown, "cannot ask: "+err.Error()
			return f
		case spf.StatusPermerror:
			f.verdict, f.note = verdictDiffers, "it is wrong: "+err.Error()
			return f
		}
		if rec == nil {
			return finds{verdict: verdictMissing}
		}
		if len(q.ours) == 0 {
			f.verdict, f.note = verdictUnknown, "which addresses mail is sent from is not known: set public_addresses"
			return f
		}
		args := spf.Args{MailFromLocalpart: smtp.Localpart("postmaster"), MailFromDomain: name, HelloDomain: moxdns.IPDomain{Domain: moxdns.Domain{ASCII: q.config.Hostname}}, LocalHostname: moxdns.Domain{ASCII: "localhost"}, LocalIP: net.IPv4(127, 0, 0, 1)}
		if helo {
			args.MailFromLocalpart, args.MailFromDomain = "", moxdns.Domain{}
		}
		f.verdict = verdictOK
		for _, a := range q.ours {
			args.RemoteIP = a.AsSlice()
			received, _, _, _, err := spf.Verify(ctx, q.logger, q.resolver, args)
			switch received.Result {
			case spf.StatusPass:
			case spf.StatusTemperror:
				return finds{verdictUnknown, f.found, fmt.Sprintf("cannot ask: %v", err), ""}
			case spf.StatusPermerror:
				return finds{verdictDiffers, f.found, fmt.Sprintf("it is wrong: %v", err), ""}
			default:
				return finds{verdictDiffers, f.found, fmt.Sprintf("mail from %s is not of the domain by this (%s)", a, received.Result), ""}
			}
		}
		if slices.ContainsFunc(rec.Directives, func(d spf.Directive) bool { return d.Mechanism == "all" && (d.Qualifier == "" || d.Qualifier == "+") }) {
			f.note = "it lets everybody send mail of the domain (+all)"
		}
		return f
	}
}

// texts are the TXT records of a name for which is says yes.
func (q *asker) texts(ctx context.Context, name string, is func(string) bool) ([]string, error) {
	all, _, err := q.resolver.LookupTXT(ctx, absoluteName(name))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(s string) bool { return !is(s) }), nil
}

// checkDKIM compares keys, not texts.
func checkDKIM(k storage.DKIMKey) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		all, err := q.texts(ctx, k.Name(), func(string) bool { return true })
		if err != nil {
			return failure(err)
		}
		f := finds{verdict: verdictDiffers, found: all, note: "there is no DKIM key"}
		for _, text := range all {
			rec, is, err := dkim.ParseRecord(text)
			switch {
			case !is:
				continue
			case err != nil:
				f.note = "it is wrong: " + err.Error()
			case len(rec.Pubkey) == 0:
				f.note = "the key is revoked (p= is empty)"
			case !sameKey(rec.PublicKey, k):
				f.note = "it is another key"
			case len(rec.Hashes) > 0 && !slices.Contains(rec.Hashes, "sha256"):
				f.note = "it forbids SHA-256 (h=)"
			case !rec.ServiceAllowed("email"):
				f.note = "it is not for mail (s=)"
			case len(all) > 1:
				f.note = "there are several texts, of which a verifier takes any (RFC 6376 section 3.6.2.2)"
			default:
				f.verdict, f.note = verdictOK, ""
				if slices.Contains(rec.Flags, "y") {
					f.note = "it says that DKIM is being tested (t=y)"
				}
				return f
			}
		}
		return f
	}
}

// sameKey compares a key of the DNS with one of ours.
func sameKey(public any, k storage.DKIMKey) bool {
	switch p := public.(type) {
	case *rsa.PublicKey:
		ours, err := x509.ParsePKIXPublicKey(k.Public)
		return err == nil && k.Algorithm == storage.DKIMRSA && p.Equal(ours)
	case ed25519.PublicKey:
		return k.Algorithm == storage.DKIMEd25519 && bytes.Equal(p, k.Public)
	}
	return false
}

// checkDMARC is content with any policy, of the domain or of the one that it belongs to.
func checkDMARC(domain string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		status, at, rec, text, _, err := dmarc.Lookup(ctx, q.logger, q.resolver, moxdns.Domain{ASCII: domain})
		var f finds
		if text != "" {
			f.found = []string{text}
		}
		switch {
		case status == dmarc.StatusTemperror:
			f.verdict, f.note = verdictUnknown, fmt.Sprintf("cannot ask: %v", err)
		case status == dmarc.StatusPermerror:
			f.verdict, f.note = verdictDiffers, fmt.Sprintf("it is wrong: %v", err)
		case rec == nil:
			f.verdict = verdictMissing
		default:
			f.verdict = verdictOK
			if rec.Policy == dmarc.PolicyNone {
				f.note = "p=none: nothing is done about forged mail"
			}
			if at.ASCII != domain {
				f.note = strings.TrimSpace("it is that of " + at.ASCII + ". " + f.note)
			}
		}
		return f
	}
}

// checkSTS wants the id of the policy that is served: senders look for a new policy when the id is new.
func checkSTS(id string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		rec, text, err := mtasts.LookupRecord(ctx, q.logger, q.resolver, moxdns.Domain{ASCII: q.domain})
		f := finds{verdict: verdictDiffers}
		if text != "" {
			f.found = []string{text}
		}
		switch {
		case errors.Is(err, mtasts.ErrNoRecord):
			f.verdict = verdictMissing
		case errors.Is(err, mtasts.ErrDNS):
			f.verdict, f.note = verdictUnknown, "cannot ask: "+err.Error()
		case err != nil:
			f.note = "it is wrong: " + err.Error()
		case rec.ID != id:
			f.note = "it is the id of another policy: those who keep one do not look for this server's before it ends"
		default:
			f.verdict = verdictOK
		}
		return f
	}
}

// checkTLSRPT is content with any valid record.
func checkTLSRPT(domain string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		_, text, err := tlsrpt.Lookup(ctx, q.logger, q.resolver, moxdns.Domain{ASCII: domain})
		f := finds{verdict: verdictOK}
		if text != "" {
			f.found = []string{text}
		}
		switch {
		case errors.Is(err, tlsrpt.ErrNoRecord):
			f.verdict = verdictMissing
		case errors.Is(err, tlsrpt.ErrDNS):
			f.verdict, f.note = verdictUnknown, "cannot ask: "+err.Error()
		case err != nil:
			f.verdict, f.note = verdictDiffers, "it is wrong: "+err.Error()
		}
		return f
	}
}

// checkTLSA looks whether the certificate matches. Records that do not match it keep mail away, so they are worse than none.
func checkTLSA(chain []*x509.Certificate) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		all, result, err := q.resolver.LookupTLSA(ctx, 25, "tcp", absoluteName(q.config.Hostname))
		if err != nil {
			f := failure(err)
			f.need = optional
			return f
		}
		f := finds{verdict: verdictDiffers}
		usable := false
		for _, t := range all {
			f.found = append(f.found, t.Record())
			// RFC 7672 section 3.1.3: PKIX-TA(0) and PKIX-EE(1) are not for SMTP.
			if t.Usage != adns.TLSAUsageDANETA && t.Usage != adns.TLSAUsageDANEEE {
				continue
			}
			usable = true
			if slices.ContainsFunc(chain, func(c *x509.Certificate) bool {
				return (t.Usage == adns.TLSAUsageDANETA || c == chain[0]) && associated(t, c)
			}) {
				f.verdict = verdictOK
			}
		}
		switch {
		case f.verdict == verdictOK && !result.Authentic:
			f.note = "nobody uses it: the answer was not validated (DNSSEC), or the resolver does not validate"
		case f.verdict == verdictDiffers && usable && result.Authentic:
			f.note, f.need = "senders that use DANE deliver nothing: none matches the certificate", needed
		case f.verdict == verdictDiffers && usable:
			f.note = "none matches the certificate; with DNSSEC senders would deliver nothing"
		case f.verdict == verdictDiffers:
			f.note = "none is usable for SMTP (RFC 7672 section 3.1)"
		}
		return f
	}
}

// associated tells whether a certificate is the one that t means (RFC 6698 section 2.1).
func associated(t adns.TLSA, c *x509.Certificate) bool {
	of := c.Raw
	switch t.Selector {
	case adns.TLSASelectorSPKI:
		of = c.RawSubjectPublicKeyInfo
	case adns.TLSASelectorCert:
	default:
		return false
	}
	switch t.MatchType {
	case adns.TLSAMatchTypeFull:
	case adns.TLSAMatchTypeSHA256:
		sum := sha256.Sum256(of)
		of = sum[:]
	case adns.TLSAMatchTypeSHA512:
		sum := sha512.Sum512(of)
		of = sum[:]
	default:
		return false
	}
	return bytes.Equal(of, t.CertAssoc)
}
