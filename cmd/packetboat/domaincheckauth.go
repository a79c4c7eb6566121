package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/mjl-/adns"

	"github.com/packetboat/packetboat/smtp/verify"
	"github.com/packetboat/packetboat/storage"
)

// texts are the TXT records of a name that begin with v=version, as found; every one where version is "". When there is not exactly one, or the DNS does not
// say, finds tells and ok is false.
func (q *asker) texts(ctx context.Context, name, version string) (f finds, ok bool) {
	all, _, err := q.resolver.LookupTXT(ctx, absoluteName(name))
	if err != nil {
		return failure(err), false
	}
	for _, text := range all {
		if version == "" || versionOf(text) == version {
			f.found = append(f.found, text)
		}
	}
	switch len(f.found) {
	case 0:
		f.verdict = verdictMissing
		return f, false
	case 1:
		f.verdict = verdictOK
		return f, true
	}
	f.verdict, f.note = verdictDiffers, "there are several, and so as good as none"
	return f, false
}

// versionOf is what stands behind the v= that a record begins with.
func versionOf(text string) string {
	first, _, _ := strings.Cut(text, ";")
	if v, ok := strings.CutPrefix(first, "v=spf1"); ok && (v == "" || v[0] == ' ') {
		return "spf1"
	}
	name, v, ok := strings.Cut(first, "=")
	if !ok || strings.TrimSpace(name) != "v" {
		return ""
	}
	return strings.TrimSpace(v)
}

// tagsOf are the tags of a record such as DKIM's, without blanks in their values; of one that is there twice, the first.
func tagsOf(text string) map[string]string {
	tags := map[string]string{}
	for part := range strings.SplitSeq(text, ";") {
		name, v, ok := strings.Cut(part, "=")
		if _, twice := tags[strings.TrimSpace(name)]; ok && !twice {
			tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(v), "")
		}
	}
	return tags
}

// judged is what this server's own judging says of a message from a.
func (q *asker) judged(ctx context.Context, a netip.Addr, from, header string) *verify.Result {
	v := verify.New(q.resolver, verify.Options{Name: q.config.Hostname, Timeout: checkTime, Logger: q.logger})
	return v.Check(ctx, verify.Message{Remote: a, Helo: q.config.helo(), MailFrom: from, Header: []byte(header), Body: strings.NewReader("")})
}

// checkSPF judges mail from each of the server's addresses as others would, whatever the record's words are. helo: of a bounce, by the server's name.
func checkSPF(domain string, helo bool) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		f, ok := q.texts(ctx, domain, "spf1")
		if !ok {
			return f
		}
		if len(q.ours) == 0 {
			f.verdict, f.note = verdictUnknown, "which addresses mail is sent from is not known: set public_addresses"
			return f
		}
		from := "postmaster@" + domain
		if helo {
			from = ""
		}
		for _, a := range q.ours {
			switch r := q.judged(ctx, a, from, "").SPF; r.Status {
			case verify.Pass:
				if strings.TrimPrefix(strings.ToLower(r.Mechanism), "+") == "all" {
					f.note = "it lets everybody send mail of the domain (+all)"
				}
			case verify.TempError:
				return finds{verdictUnknown, f.found, "cannot ask: " + r.Reason, ""}
			case verify.PermError:
				return finds{verdictDiffers, f.found, "it is wrong: " + r.Reason, ""}
			default:
				if q.relay != "" && !helo {
					f.note = "whether it lets " + q.relay + " send, through which mail goes out, is not looked at"
					return f
				}
				return finds{verdictDiffers, f.found, fmt.Sprintf("mail from %s is not of the domain by this (%s)", a, r.Status), ""}
			}
		}
		return f
	}
}

// checkDKIM compares keys, not texts.
func checkDKIM(k storage.DKIMKey) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		f, ok := q.texts(ctx, k.Name(), "")
		if !ok {
			return f // RFC 6376 section 3.6.2.2: with several, what a verifier does is undefined
		}
		tags := tagsOf(f.found[0])
		has := func(tag, def string, any ...string) bool {
			return slices.ContainsFunc(strings.Split(strings.ToLower(cmp.Or(tags[tag], def)), ":"), func(s string) bool { return slices.Contains(any, s) })
		}
		key, there := tags["p"]
		f.verdict = verdictDiffers
		switch {
		case !there || cmp.Or(tags["v"], "DKIM1") != "DKIM1":
			f.note = "it is no DKIM key"
		case key == "":
			f.note = "the key is revoked (p= is empty)"
		case !sameKey(strings.ToLower(cmp.Or(tags["k"], "rsa")), key, k):
			f.note = "it is another key"
		case !has("h", "sha256", "sha256"):
			f.note = "it forbids SHA-256 (h=)"
		case !has("s", "*", "*", "email"):
			f.note = "it is not for mail (s=)"
		default:
			f.verdict = verdictOK
			if has("t", "", "y") {
				f.note = "it says that DKIM is being tested (t=y)"
			}
		}
		return f
	}
}

// sameKey compares a key of the DNS, of this kind and in base64, with one of ours.
func sameKey(kind, encoded string, k storage.DKIMKey) bool {
	der, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || kind != k.Algorithm {
		return false
	}
	if bytes.Equal(der, k.Public) {
		return true
	}
	// The bare form of an RSA key is as good (RFC 6376 section 3.6.1, erratum 3017).
	bare, err := x509.ParsePKCS1PublicKey(der)
	if err != nil {
		return false
	}
	ours, err := x509.ParsePKIXPublicKey(k.Public)
	return err == nil && bare.Equal(ours)
}

// checkDMARC is content with any policy, of the domain or of the one that it belongs to.
func checkDMARC(domain string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		d := q.judged(ctx, netip.IPv6Unspecified(), "", "From: postmaster@"+domain+"\r\n").DMARC
		f, _ := q.texts(ctx, "_dmarc."+cmp.Or(d.Domain, domain), "DMARC1")
		switch {
		case d.Status == verify.TempError:
			f.verdict, f.note = verdictUnknown, "cannot ask: "+d.Reason
		case d.Status == verify.PermError:
			f.verdict, f.note = verdictDiffers, "it is wrong: "+d.Reason
		case d.Policy != "":
			f.verdict, f.note = verdictOK, ""
			if d.Policy == "none" {
				f.note = "p=none: nothing is done about forged mail"
			}
			if d.Domain != domain {
				f.note = strings.TrimSpace("it is that of " + d.Domain + ". " + f.note)
			}
		case f.verdict == verdictOK:
			f.verdict, f.note = verdictDiffers, "the policy cannot be read"
		}
		return f
	}
}

// checkSTS wants the id of the policy that is served: senders look for a new policy when the id is new.
func checkSTS(id string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		f, ok := q.texts(ctx, "_mta-sts."+q.domain, "STSv1")
		if ok && tagsOf(f.found[0])["id"] != id {
			f.verdict, f.note = verdictDiffers, "it is the id of another policy: those who keep one do not look for this server's before it ends"
		}
		return f
	}
}

// checkTLSRPT is content with any address for reports (RFC 8460 section 3).
func checkTLSRPT(domain string) func(context.Context, *asker) finds {
	return func(ctx context.Context, q *asker) finds {
		f, ok := q.texts(ctx, "_smtp._tls."+domain, "TLSRPTv1")
		if !ok {
			return f
		}
		for to := range strings.SplitSeq(tagsOf(f.found[0])["rua"], ",") {
			if !strings.HasPrefix(to, "mailto:") && !strings.HasPrefix(to, "https:") {
				f.verdict, f.note = verdictDiffers, "it is wrong: rua= wants mailto: or https:"
			}
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
