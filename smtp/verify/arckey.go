package verify

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/mjl-/mox/dkim"
	"github.com/mjl-/mox/dns"
)

// keyring looks up keys in the DNS, each once.
type keyring struct {
	resolver dns.Resolver
	known    map[string]foundKey
}

type foundKey struct {
	record *dkim.Record
	err    error
}

// errNoAnswer is in an error when the DNS did not answer: another time it may.
var errNoAnswer = errors.New("the DNS did not answer")

// key is that of a selector. RFC 6376 section 6.1.2.
func (k *keyring) key(ctx context.Context, domain, selector string) (*dkim.Record, error) {
	name := selector + "._domainkey." + domain
	f, ok := k.known[name]
	if !ok {
		f.record, f.err = k.lookup(ctx, domain, selector)
		k.known[name] = f
	}
	if f.err != nil {
		return nil, fmt.Errorf("key %s: %w", name, f.err)
	}
	return f.record, nil
}

func (k *keyring) lookup(ctx context.Context, domain, selector string) (*dkim.Record, error) {
	d, err := dns.ParseDomainLax(domain)
	if err != nil {
		return nil, err
	}
	s, err := dns.ParseDomainLax(selector)
	if err != nil {
		return nil, err
	}
	status, record, _, _, err := dkim.Lookup(ctx, slog.New(slog.DiscardHandler), k.resolver, s, d)
	switch {
	case errors.Is(err, dkim.ErrDNS):
		return nil, fmt.Errorf("%w: %w", errNoAnswer, err)
	case err != nil:
		return nil, err
	case record == nil:
		return nil, fmt.Errorf("no record (%s)", status)
	case !record.ServiceAllowed("email"):
		return nil, errors.New("it is not for mail")
	case len(record.Hashes) > 0 && !slices.ContainsFunc(record.Hashes, func(h string) bool { return strings.EqualFold(h, "sha256") }):
		return nil, errors.New("it is not for sha256")
	case len(record.Pubkey) == 0:
		return nil, errors.New("it was revoked")
	}
	return record, nil
}

// check verifies a signature over a hash. RFC 8301 section 3: SHA-1 proves nothing, nor does an RSA key below 1024 bits; one above 4096 costs more than
// verifiers must spend.
func (k *keyring) check(ctx context.Context, t tags, digest []byte) error {
	signature, err := t.bytes64("b")
	if err != nil {
		return err
	}
	record, err := k.key(ctx, noFWS(t["d"]), noFWS(t["s"]))
	if err != nil {
		return err
	}
	switch public := record.PublicKey.(type) {
	case *rsa.PublicKey:
		switch bits := public.N.BitLen(); {
		case t.algorithm() != "rsa-sha256":
			return fmt.Errorf("the key is not for %s", t.algorithm())
		case bits < 1024 || bits > 4096:
			return fmt.Errorf("an RSA key of %d bits", bits)
		}
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest, signature)
	case ed25519.PublicKey:
		switch {
		case t.algorithm() != "ed25519-sha256":
			return fmt.Errorf("the key is not for %s", t.algorithm())
		case !ed25519.Verify(public, digest, signature): // RFC 8463 section 3: the hash is what is signed
			return errors.New("ed25519: verification error")
		}
		return nil
	}
	return errors.New("a key of an unknown kind")
}

// algorithm is a= in lowercase.
func (t tags) algorithm() string { return strings.ToLower(noFWS(t["a"])) }

// seconds is a time in a tag.
func (t tags) seconds(name string) (time.Time, bool, error) {
	v, ok := t[name]
	if !ok {
		return time.Time{}, false, nil
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 0 || len(v) > 12 {
		return time.Time{}, false, fmt.Errorf("%w: %s=%.20q is no time", errTags, name, v)
	}
	return time.Unix(n, 0), true, nil
}

// canonical reads c= (RFC 6376 section 3.5).
func (t tags) canonical() (header, body string, err error) {
	c, ok := t["c"]
	if !ok {
		return "simple", "simple", nil
	}
	header, body, ok = strings.Cut(strings.ToLower(noFWS(c)), "/")
	if !ok {
		body = "simple"
	}
	for _, form := range []string{header, body} {
		if form != "simple" && form != "relaxed" {
			return "", "", fmt.Errorf("%w: unknown canonicalization %.20q", errTags, c)
		}
	}
	return header, body, nil
}

// bodyHashes are those of one body, each made once, when it is first asked for.
type bodyHashes struct {
	body io.ReaderAt
	size int64
	made map[string][]byte
}

func (b *bodyHashes) get(form string) ([]byte, error) {
	if h := b.made[form]; h != nil {
		return h, nil
	}
	h, err := BodyHash(io.NewSectionReader(b.body, 0, b.size), form == "relaxed")
	if err == nil {
		b.made[form] = h
	}
	return h, err
}

// headerHash is what a signature that covers fields signs: the fields of h=, then its own field without b= and without CRLF (RFC 6376 section 3.7).
func headerHash(fields []HeaderField, names []string, own HeaderField, form string) []byte {
	return newPicker(fields).hash(names, own, form)
}

// hash is headerHash for who has several over the same fields.
func (p *picker) hash(names []string, own HeaderField, form string) []byte {
	h := sha256.New()
	for _, name := range names {
		f, ok := p.pick(strings.ToLower(trimFWS(name)))
		switch {
		case !ok:
		case form == "relaxed":
			h.Write(f.Relaxed())
		default:
			h.Write(f.Raw)
		}
	}
	own = own.withoutB()
	if form == "relaxed" {
		own.Raw = own.Relaxed()
	}
	h.Write(bytes.TrimSuffix(own.Raw, []byte("\r\n")))
	return h.Sum(nil)
}
